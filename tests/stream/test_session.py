"""One stream: the training rollout's latents, live input that lands in the next chunk, and no way to break it."""

import gc
import math
import threading

import numpy as np
import pytest
import torch

from motionstream.causal.rollout import rollout
from motionstream.models.dit import Condition
from motionstream.models.motion import track_latents
from motionstream.nn.kv_cache import HistoryCache
from motionstream.stream import session as session_module
from motionstream.stream.lane import Lane
from motionstream.stream.points import MAX_POINTS, Point
from motionstream.stream.session import MAX_PUSHES
from motionstream.tracks.tracks import Tracks


def drag(num_frames: int, size: tuple[int, int], fps: float = 16.0) -> Tracks:
    """Two points on curves; the second begins late and pauses."""
    t = torch.arange(num_frames) / num_frames
    one = torch.stack([10 + 25 * t, 16 + 8 * torch.sin(6 * t)], -1)
    two = torch.stack([40 - 30 * t, 5 + 20 * t], -1)
    visible = torch.ones(num_frames, 2, dtype=torch.bool)
    visible[:5, 1] = False
    visible[20:24, 1] = False
    return Tracks.from_points(torch.stack([one, two], 1), size=size, fps=fps, visible=visible)


@pytest.fixture
def latents_of(monkeypatch) -> list[torch.Tensor]:
    """Latents of every chunk that any session makes."""
    made, denoise = [], Lane.denoise

    def record(*args, **kwargs):
        made.append(denoise(*args, **kwargs).clone())
        return made[-1]

    monkeypatch.setattr(Lane, "denoise", record)
    return made


def test_stream_makes_the_latents_of_the_training_rollout(engine, picture, latents_of):
    preset, chunks = engine.preset, 30
    num_frames = preset.geometry.pixel_frames(chunks * preset.cache.chunk_frames)
    shown = []  # what the session's buffer made of the tracks
    with engine.start(picture, "a red ball", seed=3) as session:
        chunk_of = session.buffer.chunk

        def record(frames, *, first, **options):
            assert options["remember"], "a track that is hidden for a while is the same one"
            shown.append(chunk_of(frames, first=first, **options))
            return shown[-1]

        session.buffer.chunk = record
        frames = [c.frames for c in session.stream(drag(num_frames, (32, 48)))]
        noise, sigmas = session.noise, session.sigmas
    assert [len(f) for f in frames[:2]] == [9, 12]
    assert len(latents_of) == len(frames) == chunks
    with torch.no_grad():
        motion = [track_latents(engine.model, preset.geometry, *t, first=n == 0) for n, t in enumerate(shown)]
        video = torch.from_numpy(picture).permute(2, 0, 1)[None, None].float() / 255
        text = engine.model.embed_text(engine.text(["a red ball"]))
        condition = Condition(engine.vae.encode(video), torch.cat(motion, 1), text)
        cache = HistoryCache(preset.model, preset.cache, grid=(4, 6))
        trained = list(rollout(engine.model, cache, condition, noise, sigmas, chunks))
        for index, (ours, wanted) in enumerate(zip(latents_of, trained, strict=True)):
            torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0, msg=f"chunk {index}")
        pixels = engine.vae.decode(torch.cat(trained, 1))[0][0].permute(0, 2, 3, 1) * 255
    assert np.abs(np.concatenate(frames).astype(float) - pixels.numpy()).max() < 0.51 + 0.05
    assert torch.cat(latents_of, 1)[:, 1:].std() > 0.1
    assert np.concatenate(frames).std() > 5


def test_settling_early_changes_nothing(engine, picture):
    with engine.start(picture, seed=1) as plain, engine.start(picture, seed=1) as eager:
        for _ in range(4):
            assert np.array_equal(plain.step().frames, eager.step().frames)
            eager.settle()
            eager.settle()
            assert plain.index == eager.index


def test_what_was_made_is_given_when_the_next_chunk_fails(engine, picture, monkeypatch):
    """With a lane that overlaps, a chunk is launched before the one before it is given."""
    tracks = drag(40, (32, 48))
    with engine.start(picture, "cup", seed=5) as session:
        wanted = [chunk.frames for chunk in session.stream(tracks)][:2]
        session.reset()
        monkeypatch.setattr(session._lane, "overlaps", True, raising=False)
        launch = session._launch
        monkeypatch.setattr(session, "_launch", lambda *a, **k: launch(*a, **k) if session.index < 2 else 1 / 0)
        given = []
        with pytest.raises(ZeroDivisionError):
            given.extend(chunk.frames for chunk in session.stream(tracks))
        assert len(given) == 2
        assert all(np.array_equal(a, b) for a, b in zip(given, wanted, strict=True))


