"""Training of what recalls the picture: what it is given, what counts, and that it learns."""

import math
from dataclasses import replace

import pytest
import torch

from motionstream.causal.rollout import SeededNoise, rollout
from motionstream.config import PresetConfig
from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import load_weights, save_weights
from motionstream.models.recall import PictureRecall
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train import recall
from motionstream.train.recall import RecallConfig, RecallStage, spoilt
from motionstream.train.teacher import condition_of


def places() -> PresetConfig:
    """tiny-debug with ids that say where a track begins."""
    preset = tiny_debug()
    tracks = replace(preset.model.tracks, code="origin", code_dim=22)
    return replace(preset, model=replace(preset.model, tracks=tracks))


@pytest.fixture
def build(tmp_path):
    preset = places()
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():  # as it begins it gives back what it is told, wherever that is
            value += 0.1 * torch.randn(value.shape, generator=generator)
    vae.fit_linear(random_planes(preset, 500))
    save_weights(tmp_path / "student.safetensors", model, dtype=torch.float32)

    def made(preset: PresetConfig = preset, **settings) -> RecallStage:
        config = RecallConfig(**{"batch": 2, "num_frames": 9, "frames_per_clip": 4, "warmup": 1} | settings)
        return RecallStage(preset, config, vae, tmp_path / "student.safetensors", choose_compute("cpu", "float32"))

    return made


def test_what_is_spoilt_has_changed():
    latents = torch.randn(2, 1, 12, 9, 9).expand(2, 4, 12, 9, 9).clone()
    latents[:, 2:, :, 4, 4] += 3.0
    made = spoilt(latents, torch.Generator().manual_seed(3))
    assert torch.equal(made[:, :2], latents[:, :2])
    beside = torch.zeros(9, 9, dtype=torch.bool)
    beside[3:6, 3:6] = True
    assert torch.equal(made[..., ~beside], latents[..., ~beside])
    apart = (made - latents)[:, 2:][..., beside].abs().mean((0, 1, 3))
    assert apart[9:].mean() > 1.5 * apart[:3].mean() > 0, "what is fine is guessed, colours are a little off"


def test_clips_are_of_the_truth_or_of_the_student(build):
    stage = build(p_student=1.0)
    _, batch, _ = stage.clips(5, 1.0)
    generator = torch.Generator().manual_seed(0)
    streamed = stage.given(batch, 5, generator)
    assert streamed.shape == batch.latents.shape
    assert torch.equal(streamed, stage.streamed(batch, 5))
    stage = build(p_student=0.0)
    spoilt_ones = stage.given(batch, 5, torch.Generator().manual_seed(0))
    assert torch.equal(spoilt_ones[:, 0], batch.latents[:, 0])
    assert not torch.equal(spoilt_ones, streamed)


