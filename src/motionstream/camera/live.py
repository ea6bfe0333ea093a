"""A camera that is steered: sliders give velocities, time gives the pose, depth gives the points.

>>> camera = LiveCamera()
>>> camera.step(CameraVelocity(dolly=0.2), dt=0.5).position
(0.0, 0.0, 0.1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np

from motionstream.camera.depth import DepthMap
from motionstream.camera.pose import Pinhole, Pose, multiply, turn
from motionstream.camera.reproject import MIN_OVERLAP, CameraTracker
from motionstream.camera.surface import MIN_LONG_EDGE_PX

ZOOM_RANGE = (0.25, 8.0)
MAX_STEP_S = 10.0
LOOK_EVERY = 4
"""The z-buffer is drawn in every so many frames; in between points are projected and their visibility stays."""
MOST_POINTS = 1024
"""Points remembered of a shot; beyond that the ones that have not been seen for longest go."""


@dataclass(frozen=True, kw_only=True)
class CameraVelocity:
    """What the sliders say, each 0 = still; directions as the camera sees them now.

    Args:
        pan, tilt, roll: degrees per second to the right, up, clockwise.
        truck, pedestal, dolly: scene units (depths of the subject) per second to the right, up, forward.
        orbit, orbit_up: degrees per second round the subject, to the right and up.
        zoom: doublings of the focal length per second.

    Raises:
        ValueError: a value that is not finite.
    """

    pan: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    truck: float = 0.0
    pedestal: float = 0.0
    dolly: float = 0.0
    orbit: float = 0.0
    orbit_up: float = 0.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not math.isfinite(getattr(self, entry.name)):
                raise ValueError(f"the velocity {entry.name} must be a finite number, got {getattr(self, entry.name)}")


@dataclass
class LiveCamera:
    """Integrates velocities; positions are in scene units, orbits turn about what lies `distance` ahead.

    Attributes:
        pose: where the camera is now. distance: to the subject ahead; a dolly changes it, down to a tenth.
    """

    pose: Pose = field(default_factory=Pose)
    distance: float = 1.0

    def reset(self) -> None:
        """Back to the picture's camera."""
        self.pose, self.distance = Pose(), 1.0

    def step(self, velocities: CameraVelocity, dt: float) -> Pose:
        """Move on by `dt` seconds, 0 to 10; returns the new pose.

        One step turns about the subject first, then on the spot, then moves: many small steps approach the exact path.
        """
        if not (math.isfinite(dt) and 0 <= dt <= MAX_STEP_S):
            raise ValueError(f"dt must be 0 to {MAX_STEP_S:g} seconds, got {dt}")
        v = velocities
        ahead = np.array([0.0, 0.0, self.distance])
        subject = self.pose.to_world(ahead)
        rotation = multiply(self.pose.rotation, turn(pan_deg=-v.orbit * dt, tilt_deg=-v.orbit_up * dt))
        x, y, z = (subject - Pose(rotation=rotation).to_world(ahead)).tolist()
        orbited = Pose(position=(x, y, z), rotation=rotation)
        rotation = multiply(rotation, turn(v.pan * dt, v.tilt * dt, v.roll * dt))
        forward = v.dolly * dt
        x, y, z = orbited.to_world(np.array([v.truck * dt, -v.pedestal * dt, forward])).tolist()
        self.distance = max(self.distance - forward, 0.1)
        low, high = ZOOM_RANGE
        # Clamped before the power: a slider held for long must not overflow.
        zoom = math.log2(self.pose.zoom) + min(max(v.zoom * dt, -10.0), 10.0)
        self.pose = Pose(position=(x, y, z), rotation=rotation, zoom=min(max(2.0**zoom, low), high))
        return self.pose


@dataclass(frozen=True)
class ShotFrame:
    """Points of one frame: ``ids`` (N,) int64, ``xy`` (N, 2) canvas pixels, ``visible`` (N,) bool."""

    ids: np.ndarray
    xy: np.ndarray
    visible: np.ndarray


class LiveShot:
    """A grid of points on a picture with depth under a camera that moves on and on; its cost and memory are bounded.

    Args:
        depth: of the whole frame, any resolution. size: (H, W) of the canvas in pixels. fov_deg: its horizontal view.
        grid: (rows, columns) of cells, each of which holds a point or two.

    Attributes:
        overlap: share of the last view looked at that shows the picture, 0 to 1. ids of a shot are never used again.
    """

    def __init__(self, depth: DepthMap, size: tuple[int, int], grid: tuple[int, int], fov_deg: float) -> None:
        # The surface of a large canvas is resolved no more finely than a small one's: it only says what hides what.
        self._shrink = min(1.0, MIN_LONG_EDGE_PX / max(size))
        work = max(2, round(size[0] * self._shrink)), max(2, round(size[1] * self._shrink))
        self._scale = np.array([size[1] / work[1], size[0] / work[0]])
        self._tracker = CameraTracker(depth, Pinhole.from_fov(work, fov_deg), grid)
        self.overlap = 1.0
        self._next_id = 0
        self.begin()

    def begin(self) -> None:
        """Begin a new shot: new points take hold of the picture as it is seen then."""
        self._tracker.reset()
        self._names = np.zeros(0, np.int64)
        self._visible = np.zeros(0, bool)
        self._unseen = np.zeros(0, np.int64)
        self._frame = 0

    def look(self, pose: Pose) -> ShotFrame:
        """The points as the camera at `pose`, in scene units, sees them."""
        tracker = self._tracker
        pose = pose.scaled(tracker.reference)
        if self._frame % LOOK_EVERY == 0:
            self._forget()
            view = tracker.look(pose)
            new = len(view.ids) - len(self._names)
            self._names = np.concatenate([self._names, np.arange(self._next_id, self._next_id + new)])
            self._next_id += new
            self._unseen = np.where(view.visible, 0, np.concatenate([self._unseen, np.zeros(new, np.int64)]) + 1)
            xy, self._visible, self.overlap = view.xy, view.visible, view.overlap
            visible = view.visible
        else:
            xy, _ = tracker.pinhole.zoomed(pose.zoom).project(pose.to_camera(tracker.points))  # NaN behind the camera
            H, W = tracker.pinhole.size
            visible = self._visible & (xy >= 0).all(-1) & (xy[:, 0] < W) & (xy[:, 1] < H)
            xy = np.nan_to_num(xy)
        self._frame += 1
        return ShotFrame(self._names, xy * self._scale, visible)

    @property
    def leaves_the_picture(self) -> bool:
        """Whether too little of the picture is left in view for its depth to say anything."""
        return self.overlap < MIN_OVERLAP

    def _forget(self) -> None:
        """Drop points that were given up, and of the hidden ones those that have been so for longest."""
        tracker = self._tracker
        kept = ~tracker.retired[: len(self._names)]
        if kept.sum() > MOST_POINTS:
            order = np.argsort(np.where(kept, self._unseen, np.iinfo(np.int64).max), kind="stable")
            kept[order[MOST_POINTS:]] = False
        if len(self._names) and not kept.all():
            tracker.points, tracker.retired = tracker.points[kept], tracker.retired[kept]
            self._names, self._unseen = self._names[kept], self._unseen[kept]
