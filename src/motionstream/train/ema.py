"""Exponential moving average of weights (paper appendix D uses one; its decay is not stated)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA:
    """Running average of a module's parameters and buffers.

    Args:
        module: followed by :meth:`update`.
        decay: final decay; early on ``(1 + n) / (10 + n)`` is used instead, so that the average forgets the start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema decay {decay} must lie in [0, 1)")
        self.decay = decay
        self.updates = 0
        self.shadow = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value.detach(), 1 - decay)
            else:
                self.shadow[name].copy_(value)

    def copy_to(self, module: nn.Module) -> None:
        module.load_state_dict(self.shadow)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        shadow: dict[str, Tensor] = state["shadow"]  # type: ignore[assignment]
        for name, value in shadow.items():
            self.shadow[name].copy_(value)
