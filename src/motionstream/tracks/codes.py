"""Identity codes of tracks: a random integer id becomes a fixed vector (paper section 3.1; nothing is learned)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from motionstream.config import TrackConfig


def draw_ids(batch: int, num_tracks: int, config: TrackConfig, generator: torch.Generator) -> Tensor:
    """Random ids ``(B, N)`` in [0, ``id_range``), unique within a sample; drawn once per video and kept for good.

    Raises:
        ValueError: if more tracks are asked for than there are ids.
    """
    if num_tracks > config.id_range:
        raise ValueError(f"{num_tracks} tracks need ids from a range of {config.id_range}: raise tracks.id_range")
    device = generator.device
    if num_tracks == 0:
        return torch.zeros(batch, 0, dtype=torch.int64, device=device)
    if num_tracks * 20 > config.id_range:
        scores = torch.rand(batch, config.id_range, generator=generator, device=device, dtype=torch.float32)
        return scores.topk(num_tracks, dim=1).indices
    # One id from each of N equal strata, in random order: unique without a loop.
    width = config.id_range // num_tracks
    ids = torch.arange(num_tracks, device=device) * width
    ids = ids + torch.randint(width, (batch, num_tracks), generator=generator, device=device)
    order = torch.rand(batch, num_tracks, generator=generator, device=device, dtype=torch.float32).argsort(dim=1)
    return ids.gather(1, order)


def track_codes(ids: Tensor, config: TrackConfig) -> Tensor:
    """Codes ``(..., code_dim)`` float32 of integer ``ids``: the same id gives the same code everywhere and always.

    "sinusoid": cos and sin of ``id / max_period**(i / half)`` as in the paper. "gaussian": a unit normal vector made
    from the id by integer hashing (Box-Muller), better spread for few dimensions (docs/LOG.md).
    """
    half = config.code_dim // 2
    index = torch.arange(half, device=ids.device)
    if config.code == "sinusoid":
        frequency = torch.exp(-math.log(config.max_period) * index.double() / half)
        angle = ids[..., None].double() * frequency
        code = torch.cat([angle.cos(), angle.sin()], dim=-1)
        return (code * config.code_scale).float()
    word = ids[..., None].long() * half + index
    radius = torch.sqrt(-2 * torch.log(_hash_unit(2 * word + 1)))
    angle = 2 * math.pi * _hash_unit(2 * word)
    code = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return (code * config.code_scale).float()


def _hash_unit(values: Tensor) -> Tensor:
    """Integers -> doubles in (0, 1), spread evenly (multiply-xorshift on 32 bits held in int64)."""
    mask = 0xFFFFFFFF
    x = values & mask
    for multiplier in (0x7FEB352D, 0x846CA68B):
        x = x ^ (x >> 16)
        x = (x * multiplier) & mask
    x = x ^ (x >> 15)
    return (x.double() + 0.5) / 2**32
