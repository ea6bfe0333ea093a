"""Small layers of the DiT, numerics as in Wan: norms in float32, cast back, then the affine part."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square norm over the full width (before heads are split)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        normed = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
        return normed.to(x.dtype) * self.weight


class LayerNorm(nn.LayerNorm):
    """Layer norm computed in float32 whatever the input is."""

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's affine part; ``x (B, F, P, D)``, ``shift`` and ``scale (B, F, 1, D)``."""
    return x * (1 + scale) + shift


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer norm of float32 ``x (B, F, P, D)``, then ``* scale + shift``: of ``(D,)`` in one pass, or ``(1, F, 1, D)``."""
    if shift.ndim == 1:
        return F.layer_norm(x, shift.shape, scale, shift, eps)
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale)


def timestep_embedding(timestep: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding ``(..., dim)`` of timesteps in [0, 1000]: cosines first, then sines, from float64."""
    half = dim // 2
    frequency = torch.exp(-math.log(max_period) * torch.arange(half, device=timestep.device, dtype=torch.float64) / half)
    angle = timestep[..., None].double() * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1).float()
