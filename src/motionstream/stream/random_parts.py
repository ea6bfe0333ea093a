"""A model with random weights, to measure speed and memory without weights: what it shows means nothing, and says so."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from motionstream.config import PresetConfig
from motionstream.models.dit import WanDiT
from motionstream.models.extra import wan_library
from motionstream.models.memory_rehearsal import CLIP_ROWS, tiny_form
from motionstream.models.tiny_vae import TinyVAE
from motionstream.models.wan_vae import WAN21_FORM, WAN22_FORM, WanVAE
from motionstream.stream.wan_parts import StreamVAE

STAMP = "RANDOM\nWEIGHTS"
STAMP_SHARE, STAMP_PX = 0.4, 64
"""Width of the stamp: this share of the frame, and at least so many pixels of it."""


def random_dit(config: PresetConfig, dtype: torch.dtype, device: torch.device) -> WanDiT:
    """The transformer, made where it runs: neither a file nor a second copy is needed."""
    return _filled(lambda: WanDiT(config.model, config.geometry.t_stride), dtype, device)


def random_vae(config: PresetConfig, decoder: str, dtype: torch.dtype, device: torch.device) -> StreamVAE:
    """The tiny autoencoder for both ways, or with ``decoder="full"`` Wan's own (needs diffusers)."""
    if decoder != "full":
        return _filled(lambda: TinyVAE(*tiny_form(config)), dtype, device, gain=2**0.5)
    form = WAN21_FORM if config.vae_kind == "wan2.1" else WAN22_FORM
    return WanVAE(_filled(lambda: wan_library("diffusers").AutoencoderKLWan(**form), dtype, device)).eval()


class RandomRows:
    """Stands for the picture encoder: ``(B, 257, image_dim)`` float32 on the processor, the same for the same picture."""

    def __init__(self, image_dim: int) -> None:
        self.image_dim = image_dim

    def __call__(self, image: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(image.cpu().contiguous().numpy().tobytes()))
        return torch.randn(len(image), CLIP_ROWS, self.image_dim, generator=generator, dtype=torch.float32)


def _filled(build: Callable[[], Any], dtype: torch.dtype, device: torch.device, gain: float = 1.0) -> Any:
    """Norms are the identity, biases zero, everything else normal with the spread that keeps activations' size."""
    with torch.device("meta"):
        module: nn.Module = build()
    module = module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in module.named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        elif weight.numel() == weight.shape[0]:
            weight.fill_(1)
        else:
            weight.normal_(std=gain * weight[0].numel() ** -0.5, generator=generator)
    return module


def stamp_mask(height: int, width: int) -> np.ndarray:
    """``(height, width, 2)`` bool: pixels of the words and of the bar behind them, for :func:`stamp`."""
    font = ImageFont.load_default()
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), STAMP, font)
    left, top, right, bottom = (round(edge) for edge in box)
    words = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(words).multiline_text((2 - left, 2 - top), STAMP, 255, font, align="center")
    across = min(width, max(STAMP_PX, round(STAMP_SHARE * width)))
    size = across, min(height, round(across * words.height / words.width))
    drawn = np.asarray(words.resize(size)) > 100
    mask = np.zeros((height, width, 2), dtype=bool)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    mask[y : y + size[1], x : x + size[0], 0] = drawn
    mask[y : y + size[1], x : x + size[0], 1] = True
    return mask


def stamp(frames: np.ndarray, mask: np.ndarray) -> None:
    """Write the words into ``frames`` ``(T, H, W, 3)`` uint8, white on black, in place."""
    rows, columns = (np.flatnonzero(mask[..., 1].any(axis=axis)) for axis in (1, 0))  # the bar is a rectangle: far quicker
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    frames[:, box[0], box[1]] = np.where(mask[*box, :1], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)


def random_planes(config: PresetConfig, count: int) -> Tensor:
    """Random slanted planes of colour as pixel blocks: enough to give an untrained VAE a picture."""
    vae, generator = config.vae, torch.Generator().manual_seed(0)
    line, clock = (torch.linspace(-1, 1, steps, dtype=torch.float32) for steps in (vae.stride, vae.t_stride))
    level, time, row, column = torch.rand(4, count, 3, generator=generator, dtype=torch.float32) - 0.5
    blocks = (
        0.5 + 0.8 * level[:, None, :, None, None]
        + 0.1 * time[:, None, :, None, None] * clock[:, None, None, None]
        + 0.4 * row[:, None, :, None, None] * line[:, None]
        + 0.4 * column[:, None, :, None, None] * line
    )  # fmt: skip
    return blocks.flatten(1)
