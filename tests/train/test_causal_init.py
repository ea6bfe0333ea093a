"""The student's start: its own rollouts in training are those of streaming, and the truth only judges them."""

from dataclasses import replace

import pytest
import torch

from motionstream.causal.rollout import SeededNoise, rollout
from motionstream.data.conditions import Batch
from motionstream.device import choose_compute
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
