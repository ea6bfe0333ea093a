"""A tiny engine, moving pictures with known motion, and LPIPS weights where somebody has them."""

import numpy as np
import pytest
import torch

from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.tracks.tracks import Tracks


@pytest.fixture(scope="session")
def engine() -> StreamEngine:
    return load_engine("tiny-debug", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def texture() -> np.ndarray:
    """A smooth random picture (96, 160, 3) uint8 that a tracker can hold on to."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 24, 40, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (96, 160), mode="bicubic").clamp(0, 1)
    return (fine[0].permute(1, 2, 0) * 255).byte().numpy()


@pytest.fixture(scope="session")
def pan(texture: np.ndarray) -> tuple[np.ndarray, Tracks]:
    """A window of 64x96 that moves over the picture by 2 pixels a frame to the right, and the exact tracks of 12 points."""
    T, H, W = 9, 64, 96
    frames = np.stack([texture[16 : 16 + H, 2 * t + 10 : 2 * t + 10 + W] for t in range(T)])
    x, y = np.meshgrid(np.linspace(30, 85, 4), np.linspace(12, 52, 3))
    start = np.stack([x.ravel(), y.ravel()], axis=1)
    points = start[None] - np.array([2.0, 0.0]) * np.arange(T)[:, None, None]
    return frames, Tracks.from_points(points, size=(H, W), fps=16)
