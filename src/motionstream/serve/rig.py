"""The studio's camera: speeds from sliders, keys and a pushed picture; with depth, points that know what hides what.

A flat picture that is only panned, zoomed and rolled needs no depth: then the engine's own lattice does it, exactly. As
soon as the camera moves in depth, or a depth map is given, a `LiveShot` makes the points. The pose counts on through both.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from motionstream.camera.depth import DepthMap, flat_depth
from motionstream.camera.live import CameraVelocity, LiveCamera, LiveShot, ShotFrame
from motionstream.camera.pose import Pinhole, Pose
from motionstream.shapes import VideoGeometry
from motionstream.stream.lattice import camera_spacing
from motionstream.stream.swarm import Swarm

FOV_DEG = 60.0
MAX_DOLLY, MAX_DEGREES = 2.0, 90.0
LEFT = "the camera stands still: hardly anything of the picture was left in view"


@dataclass(frozen=True)
class RigSpeed:
    """``pan`` (x, y) pixels a second that the picture moves by, ``zoom`` doublings, ``roll`` radians; ``dolly`` subject
    depths a second forward, ``orbit`` degrees a second round the subject to the right, ``tilt`` degrees a second up."""

    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    roll: float = 0.0
    dolly: float = 0.0
    orbit: float = 0.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in (("dolly", MAX_DOLLY), ("orbit", MAX_DEGREES), ("tilt", MAX_DEGREES)):
            if not abs(getattr(self, name)) <= limit:
                raise ValueError(f"{name}={getattr(self, name)} per second must lie within {limit:g} either way")

    @property
    def in_depth(self) -> bool:
        return bool(self.dolly or self.orbit or self.tilt)

    @property
    def still(self) -> bool:
        return not (any(self.pan) or self.zoom or self.roll or self.in_depth)


STILL = RigSpeed()


class CameraRig:
    """A `motionstream.stream.swarm.PointSource`; may be used from any thread.

    Args:
        geometry: of the model. notice: hears when the camera had to stop, on the compute thread.
    """

    def __init__(self, geometry: VideoGeometry, notice: Callable[[str], None]) -> None:
        self.geometry, self._notice = geometry, notice
        self._size = geometry.height, geometry.width
        cell = camera_spacing(geometry)
        self._grid = max(1, int(geometry.height / cell)), max(1, round(geometry.width / cell))
        self._focal_px = Pinhole.from_fov(self._size, FOV_DEG).focal_px
        self._lock = threading.Lock()
        self._speed = STILL
        self._camera = LiveCamera()
        self._shot: LiveShot | None = None
        self._shooting = False
        self._poses: list[tuple[Pose, float]] = []  # before each chunk

    # ---- from the event loop -----------------------------------------------------------------------------------------

    def steer(self, speed: RigSpeed) -> bool:
        """Move with ``speed`` from the next chunk on; True when the engine's own lattice is to do it."""
        with self._lock:
            self._speed = speed
            if self._shot is None and speed.in_depth:
                self._shot = self.shot_of(flat_depth((2, 2)))
            return self._shot is None

    def shot_of(self, depth: DepthMap) -> LiveShot:
        """Points for a picture of that depth; takes some milliseconds."""
        return LiveShot(depth, self._size, self._grid, FOV_DEG)

    def use(self, shot: LiveShot | None) -> None:
        """Take the points from ``shot`` from now on."""
        with self._lock:
            self._shot, self._shooting = shot, False

    @property
    def speed(self) -> RigSpeed:
        with self._lock:
            return self._speed

    # ---- on the compute thread ---------------------------------------------------------------------------------------

    def points(self, chunk: int, num_frames: int) -> tuple[Swarm | None, tuple[int, ...]]:
        """See `PointSource`; the pose moves on by the chunk."""
        silent = (0,) * num_frames
        with self._lock:
            speed, shot = self._speed, self._shot
            if chunk < len(self._poses):  # the stream has gone back
                self._camera.pose, self._camera.distance = self._poses[chunk]
                del self._poses[chunk:]
                self._shooting = False
            before = self._camera.pose, self._camera.distance
            # Chunks that recorded input has played are not known here: the camera has not moved in them.
            self._poses += [before] * (chunk + 1 - len(self._poses))
            if speed.still:
                self._shooting = False
                return None, silent
            if shot is not None and not self._shooting:
                shot.begin()
                self._shooting = True
            frames = self._fly(speed, shot, num_frames, first=chunk == 0)
            if shot is None:
                return None, silent
            if shot.leaves_the_picture:
                self._camera.pose, self._camera.distance = before
                self._speed, self._shooting = STILL, False
        if shot.leaves_the_picture:
            self._notice(LEFT)
            return None, silent
        return self._swarm(frames), silent

    def _fly(self, speed: RigSpeed, shot: LiveShot | None, num_frames: int, first: bool) -> list[ShotFrame]:
        frames = []
        for t in range(num_frames):
            # Frame 0 is the picture itself, seen from where it was taken.
            dt = 0.0 if first and t == 0 else 1 / self.geometry.fps
            pose = self._camera.step(self._velocity(speed), dt)
            if shot is not None:
                frames.append(shot.look(pose))
        return frames

    def _velocity(self, speed: RigSpeed) -> CameraVelocity:
        """The picture's way is the camera's, backwards: what lies at the subject's depth moves by ``pan``."""
        per_px = self._camera.distance / (self._focal_px * self._camera.pose.zoom)
        return CameraVelocity(
            truck=-speed.pan[0] * per_px,
            pedestal=speed.pan[1] * per_px,
            zoom=speed.zoom,
            roll=-math.degrees(speed.roll),
            dolly=speed.dolly,
            orbit=speed.orbit,
            tilt=speed.tilt,
        )

    def _swarm(self, frames: list[ShotFrame]) -> Swarm | None:
        ids = np.unique(np.concatenate([frame.ids[frame.visible] for frame in frames]))
        xy, visible = np.zeros((len(frames), len(ids), 2)), np.zeros((len(frames), len(ids)), bool)
        for t, frame in enumerate(frames):
            columns = np.searchsorted(ids, frame.ids[frame.visible])
            xy[t, columns], visible[t, columns] = frame.xy[frame.visible], True
        return Swarm.of("camera", ids.tolist(), xy, visible, (self.geometry.width, self.geometry.height))
