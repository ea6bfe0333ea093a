"""The student's start: its own rollouts in training are those of streaming, and the truth only judges them; forcing and
regression on trajectories give the model what they say."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from motionstream.causal.rollout import SeededNoise, rollout
from motionstream.data.conditions import Batch
from motionstream.device import choose_compute
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.causal_init import CausalInitConfig, CausalInitStage
from motionstream.train.teacher import condition_of


@pytest.fixture
def stage(tmp_path) -> CausalInitStage:
    preset = tiny_debug()
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    vae.fit_linear(random_planes(preset, 500))
    save_weights(tmp_path / "teacher.safetensors", model, dtype=torch.float32)
    config = CausalInitConfig(batch=2, num_frames=45, own="rollout", p_own_context=1.0)
    return CausalInitStage(preset, config, vae, tmp_path / "teacher.safetensors", choose_compute("cpu", "float32"))


def streamed(stage: CausalInitStage, batch: Batch, condition: Condition, past: int = 0) -> tuple[torch.Tensor, float]:
    """What the ring cache of streaming makes with the draws of ``rollout_loss`` (seed 5), without the ``past`` chunks in
    all steps before it; and the noise level at which it stops."""
    generator = torch.Generator().manual_seed(5)
    seed, exit_step = int(torch.randint(2**31 - 1, (), generator=generator)), int(torch.randint(3, (), generator=generator))
    ring = SinkWindowCache(stage.preset.model, stage.preset.cache, batch=2, grid=stage.grid)
    noise = SeededNoise(seed, (2, 3, *batch.latents.shape[2:]), torch.device("cpu"))
    sigmas, chunks = stage.preset.sample.student_sigmas, batch.latents.shape[1] // 3
    with torch.no_grad():
        assert len(list(rollout(stage.model, ring, condition, noise, sigmas, past))) == past
        made = list(rollout(stage.model, ring, condition, noise, sigmas, chunks, exit_step=exit_step))
    return torch.cat(made, dim=1), sigmas[exit_step]


@pytest.mark.parametrize("error", ["squared", "robust"])
def test_rollout_loss_judges_what_streaming_would_make(stage, error):
    stage.config = replace(stage.config, error=error)
    batch = stage.batch_at(0)
    condition = condition_of(stage.model, stage.preset, batch)
    loss = stage.rollout_loss(batch, condition, torch.Generator().manual_seed(5))

    made, level = streamed(stage, batch, condition)
    weight = 1 + stage.config.moving_weight * batch.moving
    far = (made - batch.latents).pow(2).mean(dim=2, keepdim=True)
    if error == "robust":
        far = (far + 0.03**2).sqrt() - 0.03
    wanted = (far * weight).mean() / level**2
    assert float(loss.detach()) == pytest.approx(float(wanted), rel=1e-4)


def test_a_past_that_the_student_streamed_is_given_and_not_judged(stage):
    """Two chunks come before the clip: made in all steps, as people stream; the loss sees none of them."""
    stage.config = replace(stage.config, past_chunks=2)
    batch = next(b for b in map(stage.batch_at, range(20)) if b.latents.shape[1] == 18)
    condition = condition_of(stage.model, stage.preset, batch)
    loss = stage.rollout_loss(batch, condition, torch.Generator().manual_seed(5))

    made, level = streamed(stage, batch, condition, past=2)
    weight = 1 + stage.config.moving_weight * batch.moving[:, 6:]
    wanted = ((made - batch.latents[:, 6:]).pow(2).mean(dim=2, keepdim=True) * weight).mean() / level**2
    assert float(loss.detach()) == pytest.approx(float(wanted), rel=1e-4)
    assert {stage.batch_at(step).latents.shape[1] for step in range(20)} == {12, 15, 18}


def test_a_past_needs_the_students_own_rollouts(stage, tmp_path):
    config = replace(stage.config, past_chunks=4, p_own_context=0.5)
    with pytest.raises(ValueError, match="past_chunks=4 needs own=rollout"):
        CausalInitStage(stage.preset, config, stage.vae, tmp_path / "teacher.safetensors", stage.compute)


def test_a_step_on_own_rollouts_moves_the_weights_but_not_the_track_head(stage):
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    stage.config = replace(stage.config, warmup=0)
    metrics = stage.train_step(0)
    assert metrics["grad_norm"] > 0
    after = stage.model.state_dict()
    assert not torch.equal(before["blocks.0.self_attn.q.weight"], after["blocks.0.self_attn.q.weight"])
    heads = [name for name in before if name.startswith("track_head.")]
    assert heads
    assert all(torch.equal(before[name], after[name]) for name in heads)


def test_clips_must_be_whole_chunks(stage, tmp_path):
    config = replace(stage.config, num_frames=41)
    with pytest.raises(ValueError, match="num_frames=41"):
        CausalInitStage(stage.preset, config, stage.vae, tmp_path / "teacher.safetensors", stage.compute)


def test_init_goes_on_from_a_student_instead_of_the_teacher(stage, tmp_path):
    other = WanDiT(stage.preset.model, stage.preset.geometry.t_stride)
    init_from_scratch(other, seed=9)
    save_weights(tmp_path / "student.safetensors", other, dtype=torch.float32)
    config = replace(stage.config, init=str(tmp_path))
    begun = CausalInitStage(stage.preset, config, stage.vae, tmp_path / "teacher.safetensors", stage.compute)
    weights = begun.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in other.state_dict().items())


def test_all_motion_is_told_when_nothing_may_hide_it(stage):
    """With p_mask_chunk and p_drop_motion at 0 every moving thing has a track while it moves."""
    stage.config = replace(stage.config, batch=12, p_mask_chunk=0.0, p_drop_motion=0.0, camera_tracks=(32, 150))
    batch = stage.batch_at(3)
    moves = batch.moving[:, 1:].flatten(1).any(1)
    told = batch.visible[:, 1:].flatten(1).any(1)
    assert moves.any()
    assert (told | ~moves).all()


def calls_of(stage: CausalInitStage, batch: Batch, monkeypatch, **settings) -> tuple[list[dict], torch.Tensor]:
    """All that the model is asked in ``forcing_loss``, chunk by chunk: an estimate, then what later chunks see of it."""
    stage.config = replace(stage.config, **({"own": "estimate", "context_noise": 0.0} | settings))
    asked: list[dict] = []

    def kept(model, noisy, level, part, *, start, cache):
        noisy = noisy.detach().requires_grad_()
        x0 = predict(model, noisy, level, part, start=start, cache=cache).x0
        asked.append({"noisy": noisy, "level": level, "start": start, "x0": x0})
        return SimpleNamespace(x0=x0)

    monkeypatch.setattr("motionstream.train.causal_init.predict", kept)
    return asked, stage.forcing_loss(batch, torch.Generator().manual_seed(5))


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_forcing_judges_each_chunk_given_the_truth_or_its_own_estimates(stage, monkeypatch, own):
    batch = stage.batch_at(0)
    asked, loss = calls_of(stage, batch, monkeypatch, p_own_context=own)
    assert [one["start"] for one in asked] == [0, 0, 3, 3, 6, 6, 9, 9]
    wanted = []
    for made, past in zip(asked[::2], asked[1::2], strict=True):
        span = slice(made["start"], made["start"] + 3)
        truth = batch.latents[:, span]
        assert not past["level"].any()
        assert torch.equal(past["noisy"], made["x0"] if own else truth)
        level = made["level"]
        assert torch.equal(level, level[:, :1].expand(-1, 3)), "one level for a chunk"
        weight = (1 + stage.config.moving_weight * batch.moving[:, span]) / level.clamp_min(0.4)[..., None, None, None] ** 2
        wanted.append(((made["x0"] - truth).pow(2) * weight).mean())
    torch.testing.assert_close(loss, torch.stack(wanted).mean())
    assert len({float(one["level"][0, 0]) for one in asked[::2]}) > 1, "another level for each chunk"


def test_a_third_of_chunks_starts_from_pure_noise(stage, monkeypatch):
    stage.config = replace(stage.config, batch=24)
    asked, _ = calls_of(stage, stage.batch_at(0), monkeypatch, p_own_context=0.0)
    levels = torch.stack([one["level"][:, 0] for one in asked[::2]])
    assert 0.2 < (levels == 1).float().mean() < 0.5
    assert (levels > 0).all()


def test_the_truth_that_is_seen_is_a_little_off_after_the_first_chunk(stage, monkeypatch):
    batch = stage.batch_at(0)
    asked, _ = calls_of(stage, batch, monkeypatch, p_own_context=0.0, context_noise=0.05)
    off = [past["noisy"].detach() - batch.latents[:, past["start"] : past["start"] + 3] for past in asked[1::2]]
    assert not off[0].any()
    for one in off[1:]:
        assert 0.04 < one.std() < 0.06


def test_in_forcing_later_chunks_teach_what_earlier_ones_should_leave_in_the_cache(stage, monkeypatch):
    asked, _ = calls_of(stage, stage.batch_at(0), monkeypatch, p_own_context=0.0)
    asked[-2]["x0"].sum().backward()
    assert asked[-3]["noisy"].grad.any()  # the chunk before it, as the cache has it


def trajectories(stage: CausalInitStage, states: int = 3) -> tuple[Batch, torch.Tensor, torch.Tensor]:
    batch = replace(stage.batch_at(0), moving=torch.zeros(2, 12, 1, 4, 6))
    return batch, torch.randn(2, states, *batch.latents.shape[1:]), torch.tensor([1.0, 0.8, 0.5])[:states]


def test_a_trajectory_is_taken_up_at_one_state_a_chunk(stage, monkeypatch):
    batch, states, sigmas = trajectories(stage)
    asked = []

    def kept(model, noisy, level, condition, *, mask):
        asked.append((noisy, level, mask))
        return SimpleNamespace(x0=batch.latents + 0.5)

    monkeypatch.setattr("motionstream.train.causal_init.predict", kept)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        assert float(stage.ode_loss(batch, states, sigmas, generator)) == pytest.approx(0.25)
    for noisy, level, _ in asked:
        assert torch.equal(level, level[:, ::3].repeat_interleave(3, dim=1))
        for b in range(2):
            for frame in range(12):
                state = int((sigmas == level[b, frame]).nonzero())
                assert torch.equal(noisy[b, frame], states[b, state, frame])
    assert any(len(set(level[0].tolist())) > 1 for _, level, _ in asked)
    assert any(not torch.equal(*level) for _, level, _ in asked)


def test_masks_of_trajectories_are_sparse_and_causal(stage, monkeypatch):
    """Of the past the chunk or the two before, and with them the first one or not."""
    batch, states, sigmas = trajectories(stage)
    masks = []

    def kept(model, noisy, level, condition, *, mask):
        masks.append(mask)
        return SimpleNamespace(x0=batch.latents)

    monkeypatch.setattr("motionstream.train.causal_init.predict", kept)
    generator, tokens = torch.Generator().manual_seed(0), 3 * stage.grid[0] * stage.grid[1]
    for _ in range(30):
        stage.ode_loss(batch, states, sigmas, generator)
    seen = {tuple(map(bool, mask.reshape(4 * tokens, 4 * tokens)[-1, ::tokens])) for mask in masks}
    assert seen == {(sink, two, True, True) for sink in (False, True) for two in (False, True)}


def test_noise_is_no_draw_of_the_scenes(stage, monkeypatch):
    """With seed 0, too, where the step's number would be the seed of both."""
    drawn = []

    def kept(batch, generator):
        drawn.append(torch.rand(9, generator=generator))
        return stage.model.head.head.weight.sum()

    stage.config = replace(stage.config, seed=0)
    monkeypatch.setattr(stage, "forcing_loss", kept)
    stage.train_step(3)
    assert not torch.equal(drawn[0], torch.rand(9, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("settings", [{}, {"own": "estimate"}, {"own": "rollout", "method": "ode", "pairs": "there"}])
def test_a_robust_error_is_of_rollouts_alone(settings):
    with pytest.raises(ValueError, match=r"error=robust .* set own=rollout"):
        CausalInitConfig(error="robust", **settings)
    assert CausalInitConfig(error="robust", own="rollout").error == "robust"
