"""The DiT block, in Wan's order and numerics: self-attention, cross-attention, feed-forward, adaLN modulation.

The residual stream, the norms and the modulation stay float32 under autocast, as in Wan; only products take the compute
type. What else stays float32 is ``ModelConfig.time_precision``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionstream.config import ModelConfig
from motionstream.nn.attention import attention
from motionstream.nn.kv_cache import ChunkCache
from motionstream.nn.layers import LayerNorm, RMSNorm, modulate
from motionstream.nn.rope import RotaryTable, rotate

TextKeys = tuple[Tensor, Tensor]


class SelfAttention(nn.Module):
    """Self-attention with qk-norm over the full width and rotary positions; cached when given a cache."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)

    def forward(self, x: Tensor, table: RotaryTable, mask: Tensor | None, cache: ChunkCache | None, layer: int) -> Tensor:
        """x ``(B, L, D)``. With a cache, its slot table is used and keys of past chunks join the attention."""
        q = self.norm_q(self.q(x)).unflatten(-1, (self.num_heads, -1))  # (B, L, A, E)
        k = self.norm_k(self.k(x)).unflatten(-1, (self.num_heads, -1))
        v = self.v(x).unflatten(-1, (self.num_heads, -1))
        q, k, v = q.to(v.dtype), k.to(v.dtype), v
        if cache is None:
            out = attention(rotate(q, table), rotate(k, table), v, mask)
        else:
            keys, values = cache.extend(layer, k, v)
            out = attention(rotate(q, cache.table), keys, values)
        return self.o(out.flatten(2))


class CrossAttention(nn.Module):
    """Attention from video tokens to text rows. Wan attends to all rows, padding included; so does this.

    Models with ``image_dim`` attend to image rows as well, with keys and values of their own; both results are added.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, config.eps), RMSNorm(dim, config.eps)
        if config.image_dim:
            self.k_img, self.v_img = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_k_img = RMSNorm(dim, config.eps)

    def keys_of(self, text: Tensor) -> TextKeys:
        """Keys and values ``(B, rows, A, E)`` of embedded text ``(B, rows, D)``: once a prompt, not once a step."""
        k = self.norm_k(self.k(text)).unflatten(-1, (self.num_heads, -1))
        return k, self.v(text).unflatten(-1, (self.num_heads, -1))

    def image_keys_of(self, image: Tensor) -> TextKeys:
        """Keys and values ``(B, rows, A, E)`` of embedded image rows ``(B, rows, D)``: once a picture."""
        k = self.norm_k_img(self.k_img(image)).unflatten(-1, (self.num_heads, -1))
        return k, self.v_img(image).unflatten(-1, (self.num_heads, -1))

    def forward(self, x: Tensor, text: TextKeys, image: TextKeys | None = None) -> Tensor:
        k, v = text
        q = self.norm_q(self.q(x)).unflatten(-1, (self.num_heads, -1)).to(v.dtype)
        out = attention(q, k.to(v.dtype), v).flatten(2)
        if image is not None:
            k, v = image
            out = out + attention(q, k.to(q.dtype), v.to(q.dtype)).flatten(2)
        return self.o(out)


class WanBlock(nn.Module):
    """``x += gate * self_attn(mod(norm1 x)); x += cross_attn(norm3 x); x += gate * ffn(mod(norm2 x))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norm1 = LayerNorm(dim, eps=config.eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config)
        self.norm3 = LayerNorm(dim, eps=config.eps)
        self.cross_attn = CrossAttention(config)
        self.norm2 = LayerNorm(dim, eps=config.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(nn.Linear(dim, config.ffn_dim), nn.GELU("tanh"), nn.Linear(config.ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        text: TextKeys,
        table: RotaryTable,
        mask: Tensor | None,
        cache: ChunkCache | None,
        layer: int,
        image: TextKeys | None = None,
    ) -> Tensor:
        """x ``(B, F, P, D)`` with P tokens per latent frame; time ``(B, F, 6, D)``; text and image keys of this layer."""
        B, F_, P, _ = x.shape
        mod = (self.modulation.float() + time.float())[:, :, :, None]  # (B, F, 6, 1, D)
        shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = mod.unbind(2)
        y = modulate(self.norm1(x), shift, scale).to(x.dtype)
        y = self.self_attn(y.flatten(1, 2), table, mask, cache, layer)
        x = x + y.unflatten(1, (F_, P)) * gate
        x = x + self.cross_attn(self.norm3(x).flatten(1, 2), text, image).unflatten(1, (F_, P))
        y = modulate(self.norm2(x), shift_ffn, scale_ffn).to(x.dtype)
        return x + self.ffn(y) * gate_ffn


class Head(nn.Module):
    """Modulated norm and projection to patches; modulated by the *unprojected* time embedding, as in Wan."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = LayerNorm(config.dim, eps=config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, config.patch**2 * config.latent_channels)
        self.float32 = config.time_precision == "float32"
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x ``(B, F, P, D)``, time ``(B, F, D)`` -> ``(B, F, P, patch**2 * C)``."""
        shift, scale = (self.modulation.float() + time.float()[:, :, None])[:, :, :, None].unbind(2)
        y = modulate(self.norm(x), shift, scale).to(x.dtype)
        return linear_float32(self.head, y) if self.float32 else self.head(y)


class ImageEmbedding(nn.Module):
    """Rows of an image encoder -> rows of width ``dim`` for the cross-attention (Wan 2.1 image-to-video)."""

    def __init__(self, image_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            LayerNorm(image_dim), nn.Linear(image_dim, image_dim), nn.GELU(), nn.Linear(image_dim, dim), LayerNorm(dim)
        )

    def forward(self, rows: Tensor) -> Tensor:
        """``(B, rows, image_dim)`` -> ``(B, rows, dim)``."""
        return self.proj(rows)


def linear_float32(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer(x)`` in float32 whatever autocast or the weights' type say."""
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x.float(), layer.weight.float(), None if layer.bias is None else layer.bias.float())


def gelu_mlp(dim_in: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, dim), nn.GELU("tanh"), nn.Linear(dim, dim))


def silu_mlp(dim_in: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, dim), nn.SiLU(), nn.Linear(dim, dim))
