"""What training hides of the tracks, so that a live user's habits are known (paper section 1.2 and 1.3 of its recipe).

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

from motionstream.tracks.tracks import Tracks


def sample_subset(tracks: Tracks, num_min: int, num_max: int, generator: torch.Generator) -> Tracks:
    """Keep a random number of random tracks; the paper keeps 1,000 to 2,500 of a 50x50 grid in each step.

    The number, uniform in num_min..min(num_max, N), is one for the batch; which tracks is drawn for each sample, and
    they come in random order.

    Raises:
        ValueError: the numbers are not 0 <= num_min <= num_max, or there are fewer than num_min tracks.
    """
    N = tracks.num_tracks
    if not 0 <= num_min <= num_max:
        raise ValueError(f"need 0 <= num_min <= num_max, got {num_min} and {num_max}")
    if num_min > N:
        raise ValueError(f"cannot keep {num_min} of {N} tracks; lower num_min")
    kept = int(torch.randint(num_min, min(num_max, N) + 1, (), generator=generator, device=generator.device))
    order = _uniform((tracks.batch, N), generator, tracks.xy.device).argsort(dim=1)  # (B, N)
    return tracks.select(order[:, :kept])


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


def random_births_and_gaps(
    visible: Tensor, p_late: float, p_gap: float, generator: torch.Generator, group: Tensor | None = None
) -> Tensor:
    """Let tracks begin late and pause, as when a thing is grabbed in mid-stream or let go for a while.

    Args:
        visible: (B, T, N) bool.
        p_late: probability that a track is hidden before a frame drawn from 1..T-1.
        p_gap: probability that a track is hidden for 1..T/2 frames from a frame drawn from 1..T-1.
        generator: source of randomness.
        group: (B, N) int in 0..N-1; tracks of a sample with the same number (one thing under one brush) share their
            draws.  None: each track alone.
    """
    _check(visible, p_late)
    _check(visible, p_gap)
    B, T, N = visible.shape
    if T == 1:
        return visible.clone()
    late, birth, paused, start, length = _uniform((5, B, N), generator, visible.device).unbind(0)
    birth_frame = torch.where(late < p_late, 1 + (birth * (T - 1)).long(), 0)  # (B, N)
    gap_start = 1 + (start * (T - 1)).long()
    gap_frames = torch.where(paused < p_gap, 1 + (length * (T // 2)).long(), 0)
    if group is not None:
        birth_frame, gap_start, gap_frames = (each.gather(1, group) for each in (birth_frame, gap_start, gap_frames))
    t = torch.arange(T, device=visible.device)[None, :, None]
    born = t >= birth_frame[:, None]  # (B, T, N)
    in_gap = (t >= gap_start[:, None]) & (t < (gap_start + gap_frames)[:, None])
    return visible & born & ~in_gap


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def _check(visible: Tensor, p: float) -> None:
    if visible.ndim != 3 or visible.dtype != torch.bool:
        raise ValueError(f"visible must be (B, T, N) bool, got {tuple(visible.shape)} {visible.dtype}")
    if not 0 <= p <= 1:
        raise ValueError(f"a probability must be from 0 to 1, got {p}")
