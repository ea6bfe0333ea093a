"""What is held in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from motionstream.tracks.tracks import Tracks

MAX_POINTS = 1024
"""Points that live input may hold at once. Ready-made tracks may be more: the buffer draws codes for them."""
WHOLE_PICTURE = 0
"""The group of points that move all of the picture, a camera's or those of a clip: a hand takes over what they hold."""


@dataclass(frozen=True)
class Point:
    """A point under the user's hand: ``id`` is the user's name for it; x, y in model pixels; ``visible=False`` lets go.

    ``begun_at``: where the thing is that it takes hold of, for a point that has moved in the same frame; None = at x, y.
    ``group``: its gesture, from 1 on, or `WHOLE_PICTURE`; points that begin together and have one group, or none, are
    taken to lie on one thing. ``snap``: those of a gesture's brush hold only the thing that it was set on (stream/brush.py).
    """

    id: int
    x: float
    y: float
    visible: bool = True
    begun_at: tuple[float, float] | None = None
    group: int | None = None
    snap: bool = False

    @property
    def start(self) -> tuple[float, float]:
        return self.begun_at or (float(self.x), float(self.y))


def points_of(tracks: Tracks, start: int, stop: int) -> list[list[Point]]:
    """Visible points in frames ``[start, stop)``; none past the end of the tracks."""
    visible = tracks.visible[0, start:stop]
    frames: list[list[Point]] = [[] for _ in range(stop - start)]
    rows, columns = visible.nonzero().unbind(1)
    xy, names = tracks.xy[0, start:stop][rows, columns], tracks.ids[0][columns]
    for t, name, (x, y) in zip(rows.tolist(), names.tolist(), xy.tolist(), strict=True):
        frames[t].append(Point(name, x, y))
    return frames


def check_finite(names: list[int], where: Tensor) -> None:
    """Refuse points ``(k, 2)`` that are nowhere: what they hold would be nowhere for the rest of the stream."""
    if not where.isfinite().all():
        row = int((~where.isfinite()).any(dim=1).nonzero()[0])
        x, y = where[row].tolist()
        raise ValueError(f"point {names[row]} has position ({x:g}, {y:g}): coordinates must be finite numbers")
