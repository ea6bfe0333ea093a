"""Where is the thing? Finds a known object in a generated frame by its likelihood against the known background."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def locate(frame: Tensor, background: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Displacement (x, y) in pixels at which the object explains ``frame`` best, relative to where it was drawn.

    For every whole-pixel displacement the squared error under "the object is here" is compared with that under "only
    background is here", over the object's mask; the largest gain wins. A blurred or missing object lands anywhere.

    Args:
        frame, background: ``(3, H, W)`` in [0, 1]; the background without the object.
        colour: ``(3, H, W)``, alpha: ``(1, H, W)``: the object as it should look, drawn at the commanded place.

    Raises:
        ValueError: an object without a visible pixel.
    """
    ys, xs = torch.nonzero(alpha[0] > 0.05, as_tuple=True)
    if len(ys) == 0:
        raise ValueError("the object has no visible pixel at the commanded place: it cannot be located")
    top, bottom, left, right = int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1
    mask, paint = alpha[:, top:bottom, left:right], colour[:, top:bottom, left:right]
    height, width = mask.shape[1:]
    pad = (width // 2, width // 2, height // 2, height // 2)
    inside = F.pad(torch.ones_like(frame[:1]), pad)
    seen, ground = F.pad(frame, pad) * inside, F.pad(background, pad)
    weight = mask[None]

    def over(picture: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(picture[None], kernel)[0, 0]

    as_ground = over(((seen - ground) ** 2).sum(0, keepdim=True) * inside, weight)
    as_object = (
        over((seen**2).sum(0, keepdim=True) * inside, weight)
        - 2 * over(seen * inside, (mask * paint)[None])
        + over(inside, (mask * paint**2).sum(0, keepdim=True)[None])
    )
    covered = over(inside, weight) / mask.sum()
    gain = (as_ground - as_object) / covered.clamp_min(1e-3)
    gain = torch.where(covered > 0.5, gain, torch.full_like(gain, -torch.inf))
    row, column = divmod(int(gain.argmax()), gain.shape[1])
    return torch.tensor([column - pad[0] - left, row - pad[2] - top], dtype=torch.float32)
