"""How much of a known thing is at a place? Its share, 1 = as it should look, 0 = gone, by projection.

A frame that shows share s of an object is ``background + s * alpha * (colour - background)``; s is found by least squares.
An object that went away leaves ground behind that the model has never seen and must invent. Where it invents a smooth
continuation of what is around, that is no trace of the object: such a fill is one of the explanations, and does not count.

A share is a likeness, not an area: blur, a few pixels of distance, or ground that was invented to look like the object all
move it (docs/evaluation.md has the figures, benchmarks/presence.py makes them).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.data.scenes import HOME_SIZE
from motionstream.eval.quality import MAX_PSNR_DB

FREE_ALPHA = 0.01
LEAST_FREE = 0.15
"""Of an object's contrast so much must lie outside the other place, or its share there is not known."""
FILL_PX = 6.0
MARGIN_PX, BESIDE_PX = 2, 12
"""What lies beside a moved thing: so far from both of its places, and no farther than that.

All three are meant for pictures of `scenes.HOME_SIZE` and grow with larger ones."""
LEAST_APART = 0.1
"""Sine squared of the angle between "the object" and "a smooth fill" from which on they can be told apart."""


def share_at(
    frame: Tensor,
    background: Tensor,
    colour: Tensor,
    alpha: Tensor,
    *,
    not_where: Tensor | None = None,
    hidden: bool = False,
) -> float | None:
    """Share of the object at its place in ``frame``, in [0, 1]; None where it cannot be told.

    Args:
        frame, background: ``(3, H, W)`` in [0, 1]; the background without the object.
        colour: ``(3, H, W)``, alpha: ``(1, H, W)``: the object as it should look there.
        not_where: alpha ``(1, H, W)`` of what else may be there; its pixels are left out.
        hidden: the background was never seen there, so a smooth fill must not count as the object.
    """
    free = torch.ones_like(alpha) if not_where is None else (not_where < FREE_ALPHA).to(alpha)
    object_whole = alpha * (colour - background)
    thing, seen = (object_whole * free).flatten(), ((frame - background) * free).flatten()
    if thing.square().sum() < LEAST_FREE * object_whole.square().sum().clamp_min(1e-6):
        return None
    if hidden:
        fill = (alpha * (smooth_fill(background, alpha) - background) * free).flatten()
        size = thing.norm()
        along = fill @ fill
        if along > 1e-8:
            thing, seen = thing - (thing @ fill) / along * fill, seen - (seen @ fill) / along * fill
        if thing.square().sum() < LEAST_APART * size.square():
            return None
    return float(((seen @ thing) / (thing @ thing)).clamp(0, 1))


def smooth_fill(picture: Tensor, hole: Tensor) -> Tensor:
    """``picture (3, H, W)`` with what is around continued into the ``hole``, an alpha ``(1, H, W)``."""
    known = (hole < FREE_ALPHA).to(picture)
    total, weight = _blurred(picture * known), _blurred(known)
    return torch.where(known > 0, picture, total / weight.clamp_min(1e-12))


def _blurred(planes: Tensor) -> Tensor:
    """Gaussian of FILL_PX, more in large pictures, over ``(C, H, W)``, zeros outside."""
    spread = FILL_PX * _unit(planes)
    reach = int(8 * spread)  # far: the middle of a large hole must still see something
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=planes.dtype) / spread) ** 2)
    wide = F.conv2d(planes[:, None], kernel.reshape(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(wide, kernel.reshape(1, 1, -1, 1), padding=(reach, 0))[:, 0]


def change_inside(frame: Tensor, picture: Tensor, alpha: Tensor) -> tuple[float, float]:
    """How far the object's own pixels are from what they were: mean difference in levels of 255, and PSNR inside its mask
    less that of the whole picture, in dB (below 0: it has suffered more than the rest)."""
    error = (frame - picture) ** 2
    inside = float((error * alpha).sum() / (3 * alpha.sum()))
    levels = float(((frame - picture).abs() * alpha).sum() / (3 * alpha.sum()))
    floor = 10 ** (-MAX_PSNR_DB / 10)
    return 255 * levels, 10 * math.log10(max(float(error.mean()), floor) / max(inside, floor))


def psnr_beside(frame: Tensor, truth: Tensor, *alphas: Tensor) -> float | None:
    """PSNR in dB of what lies around an object: from `MARGIN_PX` to `BESIDE_PX` pixels from everywhere it is.

    What a drag should leave alone, and what touches the thing suffers first. None where the object leaves no such pixel.

    Args:
        frame, truth: ``(3, H, W)`` in [0, 1]. alphas: the object at each of its places, ``(1, H, W)``.
    """
    thing = torch.stack(alphas).amax(0)
    near = _widened((thing > FREE_ALPHA).to(frame), round(MARGIN_PX * _unit(frame)))
    ring = _widened(near, round(BESIDE_PX * _unit(frame))) - near
    if not ring.any():
        return None
    error = float(((frame - truth) ** 2 * ring).sum() / (3 * ring.sum()))
    return -10 * math.log10(max(error, 10 ** (-MAX_PSNR_DB / 10)))


def _unit(picture: Tensor) -> float:
    """What was meant as one pixel, in pixels of this picture."""
    return max(1.0, picture.shape[-1] / HOME_SIZE[1])


def _widened(mask: Tensor, by: int) -> Tensor:
    """A mask ``(1, H, W)`` grown by so many pixels, in a square."""
    return F.max_pool2d(mask, 2 * by + 1, 1, by)