def test_a_point_that_is_nowhere_spoils_nothing(engine, picture):
    with engine.start(picture, "cup", seed=5) as session:
        frames_of_points = [[Point(1, math.nan, 10.0)]] * session.frames_in_chunk(0)
        with pytest.raises(ValueError, match="coordinates must be finite"):
            session.step_frames(frames_of_points)
        with pytest.raises(ValueError, match=r"below 1e\+09"):
            session.step_frames([[Point(1, 1e25, 10.0)]] * session.frames_in_chunk(0))
        assert session.index == 0
        assert session.buffer.place.isfinite().all()


def test_reset_is_a_fresh_session(engine, picture, frames_of):
    with engine.start(picture, "cup", seed=5) as session:
        session.push([Point(1, 10.0, 10.0)])
        first = frames_of(session, 3)
        session.push([Point(1, 30.0, 20.0), Point(2, 5.0, 5.0)])
        frames_of(session, 4)
        session.push([Point(9, 1.0, 1.0)])
        session.set_prompt("a dog")
        session.reset()
        assert session.index == 0
        session.push([Point(1, 10.0, 10.0)])
        assert np.array_equal(frames_of(session, 3), first)
    with engine.start(picture, "cup", seed=5) as fresh:
        fresh.push([Point(1, 10.0, 10.0)])
        assert np.array_equal(frames_of(fresh, 3), first)


def test_seed_prompt_picture_and_motion_all_matter(engine, picture, frames_of):
    def video(picture=picture, prompt="cup", seed=0, point=None, steps=None):
        with engine.start(picture, prompt, seed=seed, steps=steps) as session:
            if point:
                session.push([point])
            return frames_of(session, 2)

    plain = video()
    assert plain.shape == (21, 32, 48, 3)
    assert plain.dtype == np.uint8
    assert np.array_equal(plain, video())
    for change in (
        {"prompt": "dog"},
        {"seed": 1},
        {"picture": 255 - picture},
        {"point": Point(0, 20, 20)},
        {"steps": 1},
    ):
        assert not np.array_equal(plain, video(**change)), change.keys()


def test_prompt_can_change_between_chunks(engine, picture):
    with engine.start(picture, "cup") as one, engine.start(picture, "cup") as other:
        assert np.array_equal(one.step().frames, other.step().frames)
        other.set_prompt("dog")
        assert not np.array_equal(one.step().frames, other.step().frames)


def test_a_new_prompt_leaves_the_caches_as_they_are(engine, picture):
    """Also the clean pass of the last chunk, which is still to be made then, uses the prompt of its chunk."""
    with engine.start(picture, "cup") as one, engine.start(picture, "cup") as other:
        for session in (one, other):
            session.step()
            session.step()
        other.set_prompt("dog")
        one.settle()
        other.settle()
        before = one.snapshot().cache.pages, other.snapshot().cache.pages
        assert before[0].keys() == before[1].keys() == {0, 1}
        for chunk in (0, 1):
            assert all(torch.equal(a, b) for a, b in zip(before[0][chunk], before[1][chunk], strict=True))
        one.step()
        other.step()
        one.settle()
        other.settle()
        after = one.snapshot().cache.pages, other.snapshot().cache.pages
        assert all(torch.equal(a, b) for a, b in zip(after[0][0], after[1][0], strict=True)), "the sink keeps its prompt"
        assert not torch.equal(after[0][2][0], after[1][2][0])


def test_a_push_during_a_step_lands_in_the_next_chunk(engine, picture, monkeypatch):
    denoise, inside = Lane.denoise, []

    def push_meanwhile(*args, **kwargs):
        if not inside:
            inside.append(True)
            worker = threading.Thread(target=session.push, args=([Point(1, 30.0, 20.0)],))
            worker.start()
            worker.join(timeout=10)  # a push must never wait for the step
            assert not worker.is_alive()
        return denoise(*args, **kwargs)

    monkeypatch.setattr(Lane, "denoise", push_meanwhile)
    with engine.start(picture) as session, engine.start(picture) as untouched, engine.start(picture) as after:
        first = session.step().frames
        inside[:] = [True]
        assert np.array_equal(first, untouched.step().frames)
        after.step()
        after.push([Point(1, 30.0, 20.0)])
        second = session.step().frames
        assert not np.array_equal(second, untouched.step().frames)
        assert np.array_equal(second, after.step().frames)


