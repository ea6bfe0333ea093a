"""A world of flat pieces at known places: where a ray ends, true depth, and pictures, by casting rays.

Nothing here uses the projection of `motionstream.camera.reproject`: it is what that is measured against.

    space = PanelSpace(Pinhole.from_fov((96, 128), 60), (wall, sprite))
    picture, depth = space.render(Pose()), space.depth_map()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from motionstream.camera.depth import DepthMap
from motionstream.camera.pose import Pinhole, Pose

RAYS = 3  # per pixel and axis: pictures are finer than pixels
SOLID = 0.5  # of alpha: a cut-out is there or not, so that depth and visibility are


@dataclass(frozen=True, eq=False)
class Rectangle:
    """All points ``middle + a * right + b * down`` with |a|, |b| up to the half sizes; right and down are unit vectors."""

    middle: tuple[float, float, float]
    half: tuple[float, float]
    right: tuple[float, float, float] = (1.0, 0.0, 0.0)
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays (..., 3) from ``origin`` (3,) meet it.

        Returns:
            (...) how far along, in lengths of ``direction``, infinite where missed; (..., 2) the place (a, b) there.
        """
        right, down = np.asarray(self.right), np.asarray(self.down)
        normal = np.cross(right, down)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = (np.asarray(self.middle) - origin) @ normal / (direction @ normal)
            offset = origin + direction * far[..., None] - np.asarray(self.middle)
            place = np.stack([offset @ right, offset @ down], axis=-1)
            inside = (np.abs(place) <= self.half).all(axis=-1) & (far > 0)
        return np.where(inside, far, np.inf), place


@dataclass(frozen=True, eq=False)
class Panel:
    """A rectangle with a picture on it; where that is transparent there is nothing.

    Args:
        shape: where it is.
        picture: ``(h, w, 4)`` colour and alpha in [0, 1].
        copy: half sizes of one copy of the picture, which is repeated in mirror image; None = the rectangle's.
    """

    shape: Rectangle
    picture: np.ndarray
    copy: tuple[float, float] | None = None

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Rectangle.meet`; transparent places are missed."""
        far, place = self.shape.meet(origin, direction)
        hit = np.isfinite(far)
        far[hit] = np.where(self.at(place[hit])[..., 3] >= SOLID, far[hit], np.inf)
        return far, place

    def at(self, place: np.ndarray) -> np.ndarray:
        """Colour and alpha (..., 4) at places (..., 2), between the picture's pixels bilinearly."""
        h, w = self.picture.shape[:2]
        share = (place / np.asarray(self.copy or self.shape.half) + 1) / 2 % 2
        share = np.where(share > 1, 2 - share, share)
        x, y = np.clip(share[..., 0] * w - 0.5, 0, w - 1), np.clip(share[..., 1] * h - 0.5, 0, h - 1)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, bottom = np.minimum(left + 1, w - 1), np.minimum(top + 1, h - 1)
        dx, dy = (x - left)[..., None], (y - top)[..., None]
        weighed = self._weighed
        above = weighed[top, left] * (1 - dx) + weighed[top, right] * dx
        below = weighed[bottom, left] * (1 - dx) + weighed[bottom, right] * dx
        mixed = above * (1 - dy) + below * dy
        alpha = mixed[..., 3:]
        return np.concatenate([mixed[..., :3] / np.maximum(alpha, 1e-6), alpha], axis=-1)

    @cached_property
    def _weighed(self) -> np.ndarray:
        """Colour times alpha, and alpha: what lies under transparent pixels does not bleed into their neighbours."""
        return np.concatenate([self.picture[..., :3] * self.picture[..., 3:], self.picture[..., 3:]], axis=-1)


@dataclass(frozen=True, eq=False)
class PanelSpace:
    """Pieces before a camera.

    Args:
        pinhole: the camera, which stands at the origin and looks along z.
        parts: what there is, in any order.
    """

    pinhole: Pinhole
    parts: Sequence[Rectangle | Panel]

    def first_hit(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first thing on rays (..., 3) from ``origin`` (3,).

        Returns:
            (...) how far along, in lengths of ``direction``, infinite where there is nothing; (...) index of the part;
            (..., 2) the place on it.
        """
        found = [part.meet(origin, direction) for part in self.parts]
        far, place = np.stack([one[0] for one in found]), np.stack([one[1] for one in found])
        part = far.argmin(axis=0)
        return far.min(axis=0), part, np.take_along_axis(place, part[None, ..., None], axis=0)[0]

    def look(self, xy: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What pixels xy (..., 2) of a view show: depth along its axis (...), part (...) and the place on it (..., 2)."""
        view = self.pinhole.zoomed(pose.zoom)
        rays = view.unproject(xy, np.ones(xy.shape[:-1]))  # z = 1: the distance is the depth
        return self.first_hit(np.asarray(pose.position), rays @ pose.matrix.T)

    def depth_at(self, xy: np.ndarray, pose: Pose) -> np.ndarray:
        """True depth (...) along the optical axis at pixels xy (..., 2) of a view."""
        return self.look(xy, pose)[0]

    def depth_map(self, fine: int = 2) -> DepthMap:
        """True depth of the first view, ``fine`` values per pixel and axis."""
        return DepthMap(values=self.depth_at(self._grid(fine), Pose()), metric=True, source="true")

    def render(self, pose: Pose) -> np.ndarray:
        """The view ``(H, W, 3)`` uint8; every part must be a `Panel`."""
        H, W = self.pinhole.size
        _, part, place = self.look(self._grid(RAYS), pose)
        colour = np.zeros((*part.shape, 3))
        for index, panel in enumerate(self.parts):
            assert isinstance(panel, Panel)
            colour[part == index] = panel.at(place[part == index])[..., :3]
        mean = colour.reshape(H, RAYS, W, RAYS, 3).mean(axis=(1, 3))
        return (mean * 255).round().clip(0, 255).astype(np.uint8)

    def _grid(self, fine: int) -> np.ndarray:
        """Middles (H fine, W fine, 2) of cells, ``fine`` of them per pixel and axis, in pixels."""
        H, W = self.pinhole.size
        x, y = np.meshgrid(np.arange(W * fine) + 0.5, np.arange(H * fine) + 0.5)
        return np.stack([x, y], axis=-1) / fine
