"""Recalling the picture: what the latents say has moved gets the picture's own pixels back.

nano's latents hold one number for every 32 of a block of four frames, so that what moves is decoded soft, and a small
transformer loses more. The picture has what is missing, and the tracks that the transformer is told say where: every one
began somewhere in frame 0. So each frame as the linear decoder has it is set beside two others, the picture as it is and the
picture carried along the tracks. A small network takes the place of the decoder's second half: from the features of the
first it corrects what was decoded, moves what was carried by the few pixels by which the frame lies elsewhere, and shares
out each pixel among the three. Where the latents show something else than the picture does, it stays. Not the paper's: its
tiny decoder (appendix A) sees latents alone. Decoders that look at the frames of the user are known from interpolation and
image-to-video work.

    recall = PictureRecall(vae.config.width_out)
    video, features, state = vae.decode_half(latents, state)
    ways, cues = told_ways(xy, visible, ids, (144, 192))              # (B, T, 2, 36, 48) each
    frames = recall(video[0], features[0], picture, ways[0], cues[0])  # (T, 3, 144, 192)
"""

from __future__ import annotations

from typing import NamedTuple

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
AWAY_PX = 2.0
"""Tracks that have gone farther have left the place where they began."""
NOWHERE = 1e5
"""Pixels, where tracks are put that say nothing."""
_SCALE = -1 / (2 * NEAREST_PX**2)

Told = tuple[Tensor, Tensor, Tensor]
"""What :func:`tell_picture` gives."""


class Recalled(NamedTuple):
    """What :meth:`PictureRecall.parts` gives, for n frames.

    Args:
        frames: ``(n, 3, H, W)``, to be shown. ways: after they were moved, ``(n, 2, H / 2, W / 2)``.
        shares: ``(n, 3, H, W)`` of the decoded frame, of what was carried and of the picture; they add up to 1.
    """

    frames: Tensor
    ways: Tensor
    shares: Tensor


