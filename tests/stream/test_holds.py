"""What gestures hold that begin together, one after the other on the same thing, or where the camera has been."""

import numpy as np
import pytest
import torch

from motionstream.presets import nano, preset
from motionstream.stream.drift import Flow, Trail, carried
from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, GestureBoard, Motion
from motionstream.stream.points import WHOLE_PICTURE, Point
from motionstream.stream.poses import AT_REST
from motionstream.stream.swarm import Swarm
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


# ---- what already holds a thing --------------------------------------------------------------------------------------


def way_down(on: GestureBoard, key: int = 2, at: tuple[float, float] = PIN[0]) -> Begin:
    return Begin("path", key, (at,), on.buffer.frame - 1, (at, (at[0], at[1] + 40.0)), 0.4, "linear")


@pytest.mark.parametrize("holder", ["drag", "pin", "loop"])
def test_a_path_takes_over_from_what_holds_all_that_it_begins_on(holder: str):
    """A drag whose hand is away still holds; a path drawn from the thing would take nothing of it, and never move it."""
    on = board()
    if holder == "loop":
        first = Begin("path", 1, PIN, 8, (PIN[0], (61.0, 70.0)), 1.0, "linear", "loop")
    else:
        first = Begin(holder, 1, PIN, 8)
    play(on, ChunkInput(begins=(first,)))
    at = tuple(on.buffer.place[nearest(on, *PIN[0])].tolist())
    played = on.frames(ChunkInput(begins=(way_down(on, at=at),)), 12)
    on.buffer.chunk(played.held, first=False, drift=played.drift)
    assert 1 in played.ended
    assert 1 not in on.active
    assert ways(on)[nearest(on, at[0], at[1] + 40.0), 1] == pytest.approx(40.0, abs=1e-3)


def test_a_pin_takes_over_from_a_drag_that_rests_and_not_from_one_that_moves():
    for motions, ended in (((), True), ((Motion(1, 0, ((6.0, 0.0, 0.0, 1.0),)),), False)):
        on = board()
        play(on, ChunkInput(begins=(Begin("drag", 1, PIN, 8),)))
        play(on, ChunkInput(begins=(Begin("pin", 2, PIN, on.buffer.frame - 1),), motions=motions))
        assert (1 not in on.active) is ended
        assert bool(held(on, 2)) is ended


def test_what_only_reaches_into_a_pin_leaves_it_what_it_has():
    on = board()
    play(on, ChunkInput(begins=(Begin("pin", 1, PIN, 8),)))
    before = held(on, 1)
    wide = tuple((60.0 + dx, 70.0 + dy) for dx in (0.0, 30.0, 60.0) for dy in (-20.0, 0.0, 20.0))
    path = Begin("path", 2, wide, on.buffer.frame - 1, (PIN[0], (60.0, 110.0)), 0.4, "linear")
    play(on, ChunkInput(begins=(path,)))
    assert held(on, 1) == before
    assert 1 in on.active


def test_a_second_finger_shares_the_thing_with_the_first():
    on = board()
    play(on, ChunkInput(begins=(Begin("drag", 1, PIN, 8),)))
    play(on, ChunkInput(begins=(Begin("drag", 2, ((66.0, 70.0),), 20),)))
    assert 1 in on.active


# ---- one thing, whatever else is held --------------------------------------------------------------------------------


def disc_picture() -> np.ndarray:
    geometry = nano().geometry
    y, x = np.mgrid[: geometry.height, : geometry.width] + 0.5
    picture = np.full((geometry.height, geometry.width, 3), 60, np.uint8)
    picture[np.hypot(x - 60, y - 70) < 26] = (220, 40, 40)
    return picture


DAB = Begin("drag", 1, tuple((60.0 + dx, 70.0 + dy) for dx, dy in ((0, 0), (6, 0), (-6, 0), (0, 6), (0, -6))), 8)


def test_pins_of_another_gesture_are_no_crowd():
    pytest.importorskip("cv2")
    alone, beside = board(picture=disc_picture()), board(picture=disc_picture())
    play(alone, ChunkInput(begins=(DAB,)))
    pins = tuple((98.0 + dx, 70.0 + dy) for dx in (0.0, 3.0, 6.0) for dy in (-6.0, 0.0, 6.0))
    play(beside, ChunkInput(begins=(Begin("pin", 2, pins, 8),)))
    play(beside, ChunkInput(begins=(DAB,)))
    assert len(held(alone, 1)) > 20
    assert len(held(beside, 1)) >= 0.85 * len(held(alone, 1))


@pytest.mark.parametrize("points", [DAB.points, DAB.points[:1]])
def test_a_moving_camera_leaves_the_hand_its_thing(points):
    pytest.importorskip("cv2")
    still, filmed = board(picture=disc_picture()), board(picture=disc_picture())
    grab = Begin("drag", 1, points, 8)
    play(still, ChunkInput(begins=(grab,)))
    play(filmed, ChunkInput(camera=CameraSpeed(pan=(2.0, 0.0))))
    play(filmed, ChunkInput(begins=(grab,)))
    assert len(held(filmed, 1)) >= 0.9 * len(held(still, 1))
    camera = {slot for key, grip in filmed.buffer.grips.items() if key >= 1 << 40 for slot in grip.slots.tolist()}
    assert camera
    assert not camera & held(filmed, 1), "nobody holds what another one holds"


# ---- the picture moves -----------------------------------------------------------------------------------------------


