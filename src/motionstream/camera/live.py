"""A camera that is steered: sliders give velocities, time gives the pose.

>>> camera = LiveCamera()
>>> camera.step(CameraVelocity(dolly=0.2), dt=0.5).position
(0.0, 0.0, 0.1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np

from motionstream.camera.pose import Pose, multiply, turn

ZOOM_RANGE = (0.25, 8.0)
MAX_STEP_S = 10.0


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
