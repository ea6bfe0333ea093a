"""Tracks -> what the DiT reads: rasterise their codes and run the track head (paper section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.models.dit import WanDiT
from motionstream.shapes import VideoGeometry
from motionstream.tracks.codes import track_codes
from motionstream.tracks.origin import rasterize_origins
from motionstream.tracks.raster import rasterize


def track_latents(
    model: WanDiT, geometry: VideoGeometry, xy: Tensor, visible: Tensor, ids: Tensor, *, first: bool = True
) -> Tensor | None:
    """Track latents ``(B, F, C_track, h, w)``, or None for a model without a track head.

    Args:
        xy: ``(B, T, N, 2)`` pixels. visible: ``(B, T, N)`` bool. ids: ``(B, N)`` int64.
        first: the frames start at the video's frame 0 (T = 4 k + 1); otherwise they continue it (T = 4 k).
    """
    if model.track_head is None:
        return None
    config = model.config.tracks
    grid = (geometry.latent_height, geometry.latent_width)
    if config.code == "origin":
        track_map = rasterize_origins(xy, visible, ids, grid=grid, stride=geometry.stride, config=config)
    else:
        codes = track_codes(ids, config).to(xy.device)
        track_map = rasterize(xy, visible, codes, grid=grid, stride=geometry.stride, config=config)
    return model.track_head(track_map.to(_dtype(model)), first=first)


def _dtype(model: WanDiT) -> torch.dtype:
    return next(model.parameters()).dtype
