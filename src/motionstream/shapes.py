"""The legend of every shape in this package, and the geometry that turns pixels into latents and tokens.

Letters (lower case = latent grid): ``B`` batch, ``T`` pixel frames, ``F`` latent frames, ``N`` tracks, ``C`` channels,
``H W`` pixels, ``h w`` latent cells, ``L`` tokens, ``D`` model width, ``A`` attention heads, ``E`` head width,
``K`` chunks, ``S`` cache slots.

Time is causal with stride ``t_stride`` (paper section 2, Wan's VAE): latent frame 0 covers one pixel frame, each later
one covers ``t_stride`` of them, so ``T = t_stride * (F - 1) + 1``.

>>> VideoGeometry(height=96, width=128).latent_frames(33)
9
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_SIDE_PX = 65_536


@dataclass(frozen=True, kw_only=True)
class VideoGeometry:
    """How a video of ``height x width`` pixels maps to latents and tokens.

    Args:
        height, width: pixels; multiples of ``stride * patch``.
        stride: pixels per latent cell, each way (Wan 2.1: 8, Wan 2.2: 16).
        t_stride: pixel frames per latent frame after the first (4).
        patch: latent cells per token, each way (Wan: 2, nano: 1).
        fps: frames per second at which motion is meant.

    Raises:
        ValueError: if a size is not positive, not a multiple of ``stride * patch``, or above 65,536.
    """

    height: int
    width: int
    stride: int = 8
    t_stride: int = 4
    patch: int = 1
    fps: float = 16.0

    def __post_init__(self) -> None:
        for name, value in (("stride", self.stride), ("t_stride", self.t_stride), ("patch", self.patch)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        cell = self.stride * self.patch
        for name, value in (("height", self.height), ("width", self.width)):
            if not 0 < value <= MAX_SIDE_PX or value % cell:
                raise ValueError(
                    f"{name}={value} must be a positive multiple of {cell} (stride x patch) pixels, at most {MAX_SIDE_PX}"
                )
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps={self.fps} must be a positive number")

    @property
    def latent_height(self) -> int:
        return self.height // self.stride

    @property
    def latent_width(self) -> int:
        return self.width // self.stride

    @property
    def tokens_per_frame(self) -> int:
        """Tokens per latent frame."""
        return (self.latent_height // self.patch) * (self.latent_width // self.patch)

    @property
    def reach_px(self) -> float:
        """Pixels in which a hand's reach is counted (stream/patch.py): a latent cell; where a picture is more than 16 cells
        wide a sixteenth of its width, so that a hand holds as much of it, but at most two cells."""
        return min(max(float(self.stride), self.width / 16), 2.0 * self.stride)

    def point_spacing(self, most: int) -> float:
        """Pixels between the points of a square grid that covers the canvas with about ``most`` points, and at least a
        latent cell: a large canvas has many more cells than a stream may hold points."""
        return max(float(self.stride), math.sqrt(self.width * self.height / most))

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of ``frames`` pixel frames; raises unless ``frames = t_stride * k + 1``."""
        if frames < 1 or (frames - 1) % self.t_stride:
            low = max(0, (frames - 1) // self.t_stride) * self.t_stride + 1
            raise ValueError(
                f"{frames} frames do not fit the latent grid; use {low} or {low + self.t_stride} ({self.t_stride} x k + 1)"
            )
        return (frames - 1) // self.t_stride + 1

    def pixel_frames(self, latent_frames: int) -> int:
        """Pixel frames that ``latent_frames`` decode to, counted from the start of the video."""
        if latent_frames < 1:
            raise ValueError(f"latent_frames={latent_frames} must be at least 1")
        return self.t_stride * (latent_frames - 1) + 1

    def frame_span(self, latent_start: int, latent_stop: int) -> tuple[int, int]:
        """Half-open range of pixel frames covered by latent frames ``[latent_start, latent_stop)``."""
        if not 0 <= latent_start < latent_stop:
            raise ValueError(f"latent range [{latent_start}, {latent_stop}) is empty or negative")
        start = 0 if latent_start == 0 else self.pixel_frames(latent_start)
        return start, self.pixel_frames(latent_stop)
