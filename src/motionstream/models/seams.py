"""Seams between latent cells, smoothed where the picture has changed.

A small transformer writes each cell on its own, and neighbours that both guess at ground that no one has seen, or at a thing
that moved, do not quite meet: what should be smooth becomes a mosaic. Here the step between two cells, as far as the slopes
on both sides do not explain it, is spread over half a cell each way. What is still as the first latent frame has it is left
alone, and so are steps that are an edge of the picture, or no larger than the texture beside them (docs/LOG.md, 2026-11-30).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = (0.1, 0.25)
"""Steps of brightness, mean along the side of a cell, that begin to be, and are, an edge of the picture; of [0, 1]."""
TEXTURE = 0.5
"""A step is smoothed by half where it is so many times the mean difference of neighbours beside it."""
CHANGED = (0.2, 0.5)
"""Differences of a latent from the first frame's, largest channel, from which on a cell begins to count, and counts."""


def smooth_seams(video: Tensor, latents: Tensor, first: Tensor, t_stride: int) -> Tensor:
    """``video`` with its seams smoothed.

    Args:
        video: ``(B, T, 3, H, W)`` in [0, 1], ``t_stride`` frames for each latent one; at a video's start the first
            ``t_stride - 1`` are missing.
        latents: ``(B, F, C, h, w)`` that it was decoded from. first: ``(B, C, h, w)``, the latent frame of the picture.
    """
    B, T = video.shape[:2]
    h, w = latents.shape[-2:]
    low, high = CHANGED
    apart = (latents - first[:, None]).abs().amax(dim=2).float()
    changed = ((apart - low) / (high - low)).clamp(0, 1)
    changed = changed.repeat_interleave(t_stride, dim=1)[:, -T:].reshape(B * T, 1, h, w)
    flat = video.flatten(0, 1).to(torch.float32, copy=True)
    _smooth(flat, changed, axis=-1)
    _smooth(flat, changed, axis=-2)
    return flat.clamp_(0, 1).reshape(video.shape).to(video.dtype)


def _smooth(x: Tensor, changed: Tensor, axis: int) -> None:
    """Smooth the seams between columns of cells (``axis`` -1) or rows (-2), in place.

    Args:
        x: ``(n, 3, H, W)`` float32. changed: ``(n, 1, h, w)``.
    """
    cells = changed.shape[axis]
    if cells == 1:
        return
    along = -3 - axis
    inner = x.unflatten(axis, (cells, -1))
    # Views: the first of every cell, the second, ... (unbind's may not be written to where gradients are kept.)
    pixels = [inner.select(axis, place) for place in range(inner.shape[axis])]
    left = [pixel.narrow(axis, 0, cells - 1) for pixel in reversed(pixels)]  # of each seam, from it outwards
    right = [pixel.narrow(axis, 1, cells - 1) for pixel in pixels]
    kernel = [1, 1]
    kernel[along] = x.shape[along] // changed.shape[along]
    half = len(pixels) // 2
    beside = max(half, 2)
    slope = (left[0] - left[1] + right[1] - right[0]) / 2
    step = F.avg_pool2d(right[0] - left[0] - slope, kernel)  # (n, 3, h, w - 1) or (n, 3, h - 1, w)
    near = [(one - two).abs() for line in (left, right) for one, two in pairwise(line[:beside])]
    texture = F.avg_pool2d((sum(near) / len(near)).amax(dim=1, keepdim=True), kernel)
    edge = step.abs().amax(dim=1, keepdim=True)
    keep = 1 - ((edge - EDGE[0]) / (EDGE[1] - EDGE[0])).clamp(0, 1)
    square = step.square()
    step = step * keep * square / (square + (TEXTURE * texture).square() + 1e-6)
    step = step * torch.maximum(changed.narrow(axis, 0, cells - 1), changed.narrow(axis, 1, cells - 1))
    step = F.interpolate(step, size=left[0].shape[-2:], mode="bilinear", align_corners=False)
    for place in range(half):
        share = 0.5 - (place + 0.5) / (2 * half)
        left[place].add_(step, alpha=share)
        right[place].sub_(step, alpha=share)
