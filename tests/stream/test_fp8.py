"""Which passes are in FP8, and what that does to latents: on a processor, with the kernels' definitions in their place.

On a GPU: tests/stream/test_lane.py.
"""

import copy
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

import motionstream.models
import motionstream.nn
from motionstream.causal.graphs import ChunkGraphs
from motionstream.causal.rollout import SeededNoise, commit_chunk, denoise_chunk
from motionstream.device import choose_compute
from motionstream.models.dit import Condition
from motionstream.nn.fp8 import fp8_works, rounded
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.stream import compute_path
from motionstream.stream.compute_path import ComputePath, path_as_computed
from motionstream.stream.engine import StreamEngine
from motionstream.stream.points import Point

sys.path.insert(0, str(Path(__file__).parents[1] / "causal"))
from recording import Replayer

KERNELS = ComputePath(rows="kernels", attention="sdpa", cross="sdpa")
EARLY, ALL = (ComputePath(fp8=form, attention="sdpa", cross="sdpa") for form in ("early", "all"))
CHUNKS = 6


@pytest.fixture
def kernels(monkeypatch) -> types.SimpleNamespace:
    """`nn/row_kernels.py` as its definitions, whether there is Triton or not; ``asked``: names of those that were called."""
    if why := fp8_works("cpu"):
        pytest.skip(why)
    fresh = (("nn", "row_kernels"), ("nn", "row_kernels_check"), ("models", "fused_kernels"))
    for folder, name in fresh:  # so that what is imported from here on is forgotten afterwards
        package, full = getattr(motionstream, folder), f"motionstream.{folder}.{name}"
        monkeypatch.setitem(sys.modules, full, types.ModuleType(full))
        monkeypatch.setattr(package, name, sys.modules[full], raising=False)
    stand_in = sys.modules["motionstream.nn.row_kernels"]
    stand_in.ROWS = 4
    del sys.modules["motionstream.nn.row_kernels_check"], sys.modules["motionstream.models.fused_kernels"]
    check = importlib.import_module("motionstream.nn.row_kernels_check")

    def norm_rows_fp8(x, shift, scale, eps, y=None, gate=None):
        return rounded(check.norm_rows_reference(x, shift, scale, eps, torch.float32, y, gate).flatten(0, 1))

    def gelu_rows_fp8(x):
        return rounded(gelu(x.flatten(0, 1).float(), approximate="tanh"))

    asked: list[str] = []
    references = {
        "norm_rows": check.norm_rows_reference,
        "write_qkv": check.write_qkv_reference,
        "rms_rows": check.rms_rows_reference,
        "norm_rows_fp8": norm_rows_fp8,
        "gelu_rows_fp8": gelu_rows_fp8,
    }
    for name, reference in references.items():
        told = lambda *given, name=name, reference=reference: (asked.append(name), reference(*given))[1]  # noqa: E731
        setattr(stand_in, name, told)
    monkeypatch.setattr(compute_path, "kernels_missing", lambda config, compute: None)
    monkeypatch.setattr(compute_path, "fp8_missing", lambda config, compute: None)
    return types.SimpleNamespace(asked=asked)


@pytest.fixture
def made(engine, kernels):
    """The same weights, run in one way or another."""

    def make(path: ComputePath, dtype: str = "bfloat16") -> StreamEngine:
        model, vae = copy.deepcopy(engine.model), copy.deepcopy(engine.vae)
        return StreamEngine(engine.preset, model, vae, choose_compute("cpu", dtype), path=path)

    return make


def streamed(engine: StreamEngine, picture: np.ndarray, steps: int = 3) -> torch.Tensor:
    latents = []
    with engine.start(picture, "a cup", seed=2, steps=steps) as session:
        for index in range(CHUNKS):
            session.push([Point(1, 10.0 + 2 * index, 12.0)])
            session.step()
            latents.append(session.latents.float())
    return torch.cat(latents, 1)


def test_fp8_in_early_steps_alone_errs_as_bfloat16(made, picture):
    wanted = streamed(made(ComputePath(fused=False), "float32"), picture)
    error = {
        name: float((streamed(made(path), picture) - wanted).norm() / wanted.norm())
        for name, path in (("bfloat16", KERNELS), ("early", EARLY), ("all", ALL))
    }
    assert 1e-3 < error["bfloat16"] < 0.02
    assert error["early"] < 1.5 * error["bfloat16"], error
    assert 3 * error["bfloat16"] < error["all"] < 0.1, error


