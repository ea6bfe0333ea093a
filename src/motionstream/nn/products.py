"""Matrix products with fixed weights: torch's own, or a call that takes more into the product.

On a CPU in bfloat16 that is the oneDNN call of torch's compiler: with bias and GELU in the product, at nano's shapes a third
less time than ``linear``, half of ``linear`` and ``gelu`` together. On CUDA it is cuBLAS with bias and GELU, which saves the
way of the widest tensor to memory and back. Neither is a public function of torch, so each is tested before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["plain", "onednn", "cublas"]


@dataclass(frozen=True)
class Product:
    """``x @ weight.T + bias``; ``weight (out, in)``, ``bias (out,)``.

    Args:
        form: "plain" is torch's own; "onednn" and "cublas" where :func:`onednn_joins` and :func:`cublas_joins` say so.
    """

    weight: Tensor
    bias: Tensor
    form: Form = "plain"

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, *, plain: bool = False) -> Product:
        """The fastest form for these tensors. Args: plain: of those that a compiler can work on."""
        form: Form = "plain"
        if weight.dtype == torch.bfloat16:
            if weight.device.type == "cpu" and not plain and onednn_joins():
                form = "onednn"
            elif weight.device.type == "cuda" and cublas_joins():
                form = "cublas"
        return cls(weight, bias, form)

    def __call__(self, x: Tensor) -> Tensor:
        """``(..., in)`` -> ``(..., out)``."""
        if self.form == "onednn":
            return _onednn(x, self.weight, self.bias, "none")
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """The product, then GELU in its tanh form."""
        if self.form == "onednn":
            return _onednn(x, self.weight, self.bias, "gelu")
        if self.form == "cublas":
            return linear_gelu(x, self.weight, self.bias)
        return F.gelu(F.linear(x, self.weight, self.bias), approximate="tanh")


def _onednn(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    call = torch.ops.mkldnn._linear_pointwise
    return call(x, weight, bias, activation, [], "tanh" if activation == "gelu" else "")


@torch.library.custom_op("motionstream::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU (tanh) of ``x @ weight.T + bias`` in one call of cuBLAS. A custom operator, which a compiler leaves as it is: it
    would take the two apart again."""
    rows = x.flatten(0, -2).contiguous()
    out = torch._addmm_activation(bias, rows, weight.t(), use_gelu=True)
    return out.unflatten(0, x.shape[:-1])


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


def _computes(device: str, form: Form) -> bool:
    """Whether a form's call is there and computes the right numbers."""
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(shape, generator=generator, dtype=torch.float32).bfloat16().to(device)
        for shape in ((2, 24, 32), (48, 32), (48,))
    )
    x, weight, bias = inputs
    wanted = F.linear(x.float(), weight.float(), bias.float())
    product = Product(weight, bias, form)
    pairs: tuple[tuple[Callable[[Tensor], Tensor], Tensor], ...] = (
        (product, wanted),
        (product.gelu, F.gelu(wanted, approximate="tanh")),
    )
    try:
        for call, right in pairs:
            got = call(x)
            if got.shape != right.shape or float((got.float() - right).norm() / right.norm()) > 0.01:
                return False
    except Exception:  # absent, or of another form in this version of torch
        return False
    return True


@cache
def onednn_joins() -> bool:
    """Whether oneDNN's call is there and computes the right numbers."""
    return _computes("cpu", "onednn")


@cache
def cublas_joins() -> bool:
    """Whether cuBLAS takes bias and GELU into a product here, with the right numbers."""
    return _computes("cuda", "cublas")
