import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionstream.camera.keyframes import (
    KeyframePath,
    camera_from_json,
    interpolate_poses,
    load_camera,
    poses_of,
    save_camera,
)
from motionstream.camera.moves import PresetPath
from motionstream.camera.pose import IDENTITY, Pose, turn

FRAMES: list[dict[str, Any]] = [
    {"time_s": 0},
    {"time_s": 1, "position": [1, 0, 0], "rotation_deg": [30, 0, 0], "zoom": 2},
    {"time_s": 3, "position": [1, 2, 0], "rotation_deg": [30, 20, 0]},
]


def document(**changes: Any) -> dict[str, Any]:
    return {"format": "motionstream-camera", "version": 1, "keyframes": FRAMES, **changes}


@pytest.mark.parametrize("interpolation", ["smooth", "linear"])
def test_paths_go_through_their_key_frames(interpolation: str):
    path = camera_from_json(document(interpolation=interpolation))
    for time, position, rotation, zoom in (
        (0, (0, 0, 0), IDENTITY, 1),
        (1, (1, 0, 0), turn(30), 2),
        (3, (1, 2, 0), turn(30, 20), 1),
        (99, (1, 2, 0), turn(30, 20), 1),
    ):
        pose = path.pose_at(time)
        assert pose.position == pytest.approx(position, abs=1e-9)
        assert pose.rotation == pytest.approx(rotation)
        assert pose.zoom == pytest.approx(zoom)
    assert path.pose_at(0.5).rotation == pytest.approx(turn(15))
    assert path.pose_at(0.5).zoom == pytest.approx(2**0.5)  # by equal factors
    if interpolation == "linear":
        assert path.pose_at(2).position == pytest.approx((1, 1, 0))


def test_smooth_paths_have_no_corners():
    times = np.arange(0, 3, 0.01)

    def largest_turn(interpolation: str) -> float:
        path = camera_from_json(document(interpolation=interpolation))
        steps = np.diff([path.pose_at(time).position for time in times], axis=0)
        return float(np.linalg.norm(np.diff(steps, axis=0), axis=1).max())

    assert largest_turn("smooth") < 0.1 * largest_turn("linear")


def test_poses_count_from_the_first_key_frame():
    shift = Pose(position=(5.0, -2.0, 1.0), rotation=turn(70, 20, -10), zoom=3.0)
    local = Pose(position=(0.2, 0.1, 0.5), rotation=turn(-10, 5, 3))
    moved = Pose(position=tuple(shift.to_world(np.array(local.position))), rotation=multiplied(shift, local), zoom=3.0)
    pose = KeyframePath(times_s=(0.0, 1.0), poses=(shift, moved)).pose_at(1.0)
    assert pose.position == pytest.approx(local.position)
    assert pose.rotation == pytest.approx(local.rotation)
    assert pose.zoom == pytest.approx(1)
    between = interpolate_poses(shift, moved, 3)
    assert [p.position for p in between] == [pytest.approx(np.array(local.position) * k / 2, abs=1e-9) for k in range(3)]
    assert KeyframePath(times_s=(0.0,), poses=(shift,)).pose_at(4.0) == Pose()


def multiplied(a: Pose, b: Pose) -> tuple:
    from motionstream.camera.pose import quaternion_of

    return quaternion_of(a.matrix @ b.matrix)


def test_easing_of_the_whole_path():
    path = camera_from_json(document(easing="ease-in", interpolation="linear"))
    assert path.pose_at(3 * (1 / 3) ** 0.5).position == pytest.approx((1, 0, 0))  # a third of the way at 0.577 of the time
    assert path.pose_at(3).position == pytest.approx((1, 2, 0))


@pytest.mark.parametrize(
    "path",
    [
        PresetPath(preset="arc-left", amount=33.0, duration_s=1.5, easing="linear"),
        KeyframePath(times_s=(0.0,), poses=(Pose(),)),
        camera_from_json(document(unit="depth", interpolation="linear", easing="ease-out")),
    ],
)
def test_json_round_trip(tmp_path: Path, path):
    file = tmp_path / "path.json"
    save_camera(file, path)
    back = load_camera(file)
    assert type(back) is type(path)
    assert back.in_scene_units == path.in_scene_units
    assert back.easing == path.easing
    for ours, theirs in zip(poses_of(path, num_frames=40, fps=8), poses_of(back, num_frames=40, fps=8), strict=True):
        assert ours.position == pytest.approx(theirs.position)
        assert ours.rotation == pytest.approx(theirs.rotation)
        assert ours.zoom == pytest.approx(theirs.zoom)
    save_camera(file, back)
    assert load_camera(file).pose_at(0.7) == back.pose_at(0.7)  # quaternions are kept as they are
    assert [p.name for p in tmp_path.iterdir()] == ["path.json"]