class PictureRecall(nn.Module):
    """See the module docstring. ``features``: channels of the decoder's. Untrained it shows the decoded frames for the
    greater part."""

    def __init__(self, features: int = 64, width: int = 48) -> None:
        super().__init__()
        colours = 3 * CELL**2
        self.enter = _conv(3 * colours + 3, width)
        self.lift = nn.Conv2d(features, width, 1)
        self.around = nn.ModuleList([_conv(width, width), _conv(width, width, dilation=2), _conv(width, width)])
        self.shift = _conv(width, 2 * 4)  # pixels, on cells of half the side
        self.compare = nn.Conv2d(width + 2 * colours, width, 1)
        self.smooth = _conv(width, width)
        self.shares = _conv(width, 3 * CELL**2)
        self.correct = _conv(width, colours)
        for layer in (self.lift, self.shift, self.shares, self.correct):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.shares.bias[: CELL**2] = 1.0  # type: ignore[index]

    def forward(self, frames: Tensor, features: Tensor, picture: Tensor, ways: Tensor, cues: Tensor) -> Tensor:
        """Frames as they are to be shown, ``(n, 3, H, W)`` about [0, 1].

        Args:
            frames, features: of :meth:`NanoVAE.decode_half`, ``(n, 3, H, W)``, sides multiples of 8, and ``(n, features,
                H / 4, W / 4)``. picture: frame 0 of each, or one for all.
            ways, cues: of :func:`told_ways`, ``(n, 2, H / 4, W / 4)`` each.
        """
        return self.parts(frames, features, picture, ways, cues).frames

    def parts(self, frames: Tensor, features: Tensor, picture: Tensor, ways: Tensor, cues: Tensor) -> Recalled:
        """:meth:`forward` and what it was made of."""
        size = (frames.shape[-2], frames.shape[-1])
        dtype = (
            torch.get_autocast_dtype(frames.device.type) if torch.is_autocast_enabled(frames.device.type) else frames.dtype
        )
        # Channels last all along, and differences before they are rounded: a third faster on a processor, and exact.
        decoded = _cells(frames)
        still = (_cells(picture) - decoded).to(dtype)
        carried = (_cells(carried_picture(picture, ways, size)) - decoded).to(dtype)
        known = torch.cat([cues, _inside(ways, size)], dim=1).movedim(1, -1)
        x = torch.cat([decoded.to(dtype), carried, still, known.to(dtype)], dim=-1).movedim(-1, 1)
        x = F.silu(self.enter(x) + self.lift(features))
        for layer in self.around:
            x = x + F.silu(layer(x))
        moved = _larger(ways, (size[0] // 2, size[1] // 2)) + 2 * _pixels(self.shift(x).float(), 2)
        shown = carried_picture(picture, moved, size)
        carried = (_cells(shown) - decoded).to(dtype)
        x = F.silu(self.compare(torch.cat([x.movedim(1, -1), carried, still], dim=-1).movedim(-1, 1)))
        x = x + F.silu(self.smooth(x))
        shares = _pixels(self.shares(x).float(), CELL).softmax(dim=1)
        own = frames + _pixels(self.correct(x).float(), CELL)
        return Recalled(own * shares[:, :1] + shown * shares[:, 1:2] + picture * shares[:, 2:], moved, shares)


def told_ways(xy: Tensor, visible: Tensor, ids: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where in the picture tracks say that each cell of 4 x 4 pixels comes from.

    Args:
        xy: ``(B, T, N, 2)`` pixels. visible: ``(B, T, N)``. ids: ``(B, N)`` of ``tracks.origin``; tracks that begin later
            than in frame 0 say nothing, for what they show is not in the picture.
        size: height and width, multiples of 4.

    Returns:
        Ways ``(B, T, 2, H / 4, W / 4)`` in pixels (x, y) from a cell to its place in the picture, those of the nearest
        tracks and 0 where there are none; and cues ``(B, T, 2, H / 4, W / 4)``: 1 at a track, 0 from `FAR_PX` on, and the
        same of the places where tracks began that have left them.
    """
    B, T, N = visible.shape
    rows, columns = size[0] // CELL, size[1] // CELL
    if N == 0:
        return xy.new_zeros(B, T, 2, rows, columns), xy.new_zeros(B, T, 2, rows, columns)
    start, late = origins(ids)
    told = (visible & ~late[:, None] & torch.isfinite(xy).all(-1))[..., None]
    way = torch.where(told, start[:, None] - xy, torch.zeros_like(xy))
    with torch.autocast(xy.device.type, enabled=False):  # rounded to bfloat16 squares of distances are off by 60 px^2
        logits = _closeness(torch.where(told, xy, torch.full_like(xy, NOWHERE)).flatten(0, 1), size)
        near = _nearness(logits)
        ways = (logits.softmax(-1) @ way.flatten(0, 1)) * (near > 0)  # the weights of attention
        # Every frame has the same beginnings: their distances once, and in each frame those that have left.
        beginnings = _closeness(start, size)[:, None]
    left = beginnings.masked_fill(way.norm(dim=-1)[:, :, None] <= AWAY_PX, -float("inf"))
    cues = torch.cat([near, _nearness(left.flatten(0, 1))], dim=-1)
    ways, cues = (part.transpose(-1, -2).reshape(B, T, -1, rows, columns) for part in (ways, cues))
    return ways, cues


def tell_picture(picture: Tensor, xy: Tensor, visible: Tensor, ids: Tensor) -> Told:
    """``picture (1, 3, H, W)`` in [0, 1], with the ways and the cues ``(T, ...)`` of one video's tracks (B = 1)."""
    ways, cues = told_ways(xy, visible, ids, (picture.shape[-2], picture.shape[-1]))
    return picture, ways[0], cues[0]


def carried_picture(picture: Tensor, ways: Tensor, size: tuple[int, int]) -> Tensor:
    """``(n, 3, H, W)``: at each pixel the picture, ``(n or 1, 3, H, W)``, at the end of its way, mirrored beyond its edges;
    ways ``(n, 2, rows, columns)`` in pixels."""
    H, W = size
    ways = _larger(ways, (H, W))
    y, x = (torch.arange(count, device=ways.device, dtype=torch.float32) + 0.5 for count in size)
    place = torch.stack([(x + ways[:, 0]) * (2 / W) - 1, (y[:, None] + ways[:, 1]) * (2 / H) - 1], dim=-1)
    source = picture.expand(len(place), -1, -1, -1)
    return F.grid_sample(source, place.to(picture.dtype), padding_mode="reflection", align_corners=False)


def _closeness(place: Tensor, size: tuple[int, int]) -> Tensor:
    """Minus the squared distance of cells from places ``(n, N, 2)``, in widths of a Gaussian: ``(n, cells, N)``."""
    device = place.device
    column, row = (torch.arange(count // CELL, device=device, dtype=torch.float32) + 0.5 for count in (size[1], size[0]))
    middle = torch.stack(torch.meshgrid(column * CELL - size[1] / 2, row * CELL - size[0] / 2, indexing="xy"), dim=-1)
    # By components: a tensor made of numbers is a copy from the host, for which a GPU's stream has to be waited for.
    place = torch.stack([place[..., 0] - size[1] / 2, place[..., 1] - size[0] / 2], dim=-1)
    # |a - b|^2 as one product: there may be a thousand tracks, in every chunk.
    one = middle.reshape(1, -1, 2)
    one = torch.cat([one, one.square().sum(-1, keepdim=True), torch.ones_like(one[..., :1])], dim=-1)
    other = torch.cat([-2 * place, torch.ones_like(place[..., :1]), place.square().sum(-1, keepdim=True)], dim=-1)
    return one.expand(len(place), -1, -1) @ (other * _SCALE).transpose(-1, -2)


def _nearness(logits: Tensor) -> Tensor:
    """``(n, cells, N)`` of :func:`_closeness` -> ``(n, cells, 1)``: 1 at the nearest of the places, 0 from `FAR_PX` on."""
    least = (logits.amax(-1, keepdim=True) / _SCALE).clamp_min(0).sqrt()
    return (1 - least / FAR_PX).clamp_min(0)


def _inside(ways: Tensor, size: tuple[int, int]) -> Tensor:
    """``(n, 1, rows, columns)``: 1 where a way ends in the picture, falling to 0 a cell outside of it."""
    (rows, columns), (H, W) = ways.shape[-2:], size
    x = (torch.arange(columns, device=ways.device, dtype=torch.float32) + 0.5) * (W / columns) + ways[:, 0]
    y = ((torch.arange(rows, device=ways.device, dtype=torch.float32) + 0.5) * (H / rows))[:, None] + ways[:, 1]
    inwards = torch.minimum(torch.minimum(x, W - x), torch.minimum(y, H - y))
    return (1 + inwards / CELL).clamp(0, 1)[:, None]


def _cells(x: Tensor) -> Tensor:
    """``(n, 3, H, W)`` -> ``(n, H / 4, W / 4, 48)``, in the order of ``pixel_unshuffle``."""
    return x.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL)).permute(0, 2, 4, 1, 3, 5).flatten(3)


def _pixels(x: Tensor, side: int) -> Tensor:
    """``(n, c side^2, h, w)`` -> ``(n, c, h side, w side)``: ``pixel_shuffle``, faster where channels come last."""
    return x.movedim(1, -1).unflatten(-1, (-1, side, side)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _larger(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _conv(n_in: int, n_out: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)
