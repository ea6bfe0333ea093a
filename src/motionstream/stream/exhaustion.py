"""Out of memory in the middle of a stream: the session ends with advice, the engine lives on."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from motionstream.config import PresetConfig
from motionstream.errors import UserError

Made = TypeVar("Made")
SIGNS = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What torch's allocator on a CPU, CUDA outside of torch's allocator, and its libraries (cuBLAS, cuDNN) say."""


class OutOfMemory(UserError):
    """The stream could not go on for want of memory; it has ended, and the engine can begin another."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whoever says so: torch, Python, or a part of CUDA that takes memory of its own."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def guarded(make: Callable[[], Made], end: Callable[[], str]) -> Made:
    """``make()``; when memory runs out in it, ``end()`` frees what it can and gives the sentence of :class:`OutOfMemory`.

    Raises:
        OutOfMemory: without the failed call's frames, which would keep its tensors alive.
    """
    try:
        return make()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None
    raise OutOfMemory(end())


def release(device: torch.device) -> None:
    """Give unused memory back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def advice(preset: PresetConfig, device: torch.device, index: int, decoder: str) -> str:
    """What to say and what to do about it."""
    ways = ["close what else uses this memory"]
    if preset.vae_kind != "nano" or preset.more_sizes:
        ways.insert(0, f"a smaller size than {preset.geometry.width}x{preset.geometry.height}")
    if preset.vae_kind != "nano":
        if decoder == "full":
            ways.insert(0, "the tiny decoder")
    else:
        ways.insert(0, "another device")
    return (
        f"out of memory on {device} at chunk {index}: this stream has ended and what it made is kept; "
        f"try {' or '.join(ways)}, then begin another"
    )
