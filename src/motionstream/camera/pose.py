"""Where a camera is, how it is turned and how far it is zoomed in; and what its pixels see.

World: x to the right, y down, z forward, in the camera of the picture (OpenCV's axes). A pose places a camera in it.

>>> pinhole = Pinhole.from_fov((96, 128), fov_deg=60.0)
>>> points = pinhole.unproject(np.array([[64.0, 48.0]]), np.array([2.0]))
>>> xy, depth = pinhole.project(Pose(position=(0.0, 0.0, 1.0)).to_camera(points))
>>> xy.tolist(), depth.tolist()
([[64.0, 48.0]], [1.0])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

IDENTITY = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A camera in the world.

    Args:
        position: (x, y, z) of its centre.
        rotation: unit quaternion (w, x, y, z) that turns camera axes into world axes.
        zoom: focal length relative to that of the picture, > 0.

    Raises:
        ValueError: a number that is not finite, a quaternion of length 0, or a zoom that is not positive.
    """

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[float, float, float, float] = IDENTITY
    zoom: float = 1.0

    def __post_init__(self) -> None:
        numbers = [*self.position, *self.rotation, self.zoom]
        if len(self.position) != 3 or len(self.rotation) != 4 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"a pose needs 3 and 4 finite numbers, got {self.position} and {self.rotation}")
        length = math.hypot(*self.rotation)  # squares of large numbers would overflow
        if length < 1e-9 or self.zoom <= 0:
            raise ValueError(f"a pose needs a rotation that is not 0 and a zoom above 0, got {length:g} and {self.zoom}")
        w, x, y, z = (float(part) / length for part in self.rotation)
        object.__setattr__(self, "rotation", (w, x, y, z))
        object.__setattr__(self, "position", tuple(float(part) for part in self.position))

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) rotation from camera axes to world axes."""
        return rotation_matrix(self.rotation)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) -> the same in this camera's axes."""
        return (points - np.asarray(self.position)) @ self.matrix

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in this camera's axes -> in the world."""
        return points @ self.matrix.T + np.asarray(self.position)

    def relative_to(self, first: Pose) -> Pose:
        """The same camera in a world whose origin is `first`: that one becomes position 0, no turn and zoom 1."""
        w, x, y, z = first.rotation
        return Pose(
            position=_triple(first.to_camera(np.asarray(self.position))),
            rotation=multiply((w, -x, -y, -z), self.rotation),
            zoom=self.zoom / first.zoom,
        )

    def scaled(self, unit: float) -> Pose:
        """The same pose with its position in another unit: times `unit`."""
        x, y, z = self.position
        return replace(self, position=(x * unit, y * unit, z * unit))


def turn(pan_deg: float = 0.0, tilt_deg: float = 0.0, roll_deg: float = 0.0) -> tuple[float, float, float, float]:
    """Quaternion of a camera that is rolled (clockwise), then tilted (up), then panned (to the right), in degrees."""
    pan, tilt, roll = (math.radians(angle) / 2 for angle in (pan_deg, tilt_deg, roll_deg))
    about_y = (math.cos(pan), 0.0, math.sin(pan), 0.0)
    about_x = (math.cos(tilt), math.sin(tilt), 0.0, 0.0)
    about_z = (math.cos(roll), 0.0, 0.0, math.sin(roll))
    return multiply(multiply(about_y, about_x), about_z)


def multiply(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float, float]:
    """Product of two quaternions (w, x, y, z): first turn by `b`, then by `a`."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def slerp(a: Sequence[float], b: Sequence[float], share: float) -> tuple[float, float, float, float]:
    """Turn at constant speed along the shorter way from unit quaternion `a` (share 0) to `b` (share 1)."""
    start, end = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    cosine = float(start @ end)
    if cosine < 0:  # b and -b are the same rotation
        end, cosine = -end, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:
        mixed = start + (end - start) * share
    else:
        mixed = (math.sin((1 - share) * angle) * start + math.sin(share * angle) * end) / math.sin(angle)
    w, x, y, z = (mixed / np.linalg.norm(mixed)).tolist()
    return (w, x, y, z)


def rotation_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """Unit quaternion (w, x, y, z) -> (3, 3)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_of(matrix: np.ndarray) -> tuple[float, float, float, float]:
    """Rotation (3, 3) -> unit quaternion (w, x, y, z) with w >= 0."""
    # The quaternion is the eigenvector of the largest eigenvalue of this symmetric matrix: no special cases.
    m = np.asarray(matrix, dtype=np.float64)
    k = np.empty((4, 4))
    k[0, 0], k[1:, 1:] = np.trace(m), m + m.T - np.trace(m) * np.eye(3)
    k[0, 1:] = k[1:, 0] = [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]]
    w, x, y, z = (np.linalg.eigh(k)[1][:, -1]).tolist()
    sign = 1.0 if w >= 0 else -1.0
    return (sign * w, sign * x, sign * y, sign * z)


@dataclass(frozen=True, kw_only=True)
class Pinhole:
    """A camera's inside: square pixels, optical axis through the middle unless said otherwise.

    Args:
        size: (H, W) of the canvas in pixels.
        focal_px: focal length in pixels, > 0.
        centre: (x, y) where the optical axis meets the canvas, in pixels.
    """

    size: tuple[int, int]
    focal_px: float
    centre: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not (math.isfinite(self.focal_px) and self.focal_px > 0):
            raise ValueError(f"a camera needs a size and a focal length above 0, got {self.size} and {self.focal_px}")
        if not all(map(math.isfinite, self.centre)):
            raise ValueError(f"the centre of a camera must be finite numbers, got {self.centre}")

    @classmethod
    def from_fov(cls, size: tuple[int, int], fov_deg: float) -> Pinhole:
        """From the horizontal field of view of the canvas (H, W), in degrees, above 1 and below 175."""
        if not 1 < fov_deg < 175:
            raise ValueError(f"the field of view must be above 1 and below 175 degrees, got {fov_deg}")
        H, W = size
        return cls(size=size, focal_px=W / 2 / math.tan(math.radians(fov_deg) / 2), centre=(W / 2, H / 2))

    def zoomed(self, zoom: float) -> Pinhole:
        """The same camera with another focal length: times `zoom`."""
        return replace(self, focal_px=self.focal_px * zoom)

    def unproject(self, xy: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) at depth (...) along the optical axis -> points (..., 3) in the camera's axes."""
        rays = (xy - np.asarray(self.centre)) / self.focal_px
        return np.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 3) in the camera's axes -> pixels (..., 2) and depth (...); behind the camera pixels are NaN."""
        depth = points[..., 2]
        ahead = np.where(depth > 1e-9, depth, np.nan)
        return points[..., :2] * (self.focal_px / ahead)[..., None] + np.asarray(self.centre), depth


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return (x, y, z)
