"""The visible surface of a picture with depth, and its z-buffer in another view.

Each pixel is a small patch. In another view a patch covers the box around where its pixel goes, as wide as neighbours have
moved apart; at depth edges it keeps its plain size, so that a near thing stays a thin sheet before a far one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionstream.camera.depth import EDGE_RATIO, DepthMap
from motionstream.camera.pose import Pinhole, Pose

MIN_LONG_EDGE_PX = 256  # smaller canvases are resolved more finely than their pixels
MAX_PATCH_PX, WIDEST_PATCH = 16, 1.5
"""A patch is at most so wide, in pixels or, where all are wider, in medians of them: slanted ones reach to the horizon."""
TOLERANCE = 0.005  # of the depth: what is this close to the front is part of it


def working_size(canvas: tuple[int, int]) -> tuple[int, int]:
    """Size (h, w) at which the surface of a canvas (H, W) is resolved: a whole multiple of it."""
    H, W = canvas
    fine = max(1, -(-MIN_LONG_EDGE_PX // max(H, W)))
    return H * fine, W * fine


@dataclass(frozen=True)
class ZBuffer:
    """What is in front, at each pixel of a view.

    Attributes:
        depth: (h, w) far side of the nearest patch, infinite where there is none.
        patch: (h, w) int64 index of that patch, -1 where there is none.
        fine: pixels of the buffer per pixel of the canvas.
    """

    depth: np.ndarray
    patch: np.ndarray
    fine: int

    @property
    def covered(self) -> float:
        """Share of the view in which something is seen, 0 to 1."""
        return float((self.patch >= 0).mean())

    def shows(self, xy: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Tell which points xy (N, 2) in canvas pixels at depth (N,) are on the canvas, ahead and not hidden; (N,) bool."""
        h, w = self.depth.shape
        seen = np.isfinite(xy).all(axis=-1) & (depth > 0)
        u, v = (np.where(seen, xy[:, k], 0.0) * self.fine for k in (0, 1))
        seen &= (u >= 0) & (u < w) & (v >= 0) & (v < h)
        # The four nearest pixels: patches at a near thing's outline reach up to half a pixel too far.
        left, top = (np.floor(np.clip(c - 0.5, -1, 1e6)).astype(int) for c in (u, v))
        front = np.zeros(len(xy))
        for dx in (0, 1):
            for dy in (0, 1):
                front = np.maximum(front, self.depth[np.clip(top + dy, 0, h - 1), np.clip(left + dx, 0, w - 1)])
        return seen & (depth <= front)

    def patch_at(self, xy: np.ndarray) -> np.ndarray:
        """Index of the front patch (N,) at canvas pixels xy (N, 2) within the canvas; -1 where there is none."""
        h, w = self.depth.shape
        u, v = (np.clip(np.floor(xy[:, k] * self.fine).astype(int), 0, edge - 1) for k, edge in ((0, w), (1, h)))
        return self.patch[v, u]


class Surface:
    """The patches of a picture.

    Args:
        depth: of the whole canvas, any resolution.
        pinhole: the picture's camera; it stands at the origin and looks along z.
    """

    def __init__(self, depth: DepthMap, pinhole: Pinhole) -> None:
        h, w = working_size(pinhole.size)
        self.pinhole, self.fine = pinhole, h // pinhole.size[0]
        x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
        xy = np.stack([x, y], axis=-1) / self.fine  # (h, w, 2) canvas pixels
        z = depth.at(xy, pinhole.size)
        self.depth = z
        self.points = pinhole.unproject(xy, z)  # (h, w, 3)
        log = np.log(z)
        self._joined = [np.abs(np.diff(log, axis=axis)) <= np.log(EDGE_RATIO) for axis in (1, 0)]

    def seen_from(self, pose: Pose) -> ZBuffer:
        """Draw all patches as the camera at `pose` sees them."""
        view = self.pinhole.zoomed(pose.zoom)
        xy, z = view.project(pose.to_camera(self.points))
        h, w = z.shape
        uv = xy * self.fine
        plain = np.where(z > 0, pose.zoom * self.depth / np.maximum(z, 1e-9), 0.0)  # pixels per pixel when not slanted
        extent = np.stack([self._spread(uv[..., 0], plain), self._spread(uv[..., 1], plain)], axis=-1)
        far = z + self._spread(z, np.zeros_like(z)) / 2 + TOLERANCE * z
        ahead = (z > 0) & np.isfinite(uv).all(axis=-1)
        ahead &= ((uv + extent / 2 >= 0) & (uv - extent / 2 <= [w, h])).all(axis=-1)
        uv, far, extent = uv[ahead], far[ahead], extent[ahead]
        if len(extent):  # nearly all of one view are of a size; few patches fill a close one
            extent = np.minimum(extent, max(MAX_PATCH_PX, WIDEST_PATCH * float(np.median(extent))))
        first = np.ceil(uv - extent / 2 - 0.5 - 1e-6).astype(int)
        count = np.maximum(np.floor(uv + extent / 2 - 0.5 + 1e-6).astype(int) - first + 1, 1)
        names = np.flatnonzero(ahead.ravel())
        front = np.full(h * w, np.inf)
        patch = np.full(h * w, -1, dtype=np.int64)
        drawn = list(_boxes(first, count, (h, w)))
        for chosen, cells in drawn:
            np.minimum.at(front, cells, far[chosen])
        for chosen, cells in drawn:
            wins = far[chosen] == front[cells]
            patch[cells[wins]] = names[chosen[wins]]
        return ZBuffer(front.reshape(h, w), patch.reshape(h, w), self.fine)

    def _spread(self, values: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """How far values (h, w) change over one pixel, both ways added; `plain` (h, w) where a pixel stands alone.

        The sum is the side of the box around a patch, which is a parallelogram.
        """
        total = np.zeros_like(values)
        for axis, joined in zip((1, 0), self._joined, strict=True):
            step = np.where(joined, np.abs(np.diff(values, axis=axis)), 0.0)
            before = ((1, 0), (0, 0)) if axis == 0 else ((0, 0), (1, 0))
            after = ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1))
            total += np.maximum(np.pad(step, before), np.pad(step, after))
        return np.fmax(total, plain)


def _boxes(first: np.ndarray, count: np.ndarray, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cells of boxes: for each place in a box, which boxes (P,) have it on the canvas, and its cell there (P,)."""
    h, w = size
    found = []
    rest = np.arange(len(first))
    for row in range(int(count[:, 1].max(initial=0))):
        rest = rest[count[rest, 1] > row]
        inner = rest
        for column in range(int(count[rest, 0].max(initial=0))):
            inner = inner[count[inner, 0] > column]
            x, y = first[inner, 0] + column, first[inner, 1] + row
            within = (x >= 0) & (x < w) & (y >= 0) & (y < h)
            found.append((inner[within], (y * w + x)[within]))
    return found
