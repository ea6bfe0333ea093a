"""Camera paths as JSON: key frames, or a named move. Version 1.

    {"format": "motionstream-camera", "version": 1, "unit": "scene", "interpolation": "smooth", "easing": "linear",
     "keyframes": [{"time_s": 0, "position": [0, 0, 0], "rotation_deg": [0, 0, 0], "zoom": 1},
                   {"time_s": 5, "position": [0.3, 0, 0.1], "rotation_deg": [-15, 0, 0]}]}

    {"format": "motionstream-camera", "version": 1, "preset": "orbit-right", "amount": 15, "duration_s": 5}

`position` is (x right, y down, z forward). `unit` "scene" counts in depths of the subject, "depth" in the unit of the depth
map. `rotation_deg` is [pan to the right, tilt up, roll clockwise]; `quaternion` [w, x, y, z] (camera axes to world
axes) may stand in its place. Only `time_s` must be given; the rest of a key frame defaults to no movement. Poses count from
the first key frame: that is the picture's camera, wherever it stands.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import numpy as np

from motionstream.camera.moves import PresetPath
from motionstream.camera.pose import IDENTITY, Pose, slerp, turn
from motionstream.files import replacing, said_if_unwritable
from motionstream.tracks.paths import EASINGS, ease
from motionstream.tracks.strokes import is_number

FORMAT, VERSION = "motionstream-camera", 1
MAX_KEYFRAMES = 10_000
Unit = Literal["scene", "depth"]
Interpolation = Literal["smooth", "linear"]


@dataclass(frozen=True, kw_only=True)
class KeyframePath:
    """A camera path through key frames.

    Rotations turn by slerp between neighbours, the zoom changes by equal factors, and positions go along a smooth curve
    through all key frames (cubic Hermite with finite-difference tangents) or straight from one to the next.

    Args:
        times_s: increasing, the first 0; one or more.
        poses: as many.
        unit: "scene" = positions in depths of the subject, "depth" = in the unit of the depth map.
        interpolation: of positions, "smooth" or "linear".
        easing: of the whole path's time, a name in `motionstream.tracks.paths.EASINGS`.

    Raises:
        ValueError: a rule above is broken.
    """

    times_s: tuple[float, ...]
    poses: tuple[Pose, ...]
    unit: Unit = "scene"
    interpolation: Interpolation = "smooth"
    easing: str = "linear"

    def __post_init__(self) -> None:
        times = tuple(time.item() if isinstance(time, np.generic) else time for time in self.times_s)
        object.__setattr__(self, "times_s", times)
        if not 1 <= len(self.times_s) <= MAX_KEYFRAMES or len(self.times_s) != len(self.poses):
            raise ValueError(f"a camera path needs 1 to {MAX_KEYFRAMES} key frames, got {len(self.times_s)}")
        if not all(is_number(time) for time in self.times_s) or self.times_s[0] != 0:
            raise ValueError(f"the first key frame must be at time_s 0 and all times numbers, got {self.times_s[:4]}")
        for before, after in zip(self.times_s, self.times_s[1:], strict=False):
            if not before < after:
                raise ValueError(f"the times of key frames must increase, got {before:g} and then {after:g}")
        for name, value, known in (
            ("unit", self.unit, get_args(Unit)),
            ("interpolation", self.interpolation, get_args(Interpolation)),
            ("easing", self.easing, tuple(EASINGS)),
        ):
            if value not in known:
                raise ValueError(f"{name} of a camera path must be one of {', '.join(known)}, got {value!r}")

    @property
    def duration_s(self) -> float:
        """Time of the last key frame; after it the camera rests."""
        return self.times_s[-1]

    @property
    def in_scene_units(self) -> bool:
        """Positions are multiples of the subject's depth."""
        return self.unit == "scene"

    def pose_at(self, time_s: float) -> Pose:
        """The camera at a moment, >= 0 seconds, seen from the first key frame."""
        if len(self.poses) == 1:
            return Pose()
        time_s = float(ease(self.easing, time_s / self.duration_s)) * self.duration_s
        k = min(max(bisect_right(self.times_s, time_s) - 1, 0), len(self.poses) - 2)
        span = self.times_s[k + 1] - self.times_s[k]
        share = (time_s - self.times_s[k]) / span
        a, b = self.poses[k], self.poses[k + 1]
        x, y, z = self._position(k, share, span).tolist()
        pose = Pose(
            position=(x, y, z),
            rotation=slerp(a.rotation, b.rotation, share),
            zoom=math.exp((1 - share) * math.log(a.zoom) + share * math.log(b.zoom)),
        )
        return pose.relative_to(self.poses[0])

    def _position(self, k: int, share: float, span: float) -> np.ndarray:
        start, end = (np.asarray(self.poses[i].position) for i in (k, k + 1))
        if self.interpolation == "linear":
            return start + (end - start) * share
        out, into = self._velocity(k) * span, self._velocity(k + 1) * span
        s, s2, s3 = share, share**2, share**3
        return (2 * s3 - 3 * s2 + 1) * start + (s3 - 2 * s2 + s) * out + (3 * s2 - 2 * s3) * end + (s3 - s2) * into

    def _velocity(self, k: int) -> np.ndarray:
        """Through key frame k: from its neighbour before to the one after."""
        before, after = max(k - 1, 0), min(k + 1, len(self.poses) - 1)
        change = np.asarray(self.poses[after].position) - np.asarray(self.poses[before].position)
        return change / (self.times_s[after] - self.times_s[before])


