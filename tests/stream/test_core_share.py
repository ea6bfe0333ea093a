"""Sharing cores with others: when the clean pass gets threads of its own, and that frames are the same then."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from motionstream.bench.stream import load_timed
from motionstream.stream import lane as lane_module
from motionstream.stream.core_share import BUSY, RECENT, REST, TRIAL, CoreShare
from motionstream.stream.exhaustion import OutOfMemory
from motionstream.stream.points import Point

CHUNKS = 6


@pytest.fixture(autouse=True)
def two_threads(engine):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
    engine.cores_wanted = False


def chunks(share: CoreShare, count: int, together: float, apart: float, busy: float = 0.5) -> list[bool]:
    """Chunks that cost so much either way; in which of them the clean pass had threads of its own."""
    ways = []
    for _ in range(count):
        ways.append(share.apart)
        share.note(apart if share.apart else together, busy)
    return ways


def test_a_stream_that_has_its_cores_to_itself_tries_nothing():
    assert not any(chunks(CoreShare(), 500, together=1.0, apart=0.1, busy=BUSY + 0.05))


def test_where_others_want_the_cores_the_cheaper_way_is_found_and_kept():
    share = CoreShare()
    ways = chunks(share, 200, together=0.25, apart=0.16)
    assert ways.index(True) == RECENT + 2
    assert (share.chain, share.beside) == (1, 1)
    tried_again = ways[ways.index(True) :].count(False)
    assert 0 < tried_again <= 0.1 * len(ways)  # whether the others have gone
    assert chunks(share, 1000, together=0.1, apart=0.16)[-1] is False  # they have


def test_trials_that_change_nothing_become_rare():
    ways = chunks(CoreShare(), 2000, together=0.2, apart=0.19)
    begins = [place for place in range(1, len(ways)) if ways[place] and not ways[place - 1]]
    gaps = np.diff(begins)
    assert sum(ways) == TRIAL * len(begins)
    assert list(gaps[:3]) == [TRIAL + 2 * REST[0], TRIAL + 4 * REST[0], TRIAL + 8 * REST[0]]
    assert max(gaps) == TRIAL + REST[1]


def test_threads_are_those_of_the_way_and_the_callers_own_come_back():
    share = CoreShare()
    with share.at_work(), share.at_work():
        assert torch.get_num_threads() == 2
    share.apart = True
    with share.at_work():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), share.at_work():
        print(1 / 0)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(3)  # the caller's to say, at any time
    with share.at_work():
        assert torch.get_num_threads() == 2
        assert share.beside == 1
    assert torch.get_num_threads() == 3


def test_a_way_on_trial_is_not_yet_chosen():
    share = CoreShare()
    chunks(share, RECENT + 3, together=0.2, apart=0.1)
    assert share.apart
    assert not share.chosen
    chunks(share, TRIAL, together=0.2, apart=0.1)
    assert share.chosen


def stream(session, first: int = 0, *, settle: bool = False) -> np.ndarray:
    frames = []
    for index in range(first, CHUNKS):
        points = [Point(0, 8.0 + index, 12.0)]
        frames.append(session.step_frames([points] * session.frames_in_chunk(index)).frames)
        if settle:
            session.settle()
    return np.concatenate(frames)


def shared(session):
    """A session whose clean pass has a thread of its own, whatever chunks cost."""
    session._lane.share.apart = True
    session._lane.share.note = lambda *_: None
    return session


@pytest.mark.parametrize("settle", [False, True])
def test_frames_are_the_same_to_the_last_bit(engine, picture, settle):
    with engine.start(picture) as one, engine.start(picture) as other:
        shared(other)
        np.testing.assert_array_equal(stream(one), stream(other, settle=settle))
        assert other._lane.share.apart
        assert other._lane._beside is not None


def test_going_back_waits_for_the_pass_that_runs(engine, picture, monkeypatch):
    passes = []
    write = lane_module.write_keys

    def late(*args, **kwargs):
        time.sleep(0.05)
        write(*args, **kwargs)
        passes.append(True)

    monkeypatch.setattr(lane_module, "write_keys", late)
    with engine.start(picture) as one, engine.start(picture) as other:
        wanted = stream(one)
        shared(other).step_frames([[]] * other.frames_in_chunk(0))
        other.reset()
        assert len(passes) == 1
        np.testing.assert_array_equal(stream(other), wanted)
        state = other.snapshot()
        assert len(passes) == 1 + CHUNKS
        after = other.step_frames([[]] * other.frames_in_chunk(CHUNKS)).frames
        other.restore(state)
        assert len(passes) == 2 + CHUNKS
        assert other.index == CHUNKS
        np.testing.assert_array_equal(other.step_frames([[]] * other.frames_in_chunk(CHUNKS)).frames, after)
    assert len(passes) == 3 + CHUNKS  # the session waited for the last, too, before it gave its memory back


def test_a_pass_that_fails_is_made_again(engine, picture, monkeypatch):
    with engine.start(picture) as one, engine.start(picture) as other:
        wanted = stream(one)
        shared(other)
        with monkeypatch.context() as broken:
            broken.setattr(lane_module, "write_keys", lambda *_, **__: 1 / 0)
            first = other.step_frames([[Point(0, 8.0, 12.0)]] * other.frames_in_chunk(0)).frames
            with pytest.raises(ZeroDivisionError):
                other.settle()
        np.testing.assert_array_equal(np.concatenate([first, stream(other, 1)]), wanted)


def test_a_chunk_that_is_not_decoded_is_made_again(engine, picture, monkeypatch):
    with engine.start(picture) as one, engine.start(picture) as other:
        wanted = stream(one)
        shared(other)
        with monkeypatch.context() as broken:
            broken.setattr(other.engine, "_frames", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                stream(other)
        assert other.index == 0
        np.testing.assert_array_equal(stream(other), wanted)


def test_who_is_interrupted_while_he_waits_leaves_no_pass_behind(engine, picture, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    write, wait = lane_module.write_keys, Future.exception

    def held(*args, **kwargs):
        started.set()
        assert go_on.wait(10)
        write(*args, **kwargs)

    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    def released(self, timeout=None):
        go_on.set()
        return wait(self, timeout)

    with engine.start(picture) as one, engine.start(picture) as other:
        wanted = stream(one)
        shared(other)
        with monkeypatch.context() as broken:
            broken.setattr(lane_module, "write_keys", held)
            other.step_frames([[]] * other.frames_in_chunk(0))
            assert started.wait(10)
            broken.setattr(Future, "exception", interrupted)
            with pytest.raises(KeyboardInterrupt):
                other.settle()
            broken.setattr(Future, "exception", released)
            other.reset()
            assert go_on.is_set()
        np.testing.assert_array_equal(stream(other), wanted)


def test_where_no_thread_can_be_started_nothing_is_shared(engine, picture, monkeypatch):
    def none(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(lane_module.ThreadPoolExecutor, "submit", none)
    with engine.start(picture) as one, engine.start(picture) as other:
        other._lane.share.apart = True
        np.testing.assert_array_equal(stream(one), stream(other))
        assert not other._lane.share.apart


def test_the_thread_of_the_pass_ends_with_the_way(engine, picture):
    with engine.start(picture) as session:
        shared(session).step_frames([[]] * session.frames_in_chunk(0))
        beside = session._lane._beside
        session._lane.share.apart = False
        stream(session, 1)
        assert session._lane._beside is None
        with pytest.raises(RuntimeError):
            beside.submit(print)


def test_memory_that_runs_out_in_the_pass_ends_the_stream_alone(engine, picture, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    with engine.start(picture) as session:
        shared(session)
        with monkeypatch.context() as broken:
            broken.setattr(lane_module, "write_keys", full)
            session.step()
            with pytest.raises(OutOfMemory, match="what it made is kept"):
                session.step()
        assert not session.open
    with engine.start(picture) as session:
        assert len(stream(session))


def test_the_next_stream_begins_as_the_last_one_ended(engine, picture):
    with engine.start(picture) as session:
        assert not session._lane.share.apart
        shared(session).step()
    with engine.start(picture) as session:
        assert session._lane.share.apart
        assert len(session.step().frames)


def test_what_cannot_be_shared_is_not(engine, picture, monkeypatch):
    torch.set_num_threads(1)
    with engine.start(picture) as session:
        session._lane.share.apart = True
        assert len(session.step().frames)
        assert session._lane._beside is None
    torch.set_num_threads(2)
    monkeypatch.setattr(engine, "gives_way", False)
    with engine.start(picture) as session:
        assert session._lane.share is None
    monkeypatch.setattr(engine, "gives_way", True)
    monkeypatch.setattr(engine.fused, "compiled", True)
    assert not engine.shares_cores


def test_a_benchmark_gives_no_way():
    engine, _ = load_timed("tiny-debug", device="cpu", random_weights=True)
    assert not engine.gives_way


def test_a_chunk_costs_all_that_was_computed_for_it_once(monkeypatch):
    share, noted, now = CoreShare(), [], {"wall": 0.0, "own": 0.0}
    monkeypatch.setattr(share, "note", lambda cost, busy: noted.append((cost, busy)))
    monkeypatch.setattr("time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("time.thread_time", lambda: now["own"])

    def compute(wall: float, own: float) -> None:
        now["wall"] += wall
        now["own"] += own

    with share.at_work():
        compute(2.0, 0.5)
        with share.at_work():
            compute(1.0, 0.5)
    compute(100.0, 100.0)  # no work of the stream's
    with share.at_work():
        compute(1.0, 1.0)
    share.next_chunk()
    share.next_chunk()
    assert noted == [(4.0, 0.5)]
