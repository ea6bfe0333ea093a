"""Optimisers and learning-rate schedules of the training stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn


class OptimizerSet:
    """Several optimisers stepped as one; learning rates follow ``scale`` (see :func:`lr_scale`)."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        for group in self.groups():
            group.setdefault("base_lr", group["lr"])

    def groups(self) -> Iterator[dict]:
        for optimizer in self.optimizers:
            yield from optimizer.param_groups

    def step(self, scale: float, clip: float) -> float:
        """Clip gradients to global norm ``clip``, step, clear; returns the norm before clipping."""
        params = [p for group in self.groups() for p in group["params"] if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(params, clip)) if params else 0.0
        for group in self.groups():
            group["lr"] = group["base_lr"] * scale
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict]) -> None:
        """Everything but the learning rates: a run may go on with others."""
        wanted = [group["base_lr"] for group in self.groups()]
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        for group, rate in zip(self.groups(), wanted, strict=True):
            group["base_lr"] = rate


def adamw(module: nn.Module, lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.99)) -> OptimizerSet:
    return OptimizerSet([torch.optim.AdamW(_trainable(module.parameters()), lr=lr, weight_decay=weight_decay, betas=betas)])


def muon_adamw(module: nn.Module, lr: float, weight_decay: float = 0.0) -> OptimizerSet:
    """Muon on the weight matrices of ``module.blocks``, AdamW on everything else (docs/LOG.md: faster than AdamW alone)."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (matrices if name.startswith("blocks.") and parameter.ndim == 2 else rest).append(parameter)
    return OptimizerSet(
        [
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, weight_decay=0.0, betas=(0.9, 0.99)),
        ]
    )


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]


def lr_scale(step: int, steps: int, warmup: int, decay_share: float) -> float:
    """Linear warm-up, flat, then linear decay to 2 % over the last ``decay_share`` of the steps."""
    up = min(1.0, (step + 1) / max(1, warmup))
    tail = max(1.0, steps * decay_share)
    down = min(1.0, max(0.02, (steps - step) / tail)) if decay_share > 0 else 1.0
    return up * down
