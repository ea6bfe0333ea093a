"""Tracks -> track map: id codes stamped into the latent grid at pixel time (paper section 3.1).

``track_map[b, t, :, row, column]`` holds the code of the track that is in that cell in pixel frame ``t``, else 0.
Collision rule (the paper leaves it open): the weighted codes of a cell are summed and divided by ``sqrt(sum w^2)`` where
that exceeds 1, so several tracks keep the norm of one and the order of tracks never matters.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from motionstream.config import TrackConfig


def rasterize(
    xy: Tensor, visible: Tensor, codes: Tensor, *, grid: tuple[int, int], stride: int, config: TrackConfig
) -> Tensor:
    """Fast rasteriser: one scatter for the whole batch.

    Args:
        xy: ``(B, T, N, 2)`` pixels (x, y), pixel centres at +0.5. visible: ``(B, T, N)`` bool.
        codes: ``(B, N, code_dim)``. grid: latent rows and columns. stride: pixels per cell.

    Returns:
        ``(B, T, code_dim, rows, columns)`` of the codes' dtype.
    """
    B, T, N, _ = xy.shape
    rows, columns = grid
    cells, weights = splat_cells(xy, visible, grid=grid, stride=stride, splat=config.splat)  # (B, T, N, P) each
    P = cells.shape[-1]
    flat_cells = cells.reshape(B * T, N * P)
    flat_weights = weights.reshape(B * T, N * P).to(codes.dtype)
    # Sum of w * code per cell as a sparse product would do it, without materialising (B, T, N, P, D) twice.
    weighted = codes[:, None, :, None] * weights[..., None].to(codes.dtype)
    out = codes.new_zeros(B * T, rows * columns, codes.shape[-1])
    out.scatter_add_(
        1, flat_cells[..., None].expand(-1, -1, codes.shape[-1]), weighted.reshape(B * T, N * P, codes.shape[-1])
    )
    power = codes.new_zeros(B * T, rows * columns).scatter_add_(1, flat_cells, flat_weights**2)
    out = out / power.sqrt().clamp_min(1.0)[..., None]
    return rearrange(out, "(b t) (h w) d -> b t d h w", b=B, h=rows)


def splat_cells(xy: Tensor, visible: Tensor, *, grid: tuple[int, int], stride: int, splat: str) -> tuple[Tensor, Tensor]:
    """Cells ``(B, T, N, P)`` int64 and weights that each point writes to; P is 1 (nearest) or 4 (bilinear)."""
    rows, columns = grid
    seen = visible & torch.isfinite(xy).all(-1)
    place = torch.where(seen[..., None], xy, torch.zeros_like(xy)) / stride
    inside = (place >= 0).all(-1) & (place[..., 0] < columns) & (place[..., 1] < rows)
    seen = (seen & inside).to(xy.dtype)
    if splat == "nearest":
        column = place[..., 0].floor().long().clamp(0, columns - 1)
        row = place[..., 1].floor().long().clamp(0, rows - 1)
        return (row * columns + column)[..., None], seen[..., None]
    centred = place - 0.5
    base = centred.floor()
    part = centred - base
    cells, weights = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            # A neighbour outside the grid folds onto the border cell: the point's weight is never lost.
            column = (base[..., 0].long() + dx).clamp(0, columns - 1)
            row = (base[..., 1].long() + dy).clamp(0, rows - 1)
            weight = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
            cells.append(row * columns + column)
            weights.append(weight * seen)
    return torch.stack(cells, -1), torch.stack(weights, -1)


def rasterize_loop(
    xy: Tensor, visible: Tensor, codes: Tensor, *, grid: tuple[int, int], stride: int, config: TrackConfig
) -> Tensor:
    """Reference for :func:`rasterize`: the definition, one point at a time. Slow; for tests."""
    B, T, N, _ = xy.shape
    rows, columns = grid
    out = torch.zeros(B, T, codes.shape[-1], rows, columns, dtype=codes.dtype, device=codes.device)
    power = torch.zeros(B, T, rows, columns, dtype=codes.dtype, device=codes.device)
    for b in range(B):
        for t in range(T):
            for n in range(N):
                if not bool(visible[b, t, n]):
                    continue
                x, y = (float(v) / stride for v in xy[b, t, n])
                for row, column, weight in cell_targets(x, y, grid, config.splat):
                    out[b, t, :, row, column] += weight * codes[b, n]
                    power[b, t, row, column] += weight**2
    return out / power.sqrt().clamp_min(1.0)[:, :, None]


def cell_targets(x: float, y: float, grid: tuple[int, int], splat: str) -> list[tuple[int, int, float]]:
    """Reference for :func:`splat_cells`: cells (row, column) and weights of a point at ``x, y`` cells; none outside."""
    rows, columns = grid
    if not (0 <= x < columns and 0 <= y < rows):
        return []
    if splat == "nearest":
        return [(int(y), int(x), 1.0)]
    x, y = x - 0.5, y - 0.5  # from centres
    x0, y0 = int(x // 1), int(y // 1)
    fx, fy = x - x0, y - y0
    targets = []
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            targets.append((min(max(y0 + dy, 0), rows - 1), min(max(x0 + dx, 0), columns - 1), wx * wy))
    return targets
