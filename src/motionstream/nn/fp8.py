"""Matrix products in FP8: weights and activations are rounded row by row, each row to a size of its own.

Up to twice the rate of bfloat16 on a GPU that has it (compute capability 8.9 and newer), for 3.7 % of noise in every product
of random numbers (docs/speed.md), which denoising steps after it take away again: so there is a form for all steps but the
last (models/fused_kernels.py). Opt-in: what it does to pictures of real Wan weights was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from motionstream.nn.products import Product

FP8, FP8_MAX = torch.float8_e4m3fn, 448.0
FP8_PRODUCTS = ("qkv", "cross_q", "widen", "narrow")  # of a block: those of normed rows, and the feed-forward

Rows = tuple[Tensor, Tensor]
"""Rows in FP8 ``(B L, D)`` and what each was divided by, ``(B L, 1)`` float32."""


@dataclass(frozen=True)
class Fp8Product:
    """``x @ weight.T + bias`` of rows in FP8; ``weight (out, in)`` FP8, ``sizes (out, 1)`` float32, ``bias (out,)``."""

    weight: Tensor
    sizes: Tensor
    bias: Tensor

    @classmethod
    def of(cls, product: Product) -> Fp8Product:
        return cls(*rounded(product.weight), product.bias)

    def __call__(self, rows: Rows, batch: int) -> Tensor:
        """``(B L, in)`` -> ``(B, L, out)`` in the bias's dtype."""
        out = torch._scaled_mm(
            rows[0], self.weight.t(), scale_a=rows[1], scale_b=self.sizes.t(), bias=self.bias, out_dtype=self.bias.dtype,
            use_fast_accum=True,
        )  # fmt: skip
        return out.unflatten(0, (batch, -1))


def rounded(x: Tensor) -> Rows:
    """``x (n, D)`` in FP8, and the rows' sizes ``(n, 1)``."""
    sizes = x.abs().amax(1, keepdim=True).float().clamp_min(1e-12) / FP8_MAX
    return (x.float() / sizes).to(FP8), sizes


@cache
def fp8_works(device: str) -> str | None:
    """Why products in FP8 cannot be used; None where they run and err no more than the rounding explains."""
    try:
        generator = torch.Generator(device).manual_seed(0)
        x, weight, bias = (
            torch.randn(s, generator=generator, device=device, dtype=torch.float32) for s in ((64, 128), (96, 128), (96,))
        )
        product = Fp8Product.of(Product(weight.bfloat16(), bias.bfloat16()))
        wanted = torch.nn.functional.linear(x, weight, bias)
        error = float((product(rounded(x), 1)[0].float() - wanted).norm() / wanted.norm())
    except Exception as failure:  # an older GPU, or none
        return " ".join(str(failure).split())[:160] or type(failure).__name__
    return None if error < 0.06 else f"products in FP8 are numerically wrong: relative error {error:.1e}"
