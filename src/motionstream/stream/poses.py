"""Where a gesture has its points: poses, how fast a thing follows a hand, and the way along a path. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Ease = Literal["linear", "smooth"]
Mode = Literal["once", "loop", "swing"]
Pose = tuple[float, float, float, float]
"""dx, dy in pixels, angle in radians (clockwise as seen), scale; about the centre of the gesture's points."""

AT_REST: Pose = (0.0, 0.0, 0.0, 1.0)
TURN_PER_PX, GROWTH_PER_PX = 0.04, 0.015
"""Radians and log-scale that a hand may turn and grow a thing by in the time of one pixel of a picture 128 wide, where its
speed is limited."""


def transform(points: np.ndarray, pose: Pose) -> np.ndarray:
    """``(k, 2)`` points turned and scaled about their centre, then moved."""
    dx, dy, angle, scale = pose
    centre = points.mean(0)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    offset = points - centre
    turned = np.stack([cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1]], -1)
    return centre + turned + (dx, dy)


def follow(pose: Pose, target: Pose, reach: float, scale: float = 1.0) -> Pose:
    """One frame's way from ``pose`` towards ``target``: at most ``reach`` pixels, and about as much turn and growth as in a
    picture ``scale`` times smaller, where that is less of a way.

    >>> follow((0.0, 0.0, 0.0, 1.0), (30.0, 40.0, 0.0, 1.0), 5.0)
    (3.0, 4.0, 0.0, 1.0)
    """
    if reach <= 0:
        return target
    dx, dy = target[0] - pose[0], target[1] - pose[1]
    way, turn = math.hypot(dx, dy), target[2] - pose[2]
    grow = math.log(target[3] / pose[3])
    small = reach / scale
    needed = max(way / reach, abs(turn) / (small * TURN_PER_PX), abs(grow) / (small * GROWTH_PER_PX))
    if needed <= 1:
        return target
    return pose[0] + dx / needed, pose[1] + dy / needed, pose[2] + turn / needed, pose[3] * math.exp(grow / needed)


def along(path: Sequence[tuple[float, float]], share: float) -> tuple[float, float]:
    """Displacement from a polyline's start after ``share`` in [0, 1] of its length, in pixels."""
    corners = np.asarray(path, np.float64)
    steps = np.hypot(*np.diff(corners, axis=0).T) if len(corners) > 1 else np.zeros(0)
    total = float(steps.sum())
    if total == 0:
        return 0.0, 0.0
    reached = np.concatenate([[0.0], np.cumsum(steps)])
    x, y = (float(np.interp(share * total, reached, corners[:, axis])) for axis in (0, 1))
    return x - float(corners[0, 0]), y - float(corners[0, 1])


def path_share(age: int, total: int, ease: Ease, mode: Mode) -> float:
    """How far along its path a gesture is after ``age`` of ``total`` frames, in [0, 1]."""
    turns = age / max(total, 1)
    if mode == "once":
        u = min(turns, 1.0)
    elif mode == "loop":
        u = turns % 1.0
        return u  # a loop must not slow down at its seam
    else:
        u = 1 - abs(1 - turns % 2.0)
    return u * u * (3 - 2 * u) if ease == "smooth" else u