CameraPath = KeyframePath | PresetPath


def poses_of(path: CameraPath, *, num_frames: int, fps: float) -> list[Pose]:
    """The camera in each frame of a clip; frame k is at k / fps seconds."""
    if num_frames < 1 or not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"num_frames must be at least 1 and fps above 0, got {num_frames} and {fps}")
    return [path.pose_at(t / fps) for t in range(num_frames)]


def interpolate_poses(first: Pose, last: Pose, num_frames: int) -> list[Pose]:
    """Cameras from one to another in even steps, seen from the first one, as between two views of the LLFF protocol."""
    path = KeyframePath(times_s=(0.0, 1.0), poses=(first, last), unit="depth", interpolation="linear")
    return [path.pose_at(share) for share in np.linspace(0.0, 1.0, num_frames).tolist()]


# ---- JSON ------------------------------------------------------------------------------------------------------------


def save_camera(path: str | Path, camera: CameraPath) -> None:
    """Write a camera path as JSON; the file appears complete or not at all."""
    path = Path(path)
    document: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if isinstance(camera, PresetPath):
        document |= {
            "preset": camera.preset,
            "amount": camera.amount,
            "duration_s": camera.duration_s,
            "easing": camera.easing,
        }
    else:
        document |= {"unit": camera.unit, "interpolation": camera.interpolation, "easing": camera.easing}
        document["keyframes"] = [
            {"time_s": time, "position": list(pose.position), "quaternion": list(pose.rotation), "zoom": pose.zoom}
            for time, pose in zip(camera.times_s, camera.poses, strict=True)
        ]
    with said_if_unwritable(path), replacing(path) as unfinished:
        unfinished.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load_camera(path: str | Path) -> CameraPath:
    """Read a camera path from JSON.

    Raises:
        ValueError: one sentence that names the file, the value and the fix.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); write it as docs/camera.md shows") from error
    try:
        return camera_from_json(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def camera_from_json(document: Any) -> CameraPath:
    """Read a camera path from the decoded JSON document.

    Raises:
        ValueError: another format or version, an unknown key, or a value out of its range.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise ValueError(f"format is {found!r}, but a camera path needs {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ValueError(f"version is {document.get('version')!r}, but this release reads version {VERSION} only")
    rest = {key: value for key, value in document.items() if key not in ("format", "version")}
    if "preset" in rest:
        _check_keys(rest, "a camera move", ("preset", "amount", "duration_s", "easing"))
        for key in ("amount", "duration_s"):
            if key in rest and not is_number(rest[key]):
                raise ValueError(f"{key!r} must be a number, got {rest[key]!r:.60}")
        return PresetPath(**rest)
    _check_keys(rest, "a camera path", ("keyframes", "unit", "interpolation", "easing"))
    frames = rest.pop("keyframes", None)
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"'keyframes' must be a list with at least one entry, got {frames!r:.60}")
    times, poses = zip(*(_read_keyframe(frame, k) for k, frame in enumerate(frames)), strict=True)
    return KeyframePath(times_s=times, poses=poses, **rest)


def _read_keyframe(frame: Any, k: int) -> tuple[float, Pose]:
    if not isinstance(frame, dict):
        raise ValueError(f"key frame {k} must be an object with 'time_s', got {frame!r:.60}")
    _check_keys(frame, f"key frame {k}", ("time_s", "position", "rotation_deg", "quaternion", "zoom"))
    if "rotation_deg" in frame and "quaternion" in frame:
        raise ValueError(f"key frame {k} has rotation_deg and quaternion; give one of them")
    (time,) = _numbers([frame.get("time_s")], 1, f"'time_s' of key frame {k}")
    x, y, z = _numbers(frame.get("position", [0, 0, 0]), 3, f"'position' of key frame {k}")
    (zoom,) = _numbers([frame.get("zoom", 1)], 1, f"'zoom' of key frame {k}")
    if "quaternion" in frame:
        w, i, j, l = _numbers(frame["quaternion"], 4, f"'quaternion' of key frame {k}")
        rotation = (w, i, j, l)
    elif "rotation_deg" in frame:
        rotation = turn(*_numbers(frame["rotation_deg"], 3, f"'rotation_deg' of key frame {k}"))
    else:
        rotation = IDENTITY
    try:
        return time, Pose(position=(x, y, z), rotation=rotation, zoom=zoom)
    except ValueError as error:
        raise ValueError(f"key frame {k}: {error}") from error


def _numbers(values: Any, count: int, what: str) -> list[float]:
    if not isinstance(values, list) or len(values) != count or not all(is_number(value) for value in values):
        shown = values[0] if isinstance(values, list) and count == 1 else values
        large = " below 1e9" if isinstance(shown, float) else ""
        raise ValueError(f"{what} must be {'a number' if count == 1 else f'{count} numbers'}{large}, got {shown!r:.60}")
    return [float(value) for value in values]


def _check_keys(form: dict[str, Any], what: str, known: Sequence[str]) -> None:
    for key in form:
        if key not in known:
            raise ValueError(f"{what} has the unknown key {key!r}; known are {', '.join(known)}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that can be used")
