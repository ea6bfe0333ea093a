"""Camera moves by name: pan, tilt, roll, zoom, dolly, truck, pedestal, orbit and arc.

A move has an amount in its own unit, a duration and an easing. Lengths are in *scene units*: multiples of the depth of the
subject (`DepthMap.reference`), so a move looks alike whatever unit the depth has. Orbits turn about the subject.

>>> PresetPath(preset="dolly-in", amount=0.5, duration_s=2.0).pose_at(2.0).position
(0.0, 0.0, 0.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from motionstream.camera.pose import Pose, turn
from motionstream.tracks.paths import EASINGS, ease

ARC_CLOSING = 0.015  # an arc is a spiral: with each degree it comes closer by this share of the distance


@dataclass(frozen=True)
class Move:
    """How one preset moves: the pose at a signed amount, the amount when none is given, its unit, and what it does."""

    pose: Callable[[float], Pose]
    default: float
    unit: str
    words: str
    sign: float = 1.0
    limit: float = 360.0


def orbit_pose(right_deg: float = 0.0, up_deg: float = 0.0, distance: float = 1.0) -> Pose:
    """A camera that looks at the subject, (0, 0, 1) in scene units, from `distance` after going round it in degrees."""
    rotation = turn(pan_deg=-right_deg, tilt_deg=-up_deg)
    x, y, z = (Pose(rotation=rotation).matrix[:, 2] * -distance).tolist()
    return Pose(position=(x, y, z + 1.0), rotation=rotation)


def _pair(
    positive: str, negative: str, pose: Callable[[float], Pose], default: float, unit: str, words: str, limit: float
) -> dict[str, Move]:
    forth, back = words.split(" / ")
    return {positive: Move(pose, default, unit, forth, 1.0, limit), negative: Move(pose, default, unit, back, -1.0, limit)}


DEGREES, SCENE = "degrees", "scene units"
MOST_SECONDS = 1e6
MOVES: dict[str, Move] = {
    **_pair("pan-right", "pan-left", lambda a: Pose(rotation=turn(pan_deg=a)), 12, DEGREES, "turns right / turns left", 360),
    **_pair("tilt-up", "tilt-down", lambda a: Pose(rotation=turn(tilt_deg=a)), 9, DEGREES, "turns up / turns down", 90),
    **_pair(
        "roll-right", "roll-left", lambda a: Pose(rotation=turn(roll_deg=a)), 15, DEGREES,
        "rolls clockwise / rolls counterclockwise", 720,
    ),
    **_pair(
        "zoom-in", "zoom-out", lambda a: Pose(zoom=2.0**a), 0.5, "doublings of the focal length", "zooms in / zooms out", 4
    ),
    **_pair(
        "dolly-in", "dolly-out", lambda a: Pose(position=(0.0, 0.0, a)), 0.3, SCENE,
        "moves towards the subject / moves away", 100,
    ),
    **_pair(
        "truck-right", "truck-left", lambda a: Pose(position=(a, 0.0, 0.0)), 0.2, SCENE, "moves right / moves left", 100
    ),
    **_pair(
        "pedestal-up", "pedestal-down", lambda a: Pose(position=(0.0, -a, 0.0)), 0.15, SCENE, "moves up / moves down", 100
    ),
    **_pair(
        "orbit-right", "orbit-left", lambda a: orbit_pose(right_deg=a), 15, DEGREES,
        "circles to the right of the subject / circles to its left", 360,
    ),
    **_pair(
        "orbit-up", "orbit-down", lambda a: orbit_pose(up_deg=a), 10, DEGREES,
        "rises over the subject, looking at it / sinks, looking at it", 90,
    ),
    **_pair(
        "arc-right", "arc-left",
        lambda a: orbit_pose(right_deg=a, distance=math.exp(-ARC_CLOSING * abs(a))), 20, DEGREES,
        "circles to the right of the subject, coming closer / circles to its left, coming closer", 180,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PresetPath:
    """A named move.

    Args:
        preset: a name in `MOVES`.
        amount: how far, above 0, in the move's unit; None = its default.
        duration_s: seconds it takes, above 0; after that the camera rests.
        easing: a name in `motionstream.tracks.paths.EASINGS`.

    Raises:
        ValueError: an unknown name, or a value out of its range.
    """

    preset: str
    amount: float | None = None
    duration_s: float = 5.0
    easing: str = "ease-in-out"

    def __post_init__(self) -> None:
        if self.preset not in tuple(MOVES):  # a file may hold what cannot be hashed
            raise ValueError(f"unknown camera preset {self.preset!r}; use one of {', '.join(MOVES)}")
        if self.easing not in tuple(EASINGS):
            raise ValueError(f"unknown easing {self.easing!r}; use one of {', '.join(EASINGS)}")
        move = MOVES[self.preset]
        if self.amount is None:
            object.__setattr__(self, "amount", float(move.default))
        assert self.amount is not None
        if not (math.isfinite(self.amount) and 0 < self.amount <= move.limit):
            raise ValueError(
                f"the amount of {self.preset} must be above 0 and at most {move.limit:g} {move.unit}, got {self.amount}"
            )
        if not 0 < self.duration_s < MOST_SECONDS:
            raise ValueError(f"duration_s must be a number above 0 and below {MOST_SECONDS:g}, got {self.duration_s}")

    @property
    def in_scene_units(self) -> bool:
        """Positions are multiples of the subject's depth."""
        return True

    def pose_at(self, time_s: float) -> Pose:
        """The camera at a moment, >= 0 seconds."""
        assert self.amount is not None
        move = MOVES[self.preset]
        return move.pose(move.sign * self.amount * float(ease(self.easing, time_s / self.duration_s)))
