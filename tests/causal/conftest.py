"""A very small student whose every weight matters, and conditions for it."""

from collections.abc import Callable

import pytest
import torch

from motionstream.config import ModelConfig, TrackConfig
from motionstream.models.dit import Condition, WanDiT

GRID = (2, 3)


@pytest.fixture
def model() -> WanDiT:
    """Random in all weights: what init_from_scratch zeroes would hide mistakes."""
    config = ModelConfig(
        latent_channels=4,
        dim=24,
        ffn_dim=32,
        num_heads=2,
        num_layers=3,
        freq_dim=16,
        text_dim=8,
        text_len=3,
        first_frame="repeat",
        prediction="x0",
        tracks=TrackConfig(code_dim=4, channels=4),
    )
    made = WanDiT(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 and "modulation" not in name else 1
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if "norm" in name else noise * (0.3 if fan_in == 1 else fan_in**-0.5))
        made.head.head.weight.mul_(0.3)
        for block in made.blocks:  # sharp attention: a wrong position or a missing key must show
            block.self_attn.norm_q.weight.mul_(2)
    return made


@pytest.fixture
def condition_for(model: WanDiT) -> Callable[..., Condition]:
    def make(num_frames: int, batch: int = 1, seed: int = 0) -> Condition:
        generator = torch.Generator().manual_seed(seed)
        config = model.config
        first = torch.randn(batch, 1, config.latent_channels, *GRID, generator=generator)
        tracks = torch.randn(batch, num_frames, config.tracks.channels, *GRID, generator=generator)
        text = torch.randn(batch, config.text_len, config.text_dim, generator=generator)
        return Condition(first, tracks, [(k.detach(), v.detach()) for k, v in model.embed_text(text)])

    return make