def frame(**changes: Any) -> list[dict[str, Any]]:
    return [{"time_s": 0}, {"time_s": 1, **changes}]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("hello", "not readable as JSON"),
        ('{"version": NaN}', "NaN is not a number that can be used"),
        ([], "format is 'list', but a camera path needs 'motionstream-camera'"),
        (document(format="motionstream-tracks"), "format is 'motionstream-tracks'"),
        (document(version=2), "version is 2, but this release reads version 1 only"),
        (document(keyframes=[]), "'keyframes' must be a list with at least one entry"),
        (document(speed=1), "a camera path has the unknown key 'speed'"),
        (document(unit="metres"), "unit of a camera path must be one of scene, depth, got 'metres'"),
        (document(interpolation=["smooth"]), "interpolation of a camera path must be one of smooth, linear"),
        (document(easing="bounce"), "easing of a camera path must be one of linear"),
        (document(keyframes=frame(position=[0, 0])), "'position' of key frame 1 must be 3 numbers, got [0, 0]"),
        (document(keyframes=frame(position=[0, 0, None])), "'position' of key frame 1 must be 3 numbers"),
        (document(keyframes=frame(zoom=0)), "key frame 1: a pose needs a rotation that is not 0 and a zoom above 0"),
        (document(keyframes=frame(zoom="2")), "'zoom' of key frame 1 must be a number, got '2'"),
        (document(keyframes=frame(quaternion=[0, 0, 0, 0])), "key frame 1: a pose needs a rotation that is not 0"),
        (document(keyframes=frame(quaternion=[1, 0, 0, 0], rotation_deg=[0, 0, 0])), "give one of them"),
        (document(keyframes=frame(fov=3)), "key frame 1 has the unknown key 'fov'; known are time_s, position"),
        (document(keyframes=frame(time_s=0)), "the times of key frames must increase, got 0 and then 0"),
        (document(keyframes=[{"time_s": 1}]), "the first key frame must be at time_s 0"),
        (document(keyframes=[{}]), "'time_s' of key frame 0 must be a number, got None"),
        (document(keyframes=[3]), "key frame 0 must be an object with 'time_s', got 3"),
        ({"format": "motionstream-camera", "version": 1, "preset": "fly"}, "unknown camera preset 'fly'"),
        ({"format": "motionstream-camera", "version": 1, "preset": ["fly"]}, "unknown camera preset ['fly']"),
        ({"format": "motionstream-camera", "version": 1, "preset": "pan-left", "easing": {}}, "unknown easing {}"),
        ({"format": "motionstream-camera", "version": 1, "preset": "pan-left", "amount": "2"}, "'amount' must be a number"),
        ({"format": "motionstream-camera", "version": 1, "preset": "pan-left", "keyframes": []}, "unknown key 'keyframes'"),
    ],
)
def test_bad_files(tmp_path: Path, content: Any, complaint: str):
    path = tmp_path / "path.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError) as raised:
        load_camera(path)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_frame_k_is_at_k_over_fps_seconds():
    path = camera_from_json(document(interpolation="linear"))
    assert [pose.position[0] for pose in poses_of(path, num_frames=4, fps=4)] == pytest.approx([0, 0.25, 0.5, 0.75])
    for num_frames, fps in ((0, 4), (4, 0), (4, float("inf"))):
        with pytest.raises(ValueError, match="num_frames must be at least 1 and fps above 0"):
            poses_of(path, num_frames=num_frames, fps=fps)


def test_files_of_windows_begin_with_a_mark(tmp_path: Path):
    (tmp_path / "path.json").write_text(json.dumps(document()), encoding="utf-8-sig")
    assert load_camera(tmp_path / "path.json").pose_at(3.0).position == (1.0, 2.0, 0.0)


def test_times_of_an_array_are_times():
    for times in (np.array([0, 1]), np.array([0.0, 1.0], np.float32)):
        path = KeyframePath(times_s=times, poses=(Pose(), Pose(position=(1.0, 0.0, 0.0))))
        assert path.times_s == (0, 1)
        assert path.pose_at(0.5).position[0] == pytest.approx(0.5)


def test_each_time_has_a_pose():
    for times in ((), (0.0,), (0.0, 1.0, 2.0)):
        with pytest.raises(ValueError, match="a camera path needs 1 to 10000 key frames"):
            KeyframePath(times_s=times, poses=(Pose(), Pose())[: 2 if times else 0])


def test_deep_nesting_is_one_sentence(tmp_path: Path):
    (tmp_path / "path.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"path.json: not readable as JSON"):
        load_camera(tmp_path / "path.json")


def test_missing_files(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot read .*: No such file"):
        load_camera(tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match=r"cannot write .*; choose another place"):
        save_camera(tmp_path / "nowhere" / "path.json", PresetPath(preset="pan-left"))
