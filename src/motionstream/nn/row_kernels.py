"""What lies between the products of a block, in one pass over memory each: Triton kernels, a program per token or some.

A compiler cuts these into two to four passes at our widths (norms over 1,536 numbers, pairs that turn together, copies into
the cache); on an H200 that was 33 of 199 ms of a chunk of 1.3B (docs/speed.md). Only where Triton is: ask
nn/row_kernels_check.py first. Numbers are float32 inside, whatever is read and written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from motionstream.nn.fp8 import FP8, FP8_MAX

WARPS = 8
ROWS = 4
"""Tokens of a frame that one program norms where there are `MANY`: it reads their shift, scale and gate once, which are as
many bytes as all else that a token takes, if mostly out of the cache. With fewer tokens multiprocessors would have no work.
By the bytes; not timed."""
MANY = 2048


def norm_rows(
    x: Tensor, shift: Tensor, scale: Tensor, eps: float, dtype: torch.dtype,
    y: Tensor | None = None, gate: Tensor | None = None, rows: int | None = None,
) -> Tensor:  # fmt: skip
    """``x += gate * y``, **in place**, then layer norm, ``* scale + shift``.

    Args:
        x: ``(B, F, P, D)`` float32. shift, scale, gate: ``(D,)`` or ``(1, F, 1, D)`` float32.
        y: ``(B, L, D)`` or None = nothing is added. gate: None = 1.
        rows: tokens a program; None = as many as suit their number.

    Returns:
        ``(B, L, D)`` in ``dtype``, with ``L = F P``.
    """
    B, F, P, D = x.shape
    out = torch.empty(B, F * P, D, dtype=dtype, device=x.device)
    _norm(x, shift, scale, eps, y, gate, out, None, rows)
    return out


def norm_rows_fp8(
    x: Tensor, shift: Tensor, scale: Tensor, eps: float,
    y: Tensor | None = None, gate: Tensor | None = None, rows: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """:func:`norm_rows` in FP8: rows ``(B L, D)``, each divided by a number of its own, and these, ``(B L, 1)`` float32."""
    out = torch.empty(x.numel() // x.shape[-1], x.shape[-1], dtype=FP8, device=x.device)
    sizes = torch.empty(len(out), 1, device=x.device, dtype=torch.float32)
    _norm(x, shift, scale, eps, y, gate, out, sizes, rows)
    return out, sizes


def gelu_rows_fp8(x: Tensor) -> tuple[Tensor, Tensor]:
    """GELU (tanh) of ``x (B, L, D)`` in FP8, as :func:`norm_rows_fp8` gives it."""
    rows = x.flatten(0, 1)
    out, sizes = torch.empty_like(rows, dtype=FP8), torch.empty(len(rows), 1, device=x.device, dtype=torch.float32)
    _gelu_kernel[(len(rows),)](rows, out, sizes, rows.shape[1], FP8_MAX, _block(rows.shape[1]), num_warps=2 * WARPS)
    return out, sizes


def _norm(
    x: Tensor, shift: Tensor, scale: Tensor, eps: float, y: Tensor | None, gate: Tensor | None, out: Tensor,
    sizes: Tensor | None, rows: int | None,
) -> None:  # fmt: skip
    B, F, P, D = x.shape
    assert x.is_contiguous()
    assert y is None or y.is_contiguous()
    rows = rows or (ROWS if B * F * P >= MANY else 1)
    groups = triton.cdiv(P, rows)
    _norm_kernel[(B * F * groups,)](
        x, x if y is None else y, shift if gate is None else gate, shift, scale, out, out if sizes is None else sizes,
        P, groups, F, _per_frame(gate), _per_frame(shift), eps,
        D, y is not None, gate is not None, sizes is not None, FP8_MAX, _block(D), rows, P % rows == 0, num_warps=WARPS,
    )  # fmt: skip


def write_qkv(
    qkv: Tensor, norm_qk: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, raw: Tensor | None, eps: float
) -> Tensor:
    """Norm of queries and keys, their rotation, and the way into the cache.

    Args:
        qkv: ``(B, L, 3 D)``. norm_qk: ``(2, D)`` float32. cos, sin: ``(L, E / 2)`` float32.
        keys, values: ``(B, L, A, E)``, **written**: rotated keys, values. raw: the same for unrotated keys, or None.

    Returns:
        Rotated queries ``(B, L, A, E)``.
    """
    B, L, D = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    heads, width = keys.shape[2:]
    for slot in (keys, values, *(() if raw is None else (raw,))):
        assert slot.shape == (B, L, heads, width), "a span of the cache"
        assert slot.stride() == (keys.stride(0), D, width, 1), "a span of the cache"
    q = torch.empty(B, L, heads, width, dtype=qkv.dtype, device=qkv.device)
    _write_qkv_kernel[(B * L,)](
        qkv, norm_qk, cos, sin, q, keys, values, keys if raw is None else raw,
        L, keys.stride(0), eps, D, width // 2, raw is not None, _block(D), num_warps=WARPS,
    )  # fmt: skip
    return q


def rms_rows(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``x / rms(x) * weight`` for rows of ``x (B, L, D)``; weight float32 ``(D,)``."""
    out, D = torch.empty_like(x), x.shape[-1]
    _rms_kernel[(x.numel() // D,)](x, weight, out, eps, D, _block(D), num_warps=WARPS)
    return out


def _block(width: int) -> int:
    return triton.next_power_of_2(width)


def _per_frame(part: Tensor | None) -> int:
    """How far the next frame's numbers lie; 0 where all frames have the same."""
    return 0 if part is None or part.ndim == 1 else part.shape[-1]


@triton.jit
def _norm_kernel(
    x_at, y_at, gate_at, shift_at, scale_at, out_at, size_at, cells, groups, frames, gate_step, mod_step, eps,
    D: tl.constexpr, ADDS: tl.constexpr, GATED: tl.constexpr, SIZED: tl.constexpr, MAX: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    whole = tl.program_id(0) // groups  # a frame of one of the samples: all rows of a program are of one frame
    first, frame = (tl.program_id(0) % groups) * ROWS, whole % frames
    column = tl.arange(0, BLOCK)
    inside = column < D
    shift = tl.load(shift_at + frame * mod_step + column, mask=inside, other=0.0)
    scale = tl.load(scale_at + frame * mod_step + column, mask=inside, other=0.0)
    if GATED:
        gate = tl.load(gate_at + frame * gate_step + column, mask=inside, other=0.0)
    for k in tl.static_range(ROWS):
        row = whole.to(tl.int64) * cells + first + k
        here = inside
        if not EVEN:
            here = inside & (tl.full([BLOCK], first + k, tl.int32) < cells)
        x = tl.load(x_at + row * D + column, mask=here, other=0.0)
        if ADDS:
            y = tl.load(y_at + row * D + column, mask=here, other=0.0).to(tl.float32)
            if GATED:
                y *= gate
            x += y
            tl.store(x_at + row * D + column, x, mask=here)
        centred = tl.where(inside, x - tl.sum(x) / D, 0.0)
        normed = centred * tl.rsqrt(tl.sum(centred * centred) / D + eps)
        out = normed * scale + shift
        if SIZED:
            size = tl.maximum(tl.max(tl.where(inside, tl.abs(out), 0.0)), 1e-12) / MAX
            tl.store(size_at + row, size, mask=first + k < cells)
            out /= size
        tl.store(out_at + row * D + column, out.to(out_at.dtype.element_ty), mask=here)


@triton.jit
def _gelu_kernel(x_at, out_at, size_at, D: tl.constexpr, MAX: tl.constexpr, BLOCK: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < D
    x = tl.load(x_at + row * D + column, mask=inside, other=0.0).to(tl.float32)
    out = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))  # the tanh form
    size = tl.maximum(tl.max(tl.abs(out)), 1e-12) / MAX
    tl.store(size_at + row, size)
    tl.store(out_at + row * D + column, (out / size).to(out_at.dtype.element_ty), mask=inside)


@triton.jit
def _write_qkv_kernel(
    qkv_at, norm_at, cos_at, sin_at, q_at, keys_at, values_at, raw_at, L, slot_step, eps,
    D: tl.constexpr, HALF: tl.constexpr, KEEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    token = row % L
    slot = (row // L) * slot_step + token * D
    column, pair = tl.arange(0, BLOCK), tl.arange(0, BLOCK // 2)
    inside, pair_inside = column < D, pair < D // 2
    cos = tl.load(cos_at + token * HALF + pair % HALF, mask=pair_inside, other=0.0)
    sin = tl.load(sin_at + token * HALF + pair % HALF, mask=pair_inside, other=0.0)
    kind = keys_at.dtype.element_ty
    for part in tl.static_range(2):
        x = tl.load(qkv_at + row * 3 * D + part * D + column, mask=inside, other=0.0).to(tl.float32)
        x *= tl.rsqrt(tl.sum(x * x) / D + eps)
        x *= tl.load(norm_at + part * D + column, mask=inside, other=0.0)
        if KEEPS and part == 1:
            tl.store(raw_at + slot + column, x.to(kind), mask=inside)
        even, odd = tl.split(tl.reshape(x, (BLOCK // 2, 2)))
        turned = tl.interleave(even * cos - odd * sin, even * sin + odd * cos).to(kind)
        if part == 0:
            tl.store(q_at + row * D + column, turned, mask=inside)
        else:
            tl.store(keys_at + slot + column, turned, mask=inside)
    value = tl.load(qkv_at + row * 3 * D + 2 * D + column, mask=inside, other=0.0)
    tl.store(values_at + slot + column, value, mask=inside)


@triton.jit
def _rms_kernel(x_at, weight_at, out_at, eps, D: tl.constexpr, BLOCK: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < D
    x = tl.load(x_at + row * D + column, mask=inside, other=0.0).to(tl.float32)
    x *= tl.rsqrt(tl.sum(x * x) / D + eps) * tl.load(weight_at + column, mask=inside, other=0.0)
    tl.store(out_at + row * D + column, x.to(out_at.dtype.element_ty), mask=inside)
