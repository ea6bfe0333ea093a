"""Gestures as data: poses, paths, the camera's lattice, and a grab that finds what has moved in the meantime."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.presets import nano, preset
from motionstream.stream.gestures import (
    Begin,
    ChunkInput,
    GestureBoard,
    Motion,
)
from motionstream.stream.lattice import CAMERA_CLEARANCE_CELLS, CameraSpeed, camera_spacing
from motionstream.stream.live_input import CAMERA_POINTS
from motionstream.stream.points import MAX_POINTS, Point
from motionstream.stream.poses import AT_REST, along, follow, path_share, transform
from motionstream.stream.track_buffer import TrackBuffer

GEOMETRY = dataclasses.replace(nano().geometry, fps=16.0)


def board() -> GestureBoard:
    return GestureBoard(GEOMETRY, TrackBuffer(GEOMETRY, nano().model.tracks, seed=0))


def play(on: GestureBoard, made: ChunkInput, num_frames: int = 12) -> list[list[Point]]:
    """One chunk through the board and the track buffer, as a performance does it."""
    first = on.buffer.frame == 0
    played = on.frames(made, num_frames)
    on.buffer.chunk(played.held, first=first, drift=played.drift)
    return played.held


def test_turning_goes_clockwise_as_seen_and_keeps_the_centre():
    corners = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    turned = transform(corners, (10.0, 0.0, math.pi / 2, 2.0))
    assert turned.mean(0) == pytest.approx([11.0, 1.0])
    assert turned[0] == pytest.approx([13.0, -1.0])  # the upper left corner is now the upper right one
    assert transform(corners, AT_REST) == pytest.approx(corners)


def test_along_goes_by_length_not_by_corner():
    path = [(5.0, 5.0), (15.0, 5.0), (15.0, 35.0)]
    assert along(path, 0.0) == (0.0, 0.0)
    assert along(path, 0.25) == pytest.approx((10.0, 0.0))
    assert along(path, 0.625) == pytest.approx((10.0, 15.0))
    assert along(path, 1.0) == pytest.approx((10.0, 30.0))
    assert along([(3.0, 3.0), (3.0, 3.0)], 0.5) == (0.0, 0.0)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 400),
    st.integers(1, 200),
    st.sampled_from(["linear", "smooth"]),
    st.sampled_from(["once", "loop", "swing"]),
)
def test_shares_stay_on_the_path(age, total, ease, mode):
    assert 0.0 <= path_share(age, total, ease, mode) <= 1.0


def test_modes_end_where_they_should():
    assert path_share(20, 10, "smooth", "once") == 1.0
    assert path_share(10, 10, "linear", "swing") == 1.0
    assert path_share(20, 10, "smooth", "swing") == 0.0
    assert path_share(13, 10, "smooth", "loop") == pytest.approx(0.3)


def test_a_drag_takes_its_poses_and_ends_with_its_chunk():
    on = board()
    play(on, ChunkInput(), 9)
    begin = Begin("drag", 7, ((40.0, 40.0), (48.0, 40.0)), seen=8)
    poses = tuple((float(t + 1), 0.0, 0.0, 1.0) for t in range(12))
    frames = play(on, ChunkInput(begins=(begin,), motions=(Motion(7, 0, poses),)))
    assert [frame[0].x for frame in frames] == [41.0 + t for t in range(12)]
    held = play(on, ChunkInput())  # nothing new: it holds
    assert {frame[0].x for frame in held} == {52.0}
    last, _, ended, *_ = on.frames(ChunkInput(ends=((7, 3),)), 12)
    assert [len(frame) for frame in last] == [2] * 3 + [0] * 9
    assert ended == (7,)
    assert on.frames(ChunkInput(), 12)[0] == [[]] * 12


def test_the_picture_itself_never_moves():
    on = board()
    begin = Begin("path", 1, ((40.0, 40.0),), 0, ((40.0, 40.0), (80.0, 40.0)), seconds=0.5, ease="linear")
    frames = on.frames(ChunkInput(begins=(begin,), camera=CameraSpeed(pan=(0.0, 64.0))), 9).held
    assert [(p.x, p.y) for p in frames[0]] == [(40.0, 40.0)]
    assert frames[1][0].x == pytest.approx(45.0)


def test_a_move_while_there_is_only_the_picture_is_followed_from_the_next_frame_on():
    """A first chunk of one frame, as short chunks have: what the hand did by then is not lost, released or not."""
    for ends in ((), ((7, 1),)):
        on = board()
        begin = Begin("drag", 7, ((40.0, 40.0),), 0)
        (first,) = play(on, ChunkInput((begin,), (Motion(7, 0, ((8.0, 0.0, 0.0, 1.0),)),), ends), 1)
        assert [point.x for point in first] == [40.0]
        later = play(on, ChunkInput(), 12)
        assert max(point.x for frame in later for point in frame) == 48.0


def test_a_path_runs_to_its_end_and_lets_go():
    on = board()
    play(on, ChunkInput(), 9)
    begin = Begin("path", 1, ((40.0, 40.0),), 8, ((40.0, 40.0), (64.0, 40.0)), seconds=1.5, ease="linear")
    first = play(on, ChunkInput(begins=(begin,)))
    assert first[-1][0].x == pytest.approx(52.0)
    second, _, ended, *_ = on.frames(ChunkInput(), 12)
    assert second[-1][0].x == pytest.approx(64.0)
    assert ended == (1,)


@pytest.mark.parametrize("late", [False, True])
def test_a_path_takes_along_what_it_begins_on_all_the_way(late: bool):
    """In every chunk: later ones move in the very frame in which they take hold."""
    on = board()
    if late:
        play(on, ChunkInput())
    anchors = on.buffer.num_anchors
    path = Begin("path", 1, ((92.0, 74.0),), on.buffer.frame, ((92.0, 74.0), (172.0, 74.0)), 0.3)
    play(on, ChunkInput(begins=(path,)))
    way = (on.buffer.place[:anchors] - on.buffer.home).numpy()
    taken = np.hypot(*way.T) > 0.5
    assert taken[np.hypot(*(on.buffer.home.numpy() - [92.0, 74.0]).T) < 8].all()
    assert way[taken] == pytest.approx(np.tile([80.0, 0.0], (int(taken.sum()), 1)), abs=1e-3)


def test_a_quick_second_drag_counts():
    """Let go, something else taken, moved and let go, all within a frame."""
    on = board()
    on.hand_px = 3.0
    play(on, ChunkInput())
    play(on, ChunkInput(begins=(Begin("drag", 1, ((40.0, 40.0),), 11),)), 4)
    moved = Motion(2, 0, (AT_REST, *((2.5, 0.0, 0.0, 1.0),) * 3))
    frames = play(
        on, ChunkInput(begins=(Begin("drag", 2, ((120.0, 100.0),), 15),), motions=(moved,), ends=((1, 2), (2, 2))), 4
    )
    assert any(point.id == 2 * 1024 for frame in frames for point in frame)
    nearest = int(np.hypot(*(on.buffer.home.numpy() - [120.0, 100.0]).T).argmin())
    assert (on.buffer.place[nearest] - on.buffer.home[nearest]).tolist() == pytest.approx([2.5, 0.0], abs=1e-4)


def test_a_grab_finds_what_moved_after_the_frame_that_was_seen():
    on = board()
    play(on, ChunkInput(), 9)
    begin = Begin("drag", 1, ((44.0, 44.0),), seen=8)
    play(on, ChunkInput(begins=(begin,), motions=(Motion(1, 0, tuple((2.0 * (t + 1), 0.0, 0.0, 1.0) for t in range(12))),)))
    # On screen is frame 14, where the thing is at x = 44 + 2 * 6; in truth it has gone on to 44 + 24.
    again = Begin("drag", 2, ((56.0, 44.0),), seen=14)
    frames = play(on, ChunkInput(begins=(again,), ends=((1, 0),)))
    assert [(p.x, p.y) for p in frames[0]] == [(68.0, 44.0)]


def test_a_grab_elsewhere_is_not_shifted():
    on = board()
    play(on, ChunkInput(), 9)
    move = Motion(1, 0, tuple((2.0 * (t + 1), 0.0, 0.0, 1.0) for t in range(12)))
    play(on, ChunkInput(begins=(Begin("drag", 1, ((44.0, 44.0),), seen=8),), motions=(move,)))
    frames = play(on, ChunkInput(begins=(Begin("pin", 2, ((12.0, 84.0),), seen=14),)))
    assert {(p.x, p.y) for p in frames[0] if p.id // 1024 == 2} == {(12.0, 84.0)}


def test_the_camera_covers_the_whole_picture_and_moves_it():
    on = board()
    play(on, ChunkInput(), 9)
    frames = play(on, ChunkInput(camera=CameraSpeed(pan=(32.0, 0.0))))
    for before, after in itertools.pairwise(frames):
        old, new = {p.id: p for p in before}, {p.id: p for p in after}
        shared = old.keys() & new.keys()
        assert len(shared) > 60
        assert all(new[k].x - old[k].x == pytest.approx(2.0) and new[k].y == old[k].y for k in shared)
    places = np.array([[p.x, p.y] for p in frames[-1]])
    cells = {(int(x // 24), int(y // 24)) for x, y in places}
    assert len(cells) >= 5 * 4  # every 24-pixel block has a point, also where the picture came in
    assert on.frames(ChunkInput(camera=CameraSpeed()), 12)[0] == [[]] * 12


@pytest.mark.parametrize("zoom", [1.0, -1.0])
def test_the_lattice_keeps_its_density_however_far_one_zooms(zoom):
    on = board()
    play(on, ChunkInput(), 9)
    counts = []
    for n in range(8):
        frames = play(on, ChunkInput(camera=CameraSpeed(zoom=zoom) if n == 0 else None))
        counts += [len(frame) for frame in frames]
    assert min(counts) > 35
    assert max(counts) < 200


def test_roll_turns_about_the_centre():
    on = board()
    play(on, ChunkInput(), 9)
    frames = play(on, ChunkInput(camera=CameraSpeed(roll=math.pi / 2)))
    old, new = {p.id: p for p in frames[0]}, {p.id: p for p in frames[8]}
    centre = np.array([GEOMETRY.width / 2, GEOMETRY.height / 2])
    turns = []
    for key in old.keys() & new.keys():
        a, b = (np.array([p.x, p.y]) - centre for p in (old[key], new[key]))
        turns.append(math.atan2(a[0] * b[1] - a[1] * b[0], a @ b))
        assert np.hypot(*a) == pytest.approx(np.hypot(*b))
    assert turns == pytest.approx([math.pi / 2 * 8 / GEOMETRY.fps] * len(turns))


def test_the_hand_wins_over_the_camera():
    on = board()
    play(on, ChunkInput(), 9)
    pin = Begin("pin", 3, ((64.0, 48.0),), seen=8)
    frames = play(on, ChunkInput(begins=(pin,), camera=CameraSpeed(pan=(40.0, 0.0))))
    for frame in frames:
        camera = [p for p in frame if p.id // 1024 != 3]
        assert min(math.hypot(p.x - 64, p.y - 48) for p in camera) > CAMERA_CLEARANCE_CELLS * GEOMETRY.stride


def test_a_fast_hand_is_followed_at_the_speed_the_model_can():
    on = board()
    on.hand_px = 2.0
    play(on, ChunkInput(), 9)
    begin = Begin("drag", 1, ((40.0, 40.0),), seen=8)
    frames = play(on, ChunkInput((begin,), (Motion(1, 0, ((30.0, 0.0, 0.0, 1.0),)),), ((1, 2),)))
    assert [frame[0].x for frame in frames] == pytest.approx([42.0 + 2 * t for t in range(12)])  # though let go in frame 2
    later, _, ended, *_ = on.frames(ChunkInput(), 12)
    assert [frame[0].x for frame in later[:3]] == pytest.approx([66.0, 68.0, 70.0])
    assert later[3:] == [[]] * 9
    assert ended == (1,)


def test_a_new_grab_stops_what_is_still_on_its_way():
    on = board()
    on.hand_px = 2.0
    play(on, ChunkInput(), 9)
    begin = Begin("drag", 1, ((40.0, 40.0),), seen=8)
    play(on, ChunkInput((begin,), (Motion(1, 0, ((60.0, 0.0, 0.0, 1.0),)),), ((1, 2),)))
    frames = play(on, ChunkInput((Begin("drag", 2, ((64.0, 40.0),), seen=20),)))
    assert [(p.id // 1024, p.x) for p in frames[-1]] == [(2, 64.0)]


@pytest.mark.parametrize("end", [1, 2, 4])
def test_let_go_and_taken_beside_it_in_one_chunk(end):
    """A hand that moves on at once takes all that it touches there, as it would a chunk later."""
    around = [(float(x), float(y)) for x in range(-6, 7, 6) for y in range(-6, 7, 6)]
    one = Begin("drag", 1, tuple((84 + x, 38 + y) for x, y in around), 0)
    two = Begin("drag", 2, tuple((78 + x, 38 + y) for x, y in around), 8)

    def taken(at_once: bool) -> int:
        on = board()
        play(on, ChunkInput(), 1)
        play(on, ChunkInput(begins=(one,)), 4)
        lets_go = ((1, end),)
        play(on, ChunkInput(begins=(two,) if at_once else (), ends=lets_go), 4)
        if not at_once:
            play(on, ChunkInput(begins=(two,)), 4)
        assert list(on.active) == [2]
        return len(on.took(two))

    assert taken(at_once=True) == taken(at_once=False) > 6


def test_turn_and_growth_are_limited_with_the_way():
    pose = follow(AT_REST, (4.0, 0.0, math.pi, 2.0), 2.0)
    assert pose[2] <= 0.08 + 1e-9
    assert 1.0 < pose[3] <= math.exp(0.03) + 1e-9
    for _ in range(200):
        pose = follow(pose, (4.0, 0.0, math.pi, 2.0), 2.0)
    assert pose == (4.0, 0.0, math.pi, 2.0)


def test_what_would_be_too_many_points_does_not_begin():
    on = board()
    grid = tuple((float(x), float(y)) for x in range(16) for y in range(16))
    crowd = tuple(Begin("pin", key, grid, 0) for key in range(1, 6))
    assert on.frames(ChunkInput(begins=crowd), 9).refused == (5,)
    assert list(on.active) == [1, 2, 3, 4]
    one_more = Begin("drag", 6, ((5.0, 5.0),), 0)
    assert on.frames(ChunkInput(begins=(one_more,), ends=((4, 0),)), 12)[2:4] == ((4,), ())
    assert list(on.active) == [1, 2, 3, 6]


def test_a_drag_on_its_way_has_ended_when_the_hand_takes_something_else():
    on = board()
    on.hand_px = 1.0
    far = Motion(1, 0, ((50.0, 0.0, 0.0, 1.0),))
    made = ChunkInput(begins=(Begin("drag", 1, ((5.0, 5.0),), 0),), motions=(far,), ends=((1, 1),))
    assert on.frames(made, 12).ended == ()
    assert on.frames(ChunkInput(begins=(Begin("drag", 2, ((60.0, 50.0),), 0),)), 12).ended == (1,)


@pytest.mark.parametrize("name", ["nano", "wan2.1-1.3b", "wan2.2-5b"])
@pytest.mark.parametrize("speed", [{"pan": (20.0, 0.0)}, {"zoom": 0.9}, {"roll": 0.6}, {"zoom": -0.7, "roll": 0.3}])
def test_the_camera_covers_every_canvas_with_no_more_points_than_are_kept_free(name, speed):
    config = preset(name)
    geometry = config.geometry
    on = GestureBoard(geometry, TrackBuffer(geometry, nano().model.tracks, seed=0))
    given = {"pan": (0.0, 0.0), "zoom": 0.0, "roll": 0.0} | speed
    spacing = camera_spacing(geometry)
    for _ in range(3):
        frames = on.frames(ChunkInput(camera=CameraSpeed(**given)), 12).held
        for points in frames[1:]:
            places = np.array([[point.x, point.y] for point in points])
            assert 40 <= len(places) <= CAMERA_POINTS
            across = np.array([geometry.width, geometry.height])
            probes = np.stack(np.meshgrid(*(np.linspace(0.1, 0.9, 5) * side for side in across)), -1).reshape(-1, 2)
            gaps = np.linalg.norm(probes[:, None] - places, axis=-1).min(1)
            assert gaps.max() < 1.5 * spacing, "no hole"


@pytest.mark.parametrize(("size", "spacing"), [((96, 128), 12.0), ((144, 192), 17.7)])
def test_nano_keeps_its_lattice(size, spacing):
    """As many points in a larger picture; each holds the anchors around it."""
    assert camera_spacing(nano().sized(*size).geometry) == pytest.approx(spacing, abs=0.05)


def test_a_full_hand_and_the_camera_fit_together():
    on = board()
    begins = tuple(
        Begin("pin", key, tuple((1.0 + 0.4 * n, 2.0 + key) for n in range(208)), 0) for key in range(1, 5)
    )  # 832 points, as many as a hand may hold
    frames = on.frames(ChunkInput(begins=begins, camera=CameraSpeed(zoom=0.4)), 12).held
    assert max(map(len, frames)) <= MAX_POINTS


@pytest.mark.parametrize("zoom", [0.7, -0.7])
def test_a_latched_zoom_goes_on_for_ever(zoom):
    """20 minutes at the board alone, at few frames a second; the points are looked at twice a minute."""
    geometry = dataclasses.replace(GEOMETRY, fps=4.0)
    on = GestureBoard(geometry, TrackBuffer(geometry, nano().model.tracks, seed=0))
    play(on, ChunkInput(), 9)
    held = [[], on.frames(ChunkInput(camera=CameraSpeed(zoom=zoom)), 1)[0][0]]
    centre = np.array([geometry.width / 2, geometry.height / 2])
    for frame in range(1, round(20 * 60 * geometry.fps)):
        points = on.lattice.points(np.zeros((0, 2)), on.lattice.step())
        held = [held[1], points]
        if frame % 120 > 1:
            continue
        assert 40 <= len(points) <= CAMERA_POINTS, frame
        assert len({(round(p.x, 3), round(p.y, 3)) for p in points}) == len({p.id for p in points}) == len(points)
        before, now = ({p.id: np.array([p.x, p.y]) - centre for p in frame_points} for frame_points in held)
        growth = [np.hypot(*now[key]) / np.hypot(*before[key]) for key in before.keys() & now.keys()]
        assert growth == pytest.approx([2 ** (zoom / geometry.fps)] * len(growth)), frame
    assert on.lattice.shots > 40


def test_turning_does_not_hurry_in_a_larger_picture():
    """A way of three pixels in 192 is one of two in 128; a turn is the same in both."""
    target = (30.0, 0.0, 1.0, 2.0)
    small = follow(AT_REST, (20.0, 0.0, 1.0, 2.0), 2.0)
    large = follow(AT_REST, target, 3.0, 1.5)
    assert large == pytest.approx((1.5 * small[0], 0.0, small[2], small[3]))


def test_a_loop_goes_back_to_where_it_began_and_on():
    on = board()
    play(on, ChunkInput(), 9)
    way = ((20.0, 20.0), (36.0, 20.0), (36.0, 32.0))  # 16, 12 and 20 pixels: 3 a frame
    held = play(on, ChunkInput(begins=(Begin("path", 1, ((20.0, 20.0),), 8, way, 1.0, "linear", "loop"),)), 32)
    places = [(points[0].x, points[0].y) for points in held]
    assert places[15] == pytest.approx((20.0, 20.0))
    assert places[11] == pytest.approx((20 + 16 * 0.6, 20 + 12 * 0.6)), "12 of the last 20 pixels are ahead"
    assert places[16:] == [pytest.approx(place) for place in places[:16]]
