"""Whether a Wan model fits, asked before it is loaded, and where its encoders run (models/memory_plan.py predicts)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from motionstream.config import PresetConfig
from motionstream.device import Compute
from motionstream.models.memory_fit import gigabytes
from motionstream.models.memory_plan import MemoryOptions, plan_memory


def stream_options(compute: Compute, decoder: Literal["tiny", "full"], fp8: bool = False) -> MemoryOptions:
    """How a Wan model is held to stream it: weights in bfloat16 where products are, else in float32."""
    name = str(compute.dtype).removeprefix("torch.")
    weights: Literal["float32", "bfloat16"] = "bfloat16" if compute.dtype == torch.bfloat16 else "float32"
    return MemoryOptions(compute=name, weights=weights, decoder=decoder, fp8=fp8)  # type: ignore[arg-type]


def weights_dtype(compute: Compute) -> torch.dtype:
    """Type of a Wan model's weights for a stream (float16 products take float32 weights: their range is too small)."""
    return torch.bfloat16 if compute.dtype == torch.bfloat16 else torch.float32


def place_encoders(
    config: PresetConfig, compute: Compute, decoder: Literal["tiny", "full"], encoder_bytes: int, *, force: bool = False,
    fp8: bool = False,
) -> torch.device:  # fmt: skip
    """Check the predicted memory against what is free now, and choose where text and picture encoder run.

    Args:
        encoder_bytes: of the larger of both in memory; 0 where there are none. They run beside the transformer on a GPU that
            has room for both, else on the processor.
        force: too little memory is a warning.
        fp8: most products are held in FP8 too.

    Raises:
        ValueError: it would not fit; the sentence says what is needed, what is free and what to give up.
    """
    device, processor = compute.device, torch.device("cpu")
    free, options = free_bytes(device), stream_options(compute, decoder, fp8)
    plan = plan_memory(config, "stream", options=options)
    needed = plan.total if device.type == "cuda" else plan.peak + encoder_bytes
    if free is not None and needed > free:
        _refuse(config, compute, options, needed, free, encoder_bytes, force)
    if device.type != "cuda":
        return processor
    beside = plan_memory(config, "stream", options=replace(options, encoders="gpu"))
    if encoder_bytes and free is not None and beside.total <= free:
        return device
    host = free_bytes(processor)
    if host is not None and encoder_bytes > host:
        said = (
            f"the text encoder needs {gigabytes(encoder_bytes)} of the processor's memory, {gigabytes(host)} are free: "
            "free some, or use a GPU with room for it"
        )
        if not force:
            raise ValueError(f"{said} (ignore_memory=True, or --ignore-memory, tries anyway)")
        warnings.warn(said, RuntimeWarning)
    return processor


def _refuse(
    config: PresetConfig, compute: Compute, options: MemoryOptions, needed: int, free: int, encoders: int, force: bool
) -> None:
    geometry, tiny = config.geometry, replace(options, decoder="tiny")

    def in_all(one: PresetConfig, held: MemoryOptions) -> int:
        plan = plan_memory(one, "stream", options=held)
        return plan.total if compute.device.type == "cuda" else plan.peak + encoders

    ways = ["dtype bfloat16"] if compute.dtype != torch.bfloat16 else []
    if options.decoder == "full" and in_all(config, tiny) <= free:
        ways.append(f"the tiny decoder ({gigabytes(in_all(config, tiny))} in all)")
    if options.fp8:
        ways.append("no fp8, which holds most weights twice")
    cell = geometry.stride * geometry.patch
    least = in_all(config.sized(cell, cell), tiny)
    if least <= free:
        ways.append(f"a smaller size than {geometry.width}x{geometry.height}")
    said = (
        f"{config.name} needs {gigabytes(needed)} to stream (predicted), {gigabytes(free)} are free on {compute.device}: "
        + (f"take {' or '.join(ways)}" if ways else f"the smallest video takes {gigabytes(least)}, so free memory first")
    )
    if compute.device.type != "cuda" and 4 * encoders > needed:
        said += f"; the largest encoder takes {gigabytes(encoders)} of it"
    if not force:
        raise ValueError(f"{said} (ignore_memory=True, or --ignore-memory, tries anyway)")
    warnings.warn(said, RuntimeWarning)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken on ``device``; None where it cannot be told."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable")))
    except (OSError, StopIteration, ValueError):
        return None
