"""The streaming form of the transformer with Triton kernels between its products (nn/row_kernels.py), for CUDA.

    if row_kernels_work("cuda", torch.bfloat16) is None:
        fused = KernelDiT(model, torch.bfloat16)

A block ends before its last sum: that is taken into the next norm, which reads the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motionstream.models.dit import Condition, WanDiT
from motionstream.models.fused import FusedDiT, Times
from motionstream.nn import row_kernels
from motionstream.nn.attention import Attention, attention
from motionstream.nn.cross_choice import CrossChoice, in_calls
from motionstream.nn.fp8 import FP8_PRODUCTS, Fp8Product, Rows
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.nn.products import Product

SDPA = CrossChoice("sdpa", in_calls(attention), "sdpa: no other was asked for")


@dataclass
class _Rows:
    """Tokens ``x (B, F, P, D)`` float32, to which ``gate * y`` has yet to be added, y ``(B, L, D)``."""

    x: Tensor
    y: Tensor | None = None
    gate: Tensor | None = None


class KernelDiT(FusedDiT):
    """See the module docstring; arguments and numbers as :class:`FusedDiT`'s. ``cross``: how to attend to text and picture
    rows."""

    def __init__(
        self, model: WanDiT, dtype: torch.dtype, *, attend: Attention = attention, cross: CrossChoice = SDPA
    ) -> None:
        super().__init__(model, dtype, attend=attend)
        self.cross_name, self.cross, self.cross_reason = cross.name, cross.kernel, cross.reason

    @property
    def rows(self) -> str:
        return "kernels"

    @property
    def form(self) -> str:
        return f"Triton kernels, text by {self.cross_name}"

    def _tokens(self, x: Tensor) -> Any:
        return _Rows(super()._tokens(x).contiguous())

    def _normed(self, rows: _Rows, shift: Tensor, scale: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The sum that is due, and its norm ``(B, L, D)``."""
        y, rows.y = rows.y, None
        return row_kernels.norm_rows(rows.x, shift, scale, self.config.eps, dtype or self.dtype, y, rows.gate)

    def _last_norm(self, tokens: Any, times: Times) -> Tensor:
        return self._normed(tokens, *times.head, self._head.weight.dtype).view_as(tokens.x)

    def _put(
        self, layer: int, tokens: Any, times: Times, cache: SinkWindowCache, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights, (shift, scale) = self.blocks[layer], times.blocks[layer][:2]
        qkv = self._project(layer, "qkv", tokens, shift, scale, times)
        keys, values, raw = cache.slots(layer)
        cos, sin = cache.table.cos, cache.table.sin
        q = row_kernels.write_qkv(qkv, weights.norm_qk, cos, sin, keys, values, raw if keep else None, self.config.eps)
        return q, *cache.visible(layer)

    def _block(
        self,
        layer: int,
        tokens: Any,
        times: Times,
        condition: Condition,
        cache: SinkWindowCache,
        keep: bool = False,
    ) -> Any:
        weights, (_, _, gate, shift, scale, gate_ffn) = self.blocks[layer], times.blocks[layer]
        attended = self.attend(*self._put(layer, tokens, times, cache, keep))
        rows = _Rows(tokens.x, weights.out(attended.flatten(2)), gate)
        norm, bias = weights.norm3
        q = self._project(layer, "cross_q", rows, bias, norm, times)
        q = row_kernels.rms_rows(q, weights.cross_norm, self.config.eps).unflatten(-1, (self.config.num_heads, -1))
        image = None if condition.image is None else condition.image[layer]
        seen = self.cross(q, condition.text[layer], condition.prompt_rows, image)
        rows = _Rows(tokens.x, weights.cross_out(seen.flatten(2)))
        return _Rows(tokens.x, self._feed_forward(layer, rows, shift, scale, times), gate_ffn)

    def _project(self, layer: int, name: str, rows: _Rows, shift: Tensor, scale: Tensor, times: Times) -> Tensor:
        """A product of the normed rows."""
        product: Product = getattr(self.blocks[layer], name)
        return product(self._normed(rows, shift, scale))

    def _feed_forward(self, layer: int, rows: _Rows, shift: Tensor, scale: Tensor, times: Times) -> Tensor:
        weights = self.blocks[layer]
        return weights.narrow(weights.widen.gelu(self._normed(rows, shift, scale)))


class Fp8DiT(KernelDiT):
    """:class:`KernelDiT` with the products of normed rows, and the feed-forward, in FP8: nine tenths of all products'.

    Of all passes, or of the denoising steps alone after which another one comes (``early``): the last step and the clean
    pass, which decide what is shown and what later chunks see, are then those of :class:`KernelDiT`, and latents err as its
    do. Weights are held in ``dtype`` too, for these and the reference. The products of attention's results stay in
    ``dtype``: to round their rows would take a pass more than it saves.
    """

    def __init__(
        self, model: WanDiT, dtype: torch.dtype, *, attend: Attention = attention, cross: CrossChoice = SDPA,
        early: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(model, dtype, attend=attend, cross=cross)
        self.early = early
        self.packed = [{name: Fp8Product.of(getattr(block, name)) for name in FP8_PRODUCTS} for block in self.blocks]

    @property
    def rows(self) -> str:
        return "fp8-early" if self.early else "fp8"

    @property
    def form(self) -> str:
        return f"{super().form}, products in FP8 in all {'steps but the last' if self.early else 'passes'}"

    def form_in(self, steps: int) -> str:
        if self.early and steps == 1:
            return f"{super().form}, products in bfloat16 (FP8 is for all steps but the last, and there is one)"
        return self.form

    def _in_fp8(self, times: Times) -> bool:
        return times.early or not self.early

    def _rounded(self, rows: _Rows, shift: Tensor, scale: Tensor) -> Rows:
        y, rows.y = rows.y, None
        return row_kernels.norm_rows_fp8(rows.x, shift, scale, self.config.eps, y, rows.gate)

    def _project(self, layer: int, name: str, rows: _Rows, shift: Tensor, scale: Tensor, times: Times) -> Tensor:
        if not self._in_fp8(times):
            return super()._project(layer, name, rows, shift, scale, times)
        return self.packed[layer][name](self._rounded(rows, shift, scale), len(rows.x))

    def _feed_forward(self, layer: int, rows: _Rows, shift: Tensor, scale: Tensor, times: Times) -> Tensor:
        if not self._in_fp8(times):
            return super()._feed_forward(layer, rows, shift, scale, times)
        widen, narrow, batch = self.packed[layer]["widen"], self.packed[layer]["narrow"], len(rows.x)
        return narrow(row_kernels.gelu_rows_fp8(widen(self._rounded(rows, shift, scale), batch)), batch)
