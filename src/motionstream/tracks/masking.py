"""What training hides of the tracks, so that a live user's habits are known (paper section 3.1 and appendix D).

All functions take `visible (B, T, N)` bool, return a new one that is never visible where the old one was not, and
draw from an explicit generator (whose device may differ from the tensors').

>>> visible = torch.ones(1, 24, 5, dtype=torch.bool)
>>> mask_mid_chunks(visible, 12, p=1.0, generator=torch.Generator().manual_seed(0))[0, :, 0].sum().item()
12
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def drop_tracks(visible: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Hide all tracks of a sample with probability `p` in [0, 1]: the unconditional case that guidance needs."""
    _check(visible, p)
    dropped = _uniform((len(visible), 1, 1), generator, visible.device) < p
    return visible & ~dropped


def mask_mid_chunks(
    visible: Tensor, chunk_pixel_frames: int | Sequence[int], p: float, generator: torch.Generator
) -> Tensor:
    """Stochastic mid-frame masking: hide *all* tracks during some chunks, each with probability `p` (paper: 0.2).

    An occluded point and a point that the user let go look alike in the track map.  Whole blank chunks teach the model
    that "no track" does not mean "gone".  The first chunk is never masked.

    Args:
        visible: (B, T, N) bool.
        chunk_pixel_frames: pixel frames in each chunk: one number, or the plan of lengths, whose sum is T (as the
            first chunk of a causal VAE is shorter: 9, 12, 12, ...).
        p: probability in [0, 1], drawn for each sample and chunk.
        generator: source of randomness.
    """
    _check(visible, p)
    B, T, _ = visible.shape
    if isinstance(chunk_pixel_frames, int):
        lengths = [chunk_pixel_frames] * -(-T // max(chunk_pixel_frames, 1))
    else:
        lengths = list(chunk_pixel_frames)
        if sum(lengths) != T:
            raise ValueError(f"the chunks {lengths} have {sum(lengths)} frames, but T is {T}")
    if min(lengths) < 1:
        raise ValueError(f"chunks must have at least 1 frame, got {chunk_pixel_frames}")
    chunk = [k for k, length in enumerate(lengths) for _ in range(length)][:T]  # the chunk of each frame
    masked = _uniform((B, len(lengths)), generator, visible.device) < p
    masked[:, 0] = False
    return visible & ~masked[:, chunk, None]


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32).to(device)


def _check(visible: Tensor, p: float) -> None:
    if visible.ndim != 3 or visible.dtype != torch.bool:
        raise ValueError(f"visible must be (B, T, N) bool, got {tuple(visible.shape)} {visible.dtype}")
    if not 0 <= p <= 1:
        raise ValueError(f"a probability must be from 0 to 1, got {p}")
