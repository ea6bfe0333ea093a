"""The fast path of a session is the slow one; on a GPU it also waits for nothing and overlaps."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch

from motionstream.device import choose_compute
from motionstream.stream import lane as lane_module
from motionstream.stream import patch
from motionstream.stream.compute_path import ComputePath
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.outline import outlines
from motionstream.stream.points import Point

CHUNKS = 8


def streamed(engine: StreamEngine, picture: np.ndarray, seed: int = 2) -> tuple[torch.Tensor, np.ndarray]:
    """Latents and frames of a stream with a drag and a new prompt."""
    latents, frames = [], []
    with engine.start(picture, "a cup", seed=seed) as session:
        for index in range(CHUNKS):
            session.push([Point(1, 10.0 + 2 * index, 12.0)])
            if index == 5:
                session.set_prompt("a dog")
            frames.append(session.step().frames)
            latents.append(session.latents.float().cpu())
    return torch.cat(latents, 1), np.concatenate(frames)


def same_weights(engine: StreamEngine, device: str, dtype: str, path: ComputePath) -> StreamEngine:
    import copy

    model, vae = copy.deepcopy(engine.model), copy.deepcopy(engine.vae)
    return StreamEngine(engine.preset, model, vae, choose_compute(device, dtype), path=path)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_fast_path_makes_the_references_latents(engine, picture, compiled):
    slow = same_weights(engine, "cpu", "float32", ComputePath(fused=False))
    fast = same_weights(engine, "cpu", "float32", ComputePath(rows="compiled" if compiled else "plain"))
    wanted, frames = streamed(slow, picture)
    got, shown = streamed(fast, picture)
    assert wanted.std() > 0.1
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    assert np.abs(shown.astype(int) - frames).max() <= 1
    assert slow.fused is None
    assert slow.describe_path()["path"].startswith("the reference")
    assert "fused" in fast.describe_path()["path"]


def test_bfloat16_stays_near_float32(engine, picture):
    wanted, _ = streamed(same_weights(engine, "cpu", "float32", ComputePath(fused=False)), picture)
    errors = {}
    for fused in (False, True):
        got, _ = streamed(same_weights(engine, "cpu", "bfloat16", ComputePath(fused=fused)), picture)
        errors[fused] = float((got - wanted).norm() / wanted.norm())
    assert errors[True] <= max(1.5 * errors[False], 0.02), errors


def test_a_compiler_that_fails_is_done_without(engine, picture, monkeypatch):
    def broken(function, **options):
        def fail(*args):
            raise RuntimeError("no working C++ compiler was found")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    fast = same_weights(engine, "cpu", "float32", ComputePath(rows="compiled"))
    assert fast.decoder_compiled
    with pytest.warns(RuntimeWarning, match="torch.compile does not work here.*no working C"):
        with fast.start(picture, "a cup", seed=2) as session:
            frames = session.step().frames
    assert not fast.decoder_compiled
    assert "torch.compile failed" in fast.describe_path()["path"]
    with engine.start(picture, "a cup", seed=2) as session:
        assert not engine.decoder_compiled
        assert np.abs(session.step().frames.astype(int) - frames).max() <= 1


def test_frames_are_rounded_pixels_and_what_is_beyond_their_range_is_cut_off():
    class Given:
        def decode(self, latents, memory):
            return torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.3]).expand(1, 2, 3, 4, 6), memory

    frames, _ = lane_module.decoded_frames(Given(), torch.zeros(1), [])
    assert frames.shape == (2, 4, 6, 3)
    assert frames.dtype == torch.uint8
    assert frames[1, 3, :, 2].tolist() == [0, 0, 0, 1, 255, 255]


def test_input_is_read_after_the_clean_pass(engine, picture, monkeypatch):
    """A push that comes while the clean pass of the chunk before runs is in the next chunk, not the one after."""
    from motionstream.stream.lane import Lane

    commit = Lane.commit
    with engine.start(picture) as session, engine.start(picture) as wanted:
        session.step()
        wanted.step()

        def push_meanwhile(lane, *args):
            if lane is session._lane:
                session.push([Point(1, 30.0, 20.0)])
            return commit(lane, *args)

        monkeypatch.setattr(Lane, "commit", push_meanwhile)
        wanted.push([Point(1, 30.0, 20.0)])
        assert np.array_equal(session.step().frames, wanted.step().frames)


def test_launch_and_result_are_a_step(engine, picture):
    with engine.start(picture, seed=1) as one, engine.start(picture, seed=1) as other:
        for _ in range(3):
            pending = one.launch()
            assert np.array_equal(pending.result().frames, other.step().frames)


def test_warmup_reports_progress(engine):
    told = []
    engine.warmup(3, note=lambda made, total: told.append((made, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_warmup_looks_for_a_thing_as_the_first_grab_will(engine, monkeypatch):
    """Or the first grab waits for what is loaded only then."""
    pytest.importorskip("cv2")
    looked = []
    monkeypatch.setattr(patch, "outlines", lambda *given: looked.append(given) or outlines(*given))
    engine.warmup(1)
    assert looked


class Recorded:
    """Stands for recorded graphs; a replay does nothing."""

    def __call__(self, work):
        return work(), lambda: None

    def forget(self):
        pass


def test_an_engine_that_nobody_holds_is_gone_at_once(engine, picture, monkeypatch):
    """Also where a lane with recorded graphs waits for the next stream: nothing may wait for Python's collector."""
    monkeypatch.setattr(StreamEngine, "records", property(lambda engine: True))
    monkeypatch.setattr(lane_module, "CudaRecorder", Recorded)
    made = same_weights(engine, "cpu", "float32", ComputePath())
    streamed(made, picture)
    assert made._spare[0].graphs.num_graphs > 0
    gone = [weakref.ref(made), weakref.ref(made._spare[0].graphs)]
    gc.disable()
    try:
        del made
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_going_back_compiles_nothing_anew(engine, picture):
    """What a snapshot keeps is of the kind that the stream makes; compiled code tells them apart."""
    with engine.start(picture) as session:
        session.step()
        state = session.snapshot()
        assert {memory.is_inference() for memory in state.decoder} == {memory.is_inference() for memory in session._decoder}


