"""Points that cover a stream of frames for ever: what is lost is replaced, what is new is covered, nothing grows.

    grid = LivePoints(spacing_px=32)
    for frame in frames:                       # a clip, or a camera
        seen = grid.feed(frame)                # ids, xy, visible: an id names one point and is never used again

The grid is a grid of cells, each of which should hold a point; inside its cell a point sits where the texture is best.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from motionstream.tracking.appearance import MIN_TRACKABLE, trackability
from motionstream.tracking.tracker import PointTracker, check_frame, make_tracker

LEAST_SPACING_PX = 4
PATIENCE_FRAMES = 12
"""A point that is hidden for so long gives up its place."""
MAX_POINTS_PER_CELL = 2
HOLE_NEIGHBOURS = 5
"""Within a masked region a cell is refilled when so many of its eight neighbours hold points: a hole, not the outside."""


@dataclass(frozen=True)
class LiveSeen:
    """Points of one frame: ``ids`` (N,) int64, ``xy`` (N, 2) pixels, ``visible`` (N,), ``born`` (N, 2) where each began."""

    ids: np.ndarray
    xy: np.ndarray
    visible: np.ndarray
    born: np.ndarray


class LivePoints:
    """Keeps a grid of points alive on a stream of frames; see the module.

    Args:
        spacing_px: side of a cell. mask: (H, W) bool, the region of the first frame that is covered; None is all of it.
        tracker: a name or a tracker that can take new points at any time.

    Attributes:
        reseeded: points that were added after the first frame.

    Raises:
        ValueError: a spacing below 4 pixels, or a tracker that takes points only at its start.
    """

    def __init__(self, spacing_px: float, *, mask: np.ndarray | None = None, tracker: str | PointTracker = "lk") -> None:
        if spacing_px < LEAST_SPACING_PX:
            raise ValueError(f"points {spacing_px:g} pixels apart are too dense: use at least {LEAST_SPACING_PX}")
        self.tracker = make_tracker(tracker) if isinstance(tracker, str) else tracker
        if not self.tracker.growing:
            raise ValueError(f"tracker {tracker!r} takes points only at its start; for streams use lk, dis or tapir")
        self.spacing_px, self.mask = spacing_px, mask
        self.reseeded = 0
        self._seen: LiveSeen | None = None

    def feed(self, frame: np.ndarray) -> LiveSeen:
        """Take the next frame; returns all points there are now, the new ones last."""
        frame = check_frame(frame)
        if self._seen is None:
            H, W = frame.shape[:2]
            self._shape = max(1, round(H / self.spacing_px)), max(1, round(W / self.spacing_px))
            self._size, self._next_id = (H, W), 0
            self.tracker.start(frame)
            none = np.zeros((0, 2), np.float32)
            self._seen = LiveSeen(np.zeros(0, np.int64), none, np.zeros(0, bool), none)
            self._hidden_for = np.zeros(0, np.int32)
            self._add(frame, self._wanted_first())
            return self._seen
        before = self._seen
        (now,) = self.tracker.feed(frame)
        self._seen = LiveSeen(before.ids, now.xy, now.visible, before.born)
        self._hidden_for = np.where(now.visible, 0, self._hidden_for + 1)
        self._drop()
        self._add(frame, self._wanted_later())
        return self._seen

    def _cells(self, xy: np.ndarray) -> np.ndarray:
        """(N, 2) row and column of the cell under each point."""
        rows, columns = self._shape
        H, W = self._size
        row, column = (xy[:, 1] * rows / H).astype(int), (xy[:, 0] * columns / W).astype(int)
        return np.stack([row.clip(0, rows - 1), column.clip(0, columns - 1)], axis=1)

    def _counts(self) -> np.ndarray:
        assert self._seen is not None
        counts = np.zeros(self._shape, int)
        row, column = self._cells(self._seen.xy[self._seen.visible]).T
        np.add.at(counts, (row, column), 1)
        return counts

    def _wanted_first(self) -> np.ndarray:
        if self.mask is None:
            return np.ones(self._shape, bool)
        if self.mask.shape != self._size:
            H, W = self._size
            raise ValueError(f"the mask is {self.mask.shape[1]}x{self.mask.shape[0]} pixels, the frames {W}x{H}")
        rows, columns = self._shape
        return cv2.resize(self.mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) >= 0.3

    def _wanted_later(self) -> np.ndarray:
        """Empty cells that should hold a point; with a mask only holes in what is held."""
        empty = self._counts() == 0
        if self.mask is None:
            return empty
        held = (~empty).astype(np.float32)
        around = cv2.filter2D(held, -1, np.ones((3, 3), np.float32), borderType=cv2.BORDER_CONSTANT) - held
        return empty & (around >= HOLE_NEIGHBOURS)

    def _drop(self) -> None:
        """Forget points that stayed hidden, and the younger ones where many have run together."""
        assert self._seen is not None
        seen = self._seen
        keep = self._hidden_for <= PATIENCE_FRAMES
        row, column = self._cells(seen.xy).T
        cell = row * self._shape[1] + column
        shown = (keep & seen.visible).nonzero()[0]
        order = shown[np.argsort(cell[shown], kind="stable")]  # by cell, and by age within it
        first = np.searchsorted(cell[order], cell[order])
        keep[order[np.arange(len(order)) - first >= MAX_POINTS_PER_CELL]] = False
        if keep.all():
            return
        self.tracker.keep(keep)
        self._hidden_for = self._hidden_for[keep]
        self._seen = LiveSeen(seen.ids[keep], seen.xy[keep], seen.visible[keep], seen.born[keep])

    def _add(self, frame: np.ndarray, wanted: np.ndarray) -> None:
        assert self._seen is not None
        if not wanted.any():
            return
        places = self._best_places(frame, wanted)
        if not len(places):
            return
        self.tracker.add(places)
        seen, count = self._seen, len(places)
        ids = np.arange(self._next_id, self._next_id + count)
        if self._next_id:
            self.reseeded += count
        self._next_id += count
        self._hidden_for = np.concatenate([self._hidden_for, np.zeros(count, np.int32)])
        self._seen = LiveSeen(
            np.concatenate([seen.ids, ids]),
            np.concatenate([seen.xy, places]),
            np.concatenate([seen.visible, np.ones(count, bool)]),
            np.concatenate([seen.born, places]),
        )

    def _best_places(self, frame: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The best textured pixel in the middle of each wanted cell, (K, 2); cells without texture are left out."""
        score = trackability(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        (H, W), (rows, columns) = self._size, self._shape
        places = []
        for row, column in zip(*wanted.nonzero(), strict=True):
            top, bottom = (int((row + share) * H / rows) for share in (0.2, 0.8))
            left, right = (int((column + share) * W / columns) for share in (0.2, 0.8))
            part = score[top : max(bottom, top + 1), left : max(right, left + 1)]
            y, x = divmod(int(part.argmax()), part.shape[1])
            if part[y, x] >= MIN_TRACKABLE:
                places.append((left + x + 0.5, top + y + 0.5))
        return np.array(places, np.float32).reshape(-1, 2)


def at_rate(stream: Iterable[LiveSeen], fps: float, wanted_fps: float) -> Iterator[LiveSeen]:
    """Points of a stream at ``fps``, read at ``wanted_fps``: in between two frames in which a point is seen, linearly.

    As in `Tracks.resample`, but for streams without end whose points come and go; the first moment is the same.
    """
    if not (fps > 0 and wanted_fps > 0):
        raise ValueError(f"frame rates must be positive, got {fps} and {wanted_fps}")
    before: LiveSeen | None = None
    wanted = 0
    for index, after in enumerate(stream):
        if before is None:
            before = after
        while (when := wanted * fps / wanted_fps) <= index + 1e-6:
            yield _between(before, after, 1.0 if index == 0 else min(max(when - (index - 1), 0.0), 1.0))
            wanted += 1
        before = after


def seen_at(knots: list[tuple[float, LiveSeen]], before: LiveSeen | None, phases: list[float]) -> list[LiveSeen]:
    """Points at moments of a span of time, out of what was seen when in it; at its end always what was seen last.

    Args:
        knots: (moment in [0, 1], points), in order. before: what was seen last before the span, if anything.
        phases: the moments wanted, rising to 1. There must be a knot, or something before.
    """
    known = [(0.0, before)] if before is not None else []
    known += [(0.0 if not known and n == 0 else when, seen) for n, (when, seen) in enumerate(knots)]
    made = []
    for phase in phases:
        later = next((n for n, (when, _) in enumerate(known) if when > phase + 1e-9), len(known))
        if later == len(known) or phase >= 1:
            made.append(known[-1][1])
            continue
        (start, first), (stop, second) = known[max(later - 1, 0)], known[later]
        made.append(_between(first, second, min(max((phase - start) / max(stop - start, 1e-9), 0.0), 1.0)))
    return made


def _between(before: LiveSeen, after: LiveSeen, share: float) -> LiveSeen:
    """Points ``share`` of the way from one frame to the next; those of the nearer frame, moved where both see them."""
    if share > 1 - 1e-6:
        return after
    near, far, weight = (after, before, 1 - share) if share > 0.5 else (before, after, share)
    xy = near.xy.copy()
    if len(near.ids) and len(far.ids):
        order = np.argsort(far.ids)
        found = order[np.searchsorted(far.ids, near.ids, sorter=order).clip(max=len(order) - 1)]
        both = (far.ids[found] == near.ids) & far.visible[found] & near.visible
        xy[both] += weight * (far.xy[found[both]] - near.xy[both])
    return LiveSeen(near.ids, xy, near.visible, near.born)
