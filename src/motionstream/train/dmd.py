"""Distribution matching distillation, pure functions (paper section 3.2; DMD and Self Forcing)."""

from __future__ import annotations

import torch
from torch import Tensor


def dmd_gradient(x0: Tensor, real_x0: Tensor, fake_x0: Tensor) -> Tensor:
    """Direction that moves generated ``x0`` from the fake towards the real distribution.

    ``(fake_x0 - real_x0) / mean |x0 - real_x0|``, the mean per sample; entries that are not finite become 0.

    Args:
        x0: generated clean latents ``(B, F, C, h, w)``.
        real_x0, fake_x0: clean estimates of teacher (guided) and critic for the same noisy version of ``x0``.
    """
    scale = (x0 - real_x0).abs().flatten(1).mean(1).clamp_min(1e-8)
    gradient = (fake_x0 - real_x0) / scale.reshape(-1, *[1] * (x0.ndim - 1))
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def dmd_loss(x0: Tensor, gradient: Tensor) -> Tensor:
    """Scalar whose derivative by ``x0`` is ``gradient / x0.numel()``."""
    target = (x0 - gradient).detach()
    return 0.5 * torch.nn.functional.mse_loss(x0.double(), target.double()).float()
