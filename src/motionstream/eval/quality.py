"""How like the truth each frame looks: PSNR, SSIM and LPIPS, frame by frame.

Frames are uint8 ``(T, H, W, 3)``; every measure gives one number a frame. PSNR and SSIM: higher is better; LPIPS: lower.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.models.lpips import LPIPS

MAX_PSNR_DB = 60.0
"""Equal frames have no PSNR; 8-bit rounding alone gives 58.9 dB, so more than this means nothing."""
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
BATCH = 16


def check_pair(frames: np.ndarray, truth: np.ndarray) -> None:
    """ValueError unless both are uint8 ``(T, H, W, 3)`` of one shape, with a frame in them."""
    for name, video in (("frames", frames), ("truth", truth)):
        if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8 or 0 in video.shape:
            raise ValueError(f"{name} must be (T, H, W, 3) uint8 and not empty, got {video.shape} {video.dtype}")
    if frames.shape != truth.shape:
        raise ValueError(f"frames {frames.shape} and truth {truth.shape} must have one shape: resize or cut one of them")


def psnr(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, ``(T,)``, over all pixels and colours of a frame; at most ``MAX_PSNR_DB``."""
    check_pair(frames, truth)
    error = ((frames.astype(np.float64) - truth) / 255) ** 2
    floor = 10 ** (-MAX_PSNR_DB / 10)
    return -10 * np.log10(np.maximum(error.mean(axis=(1, 2, 3)), floor))


def ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004), ``(T,)``: mean over colours and over places whose window lies inside.

    Gaussian window of 11 x 11 pixels (sigma 1.5), K1 = 0.01, K2 = 0.03, statistics of the window (not the sample ones).

    Raises:
        ValueError: frames smaller than the window.
    """
    check_pair(frames, truth)
    side = 2 * SSIM_RADIUS + 1
    if min(frames.shape[1:3]) < side:
        raise ValueError(f"SSIM needs frames of at least {side}x{side} pixels, got {frames.shape[2]}x{frames.shape[1]}")
    line = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    window = torch.exp(-(line**2) / (2 * SSIM_SIGMA**2))
    window = (window / window.sum()).float()
    parts = zip(_batches(frames), _batches(truth), strict=True)
    return torch.cat([_ssim(a, b, window) for a, b in parts]).double().numpy()


def _ssim(a: Tensor, b: Tensor, window: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] -> (B,)."""

    def mean(x: Tensor) -> Tensor:
        x = F.conv2d(x.flatten(0, 1)[:, None], window[None, None, :, None])
        return F.conv2d(x, window[None, None, None])[:, 0].unflatten(0, (len(a), 3))

    c1, c2 = 0.01**2, 0.03**2
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    value = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return value.mean(dim=(1, 2, 3))


@torch.no_grad()
def lpips(model: LPIPS, frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Learned perceptual distance, ``(T,)``; see ``models/lpips.py``."""
    check_pair(frames, truth)
    device = model.shift.device
    parts = zip(_batches(frames), _batches(truth), strict=True)
    return torch.cat([model(a.to(device), b.to(device)).cpu() for a, b in parts]).double().numpy()


def _batches(frames: np.ndarray) -> list[Tensor]:
    return [to_tensor(frames[start : start + BATCH]) for start in range(0, len(frames), BATCH)]


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 ``(T, H, W, 3)`` -> float32 ``(T, 3, H, W)`` in [0, 1]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 255


def to_frames(video: Tensor) -> np.ndarray:
    """``(T, 3, H, W)`` in [0, 1] -> uint8 ``(T, H, W, 3)``."""
    return (video.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def resize_frames(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames at another size (H, W): bicubic, with an anti-aliasing filter where they shrink; edges stay on edges."""
    if frames.shape[1:3] == tuple(size):
        return frames
    parts = [F.interpolate(part, size, mode="bicubic", antialias=True, align_corners=False) for part in _batches(frames)]
    return to_frames(torch.cat(parts))


def measure_quality(frames: np.ndarray, truth: np.ndarray, model: LPIPS | None) -> dict[str, float | None]:
    """Means over frames: ``psnr_db``, ``ssim``, and ``lpips`` (None without weights)."""
    return {
        "psnr_db": float(psnr(frames, truth).mean()),
        "ssim": float(ssim(frames, truth).mean()),
        "lpips": None if model is None else float(lpips(model, frames, truth).mean()),
    }


def measure_drift(frames: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How colours and detail left those of the truth, mean over frames.

    ``colour_shift``: distance of mean colours, in levels (0-255). ``contrast_ratio``, ``detail_ratio``: standard deviation,
    and mean absolute difference of neighbouring pixels, over the truth's (1 = kept, below = washed out or blurred).
    """
    check_pair(frames, truth)
    ours, theirs = frames.astype(np.float32), truth.astype(np.float32)
    shift = np.linalg.norm(ours.mean(axis=(1, 2)) - theirs.mean(axis=(1, 2)), axis=1)
    return {
        "colour_shift": float(shift.mean()),
        "contrast_ratio": _ratio(ours.std(axis=(1, 2)), theirs.std(axis=(1, 2))),
        "detail_ratio": _ratio(_detail(ours), _detail(theirs)),
    }


def _detail(video: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(video, axis=2)).mean(axis=(1, 2)) + np.abs(np.diff(video, axis=1)).mean(axis=(1, 2))


def _ratio(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.mean() / max(float(b.mean()), 1e-3))  # a truth of one flat colour has no contrast to keep
