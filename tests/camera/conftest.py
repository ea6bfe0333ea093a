"""A small analytic world: rectangles in space, true depth and true visibility by casting rays."""

from dataclasses import dataclass

import numpy as np
import pytest

from motionstream.camera.pose import Pinhole, Pose
from motionstream.eval.panels import PanelSpace, Rectangle


@dataclass(frozen=True, eq=False)
class World(PanelSpace):
    """A wall, a floor that is seen at a slant, a turned panel and a near panel that hides parts of them."""

    parts: tuple[Rectangle, ...] = (
        Rectangle((0.0, 0.0, 6.0), (30.0, 30.0)),
        Rectangle((0.0, 1.2, 5.0), (30.0, 9.0), down=(0.0, 0.0, 1.0)),
        Rectangle((1.3, 0.0, 4.0), (0.8, 0.9), right=(0.8, 0.0, 0.6)),
        Rectangle((-0.5, -0.1, 2.5), (0.4, 0.45)),
    )

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
        visible = inside & (self.first_hit(np.asarray(pose.position), points - np.asarray(pose.position))[0] > 1 - 1e-6)
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
