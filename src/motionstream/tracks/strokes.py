"""Strokes: what a hand draws, turned into tracks at the model's frame rate.

A stroke is a cursor path with time stamps; a brush lays a small grid of points around the cursor, and each of them is
a track (the paper's demo drags such grids, appendix C).  Frame k of the result is at k / fps seconds.

>>> drag = Stroke(points=[(0.0, 10.0, 20.0), (1.0, 50.0, 20.0)])
>>> tracks_from_strokes([drag], num_frames=3, fps=2, size=(48, 64)).xy[0, :, 0, 0].tolist()
[10.0, 30.0, 50.0]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from motionstream.tracks.given import check_whole
from motionstream.tracks.tracks import Tracks, check_fps

KINDS = ("drag", "pin", "path")
MAX_BRUSH_POINTS = 4096
MAX_CURSOR_POINTS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """One drawn stroke; NumPy's numbers and arrays are taken for what they say.

    Args:
        points: (time in seconds, x, y in pixels), at least one, times >= 0 and never decreasing, at any intervals.
            The cursor moves linearly between them, and jumps where several have the same time.
        id: id of the brush's centre; the other points of the brush take id + 1, id + 2, ...  None: the next free ids.
        kind: "drag" (a live hand), "pin" (keeps a region still) or "path" (drawn beforehand): its colour in drawings, and a
            pin never snaps.
        radius_px: radius of the brush, >= 0; 0 is a single point.
        spacing_px: distance of neighbouring points in the brush, > 0.
        hold: after the last point, True keeps holding there and False releases (invisible).
        rotate_deg: turn of the brush about the cursor from first to last point, clockwise as seen on the screen.
        scale: size of the brush at the last point, relative to the first, > 0.
        snap: where a stream is given the strokes too, of all that the brush covers hold only the thing that it was set on
            (stream/brush.py); False holds all of it.

    Raises:
        ValueError: a value is out of its range.
    """

    points: Sequence[tuple[float, float, float]]
    id: int | None = None
    kind: str = "drag"
    radius_px: float = 0.0
    spacing_px: float = 8.0
    hold: bool = True
    rotate_deg: float = 0.0
    scale: float = 1.0
    snap: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _plain(getattr(self, one.name)))
        if not isinstance(self.points, Sequence) or not 1 <= len(self.points) <= MAX_CURSOR_POINTS:
            raise ValueError(f"a stroke needs a list of 1 to {MAX_CURSOR_POINTS} points [seconds, x, y]")
        previous = 0.0
        for point in self.points:
            if not isinstance(point, Sequence) or len(point) != 3 or not all(is_number(value) for value in point):
                raise ValueError(f"a stroke's point must be [seconds, x, y] with finite numbers, got {point!r}")
            if point[0] < previous:
                raise ValueError(f"a stroke's times must start at 0 or later and never decrease, got {point[0]}")
            previous = point[0]
        if self.kind not in KINDS:
            raise ValueError(f"a stroke's kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.id is not None and (type(self.id) is not int or not 0 <= self.id < 2**62):
            raise ValueError(f"a stroke's id must be a whole number of at least 0, got {self.id!r}")
        for name in ("hold", "snap"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"a stroke's {name} must be true or false, got {getattr(self, name)!r}")
        for name in ("radius_px", "spacing_px", "rotate_deg", "scale"):
            if not is_number(getattr(self, name)):
                raise ValueError(f"a stroke's {name} must be a finite number, got {getattr(self, name)!r}")
        if self.scale <= 0:
            raise ValueError(f"a stroke's scale must be above 0, got {self.scale}")
        brush_offsets(self.radius_px, self.spacing_px)
        object.__setattr__(self, "points", tuple((float(t), float(x), float(y)) for t, x, y in self.points))


def brush_offsets(radius_px: float, spacing_px: float) -> np.ndarray:
    """Return the square grid of points inside a disc, (M, 2) float64 (dx, dy) in pixels, centre first.

    Args:
        radius_px: radius of the disc, >= 0.
        spacing_px: distance of neighbours, > 0; above the radius only the centre is left (M = 1).
    """
    if not (radius_px >= 0 and 0 < spacing_px < math.inf):  # not the other way round: NaN is no radius either
        raise ValueError(f"a brush needs radius_px >= 0 and spacing_px > 0, got {radius_px} and {spacing_px}")
    if radius_px / spacing_px > math.sqrt(MAX_BRUSH_POINTS / math.pi):  # not squared, which could overflow
        raise ValueError(f"a brush of radius {radius_px} px has too many points; raise spacing_px ({spacing_px})")
    reach = math.floor(radius_px / spacing_px + 1e-9)
    steps = np.arange(-reach, reach + 1)
    dx, dy = (axis.ravel() for axis in np.meshgrid(steps, steps))
    distance = np.hypot(dx, dy)
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] * spacing_px <= radius_px + 1e-9]
    return np.stack([dx, dy], axis=1)[order] * float(spacing_px)


def assign_ids(strokes: Sequence[Stroke], first_id: int = 0) -> list[list[int]]:
    """Return the track ids of each stroke: its own if it names one, else the next free ones from `first_id` on."""
    counts = [len(brush_offsets(stroke.radius_px, stroke.spacing_px)) for stroke in strokes]
    taken: set[int] = set()
    for stroke, count in zip(strokes, counts, strict=True):
        if stroke.id is not None:
            named = range(stroke.id, stroke.id + count)
            clash = taken.intersection(named)
            if clash:
                raise ValueError(f"two strokes use the track id {min(clash)}; a brush of M points takes M ids in a row")
            taken.update(named)
    assigned: list[list[int]] = []
    next_id = first_id
    for stroke, count in zip(strokes, counts, strict=True):
        if stroke.id is not None:
            assigned.append(list(range(stroke.id, stroke.id + count)))
            continue
        ids: list[int] = []
        while len(ids) < count:
            if next_id not in taken:
                ids.append(next_id)
            next_id += 1
        assigned.append(ids)
    return assigned


def kinds_by_id(strokes: Sequence[Stroke], first_id: int = 0) -> dict[int, str]:
    """Return the kind of each track id, as `draw_tracks(colours=...)` takes it."""
    ids_of_strokes = assign_ids(strokes, first_id)
    return {i: stroke.kind for stroke, ids in zip(strokes, ids_of_strokes, strict=True) for i in ids}


def tracks_from_strokes(
    strokes: Sequence[Stroke], num_frames: int, fps: float, size: tuple[int, int], first_id: int = 0
) -> Tracks:
    """Sample strokes at the model's frame rate.

    A track is invisible before its stroke begins and, unless it holds, after it ends; a stroke too short to meet any
    frame shows at the first frame after it.

    Args:
        strokes: any number; none gives tracks with N = 0.
        num_frames: pixel frames T of the result, >= 1.
        fps: frames per second, 0.01 to 10,000.
        size: (H, W) of the canvas the strokes were drawn on, in pixels.
        first_id: smallest id given to strokes without one.

    Returns:
        One sample, `xy (1, T, N, 2)`, strokes one after the other, each with its centre first.
    """
    if not strokes:
        return Tracks.empty(num_frames=num_frames, size=size, fps=fps)
    num_frames = check_whole("num_frames", num_frames)
    times_s = np.arange(num_frames) / check_fps(fps)
    sampled = [_sample(stroke, times_s) for stroke in strokes]
    return Tracks.from_points(
        np.concatenate([points for points, _ in sampled], axis=1),
        visible=np.concatenate([visible for _, visible in sampled], axis=1),
        ids=np.concatenate([np.asarray(ids, dtype=np.int64) for ids in assign_ids(strokes, first_id)]),
        size=size,
        fps=fps,
    )


def _sample(stroke: Stroke, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points (T, M, 2) and visible (T, M) of one stroke at the given times."""
    cursor = np.asarray(stroke.points)  # (P, 3)
    start_s, end_s = cursor[0, 0], cursor[-1, 0]
    # np.interp leaves repeated times undefined; here the cursor reaches the first of them and jumps to the last
    before = np.clip(np.searchsorted(cursor[:, 0], times_s, side="right") - 1, 0, None)
    after = np.minimum(before + 1, len(cursor) - 1)
    span_s = np.maximum(cursor[after, 0] - cursor[before, 0], 1e-12)
    weight = np.clip((times_s - cursor[before, 0]) / span_s, 0.0, 1.0) * (after > before)
    centre = cursor[before, 1:] + (cursor[after, 1:] - cursor[before, 1:]) * weight[:, None]  # (T, 2)

    progress = np.clip((times_s - start_s) / max(end_s - start_s, 1e-9), 0.0, 1.0)
    angle = np.radians(stroke.rotate_deg) * progress
    growth = stroke.scale**progress
    cos, sin = growth * np.cos(angle), growth * np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)  # (T, 2, 2)
    points = centre[:, None] + np.einsum("tij,mj->tmi", turn, brush_offsets(stroke.radius_px, stroke.spacing_px))

    return points, np.broadcast_to(held_frames(stroke, times_s)[:, None], points.shape[:2])


