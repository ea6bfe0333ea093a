"""Which attention to use here: the ways that are present are tested against the definition and timed at our shapes.

choice = choose_attention("auto", queries=4680, keys=14040, heads=12, head_dim=128, compute=compute)
print(choice.reason); out = choice.kernel(q, k, v)
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from motionstream.device import Compute, synchronize
from motionstream.nn.attention import Attention, attention, attention_products, attention_reference
from motionstream.nn.attention_split import cudnn_part, in_parts, last_round_in_parts
from motionstream.nn.recording import record_cuda_graph

PARTS = (2, 3, 5)
"""Cuts of the visible tokens that are tried (nn/attention_split.py)."""
LAST_PARTS = 5
"""Parts for the queries of the last round, "cudnn-tail": few blocks in many parts fill what the others leave."""
SPLIT = (*(f"cudnn-{parts}" for parts in PARTS), "cudnn-tail")
NAMES = ("auto", "sdpa", "products", "math", "flash", "efficient", "cudnn", *SPLIT, "fa3")
SCORES = range(2**18, 2**26 + 1)
"""Scores of a call, of all heads, for which "products" is tried: fewer are soon made anyhow, more would fill the memory
where there is a thread for each head."""
HANDICAP = 1.25
""""products" must be so many times faster, so that a machine nearly always chooses the same. A take keeps which one computed
it and is replayed with that; nothing else remembers."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 3e-3}
"""Largest relative RMS error against float64; rounding the weights of the softmax alone gives a third of it."""
TESTED_QUERIES, RUNS = 64, 5
"""The first and the last so many: some ways treat them differently."""
CALLS = 5
"""In one recording: attention to a prompt is short beside a launch and a wait, and a chunk calls it hundreds of times."""
SDP_KINDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


@dataclass(frozen=True)
class AttentionChoice:
    """The way chosen, why, and what was found about each: milliseconds, or why it cannot be used."""

    name: str
    kernel: Attention
    reason: str
    found: dict[str, float | str]


def ways(device: torch.device) -> dict[str, Callable[[], Attention]]:
    """Makers of every way that may be present on ``device``, by name; a maker or its product raises where it is not."""
    if device.type != "cuda":
        return {"sdpa": lambda: attention, "products": lambda: attention_products, "math": lambda: _of_kind("math")}
    known = {kind: (lambda kind=kind: _of_kind(kind)) for kind in SDP_KINDS}
    split = {f"cudnn-{parts}": (lambda parts=parts: _cudnn_in_parts(parts)) for parts in PARTS}
    tail = partial(_cudnn_with_a_tail, device)
    return {"sdpa": lambda: attention, **known, **split, "cudnn-tail": tail, "fa3": _flash_attention_3}


def choose_attention(
    wanted: str, *, queries: int, keys: int, heads: int, head_dim: int, compute: Compute, whole: bool = False
) -> AttentionChoice:
    """The fastest way that computes the right numbers ("products" with a handicap).

    Args:
        wanted: "auto", or the way to use if it is present and right; else "auto" is used and a warning says why.
        queries, keys: tokens of a chunk, and tokens that it attends to in the steady state.
        whole: try no cuts of the keys: few keys fill no chip, and every way has to be compiled.

    Raises:
        ValueError: ``wanted`` is no way's name.
    """
    if wanted not in NAMES:
        raise ValueError(f"attention {wanted!r} is unknown: use one of {', '.join(NAMES)}")
    device = compute.device
    candidates = ways(device)
    if wanted != "auto":
        names = [wanted] if wanted in candidates else []
    else:
        fits = queries * keys * heads in SCORES and compute.dtype != torch.float16  # its sums overflow
        unfit = {"math"} if fits else {"math", "products"}
        names = [name for name in candidates if name not in unfit and not (whole and name in SPLIT)]
    inputs = _inputs(queries, keys, heads, head_dim, compute)
    found: dict[str, float | str] = {}
    usable: dict[str, Attention] = {}
    for name in names:
        try:
            kernel = candidates[name]()
            error = _error(kernel, inputs, compute.dtype)
            if error is not None:
                found[name] = error
                continue
            found[name] = round(milliseconds(kernel, inputs, device), 3) if len(names) > 1 else 0.0
            usable[name] = kernel
        except Exception as failure:  # whatever a kernel that does not belong here raises
            found[name] = " ".join(str(failure).split())[:160] or type(failure).__name__
    if wanted != "auto":
        if wanted in usable:
            return AttentionChoice(
                wanted, usable[wanted], f"{wanted}: you asked for it, and it computes the right numbers", found
            )
        why = found.get(wanted, f"there is none for {device.type}")
        warnings.warn(f"attention {wanted!r} cannot be used here ({why}): choosing another", RuntimeWarning)
        other = choose_attention("auto", queries=queries, keys=keys, heads=heads, head_dim=head_dim, compute=compute)
        reason = f"{other.reason}; {wanted!r} was asked for: {why}"
        return AttentionChoice(other.name, other.kernel, reason, found | other.found)
    if not usable:
        warnings.warn(f"no attention passed its test ({found}): torch's plain one is used", RuntimeWarning)
        return AttentionChoice("math", _of_kind("math"), "math: nothing else passed its test", found)
    times = {name: float(found[name]) for name in usable}
    best = min(times, key=lambda name: times[name] * (HANDICAP if name == "products" else 1))
    if len(times) == 1:
        return AttentionChoice(best, usable[best], f"{best}: the only way on {device.type}, tested", found)
    told = ", ".join(f"{name} {ms:.2f} ms" for name, ms in sorted(times.items(), key=lambda item: item[1]))
    why = "fastest of those tested" if times[best] == min(times.values()) else "nothing tested is clearly faster"
    return AttentionChoice(best, usable[best], f"{best}: {why} ({told})", found)


