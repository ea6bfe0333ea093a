"""What is held in one frame."""

from __future__ import annotations

from dataclasses import dataclass

MAX_POINTS = 1024
"""Points that live input may hold at once. Ready-made tracks may be more: the buffer draws codes for them."""
WHOLE_PICTURE = 0
"""The group of points that move all of the picture, a camera's or those of a clip: a hand takes over what they hold."""


@dataclass(frozen=True)
class Point:
    """A point under the user's hand: ``id`` is the user's name for it; x, y in model pixels; ``visible=False`` lets go.

    ``begun_at``: where the thing is that it takes hold of, for a point that has moved in the same frame; None = at x, y.
    ``group``: its gesture, from 1 on, or `WHOLE_PICTURE`; points that begin together and have one group, or none, are
    taken to lie on one thing.
    """

    id: int
    x: float
    y: float
    visible: bool = True
    begun_at: tuple[float, float] | None = None
    group: int | None = None

    @property
    def start(self) -> tuple[float, float]:
        return self.begun_at or (float(self.x), float(self.y))
