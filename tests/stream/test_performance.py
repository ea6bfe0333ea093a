"""Playing by hand: what is recorded replays bit for bit, and a branch equals a fresh run with the same input."""

import numpy as np
import pytest

from motionstream.stream import performance
from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, Motion
from motionstream.stream.lane import Lane
from motionstream.stream.performance import Performance, SnapshotStore
from motionstream.stream.swarm import Swarm
from motionstream.stream.take import Take


@pytest.fixture
def picture(engine) -> np.ndarray:
    geometry = engine.preset.geometry
    return np.random.default_rng(0).integers(0, 255, (geometry.height, geometry.width, 3), dtype=np.uint8)


def perform(show: Performance, num_chunks: int, side: float = 1.0) -> list[np.ndarray]:
    """Chunks made with a drag, a pin, a path, a camera move and a new prompt."""
    made = []
    for _ in range(num_chunks):
        k = show.chunk
        base = 100 * k + (50 if side < 0 else 0)
        if k in (1, 4):
            show.live.grab(base + 1, [(20.0, 12.0), (24.0, 12.0)], seen=max(show.frame - 3, 0), t=k)
            show.live.move(base + 1, (side * 6.0, 3.0, 0.2, 1.1), t=k + 1)
            if k == 4:
                show.live.release(base + 1, t=k + 2)
        if k == 2:
            show.live.pin(base + 2, [(6.0, 6.0)], seen=4, t=3)
            show.live.path(base + 3, [(40.0, 20.0)], [(40.0, 20.0), (30.0, 28.0)], 1.0, "smooth", "once", 4, t=3)
        if k == 3:
            show.live.camera((side * 4.0, 0.0), 0.2, 0.0, t=4)
            show.live.prompt("something else")
        if k == 5:
            show.live.camera((0.0, 0.0), 0.0, 0.0, t=5)
        made.append(show.step().frames)
    return made


