"""A loss on what people see: latents are decoded, and pictures compared.

Latents weigh a wrong brightness of a cell no more than a wrong texture in it, and know nothing of the step that two cells
make where they meet; pictures show both. With LPIPS a texture that is as rough as the truth's but lies a little beside it is
nearer than a smooth one, so a regression on the truth need not blur what it cannot know.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionstream.models.lpips import LPIPS, load_lpips
from motionstream.models.vae import NanoVAE


class PictureLoss(nn.Module):
    """L1 of pixels and of their differences, and LPIPS, between two clips of latents, of some of their frames.

    Args:
        vae: decodes both; its weights stay as they are.
        lpips: file of LPIPS weights (tools/build_lpips.py), or "" for none.
        frames: pixel frames of each clip that are compared, drawn anew in every step.
        pixel_weight, lpips_weight: of the two parts.

    Raises:
        ValueError: an LPIPS weight without a file, or a file that cannot be read.
    """

    def __init__(
        self, vae: NanoVAE, lpips: str, *, frames: int, pixel_weight: float, lpips_weight: float, device: torch.device
    ) -> None:
        super().__init__()
        if lpips_weight and not lpips:
            raise ValueError(f"lpips_weight={lpips_weight:g} needs lpips=FILE (made by tools/build_lpips.py)")
        self.frames, self.pixel_weight, self.lpips_weight = frames, pixel_weight, lpips_weight
        self.vae = vae.requires_grad_(False)
        self.lpips: LPIPS | None = None
        if lpips_weight:
            self.lpips = load_lpips(Path(lpips), device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, made: Tensor, truth: Tensor, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents ``(B, F, C, h, w)`` -> the loss and its parts; which frames are compared follows from ``seed``."""
        with torch.no_grad():
            wanted = self.vae.decode(truth)[0]
        shown = self.vae.decode(made)[0]
        B, T = shown.shape[:2]
        order = torch.rand(B, T - 1, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        picks = 1 + order[:, : self.frames].to(shown.device)  # of each clip other frames; the first is given
        clip = torch.arange(B, device=shown.device)[:, None]
        one, other = (video[clip, picks].flatten(0, 1).float() for video in (shown, wanted))
        pixels = (one - other).abs().mean() + sum(edges_apart(one, other, axis) for axis in (-1, -2))
        parts = {"pixels": pixels}
        total = self.pixel_weight * pixels
        if self.lpips is not None:
            parts["lpips"] = self.lpips(one, other).mean()
            total = total + self.lpips_weight * parts["lpips"]
        return total, parts


def edges_apart(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Mean absolute difference of the steps between neighbours along ``axis``."""
    return F.l1_loss(a.diff(dim=axis), b.diff(dim=axis))
