import numpy as np
import pytest

from motionstream.camera import live
from motionstream.camera.depth import flat_depth
from motionstream.camera.live import LOOK_EVERY, CameraVelocity, LiveCamera, LiveShot
from motionstream.camera.moves import PresetPath
from motionstream.camera.pose import Pose, turn
from motionstream.camera.reproject import CameraTracker


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


def test_a_zoom_has_its_limits():
    camera = LiveCamera()
    for _ in range(3):
        camera.step(CameraVelocity(zoom=-1e300), 1.0)
    assert camera.pose.zoom == 0.25
    assert camera.step(CameraVelocity(zoom=2.0), 1.0).zoom == 1.0
    assert camera.step(CameraVelocity(zoom=1e300), 1.0).zoom == 8.0


def test_a_shot_sees_what_the_tracker_sees_and_projects_in_between(world):
    depth = world.depth_map()
    H, W = world.pinhole.size
    assert depth.reference != 1
    shot, tracker = LiveShot(depth, (H, W), (12, 16), 60.0), CameraTracker(depth, world.pinhole, (12, 16))
    for t in range(2 * LOOK_EVERY + 1):
        pose = Pose(position=(0.02 * t, 0.0, 0.03 * t), zoom=1.02**t)
        frame = shot.look(pose)
        pose = pose.scaled(depth.reference)
        if t % LOOK_EVERY == 0:
            view = tracker.look(pose)
            wanted = view.xy[view.visible]
            assert shot.overlap == view.overlap
        else:
            wanted, _ = world.project(tracker.points[view.visible], pose)
            wanted = wanted[(wanted >= 0).all(axis=1) & (wanted < [W, H]).all(axis=1)]
            assert len(wanted) < view.visible.sum(), "some have left the canvas"
        assert frame.xy[frame.visible] == pytest.approx(wanted, abs=1e-6)
        assert len(frame.ids) == len(set(frame.ids.tolist())) == len(frame.xy)


def test_a_new_shot_takes_hold_anew_under_new_ids(world):
    shot = LiveShot(world.depth_map(), (96, 128), (12, 16), 60.0)
    first = shot.look(Pose())
    assert first.ids.tolist() == list(range(192))
    for t in range(1, 6):
        last = shot.look(Pose(rotation=turn(pan_deg=4.0 * t)))
    assert last.ids.max() > 191
    shot.begin()
    again = shot.look(Pose())
    assert again.xy == pytest.approx(first.xy)
    assert again.visible.all()
    assert again.ids.tolist() == list(range(last.ids.max() + 1, last.ids.max() + 193))


def test_a_large_canvas_is_looked_at_no_finer_than_a_small_one():
    shot = LiveShot(flat_depth((10, 10)), (480, 832), (12, 16), 60.0)
    frame = shot.look(Pose())
    assert frame.xy[[0, 15, 191]].tolist() == [pytest.approx(at) for at in ([26, 20], [806, 20], [806, 460])]
    assert shot.look(Pose(zoom=1.5)).xy[0] == pytest.approx([416 - 1.5 * 390, 240 - 1.5 * 220])
    assert shot._tracker.pinhole.size == (148, 256)


def test_a_long_shot_forgets_what_has_been_hidden_for_longest(world, monkeypatch):
    monkeypatch.setattr(live, "MOST_POINTS", 50)
    shot = LiveShot(world.depth_map(), (96, 128), (6, 8), 60.0)
    seen: dict[int, int] = {}
    known: set[int] = set()
    for t in range(0, 24 * LOOK_EVERY, LOOK_EVERY):
        frame = shot.look(Pose(rotation=turn(pan_deg=45 * np.sin(t / 9), tilt_deg=t / 8)))
        ids = set(frame.ids.tolist())
        assert len(ids) <= 50 + 6 * 8
        assert {key for key in known if seen.get(key) == t - LOOK_EVERY} - ids <= set(), "what was just seen is kept"
        seen |= dict.fromkeys(frame.ids[frame.visible].tolist(), t)
        dropped = [seen[key] for key in known - ids if seen[key] < t - 4 * LOOK_EVERY]
        hidden = [seen[key] for key in ids & known if seen[key] < t - 4 * LOOK_EVERY]
        if dropped and hidden and len(ids) > 50:
            assert max(dropped) <= min(hidden)
        known = ids
        for _ in range(LOOK_EVERY - 1):
            shot.look(Pose(rotation=turn(pan_deg=45 * np.sin(t / 9), tilt_deg=t / 8)))
    assert max(seen) > 110


def test_points_that_were_given_up_are_forgotten(world):
    """Those of a crowded cell, after a zoom out; nothing hides a point from a camera that only zooms."""
    shot = LiveShot(world.depth_map(), (96, 128), (6, 8), 60.0)
    frames = [shot.look(Pose(zoom=zoom)) for zoom in (1.0, 3.0, 1.0, 1.0) for _ in range(LOOK_EVERY)]
    assert not frames[2 * LOOK_EVERY].visible.all()
    assert frames[3 * LOOK_EVERY].visible.all()
    assert set(frames[3 * LOOK_EVERY].ids) < set(frames[2 * LOOK_EVERY].ids)


def test_points_behind_a_live_camera_are_not_seen(world):
    shot = LiveShot(world.depth_map(), (96, 128), (6, 8), 60.0)
    shot.look(Pose())
    away = shot.look(Pose(rotation=turn(pan_deg=179)))
    assert np.isfinite(away.xy).all()
    assert not away.visible.any()


def test_a_shot_says_when_it_leaves_the_picture(world):
    for angle, left in ((0.0, False), (50.0, False), (58.0, True), (120.0, True)):
        shot = LiveShot(world.depth_map(), (96, 128), (6, 8), 60.0)
        shot.look(Pose(rotation=turn(pan_deg=angle)))
        assert shot.leaves_the_picture is left, shot.overlap
