"""The slow definition of the causal student: no buffers, no ring, no slots to manage.

For tests. A chunk's keys at layer ``l`` depend on what *it* could see when it was made; so keys are made once per clean
chunk, in order, from the list of all keys before it, and every one of them is rotated anew by its cache slot (the paper's
section 3.3). Time is linear in the number of chunks, memory is not bounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.config import CacheConfig
from motionstream.models.dit import Condition, WanDiT
from motionstream.nn.masks import visible_chunks
from motionstream.nn.rope import RotaryTable, rotary_table, rotate

ChunkKeys = list[tuple[Tensor, Tensor]]
"""Unrotated keys and values ``(B, L, A, E)`` of one chunk, one pair a layer."""


class _Context:
    """What the attention needs of a cache: concatenates the chunks given to it, and notes what a forward writes."""

    def __init__(self, model: WanDiT, cache: CacheConfig, grid: tuple[int, int], visible: list[ChunkKeys]) -> None:
        size, config = cache.chunk_frames, model.config
        self.tables = [
            rotary_table(torch.arange(n * size, (n + 1) * size), *grid, config.head_dim, config.rope_theta)
            for n in range(len(visible) + 1)
        ]
        self.visible = visible
        self.written: ChunkKeys = []

    @property
    def table(self) -> RotaryTable:
        return self.tables[-1]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.written.append((k, v))
        chunks = [*(past[layer] for past in self.visible), (k, v)]
        keys = [rotate(key, table) for (key, _), table in zip(chunks, self.tables, strict=True)]
        return torch.cat(keys, 1), torch.cat([value for _, value in chunks], 1)


def reference_keys(
    model: WanDiT, latents: Tensor, past: list[ChunkKeys], condition: Condition, cache: CacheConfig
) -> ChunkKeys:
    """Keys of the clean chunk ``latents`` that follows the chunks whose keys are ``past`` (all of them, in order)."""
    return _forward(model, latents, 0.0, past, condition, cache)[1]


def reference_output(
    model: WanDiT, noisy: Tensor, sigma: float, past: list[ChunkKeys], condition: Condition, cache: CacheConfig
) -> Tensor:
    """The network's raw output for the chunk that follows ``past``; ``condition`` covers the whole video."""
    return _forward(model, noisy, sigma, past, condition, cache)[0]


def _forward(
    model: WanDiT, x: Tensor, sigma: float, past: list[ChunkKeys], condition: Condition, cache: CacheConfig
) -> tuple[Tensor, ChunkKeys]:
    chunk, size, patch = len(past), cache.chunk_frames, model.config.patch
    part = condition.frames(chunk * size, (chunk + 1) * size)
    assembled = model.assemble(x, part, chunk * size)
    context = _Context(
        model, cache, (x.shape[3] // patch, x.shape[4] // patch), [past[c] for c in visible_chunks(chunk, cache)[:-1]]
    )
    timestep = torch.full(x.shape[:2], 1000 * sigma, dtype=torch.float32)
    return model(assembled, timestep, part.text, image=part.image, cache=context), context.written