def test_what_the_student_makes_is_what_its_rollout_makes_in_rows_and_columns_of_the_picture(build):
    stage = build(p_student=1.0)
    _, batch, _ = stage.clips(5, 1.0)
    preset, compute = stage.preset, stage.compute
    rows, columns = preset.geometry.latent_height, preset.geometry.latent_width
    assert rows != columns
    chunks = -(-batch.latents.shape[1] // preset.cache.chunk_frames)
    noise = SeededNoise(5, (2, preset.cache.chunk_frames, *batch.latents.shape[2:]), compute.device)
    grid = (rows // preset.model.patch, columns // preset.model.patch)
    cache = SinkWindowCache(preset.model, preset.cache, batch=2, grid=grid, device=compute.device, dtype=compute.dtype)
    with torch.no_grad():
        condition = condition_of(stage.student, preset, batch)
        made = list(rollout(stage.student, cache, condition, noise, preset.sample.student_sigmas, chunks))
    wanted = torch.cat(made, dim=1)[:, : batch.latents.shape[1]]
    assert torch.allclose(stage.streamed(batch, 5), wanted, atol=1e-4)


def test_it_learns_from_the_same_clips_and_ends_nearer_to_them(build, tmp_path):
    stage = build(p_student=0.0, lr=4e-3, ema=0.5, batch=4)
    clips = stage.clips(1, 2.0)
    stage.clips = lambda seed, speed: clips
    losses = [stage.train_step(step) for step in range(60)]
    first, last = (sum(one["loss"] for one in part) / 5 for part in (losses[:5], losses[-5:]))
    assert last < 0.8 * first
    assert sum(one["psnr"] - one["psnr_decoded"] for one in losses[-5:]) > 5 * 1.0
    stage.export(tmp_path)
    load_weights(tmp_path / "recall.safetensors", PictureRecall(tiny_debug().vae.width_out))
    stage.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_it_goes_on_from_a_folder(build, tmp_path):
    with torch.no_grad():
        known = PictureRecall(tiny_debug().vae.width_out)
        known.shares.bias[:] = 7.0
    save_weights(tmp_path / "recall.safetensors", known, dtype=torch.float32)
    assert torch.equal(build(init=str(tmp_path)).recall.shares.bias, known.shares.bias)


def test_the_largest_seeds_stream_too(build):
    stage = build(p_student=1.0, seed=100_000)
    assert all(math.isfinite(value) for value in stage.train_step(100_000).values())


def test_bad_settings_are_named(build):
    with pytest.raises(ValueError, match="num_frames=17 is not a whole number of chunks of 3 latent frames; use 9"):
        build(num_frames=17)
    with pytest.raises(ValueError, match="frames_per_clip=9 must be less than num_frames=9"):
        build(frames_per_clip=9)
    with pytest.raises(ValueError, match="tracks of tiny-debug have code='gaussian'"):
        build(tiny_debug())
    with pytest.raises(ValueError, match=r"p_student=1\.5"):
        build(p_student=1.5)


def test_sweeps_and_points_beyond_the_edge_are_settings(build):
    def beyond(**settings: float) -> int:
        _, batch, _ = build(p_camera=0.0, **settings).clips(3, 1.0)
        return int((batch.visible & ~((batch.xy >= 0) & (batch.xy < torch.tensor([48, 32]))).all(-1)).sum())

    assert beyond(p_sweep=1.0) == 0
    assert beyond(p_sweep=1.0, p_beyond=1.0) > 3 * beyond(p_beyond=1.0)


def test_the_loss_is_of_pixels_of_steps_between_them_and_of_ways(build, monkeypatch):
    stage = build(edge=0.7, way=0.3, moving_weight=2.0, frames_per_clip=8, p_student=0.0)
    seen: dict[str, tuple[torch.Tensor, ...]] = {}
    wrong_ways, parts = recall._wrong_ways, stage.recall.parts

    def spied(*given):
        seen["truth"], seen["wrong"] = (given[2], given[3]), wrong_ways(*given)
        return seen["wrong"]

    def made(*given):
        seen["made"] = parts(*given)
        return seen["made"]

    monkeypatch.setattr(recall, "_wrong_ways", spied)
    monkeypatch.setattr(stage.recall, "parts", made)
    loss = stage.train_step(2)["loss"]
    (picture, truth), (wrong, counts), shown = seen["truth"], seen["wrong"], seen["made"].frames.detach()
    weight = torch.where(((truth - picture).abs() > 0.03).any(1, keepdim=True), 3.0, 1.0)
    apart = shown - truth
    across, down = apart[..., 1:] - apart[..., :-1], apart[..., 1:, :] - apart[..., :-1, :]
    wanted = (apart.abs() * weight).mean() + 0.3 * (wrong * counts).detach().mean()
    wanted += 0.7 * ((across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean())
    assert loss == pytest.approx(float(wanted), rel=1e-5)
    assert 0 < float(weight.eq(3).float().mean()) < 1
    assert float((wrong * counts).detach().sum()) > 0
    video = stage.clips(2, recall.SPEEDS[2])[0].video  # seed 0: step 2's clips
    frames = truth.unflatten(0, (2, 8))
    for clip, one in zip(video, frames, strict=True):
        apart = (clip[1:, None] - one[None]).abs().flatten(2).amax(2)
        assert torch.equal(apart.amin(1), torch.zeros(8)), "every frame but the picture"
        assert torch.equal(apart.amin(0), torch.zeros(8))


def test_ways_count_where_the_truth_says_them_and_no_more_than_eight_pixels():
    """The picture moves 4 pixels to the right; ways 3 pixels off, ways far off, and cells without a track."""
    H, W = 16, 32
    picture = torch.rand(1, 3, H, W, generator=torch.Generator().manual_seed(0))
    truth = torch.roll(picture, 4, dims=-1)
    home = torch.zeros(1, 2, H // 2, W // 2)
    home[:, 0] = -4.0
    near = torch.ones(1, 1, H // 4, W // 4)
    near[..., :2, :] = 0
    off = home.clone()
    off[:, 1] += 3.0
    wrong, counts = recall._wrong_ways(off, home, picture, truth, near)
    assert wrong.amax() == pytest.approx(3.0, abs=0.01)
    assert recall._wrong_ways(home + 100, home, picture, truth, near)[0].amax() == 8
    assert counts[..., -1, 4:].amin() == 1
    assert counts[..., 0, :].amax() == 0
    assert recall._wrong_ways(off, home, picture, picture, near)[1].mean() < 0.1, "another picture is there"
    assert recall._wrong_ways(off, 0 * home, picture, picture, near)[1].amax() == 0, "what rests does not count"
