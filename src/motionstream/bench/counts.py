"""How much arithmetic and traffic a chunk needs, counted from sizes alone, and what this machine could do at best."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from motionstream.config import ModelConfig, PresetConfig
from motionstream.device import Compute, synchronize
from motionstream.models.memory_rehearsal import CLIP_ROWS


@dataclass(frozen=True)
class ChunkCounts:
    """Of one chunk in the steady state (sink and window filled).

    Attributes:
        denoise_flop, clean_flop: multiplications and additions of the denoising steps, and of the clean pass as far as
            later chunks need it (the last layer only writes keys).
        weight_bytes, cache_bytes: least traffic of all passes: every weight once a pass, every visible key and value once.
    """

    denoise_flop: int
    clean_flop: int
    weight_bytes: int
    cache_bytes: int

    @property
    def flop(self) -> int:
        return self.denoise_flop + self.clean_flop


def forward_flop(
    model: ModelConfig, tokens: int, visible: int, *, keys_only: bool = False, text_rows: int | None = None
) -> int:
    """Products of one pass over ``tokens`` that attend to ``visible``; norms and other element-wise work count nothing.

    ``text_rows``: those of the prompt that are attended to (None: all that the model has, the empty ones too).

    >>> from motionstream.presets import wan2_1_1_3b_t2v
    >>> round(forward_flop(wan2_1_1_3b_t2v().model, 4680, 3 * 4680) / 1e12, 1)
    24.3
    """
    text = model.text_len if text_rows is None else text_rows
    D, rows = model.dim, text + (CLIP_ROWS if model.image_dim else 0)
    keys = 4 * tokens * D * D  # k and v
    rest = 4 * tokens * D * D + 4 * tokens * visible * D  # q, o, attention
    rest += 4 * tokens * D * D + 4 * tokens * rows * D  # cross-attention; its keys are made once a prompt
    rest += 4 * tokens * D * model.ffn_dim
    embed = 2 * tokens * D * model.in_channels * model.patch**2
    head = 2 * tokens * D * model.latent_channels * model.patch**2
    layers = model.num_layers * (keys + rest) + embed
    return layers - rest if keys_only else layers + head


def chunk_counts(preset: PresetConfig, steps: int, bytes_per_value: int, *, text_rows: int | None = None) -> ChunkCounts:
    """Counts of one chunk with ``steps`` denoising steps and the clean pass.

    Args:
        bytes_per_value: of weights and cache in the type they are computed in.
        text_rows: as :func:`forward_flop` takes them.
    """
    geometry, model, cache = preset.geometry, preset.model, preset.cache
    cells = (geometry.latent_height // geometry.patch) * (geometry.latent_width // geometry.patch)
    tokens, visible = cache.chunk_frames * cells, cache.slots * cells
    D = model.dim
    weights = model.num_layers * (4 * D * D + 2 * D * D + 2 * D * model.ffn_dim)  # cross-attention: q and o only
    pages = model.num_layers * 2 * visible * D
    return ChunkCounts(
        denoise_flop=steps * forward_flop(model, tokens, visible, text_rows=text_rows),
        clean_flop=forward_flop(model, tokens, visible, keys_only=True, text_rows=text_rows),
        weight_bytes=(steps + 1) * weights * bytes_per_value,
        cache_bytes=(steps + 1) * pages * bytes_per_value,
    )


@torch.inference_mode()
def matmul_ceiling(compute: Compute, seconds: float = 1.0) -> dict[str, float | int]:
    """The best rate of a plain square product in the engine's type on its device, FLOP/s: what a share is a share of.

    Args:
        seconds: time spent on each size, about.
    """
    best, best_size = 0.0, 0
    for size in (1024, 2048) if compute.device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=compute.device).to(compute.dtype) for _ in range(2))
        a @ b
        synchronize(compute.device)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            for _ in range(4):
                a @ b
            synchronize(compute.device)
            rate = 4 * 2 * size**3 / (time.perf_counter() - begun)
            if rate > best:
                best, best_size = rate, size
    return {"flop_per_s": best, "size": best_size}
