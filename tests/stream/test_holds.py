"""What gestures hold that begin together, one after the other on the same thing, or where the camera has been."""

import numpy as np
import pytest

from motionstream.presets import nano, preset
from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, GestureBoard, Motion
from motionstream.stream.poses import AT_REST
from motionstream.stream.track_buffer import TrackBuffer

PIN = ((60.0, 70.0),)


def board(name: str = "nano", picture: np.ndarray | None = None) -> GestureBoard:
    made = preset(name)
    buffer = TrackBuffer(made.geometry, made.model.tracks, seed=0, hold_moved=made.sample.hold_moved, picture=picture)
    on = GestureBoard(made.geometry, buffer, made.sample.hand_px)
    play(on, ChunkInput(), 9)
    return on


def play(on: GestureBoard, made: ChunkInput, num_frames: int = 12) -> None:
    first = on.buffer.frame == 0
    played = on.frames(made, num_frames)
    on.buffer.chunk(played.held, first=first, drift=played.drift)


def ways(on: GestureBoard) -> np.ndarray:
    """How far each anchor is from home, ``(n, 2)``."""
    return (on.buffer.place[: on.buffer.num_anchors] - on.buffer.home).numpy()


def held(on: GestureBoard, gesture: int) -> set[int]:
    """Anchors that the points of a gesture hold."""
    grips = [grip for key, grip in on.buffer.grips.items() if key // 1024 == gesture]
    return {slot for grip in grips for slot in grip.slots.tolist() if slot < on.buffer.num_anchors}


def nearest(on: GestureBoard, x: float, y: float) -> int:
    return int(np.hypot(*(on.buffer.place[: on.buffer.num_anchors].numpy() - [x, y]).T).argmin())


def test_gestures_that_begin_together_hold_what_each_would_hold_alone():
    pytest.importorskip("cv2")
    geometry = nano().geometry
    y, x = np.mgrid[: geometry.height, : geometry.width] + 0.5
    picture = np.full((geometry.height, geometry.width, 3), 60, np.uint8)
    middles = {1: (50.0, 70.0), 2: (140.0, 70.0)}
    for colour, (cx, cy) in zip(((220, 40, 40), (40, 60, 230)), middles.values(), strict=True):
        picture[np.hypot(x - cx, y - cy) < 20] = colour
    cross = ((0.0, 0.0), (6.0, 0.0), (-6.0, 0.0), (0.0, 6.0), (0.0, -6.0))
    dabs = {key: Begin("drag", key, tuple((cx + dx, cy + dy) for dx, dy in cross), 8) for key, (cx, cy) in middles.items()}
    pin = Begin("pin", 3, ((96.0, 16.0),), 8)
    alone = {}
    for key, dab in dabs.items():
        on = board(picture=picture)
        play(on, ChunkInput(begins=(dab,)))
        alone[key] = held(on, key)
        assert len(alone[key]) > 10
    on = board(picture=picture)
    play(on, ChunkInput(begins=(*dabs.values(), pin)))
    assert {key: held(on, key) for key in dabs} == alone
    assert all(on.buffer.grips[key * 1024].dab is not None for key in dabs)


@pytest.mark.parametrize("flick", [0.0, 60.0])
def test_a_path_takes_over_what_was_just_let_go(flick: float):
    """Also what is still on its way: there it stops."""
    on = board()
    play(on, ChunkInput(begins=(Begin("drag", 1, PIN, 8),)))
    drag = (Motion(1, 0, ((flick, 0.0, 0.0, 1.0),)),)
    if flick:
        play(on, ChunkInput(motions=drag, ends=((1, 0),)), 4)
    taken = nearest(on, *on.buffer.place[nearest(on, *PIN[0])].tolist())
    at = tuple(on.buffer.place[taken].tolist())
    path = Begin("path", 2, (at,), on.buffer.frame - 1, (at, (at[0], at[1] + 40.0)), 0.4, "linear")
    play(on, ChunkInput(begins=(path,), ends=() if flick else ((1, 2),)))
    assert len(held(on, 2)) > 4 or not on.active
    assert (on.buffer.place[taken].numpy() - at).tolist() == pytest.approx([0.0, 40.0], abs=1e-3)


def test_a_pin_far_from_what_was_let_go_does_not_cut_it_short():
    on = board()
    play(on, ChunkInput(begins=(Begin("drag", 1, PIN, 8),)))
    far = Begin("pin", 2, ((150.0, 20.0),), 20)
    play(on, ChunkInput(begins=(far,), motions=(Motion(1, 0, ((6.0, 0.0, 0.0, 1.0),)),), ends=((1, 10),)))
    assert ways(on)[nearest(on, 66.0, 70.0)].tolist() == pytest.approx([6.0, 0.0], abs=1e-3)
    assert held(on, 2)


def test_a_quick_second_grab_takes_the_thing_where_it_is_by_then():
    on = board("wan2.1-1.3b")
    play(on, ChunkInput(begins=(Begin("drag", 1, ((200.0, 200.0),), 8),)))
    taken = held(on, 1)
    moved = Motion(1, 0, ((60.0, 0.0, 0.0, 1.0),))
    again = Begin("drag", 2, ((200.0, 200.0),), 20)  # the hand still sees it where it was
    down = Motion(2, 0, (*(AT_REST,) * 11, (0.0, 24.0, 0.0, 1.0)))
    play(on, ChunkInput(begins=(again,), motions=(moved, down), ends=((1, 10),)))
    assert taken <= held(on, 2)
    assert ways(on)[sorted(taken)] == pytest.approx(np.tile([60.0, 24.0], (len(taken), 1)), abs=1e-3)


def test_the_camera_loses_no_frame_of_its_way():
    on = board()
    play(on, ChunkInput(camera=CameraSpeed(pan=(48.0, 0.0))))
    moved = ways(on)
    assert moved[:, 0] == pytest.approx(np.full(len(moved), 24.0), abs=1e-3)  # 12 frames of 24 a second, every anchor


@pytest.mark.parametrize("speed", [{"pan": (48.0, 20.0)}, {"zoom": 0.8}, {"roll": 0.4}])
def test_what_the_camera_left_is_found_where_it_is(speed):
    """There and back: every part of the picture is where it was, and there every anchor speaks for what lies on it."""
    on = board()
    play(on, ChunkInput(camera=CameraSpeed(**speed)), 24)
    back = {name: tuple(-v for v in value) if isinstance(value, tuple) else -value for name, value in speed.items()}
    play(on, ChunkInput(camera=CameraSpeed(**back)), 24)
    play(on, ChunkInput(camera=CameraSpeed()))
    away = np.hypot(*ways(on).T)
    assert np.median(away) < 0.5
    assert (away > 4).mean() < (0.25 if "zoom" in speed else 0.05)


def test_the_model_is_told_only_of_what_a_point_has_held():
    on = board()
    corner = nearest(on, 4.0, 4.0)
    on.buffer.chunk([[]], first=False, drift=[np.array([[1, 0, 30.0], [0, 1, 0], [0, 0, 1]])])
    assert on.buffer.place[corner].tolist() == pytest.approx([34.0, 4.0])
    _, visible, _ = on.buffer.chunk([[]], first=False)
    assert not visible.any()
    state = on.buffer.snapshot()
    on.buffer.reset()
    on.buffer.restore(state)
    assert not on.buffer.chunk([[]], first=False)[1].any()
