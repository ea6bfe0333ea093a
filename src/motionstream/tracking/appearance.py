"""What a point looks like: small patches, how alike two are, and where one is found again."""

from __future__ import annotations

import cv2
import numpy as np

HALF_PIXEL = np.float32(0.5)
"""OpenCV counts pixels from their centres: its (0, 0) is our (0.5, 0.5)."""
BATCH = 16_384
"""Points read at once: OpenCV's pictures may have no side above 32,767."""
NOISE_VARIANCE = 20.0
"""Variance (grey levels squared) below which texture counts as camera noise: two flat patches are alike."""
MIN_TRACKABLE = 1.0
"""Smaller eigenvalue below which a place has nothing to hold on to (`trackability`)."""


def cut_patches(grey: np.ndarray, xy: np.ndarray, side_px: int) -> np.ndarray:
    """Patches around points, by bilinear reading; the border of the picture is continued.

    Args:
        grey: (H, W) uint8. xy: (N, 2) pixels, centres at +0.5. side_px: odd side of a patch.

    Returns:
        (N, side * side) float32 in [0, 255].
    """
    reach = side_px // 2
    line = np.arange(-reach, reach + 1, dtype=np.float32)
    dy, dx = (offset.reshape(1, -1) for offset in np.meshgrid(line, line, indexing="ij"))
    patches: list[np.ndarray] = [np.zeros((0, side_px * side_px), np.float32)]
    source = grey.astype(np.float32)
    for start in range(0, len(xy), BATCH):
        part = xy[start : start + BATCH] - HALF_PIXEL
        x, y = part[:, :1] + dx, part[:, 1:] + dy
        patches.append(
            cv2.remap(source, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
    return np.concatenate(patches)


def read_field(field: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Bilinear values (N, C) of a picture or flow (H, W[, C]) at points (N, 2) pixels; the border is continued."""
    places = np.ascontiguousarray(xy - HALF_PIXEL, dtype=np.float32)
    values = [np.zeros((0, 1 if field.ndim == 2 else field.shape[2]), field.dtype)]
    for start in range(0, len(places), BATCH):
        part = places[start : start + BATCH]
        read = cv2.remap(field, part[:, None, 0], part[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        values.append(read.reshape(len(part), -1))
    return np.concatenate(values)


def likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of patches (N, P) after their means are taken off, in [-1, 1]; 1 for two that are flat."""
    a, b = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    together = (a * b).mean(axis=1)
    apart = np.sqrt((a**2).mean(axis=1) * (b**2).mean(axis=1))
    return (together + NOISE_VARIANCE) / (apart + NOISE_VARIANCE)


def texture(patches: np.ndarray) -> np.ndarray:
    """Standard deviation of patches (N, P), in grey levels."""
    return patches.std(axis=1)


def find_patch(grey: np.ndarray, patch: np.ndarray, around: np.ndarray, radius_px: int) -> tuple[np.ndarray, float]:
    """Look for a patch near a place, to a fraction of a pixel.

    Args:
        grey: (H, W) uint8. patch: (side, side) float32. around: (2,) pixels. radius_px: how far to look each way.

    Returns:
        (2,) pixels of the best place and its correlation in [-1, 1]; -1 when the picture does not reach there.
    """
    side = patch.shape[0]
    reach = side // 2
    H, W = grey.shape
    column, row = (int(np.floor(value)) for value in around)
    left, right = max(column - radius_px - reach, 0), min(column + radius_px + reach + 1, W)
    top, bottom = max(row - radius_px - reach, 0), min(row + radius_px + reach + 1, H)
    if right - left < side or bottom - top < side:
        return np.asarray(around, np.float32), -1.0
    scores = cv2.matchTemplate(grey[top:bottom, left:right].astype(np.float32), patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    dx, dy = _peak(scores[y, x - 1 : x + 2]), _peak(scores[y - 1 : y + 2, x])
    place = np.array([left + x + reach + dx, top + y + reach + dy], np.float32) + HALF_PIXEL
    return place, float(best)


def _peak(three: np.ndarray) -> float:
    """Where between -0.5 and 0.5 a parabola through three scores is highest; 0 at the border of the search."""
    if len(three) < 3:
        return 0.0
    bend = float(three[0] - 2 * three[1] + three[2])
    return float(np.clip((three[0] - three[2]) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def trackability(grey: np.ndarray, window_px: int = 9) -> np.ndarray:
    """Smaller eigenvalue of the gradient's second moments (H, W), in grey levels squared per pixel squared.

    Near 0 a patch is flat or a straight edge, and its motion cannot be told (Shi and Tomasi).
    """
    return cv2.cornerMinEigenVal(grey.astype(np.float32), window_px, ksize=3)


def is_flat(frame: np.ndarray) -> bool:
    """Whether a frame (H, W, 3) uint8 RGB is flat or dark all over: nothing in it can be followed."""
    return float(trackability(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).max()) < MIN_TRACKABLE