def _inputs(queries: int, keys: int, heads: int, head_dim: int, compute: Compute) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator(compute.device).manual_seed(0)

    def random(tokens: int) -> Tensor:
        shape = (1, tokens, heads, head_dim)
        return torch.randn(shape, generator=generator, device=compute.device, dtype=torch.float32).to(compute.dtype)

    return random(queries), random(keys), random(keys)


@torch.inference_mode()
def _error(kernel: Attention, inputs: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype) -> str | None:
    """What is wrong with the numbers of ``kernel``; None if nothing is."""
    q, k, v = inputs
    got = kernel(q, k, v)
    if got.shape != q.shape or got.dtype != q.dtype:
        return f"gives {tuple(got.shape)} {got.dtype} for {tuple(q.shape)} {q.dtype}"
    few, queries = (torch.cat([t[:, :TESTED_QUERIES], t[:, -TESTED_QUERIES:]], dim=1).double() for t in (got, q))
    wanted = attention_reference(queries, k, v)
    error = float((few - wanted).norm() / wanted.norm())
    limit = TOLERANCE[dtype]
    return None if error <= limit else f"numerically wrong: relative error {error:.1e}, more than {limit:.0e}"


@torch.inference_mode()
def milliseconds(kernel: Callable[..., Tensor], inputs: tuple[Any, ...], device: torch.device) -> float:
    """Of a call, the fastest of some; on CUDA of `CALLS` recorded ones."""
    call: Callable[[], object] = partial(kernel, *inputs)
    calls = 1
    if device.type == "cuda":  # as a stream runs it: recorded, so that nothing is launched piece by piece
        call()
        with contextlib.suppress(Exception), torch.cuda.device(device):  # one that cannot be recorded is timed as it is
            call = record_cuda_graph(partial(_often, call))[1].replay
            calls = CALLS
    spent = []
    for run in range(RUNS + 2):
        synchronize(device)
        begun = time.perf_counter()
        call()
        synchronize(device)
        if run >= 2:
            spent.append(1000 * (time.perf_counter() - begun))
    return min(spent) / calls  # company on the machine must not decide


def _often(call: Callable[[], object]) -> None:
    for _ in range(CALLS):
        call()


def _of_kind(kind: str) -> Attention:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(SDP_KINDS[kind]):
            return attention(q, k, v)

    return attend


def _cudnn_in_parts(parts: int) -> Attention:
    return in_parts(parts, cudnn_part, _of_kind("cudnn"), compiled=True)


def _cudnn_with_a_tail(device: torch.device) -> Attention:
    at_once = torch.cuda.get_device_properties(device).multi_processor_count
    return last_round_in_parts(at_once, LAST_PARTS, cudnn_part, _of_kind("cudnn"), compiled=True)


def _flash_attention_3() -> Attention:
    """FlashAttention 3 through Hugging Face's ``kernels``: present only where that package and its download are."""
    if importlib.util.find_spec("kernels") is None:
        raise ModuleNotFoundError("the package kernels is not installed")
    from kernels import get_kernel

    flash = get_kernel("kernels-community/flash-attn3")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = flash.flash_attn_func(q, k.to(q.dtype), v.to(q.dtype))
        return out[0] if isinstance(out, tuple) else out

    return attend