# ---- on a GPU --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_hidden_waits():
    try:
        torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def on_gpu(engine):
    def make(dtype: str = "float32", **path) -> StreamEngine:
        made = same_weights(engine, "cuda", dtype, ComputePath(**path))
        made.warmup()
        return made

    return make


@pytest.mark.gpu
@pytest.mark.parametrize(
    "path",
    [{"rows": "plain", "graphs": False}, {"rows": "plain"}, {"rows": "compiled"}, {"rows": "kernels"}, {}],
    ids=["plain", "graphs", "compiled", "kernels", "all"],
)
def test_every_path_on_a_gpu_makes_the_references_latents(engine, picture, on_gpu, path):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    wanted, _ = streamed(on_gpu(fused=False), picture)
    fast = on_gpu(**path)
    for _ in range(2):  # a second stream runs on the graphs of the first
        got, _ = streamed(fast, picture)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    if path.get("graphs", True):
        assert "CUDA graphs, recorded" in fast.describe_path()["path"]


@pytest.mark.gpu
def test_a_gpu_has_the_kernels(on_gpu):
    """Not only their stand-in: a kernel that fails its test falls back, and the tests above would not see it."""
    for dtype in ("float32", "bfloat16"):
        assert "Triton kernels" in on_gpu(dtype).describe_path()["path"]
    for form, said in (("early", "in all steps but the last, "), ("all", "in all passes, ")):
        assert f"products in FP8 {said}" in on_gpu("bfloat16", fp8=form).describe_path()["path"]


@pytest.mark.gpu
def test_fp8_stays_near(engine, picture, on_gpu):
    """Far from real widths: 48 numbers a row. What is measured at Wan's is in docs/speed.md."""
    wanted, _ = streamed(on_gpu(fused=False), picture)
    error = {}
    for form in (None, "early", "all"):
        fast = on_gpu("bfloat16", fp8=form)
        got, again = streamed(fast, picture)[0], streamed(fast, picture)[0]  # the second one on the graphs of the first
        error[form] = float((got - wanted).norm() / wanted.norm())
        assert float((again - got).norm() / got.norm()) < 1e-3
        assert "CUDA graphs, recorded" in fast.describe_path()["path"]
    assert error["early"] < 2 * error[None], error
    assert 1e-3 < error["all"] < 0.2, error


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["small", pytest.param("nano", marks=pytest.mark.weights)])
def test_a_step_on_a_gpu_waits_for_nothing_but_its_frames(picture, on_gpu, name):
    if name == "nano":  # with its recall, which is told of tracks in every chunk
        fast = load_engine("nano", device="cuda", dtype="bfloat16")
        assert fast.recall is not None
        fast.warmup()
        geometry = fast.preset.geometry
        picture = np.random.default_rng(0).integers(0, 256, (geometry.height, geometry.width, 3), dtype=np.uint8)
    else:
        fast = on_gpu("bfloat16")
    with fast.start(picture, "a cup") as session:
        session.push([Point(1, 10.0, 12.0)])  # taken hold of before: that looks for the thing, once
        session.step()
        with no_hidden_waits():
            for index in range(6):
                session.push([Point(1, 10.0 + index, 12.0)])
                session.step()


@pytest.mark.gpu
def test_a_step_on_a_gpu_allocates_nothing_after_warm_up(picture, on_gpu):
    fast = on_gpu("bfloat16")
    with fast.start(picture, "a cup") as session:
        for _ in range(4):
            session.step()
        before = torch.cuda.memory_stats()["num_device_alloc"]
        for _ in range(20):
            session.step()
        assert torch.cuda.memory_stats()["num_device_alloc"] == before


@pytest.mark.gpu
def test_pipelined_chunks_on_a_gpu_are_the_same(picture, on_gpu):
    from motionstream.tracks.tracks import Tracks

    fast, tracks = on_gpu(), Tracks.empty(num_frames=9 + 12 * 5, size=(32, 48), fps=16)
    with fast.start(picture, seed=3) as session:
        piped = np.concatenate([chunk.frames.copy() for chunk in session.stream(tracks)])
    with fast.start(picture, seed=3) as session:
        assert np.array_equal(piped, np.concatenate([session.step().frames for _ in range(6)]))


@pytest.mark.gpu
@pytest.mark.weights
def test_nano_on_a_gpu_stays_near_the_reference():
    slow = load_engine("nano", device="cuda", dtype="float32", path=ComputePath(fused=False))
    fast = load_engine("nano", device="cuda", dtype="bfloat16")
    geometry = fast.preset.geometry
    picture = np.random.default_rng(0).integers(0, 256, (geometry.height, geometry.width, 3), dtype=np.uint8)
    with slow.start(picture, seed=1) as one, fast.start(picture, seed=1) as other:
        for _ in range(4):
            one.step()
            other.step()
        off = (one.latents - other.latents).norm() / one.latents.norm()
    assert off < 0.05