def test_what_a_camera_with_depth_leaves_alone_moves_with_the_nearest_of_its_points():
    on = board()
    x, y = np.meshgrid(np.arange(12.0, 190, 24), np.arange(12.0, 140, 24))
    start = np.stack([x.ravel(), y.ravel()], -1)
    step = np.where(start[:, :1] < 96, [[1.0, 0.0]], [[2.0, 0.0]])  # what is near moves twice as fast
    for chunk in range(6):
        xy = start[None] + step[None] * np.arange(4 * chunk, 4 * chunk + 4)[:, None, None]
        swarm = Swarm.of("camera", range(len(start)), xy, np.ones(xy.shape[:2], bool), (192, 144))
        play(on, ChunkInput(swarms=(swarm,)), 4)
    moved = ways(on)
    home = on.buffer.home.numpy()
    inside = (home[:, 0] > 12) & (home[:, 0] < 70)
    assert moved[inside, 0] == pytest.approx(np.full(inside.sum(), 23.0), abs=0.2)
    inside = (home[:, 0] > 110) & (home[:, 0] < 130)
    assert moved[inside, 0] == pytest.approx(np.full(inside.sum(), 46.0), abs=0.2)
    assert np.abs(moved[:, 1]).max() < 0.2


def test_a_board_goes_back_with_the_points_of_its_camera():
    on = board()
    xy = np.tile([[[60.0, 70.0]]], (4, 1, 1)) + np.arange(4.0)[:, None, None]
    swarm = Swarm.of("camera", [5], xy, np.ones((4, 1), bool), (192, 144))
    on.frames(ChunkInput(swarms=(swarm,)), 4)
    state, seen = on.snapshot(), dict(on.swarmed)
    assert seen == {5: (63.0, 73.0)}
    on.frames(ChunkInput(), 4)
    assert on.swarmed == {}
    on.restore(state)
    assert on.swarmed == seen


def test_a_place_that_no_anchor_speaks_for_goes_the_way_of_the_camera():
    """After a zoom the nearest anchor lies far away, and has moved much farther than what is under the hand."""
    on = board()
    play(on, ChunkInput(camera=CameraSpeed(zoom=0.7)), 24 * 10)
    place = np.array([[60.0, 70.0]])
    growth = 2 ** (0.7 * 8 / 24)
    wanted = (place[0] - [96, 72]) * (growth - 1)
    assert on.buffer.moved_since(on.buffer.frame - 9, place) == pytest.approx(wanted, abs=0.05)


def test_a_zoom_of_many_minutes_leaves_every_number_finite():
    on = board()
    big = np.array([[16.0, 0, -96 * 15], [0, 16.0, -72 * 15], [0, 0, 1]])
    for _ in range(60):
        on.buffer.chunk([[]], first=False, drift=[big])
    assert on.buffer.place.isfinite().all()
    assert np.isfinite(on.buffer.moved_since(on.buffer.frame - 9, np.array([[60.0, 70.0]]))).all()


def test_steps_and_flows():
    places = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    assert carried(places, np.array([[1, 0, 5.0], [0, 1, -1], [0, 0, 1]])).tolist() == [[6.0, 1.0], [35.0, 39.0]]
    flow = Flow.between({1: (0.0, 0.0), 2: (28.0, 40.0), 3: (9.0, 9.0)}, {1: (1.0, 0.0), 2: (28.0, 43.0)})
    assert carried(places, flow).tolist() == [[2.0, 2.0], [30.0, 43.0]]
    assert Flow.between({1: (0.0, 0.0)}, {2: (0.0, 0.0)}) is None
    assert Trail().moved_since(3, places, 12.0).tolist() == [0.0, 0.0]


def test_a_point_that_is_nowhere_is_refused():
    on = board()
    with pytest.raises(ValueError, match=r"point 7 has position \(nan, 70.0\)"):
        on.buffer.chunk([[Point(7, float("nan"), 70.0)]], first=False)


def test_tracks_that_are_gone_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr("motionstream.stream.track_buffer.MAX_REMEMBERED", 5)
    on = board()
    for n in range(40):
        on.buffer.chunk([[Point(n, 60.0, 70.0)]], first=False, remember=True)
    assert list(on.buffer._remembered) == [34, 35, 36, 37, 38], "the newest ones; the last is still there"


def test_codes_that_ran_out_are_taken_from_who_has_been_gone_longest():
    made = TrackBuffer(preset("nano").geometry, preset("nano").model.tracks, 0, spare=2)
    made.chunk([[Point(1, 12.0, 20.0), Point(2, 44.0, 12.0)], [Point(2, 44.0, 12.0)], []], first=True, remember=True)
    made.place[: made.num_anchors] += 500
    made.chunk([[Point(3, 12.0, 20.0)]], first=False, remember=True)
    assert made._remembered.keys() == {2}


def test_a_snapshot_can_be_gone_back_to_twice():
    made = board().buffer
    made.chunk([[Point(1, 60.0, 70.0)]], first=False)
    saved, went_on = made.snapshot(), []
    for _ in range(2):
        made.restore(saved)
        tracks = made.chunk([[Point(1, 60.0 + 3 * t, 70.0)] for t in range(1, 9)] + [[]], first=False)
        since = [torch.from_numpy(made.moved_since(frame, np.array([[60.0, 70.0]]))) for frame in range(9, made.frame)]
        went_on.append((*tracks, made.place.clone(), torch.tensor(made._free), *since))
    assert all(torch.equal(a, b) for a, b in zip(*went_on, strict=True))
    assert went_on[0][-1].abs().max() == 0
    assert went_on[0][-8].abs().max() > 0


def test_points_of_the_whole_picture_have_one_group():
    on = board()
    swarm = Swarm.of("motion", [5], np.full((12, 1, 2), 60.0), np.ones((12, 1), bool), (192, 144))
    for made in (ChunkInput(camera=CameraSpeed(pan=(2.0, 0.0))), ChunkInput(swarms=(swarm,))):
        assert {point.group for points in on.frames(made, 12).held for point in points} == {WHOLE_PICTURE}
