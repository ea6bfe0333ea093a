import numpy as np
import pytest

from motionstream.camera.live import CameraVelocity, LiveCamera
from motionstream.camera.moves import PresetPath
from motionstream.camera.pose import Pose


def drive(velocity: CameraVelocity, seconds: float, steps: int) -> LiveCamera:
    camera = LiveCamera()
    for _ in range(steps):
        camera.step(velocity, seconds / steps)
    return camera


@pytest.mark.parametrize(
    ("name", "slider"),
    [
        ("pan-right", {"pan": 1.0}),
        ("tilt-down", {"tilt": -1.0}),
        ("roll-right", {"roll": 1.0}),
        ("zoom-out", {"zoom": -1.0}),
        ("dolly-in", {"dolly": 1.0}),
        ("truck-left", {"truck": -1.0}),
        ("pedestal-up", {"pedestal": 1.0}),
        ("orbit-right", {"orbit": 1.0}),
        ("orbit-up", {"orbit_up": 1.0}),
    ],
)
def test_a_steady_slider_is_the_preset(name: str, slider: dict[str, float]):
    path = PresetPath(preset=name, duration_s=2.0)
    speed = path.amount / 2.0  # type: ignore[operator]
    camera = drive(CameraVelocity(**{key: sign * speed for key, sign in slider.items()}), 2.0, 50)
    truth = path.pose_at(2.0)
    assert camera.pose.position == pytest.approx(truth.position, abs=1e-6)
    assert camera.pose.matrix == pytest.approx(truth.matrix, abs=1e-6)
    assert camera.pose.zoom == pytest.approx(truth.zoom)


def test_directions_are_those_of_the_camera_now():
    camera = LiveCamera()
    camera.step(CameraVelocity(pan=90.0), 1.0)
    camera.step(CameraVelocity(dolly=0.5), 1.0)
    assert camera.pose.position == pytest.approx((0.5, 0, 0), abs=1e-9)  # forward is now to the right
    camera.reset()
    assert camera.pose == Pose()
    assert camera.distance == 1.0


def test_an_orbit_after_a_dolly_keeps_its_subject():
    camera = LiveCamera()
    camera.step(CameraVelocity(dolly=0.4), 1.0)
    for _ in range(10):
        camera.step(CameraVelocity(orbit=9.0), 1.0)
    assert camera.pose.to_camera(np.array([0.0, 0.0, 1.0])) == pytest.approx([0, 0, 0.6], abs=1e-9)


def test_hours_of_sliding_stay_finite():
    camera = LiveCamera()
    for _ in range(2000):
        camera.step(CameraVelocity(pan=50, tilt=30, roll=-20, dolly=3, orbit=40, orbit_up=5, zoom=9), 10.0)
    assert np.isfinite(camera.pose.position).all()
    assert np.linalg.norm(camera.pose.rotation) == pytest.approx(1)
    assert camera.pose.zoom == 8.0
    assert camera.distance == 0.1


def test_bad_values():
    with pytest.raises(ValueError, match="the velocity tilt must be a finite number, got nan"):
        CameraVelocity(tilt=float("nan"))
    for dt in (-0.1, float("nan"), 11.0):
        with pytest.raises(ValueError, match="dt must be 0 to 10 seconds"):
            LiveCamera().step(CameraVelocity(), dt)
