"""Seams between latent cells, smoothed where the picture has changed.

A small transformer writes each cell on its own, and neighbours that both guess at ground that no one has seen, or at a thing
that moved, do not quite meet: what should be smooth becomes a mosaic. Here the step between two cells, as far as the slopes
on both sides do not explain it, is spread over half a cell each way. What is still as the first latent frame has it is left
alone, and so are steps that are an edge of the picture, or no larger than the texture beside them (docs/LOG.md, 2026-11-30).
"""

from __future__ import annotations

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
    B, T, _, H, W = video.shape
    h, w = latents.shape[-2:]
    low, high = CHANGED
    apart = (latents - first[:, None]).abs().amax(dim=2).float()
    changed = ((apart - low) / (high - low)).clamp(0, 1)
    changed = changed.repeat_interleave(t_stride, dim=1)[:, -T:].reshape(B * T, 1, h, w)
    flat = video.flatten(0, 1).float()
    flat = _across(flat, changed, W // w)
    flat = _across(flat.transpose(-1, -2), changed.transpose(-1, -2), H // h).transpose(-1, -2)
    return flat.clamp(0, 1).reshape(video.shape).to(video.dtype)


def _across(x: Tensor, changed: Tensor, side: int) -> Tensor:
    """Smooth the seams between columns of cells: x ``(n, 3, H, W)``, changed ``(n, 1, H / side, W / side)``."""
    tall = x.shape[-2] // changed.shape[-2]
    columns = x.unflatten(-1, (-1, side))  # (n, 3, H, cells, side)
    if columns.shape[-2] == 1:
        return x
    left, right = columns[..., :-1, :], columns[..., 1:, :]
    slope = (left[..., -1] - left[..., -2] + right[..., 1] - right[..., 0]) / 2
    step = F.avg_pool2d(right[..., 0] - left[..., -1] - slope, (tall, 1))  # (n, 3, h, cells - 1)
    half = side // 2
    beside = max(half, 2)
    near = torch.cat([left[..., -beside:].diff(dim=-1), right[..., :beside].diff(dim=-1)], dim=-1).abs().mean(dim=-1)
    texture = F.avg_pool2d(near.amax(dim=1, keepdim=True), (tall, 1))
    edge = step.abs().amax(dim=1, keepdim=True)
    keep = 1 - ((edge - EDGE[0]) / (EDGE[1] - EDGE[0])).clamp(0, 1)
    square = step.square()
    step = step * keep * square / (square + (TEXTURE * texture).square() + 1e-6)
    step = step * torch.maximum(changed[..., :-1], changed[..., 1:])
    step = F.interpolate(step, size=(x.shape[-2], step.shape[-1]), mode="bilinear", align_corners=False)
    ramp = 0.5 - (torch.arange(half, device=x.device) + 0.5) / (2 * half)  # from the seam outwards
    spread = step[..., None] * ramp
    after = F.pad(spread, (0, side - half, 1, 0))  # in the cell right of each seam
    before = F.pad(spread.flip(-1), (side - half, 0, 0, 1))  # and left of it
    return (columns + before - after).flatten(-2)
