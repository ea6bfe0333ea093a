"""tiny-debug with a picture that can be seen: its VAE is fitted and every weight of its student is random."""

from collections.abc import Callable

import numpy as np
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
            scale = 0.3 if weight.ndim == 1 or "modulation" in name else weight[0].numel() ** -0.5
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if "norm" in name else noise * scale)
        for weight in vae.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
        block = len(vae.pixel_mean)
        basis = torch.randn(4, block, generator=generator) * 0.1
        vae.fit_linear(0.5 + torch.randn(600, 4, generator=generator) @ basis + 0.01 * torch.rand(600, block))
    return StreamEngine(preset, model, vae, choose_compute("cpu", "float32"))


@pytest.fixture
def picture(engine: StreamEngine) -> np.ndarray:
    geometry = engine.preset.geometry
    return np.random.default_rng(0).integers(0, 256, (geometry.height, geometry.width, 3), dtype=np.uint8)


@pytest.fixture
def frames_of() -> Callable:
    def frames(session, chunks: int) -> np.ndarray:
        return np.concatenate([session.step().frames for _ in range(chunks)])

    return frames
