"""Noise levels: timestep shift, the teacher's grid, the student's few steps, and what training draws."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Timestep shift ``k s / (1 + (k - 1) s)``: k > 1 spends more steps at high noise (paper appendix D: k = 6)."""
    if not shift > 0:  # nor is NaN
        raise ValueError(f"shift={shift} must be positive")
    return shift * sigma / (1 + (shift - 1) * sigma)


def euler_sigmas(steps: int, shift: float, device: torch.device | str = "cpu") -> Tensor:
    """``(steps + 1,)`` levels from 1 down to 0 for the Euler sampler."""
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    return shift_sigma(torch.linspace(1, 0, steps + 1, device=device, dtype=torch.float32), shift)


LOWEST = 0.7
"""Last level of more steps than one, for a student whose own steps are one: its training began with this one (nano)."""


def few_step_sigmas(sigmas: tuple[float, ...], steps: int | None = None) -> tuple[float, ...]:
    """The student's levels, without the final 0; ``steps`` takes the first and evenly spread others.

    Raises:
        ValueError: if ``steps`` is not between 1 and 8.
    """
    if steps is None or steps == len(sigmas):
        return sigmas
    if not isinstance(steps, Integral) or not 1 <= steps <= 8:
        raise ValueError(f"steps={steps} must be between 1 and 8")
    if steps == 1:
        return sigmas[:1]
    low, high = sigmas[-1] if len(sigmas) > 1 else LOWEST * sigmas[0], sigmas[0]
    return tuple(high + (low - high) * i / (steps - 1) for i in range(steps))


def draw_sigma(shape: tuple[int, ...], generator: torch.Generator, mean: float = 1.2, std: float = 1.0) -> Tensor:
    """Logistic-normal noise levels: ``sigmoid(N(mean, std))``; a mean above 0 trains high noise, where motion is decided."""
    return torch.sigmoid(mean + std * torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32))
