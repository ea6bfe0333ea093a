"""The streaming form of :class:`WanDiT`: the same weights and the same numbers, in fewer and larger operations.

What differs from the reference, and is tested against it: query, key and value in one product; weights held in the compute
type in place of a cast in every call; modulation of the few noise levels computed once; qk-norm and rotation of queries and
keys together; the clean pass stops where the last layer's keys are written, because nobody reads what comes after.

    fused = FusedDiT(model, torch.bfloat16)
    out = fused(x, fused.times(0.9, frames=3), condition.text, cache=cache)

Where types agree no weight is held twice: the reference's query, key and value become views of the joined tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from motionstream.models.blocks import TextKeys, WanBlock
from motionstream.models.dit import Condition, WanDiT
from motionstream.nn.attention import Attention, attention
from motionstream.nn.compiled import Compiled
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.nn.layers import modulated_norm
from motionstream.nn.products import Product
from motionstream.nn.rope import turn_pairs


@dataclass(frozen=True)
class Times:
    """Modulation of one noise level: per block shift, 1 + scale and gate of both halves, float32.

    Each ``(D,)``, or ``(1, F, 1, D)`` where frames differ. ``early``: of a denoising step after which another one comes,
    which may be computed more coarsely, for the steps after it take most of its error away.
    """

    blocks: list[tuple[Tensor, ...]]
    head: tuple[Tensor, Tensor]
    early: bool = False


@dataclass(frozen=True)
class _Weights:
    """One block's tensors, products in the compute type and norms in float32."""

    qkv: Product
    norm_qk: Tensor  # (2, D)
    out: Product
    norm3: tuple[Tensor, Tensor]
    cross_q: Product
    cross_norm: Tensor
    cross_out: Product
    widen: Product
    narrow: Product


