"""Three-axis rotary positions from explicit (frame, row, column) coordinates: no table, so nothing to run off.

Wan's layout: a head of width ``E`` is split into time, row and column parts (128 -> 44, 42, 42), each with its own
frequencies ``theta^(-2 i / width)``, adjacent pairs rotated together. In the causal student the frame coordinate is the
*cache slot*, not absolute time (paper section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RotaryTable:
    """cos and sin ``(L, E / 2)`` float32 of L tokens."""

    cos: Tensor
    sin: Tensor


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Widths of the time, row and column parts of a head; each even, time takes what is left over."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rotary_table(
    frames: Tensor,
    rows: int,
    columns: int,
    head_dim: int,
    theta: float = 10_000.0,
    device: torch.device | str | None = None,
) -> RotaryTable:
    """Angles of ``len(frames) * rows * columns`` tokens in (frame, row, column) order, column fastest.

    Args:
        frames: ``(F,)`` integer frame coordinates, any size (cache slots or absolute latent frames).
    """
    frames = frames.to(device=device, dtype=torch.float64)
    row = torch.arange(rows, device=frames.device, dtype=torch.float64)
    column = torch.arange(columns, device=frames.device, dtype=torch.float64)
    parts = []
    for coordinate, width in zip((frames, row, column), axis_widths(head_dim), strict=True):
        frequency = theta ** (-torch.arange(0, width, 2, device=frames.device, dtype=torch.float64) / max(width, 1))
        parts.append(coordinate[:, None] * frequency)
    F = len(frames)
    angle = torch.cat(
        [
            parts[0][:, None, None].expand(F, rows, columns, -1),
            parts[1][None, :, None].expand(F, rows, columns, -1),
            parts[2][None, None, :].expand(F, rows, columns, -1),
        ],
        dim=-1,
    ).reshape(F * rows * columns, head_dim // 2)
    return RotaryTable(angle.cos().float(), angle.sin().float())


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate ``x (B, L, A, E)`` by its positions; computed in float32, returned in ``x``'s dtype."""
    pairs = x.float().unflatten(-1, (-1, 2))
    even, odd = pairs.unbind(-1)
    cos, sin = table.cos[:, None], table.sin[:, None]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).to(x.dtype)


def turns_of(table: RotaryTable) -> Tensor:
    """The table as complex numbers ``(L, 1, E / 2)``, for :func:`turn_pairs`."""
    return torch.complex(table.cos, table.sin)[:, None]


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor | None) -> Tensor:
    """:func:`rotate` of float32 ``x (B, L, A, E)``, whose numbers may be overwritten.

    Args:
        cos, sin: ``(L, E / 2)``; with ``sin=None``, ``cos`` is the complex table of :func:`turns_of`: one product over ``x``
            in place of six passes, but no compiler fuses it.
    """
    if sin is None:
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(cos)
        return x
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