@pytest.mark.parametrize("steps", [2, 3])
def test_the_last_step_and_the_clean_pass_are_not_in_fp8(made, picture, kernels, steps):
    engine = made(EARLY)
    blocks = engine.preset.model.num_layers
    with engine.start(picture, "a cup", steps=steps) as session:
        kernels.asked.clear()
        session.step()
        one_pass = ["norm_rows_fp8"] * 3 + ["gelu_rows_fp8"]  # qkv, cross-attention's queries, and the feed-forward's two
        told = [name for name in kernels.asked if "fp8" in name]
        assert sorted(told) == sorted(one_pass * blocks * (steps - 1))
        last = len(kernels.asked) - 1 - kernels.asked[::-1].index("gelu_rows_fp8")
        assert kernels.asked[last + 1 :].count("norm_rows") == 3 * blocks + 2, "the head's of that step, and the last step"
        kernels.asked.clear()
        session.settle()
        assert kernels.asked
        assert not [name for name in kernels.asked if "fp8" in name], "the clean pass"


def test_all_is_all_passes(made, picture, kernels):
    engine = made(ALL)
    with engine.start(picture, "a cup", steps=1) as session:
        for work in (session.step, session.settle):
            kernels.asked.clear()
            work()
            assert "norm_rows_fp8" in kernels.asked
            assert kernels.asked.count("norm_rows") <= 1, "the head's"


def test_it_is_said_which_form_it_is(made):
    told = [made(path).describe_path()["path"] for path in (EARLY, ALL, KERNELS)]
    assert "products in FP8 in all steps but the last, no CUDA graphs" in told[0]
    assert "products in FP8 in all passes, no CUDA graphs" in told[1]
    assert "FP8" not in told[2]
    assert [made(path).computed_with.rows for path in (EARLY, ALL, KERNELS)] == ["fp8-early", "fp8", "kernels"]


@pytest.mark.parametrize(("path", "fp8"), [(EARLY, "early"), (ALL, "all"), (KERNELS, None)])
def test_a_take_is_replayed_in_the_form_that_made_it(made, path, fp8):
    numbers = made(path).computed_with
    assert path_as_computed(ComputePath(), numbers).fp8 == fp8
    assert path_as_computed(ComputePath(fp8="all"), numbers).fp8 in ("all", fp8), "what was asked for stays"
    assert made(path_as_computed(ComputePath(), numbers)).computed_with == numbers


def test_one_step_has_none_before_the_last(made, picture):
    with pytest.warns(RuntimeWarning, match="FP8 is for all steps but the last, and there is one: products are not in it"):
        got = streamed(made(EARLY), picture, steps=1)
    assert torch.equal(got, streamed(made(KERNELS), picture, steps=1))
    fused = made(EARLY).fused
    assert fused.form_in(1).endswith("products in bfloat16 (FP8 is for all steps but the last, and there is one)")
    assert fused.form_in(2) == fused.form
    assert made(ALL).fused.form_in(1).endswith("products in FP8 in all passes")


@torch.inference_mode()
def test_steps_of_other_products_share_no_graph(made):
    """One level is the first step of a list and the last of another: recorded, each stays what it is."""
    engine = made(EARLY)
    config, plan, model = engine.preset.model, engine.preset.cache, engine.fused
    grid = (engine.preset.geometry.latent_height, engine.preset.geometry.latent_width)
    cells = (grid[0] // config.patch, grid[1] // config.patch)
    random = torch.Generator().manual_seed(0)
    text = engine.model.embed_text(torch.randn(1, config.text_len, config.text_dim, generator=random).bfloat16().float())
    tracks = torch.randn(1, plan.chunk_frames, config.tracks.channels, *grid, generator=random)
    first = torch.randn(1, 1, config.latent_channels, *grid, generator=random)
    text = [(k.bfloat16(), v.bfloat16()) for k, v in text]
    condition = Condition(first, tracks, text)
    noise = SeededNoise(0, (1, plan.chunk_frames, config.latent_channels, *grid), torch.device("cpu"))
    ring, plain = (SinkWindowCache(config, plan, batch=1, grid=cells, dtype=torch.bfloat16) for _ in range(2))
    recorder = Replayer()
    graphs = ChunkGraphs(model, ring, recorder)
    for sigmas in ((1.0, 0.6), (1.0,), (1.0, 0.6, 0.3), (1.0, 0.6)):
        ring.reset()
        plain.reset()
        for chunk in range(10):
            wanted = denoise_chunk(model, plain, condition, noise, sigmas)
            commit_chunk(model, plain, wanted, condition)
            got = graphs.denoise(condition, noise, sigmas)
            graphs.commit(got, condition)
            assert torch.equal(got, wanted), f"{sigmas}, chunk {chunk}"
    assert recorder.replayed > recorder.recorded > 0
