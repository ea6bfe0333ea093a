"""Live input: spread over the next chunk as it came, latest wins, and nonsense refused with a sentence."""

import math
import time

import pytest

from motionstream.stream import live_input as module
from motionstream.stream.live_input import MAX_MOVES, LiveInput


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def live() -> LiveInput:
    return LiveInput(128, 96, 16.0)


def test_moves_are_spread_as_they_came(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=5)
    for step in range(1, 13):  # a steady hand over one chunk of 0.75 s
        clock.now = 100 + 0.0625 * step
        hand.move(1, (float(step), 0.0, 0.0, 1.0), t=1000 + step)
    made, echo = hand.collect(12, clock.now)
    (motion,) = made.motions
    assert [pose[0] for pose in motion.poses] == pytest.approx(range(1, 13))
    assert list(echo) == [1000 + step for step in range(1, 13)]
    assert made.begins[0].points == ((10.0, 10.0),)


def test_the_last_frame_is_where_the_hand_is_now(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=5)
    clock.now = 100.01
    hand.move(1, (30.0, 4.0, 0.5, 2.0), t=10)
    made, echo = hand.collect(12, 100.75)
    assert made.motions[0].poses[-1] == (30.0, 4.0, 0.5, 2.0)
    assert echo[-1] == 10
    assert hand.collect(12, 101.5)[0].empty  # a hand at rest is no input


def test_moves_made_in_a_pause_fill_the_next_chunk(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    clock.now = 130.0
    hand.move(1, (0.0, 0.0, 0.0, 1.0), t=2)
    clock.now = 131.0
    hand.move(1, (24.0, 0.0, 0.0, 1.0), t=3)
    made, _ = hand.collect(12, 160.0)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx([2.0 * n for n in range(1, 13)])


def test_a_flick_within_one_chunk_counts(clock):
    hand = live()
    clock.now = 100.2
    hand.grab(4, [(10.0, 10.0)], seen=0, t=1)
    clock.now = 100.3
    hand.move(4, (9.0, 0.0, 0.0, 1.0), t=2)
    clock.now = 100.375
    hand.release(4, t=3)
    made, echo = hand.collect(12, 100.75)
    assert made.motions[0].poses[5][0] == 9.0
    assert made.ends == ((4, 6),)
    assert echo[0] == 1
    assert echo[-1] == 3
    with pytest.raises(ValueError, match="no drag 4"):
        hand.move(4, (1.0, 0.0, 0.0, 1.0), t=4)
    with pytest.raises(ValueError, match="used before"):
        hand.grab(4, [(1.0, 1.0)], 0, 0)


def test_paths_pins_camera_and_prompt_go_through(clock):
    hand = live()
    hand.pin(1, [(1.0, 2.0)], 3, t=1)
    hand.path(2, [(5.0, 5.0)], [(5.0, 5.0), (50.0, 5.0)], 2.0, "linear", "swing", 3, t=2)
    hand.camera((8.0, 0.0), 0.5, 0.1, t=3)
    hand.prompt("a cup")
    made, echo = hand.collect(12, 100.75)
    assert [(b.kind, b.id) for b in made.begins] == [("pin", 1), ("path", 2)]
    assert (made.begins[1].seconds, made.begins[1].mode) == (2.0, "swing")
    assert made.camera is not None
    assert made.camera.pan == (8.0, 0.0)
    assert made.prompt == "a cup"
    assert set(echo) == {3}
    hand.remove(1, t=9)
    made, _ = hand.collect(12, 101.5)
    assert made.ends == ((1, 0),)
    hand.remove(1)  # gone already: no mistake


@pytest.mark.parametrize("moves", [MAX_MOVES, MAX_MOVES + 1, 3 * MAX_MOVES])
def test_the_newest_move_is_never_thinned_away(clock, moves):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=0)
    for step in range(1, moves + 1):
        clock.now = 100 + step / 1000
        hand.move(1, (step / 100, 0.0, 0.0, 1.0), t=step)
    made, echo = hand.collect(4, clock.now)
    assert made.motions[0].poses[-1][0] == moves / 100
    assert echo[-1] == moves


def test_a_long_pause_keeps_memory_small(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=5)
    for step in range(20_000):
        clock.now += 0.001
        hand.move(1, (step / 500, 0.0, 0.0, 1.0), t=step)
    assert len(hand._hands[1].moves) <= MAX_MOVES
    made, _ = hand.collect(12, clock.now)
    assert made.motions[0].poses[-1][0] == 19_999 / 500


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda h: h.grab(1, [(math.nan, 1.0)], 0, 0), "finite"),
        (lambda h: h.grab(1, [(9e9, 1.0)], 0, 0), "near the 128x96 canvas"),
        (lambda h: h.grab(1, [], 0, 0), "0 points"),
        (lambda h: h.grab(1, [(1.0, 1.0)] * 10_000, 0, 0), "10000 points"),
        (lambda h: h.grab(0, [(1.0, 1.0)], 0, 0), "gesture id 0"),
        (lambda h: h.grab(1, [(1.0, 1.0)], -1, 0), "seen=-1"),
        (lambda h: h.move(3, (0.0, 0.0, 0.0, 1.0), 0), "no drag 3"),
        (lambda h: h.release(3, 0), "no drag 3"),
        (lambda h: h.remove(3), "no gesture 3"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0)], 1.0, "linear", "once", 0, 0), "path of 1"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], 0.0, "linear", "once", 0, 0), "seconds"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], 1.0, "bouncy", "once", 0, 0), "bouncy"),
        (lambda h: h.camera((math.inf, 0.0), 0.0, 0.0, 0), "pan x"),
        (lambda h: h.camera((0.0, 0.0), 99.0, 0.0, 0), "zoom=99"),
        (lambda h: h.prompt("x" * 100_000), "100000 characters"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(call, sentence):
    hand = live()
    with pytest.raises(ValueError, match=sentence):
        call(hand)
    assert hand.collect(12, time.monotonic())[0].empty


def test_a_bad_pose_leaves_the_drag_as_it_was():
    hand = live()
    hand.grab(1, [(1.0, 1.0)], 0, 0)
    for pose in ((math.nan, 0.0, 0.0, 1.0), (1e6, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0)):
        with pytest.raises(ValueError):
            hand.move(1, pose, 0)
    assert hand.collect(12, time.monotonic())[0].motions == ()


def test_too_many_points_at_once():
    hand = live()
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    for key in (1, 2, 3):
        hand.pin(key, grid, 0, 0)
    with pytest.raises(ValueError, match="at most 832"):
        hand.pin(4, grid, 0, 0)
    hand.remove(1)
    hand.pin(4, grid, 0, 0)


def test_what_is_let_go_counts_until_it_has_arrived():
    hand = live()
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    for key in (1, 2, 3):
        hand.grab(key, grid, 0, 0)
    hand.collect(12, time.monotonic())
    hand.release(1, 0)
    hand.remove(2)
    with pytest.raises(ValueError, match="1024 points at once: at most 832"):
        hand.pin(4, grid, 0, 0)
    hand.grab(5, grid, 0, 0)  # a hand elsewhere lets what is on its way stop
    hand.collect(12, time.monotonic())
    hand.forget([1, 2])
    hand.pin(6, grid, 0, 0)
