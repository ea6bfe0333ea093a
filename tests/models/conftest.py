"""Very small transformers whose every weight matters: what init_from_scratch zeroes would hide mistakes."""

from collections.abc import Callable

import pytest
import torch

from motionstream.config import ModelConfig, TrackConfig
from motionstream.models.dit import Condition, WanDiT


@pytest.fixture
def make_model() -> Callable[..., WanDiT]:
    def make(**settings) -> WanDiT:
        values = {
            "latent_channels": 4, "dim": 24, "ffn_dim": 32, "num_heads": 2, "num_layers": 2,
            "freq_dim": 16, "text_dim": 8, "text_len": 3, "tracks": TrackConfig(code_dim=4, channels=4),
        }  # fmt: skip
        model = WanDiT(ModelConfig(**(values | settings))).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                scale = 0.3 if weight.ndim == 1 or "modulation" in name else weight[0].numel() ** -0.5
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(1 + 0.2 * noise if "norm" in name else noise * scale)
        return model

    return make


@pytest.fixture
def condition_for() -> Callable[..., Condition]:
    def make(model: WanDiT, F: int, grid: tuple[int, int] = (2, 4), batch: int = 1, seed: int = 0) -> Condition:
        generator, config = torch.Generator().manual_seed(seed), model.config
        first = torch.randn(batch, 1, config.latent_channels, *grid, generator=generator)
        tracks = torch.randn(batch, F, config.tracks.channels, *grid, generator=generator)
        text = torch.randn(batch, config.text_len, config.text_dim, generator=generator)
        return Condition(first, tracks if config.tracks.channels else None, model.embed_text(text))

    return make
