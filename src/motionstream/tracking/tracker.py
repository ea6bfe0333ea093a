"""What every tracker can do, and the names they go by.

A tracker is fed one frame after the other and says where its points are. Coordinates are (x, y) in pixels of the frames,
pixel centres at +0.5, whatever the library below counts from; "visible" is True where the point is seen.

    tracker = make_tracker("lk")
    tracker.start(first_frame)            # uint8 (H, W, 3)
    tracker.add(points)                   # (N, 2), on the frame that was fed last
    for frame in frames:
        for seen in tracker.feed(frame):  # one for each frame; a tracker with look-ahead gives them late
            seen.xy, seen.visible         # (N, 2), (N,)
    late = tracker.finish()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Seen:
    """Where the points are in one frame: ``xy`` (N, 2) float32 in pixels, ``visible`` (N,) bool.

    The position of a point that is not visible is a guess, or the last one.
    """

    xy: np.ndarray
    visible: np.ndarray


class PointTracker(Protocol):
    """A causal or nearly causal tracker of points; see the module for how it is used."""

    growing: bool
    """Whether `add` works after the second frame."""

    def start(self, frame: np.ndarray) -> None:
        """Forget everything; ``frame`` (H, W, 3) uint8 is the first of a new video."""

    def add(self, xy: np.ndarray) -> None:
        """Follow more points, (K, 2) pixels of the latest frame; they come after those there are.

        Raises:
            ValueError: a tracker that is not ``growing`` is given points late.
        """

    def keep(self, mask: np.ndarray) -> None:
        """Go on with the points where ``mask`` (N,) is True and forget the others."""

    def feed(self, frame: np.ndarray) -> list[Seen]:
        """Take the next frame and return what is known by now: one entry a frame, oldest first, none left out."""

    def finish(self) -> list[Seen]:
        """What is still owed for the frames fed so far; the tracker must then be started again."""


def _lucas_kanade(fill: bool = True, **options: Any) -> PointTracker:
    from motionstream.tracking.flow_tracker import FlowTracker
    from motionstream.tracking.motion import LucasKanade

    return FlowTracker(LucasKanade(fill=fill), **options)


def _dense_flow(**options: Any) -> PointTracker:
    from motionstream.tracking.flow_tracker import FlowTracker
    from motionstream.tracking.motion import DenseFlow

    return FlowTracker(DenseFlow(), **options)


def _cotracker(**options: Any) -> PointTracker:
    from motionstream.tracking.cotracker import CoTracker

    return CoTracker(**options)


def _tapir(**options: Any) -> PointTracker:
    from motionstream.tracking.tapir import Tapir

    return Tapir(**options)


def _tapnext(**options: Any) -> PointTracker:
    from motionstream.tracking.tapir import TapNext

    return TapNext(**options)


TRACKERS: dict[str, Callable[..., PointTracker]] = {
    "lk": _lucas_kanade,
    "dis": _dense_flow,
    "cotracker": _cotracker,
    "tapir": _tapir,
    "tapnext": _tapnext,
}
NEED_WEIGHTS = ("cotracker", "tapir", "tapnext")
USUAL_OPTIONS: dict[str, dict[str, Any]] = {}
"""Options of a tracker where none are given, by name: a program that measures sets its user's weights here once."""


def make_tracker(name: str, **options: Any) -> PointTracker:
    """Build a tracker by name: "lk", "dis" (OpenCV, no weights), "cotracker", "tapir", "tapnext" (your own weights).

    Args:
        name: see above. options: `FlowSettings` fields for the first two; ``weights`` (a path) and ``device`` for the rest.

    Raises:
        ValueError: an unknown name, or a library or weights that are not there; one sentence with the fix.
    """
    if name not in TRACKERS:
        raise ValueError(f"unknown tracker {name!r}: use one of {', '.join(TRACKERS)}")
    return TRACKERS[name](**(USUAL_OPTIONS.get(name, {}) | options))


def check_points(xy: np.ndarray) -> np.ndarray:
    """Points as float32 (K, 2), finite; ValueError otherwise."""
    points = np.asarray(xy, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), (x, y) in pixels, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("points must be finite numbers; one is NaN or infinite")
    return points


def check_frame(frame: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """A frame as uint8 (H, W, 3) in one block; ValueError for anything else, or for another size than ``size`` (H, W)."""
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        found = f"{getattr(frame, 'dtype', type(frame).__name__)} {getattr(frame, 'shape', '')}"
        raise ValueError(f"a frame must be uint8 (H, W, 3), got {found}")
    if size is not None and frame.shape[:2] != size:
        raise ValueError(f"frames must not change size: {size[1]}x{size[0]} and then {frame.shape[1]}x{frame.shape[0]}")
    return np.ascontiguousarray(frame)
