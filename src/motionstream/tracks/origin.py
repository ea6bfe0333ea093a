"""Codes that say where the picture of a cell comes from (``TrackConfig.code="origin"``; nano's, not the paper's).

The paper gives every track a random id, and attention has to find the same id in frame 0. Between cells four ids mix, and
what is fetched by a mixture cannot be taken apart again (docs/LOG.md, 2026-11-29). Here the id of a track is the place where
it begins, and a cell holds sinusoids of *its own* place less the mean movement of the tracks around it: the place in frame 0
that its centre shows, to a fraction of a cell, whatever the tracks' distance from the centre. Diffusion as Shader (arXiv
2501.03847) colours points by their first place to the same end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from motionstream.config import TrackConfig
from motionstream.tracks.codes import draw_ids
from motionstream.tracks.raster import cell_targets, splat_cells

UNITS_PER_PX = 16
"""Resolution of a place in an id."""
LATE_SHARE = 1e-3
"""How much a track that begins later counts in a cell beside those of frame 0: they know where its picture comes from."""
_BITS = 21
_MIDDLE, _MASK = 1 << (_BITS - 1), (1 << _BITS) - 1


def make_ids(xy: Tensor, visible: Tensor, config: TrackConfig, generator: torch.Generator) -> Tensor:
    """Ids ``(B, N)`` of whole clips' tracks xy ``(B, T, N, 2)``, visible ``(B, T, N)``: drawn, or by their beginnings."""
    if config.code != "origin":
        return draw_ids(len(xy), xy.shape[2], config, generator)
    first = (visible & torch.isfinite(xy).all(-1)).int().argmax(dim=1)  # (B, N); 0 where it never shows
    place = xy.gather(1, first[:, None, :, None].expand(-1, 1, -1, 2))[:, 0]
    return origin_ids(place, first > 0)


def origin_ids(place: Tensor, late: Tensor) -> Tensor:
    """Ids ``(...)`` int64 of tracks that begin at ``place (..., 2)`` pixels, ``late (...)`` if not in frame 0.

    Places are rounded to 1/16 pixel and may lie up to 65,536 pixels outside of the picture.
    """
    units = (torch.nan_to_num(place).double() * UNITS_PER_PX).round().long() + _MIDDLE
    x, y = units.clamp(0, _MASK).unbind(-1)
    return (late.long() << 2 * _BITS) | (y << _BITS) | x


