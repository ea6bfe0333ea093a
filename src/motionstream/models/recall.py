"""Recalling the picture: what the latents say has moved gets the picture's own pixels back.

nano's latents hold one number for every 32 of a block of four frames, so that what moves is decoded soft, and a small
transformer loses more. The picture has what is missing, and the tracks that the transformer is told say where: every one
began somewhere in frame 0. So each decoded frame is set beside two others, the picture as it is and the picture carried
along the tracks, and a small network says of every pixel which of the three to show, after it has moved what was carried by
the few pixels by which the decoded frame lies elsewhere. Each pixel is a blend of the three; nothing else is added. Where
the decoded frame shows something else than the picture does, it stays. Not the paper's: its tiny decoder (appendix A) sees
latents alone. Decoders that look at the frames of the user are known from interpolation and image-to-video work.

    recall = PictureRecall()
    ways, near = told_ways(xy, visible, ids, (144, 192))              # (B, T, 2, 36, 48), (B, T, 1, 36, 48)
    frames = recall(frames, picture, ways[0], near[0])                # (T, 3, 144, 192) each
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionstream.tracks.origin import origins

CELL = 4
"""Pixels per cell, each way, on which the network works."""
NEAREST_PX = 4.0
"""Tracks so much farther from a cell than the nearest one say little about it."""
FAR_PX = 48.0
"""Tracks farther away than this say nothing."""
NOWHERE = 1e5
"""Pixels, where tracks are put that say nothing."""

Told = tuple[Tensor, Tensor, Tensor]
"""What :func:`tell_picture` gives."""


class PictureRecall(nn.Module):
    """See the module docstring. Untrained it shows the decoded frames for the greater part."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        colours = 3 * CELL**2
        self.enter = _conv(3 * colours + 1, width)
        self.around = nn.ModuleList([_conv(width, width), _conv(width, width, dilation=2), _conv(width, width)])
        self.shift = _conv(width, 2 * 4)  # pixels, on cells of half the side
        self.compare = nn.Conv2d(width + 2 * colours, width, 1)
        self.smooth = _conv(width, width)
        self.shares = _conv(width, 3 * CELL**2)
        for layer in (self.shift, self.shares):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.shares.bias[: CELL**2] = 1.0  # type: ignore[index]

    def forward(self, frames: Tensor, picture: Tensor, ways: Tensor, near: Tensor) -> Tensor:
        """Frames as they are to be shown, ``(n, 3, H, W)`` in [0, 1].

        Args:
            frames: decoded, ``(n, 3, H, W)`` in [0, 1], sides multiples of 8. picture: frame 0 of each, or one for all.
            ways, near: of :func:`told_ways`, ``(n, 2, H / 4, W / 4)`` and ``(n, 1, H / 4, W / 4)``.
        """
        return self.parts(frames, picture, ways, near)[0]

    def parts(self, frames: Tensor, picture: Tensor, ways: Tensor, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`forward`; the ways after they were moved ``(n, 2, H / 2, W / 2)``; and the shares ``(n, 3, H, W)`` of the
        decoded frame, of what was carried and of the picture, which add up to 1."""
        size = (frames.shape[-2], frames.shape[-1])
        dtype = (
            torch.get_autocast_dtype(frames.device.type) if torch.is_autocast_enabled(frames.device.type) else frames.dtype
        )
        # Channels last all along, and differences before they are rounded: a third faster on a processor, and exact.
        decoded = _cells(frames)
        still = (_cells(picture) - decoded).to(dtype)
        carried = (_cells(carried_picture(picture, ways, size)) - decoded).to(dtype)
        x = torch.cat([decoded.to(dtype), carried, still, near.movedim(1, -1).to(dtype)], dim=-1).movedim(-1, 1)
        x = F.silu(self.enter(x))
        for layer in self.around:
            x = x + F.silu(layer(x))
        moved = _larger(ways, (size[0] // 2, size[1] // 2)) + 2 * _pixels(self.shift(x).float(), 2)
        shown = carried_picture(picture, moved, size)
        carried = (_cells(shown) - decoded).to(dtype)
        x = F.silu(self.compare(torch.cat([x.movedim(1, -1), carried, still], dim=-1).movedim(-1, 1)))
        x = x + F.silu(self.smooth(x))
        shares = _pixels(self.shares(x).float(), CELL).softmax(dim=1)
        out = frames + shares[:, 1:2] * (shown - frames) + shares[:, 2:] * (picture - frames)
        return out, moved, shares


def told_ways(xy: Tensor, visible: Tensor, ids: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where in the picture tracks say that each cell of 4 x 4 pixels comes from.

    Args:
        xy: ``(B, T, N, 2)`` pixels. visible: ``(B, T, N)``. ids: ``(B, N)`` of ``tracks.origin``; tracks that begin later
            than in frame 0 say nothing, for what they show is not in the picture.
        size: height and width, multiples of 4.

    Returns:
        Ways ``(B, T, 2, H / 4, W / 4)`` in pixels (x, y) from a cell to its place in the picture, those of the nearest
        tracks and 0 where there are none; and ``(B, T, 1, H / 4, W / 4)``: 1 at a track, 0 from `FAR_PX` on.
    """
    B, T, N = visible.shape
    rows, columns = size[0] // CELL, size[1] // CELL
    if N == 0:
        return xy.new_zeros(B, T, 2, rows, columns), xy.new_zeros(B, T, 1, rows, columns)
    start, late = origins(ids)
    told = (visible & ~late[:, None] & torch.isfinite(xy).all(-1))[..., None]
    column, row = (torch.arange(count, device=xy.device) + 0.5 for count in (columns, rows))
    middle = torch.stack(torch.meshgrid(column * CELL - size[1] / 2, row * CELL - size[0] / 2, indexing="xy"), dim=-1)
    place = torch.stack([xy[..., 0] - size[1] / 2, xy[..., 1] - size[0] / 2], dim=-1)
    place = torch.where(told, place, torch.full_like(place, NOWHERE)).flatten(0, 1)  # (B T, N, 2)
    # |a - b|^2 as one product, and the weights as attention's: there may be a thousand tracks, in every chunk.
    one = middle.reshape(1, -1, 2)
    one = torch.cat([one, one.square().sum(-1, keepdim=True), torch.ones_like(one[..., :1])], dim=-1)
    other = torch.cat([-2 * place, torch.ones_like(place[..., :1]), place.square().sum(-1, keepdim=True)], dim=-1)
    scale = -1 / (2 * NEAREST_PX**2)
    logits = one.expand(len(place), -1, -1) @ (other * scale).transpose(-1, -2)  # (B T, cells, N)
    least = (logits.amax(-1, keepdim=True) / scale).clamp_min(0).sqrt()
    near = (1 - least / FAR_PX).clamp_min(0)
    facts = torch.where(told, start[:, None] - xy, torch.zeros_like(xy)).flatten(0, 1)
    ways = (logits.softmax(-1) @ facts) * (near > 0)
    ways, near = (part.transpose(-1, -2).reshape(B, T, -1, rows, columns) for part in (ways, near))
    return ways, near


def tell_picture(picture: Tensor, xy: Tensor, visible: Tensor, ids: Tensor) -> Told:
    """``picture (1, 3, H, W)`` in [0, 1], with the ways and the nearness ``(T, ...)`` of one video's tracks (B = 1)."""
    ways, near = told_ways(xy, visible, ids, (picture.shape[-2], picture.shape[-1]))
    return picture, ways[0], near[0]


def carried_picture(picture: Tensor, ways: Tensor, size: tuple[int, int]) -> Tensor:
    """``(n, 3, H, W)``: at each pixel the picture, ``(n or 1, 3, H, W)``, at the end of its way; ways ``(n, 2, rows,
    columns)`` in pixels."""
    H, W = size
    ways = _larger(ways, (H, W))
    y, x = torch.arange(H, device=ways.device) + 0.5, torch.arange(W, device=ways.device) + 0.5
    place = torch.stack([(x + ways[:, 0]) * (2 / W) - 1, (y[:, None] + ways[:, 1]) * (2 / H) - 1], dim=-1)
    source = picture.expand(len(place), -1, -1, -1)
    return F.grid_sample(source, place.to(picture.dtype), padding_mode="border", align_corners=False)


def _cells(x: Tensor) -> Tensor:
    """``(n, 3, H, W)`` -> ``(n, H / 4, W / 4, 48)``, in the order of ``pixel_unshuffle``."""
    return x.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL)).permute(0, 2, 4, 1, 3, 5).flatten(3)


def _pixels(x: Tensor, side: int) -> Tensor:
    """``(n, c side^2, h, w)`` -> ``(n, c, h side, w side)``: ``pixel_shuffle``, faster where channels come last."""
    return x.movedim(1, -1).unflatten(-1, (-1, side, side)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _larger(ways: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(ways, size=size, mode="bilinear", align_corners=False)


def _conv(n_in: int, n_out: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)