def test_a_replayed_take_is_bit_identical(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        frames = perform(show, 8)
    take = Take.from_json(show.take.to_json())
    assert take.inputs == show.take.inputs
    with Performance.of_take(engine, take) as again:
        assert again.scripted
        replayed = [again.step().frames for _ in range(8)]
        assert not again.scripted
    assert all(np.array_equal(a, b) for a, b in zip(frames, replayed, strict=True))


def test_the_input_matters(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as one, Performance(engine, picture, "a cup", seed=3) as other:
        assert not np.array_equal(perform(one, 5)[-1], perform(other, 5, side=-1.0)[-1])


@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_a_branch_equals_a_fresh_run(engine, picture, at):
    with Performance(engine, picture, "a cup", seed=3) as show:
        perform(show, 6)
        show.branch(at)
        assert (show.chunk, show.take.num_chunks) == (at, at)
        branched = perform(show, 4, side=-1.0)
        take = show.take
    with Performance.of_take(engine, Take.from_json(take.to_json())) as fresh:
        frames = [fresh.step().frames for _ in range(at + 4)]
    assert all(np.array_equal(a, b) for a, b in zip(branched, frames[at:], strict=True))


def test_a_branch_from_a_thinned_out_chunk_is_made_again(engine, picture):
    with Performance(engine, picture, "a cup", seed=3, snapshot_bytes=1) as show:
        perform(show, 12)
        assert len(show.snapshots.states) == 4
        at = next(k for k in range(12) if k not in show.snapshots.states)
        show.branch(at)
        branched = perform(show, 2, side=-1.0)
        take = show.take
    with Performance.of_take(engine, take) as fresh:
        frames = [fresh.step().frames for _ in range(at + 2)]
    assert all(np.array_equal(a, b) for a, b in zip(branched, frames[at:], strict=True))


def test_a_branch_that_fails_loses_no_input(engine, picture, monkeypatch):
    """On the way through the chunks that are made again."""
    with Performance(engine, picture, "a cup", seed=3, snapshot_bytes=1) as show:
        seen = perform(show, 12)
        recorded = list(show.take.inputs)
        at = next(k for k in range(2, 12) if k not in show.snapshots.states)
        with monkeypatch.context() as broken:
            broken.setattr(Lane, "decode", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                show.branch(at)
        assert show.take.inputs == recorded
        assert not show.session.open
    with Performance.of_take(engine, show.take) as again:
        assert all(np.array_equal(again.step().frames, frames) for frames in seen)


def test_gestures_under_way_survive_a_branch(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        show.live.grab(1, [(20.0, 12.0)], seen=0, t=1)
        show.live.move(1, (6.0, 0.0, 0.0, 1.0), t=2)
        show.step()
        show.live.release(1, t=3)
        show.step()
        assert show.active == ()
        show.branch(1)
        assert show.active == (1,)
        show.live.move(1, (12.0, 0.0, 0.0, 1.0), t=4)
        chunk = show.step()
        assert chunk.marks[-1][0].x == 32.0
        show.branch(0)
        with pytest.raises(ValueError, match="no drag 1"):
            show.live.move(1, (1.0, 0.0, 0.0, 1.0), t=5)


def test_echo_and_frame_numbers(engine, picture):
    with Performance(engine, picture, "", seed=0) as show:
        first = show.step()
        assert (first.index, first.first_frame, len(first.frames), set(first.echo)) == (0, 0, 9, {0})
        show.live.pin(1, [(5.0, 5.0)], seen=0, t=77)
        second = show.step()
        assert (second.first_frame, len(second.frames), set(second.echo)) == (9, 12, {77})
        assert show.frame == 21


def test_live_input_is_refused_while_a_take_plays(engine, picture):
    with Performance(engine, picture, "", seed=0) as show:
        show.step()
        show.step()
    with Performance.of_take(engine, show.take) as again:
        again.step()
        with pytest.raises(ValueError, match="recorded input is playing"):
            again.live.pin(1, [(5.0, 5.0)], seen=0, t=1)
        again.step()
        again.live.pin(1, [(5.0, 5.0)], seen=0, t=1)
        assert again.step().marks[0]


def test_a_branch_from_a_take_that_plays_is_live(engine, picture):
    """What was recorded from there on is forgotten."""
    with Performance(engine, picture, "a cup", seed=3) as show:
        perform(show, 5)
    with Performance.of_take(engine, show.take) as again:
        for _ in range(2):
            again.step()
        again.branch(1)
        assert (again.scripted, again.recorded) == (False, 0)
        again.live.pin(7, [(5.0, 5.0)], seen=0, t=1)
        assert {mark.kind for mark in again.step().marks[-1]} == {"pin"}
        assert again.take.inputs[1].begins[0].id == 7


def test_a_step_that_fails_leaves_the_take_what_was_seen(engine, picture, monkeypatch):
    """Once in decoding, once in a source of points: what goes on is what is played again."""
    with Performance(engine, picture, "", seed=0) as show:
        seen = [show.step().frames]
        show.live.grab(1, [(20.0, 12.0)], seen=8, t=1)
        show.live.move(1, (6.0, 3.0, 0.0, 1.0), t=2)
        with monkeypatch.context() as broken:
            broken.setattr(Lane, "decode", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                show.step()
        assert show.session.buffer.frame == show.frame
        assert show.active == ()
        seen.append(show.step().frames)
        show.live.grab(2, [(20.0, 12.0)], seen=8, t=3)
        show.live.move(2, (6.0, 3.0, 0.0, 1.0), t=4)
        with monkeypatch.context() as broken:
            broken.setattr(show.live, "gather", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                show.step()
        seen.append(show.step().frames)
        assert show.active == (2,)
    with Performance.of_take(engine, Take.from_json(show.take.to_json())) as again:
        assert all(np.array_equal(again.step().frames, frames) for frames in seen)


def test_numbers_of_numpy_and_long_prompts(engine, picture):
    with Performance(engine, picture, "", np.int64(3), steps=np.int64(2)) as show:
        show.step()
    take = Take.from_json(show.take.to_json())
    assert (take.seed, take.steps) == (3, 2)
    with pytest.raises(ValueError, match="1001 characters: a take holds at most 1000"):
        Performance(engine, picture, 1001 * "x", 0)


def test_branching_into_the_future_is_refused(engine, picture):
    with Performance(engine, picture, "", seed=0) as show:
        show.step()
        with pytest.raises(ValueError, match="chunk 5"):
            show.branch(5)
        assert show.chunk == 1


def test_snapshots_stay_within_their_memory(engine, picture):
    with Performance(engine, picture, "", seed=0) as show:
        show.step()
        show.step()
        one = show.snapshots.states[1].nbytes
        show.snapshots.limit = 6 * one
        for _ in range(30):
            show.step()
        assert show.snapshots.nbytes <= 6 * one
        assert 0 in show.snapshots.states
        assert show.chunk - 1 in show.snapshots.states


@pytest.mark.parametrize(("pages", "kept"), [(None, 4), (6, 4), (3, 2)])
def test_states_larger_than_their_memory_are_as_few_as_fit(engine, picture, monkeypatch, pages, kept):
    """A chunk of Wan is a gigabyte: with room for the newest alone, a way back is made again from the start."""
    with Performance(engine, picture, "a cup", seed=3) as probe:
        page = probe.session.cache.page_bytes
        probe.step()
        probe.settle()
        first = probe.session.snapshot().cache.pages[0]
        assert page == sum(t.numel() * t.element_size() for t in first)
    monkeypatch.setattr(performance, "free_bytes", lambda device: None if pages is None else pages * page)
    with Performance(engine, picture, "a cup", seed=3, snapshot_bytes=1) as show:
        frames = perform(show, 8)
        show.settle()
        assert len(show.snapshots.states) == kept
        assert {0, 8} <= show.snapshots.states.keys()
        show.branch(6)
        assert all(np.array_equal(a, b) for a, b in zip(perform(show, 2), frames[6:], strict=True))


def test_old_snapshots_thin_out_first():
    class State:
        nbytes = 1

    store = SnapshotStore(12)
    for chunk in range(200):
        store.add(chunk, State())
    kept = sorted(store.states)
    assert kept[0] == 0
    assert kept[-1] == 199
    assert len(kept) == 12
    gaps = np.diff(kept)
    assert gaps[-1] <= 2
    assert gaps[0] > gaps[-2]
    assert max(gaps) < 120


def test_take_of_another_canvas(engine, picture):
    take = Take("x", 10, 10, 16.0, "", 0, None, np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="scaled"):
        Performance.of_take(engine, take)
    geometry = engine.preset.geometry
    begin = Begin("path", 1, ((5.0, 5.0),), 0, ((5.0, 5.0), (10.0, 10.0)), 1.0)
    take.inputs = [ChunkInput((begin,), (Motion(2, 0, ((1.0, 1.0, 0.1, 2.0),)),), (), CameraSpeed((1.0, 1.0)))]
    scaled = take.scaled(geometry.width, geometry.height)
    assert scaled.inputs[0].begins[0].path[1] == (geometry.width, geometry.height)
    assert scaled.inputs[0].motions[0].poses[0] == (geometry.width / 10, geometry.height / 10, 0.1, 2.0)
    assert scaled.inputs[0].camera is not None
    assert scaled.picture.shape == (geometry.height, geometry.width, 3)
    with Performance.of_take(engine, scaled) as show:
        assert show.step().marks[0]


def test_what_a_gesture_took_lies_where_its_hand_saw_it(engine, picture):
    stride = engine.preset.geometry.stride
    with Performance(engine, picture, "a cup", seed=3) as show:
        show.live.grab(1, [(20.0, 12.0)], seen=0, t=1)
        first = show.step()
        assert set(first.took) == {1}
        near = np.array(first.took[1])
        assert np.hypot(*(near - (20.0, 12.0)).T).max() <= 5 * stride
        assert len({tuple(cell) for cell in near.tolist()}) == len(near), "no cell twice"
        show.live.move(1, (8.0, 0.0, 0.0, 1.0), t=2)
        assert show.step().took == {}, "it took nothing more"
        show.step()
        # A pin set by a hand that still sees the picture before the move takes cells that are elsewhere by now.
        show.live.release(1, t=3)
        show.step()
        show.live.pin(2, [(20.0, 12.0)], seen=0, t=4)
        late = np.array(show.step().took[2])
    assert np.hypot(*(late - (20.0, 12.0)).T).min() <= stride
    assert np.allclose((late - near[0]) % stride, 0, atol=1e-3), "the same lattice, as the hand saw it"


def test_a_gesture_that_is_over_took_nothing(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        show.step()
        show.live.grab(1, [(20.0, 12.0)], seen=0, t=1)
        show.live.release(1, t=2)
        assert show.step().took == {}


def test_a_branch_to_a_kept_chunk_makes_nothing_again(engine, picture, monkeypatch):
    with Performance(engine, picture, "a cup", seed=3) as show:
        perform(show, 6)
        show.settle()
        monkeypatch.setattr(show, "_play", lambda *_: 1 / 0)
        for at in (6, 4, 0):
            show.branch(at)
            assert show.chunk == at
            assert max(show.snapshots.states) == at


def test_what_is_closed_keeps_its_take_alone(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        show.step()
    assert not show.session.open
    assert not show.snapshots.states
    assert show.take.num_chunks == 1


def test_sources_are_asked_for_the_chunk_that_is_made(engine, picture):
    asked = []
    swarm = Swarm.of("motion", [7], np.full((12, 1, 2), 16.0), np.ones((12, 1), bool), (48, 32))

    class Source:
        def points(self, chunk, num_frames):
            asked.append((chunk, num_frames))
            return swarm if num_frames == 12 else None, tuple(range(70, 70 + num_frames))

    with Performance(engine, picture, "", seed=0) as show:
        show.live.sources = (Source(),)
        assert show.step().echo == tuple(range(70, 79))
        show.live.pin(1, [(5.0, 5.0)], seen=0, t=75)
        assert show.step().echo == (75,) * 6 + tuple(range(76, 82))
        assert asked == [(0, 9), (1, 12)]
        assert [made.swarms for made in show.take.inputs] == [(), (swarm,)]


def test_snapshots_count_what_they_share_once(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        perform(show, 6)
        states = [state.session for state in show.snapshots.states.values()]
        held = {id(t): t for state in states for pair in state.cache.pages.values() for t in pair}
        held |= {id(t): t for state in states for t in state.decoder or ()}
        assert show.snapshots.nbytes == sum(t.numel() * t.element_size() for t in held.values())
        assert states[-1].cache.pages[0] is states[-2].cache.pages[0], "the sink"
        assert states[-1].nbytes() > states[-1].nbytes(states[-2])


def test_the_buffer_is_told_how_the_camera_moves(engine, picture):
    """Or a later grab would take what lay there before."""
    with Performance(engine, picture, "", seed=0) as show:
        steps, chunk = [], show.session.buffer.chunk

        def record(frames, **how):
            steps.append(how["drift"])
            return chunk(frames, **how)

        show.session.buffer.chunk = record
        show.step()
        show.live.camera((16.0, 0.0), 0.0, 0.0, t=1)
        show.step()
    assert not any(step is not None for step in steps[0])
    assert all(step is not None for step in steps[1])


def test_after_a_branch_ids_stay_used_and_only_drags_have_hands(engine, picture):
    with Performance(engine, picture, "a cup", seed=3) as show:
        perform(show, 6)
        show.branch(5)
        assert 203 not in show.active, "the path is over"
        for used in (101, 202, 203):
            with pytest.raises(ValueError, match="used before"):
                show.live.pin(used, [(5.0, 5.0)], seen=0, t=1)
        show.live.pin(501, [(5.0, 5.0)], seen=0, t=1)
        assert 202 in show.active
        with pytest.raises(ValueError, match="no drag 202"):
            show.live.move(202, (1.0, 0.0, 0.0, 1.0), t=2)