def origins(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`origin_ids`: places ``(..., 2)`` float32 and bool ``(...)``."""
    units = torch.stack([ids & _MASK, (ids >> _BITS) & _MASK], dim=-1) - _MIDDLE
    return units.float() / UNITS_PER_PX, (ids >> 2 * _BITS) > 0


def rasterize_origins(
    xy: Tensor, visible: Tensor, ids: Tensor, *, grid: tuple[int, int], stride: int, config: TrackConfig
) -> Tensor:
    """Track map ``(B, T, code_dim, rows, columns)`` float32 of tracks with ids of :func:`origin_ids`.

    For x, then y, and each period: cosine and sine of the place in frame 0 that the cell's centre comes from. The next
    channel is 1 where that is told by tracks of frame 0; it is -1 where all begin later, and the place is that of
    their beginning. All fade with the weight of the tracks below one half, and are 0 where there is none. The last
    channel is 1 where what frame 0 shows has left, as far as tracks tell: from one cell away on.

    Args:
        xy: ``(B, T, N, 2)`` pixels (x, y). visible: ``(B, T, N)`` bool. ids: ``(B, N)``.
        grid: latent rows and columns. stride: pixels per cell.
    """
    B, T, N, _ = xy.shape
    rows, columns = grid
    cells, weights = splat_cells(xy, visible, grid=grid, stride=stride, splat=config.splat)  # (B, T, N, P) each
    P = cells.shape[-1]
    start, late = origins(ids)
    shown = visible & torch.isfinite(xy).all(-1)
    moved = torch.where(shown[..., None], xy - start[:, None], torch.zeros_like(xy))
    sign = (1 - 2 * late.to(xy.dtype))[:, None, :, None].expand(-1, T, -1, 1)
    share = torch.where(sign > 0, torch.ones_like(sign), LATE_SHARE)
    facts = torch.cat([moved * share, sign * share, share, torch.ones_like(sign)], dim=-1)  # (B, T, N, 5)
    weighted = (facts[..., None, :] * weights[..., None]).reshape(B * T, N * P, 5)
    total = xy.new_zeros(B * T, rows * columns, 5)
    total.scatter_add_(1, cells.reshape(B * T, N * P, 1).expand(-1, -1, 5), weighted)
    total = total.view(B, T, rows, columns, 5)
    mean = total[..., :3] / total[..., 3:4].clamp_min(1e-4 * LATE_SHARE)
    row, column = (torch.arange(count, device=xy.device, dtype=torch.float32) for count in grid)
    centre = torch.stack(torch.meshgrid(column, row, indexing="xy"), dim=-1) + 0.5  # in cells
    source = centre - mean[..., :2] / stride  # (B, T, rows, columns, 2), in cells
    # A tensor of the periods would have to come from the host, and a stream on a GPU would wait for it.
    angles = [source * (2 * math.pi / period) for period in config.origin_periods]
    code = torch.stack([part for angle in angles for part in (angle.cos(), angle.sin())], dim=-1).flatten(-2)
    code = torch.cat([code, mean[..., 2:]], dim=-1) * (2 * total[..., 4:]).clamp(max=1.0)

    # Where it is now says that it is not there any more; to find that out by attention takes two layers and long training.
    away = (moved.norm(dim=-1) / stride).clamp(max=1.0) * (sign[..., 0] > 0)
    cells, weights = splat_cells(start[:, None].expand_as(xy), shown, grid=grid, stride=stride, splat=config.splat)
    left = xy.new_zeros(B * T, rows * columns)
    left.scatter_add_(1, cells.reshape(B * T, N * P), (weights * away[..., None]).reshape(B * T, N * P))
    code = torch.cat([code, (2 * left).clamp(max=1.0).view(B, T, rows, columns, 1)], dim=-1)
    return code.movedim(-1, 2) * config.code_scale


def rasterize_origins_loop(
    xy: Tensor, visible: Tensor, ids: Tensor, *, grid: tuple[int, int], stride: int, config: TrackConfig
) -> Tensor:
    """Reference for :func:`rasterize_origins`: the definition, one point and one cell at a time. Slow; for tests."""
    B, T, N, _ = xy.shape
    rows, columns = grid
    out = torch.zeros(B, T, config.code_dim, rows, columns, dtype=torch.float32)
    start, late = origins(ids)
    for b in range(B):
        for t in range(T):
            tracks: dict[tuple[int, int], list[tuple[float, float, float, float]]] = {}
            left = torch.zeros(rows, columns, dtype=torch.float32)
            for n in range(N):
                x, y = (float(v) for v in xy[b, t, n])
                if not (bool(visible[b, t, n]) and math.isfinite(x) and math.isfinite(y)):
                    continue
                dx, dy = x - float(start[b, n, 0]), y - float(start[b, n, 1])
                if not late[b, n]:
                    for row, column, weight in cell_targets((x - dx) / stride, (y - dy) / stride, grid, config.splat):
                        left[row, column] += weight * min(math.hypot(dx, dy) / stride, 1.0)
                for row, column, weight in cell_targets(x / stride, y / stride, grid, config.splat):
                    tracks.setdefault((row, column), []).append((weight, dx, dy, -1.0 if late[b, n] else 1.0))
            for (row, column), here in tracks.items():
                weight = sum(w for w, *_ in here)
                counts = [w * (1.0 if sign > 0 else LATE_SHARE) for w, _, _, sign in here]
                whole = max(sum(counts), 1e-4 * LATE_SHARE)
                dx, dy, sign = (sum(c * one[i] for c, one in zip(counts, here, strict=True)) / whole for i in (1, 2, 3))
                source = ((column + 0.5) - dx / stride, (row + 0.5) - dy / stride)
                code = [
                    f(2 * math.pi * place / period)
                    for place in source
                    for period in config.origin_periods
                    for f in (math.cos, math.sin)
                ]
                out[b, t, :-1, row, column] = (
                    torch.tensor([*code, sign], dtype=torch.float32) * min(2 * weight, 1.0) * config.code_scale
                )
            out[b, t, -1] = (2 * left).clamp(max=1.0) * config.code_scale
    return out
