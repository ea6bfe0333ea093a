"""A picture bent along tracks, without any model: at every point it shows exactly what was there the frame before.

The truth of such a video is known at its points, on the very picture that a model would have to move. So what a tracker
misses in it is the tracker's own error.
"""

from __future__ import annotations

import cv2
import numpy as np

from motionstream.tracks.tracks import Tracks


def warp_along(picture: np.ndarray, tracks: Tracks) -> np.ndarray:
    """Frames ``(T, H, W, 3)`` uint8 of a picture ``(H, W, 3)`` uint8 that moves with ``tracks`` (B = 1, on its canvas).

    From frame to frame the way back is interpolated between the points that are visible in both (linear radial functions and
    a constant), and ways are composed, so that pixels are read from the picture once. Points that run together and part
    again tear what lies between them; what comes in from outside continues the border.
    """
    H, W = picture.shape[:2]
    xy, visible = tracks.xy[0].numpy().astype(np.float64), tracks.visible[0].numpy()
    y, x = np.meshgrid(np.arange(H) + 0.5, np.arange(W) + 0.5, indexing="ij")
    grid = np.stack([x, y], axis=-1)
    origin = grid.astype(np.float32)  # where each pixel comes from, in the picture
    frames = [picture]
    for t in range(1, tracks.num_frames):
        both = visible[t - 1] & visible[t]
        if both.any():
            back = grid + _between(xy[t, both], xy[t - 1, both] - xy[t, both], grid.reshape(-1, 2)).reshape(H, W, 2)
            origin = _read(origin, back)
        frames.append(_read(picture, origin))
    return np.stack(frames)


def _between(centres: np.ndarray, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (N, 2) at centres (N, 2), interpolated at places (M, 2)."""
    N = len(centres)
    system = np.zeros((N + 1, N + 1))
    system[:N, :N] = _distances(centres, centres)
    system[N, :N] = system[:N, N] = 1
    weights = np.linalg.lstsq(system, np.concatenate([values, np.zeros((1, 2))]), rcond=1e-9)[0]
    return _distances(places, centres) @ weights[:N] + weights[N]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def _read(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """An array (H, W, C) at places (H, W, 2), pixel centres at +0.5; its border goes on for ever."""
    at = (places - 0.5).astype(np.float32)
    return cv2.remap(values, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
