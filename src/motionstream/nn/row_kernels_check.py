"""Whether the kernels of nn/row_kernels.py run here and compute the right numbers; and what these are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from motionstream.nn import row_kernels
from motionstream.nn.rope import turn_pairs
from motionstream.nn.row_kernels import ROWS

Tensors = Callable[[], tuple[Tensor, ...]]
SEVERAL = (2 * ROWS, 2 * ROWS - 1)
"""Cells of a frame, which programs of some tokens share evenly, and not."""
LIMITS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Largest relative RMS difference from the references: their own rounding differs by one unit here and there."""


FP8_LIMIT = 0.04
"""The same of rows in FP8 from unrounded ones: three binary digits after the first leave .026 of normal numbers."""


@cache
def row_kernels_work(device: str, dtype: torch.dtype, width: int = 192, heads: int = 3) -> str | None:
    """Why the kernels cannot be used for tokens of ``width`` numbers; None where all of them are right."""
    return _fault(lambda: _cases(torch.device(device), dtype, width, heads), LIMITS[dtype])


@cache
def fp8_rows_work(device: str, width: int = 192, ffn_width: int = 768) -> str | None:
    """Why those that round to FP8 cannot be used for tokens of ``width`` numbers, ``ffn_width`` in the feed-forward.

    On its own: an older GPU has the others, and no FP8.
    """
    return _fault(lambda: _fp8_cases(torch.device(device), width, ffn_width), FP8_LIMIT)


def _fault(cases: Callable[[], Iterator[tuple[str, Tensors, Tensors]]], limit: float) -> str | None:
    """What is wrong with the first of the kernels that is; None if none is."""
    try:
        with torch.inference_mode():
            for name, kernel, reference in cases():
                for got, wanted in zip(kernel(), reference(), strict=True):
                    error = float((got.float() - wanted.float()).norm() / wanted.float().norm())
                    if not error <= limit:
                        return f"{name} is numerically wrong: relative error {error:.1e}, more than {limit:.0e}"
    except Exception as error:  # no compiler, an old driver, a GPU that Triton does not know
        return " ".join(str(error).split())[:160] or type(error).__name__
    return None


def _cases(device: torch.device, dtype: torch.dtype, D: int, heads: int) -> Iterator[tuple[str, Tensors, Tensors]]:
    """Name, kernel and reference; each gives its result and what it wrote to."""
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(kind)

    B, F, P, width = 2, 2, 3, D // heads
    L = F * P
    x, y, qkv = random(B, F, P, D), random(B, L, D, kind=dtype), random(B, L, 3 * D, kind=dtype)
    angle, weights = random(L, width // 2), random(2, D)
    cache = random(3, B, 2 * L, heads, width, kind=dtype)

    def normed(
        norm: Callable[..., Tensor], parts: tuple[Tensor, ...], y: Tensor | None, gate: Tensor | None,
        x: Tensor = x, rows: int | None = None,
    ) -> Tensors:  # fmt: skip
        mine, more = x.clone(), {} if rows is None else {"rows": rows}
        return lambda: (norm(mine, *parts, 1e-6, dtype, y, gate, **more), mine)

    def written(write: Callable[..., Tensor], keep: bool) -> Tensors:
        mine = cache.clone()  # a span of a larger cache, as in a stream
        keys, values, raw = mine[:, :, L:]
        return lambda: (write(qkv, weights, angle.cos(), angle.sin(), keys, values, raw if keep else None, 1e-6), mine)

    for shape in ((D,), (1, F, 1, D)):
        shift, scale, gate = (random(*shape) for _ in range(3))
        for more in ((None, None), (y, None), (y, gate)):
            parts = shift, scale
            yield "norm_rows", normed(row_kernels.norm_rows, parts, *more), normed(norm_rows_reference, parts, *more)
        for cells in SEVERAL:
            some = (shift, scale), random(B, F * cells, D, kind=dtype), gate, random(B, F, cells, D)
            yield "norm_rows", normed(row_kernels.norm_rows, *some, rows=ROWS), normed(norm_rows_reference, *some)
    for keep in (False, True):
        yield "write_qkv", written(row_kernels.write_qkv, keep), written(write_qkv_reference, keep)
    given = y, weights[0], 1e-6
    yield "rms_rows", lambda: (row_kernels.rms_rows(*given),), lambda: (rms_rows_reference(*given),)


def _fp8_cases(device: torch.device, D: int, ffn: int) -> Iterator[tuple[str, Tensors, Tensors]]:
    """As :func:`_cases`; rows are given as the numbers that they stand for."""
    generator = torch.Generator(device).manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32)

    def numbers(rows: tuple[Tensor, Tensor]) -> Tensor:
        return rows[0].float() * rows[1]

    B, F, P = 2, 2, 3
    x, y, wide = random(B, F, P, D), random(B, F * P, D).bfloat16(), random(B, F * P, ffn).bfloat16()

    def normed(
        parts: tuple[Tensor, Tensor],
        more: tuple[Tensor | None, Tensor | None],
        own: bool,
        x: Tensor = x,
        rows: int | None = None,
    ) -> Tensors:
        mine = x.clone()
        if own:
            return lambda: (numbers(row_kernels.norm_rows_fp8(mine, *parts, 1e-6, *more, rows=rows)), mine)
        return lambda: (norm_rows_reference(mine, *parts, 1e-6, torch.float32, *more).flatten(0, 1), mine)

    for shape in ((D,), (1, F, 1, D)):
        shift, scale, gate = (random(*shape) for _ in range(3))
        for more in ((None, None), (y, None), (y, gate)):
            yield "norm_rows_fp8", normed((shift, scale), more, True), normed((shift, scale), more, False)
        for cells in SEVERAL:
            parts, more, own = (shift, scale), (random(B, F * cells, D).bfloat16(), gate), random(B, F, cells, D)
            yield "norm_rows_fp8", normed(parts, more, True, own, rows=ROWS), normed(parts, more, False, own)
    yield (
        "gelu_rows_fp8",
        lambda: (numbers(row_kernels.gelu_rows_fp8(wide)),),
        lambda: (gelu(wide.flatten(0, 1).float(), approximate="tanh"),),
    )


def norm_rows_reference(
    x: Tensor, shift: Tensor, scale: Tensor, eps: float, dtype: torch.dtype,
    y: Tensor | None = None, gate: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """What :func:`norm_rows` computes, in place too."""
    if y is not None:
        x.add_(y.float().view_as(x) * (1 if gate is None else gate))
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:], eps=eps), scale).to(dtype).flatten(1, 2)


def write_qkv_reference(
    qkv: Tensor, norm_qk: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, raw: Tensor | None, eps: float
) -> Tensor:
    """What :func:`write_qkv` computes and writes."""
    heads = keys.shape[2]
    q, k, v = qkv.float().chunk(3, -1)
    q, k = (
        (t * torch.rsqrt(t.square().mean(-1, keepdim=True) + eps) * weight).unflatten(-1, (heads, -1))
        for t, weight in ((q, norm_qk[0]), (k, norm_qk[1]))
    )
    if raw is not None:
        raw.copy_(k)
    keys.copy_(turn_pairs(k, cos, sin))
    values.copy_(v.unflatten(-1, (heads, -1)))
    return turn_pairs(q, cos, sin).to(qkv.dtype)


def rms_rows_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """What :func:`rms_rows` computes."""
    return (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)