class FusedDiT:
    """See the module docstring. For streaming: no gradients, a :class:`SinkWindowCache`, known noise levels.

    Args:
        model: the reference; stays usable. dtype: of products, and of the cache that will be given.
        attend: how to attend to visible tokens (nn/attention_choice.py picks one).
        compiled: run the element-wise parts through ``torch.compile``.
    """

    def __init__(self, model: WanDiT, dtype: torch.dtype, *, attend: Attention = attention, compiled: bool = False) -> None:
        self.model, self.config, self.dtype, self.attend = model, model.config, dtype, attend
        self.compiled = compiled
        self.assemble = model.assemble
        embedding = model.patch_embedding
        assert embedding.bias is not None
        weight, bias = embedding.weight.detach().flatten(1).to(dtype), embedding.bias.detach().to(dtype)
        self._embed = Product.of(weight, bias, plain=compiled)
        blocks = [block for block in model.blocks if isinstance(block, WanBlock)]
        self.blocks = [_joined(block, dtype, compiled) for block in blocks]
        head_type = torch.float32 if model.config.time_precision == "float32" else dtype
        self._head = _product(model.head.head, head_type, compiled)
        self._times: dict[tuple[float, int, bool], Times] = {}
        self._before: Callable[..., Any] = Compiled(before_attention) if compiled else before_attention
        self._after: Callable[..., Any] = Compiled(after_attention) if compiled else after_attention

    @torch.inference_mode()
    def times(self, sigma: float, frames: int, *, first_clean: bool = False, early: bool = False) -> Times:
        """Modulation at noise level ``sigma``, remembered.

        Args:
            first_clean: latent frame 0 is at level 0 ("clean" models in the first chunk).
            early: another denoising step comes after this one.
        """
        key = (sigma, frames, first_clean)
        if key not in self._times:
            model, device = self.model, self._embed.weight.device
            level = torch.full((1, frames), sigma, device=device, dtype=torch.float32)
            if first_clean:
                level[:, 0] = 0
            with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
                time, time_blocks = model.embed_time(1000 * level)

            def kept(part: Tensor) -> Tensor:
                return part.contiguous() if first_clean else part[0, 0, 0].clone()

            blocks = []
            for block in model.blocks:
                assert isinstance(block, WanBlock)
                mod = block.modulation.float() + time_blocks.float()  # (1, F, 6, D)
                shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = mod[:, :, :, None].unbind(2)
                parts = (shift, 1 + scale, gate, shift_ffn, 1 + scale_ffn, gate_ffn)
                blocks.append(tuple(kept(part) for part in parts))
            shift, scale = (model.head.modulation.float() + time.float()[:, :, None])[:, :, :, None].unbind(2)
            self._times[key] = Times(blocks, (kept(shift), kept(1 + scale)))
        return replace(self._times[key], early=True) if early else self._times[key]

    def __call__(self, x: Tensor, times: Times, condition: Condition, cache: SinkWindowCache) -> Tensor:
        """``x (B, F, in_channels, h, w)`` -> ``(B, F, C, h, w)`` float32: what ``WanDiT.forward`` gives."""
        patch = self.config.patch
        with torch.autocast(x.device.type, enabled=False):
            tokens = self._tokens(x)
            for layer in range(len(self.blocks)):
                tokens = self._block(layer, tokens, times, condition, cache)
            out = self._head(self._last_norm(tokens, times)).float()
        h = x.shape[3] // patch
        return rearrange(out, "b f (h w) (p q c) -> b f c (h p) (w q)", h=h, p=patch, q=patch)

    def _last_norm(self, tokens: Any, times: Times) -> Tensor:
        """What the head reads, ``(B, F, P, D)``."""
        return modulated_norm(tokens, *times.head, self.config.eps).to(self._head.weight.dtype)

    def write_keys(self, x: Tensor, times: Times, condition: Condition, cache: SinkWindowCache) -> None:
        """Only what a pass leaves in the cache: every layer's keys and values of the current chunk, unrotated ones too."""
        with torch.autocast(x.device.type, enabled=False):
            tokens = self._tokens(x)
            for layer in range(len(self.blocks) - 1):
                tokens = self._block(layer, tokens, times, condition, cache, keep=True)
            self._put(len(self.blocks) - 1, tokens, times, cache, keep=True)

    cross_name = "sdpa"
    """Attention to text and picture."""
    cross_reason = "sdpa: others are of the Triton kernels"

    @property
    def rows(self) -> str:
        """How what lies between the products is run, as a take keeps it."""
        return "compiled" if self.compiled else "plain"

    @property
    def form(self) -> str:
        """How what lies between the products is run, for people."""
        parts = (self._before, self._after)
        if not self.compiled or all(isinstance(part, Compiled) and part.works for part in parts):
            return self.rows.replace("plain", "not compiled")
        return "not compiled, for torch.compile failed"

    def form_in(self, steps: int) -> str:
        """:attr:`form`, of a stream of so many denoising steps."""
        return self.form

    def _tokens(self, x: Tensor) -> Any:
        """Tokens ``(B, F, P, D)`` float32, or what a subclass hands from block to block in their place."""
        patch = self.config.patch
        if patch == 1:
            cells = x.flatten(3).transpose(2, 3)
        else:
            cells = rearrange(x, "b f c (h p) (w q) -> b f (h w) (c p q)", p=patch, q=patch)
        return self._embed(cells.to(self.dtype)).float()  # (B, F, P, D)

    def _put(
        self, layer: int, tokens: Any, times: Times, cache: SinkWindowCache, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights, (shift, scale) = self.blocks[layer], times.blocks[layer][:2]
        place = (cache.table.cos, cache.table.sin) if self.compiled else (cache.turn, None)
        q, raw, k, v = self._before(
            tokens, shift, scale, weights.qkv, weights.norm_qk, *place, self.config.num_heads, self.config.eps, keep
        )
        return q, *cache.put(layer, raw, k, v)

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
        q, keys, values = self._put(layer, tokens, times, cache, keep)
        attended = self.attend(q, keys, values)
        image = None if condition.image is None else condition.image[layer]
        return self._after(
            tokens, attended, weights, condition.text[layer], image, gate, shift, scale, gate_ffn, self.config.eps
        )


def before_attention(
    x: Tensor, shift: Tensor, scale: Tensor, joined: Product, norm_qk: Tensor,
    cos: Tensor, sin: Tensor | None, heads: int, eps: float, keep: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:  # fmt: skip
    """``x (B, F, P, D)`` float32 -> rotated queries, unrotated keys (None unless ``keep``), rotated keys, values.

    Args:
        cos, sin: ``(L, E / 2)``; with ``sin=None``, ``cos`` is the complex table ``(L, 1, E / 2)`` and numbers are turned in
            place, which is the fast way where nothing is compiled.
    """
    D = x.shape[-1]
    dtype = joined.weight.dtype
    qkv = joined(modulated_norm(x, shift, scale, eps).to(dtype).flatten(1, 2))
    both = qkv[..., : 2 * D].float().unflatten(-1, (2, D))  # (B, L, 2, D)
    both = both * torch.rsqrt(both.square().mean(-1, keepdim=True) + eps)
    both = both.mul_(norm_qk).unflatten(-1, (heads, -1))  # (B, L, 2, A, E)
    raw = both[:, :, 1].to(dtype, copy=True) if keep else None  # a copy: numbers are turned in place below
    turned = turn_pairs(both.flatten(2, 3), cos, sin).unflatten(2, (2, heads))  # (B, L, 2, A, E)
    q, k = turned.to(dtype).unbind(2)
    return q, raw, k, qkv[..., 2 * D :].unflatten(-1, (heads, -1))


def after_attention(
    x: Tensor, attended: Tensor, weights: _Weights, text: TextKeys, image: TextKeys | None,
    gate: Tensor, shift: Tensor, scale: Tensor, gate_ffn: Tensor, eps: float,
) -> Tensor:  # fmt: skip
    """The rest of a block: output product, cross-attention to text and picture rows, feed-forward."""
    _, frames, cells, D = x.shape
    dtype, heads = weights.out.weight.dtype, attended.shape[2]
    x = torch.addcmul(x, weights.out(attended.flatten(2)).float().unflatten(1, (frames, cells)), gate)
    y = layer_norm(x, (D,), *weights.norm3, eps).to(dtype).flatten(1, 2)
    q = weights.cross_q(y).float()
    q = (q * torch.rsqrt(q.square().mean(-1, keepdim=True) + eps) * weights.cross_norm).to(dtype)
    q = q.unflatten(-1, (heads, -1))
    seen = attention(q, text[0], text[1])
    if image is not None:
        seen = seen + attention(q, image[0], image[1])
    x = x + weights.cross_out(seen.flatten(2)).unflatten(1, (frames, cells))
    y = modulated_norm(x, shift, scale, eps).to(dtype)
    return torch.addcmul(x, weights.narrow(weights.widen.gelu(y)).float(), gate_ffn)


def _joined(block: WanBlock, dtype: torch.dtype, plain: bool) -> _Weights:
    own, cross = block.self_attn, block.cross_attn
    parts = (own.q, own.k, own.v)
    weight, bias = (torch.cat([getattr(part, name).detach() for part in parts]).to(dtype) for name in ("weight", "bias"))
    if own.q.weight.dtype == dtype:
        for part, w, b in zip(parts, weight.chunk(3), bias.chunk(3), strict=True):
            part.weight.data, part.bias.data = w, b
    first, second = block.ffn[0], block.ffn[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    return _Weights(
        qkv=Product.of(weight, bias, plain=plain),
        norm_qk=torch.stack([own.norm_q.weight.detach().float(), own.norm_k.weight.detach().float()]),
        out=_product(own.o, dtype, plain),
        norm3=(block.norm3.weight.detach().float(), block.norm3.bias.detach().float()),
        cross_q=_product(cross.q, dtype, plain),
        cross_norm=cross.norm_q.weight.detach().float(),
        cross_out=_product(cross.o, dtype, plain),
        widen=_product(first, dtype, plain),
        narrow=_product(second, dtype, plain),
    )


def _product(layer: Any, dtype: torch.dtype, plain: bool) -> Product:
    return Product.of(layer.weight.detach().to(dtype), layer.bias.detach().to(dtype), plain=plain)
