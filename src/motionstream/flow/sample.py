"""Samplers over a callable: the teacher's Euler integrator. They import no model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

VelocityFn = Callable[[Tensor, Tensor], Tensor]


def sample_euler(velocity_fn: VelocityFn, noise: Tensor, sigmas: Tensor, keep: list[int] | None = None) -> Tensor:
    """Integrate from pure noise to clean latents.

    Args:
        velocity_fn: ``(noisy (B, F, C, h, w), sigma (B, F)) -> velocity``.
        noise: ``(B, F, C, h, w)``. sigmas: ``(steps + 1,)`` descending, ends in 0.
        keep: step indices whose states are returned instead, stacked at dim 1 (ODE pairs); index ``steps`` is the end.
    """
    state, kept = noise, []
    B, F = noise.shape[:2]
    wanted = set(keep or [])
    for index in range(len(sigmas) - 1):
        if index in wanted:
            kept.append(state)
        velocity = velocity_fn(state, sigmas[index].expand(B, F))
        state = state + (sigmas[index + 1] - sigmas[index]) * velocity
    if keep is None:
        return state
    if len(sigmas) - 1 in wanted:
        kept.append(state)
    return torch.stack(kept, dim=1)