def held_frames(stroke: Stroke, times_s: np.ndarray) -> np.ndarray:
    """``(T,)`` bool: at which of the times (seconds, increasing) the stroke's brush is set on the picture."""
    slack = 1e-6  # seconds: a time stamp that means a frame's moment should meet it
    start_s, end_s = stroke.points[0][0], stroke.points[-1][0]
    shown = times_s >= start_s - slack
    if stroke.hold:
        return shown
    within = shown & (times_s <= end_s + slack)
    if shown.any() and not within.any():
        within[shown.argmax()] = True
    return within


def stroke_to_json(stroke: Stroke) -> dict[str, Any]:
    """Return the JSON form of a stroke: its points, and every other field that is not at its default."""
    form: dict[str, Any] = {
        field.name: getattr(stroke, field.name)
        for field in fields(Stroke)
        if field.name != "points" and getattr(stroke, field.name) != field.default
    }
    return {**form, "points": [list(point) for point in stroke.points]}


def stroke_from_json(form: Any) -> Stroke:
    """Read one stroke from its JSON form, an object with the fields of `Stroke`.

    Raises:
        ValueError: a key is unknown or missing, or a value is out of its range.
    """
    if not isinstance(form, Mapping) or "points" not in form:
        raise ValueError("each stroke must be an object with the key 'points', a list of [seconds, x, y]")
    known = {field.name for field in fields(Stroke)}
    for key in form:
        if key not in known:
            raise ValueError(f"a stroke has the unknown key {key!r}; known are {', '.join(sorted(known))}")
    return Stroke(**form)


def _plain(value: Any, depth: int = 2) -> Any:
    """NumPy's numbers and arrays, also within lists of lists, as Python's; everything else as it is."""
    if isinstance(value, (np.ndarray, np.generic)):
        return float(value) if isinstance(value, np.floating) else value.tolist()
    if depth and isinstance(value, (list, tuple)):
        return [one if type(one) in (int, float) else _plain(one, depth - 1) for one in value]
    return value


def is_number(value: Any) -> bool:
    """Tell whether a value from a file is a number of sane size; bool, NaN, text and 10**400 are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
