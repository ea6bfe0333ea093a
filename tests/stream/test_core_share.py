"""Sharing cores with others: when the clean pass gets threads of its own, and that frames are the same then."""

import time

import numpy as np
import pytest
import torch

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
    assert not any(chunks(CoreShare(2), 500, together=1.0, apart=0.1, busy=BUSY + 0.05))


def test_where_others_want_the_cores_the_cheaper_way_is_found_and_kept():
    share = CoreShare(2)
    ways = chunks(share, 200, together=0.25, apart=0.16)
    assert ways.index(True) == RECENT + 2
    assert share.each == 1
    tried_again = ways[ways.index(True) :].count(False)
    assert 0 < tried_again <= 0.1 * len(ways)  # whether the others have gone
    assert chunks(share, 1000, together=0.1, apart=0.16)[-1] is False  # they have


def test_trials_that_change_nothing_become_rare():
    ways = chunks(CoreShare(2), 2000, together=0.2, apart=0.19)
    begins = [place for place in range(1, len(ways)) if ways[place] and not ways[place - 1]]
    gaps = np.diff(begins)
    assert sum(ways) == TRIAL * len(begins)
    assert list(gaps[:3]) == [TRIAL + 2 * REST[0], TRIAL + 4 * REST[0], TRIAL + 8 * REST[0]]
    assert max(gaps) == TRIAL + REST[1]


def test_threads_are_those_of_the_way_and_the_callers_own_come_back():
    share = CoreShare(2)
    with share.at_work(), share.at_work():
        assert torch.get_num_threads() == 2
    share.apart = True
    with share.at_work():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), share.at_work():
        print(1 / 0)
    assert torch.get_num_threads() == 2
    assert CoreShare(5).each == 5


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


def test_one_thread_is_not_shared(engine, picture):
    torch.set_num_threads(1)
    with engine.start(picture) as session:
        assert session._lane.share is None
        assert len(session.step().frames)
