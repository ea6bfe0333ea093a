"""Textured videos whose motion is known exactly."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

Maker = Callable[..., np.ndarray]


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours, (height, width, 3) float32 in [0, 255]."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4, width // 4, 3)).astype(np.float32)
    blown_up = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (blown_up * 255).clip(0, 255)


@pytest.fixture
def moving() -> Maker:
    """Make ``num_frames`` frames (T, H, W, 3) uint8 of one texture under ``place(x, y, t) -> (x, y) in the texture``.

    Positions are pixels with centres at +0.5, worked out here without any of OpenCV's own conventions but `remap`'s.
    """

    def make(place, num_frames: int = 8, size: tuple[int, int] = (96, 128), seed: int = 0) -> np.ndarray:
        H, W = size
        margin = 64
        picture = texture(H + 2 * margin, W + 2 * margin, seed)
        x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
        frames = []
        for t in range(num_frames):
            u, v = place(x, y, t)
            # remap counts from pixel centres
            u, v = (values.astype(np.float32) + margin - 0.5 for values in (u, v))
            frames.append(cv2.remap(picture, u, v, cv2.INTER_CUBIC).clip(0, 255).round().astype(np.uint8))
        return np.stack(frames)

    return make
