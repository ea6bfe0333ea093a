"""A session used from several threads, and what callers may get wrong."""

import threading

import numpy as np
import pytest

from motionstream.stream.points import Point
from motionstream.stream.session import StreamSession
from motionstream.tracks.tracks import Tracks

WAIT_S = 20


@pytest.fixture
def held_up(engine, monkeypatch):
    """Chunks that are made only when ``go`` is set; ``inside`` is set when one is begun."""
    inside, go = threading.Event(), threading.Event()
    make = StreamSession._make

    def slowly(self, *args):
        inside.set()
        assert go.wait(WAIT_S)
        return make(self, *args)

    monkeypatch.setattr(StreamSession, "_make", slowly)
    return inside, go


def test_closing_waits_for_the_chunk_that_another_thread_makes(engine, picture, held_up):
    inside, go = held_up
    session, made = engine.start(picture, "a cup"), []
    stepping = threading.Thread(target=lambda: made.append(session.step()))
    closing = threading.Thread(target=session.close)
    stepping.start()
    assert inside.wait(WAIT_S)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    assert session.open
    go.set()
    stepping.join(WAIT_S)
    closing.join(WAIT_S)
    assert len(made) == 1
    assert not session.open
    with pytest.raises(ValueError, match="session is closed"):
        session.step()


def test_two_threads_that_step_make_one_stream(engine, picture):
    with engine.start(picture, "a cup", seed=1) as session:
        alone = [session.step() for _ in range(6)]
    with engine.start(picture, "a cup", seed=1) as session:
        together = []
        threads = [threading.Thread(target=lambda: together.extend(session.step() for _ in range(3))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    assert [chunk.index for chunk in sorted(together, key=lambda chunk: chunk.index)] == list(range(6))
    for chunk in together:
        assert np.array_equal(chunk.frames, alone[chunk.index].frames)


def test_a_stream_and_a_reset_take_turns(engine, picture):
    failed, tracks = [], Tracks.from_points([[[20.0, 10.0]]] * 200, size=(32, 48), fps=16)
    with engine.start(picture, "a cup") as session:

        def streaming() -> None:
            try:
                list(session.stream(tracks))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=streaming)
        thread.start()
        while thread.is_alive():
            session.reset()
            thread.join(0.001)
    assert not failed


def test_pushing_does_not_wait(engine, picture, held_up):
    inside, go = held_up
    with engine.start(picture, "a cup") as session:
        stepping = threading.Thread(target=session.step)
        stepping.start()
        assert inside.wait(WAIT_S)
        session.push([Point(1, 20.0, 10.0)])
        assert stepping.is_alive()
        go.set()
        stepping.join(WAIT_S)


def test_points_may_come_from_anything_that_gives_them(engine, picture):
    with engine.start(picture, "a cup", seed=1) as session:
        session.push(Point(n, 10.0 + n, 10.0) for n in range(3))
        session.step()
        assert set(session._held) == {0, 1, 2}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([Point(1, 1e39, 10.0)], "below 1e\\+09"),
        ([Point(1, 10.0, float("-inf"))], "finite"),
        ([(1, 2.0, 3.0)], "no point: give motionstream.Point"),
    ],
)
def test_points_that_would_spoil_the_stream_are_refused(engine, picture, points, said):
    with engine.start(picture, "a cup") as session:
        with pytest.raises(ValueError, match=said):
            session.push(points)
        session.step()


@pytest.mark.parametrize("prompt", [None, b"x", ["a"]])
def test_prompts_that_are_no_text_are_refused(engine, picture, prompt):
    with engine.start(picture, "a cup") as session:
        with pytest.raises(ValueError, match="must be text"):
            session.set_prompt(prompt)
        session.step()
    with pytest.raises(ValueError, match="must be text"):
        engine.start(picture, prompt)


def test_what_are_no_tracks_is_refused(engine, picture):
    with engine.start(picture, "a cup") as session, pytest.raises(ValueError, match=r"give motionstream\.Tracks"):
        next(session.stream(None))
