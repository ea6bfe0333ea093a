"""The presets of Wan against published numbers; nothing is allocated."""

import pytest
import torch

from motionstream.config import with_overrides
from motionstream.flow.schedule import shift_sigma
from motionstream.models.dit import WanDiT
from motionstream.presets import PRESETS, preset

WAN = [name for name in PRESETS if name.startswith("wan")]


def count(name: str) -> int:
    made = preset(name)
    with torch.device("meta"):
        return sum(p.numel() for p in WanDiT(made.model, made.geometry.t_stride).parameters())


@pytest.mark.parametrize(("name", "total"), [("wan2.1-1.3b-t2v", 1_418_996_800), ("wan2.2-5b-ti2v", 4_999_787_712)])
def test_published_parameter_totals(name, total):
    assert count(name) == total


@pytest.mark.parametrize(
    ("name", "base", "channels", "new"),
    [
        ("wan2.1-1.3b", "wan2.1-1.3b-i2v", 52, 16 * 4 * 1536 + 16 * 256),
        ("wan2.2-5b", "wan2.2-5b-ti2v", 64, 16 * 4 * 3072 + 16 * 256),
    ],
)
def test_tracks_add_patch_columns_and_a_head_alone(name, base, channels, new):
    assert preset(name).model.in_channels == channels
    assert count(name) == count(base) + new
    assert preset("wan2.1-1.3b-i2v").model.in_channels == 36


@pytest.mark.parametrize(
    ("name", "size", "frames", "latents", "tokens", "fps", "mib"),
    [("wan2.1-1.3b", (832, 480), 81, 21, 1560, 16, 274.2), ("wan2.2-5b", (1280, 704), 121, 31, 880, 24, 309.4)],
)
def test_sizes_of_the_paper(name, size, frames, latents, tokens, fps, mib):
    made = preset(name)
    geometry, model = made.geometry, made.model
    assert (geometry.width, geometry.height, geometry.fps, made.clip_frames) == (*size, fps, frames)
    assert geometry.latent_frames(made.clip_frames) == latents
    assert geometry.tokens_per_frame == tokens
    assert model.head_dim == 128
    keys_and_values = 2 * model.num_layers * tokens * model.dim * 2 / 2**20  # bf16, one latent frame
    assert keys_and_values == pytest.approx(mib, abs=0.05)
    assert made.cache.tag == "c3s1w1"
    assert (made.sample.shift, made.sample.text_guidance, made.sample.motion_guidance) == (6.0, 3.0, 1.5)


@pytest.mark.parametrize("name", WAN)
def test_variants_share_all_but_their_inputs_and_sampling(name):
    made, whole = preset(name), preset(name[:11] if name.startswith("wan2.1") else name[:9])
    for field in ("geometry", "vae", "cache", "vae_kind", "text_kind", "clip_frames"):
        assert getattr(made, field) == getattr(whole, field)
    for field in (
        "dim",
        "ffn_dim",
        "num_heads",
        "num_layers",
        "patch",
        "freq_dim",
        "text_dim",
        "text_len",
        "time_precision",
    ):
        assert getattr(made.model, field) == getattr(whole.model, field)
    assert made.geometry.patch == made.model.patch


def test_few_steps_are_warped_timesteps():
    four = shift_sigma(torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64), 5.0).tolist()
    assert four == pytest.approx([1, 0.9375, 0.833333, 0.625], abs=1e-6)
    for name in ("wan2.1-1.3b-t2v", "wan2.2-5b-ti2v"):
        assert list(preset(name).sample.student_sigmas) == pytest.approx(four)
    three = shift_sigma(torch.tensor([1.0, 2 / 3, 1 / 3], dtype=torch.float64), 5.0).tolist()
    for name in ("wan2.1-1.3b", "wan2.2-5b"):
        assert list(preset(name).sample.student_sigmas) == pytest.approx(three)


@pytest.mark.parametrize("name", WAN)
@pytest.mark.parametrize(("width", "height"), [(960, 544), (480, 832), (512, 512)])
def test_other_resolutions_derive_from_the_geometry(name, width, height):
    made = with_overrides(preset(name), [f"geometry.width={width}", f"geometry.height={height}"])
    cell = made.geometry.stride * made.model.patch
    assert made.geometry.tokens_per_frame == (width // cell) * (height // cell)
    assert made.model == preset(name).model
    with pytest.raises(ValueError, match=f"must be a positive multiple of {cell}"):
        with_overrides(made, [f"geometry.width={width + cell // 2}"])
