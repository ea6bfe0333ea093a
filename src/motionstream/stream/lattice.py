"""The camera of a flat picture: a lattice of points over all of it (paper section 4.3: a whole-frame grid of tracks)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from motionstream.shapes import VideoGeometry
from motionstream.stream.points import WHOLE_PICTURE, Point

CAMERA_SPACING_CELLS, CAMERA_LATTICE = 1.5, 88
"""Camera points lie so many cells apart, and further on a canvas that would then have more points than that. Between two
levels of zoom there are up to twice as many: `live_input.CAMERA_POINTS` are kept free for them."""
CAMERA_CLEARANCE_CELLS = 1.6
"""Camera points closer than this to a point of another gesture are left out: the hand wins over the camera."""
MAX_ZOOM_LEVEL = 16
"""Doublings that one shot of the camera may zoom, in or out. The next shot takes hold of the picture anew: places in the
lattice of a single one would run out of digits."""
_CAMERA_IDS = 1 << 40


@dataclass(frozen=True)
class CameraSpeed:
    """``pan`` (x, y) in pixels per second, ``zoom`` in doublings per second, ``roll`` in radians per second."""

    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    roll: float = 0.0

    @property
    def still(self) -> bool:
        return not (any(self.pan) or self.zoom or self.roll)


def camera_spacing(geometry: VideoGeometry) -> float:
    """Pixels between camera points on a picture that is seen as it is."""
    return max(CAMERA_SPACING_CELLS * geometry.stride, geometry.point_spacing(CAMERA_LATTICE))


@dataclass
class Lattice:
    """Its speed, and the view it has reached; one *shot* holds the same picture throughout.

    Attributes:
        view: ``(3, 3)``, from the picture when the shot began to the picture now. shots: how many there were.
    """

    geometry: VideoGeometry
    speed: CameraSpeed = field(default_factory=CameraSpeed)
    view: np.ndarray = field(default_factory=lambda: np.eye(3))
    shots: int = 0

    def copy(self) -> Lattice:
        return replace(self, view=self.view.copy())

    def point(self, speed: CameraSpeed) -> None:
        """Go on at ``speed``; from a standstill that is a new shot."""
        if self.speed.still and not speed.still:
            self._new_shot()
        self.speed = speed

    def _new_shot(self) -> None:
        """Take hold of the picture as it is now."""
        self.view, self.shots = np.eye(3), self.shots + 1

    def _zoom_level(self) -> int:
        """How many doublings the view has been zoomed since its shot began, rounded."""
        return round(math.log2(math.sqrt(abs(float(np.linalg.det(self.view[:2, :2]))))))

    def step(self) -> np.ndarray:
        """How the picture moves from one frame to the next, ``(3, 3)``."""
        centre = np.array([self.geometry.width / 2, self.geometry.height / 2])
        fps, speed = self.geometry.fps, self.speed
        scale, angle = 2.0 ** (speed.zoom / fps), speed.roll / fps
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        step = np.eye(3)
        step[:2, :2] = turn
        step[:2, 2] = centre - turn @ centre + np.array(speed.pan) / fps
        return step

    def points(self, others: np.ndarray, step: np.ndarray) -> list[Point]:
        """Advance the view by ``step`` and list the lattice's points that lie in it and not beside ``others (k, 2)``."""
        height, width = self.geometry.height, self.geometry.width
        if abs(self._zoom_level()) >= MAX_ZOOM_LEVEL:
            self._new_shot()
        self.view = step @ self.view
        level = self._zoom_level()  # keeps the lattice about equally dense on screen, however far one zooms
        spacing = camera_spacing(self.geometry) / 2.0**level
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1.0]])
        world = (corners @ np.linalg.inv(self.view).T)[:, :2]
        low, high = np.floor(world.min(0) / spacing).astype(int), np.ceil(world.max(0) / spacing).astype(int)
        i, j = (axis.ravel() for axis in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
        places = (np.stack([i + 0.5, j + 0.5], -1) * spacing) @ self.view[:2, :2].T + self.view[:2, 2]
        kept = (places >= 0).all(1) & (places[:, 0] < width) & (places[:, 1] < height)
        if len(others):
            gaps = np.hypot(*(places[:, None] - others[None]).transpose(2, 0, 1)).min(1)
            kept &= gaps > CAMERA_CLEARANCE_CELLS * self.geometry.reach_px
        shot = _CAMERA_IDS + ((self.shots * 64 + level + 32) << 24)
        # Places wrap around 4096: what is in view together is never that far apart, and other bits stay as they are.
        names = ((i + 2048 & 4095) << 12) + (j + 2048 & 4095)
        back = np.linalg.inv(step)
        begun = places @ back[:2, :2].T + back[:2, 2]
        rows = zip(names[kept].tolist(), places[kept].tolist(), begun[kept].tolist(), strict=True)
        return [Point(shot + n, x, y, begun_at=(was[0], was[1]), group=WHOLE_PICTURE) for n, (x, y), was in rows]
