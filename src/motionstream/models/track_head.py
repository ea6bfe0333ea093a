"""The light track head: pack 4 pixel frames into channels, one 1x1x1 convolution (paper section 3.1)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from motionstream.config import TrackConfig


class TrackHead(nn.Module):
    """Track map at pixel time -> track latents at latent time.

    Latent frame 0 sees pixel frame 0 alone: the ``t_stride - 1`` frames before it are zero or repeat it
    (``config.first_pad``). Latent ``f`` sees the ``t_stride`` pixel frames it covers, so the head works chunk by chunk.
    """

    def __init__(self, config: TrackConfig, t_stride: int = 4) -> None:
        super().__init__()
        self.config, self.t_stride = config, t_stride
        self.conv = nn.Conv3d(t_stride * config.code_dim, config.channels, 1, bias=config.head_bias)

    def pack(self, track_map: Tensor, *, first: bool) -> Tensor:
        """``(B, T, D, h, w)`` -> ``(B, F, t_stride * D, h, w)``; ``first``: the map starts at the video's frame 0."""
        if first:
            head = track_map[:, :1]
            pad = head if self.config.first_pad == "repeat" else torch.zeros_like(head)
            track_map = torch.cat([pad.expand(-1, self.t_stride - 1, -1, -1, -1), track_map], dim=1)
        return rearrange(track_map, "b (f t) d h w -> b f (t d) h w", t=self.t_stride)

    def forward(self, track_map: Tensor, *, first: bool = True) -> Tensor:
        """Track map ``(B, T, code_dim, h, w)`` -> track latents ``(B, F, channels, h, w)``."""
        packed = self.pack(track_map, first=first)
        return self.conv(packed.transpose(1, 2)).transpose(1, 2)
