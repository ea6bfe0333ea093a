"""From one frame to the next: sparse Lucas-Kanade and dense DIS flow, both forwards and backwards, by OpenCV.

OpenCV counts pixels from their centres: its (0, 0) is our (0.5, 0.5). The shift is made here and in `appearance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from motionstream.tracking.appearance import HALF_PIXEL, cut_patches, read_field, trackability

FILL_HEIGHT_PX = 384
"""Dense flow that only fills in where there is no texture is computed on a picture of at most about this height."""


@dataclass(frozen=True)
class Moved:
    """Where points went: ``xy`` (N, 2) pixels; ``error`` (N,) pixels between a point and its way there and back."""

    xy: np.ndarray
    error: np.ndarray


class Motion(Protocol):
    """Moves points from one grey frame (H, W) uint8 to the next."""

    def start(self, grey: np.ndarray) -> None: ...

    def advance(self, grey: np.ndarray) -> None:
        """Make ``grey`` the current frame, and the one before the last."""

    def move(self, xy: np.ndarray) -> Moved:
        """Points (N, 2) of the last frame -> the current one."""


class LucasKanade:
    """Pyramidal Lucas-Kanade (Bouguet's form), sparse; by default dense flow decides where it has nothing to go by.

    Lucas-Kanade is exact to hundredths of a pixel on texture and blind on flat patches: there its coarse levels make points
    run along with whatever moves nearby. So a point on a flat patch, or whose way back misses, takes the step of the
    smooth dense flow instead; and where both are sure and differ, it must keep the point's few central pixels better to win.
    On a flat patch that flow, too, is partly noise, which adds up on a wall: where the nearest points that Lucas-Kanade is
    sure of rest, small steps of it count as none.

    Args:
        window_px: side of the patch that is matched, odd. levels: halvings of the picture above full size.
        fill: use dense flow as described; False is plain Lucas-Kanade, faster and worse (docs/tracking.md).
        min_trackable: smaller eigenvalue (see `trackability`) from which on Lucas-Kanade is believed.
    """

    SURE_PX, DIFFERENT_PX, CENTRE_PX, CENTRE_NOISE = 1.0, 0.7, 5, 4.0
    AROUND, STILL_PX, NOISE_PX = 5, 0.3, 2.0

    def __init__(self, window_px: int = 11, levels: int = 3, *, fill: bool = True, min_trackable: float = 6.0) -> None:
        self.window, self.levels, self.min_trackable = (window_px, window_px), levels, min_trackable
        self.dense = DenseFlow(FILL_HEIGHT_PX) if fill else None
        self.criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)

    def start(self, grey: np.ndarray) -> None:
        self._last = self._now = grey
        if self.dense is not None:
            self.dense.start(grey)

    def advance(self, grey: np.ndarray) -> None:
        self._last, self._now = self._now, grey
        if self.dense is not None:
            self.dense.advance(grey)

    def move(self, xy: np.ndarray) -> Moved:
        if not len(xy):
            return Moved(xy, np.zeros(0, np.float32))
        there, found = self._flow(self._last, self._now, xy)
        back, found_back = self._flow(self._now, self._last, there)
        error = np.where(found & found_back, np.linalg.norm(back - xy, axis=1), np.inf).astype(np.float32)
        if self.dense is None:
            return Moved(there, error)
        other = self.dense.move(xy)
        textured = read_field(trackability(self._last), xy)[:, 0] >= self.min_trackable
        believed = textured & (error <= self.SURE_PX)
        disputed = believed & (other.error <= self.SURE_PX)
        disputed &= np.linalg.norm(there - other.xy, axis=1) > self.DIFFERENT_PX
        ours, theirs = (self._centre_change(xy[disputed], place[disputed]) for place in (there, other.xy))
        believed[disputed] = ours < theirs - self.CENTRE_NOISE
        picked = np.where(believed[:, None], there, other.xy).astype(np.float32)
        flat = ~textured & np.isfinite(other.error)
        if believed.any() and flat.any():
            around = np.linalg.norm(self._steps_around(xy[flat], xy[believed], (there - xy)[believed]), axis=1)
            still = (around < self.STILL_PX) & (np.linalg.norm(other.xy - xy, axis=1)[flat] < self.NOISE_PX)
            rows = flat.nonzero()[0][still]
            picked[rows] = xy[rows]
        return Moved(picked, np.where(believed, error, other.error).astype(np.float32))

    def _steps_around(self, xy: np.ndarray, known: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Median step (N, 2) of the nearest ``known`` points (K, 2), whose ``steps`` (K, 2) are sure."""
        count, found = min(self.AROUND, len(known)), []
        for part in np.split(xy, range(512, len(xy), 512)):  # bounded memory for many points
            apart = np.linalg.norm(part[:, None] - known[None], axis=2)
            found.append(np.median(steps[np.argpartition(apart, count - 1, axis=1)[:, :count]], axis=1))
        return np.concatenate(found)

    def _centre_change(self, xy: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Mean squared change (N,) of the pixels right around points on their way."""
        before, after = cut_patches(self._last, xy, self.CENTRE_PX), cut_patches(self._now, there, self.CENTRE_PX)
        return ((after - before) ** 2).mean(axis=1)

    def _flow(self, last: np.ndarray, now: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = np.ascontiguousarray(xy - HALF_PIXEL, dtype=np.float32).reshape(-1, 1, 2)
        unguided: Any = None
        there, status, _ = cv2.calcOpticalFlowPyrLK(
            last,
            now,
            start,
            unguided,
            winSize=self.window,
            maxLevel=self.levels,
            criteria=self.criteria,
            minEigThreshold=1e-4,
        )
        return there.reshape(-1, 2) + HALF_PIXEL, status.reshape(-1).astype(bool)


class DenseFlow:
    """Dense inverse search (DIS) flow, both ways, read at the points.

    Args:
        max_height_px: higher frames are halved, or cut to a third, ..., for the flow; None leaves them as they are.
    """

    MIN_SIDE_PX = 32  # below that OpenCV's coarsest level has nothing left to match

    def __init__(self, max_height_px: int | None = None) -> None:
        opencv: Any = cv2  # its type stubs leave out part of it
        self._dis = opencv.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.max_height_px = max_height_px

    def start(self, grey: np.ndarray) -> None:
        H, W = grey.shape
        if min(H, W) < self.MIN_SIDE_PX:
            raise ValueError(f"frames of {W}x{H} pixels are too small to track; give at least {self.MIN_SIDE_PX} each way")
        tall = 1 if self.max_height_px is None else -(-H // self.max_height_px)
        reduction = min(tall, min(H, W) // self.MIN_SIDE_PX)
        self._small = round(W / reduction), round(H / reduction)
        self._scale = np.array([self._small[0] / W, self._small[1] / H], np.float32)
        self._size = np.array([W, H], np.float32)
        self._last = self._now = self._reduced(grey)

    def _reduced(self, grey: np.ndarray) -> np.ndarray:
        return grey if grey.shape == self._small[::-1] else cv2.resize(grey, self._small, interpolation=cv2.INTER_AREA)

    def advance(self, grey: np.ndarray) -> None:
        self._last, self._now = self._now, self._reduced(grey)
        self._fields: tuple[Any, Any] | None = None

    def move(self, xy: np.ndarray) -> Moved:
        if not len(xy):
            return Moved(xy, np.zeros(0, np.float32))
        if self._fields is None:
            unguided: Any = None  # DIS finds its own start on the coarse levels
            forth, back = self._dis.calc(self._last, self._now, unguided), self._dis.calc(self._now, self._last, unguided)
            self._fields = forth, back
        there = xy + self._step(self._fields[0], xy)
        returned = there + self._step(self._fields[1], there)
        inside = (there >= 0).all(axis=1) & (there < self._size).all(axis=1)
        error = np.linalg.norm(returned - xy, axis=1)
        return Moved(there, np.where(inside, error, np.inf).astype(np.float32))

    def _step(self, field: np.ndarray, xy: np.ndarray) -> np.ndarray:
        # edges lie on edges in both sizes, so places scale without an offset
        return read_field(field, xy * self._scale) / self._scale
