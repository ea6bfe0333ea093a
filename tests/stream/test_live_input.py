"""Live input: spread over the next chunk as it came, latest wins, and nonsense refused with a sentence."""

import math
import time

import pytest

from motionstream.stream import live_input as module
from motionstream.stream.gestures import ChunkInput
from motionstream.stream.live_input import MAX_MOVES, LiveInput
from motionstream.stream.poses import AT_REST


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
        (lambda h: h.grab(2**20, [(1.0, 1.0)], 0, 0), "gesture id 1048576"),
        (lambda h: h.grab(1, [(1.0, 1.0)] * 257, 0, 0), "257 points"),
        (lambda h: h.grab(1, [(1.0, 380.0)], 0, 0), "near the 128x96 canvas"),
        (lambda h: h.grab(1, [(1.0, 1.0)], -1, 0), "seen=-1"),
        (lambda h: h.move(3, (0.0, 0.0, 0.0, 1.0), 0), "no drag 3"),
        (lambda h: h.release(3, 0), "no drag 3"),
        (lambda h: h.remove(3), "no gesture 3"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0)], 1.0, "linear", "once", 0, 0), "path of 1"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], 0.0, "linear", "once", 0, 0), "seconds"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], 1.0, "bouncy", "once", 0, 0), "bouncy"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0)] * 1001, 1.0, "linear", "once", 0, 0), "path of 1001"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (2.0, 2.0)], 601.0, "linear", "once", 0, 0), "seconds"),
        (lambda h: h.path(1, [(1.0, 1.0)], [(1.0, 1.0), (math.nan, 2.0)], 1.0, "linear", "once", 0, 0), "finite"),
        (lambda h: h.camera((math.inf, 0.0), 0.0, 0.0, 0), "pan x"),
        (lambda h: h.camera((0.0, -400.0), 0.0, 0.0, 0), "pan y=-400"),
        (lambda h: h.camera((0.0, 0.0), 99.0, 0.0, 0), "zoom=99"),
        (lambda h: h.camera((0.0, 0.0), -5.0, 0.0, 0), "zoom=-5"),
        (lambda h: h.camera((0.0, 0.0), 0.0, 7.0, 0), "roll=7"),
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
    still = (0.0, 0.0, 0.0)
    far = [(math.nan, 0.0, 0.0, 1.0), (1e6, 0.0, 0.0, 1.0), (0.0, -513.0, 0.0, 1.0), (0.0, 0.0, 1e3, 1.0)]
    for pose in (*far, (*still, 0.0), (*still, 0.04), (*still, 21.0), (*still, math.nan)):
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


def test_what_began_and_was_let_go_in_one_chunk_counts_in_it():
    hand = live()
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    for key in (1, 2, 3):
        hand.grab(key, grid, 0, 0)
    hand.release(1, 0)
    with pytest.raises(ValueError, match="1024 points at once"):
        hand.grab(4, grid, 0, 0)
    hand.collect(12, time.monotonic())
    hand.grab(4, grid, 0, 0)


def test_a_drag_that_is_removed_is_let_go():
    hand = live()
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    for key in (1, 2, 3):
        hand.grab(key, grid, 0, 0)
    hand.collect(12, time.monotonic())
    hand.remove(1)
    hand.remove(2)
    for key in (4, 5):
        hand.grab(key, grid, 0, 0)
    with pytest.raises(ValueError, match="1024 points at once"):
        hand.grab(6, grid, 0, 0)


def test_what_is_just_within_the_limits_is_taken(clock):
    hand = live()
    hand.grab(2**20 - 1, [(384.0, -288.0)] * 256, seen=0, t=1, snap=True)
    hand.move(2**20 - 1, (-512.0, 512.0, -999.0, 0.05), t=2)
    hand.path(1, [(1.0, 1.0)], [(384.0, 288.0)] * 1000, 600.0, "smooth", "loop", 0, t=3, snap=True)
    hand.camera((-512.0, 384.0), 4.0, -6.28, t=4)
    hand.prompt("x" * 1000)
    made, _ = hand.collect(1, 100.05)
    assert [begin.snap for begin in made.begins] == [True, True]
    assert made.motions[0].poses == ((-512.0, 512.0, -999.0, 0.05),)
    assert len(made.begins[1].path) == len(made.prompt) == 1000


def test_input_is_said_once(clock):
    hand = live()
    hand.pin(1, [(1.0, 2.0)], 3, t=1)
    hand.camera((8.0, 0.0), 0.5, 0.1, t=2)
    hand.prompt("a cup")
    hand.collect(12, 100.75)
    hand.remove(1, t=3)
    assert hand.collect(12, 101.5)[1] == (3,) * 12
    made, echo = hand.collect(12, 102.25)
    assert made.empty
    assert echo == (0,) * 12


