"""Which device and number type to compute with, and why; seeding, timing and memory readings."""

from __future__ import annotations

import contextlib
import functools
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Made = TypeVar("Made")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of matrix products on it; ``reason`` is for people."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    def make_current(self) -> None:
        """Make a numbered GPU the calling thread's own: graphs are captured, and kernels of our own launched, there."""
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Run matrix products in ``dtype``; a no-op for float32."""
        if self.dtype == torch.float32:
            yield
        else:
            with torch.autocast(self.device.type, dtype=self.dtype):
                yield


def apart_from_host(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """``function``, in which a tensor whose device is not named lies on the CPU, whatever the host program made its default
    (``torch.set_default_device``, ``with torch.device(...)``)."""

    @functools.wraps(function)
    def on_the_cpu(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        if torch.get_default_device().type == "cpu":  # entering a device slows every call to torch
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return on_the_cpu


def choose_compute(device: str | None = None, dtype: str | None = None) -> Compute:
    """Pick device and dtype.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps", or None to choose.
        dtype: "float32", "bfloat16", "float16", or None to choose: bfloat16 where the hardware multiplies it natively
            (a processor without such instructions is 40-75 times slower in bfloat16 than in float32).

    Raises:
        ValueError: for an unknown or absent device or dtype.
    """
    if device is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
        why = "a CUDA device is present" if name == "cuda" else "no CUDA device was found"
    else:
        name, why = device, "you asked for it"
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is unknown: use cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} is not available here: no CUDA device was found; use cpu")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {name!r} is not available here: use cpu")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r} is not supported: use cpu, cuda, cuda:N or mps")
    if dtype is not None:
        return Compute(chosen, named_dtype(dtype), f"{chosen}: {why}; {dtype}: you asked for it")
    if chosen.type == "cuda":
        picked, reason = torch.bfloat16, "bfloat16: native on this GPU"
    elif chosen.type == "cpu" and cpu_multiplies_bf16():
        picked, reason = torch.bfloat16, "bfloat16: this processor multiplies it natively (AMX or AVX512-BF16)"
    else:
        picked, reason = torch.float32, "float32: no fast bfloat16 on this processor"
    return Compute(chosen, picked, f"{chosen}: {why}; {reason}")


def named_dtype(name: str) -> torch.dtype:
    """ "float32", "bfloat16" or "float16"; a ValueError for another name."""
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is unknown: use {', '.join(DTYPES)}")
    return DTYPES[name]


def cpu_multiplies_bf16() -> bool:
    """Whether the processor has AMX tiles (bfloat16 products are then several times as fast as float32 ones) or AVX512-BF16
    (twice as fast; docs/LOG.md)."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check is not None and check() for check in checks)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory so far: of tensors on CUDA (:func:`peak_reserved_bytes`: of more), the process's resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_reserved_bytes(device: torch.device) -> int | None:
    """The most that torch has ever held of a CUDA device, None elsewhere: what recorded graphs keep for their tensors is in
    it, though no tensor is alive between two replays."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
