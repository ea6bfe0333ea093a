"""The teacher's stage: which clips it sees when, what its loss and its gap are, and weights of other track codes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from motionstream.data.conditions import training_batch
from motionstream.device import choose_compute
from motionstream.flow.schedule import draw_sigma
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.loop import LoopConfig
from motionstream.train.teacher import TeacherStage, TeacherTrainConfig, condition_of, flow_loss, moving_error


def stage(preset=None, **settings) -> TeacherStage:
    preset = preset or tiny_debug()
    vae = NanoVAE(preset.vae)
    vae.fit_linear(random_planes(preset, 500))
    config = TeacherTrainConfig(**{"loop": LoopConfig(steps=10), "batch": 2, "compile": False, "gap_steps": 0} | settings)
    return TeacherStage(preset, config, vae, choose_compute("cpu", "float32"))


def test_pairs_come_first_and_clips_after_them():
    made = stage(pairs_until=0.3, pair_batch=5, num_frames=13, long_frames=33, long_from=1.0)
    frames = [tuple(made.batch_at(step).latents.shape[:2]) for step in range(5)]
    assert frames == [(5, 2)] * 3 + [(2, 4)] * 2
    assert made.train_step(0)["loss"] > 0


def test_weights_of_other_codes_are_taken_without_what_reads_them(tmp_path):
    preset = tiny_debug()
    other = replace(preset, model=replace(preset.model, tracks=replace(preset.model.tracks, code_dim=6)))
    before = WanDiT(other.model)
    init_from_scratch(before, seed=9)
    save_weights(tmp_path / "teacher.safetensors", before, dtype=torch.float32)
    made = stage(init=str(tmp_path), recode=True)
    assert torch.equal(made.model.blocks[1].ffn[0].weight, before.blocks[1].ffn[0].weight)
    assert not torch.equal(made.model.blocks[0].self_attn.q.weight, before.blocks[0].self_attn.q.weight)
    with pytest.raises(ValueError, match="track_head"):
        stage(init=str(tmp_path))


@pytest.mark.parametrize("name", ["num_frames", "long_frames"])
def test_clips_of_the_picture_alone_are_refused(name):
    """There is nothing to learn of them, and no gap to measure."""
    with pytest.raises(ValueError, match="num_frames=1 is the picture alone: use at least 5"):
        stage(**{name: 1})


def test_a_missing_teacher_to_start_from_is_named(tmp_path):
    for recode in (False, True):
        with pytest.raises(ValueError, match="does not exist"):
            stage(init=str(tmp_path / "nowhere"), recode=recode)


def test_dense_tracks_come_first_and_long_clips_last(monkeypatch):
    """Also: nothing is masked while tracks are dense, and long clips come in batches of about as many frames."""
    seen = []
    monkeypatch.setattr("motionstream.train.teacher.training_batch", lambda *given, **more: seen.append(given))
    made = stage(batch=8, num_frames=21, long_frames=33, long_from=0.6, dense_until=0.2, p_mask_chunk=0.3)
    for step in range(10):
        made.batch_at(step)
    assert [(batch, scene.num_frames) for batch, _, _, scene, *_ in seen] == [(8, 21)] * 6 + [(5, 33)] * 4
    assert [(given[4].dense, given[4].p_mask_chunk) for given in seen] == [(True, 0.0)] * 2 + [(False, 0.3)] * 8
    assert len({given[5] for given in seen}) == 10  # seeds


def off_by(monkeypatch, told: float, untold: float) -> None:
    """Every number of the clean estimate is off by ``told``; by ``untold`` where no track is told."""

    def predicted(model, noisy, level, condition):
        error = told if condition.track_latents.any() else untold
        return SimpleNamespace(x0=CLEAN[0] + error)

    monkeypatch.setattr("motionstream.train.teacher.predict", predicted)


CLEAN: list[torch.Tensor] = []


def test_the_loss_weighs_what_moves_and_each_clip_by_its_noise(monkeypatch):
    made = stage(num_frames=13)
    batch = replace(made.batch_at(1), moving=torch.rand(2, 4, 1, 4, 6))
    CLEAN[:] = [batch.latents]
    off_by(monkeypatch, 0.5, 0.5)
    condition, noise = condition_of(made.model, made.preset, batch), torch.randn_like(batch.latents)
    for sigma in ((0.1, 0.4), (0.8, 0.4), (1.0, 0.5)):
        loss = flow_loss(made.model, batch, condition, noise, torch.tensor(sigma)[:, None], 3.0)
        each = [0.25 * (1 + 3 * moving.mean()) / max(s, 0.4) ** 2 for moving, s in zip(batch.moving, sigma, strict=True)]
        torch.testing.assert_close(loss, sum(each) / 2)


def test_the_gap_is_what_tracks_take_from_the_error_of_moving_cells(monkeypatch):
    made = stage(num_frames=13)

    def kept(*given, **more):
        batch = training_batch(*given, **more)
        CLEAN[:] = [batch.latents]
        return batch

    monkeypatch.setattr("motionstream.train.teacher.training_batch", kept)
    off_by(monkeypatch, 0.5, 1.0)
    assert made.counterfactual_gap() == pytest.approx(75.0)
    off_by(monkeypatch, 1.0, 1.0)
    assert made.counterfactual_gap() == pytest.approx(0.0)


def test_the_error_of_moving_cells_is_a_mean_over_them_and_their_channels(monkeypatch):
    made = stage(num_frames=13)
    batch = made.batch_at(1)
    batch = replace(batch, moving=(torch.arange(24) < 3).float().view(1, 1, 1, 4, 6).expand(2, 4, 1, 4, 6))
    CLEAN[:] = [batch.latents + 9 * (1 - batch.moving)]  # what does not move is far off, and does not count
    off_by(monkeypatch, 0.5, 0.5)
    condition, noise = condition_of(made.model, made.preset, batch), torch.randn_like(batch.latents)
    assert moving_error(made.model, batch, condition, noise, torch.full((2, 1), 0.95)) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_no_draw_of_the_scenes(monkeypatch, seed):
    """Of one seed both would be the same numbers: noise would follow from where the points of the first clip lie."""
    made, seen = stage(seed=seed), {}

    def kept(model, batch, condition, noise, sigma, weight):
        seen.update(noise=noise, sigma=sigma)
        return flow_loss(model, batch, condition, noise, sigma, weight)

    monkeypatch.setattr("motionstream.train.teacher.flow_loss", kept)
    made.train_step(3)
    scenes = torch.Generator().manual_seed(seed * 10_000_019 + 3)
    assert not torch.equal(draw_sigma((2, 1), scenes), seen["sigma"])
    assert not torch.equal(torch.randn(seen["noise"].shape, generator=scenes), seen["noise"])
