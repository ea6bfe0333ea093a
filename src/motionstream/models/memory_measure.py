"""Measured memory, to hold against the plan: on CUDA what the allocator reports, on a processor a trace of real tensors.

Weights are random and inputs are noise; sizes do not depend on either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motionstream.config import PresetConfig
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.memory_plan import MemoryOptions
from motionstream.models.memory_rehearsal import blank_condition, denoise_step, flow_step, full_cache
from motionstream.models.memory_trace import MemoryTrace


@dataclass
class Measured:
    """Bytes at most beside what was there before."""

    peak: int = 0


@contextlib.contextmanager
def measured(device: torch.device, *known: nn.Module | Tensor) -> Iterator[Measured]:
    """Measure the block.

    Args:
        known: what was there before (needed on a processor, where views of it would look new).
    """
    found = Measured()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        torch.cuda.synchronize(device)
        found.peak = torch.cuda.max_memory_allocated(device) - before
        return
    with MemoryTrace() as trace:
        trace.ignore(*known)
        yield found
    found.peak = trace.peak


def measure_denoise(config: PresetConfig, options: MemoryOptions, compute: Compute) -> int:
    """Bytes of one denoising step in mid-stream; ``memory_rehearsal.rehearse_denoise`` predicts them."""
    device = compute.device
    with device, torch.inference_mode(), compute.autocast():
        model = WanDiT(config.model, config.geometry.t_stride).to(getattr(torch, options.weights))
        cache = full_cache(config, compute.dtype, device)
        condition = blank_condition(model, config, 1, config.cache.chunk_frames)
        denoise_step(model, config, cache, condition)  # libraries take their workspaces now
        cache.begin_chunk()
        held = (
            cache.keys,
            cache.raw_keys,
            cache.values,
            *(t for table in cache.tables.tables for t in (table.cos, table.sin)),
        )
        rows = [t for keys in (condition.text, condition.image or []) for pair in keys for t in pair]
        latents = [t for t in (condition.first_latent, condition.track_latents, condition.picture_latents) if t is not None]
        with measured(device, model, *held, *rows, *latents) as found:
            denoise_step(model, config, cache, condition)
    return found.peak


def measure_teacher(config: PresetConfig, options: MemoryOptions, num_frames: int, compute: Compute) -> int:
    """Bytes of forward and backward of flow matching, gradients included; ``rehearse_teacher`` predicts them."""
    device, frames = compute.device, config.geometry.latent_frames(num_frames)
    with device:
        model = WanDiT(config.model, config.geometry.t_stride)

        def step() -> None:
            with compute.autocast():
                condition = blank_condition(model, config, options.batch, frames)
                loss = flow_step(model, config, condition, options.batch, frames)
            loss.backward()

        step()
        model.zero_grad(set_to_none=True)
        with measured(device, model) as found:
            step()
    return found.peak
