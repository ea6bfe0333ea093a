"""The straight path between data and noise (rectified flow, paper equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor


def _like(sigma: Tensor, latents: Tensor) -> Tensor:
    """sigma ``(B, F)`` broadcast over ``(B, F, C, h, w)``."""
    return sigma.reshape(*sigma.shape, *[1] * (latents.ndim - sigma.ndim)).to(latents.dtype)


def add_noise(latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """``(1 - sigma) latents + sigma noise``; sigma ``(B, F)`` in [0, 1]."""
    s = _like(sigma, latents)
    return (1 - s) * latents + s * noise


def velocity_target(latents: Tensor, noise: Tensor) -> Tensor:
    """``noise - latents``."""
    return noise - latents


def x0_from_velocity(noisy: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """``noisy - sigma velocity``."""
    return noisy - _like(sigma, noisy) * velocity


def velocity_from_x0(noisy: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """``(noisy - x0) / sigma``; at sigma 0, where any velocity gives the same x0, it is 0."""
    s = _like(sigma, noisy)
    return torch.where(s > 0, (noisy - x0) / s.clamp_min(1e-6), torch.zeros_like(noisy))
