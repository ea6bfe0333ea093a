"""nano's VAE: a video may be cut anywhere, and its linear part is exact on what fits its channels."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.config import VAEConfig
from motionstream.models.vae import NanoVAE

CONFIGS = [
    VAEConfig(latent_channels=3, stride=4, t_stride=4, width=6, width_out=4, depth=2, depth_out=2),
    VAEConfig(latent_channels=5, stride=2, t_stride=2, width=4, width_out=5, depth=1, depth_out=0),
    VAEConfig(latent_channels=4, stride=8, t_stride=4, width=4, width_out=4, depth=0, depth_out=1),
    VAEConfig(latent_channels=4, stride=8, t_stride=4, width=4, width_out=4, depth=1, depth_out=1, smooth_seams=True),
]


def vae_of(config: VAEConfig) -> NanoVAE:
    """Random everywhere; the zero-initialised convolutions would hide the memory."""
    vae, generator = NanoVAE(config).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in [*vae.parameters(), *vae.buffers()]:
            fan_in = weight[0].numel() if weight.ndim > 1 else 1
            weight.copy_(torch.randn(weight.shape, generator=generator) * (0.5 / fan_in**0.5))
        vae.pixel_mean.fill_(0.5)
    return vae


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_stream_equals_parallel_for_any_chunk_plan(config, plan):
    vae, F = vae_of(config), sum(plan)
    latents = torch.randn(2, F, config.latent_channels, 3, 2, generator=torch.Generator().manual_seed(F))
    with torch.no_grad():
        whole, last = vae.decode(latents)
        parts, state, start = [], None, 0
        for length in plan:
            part, state = vae.decode(latents[:, start : start + length], state)
            parts.append(part)
            start += length
    assert whole.shape == (2, config.t_stride * (F - 1) + 1, 3, 3 * config.stride, 2 * config.stride)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)
    assert len(state) == len(last) == config.depth + config.depth_out + config.smooth_seams
    for got, wanted in zip(state, last, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("plan", [(5,), (1, 1, 3), (2, 3)])
def test_half_a_decoding_is_the_linear_one_and_what_a_correction_is_made_of(config, plan):
    vae = vae_of(config)
    latents = torch.randn(2, 5, config.latent_channels, 3, 2, generator=torch.Generator().manual_seed(5))
    parts, made_of, state, start = [], [], None, 0
    for length in plan:
        video, features, state = vae.decode_half(latents[:, start : start + length], state)
        parts.append(video)
        made_of.append(features)
        start += length
    assert len(state) == config.depth + config.smooth_seams
    torch.nn.init.zeros_(vae.conv_out.weight)
    torch.nn.init.zeros_(vae.conv_out.bias)
    torch.testing.assert_close(torch.cat(parts, 1), vae.decode(latents)[0], atol=1e-5, rtol=0)
    features = torch.cat(made_of, 1)
    assert features.shape == (2, config.t_stride * 4 + 1, config.width_out, 6, 4)
    last, _ = vae._trunk(latents, vae.initial_state(2, 3, 2, latents))
    torch.testing.assert_close(features, last.unflatten(0, (2, -1))[:, config.t_stride - 1 :], atol=1e-5, rtol=0)


@torch.no_grad()
def test_seams_are_smoothed_in_what_is_shown_and_not_in_training():
    config = CONFIGS[-1]
    smooth, plain = vae_of(config), vae_of(replace(config, smooth_seams=False))
    latents = torch.randn(1, 3, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    latents[:, 1] = latents[:, 0]
    one, other = smooth.decode(latents)[0], plain.decode(latents)[0]
    assert not torch.equal(one[:, 5:], other[:, 5:])
    assert torch.equal(one[:, :1], other[:, :1])
    assert torch.equal(one[:, 1:5], other[:, 1:5]), "the latents are the first frame's still"
    assert torch.equal(smooth.train().decode(latents)[0], plain.train().decode(latents)[0])
    static = latents.clone()
    _, state = smooth.eval().decode(static[:, :1])
    static.zero_()
    assert state[-1].abs().sum() > 0, "a buffer that is written again is not the memory"


@torch.no_grad()
def test_memory_matters_and_decoding_is_causal():
    config = CONFIGS[0]
    vae, latents = vae_of(config), torch.randn(1, 4, 3, 3, 2, generator=torch.Generator().manual_seed(1))
    whole, state = vae.decode(latents)
    changed = latents.clone()
    changed[:, 2] += 1
    other = vae.decode(changed)[0]
    # Latent 2 covers pixel frames 5-8.
    moved = (whole - other).abs().amax((0, 2, 3, 4)) > 1e-6
    assert not moved[:5].any()
    assert moved[5:9].all()
    assert moved[9:].any(), "memory carries on"
    carried = vae.decode(latents[:, 3:], vae.decode(latents[:, :3])[1])[0]
    forgotten = vae.decode(latents[:, 3:], vae.initial_state(1, 3, 2, latents))[0]
    assert (carried - forgotten).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS)
def test_frames_make_the_round_trip(config):
    vae = vae_of(config)
    for F in range(1, 40):
        T = config.t_stride * (F - 1) + 1
        latents = vae.encode(torch.rand(1, T, 3, config.stride, 2 * config.stride))
        assert latents.shape == (1, F, config.latent_channels, 1, 2)
        assert vae.decode(latents)[0].shape[1] == T


@torch.no_grad()
@pytest.mark.parametrize("whitening", [0.0, 0.25, 0.5, 1.0])
def test_linear_fit_is_exact_on_low_rank_data(whitening):
    config = VAEConfig(latent_channels=5, stride=4, t_stride=4, width=4, width_out=4, depth=1, depth_out=1)
    generator = torch.Generator().manual_seed(2)
    size = 3 * 4 * 4 * 4
    basis = torch.linalg.qr(torch.randn(size, 5, generator=generator)).Q.T * torch.tensor([5, 3, 2, 1, 0.5])[:, None]
    blocks = 0.5 + torch.randn(4000, 5, generator=generator) @ basis
    vae = NanoVAE(config).eval()
    vae.fit_linear(blocks, whitening)
    latents = (blocks - vae.pixel_mean) @ vae.encoder.T
    back = latents @ vae.linear_decoder.T + vae.pixel_mean
    torch.testing.assert_close(back, blocks, atol=1e-4, rtol=0)
    spread = latents.std(0)
    assert latents.pow(2).mean() == pytest.approx(1, abs=0.01)
    assert spread[0] / spread[-1] == pytest.approx((5 / 0.5) ** (1 - whitening), rel=0.1)


@torch.no_grad()
def test_encode_then_linear_decode_projects_a_video_onto_its_components():
    config = VAEConfig(latent_channels=7, stride=4, t_stride=4, width=4, width_out=4, depth=1, depth_out=1)
    vae = NanoVAE(config).eval()
    generator = torch.Generator().manual_seed(3)
    # Blocks repeat one of few flat colours in time: rank 3.
    colours = torch.rand(1, 3, 3, 2, 4, generator=generator)
    video = colours.repeat_interleave(4, 3).repeat_interleave(4, 4)[:, [0] + [1] * 4 + [2] * 4]
    vae.fit_linear(vae.blocks_of(video).flatten(0, -2))
    decoded, _ = vae.decode(vae.encode(video))
    torch.testing.assert_close(decoded, video, atol=1e-4, rtol=0)


@torch.no_grad()
def test_frame_0_is_a_block_of_itself():
    vae = vae_of(CONFIGS[0])
    frame = torch.rand(1, 1, 3, 8, 12)
    still = vae.encode(frame.expand(-1, 5, -1, -1, -1))
    torch.testing.assert_close(still[:, 0], still[:, 1])
    torch.testing.assert_close(vae.encode(frame)[:, 0], still[:, 0])


@torch.no_grad()
def test_decoded_pixels_stay_in_range_except_while_training():
    vae = vae_of(CONFIGS[0])
    latents = 100 * torch.randn(1, 2, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    video = vae.decode(latents)[0]
    assert video.min() >= 0
    assert video.max() <= 1
    assert vae.train().decode(latents)[0].max() > 1, "clamped pixels would carry no gradient"


@pytest.mark.parametrize("shape", [(1, 4, 3, 8, 8), (1, 5, 3, 6, 8), (1, 5, 3, 8, 9)])
def test_videos_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="does not fit"):
        vae_of(CONFIGS[0]).encode(torch.zeros(shape))


@torch.no_grad()
def test_a_fit_replaces_all_of_the_one_before():
    config = VAEConfig(latent_channels=3, stride=4, t_stride=4, width=4, width_out=4, depth=1, depth_out=1)
    blocks = torch.rand(100, 3 * 4 * 4 * 4, generator=torch.Generator().manual_seed(5))
    vae, other = NanoVAE(config), NanoVAE(config)
    for buffer in other.buffers():
        buffer.fill_(0.3)
    vae.fit_linear(blocks)
    other.fit_linear(blocks)
    for name, buffer in vae.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name
