"""Who may see whom in a causal, chunk-wise video: sink, window and own chunk (paper section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.config import CacheConfig


def visible_chunks(chunk: int, cache: CacheConfig) -> list[int]:
    """Chunks that chunk ``chunk`` attends to, in order: sink, window, itself.

    >>> visible_chunks(5, CacheConfig(sink_chunks=1, window_chunks=2))
    [0, 3, 4, 5]
    """
    sink = min(cache.sink_chunks, chunk)
    return [*range(sink), *range(max(sink, chunk - cache.window_chunks), chunk), chunk]


def chunk_mask(num_frames: int, tokens_per_frame: int, cache: CacheConfig, device: torch.device | str = "cpu") -> Tensor:
    """Bool mask ``(L, L)``, True = may attend, over ``num_frames`` latent frames (absolute positions).

    A masked forward equals the cached rollout only while nothing has rolled, that is for chunks up to
    ``sink + window``: afterwards the rollout's slot positions bring the sink closer than absolute ones do.
    """
    chunk = torch.arange(num_frames, device=device) // cache.chunk_frames
    query, key = chunk[:, None], chunk[None, :]
    seen = (key <= query) & ((key < cache.sink_chunks) | (key >= query - cache.window_chunks))
    return seen.repeat_interleave(tokens_per_frame, 0).repeat_interleave(tokens_per_frame, 1)