def test_200_chunks_cost_the_same_memory(engine, picture):
    def tensors() -> int:
        gc.collect()
        return sum(t.numel() * t.element_size() for t in gc.get_objects() if type(t) is torch.Tensor)

    with engine.start(picture, steps=1) as session:
        nbytes, held = session.cache.nbytes, {}
        for index in range(200):
            session.push([Point(1, 10.0 + index % 20, 12.0)])
            chunk = session.step()
            if index in (20, 199):
                held[index] = tensors()
        assert chunk.index == 199
        assert held[20] == held[199]
        assert session.cache.nbytes == nbytes


def test_a_session_without_points_runs(engine, picture, frames_of):
    with engine.start(picture) as session:
        assert frames_of(session, 4).shape == (45, 32, 48, 3)


def test_a_picture_that_may_not_be_written_to_is_as_good(engine, picture):
    locked = picture.copy()
    locked.flags.writeable = False
    with engine.start(locked, seed=3) as session, engine.start(picture, seed=3) as other:
        np.testing.assert_array_equal(session.step().frames, other.step().frames)


def test_stream_covers_the_frames_asked_for(engine, picture):
    for wanted, lengths in ((None, [9, 12]), (1, [9]), (9, [9]), (10, [9, 12]), (22, [9, 12, 12])):
        with engine.start(picture) as session:
            made = [len(c.frames) for c in session.stream(drag(12, (32, 48)), wanted)]
        assert made == lengths, wanted


def test_tracks_of_another_canvas_or_batch_are_refused(engine, picture):
    with engine.start(picture) as session:
        with pytest.raises(ValueError, match=r"64x96 pixels.*use tracks.resize\(32, 48\)"):
            next(session.stream(drag(9, (96, 64))))
        two = drag(9, (32, 48))
        two = Tracks(
            xy=two.xy.repeat(2, 1, 1, 1),
            visible=two.visible.repeat(2, 1, 1),
            ids=two.ids.repeat(2, 1),
            size=(32, 48),
            fps=16,
        )
        with pytest.raises(ValueError, match="2 videos"):
            next(session.stream(two))
        with pytest.raises(ValueError, match=r"at 24 frames per second; this model makes 16: use tracks.resample\(fps=16\)"):
            next(session.stream(drag(9, (32, 48), fps=24.0)))
        with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
            next(session.stream(drag(9, (32, 48)), 0))
        assert session.index == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_positions_that_are_no_numbers_are_refused_whole(engine, picture, bad):
    with engine.start(picture) as session, engine.start(picture) as untouched:
        for point in (Point(2, bad, 1.0), Point(2, 1.0, bad)):
            with pytest.raises(ValueError, match=r"point 2 .*finite"):
                session.push([Point(1, 5.0, 5.0), point])
        assert np.array_equal(session.step().frames, untouched.step().frames)


def test_too_many_points_are_refused_and_do_no_harm(engine, picture):
    with engine.start(picture) as session, engine.start(picture) as untouched:
        with pytest.raises(ValueError, match=f"10000 points at once: use at most {MAX_POINTS}"):
            session.push([Point(n, 1.0, 1.0) for n in range(10_000)])
        assert np.array_equal(session.step().frames, untouched.step().frames)
        session.push([Point(n, 1.0, 1.0) for n in range(MAX_POINTS)])
        with pytest.raises(ValueError, match=f"{MAX_POINTS + 1} points at once"):
            session.push([Point(MAX_POINTS, 1.0, 1.0)])
        session.push([Point(n, 1.0, 1.0, False) for n in range(MAX_POINTS)])  # who lets go of all holds none
        session.push([Point(MAX_POINTS, 1.0, 1.0)])
        session.step()
        assert session.buffer.grips.keys() == {MAX_POINTS}


def test_a_picture_that_is_filled_anew_is_not_the_streams(engine, picture):
    given = picture.copy()
    with engine.start(given) as session, engine.start(picture) as other:
        given[:] = 0
        assert np.array_equal(session.buffer.picture, other.buffer.picture)


