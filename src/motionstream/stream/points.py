"""What is held in one frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from motionstream.tracks.strokes import Stroke, assign_ids, held_frames
from motionstream.tracks.tracks import Tracks

if TYPE_CHECKING:
    from motionstream.shapes import VideoGeometry

MAX_POINTS = 1024
"""Points that live input may hold at once. Ready-made tracks may be more: the buffer draws codes for them."""
MAX_PX = 1e9
"""As for strokes and tracks in files."""
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


class ReadyPoints:
    """Ready-made tracks (B = 1) as points; with the strokes that they were made from, as points of a hand's gestures.

    A stroke's points are one gesture, whose brush may snap, and which holds on beyond the edge of the picture; tracks of no
    stroke know nothing of each other, and let go while they are not visible.

    Raises:
        ValueError: a stroke without its tracks.
    """

    def __init__(self, tracks: Tracks, strokes: Sequence[Stroke] | None = None) -> None:
        self.xy, self.held, self.names = tracks.xy[0], tracks.visible[0], tracks.ids[0].tolist()
        self.groups: list[int | None] = [None] * len(self.names)
        self.snaps = [False] * len(self.names)
        if strokes is None:
            return
        columns = {name: column for column, name in enumerate(self.names)}
        times_s = np.arange(tracks.num_frames) / tracks.fps
        self.held = self.held.clone()
        if isinstance(strokes, Stroke):
            raise ValueError("strokes must be a list, such as [stroke]")
        names = assign_ids(strokes)
        if any(name not in columns for ids in names for name in ids):
            names = assign_ids(strokes, min(self.names, default=0))  # made with a first id
        for group, (stroke, ids) in enumerate(zip(strokes, names, strict=True), start=1):
            missing = [name for name in ids if name not in columns]
            if missing:
                raise ValueError(
                    f"stroke {group} has no track {missing[0]}: give the strokes that the tracks were made from, and all of "
                    "their tracks"
                )
            mine = [columns[name] for name in ids]
            shown, (height, width) = self.held[:, mine], tracks.size
            x, y = self.xy[:, mine].unbind(dim=-1)
            beyond = (x < 0) | (x >= width) | (y < 0) | (y >= height)
            # A brush takes hold as one, when any of it is over the picture.
            begun = shown.any(dim=1, keepdim=True).int().cummax(dim=0).values.bool()
            self.held[:, mine] = begun & (shown | beyond) & torch.from_numpy(held_frames(stroke, times_s))[:, None]
            for column in mine:
                self.groups[column], self.snaps[column] = group, stroke.snap and stroke.kind != "pin"

    def frames(self, start: int, stop: int) -> list[list[Point]]:
        """Points held in frames ``[start, stop)``; none past the end of the tracks."""
        frames: list[list[Point]] = [[] for _ in range(stop - start)]
        rows, columns = self.held[start:stop].nonzero().unbind(1)
        places = self.xy[start:stop][rows, columns].tolist()
        for t, column, (x, y) in zip(rows.tolist(), columns.tolist(), places, strict=True):
            frames[t].append(Point(self.names[column], x, y, group=self.groups[column], snap=self.snaps[column]))
        return frames


def check_tracks(tracks: Tracks, geometry: VideoGeometry) -> None:
    """Refuse ready-made tracks of another canvas, batch or frame rate than a model's (ValueError)."""
    if not isinstance(tracks, Tracks):
        raise ValueError(
            f"tracks are of type {type(tracks).__name__}: give motionstream.Tracks, such as Tracks.from_strokes makes"
        )
    if tracks.batch != 1:
        raise ValueError(f"tracks are for {tracks.batch} videos; a stream makes one: give Tracks of one sample")
    if tracks.size != (geometry.height, geometry.width):
        raise ValueError(
            f"tracks are for a video of {tracks.size[1]}x{tracks.size[0]} pixels; this model needs one of "
            f"{geometry.width}x{geometry.height}: use tracks.resize({geometry.height}, {geometry.width})"
        )
    if not math.isclose(tracks.fps, geometry.fps):  # frame for frame it would move at another speed, silently
        raise ValueError(
            f"tracks are at {tracks.fps:g} frames per second; this model makes {geometry.fps:g}: "
            f"use tracks.resample(fps={geometry.fps:g})"
        )


def checked_points(points: Iterable[Point]) -> list[Point]:
    """The points of a push, each as `check_place` wants it (ValueError)."""
    if isinstance(points, Point) or not isinstance(points, Iterable):
        raise ValueError(f"points must be a list, such as [Point(1, x, y)], got {points!r:.60}")
    listed = list(points)
    for point in listed:
        check_place(point)
    return listed


def check_place(point: Point) -> None:
    """Refuse a point that is nowhere, or so far away that it would run out of digits, or whose name cannot be kept.

    A held point is asked for in every chunk to come: one that no chunk can be made with would end the stream.
    """
    if not isinstance(point, Point):
        raise ValueError(f"{point!r:.60} is no point: give motionstream.Point(id, x, y)")
    name: Any = point.id
    if not isinstance(name, (int, np.integer)) or not -(2**63) <= name < 2**63:
        raise ValueError(f"a point's id must be a whole number below 2^63, got {name!r:.60}")
    try:
        near = abs(point.x) < MAX_PX and abs(point.y) < MAX_PX
    except TypeError:  # text, or nothing
        near = False
    if not near:
        raise ValueError(
            f"point {point.id} has position ({point.x}, {point.y}): coordinates must be finite numbers below {MAX_PX:g}"
        )


def check_places(names: list[int], where: Tensor) -> None:
    """As :func:`check_place`, for many ``(k, 2)``: what they hold would be nowhere for the rest of the stream."""
    near = (where.abs() < MAX_PX).all(dim=1)
    if not near.all():
        row = int((~near).nonzero()[0])
        check_place(Point(names[row], *where[row].tolist()))
