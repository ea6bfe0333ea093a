"""The stage of the latents: what it fits them to, what noise the decoder must forgive, and what its loss is."""

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.train.vae import VAEStage, VAETrainConfig, clip_batch, sample_blocks

PRESET = tiny_debug()


def stage(**settings) -> VAEStage:
    config = VAETrainConfig(**{"batch": 2, "num_frames": 9, "fit_clips": 2} | settings)
    return VAEStage(PRESET, config, choose_compute("cpu", "float32"))


def test_latents_are_fitted_to_as_many_clips_as_are_asked_for():
    """Also where they are not a multiple of the eight that are rendered at once."""
    scene = stage()._scene_config()
    blocks = sample_blocks(NanoVAE(PRESET.vae), scene, 11, per_clip=5)
    assert blocks.shape == (55, 3 * PRESET.vae.t_stride * PRESET.vae.stride**2)
    assert torch.equal(blocks[:40], sample_blocks(NanoVAE(PRESET.vae), scene, 8, per_clip=5))


def test_the_loss_is_of_pixels_and_of_the_steps_between_them(monkeypatch):
    made = stage(edge=0.25)
    video = clip_batch(2, made._scene_config(), 7, "cpu")
    wrong = torch.rand(video.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    monkeypatch.setattr(made.vae, "decode", lambda latents: (wrong, []))
    apart = (wrong - video).detach()
    steps = (apart[..., 1:, :] - apart[..., :-1, :]).abs().mean() + (apart[..., 1:] - apart[..., :-1]).abs().mean()
    assert made.train_step(7)["loss"] == pytest.approx(float(apart.abs().mean() + 0.25 * steps), rel=1e-5)


def test_the_decoder_sees_latents_a_little_beside_those_of_the_clip(monkeypatch):
    """Each clip at a level of its own; and the noise is no draw of the scenes, which have the same step's seed."""
    made, seen = stage(latent_noise=0.5, batch=6), []
    decode = made.vae.decode
    monkeypatch.setattr(made.vae, "decode", lambda latents: seen.append(latents) or decode(latents))
    made.train_step(3)
    noise = seen[0] - made.vae.encode(clip_batch(6, made._scene_config(), 3, "cpu"))
    levels = noise.flatten(1).std(1)
    assert 0 < levels.min() < 0.5 * levels.max()
    assert levels.max() < 0.55
    scenes = torch.randn(noise.shape, generator=torch.Generator().manual_seed(3))
    assert torch.corrcoef(torch.stack([noise[0].flatten(), scenes[0].flatten()]))[0, 1].abs() < 0.2


def test_what_people_get_is_the_average(tmp_path):
    made = stage(ema=0.9)
    for step in range(3):
        made.train_step(step)
    averaged, live = made.averaged(), made.vae
    assert not torch.equal(averaged.conv_in.weight, live.conv_in.weight)
    assert torch.equal(averaged.encoder, live.encoder)
    assert torch.equal(averaged.conv_in.weight, made.ema.shadow["conv_in.weight"])