def test_a_snapshot_holds_what_waits_to_be_shown(engine, picture):
    with engine.start(picture) as session:
        session.step()
        session.push([Point(1, 10.0, 16.0)])
        state = session.snapshot()
        frames = session.step().frames
        session.push([Point(1, 30.0, 16.0)])
        session.restore(state)
        assert np.array_equal(session.step().frames, frames)


@pytest.mark.parametrize("part", ["denoise", "decode", "commit"])
def test_a_chunk_that_fails_leaves_nothing(engine, picture, monkeypatch, part: str):
    """What was pushed for it is shown by the next try."""
    with engine.start(picture) as session, engine.start(picture) as other:
        for x in (10.0, 20.0):
            for each in (session, other):
                each.step()
                each.push([Point(1, x, 16.0)])

        def fail(*_, **__):
            raise ZeroDivisionError

        with monkeypatch.context() as broken:
            broken.setattr(Lane, part, fail)
            with pytest.raises(ZeroDivisionError):
                session.step()
        session.snapshot()
        for _ in range(2):
            assert np.array_equal(session.step().frames, other.step().frames)


def test_tracks_may_be_given_piece_by_piece(engine, picture):
    """Also where a point is hidden when one piece ends: it still names what it held (suite `horizon` streams so)."""
    tracks = drag(69, (32, 48))
    tracks.visible[:, 12:40, 0] = False
    with engine.start(picture) as session:
        whole = np.concatenate([chunk.frames for chunk in session.stream(tracks)])
    made = []
    with engine.start(picture) as session:
        while len(made) < 69:
            stop = len(made) + session.frames_in_chunk(session.index)
            for chunk in session.stream(tracks.slice_frames(len(made), min(stop, 69)), stop - len(made)):
                made += list(chunk.frames)
    assert np.array_equal(np.stack(made)[:69], whole[:69])


def test_the_limit_of_live_input_does_not_hold_for_ready_made_tracks(engine, picture, monkeypatch):
    given, make = [], session_module.track_latents

    def record(model, geometry, xy, visible, ids, **which):
        given.append((xy, visible, ids))
        return make(model, geometry, xy, visible, ids, **which)

    monkeypatch.setattr(session_module, "track_latents", record)
    xy = torch.rand(33, 2500, 2) * torch.tensor([48.0, 32.0])
    with engine.start(picture) as session:
        chunks = list(session.stream(Tracks.from_points(xy, size=(32, 48), fps=16.0)))
    t = 0
    for (places, visible, ids), chunk in zip(given, chunks, strict=True):
        for place, seen in zip(places[0], visible[0], strict=True):
            shown = set(map(tuple, place[seen].tolist()))
            assert t >= 33 or shown >= set(map(tuple, xy[t].tolist())), "each of the 2,500 where it should be"
            t += 1
        assert len(ids[0].unique()) == ids.shape[1] >= (2500 if chunk.index < 2 else 0)
    assert t >= 33


def test_a_chunk_takes_points_for_as_many_frames_as_it_has(engine, picture):
    with engine.start(picture) as session:
        for given in (8, 10):
            with pytest.raises(ValueError, match=f"chunk 0 has 9 frames, points for {given} were given"):
                session.step_frames([[]] * given)
        assert len(session.step_frames([[]] * 9).frames) == 9


def test_a_paused_stream_stays_small(engine, picture):
    with engine.start(picture) as session:
        for n in range(3 * MAX_PUSHES):
            session.push([Point(1, n / 100, 16.0)])
        assert len(session._pushes) <= MAX_PUSHES
        session.step()
        assert session._held[1].x == (3 * MAX_PUSHES - 1) / 100


def test_a_closed_session_says_so(engine, picture):
    session = engine.start(picture)
    session.step()
    state = session.snapshot()
    session.close()
    session.close()
    assert session.cache is None
    assert session.latents is None
    uses = [session.step, session.launch, session.settle, session.snapshot, session.reset, lambda: session.push([])]
    uses += [lambda: session.set_prompt("a dog"), lambda: session.restore(state), lambda: session.index]
    for use in (*uses, lambda: next(session.stream(drag(9, (32, 48))))):
        with pytest.raises(ValueError, match="session is closed"):
            use()
