"""Cursor events that came since the last chunk, spread over the frames of the next one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from motionstream.stream.points import Point


def resample_pushes(
    before: dict[int, Point], pushes: list[tuple[float, list[Point]]], num_frames: int
) -> tuple[list[list[Point]], dict[int, Point]]:
    """Spread the cursor events since the last chunk evenly over the next chunk's frames.

    Args:
        before: points as they were at the end of the last chunk, by id.
        pushes: (time in seconds, points) in order of arrival. num_frames: frames of the chunk.

    Returns:
        Points per frame, and the points at its end. The last event is always reached in the last frame (latest wins).
    """
    held = {key: point for key, point in before.items() if point.visible}
    knots: dict[int, list[tuple[float, Point]]] = {key: [(0.0, point)] for key, point in held.items()}
    if pushes:
        start, stop = pushes[0][0], pushes[-1][0]
        for time, points in pushes:
            phase = 1.0 if stop <= start else max((time - start) / (stop - start), 1 / num_frames)
            for point in points:
                knots.setdefault(point.id, []).append((phase, point))
    frames = [[_at(path, (t + 1) / num_frames) for path in knots.values()] for t in range(num_frames)]
    gone = {key: _let_go_in(path, num_frames) for key, path in knots.items()}
    frames = [[point for point in frame if point.visible and t not in gone[point.id]] for t, frame in enumerate(frames)]
    return frames, {key: path[-1][1] for key, path in knots.items() if path[-1][1].visible}


def taken_hold(
    pushes: list[tuple[float, list[Point]]],
) -> tuple[list[tuple[float, list[Point]]], list[tuple[float, list[Point]]]]:
    """Pushes before a stream's first chunk, where that is the picture alone -> (those that count in it, those that wait).

    A point takes hold of the picture where it was pushed first; where it went from there belongs to the next chunk.
    """
    now, later, known = [], [], set[int]()
    for time, points in pushes:
        fresh = [point for point in points if point.id not in known]
        rest = [point for point in points if point.id in known]
        known |= {point.id for point in points}
        now += [(time, fresh)] if fresh else []
        later += [(time, rest)] if rest else []
    return now, later


def _let_go_in(path: list[tuple[float, Point]], num_frames: int) -> set[int]:
    """Frames in which a point is let go of that is taken hold of again at once: unseen it would drag its thing along."""
    again = [phase for (phase, point), (_, after) in itertools.pairwise(path) if after.visible and not point.visible]
    return {min(num_frames, max(1, math.ceil(phase * num_frames - 1e-9))) - 1 for phase in again}


def merge_pairs(pushes: list[tuple[float, list[Point]]]) -> list[tuple[float, list[Point]]]:
    """Half as many events: each pair becomes one at the later time, every point at its later place.

    A pair in which a point is let go of and taken hold of again stays two, as long as that still makes fewer of all; else
    of the older half only the newest event of each point is left.
    """
    merged = []
    for start in range(0, len(pushes), 2):
        pair = pushes[start : start + 2]
        before = {point.id for point in pair[0][1] if not point.visible}
        if len(pair) == 2 and any(point.visible and point.id in before for point in pair[1][1]):
            merged += pair
        else:
            merged.append((pair[-1][0], list({point.id: point for _, points in pair for point in points}.values())))
    if len(merged) < len(pushes):
        return merged
    older, newer = pushes[: len(pushes) // 2], pushes[len(pushes) // 2 :]
    return [(older[-1][0], list({point.id: point for _, points in older for point in points}.values())), *newer]


def _at(path: list[tuple[float, Point]], phase: float) -> Point:
    """Position on a path of (phase, point) at ``phase``; visibility is that of the last event passed."""
    passed = [i for i, (when, _) in enumerate(path) if when <= phase + 1e-9]
    if not passed:
        first = path[0][1]
        return Point(first.id, first.x, first.y, False)
    index = passed[-1]
    when, point = path[index]
    if index + 1 == len(path) or not path[index + 1][1].visible:
        return point
    later, target = path[index + 1]
    share = (phase - when) / max(later - when, 1e-9)
    return replace(point, x=point.x + share * (target.x - point.x), y=point.y + share * (target.y - point.y))
