"""What a student that is done makes of training clips, in its own cache, as people stream it."""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.causal.rollout import NoiseFn, rollout
from motionstream.config import PresetConfig
from motionstream.data.conditions import Batch
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.train.teacher import condition_of


@torch.no_grad()
def streamed(
    fused: FusedDiT,
    model: WanDiT,
    preset: PresetConfig,
    batch: Batch,
    noise: NoiseFn,
    compute: Compute,
    estimates: list[Tensor] | None = None,
) -> Tensor:
    """Latents ``(B, F, C, h, w)`` of whole chunks that cover the clips.

    Args:
        fused, model: the student as it is run, and itself. estimates: every clean estimate is appended to it.
    """
    h, w = (size // preset.model.patch for size in batch.latents.shape[-2:])
    cache = SinkWindowCache(
        preset.model, preset.cache, batch=len(batch.latents), grid=(h, w), device=compute.device, dtype=compute.dtype
    )
    chunks = -(-batch.latents.shape[1] // preset.cache.chunk_frames)
    with compute.autocast():
        condition = condition_of(model, preset, batch)
        sigmas = preset.sample.student_sigmas
        return torch.cat(list(rollout(fused, cache, condition, noise, sigmas, chunks, estimates=estimates)), dim=1)
