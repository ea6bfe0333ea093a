"""A small engine with weights that all matter, so that a rival that strays is seen."""

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.engine import StreamEngine


@pytest.fixture(scope="session")
def engine() -> StreamEngine:
    preset, generator = tiny_debug(), torch.Generator().manual_seed(0)
    model, vae = WanDiT(preset.model), NanoVAE(preset.vae)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            flat = weight.ndim == 1 or "modulation" in name
            noise = torch.randn(weight.shape, generator=generator) * (0.3 if flat else weight[0].numel() ** -0.5)
            weight.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)
        vae.fit_linear(torch.rand(400, len(vae.pixel_mean), generator=generator))
    return StreamEngine(preset, model, vae, choose_compute("cpu", "float32"))
