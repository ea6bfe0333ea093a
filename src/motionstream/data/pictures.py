"""Picture banks and procedural textures that the scenes are made of; every function is batched and device-agnostic.

Sprites and photos ship in ``motionstream/assets`` (licences in THIRD_PARTY.md). Some of each bank are held out for
evaluation: ``split="eval"`` shows sprites that training never saw before crops of photos that training never saw.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Split = Literal["train", "eval"]
HELD_OUT = 0.12


@dataclass(frozen=True)
class PictureBank:
    """Sprites ``(n, 4, 96, 96)`` and photos ``(m, 3, 240, 320)`` in [0, 1], with the words that name them."""

    sprites: Tensor
    sprite_names: list[str]
    photos: Tensor
    photo_names: list[str]

    def to(self, device: torch.device | str) -> PictureBank:
        return PictureBank(self.sprites.to(device), self.sprite_names, self.photos.to(device), self.photo_names)


@lru_cache(maxsize=2)
def load_bank(split: Split) -> PictureBank:
    """The bundled pictures of one split."""
    root = resources.files("motionstream") / "assets"
    entries = json.loads((root / "sprites.json").read_text())
    with (root / "sprites.webp").open("rb") as stream:
        atlas = torch.from_numpy(np.array(Image.open(stream).convert("RGBA"))).permute(2, 0, 1)
    tile = 96
    columns = atlas.shape[2] // tile
    sprites, names = [], []
    for entry in entries:
        row, column = divmod(entry["tile"], columns)
        sprites.append(atlas[:, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile])
        names.append(entry["name"])
    photo_entries = [e for e in json.loads((root / "photos" / "photos.json").read_text()) if e["split"] == split]
    photos = []
    for entry in photo_entries:
        with (root / "photos" / entry["file"]).open("rb") as stream:
            photos.append(torch.from_numpy(np.array(Image.open(stream).convert("RGB"))).permute(2, 0, 1))
    sprite_ids = _split_ids(len(sprites), split)
    return PictureBank(
        torch.stack([sprites[i] for i in sprite_ids]).float() / 255,
        [names[i] for i in sprite_ids],
        torch.stack(photos).float() / 255,
        [entry["caption"] for entry in photo_entries],
    )


def _split_ids(count: int, split: Split) -> list[int]:
    """Spread the held-out items evenly, so that both splits see every kind of picture."""
    step = max(2, round(1 / HELD_OUT))
    return [i for i in range(count) if (i % step == step - 1) == (split == "eval")]


def uniform(generator: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device) * (high - low) + low


def randint(generator: torch.Generator, high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=generator, device=generator.device)


def photo_crops(
    photos: Tensor, count: int, size: tuple[int, int], generator: torch.Generator, zoom: tuple[float, float]
) -> Tensor:
    """Random crops ``(count, 3, *size)`` of the bank, flipped and colour-jittered; ``zoom`` = crop share of the photo."""
    device = photos.device
    picks = randint(generator, len(photos), count).to(device)
    share = uniform(generator, count, low=zoom[0], high=zoom[1]).to(device)
    flip = (uniform(generator, count) < 0.5).float().to(device) * 2 - 1
    shift = uniform(generator, count, 2, low=-1, high=1).to(device) * (1 - share)[:, None]
    # Equal scale both ways: the crop keeps the aspect of ``size`` inside the photo's own aspect.
    aspect = (size[1] / size[0]) / (photos.shape[3] / photos.shape[2])
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0] = share * flip * min(1.0, aspect)
    theta[:, 1, 1] = share * min(1.0, 1 / aspect)
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [count, 3, *size], align_corners=False)
    crops = F.grid_sample(photos[picks], grid, padding_mode="reflection", align_corners=False)
    gain = uniform(generator, count, 3, low=0.85, high=1.15).to(device)
    bias = uniform(generator, count, low=-0.08, high=0.08).to(device)
    return (crops * gain[:, :, None, None] + bias[:, None, None, None]).clamp(0, 1)


def smooth_fields(count: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Smooth random colour fields ``(count, channels, *size)`` in [0, 1]: coarse noise, enlarged."""
    coarse = uniform(generator, count, channels, 4, 5) * 1.3 - 0.15
    grey = coarse.mean(1, keepdim=True)
    coarse = grey + (coarse - grey) * uniform(generator, count, 1, 1, 1)
    fine = uniform(generator, count, channels, 9, 12, low=-0.12, high=0.12)
    field = F.interpolate(coarse, size, mode="bicubic", align_corners=True)
    return (field + F.interpolate(fine, size, mode="bicubic", align_corners=True)).clamp(0, 1)


def two_colour_patterns(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Stripes, gradients and splits of two colours, ``(count, 3, side, side)``."""
    device = generator.device
    colours = uniform(generator, 2, count, 3, 1, 1)
    angle, phase = (uniform(generator, count, 1, 1, high=2 * math.pi) for _ in range(2))
    frequency = uniform(generator, count, 1, 1, low=0.5, high=6.0)
    hardness = uniform(generator, count, 1, 1, low=0.5, high=6.0)
    line = torch.linspace(-1, 1, side, device=device)
    wave = torch.sin(frequency * (line * torch.cos(angle) + line[:, None] * torch.sin(angle)) + phase)
    mix = torch.sigmoid(hardness * wave)[:, None]
    return colours[0] * mix + colours[1] * (1 - mix)


def shape_masks(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Soft-edged blobs and regular polygons ``(count, 1, side, side)`` in [0, 1], about filling the square."""
    device = generator.device
    line = torch.linspace(-1, 1, side, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    radius, theta = torch.hypot(x, y), torch.atan2(y, x)
    blob = torch.ones(count, side, side, device=device)
    for k in (2, 3, 4):
        phase = uniform(generator, count, 1, 1, high=2 * math.pi)
        blob = blob + uniform(generator, count, 1, 1, low=0.0, high=0.22) * torch.cos(k * theta + phase)
    blob = 0.75 * blob
    corners = (randint(generator, 4, count, 1, 1) + 3).float()
    turn = uniform(generator, count, 1, 1, high=2 * math.pi)
    sector = 2 * math.pi / corners
    polygon = 0.95 * torch.cos(sector / 2) / torch.cos(torch.remainder(theta + turn, sector) - sector / 2)
    limit = torch.where(uniform(generator, count, 1, 1) < 0.6, blob, polygon)
    return ((limit - radius) * side / 3).clamp(0, 1)[:, None]
