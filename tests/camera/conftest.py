"""A small analytic world: rectangles in space, true depth and true visibility by casting rays."""

from dataclasses import dataclass

import numpy as np
import pytest

from motionstream.camera.depth import DepthMap
from motionstream.camera.pose import Pinhole, Pose


@dataclass(frozen=True)
class Rectangle:
    """All points `middle + a * right + b * down` with |a|, |b| below the half sizes; right and down are unit vectors."""

    middle: tuple[float, float, float]
    half: tuple[float, float]
    right: tuple[float, float, float] = (1.0, 0.0, 0.0)
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """How far along rays (..., 3) from `origin` the rectangle lies, in lengths of `direction`; infinite if missed."""
        right, down = np.asarray(self.right), np.asarray(self.down)
        normal = np.cross(right, down)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = (np.asarray(self.middle) - origin) @ normal / (direction @ normal)
            offset = origin + direction * far[..., None] - np.asarray(self.middle)
            inside = (np.abs(offset @ right) <= self.half[0]) & (np.abs(offset @ down) <= self.half[1]) & (far > 0)
        return np.where(inside, far, np.inf)


@dataclass(frozen=True)
class World:
    """A wall, a floor that is seen at a slant, a turned panel and a near panel that hides parts of them."""

    pinhole: Pinhole
    parts: tuple[Rectangle, ...] = (
        Rectangle((0.0, 0.0, 6.0), (30.0, 30.0)),
        Rectangle((0.0, 1.2, 5.0), (30.0, 9.0), down=(0.0, 0.0, 1.0)),
        Rectangle((1.3, 0.0, 4.0), (0.8, 0.9), right=(0.8, 0.0, 0.6)),
        Rectangle((-0.5, -0.1, 2.5), (0.4, 0.45)),
    )

    def first_hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        return np.min([part.meet(origin, direction) for part in self.parts], axis=0)

    def depth_at(self, xy: np.ndarray, pose: Pose) -> np.ndarray:
        """True depth along the optical axis at pixels xy (..., 2) of a view."""
        view = self.pinhole.zoomed(pose.zoom)
        rays = view.unproject(xy, np.ones(xy.shape[:-1]))  # z = 1: the distance is the depth
        return self.first_hit(np.asarray(pose.position), rays @ pose.matrix.T)

    def depth_map(self, fine: int = 2) -> DepthMap:
        H, W = self.pinhole.size
        x, y = np.meshgrid(np.arange(W * fine) + 0.5, np.arange(H * fine) + 0.5)
        values = self.depth_at(np.stack([x, y], axis=-1) / fine, Pose())
        return DepthMap(values=values, metric=True, source="true")

    def project(self, points: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """By the matrix K [R | t], written out apart from the code under test."""
        H, W = self.pinhole.size
        focal = self.pinhole.focal_px * pose.zoom
        camera = np.array([[focal, 0, W / 2], [0, focal, H / 2], [0, 0, 1]])
        w, x, y, z = pose.rotation
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        to_world = np.eye(3) + 2 * w * cross + 2 * cross @ cross  # Rodrigues' formula for a quaternion
        homogeneous = (camera @ to_world.T @ (points - np.asarray(pose.position)).T).T
        return homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2]

    def sees(self, points: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Whether nothing lies between camera and points (N, 3), by rays; and whether that is sure 1.5 pixels around."""
        H, W = self.pinhole.size
        xy, depth = self.project(points, pose)
        inside = (depth > 0) & (xy >= 0).all(axis=1) & (xy < [W, H]).all(axis=1)
        visible = inside & (self.first_hit(np.asarray(pose.position), points - np.asarray(pose.position)) > 1 - 1e-6)
        sure = (np.abs(xy - np.clip(xy, 0, [W, H])).max(axis=1) > 0.1) | (np.minimum(xy, [W, H] - xy).min(axis=1) > 0.1)
        around = [(1.5 * np.cos(a), 1.5 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
        here = self.depth_at(xy, pose)
        for offset in around:
            there = self.depth_at(xy + np.array(offset), pose)
            with np.errstate(invalid="ignore"):
                sure &= ~inside | (np.abs(there / here - 1) < 0.1)
        return visible, sure


@pytest.fixture
def world() -> World:
    return World(Pinhole.from_fov((96, 128), 60.0))


@pytest.fixture
def large_world() -> World:
    return World(Pinhole.from_fov((180, 320), 75.0))
