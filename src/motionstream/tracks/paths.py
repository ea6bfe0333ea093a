"""Paths that things are moved along: lines, polylines, waves, circles and orbits, with easing, speed or duration.

A path is a dense polyline that is walked at constant speed in arc length; easing bends the time, not the path.
`move_mask` is "make this object go there": points inside a mask go along a path together, turning and growing on the way.

>>> path = line_path((10.0, 20.0), (50.0, 20.0))
>>> path.at(walk(path, num_frames=3, fps=2.0))[:, 0].tolist()
[10.0, 30.0, 50.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motionstream.tracks.given import check_whole
from motionstream.tracks.tracks import Tracks

XY = tuple[float, float]
EASINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda phase: phase,
    "ease-in": lambda phase: phase**2,
    "ease-out": lambda phase: 1 - (1 - phase) ** 2,
    "ease-in-out": lambda phase: phase**2 * (3 - 2 * phase),
}
STEPS_PER_TURN = 720  # a chord of half a degree leaves a circle by 1e-5 of its radius
MAX_POINTS = 4096


def ease(name: str, phase: Any) -> np.ndarray:
    """Bend time: phase (...) -> (...) float64; below 0 and above 1 it stays at the ends, which are exactly 0 and 1.

    Raises:
        ValueError: unknown name; it lists the known ones.
    """
    if name not in tuple(EASINGS):  # a list, say, cannot be hashed
        raise ValueError(f"unknown easing {name!r}; use one of {', '.join(EASINGS)}")
    return EASINGS[name](np.clip(np.asarray(phase, dtype=np.float64), 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class MotionPath:
    """A path in pixels.

    Args:
        points: (M, 2) (x, y), M >= 1, finite; neighbours may coincide.
        scales: (M,) > 0, how large a thing is there relative to its start; None = always 1.

    Raises:
        ValueError: another shape, or a value that is not finite (or a scale that is not positive).
    """

    points: np.ndarray
    scales: np.ndarray | None = None

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ValueError(f"a path needs points of the shape (M, 2) with M of at least 1, got {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError(f"a path's points must be finite numbers, got {points[~np.isfinite(points).all(axis=1)][0]}")
        scales = np.ones(len(points)) if self.scales is None else np.asarray(self.scales, dtype=np.float64)
        if scales.shape != (len(points),) or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"a path of {len(points)} points needs as many scales above 0, got {scales!r:.80}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "scales", scales)

    @property
    def length_px(self) -> float:
        """Length along the path, in pixels."""
        return float(self._mileage()[-1])

    def at(self, phase: Any) -> np.ndarray:
        """Positions (..., 2) at the share `phase` (...) in [0, 1] of the way."""
        travelled = np.asarray(phase, dtype=np.float64) * self.length_px
        return np.stack([np.interp(travelled, self._mileage(), self.points[:, k]) for k in (0, 1)], axis=-1)

    def scale_at(self, phase: Any) -> np.ndarray:
        """Relative size (...) of the thing at the share `phase` (...) in [0, 1] of the way."""
        assert self.scales is not None
        return np.interp(np.asarray(phase, dtype=np.float64) * self.length_px, self._mileage(), self.scales)

    def _mileage(self) -> np.ndarray:
        steps = np.hypot(*np.diff(self.points, axis=0).T)
        return np.concatenate([[0.0], np.cumsum(steps)])


def line_path(start: XY, end: XY) -> MotionPath:
    """Straight from `start` to `end`, (x, y) in pixels."""
    return MotionPath(np.array([start, end], dtype=np.float64))


def follow_path(points: Sequence[XY]) -> MotionPath:
    """Through the given points in turn, straight in between."""
    return MotionPath(np.asarray(points, dtype=np.float64))


def wave_path(start: XY, end: XY, amplitude_px: float, cycles: float = 2.0) -> MotionPath:
    """From `start` to `end` swinging to both sides like a sine of `cycles` periods, to its left first."""
    _check_numbers(amplitude_px=amplitude_px, cycles=cycles)
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = b - a
    across = np.array([along[1], -along[0]]) / max(float(np.hypot(*along)), 1e-9)  # y points down: this is the left
    phase = np.linspace(0.0, 1.0, _steps(cycles))[:, None]
    return MotionPath(a + along * phase + across * amplitude_px * np.sin(2 * math.pi * cycles * phase))


def circle_path(start: XY, centre: XY, turns: float = 1.0) -> MotionPath:
    """From `start` round `centre`, clockwise as seen on the screen; negative `turns` go the other way."""
    return orbit_path(start, centre, turns=turns, flatten=1.0, depth=0.0)


def orbit_path(start: XY, centre: XY, turns: float = 1.0, flatten: float = 0.35, depth: float = 0.25) -> MotionPath:
    """From `start` round `centre` on a level circle seen from above at a slant.

    Args:
        start, centre: (x, y) in pixels.
        turns: how many times round; positive is clockwise as seen on the screen, negative the other way.
        flatten: height over width of the ellipse, in (0, 1].
        depth: how much nearer and larger the front is than the middle, in [0, 1); in front means lower on the screen.
    """
    _check_numbers(turns=turns, flatten=flatten, depth=depth)
    if not 0 < flatten <= 1 or not 0 <= depth < 1:
        raise ValueError(f"an orbit needs flatten in (0, 1] and depth in [0, 1), got {flatten} and {depth}")
    dx, dy = start[0] - centre[0], (start[1] - centre[1]) / flatten
    radius, begin = math.hypot(dx, dy), math.atan2(dy, dx)
    angle = begin + 2 * math.pi * turns * np.linspace(0.0, 1.0, _steps(turns))
    points = np.stack([centre[0] + radius * np.cos(angle), centre[1] + flatten * radius * np.sin(angle)], axis=1)
    return MotionPath(points, scales=(1 - depth * math.sin(begin)) / (1 - depth * np.sin(angle)))


def walk(
    path: MotionPath,
    *,
    num_frames: int,
    fps: float,
    duration_s: float | None = None,
    speed_px_s: float | None = None,
    easing: str = "linear",
    start_s: float = 0.0,
) -> np.ndarray:
    """When it is where: the share of the way (T,) in [0, 1] at each frame; it waits before and rests after.

    Args:
        path: whose length turns a speed into a duration.
        num_frames, fps: of the clip.
        duration_s: seconds from start to end, > 0. speed_px_s: mean speed instead. Neither: to the clip's end.
        easing: a name in `EASINGS`.
        start_s: when it sets off, >= 0.

    Raises:
        ValueError: both duration and speed, an unknown easing, or a value out of its range.
    """
    if duration_s is not None and speed_px_s is not None:
        raise ValueError(f"give either duration_s or speed_px_s, got {duration_s} and {speed_px_s}")
    num_frames = check_whole("num_frames", num_frames)
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a number above 0, got {fps}")
    for name, value in (("duration_s", duration_s), ("speed_px_s", speed_px_s)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a number above 0, got {value}")
    if not (math.isfinite(start_s) and start_s >= 0):
        raise ValueError(f"start_s must be at least 0, got {start_s}")
    if speed_px_s is not None:
        duration_s = path.length_px / speed_px_s
    elif duration_s is None:
        duration_s = (num_frames - 1) / fps - start_s
    times_s = np.arange(num_frames) / fps - start_s
    if duration_s <= 0:  # nothing to walk, or no time for it: it is there at once
        return np.where(times_s >= 0, ease(easing, 1.0), 0.0)
    return ease(easing, times_s / duration_s)


def points_in_mask(mask: np.ndarray, *, spacing_px: float | None = None, max_points: int = 64) -> np.ndarray:
    """Lay a square grid over the inside of a mask.

    Args:
        mask: (H, W) bool, True = the object.
        spacing_px: distance of neighbours, > 0. None: such that there are about `max_points`.
        max_points: most points, 1 to 4096; a grid with more is thinned evenly.

    Returns:
        (M, 2) float64 (x, y) in pixels, M >= 1; the inner pixel nearest to the centre where no grid point is inside.

    Raises:
        ValueError: another shape, an empty mask, or a value out of its range.
    """
    if mask.ndim != 2 or mask.dtype != bool:
        raise ValueError(f"a mask must be (H, W) bool, got {mask.shape} {mask.dtype}")
    if not mask.any():
        raise ValueError(f"the mask of {mask.shape[1]}x{mask.shape[0]} pixels is empty; mark the object in it")
    if not 1 <= max_points <= MAX_POINTS:
        raise ValueError(f"max_points must be 1 to {MAX_POINTS}, got {max_points}")
    if spacing_px is None:
        spacing_px = max(1.0, math.sqrt(mask.sum() / max_points))
    if not (math.isfinite(spacing_px) and spacing_px > 0):
        raise ValueError(f"spacing_px must be a number above 0, got {spacing_px}")
    rows, columns = mask.nonzero()
    inner = np.stack([columns, rows], axis=1) + 0.5  # (P, 2) pixel centres
    centre = inner.mean(axis=0)
    reach = np.abs(inner - centre).max(axis=0) // spacing_px
    dx, dy = np.meshgrid(np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1))
    grid = centre + np.stack([dx.ravel(), dy.ravel()], axis=1) * spacing_px
    x, y = np.floor(grid).astype(int).T
    on_canvas = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    grid = grid[on_canvas][mask[y[on_canvas], x[on_canvas]]]
    if not len(grid):
        return inner[[np.hypot(*(inner - centre).T).argmin()]]
    return grid[np.unique(np.linspace(0, len(grid) - 1, min(len(grid), max_points)).round().astype(int))]


def move_points(
    points: Any,
    path: MotionPath,
    phase: np.ndarray,
    *,
    size: tuple[int, int],
    fps: float,
    rotate_deg: float = 0.0,
    scale: float = 1.0,
    pivot: XY | None = None,
    first_id: int = 0,
) -> Tracks:
    """Move points together along a path, as one rigid thing that may turn and grow on the way.

    Args:
        points: (M, 2) (x, y) where they are at the path's start, in pixels.
        path: where the thing goes; only its displacement counts, so it need not start at the points.
        phase: (T,) share of the way at each frame, as `walk` makes it.
        size: (H, W) of the canvas. fps: frames per second.
        rotate_deg: turn about the pivot from start to end, clockwise as seen on the screen.
        scale: size at the end relative to the start, > 0, besides what the path itself says.
        pivot: what stays in place under turning and growing; None = the mean of the points.
        first_id: ids are first_id, first_id + 1, ...

    Returns:
        One sample, `xy (1, T, M, 2)`; what leaves the canvas is invisible there.
    """
    start = np.asarray(points, dtype=np.float64)
    if start.ndim != 2 or start.shape[1] != 2 or not len(start) or not np.isfinite(start).all():
        raise ValueError(f"points must be (M, 2) finite numbers with M of at least 1, got the shape {start.shape}")
    _check_numbers(rotate_deg=rotate_deg, scale=scale)
    if scale <= 0:
        raise ValueError(f"scale must be above 0, got {scale}")
    centre = start.mean(axis=0) if pivot is None else np.asarray(pivot, dtype=np.float64)
    phase = np.asarray(phase, dtype=np.float64)
    if phase.ndim != 1 or not len(phase) or not np.isfinite(phase).all():
        raise ValueError(f"phase must be (T,) finite numbers with T of at least 1, got the shape {phase.shape}")
    angle = np.radians(rotate_deg) * phase
    growth = scale**phase * path.scale_at(phase)
    cos, sin = growth * np.cos(angle), growth * np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)  # (T, 2, 2)
    place = centre + path.at(phase) - path.at(0.0)  # (T, 2)
    xy = place[:, None] + np.einsum("tij,mj->tmi", turn, start - centre)
    return Tracks.from_points(xy, ids=first_id + np.arange(len(start)), size=size, fps=fps)


def move_mask(mask: np.ndarray, path: MotionPath, phase: np.ndarray, *, fps: float, **how: Any) -> Tracks:
    """ "Make this object go there": points inside `mask` (H, W) bool go along `path`.

    Args:
        mask, path, phase, fps: as in `points_in_mask` and `move_points`.
        how: `spacing_px` and `max_points` of the former; `rotate_deg`, `scale`, `pivot`, `first_id` of the latter.
    """
    grid = {key: how.pop(key) for key in ("spacing_px", "max_points") if key in how}
    return move_points(points_in_mask(mask, **grid), path, phase, size=mask.shape, fps=fps, **how)


def _steps(turns: float) -> int:
    return min(1_000_000, 2 + math.ceil(abs(turns) * STEPS_PER_TURN))


def _check_numbers(**values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")
