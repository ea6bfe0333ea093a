"""When to begin the next chunk: as late as possible, so that late input still gets in, and never too late.

Frames are shown at the video's rate from the moment the first chunk is handed over. A chunk must be ready when the one
before it has been shown to its end; how long it takes is learnt from the ones before. An engine slower than the video
never waits.

>>> clock = PlayClock(fps=10, margin_s=0.1)
>>> clock.made(num_frames=10, cost_s=0.4, now=100.0)       # shown until 101.0
>>> round(clock.wait_s(now=100.0), 2)                     # 101.0 - 0.4 - 0.1
0.5
"""

from __future__ import annotations

from collections import deque

MEMORY_CHUNKS = 24
QUANTILE = 0.9


class PlayClock:
    """The clock of one take; all times are ``time.monotonic()`` seconds.

    Args:
        fps: frames per second of the video. margin_s: added to what a chunk is expected to take.
    """

    def __init__(self, fps: float, margin_s: float) -> None:
        self.fps, self.margin_s = fps, margin_s
        self._costs: deque[float] = deque(maxlen=MEMORY_CHUNKS)
        self._end: float | None = None  # when all frames handed over so far will have been shown
        self._left = 0.0  # seconds of video not yet shown when the clock was stopped

    def expected_s(self) -> float:
        """Seconds that the next chunk is expected to take: nine in ten of the last ones took no longer."""
        costs = sorted(self._costs)
        return costs[min(len(costs) - 1, int(QUANTILE * len(costs)))] if costs else float("inf")

    def made(self, *, num_frames: int, cost_s: float, now: float) -> None:
        """A chunk was handed over at ``now``; making it took ``cost_s``."""
        self._costs.append(cost_s)
        self._end = max(self._end or now, now) + num_frames / self.fps

    def wait_s(self, now: float) -> float:
        """Seconds until the next chunk should be begun; 0 = at once."""
        if self._end is None or not self._costs:
            return 0.0
        return max(0.0, self._end - self.expected_s() - self.margin_s - now)

    def stop(self, now: float) -> None:
        """The picture stands still."""
        self._left = max(0.0, self._end - now) if self._end is not None else 0.0
        self._end = None

    def go_on(self, now: float) -> None:
        """The picture moves again, first through what had not been shown."""
        self._end, self._left = now + self._left, 0.0

    def restart(self) -> None:
        """What was not shown is void: the next chunk is wanted at once."""
        self._end, self._left = None, 0.0
