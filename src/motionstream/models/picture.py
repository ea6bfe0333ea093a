"""The picture as latents: what a model that starts from one is given (Wan 2.1 image-to-video, Wan 2.2 TI2V, nano)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from motionstream.config import ModelConfig

GREY = 0.5
"""Zero in Wan's pixel range [-1, 1]: the frames that are not known yet."""


def reads_grey(config: ModelConfig) -> bool:
    """Whether a model reads the latents of a clip of grey frames behind the picture."""
    return config.first_frame == "concat" and config.after_picture == "grey"


def encode_picture(
    config: ModelConfig, encode: Callable[[Tensor], Tensor], picture: Tensor, t_stride: int, num_latents: int
) -> tuple[Tensor | None, Tensor | None]:
    """``Condition.first_latent`` and ``Condition.picture_latents`` of a picture.

    Wan 2.1 image-to-video reads the latents of a whole clip: the picture, then grey frames. Through a causal encoder
    these settle after some frames, so a stream encodes ``num_latents`` of them once and repeats the last.

    Args:
        encode: video ``(B, T, 3, H, W)`` in [0, 1] -> latents ``(B, F, C, h, w)``, causal in time.
        picture: ``(B, 3, H, W)`` in [0, 1].
        num_latents: latent frames to encode where the model reads grey frames (a clip's, to equal Wan exactly there).

    Returns:
        ``(B, 1, C, h, w)`` and ``(B, num_latents, C, h, w)``; None for what the model does not read.
    """
    if config.first_frame == "none":
        return None, None
    if not reads_grey(config):
        return encode(picture[:, None]), None
    if num_latents < 1:
        raise ValueError(f"num_latents={num_latents} must be at least 1")
    grey = torch.full_like(picture[:, None], GREY).expand(-1, t_stride * (num_latents - 1), -1, -1, -1)
    latents = encode(torch.cat([picture[:, None], grey], dim=1))
    return latents[:, :1], latents
