"""How fast a visitor may talk: a bucket that fills at the allowed rate and holds two seconds of it."""

from __future__ import annotations

WINDOW_SECONDS = 2.0
FLOOD = 10
"""So many times the allowed rate is no slip any more."""


class RateGate:
    """Counts the messages of one socket.

    >>> gate = RateGate(per_second=2, now=0.0)
    >>> [gate.admit(0.0) for _ in range(5)]
    [True, True, True, True, False]
    >>> gate.admit(0.5)
    True
    """

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second, self._since = per_second, now
        self._slow, self._flood = self._capacity(1), self._capacity(FLOOD)

    def _capacity(self, times: int) -> float:
        return WINDOW_SECONDS * self.per_second * times

    def admit(self, now: float) -> bool:
        """Count one message that came at ``now`` (seconds); False when it came too fast."""
        passed, self._since = max(0.0, now - self._since), now
        self._slow = min(self._capacity(1), self._slow + passed * self.per_second)
        self._flood = min(self._capacity(FLOOD), self._flood + passed * self.per_second * FLOOD) - 1
        if self._slow < 1:
            return False
        self._slow -= 1
        return True

    @property
    def flooded(self) -> bool:
        """Whether messages came ten times too fast for two seconds."""
        return self._flood < 0