def test_each_chunk_counts_time_from_the_one_before(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    hand.collect(12, 100.75)
    clock.now = 101.125  # half of the second chunk
    hand.move(1, (6.0, 0.0, 0.0, 1.0), t=2)
    made, echo = hand.collect(12, 101.5)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx([1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6])
    assert echo == (0,) * 5 + (2,) * 7
    clock.now = 102.25
    hand.move(1, (18.0, 0.0, 0.0, 1.0), t=3)
    made, _ = hand.collect(12, 102.25)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx(range(7, 19)), "on from where it was"


def test_a_move_that_comes_while_input_is_gathered_counts(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    clock.now = 100.8
    hand.move(1, (12.0, 0.0, 0.0, 1.0), t=2)
    made, echo = hand.collect(12, 100.75)
    assert made.motions[0].poses[-1][0] == 12.0
    assert echo == (1,) * 11 + (2,)


def test_one_move_in_a_pause_is_spread_over_the_chunk(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    hand.collect(12, 100.75)
    clock.now = 130.0
    hand.move(1, (12.0, 0.0, 0.0, 1.0), t=2)
    made, _ = hand.collect(12, 160.0)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx(range(1, 13))


def test_nothing_happens_in_a_long_pause(clock):
    hand = live()
    hand.pin(1, [(10.0, 10.0)], seen=0, t=1)
    assert hand.collect(12, 1000.0)[1] == (1,) * 12
    assert hand.collect(12, 2000.0)[0].empty


def test_a_hand_that_has_let_go_moves_no_more(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    hand.collect(12, 100.75)
    clock.now = 101.15
    hand.release(1, t=2)
    with pytest.raises(ValueError, match="no drag 1 to move"):
        hand.move(1, (6.0, 0.0, 0.0, 1.0), t=3)
    clock.now = 101.4
    hand.remove(1, t=4)  # it has let go before
    made, echo = hand.collect(12, 101.5)
    assert made.ends == ((1, 7),), "0.4 of 0.75 s: in the seventh frame it has arrived"
    assert echo == (0,) * 6 + (2,) * 6
    assert hand.collect(12, 102.25)[0].empty
    hand.grab(2, [(10.0, 10.0)], seen=0, t=5)
    hand.collect(12, clock.now)
    hand.release(2, t=6)
    assert hand.collect(12, clock.now + 0.75)[0].ends == ((2, 1),), "in one frame at least"


def test_a_pause_is_as_long_as_what_was_done_in_it(clock):
    hand = live()
    hand.grab(1, [(10.0, 10.0)], seen=0, t=1)
    for clock.now, x in ((130.0, 0.0), (131.0, 12.0)):
        hand.move(1, (x, 0.0, 0.0, 1.0), t=2)
    clock.now = 132.0
    hand.release(1, t=3)
    made, _ = hand.collect(12, 160.0)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx([2.0, 4.0, 6.0, 8.0, 10.0] + 7 * [12.0])
    assert made.ends == ((1, 12),)


def test_what_was_under_way_goes_on_and_what_was_pending_is_forgotten(clock):
    """After a branch."""
    hand = live()
    hand.pin(8, [(1.0, 1.0)], 0, t=1)
    hand.collect(12, 100.75)
    hand.remove(8, t=2)
    hand.pin(9, [(1.0, 1.0)], 0, t=3)
    hand.camera((8.0, 0.0), 0.5, 0.1, t=4)
    hand.prompt("a cup")
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    hand.clear({1: (256, (10.0, 0.0, 0.0, 1.0)), 2: (256, AT_REST)}, {1}, {3}, 200.0, leaving={4: 256})
    clock.now = 200.375
    hand.move(1, (16.0, 0.0, 0.0, 1.0), t=5)
    made, echo = hand.collect(12, 200.75)
    assert [pose[0] for pose in made.motions[0].poses] == pytest.approx([11, 12, 13, 14, 15] + 7 * [16])
    assert made == ChunkInput(motions=made.motions)
    assert echo == (0,) * 5 + (5,) * 7
    with pytest.raises(ValueError, match="no drag 2"):
        hand.move(2, AT_REST, t=6)
    for used in (1, 2, 3):
        with pytest.raises(ValueError, match="used before"):
            hand.pin(used, grid, 0, 0)
    with pytest.raises(ValueError, match="1024 points at once"):
        hand.pin(5, grid, 0, 0)
    hand.forget([4])
    hand.pin(5, grid, 0, 0)


def test_what_has_ended_is_no_drag_and_holds_no_points(clock):
    """Also one that was refused, whose hand is still down."""
    hand = live()
    grid = [(float(n % 16), float(n // 16)) for n in range(256)]
    for key in (1, 2, 3):
        hand.grab(key, grid, 0, 0)
    hand.forget([2])
    with pytest.raises(ValueError, match="no drag 2"):
        hand.move(2, AT_REST, t=1)
    hand.grab(4, grid, 0, 0)


def test_all_is_refused_while_recorded_input_plays():
    hand = live()
    hand.grab(1, [(1.0, 1.0)], 0, 0)
    hand.refused = "wait"
    way = [(1.0, 1.0), (2.0, 2.0)]
    for call in (
        lambda: hand.grab(2, way, 0, 0),
        lambda: hand.pin(2, way, 0, 0),
        lambda: hand.path(2, way, way, 1.0, "linear", "once", 0, 0),
        lambda: hand.move(1, AT_REST, 0),
        lambda: hand.release(1, 0),
        lambda: hand.remove(1),
        lambda: hand.camera((1.0, 0.0), 0.0, 0.0, 0),
        lambda: hand.prompt("a cup"),
        hand.check_open,
    ):
        with pytest.raises(ValueError, match="wait"):
            call()
    hand.refused = None
    hand.check_open()
    hand.move(1, AT_REST, 0)
    made, _ = hand.collect(12, time.monotonic())
    assert (len(made.begins), len(made.motions), made.ends, made.camera, made.prompt) == (1, 1, (), None, None)


def test_every_frame_says_the_newest_of_all_sources():
    class Source:
        def __init__(self, swarm, times):
            self.said = swarm, times

        def points(self, chunk, num_frames):
            assert (chunk, num_frames) == (4, 3)
            return self.said

    hand, swarm = live(), object()
    assert hand.gather(4, 3) == ((), (0, 0, 0))
    hand.sources = Source(None, (1, 2, 9)), Source(swarm, (5, 0, 7))
    assert hand.gather(4, 3) == ((swarm,), (5, 2, 9))
