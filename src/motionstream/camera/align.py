"""One factor that brings relative depth to known points (the paper's LLFF protocol, table 2).

There a monocular estimate is brought to the scale of a reconstruction's sparse points (COLMAP) before its camera path is
used. The paper states one scale factor and not how it is fitted: ours is the median of the ratios, which a few wrong
points do not move.

>>> from motionstream.camera.depth import flat_depth
>>> align_scale(flat_depth((4, 4)), np.array([[1.0, 1.0], [3.0, 2.0]]), np.array([5.0, 5.0]), (4, 4)).num_points
2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionstream.camera.depth import DepthMap


@dataclass(frozen=True)
class Alignment:
    """The factor, how far the points agree on it (median absolute log ratio left over, 0 = exactly), and how many spoke."""

    scale: float
    spread: float
    num_points: int


def align_scale(depth: DepthMap, xy: np.ndarray, known: np.ndarray, size: tuple[int, int]) -> Alignment:
    """Fit `known = scale * depth` to known points.

    Args:
        depth: up to one factor.
        xy: (P, 2) pixels of the known points on a canvas `size` (H, W) that shows what `depth` shows.
        known: (P,) their true depth along the optical axis, in any unit. Points outside the canvas, behind the camera
            or not finite are left out.

    Raises:
        ValueError: other shapes, or no point to use.
    """
    xy, known = np.asarray(xy, dtype=np.float64), np.asarray(known, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or known.shape != (len(xy),):
        raise ValueError(f"known points must be (P, 2) pixels and (P,) depths, got {xy.shape} and {known.shape}")
    H, W = size
    usable = np.isfinite(xy).all(axis=1) & np.isfinite(known) & (known > 0)
    usable[usable] &= ((xy[usable] >= 0) & (xy[usable] < [W, H])).all(axis=1)
    if not usable.any():
        raise ValueError(f"none of the {len(xy)} known points lies within {W}x{H} pixels with a depth above 0; check them")
    logs = np.log(known[usable] / depth.at(xy[usable], size))
    middle = float(np.median(logs))
    return Alignment(float(np.exp(middle)), float(np.median(np.abs(logs - middle))), int(usable.sum()))


def load_known_points(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read known points from a text file, one `x y depth` a line (commas allowed, # begins a comment).

    Returns:
        xy (P, 2) in pixels of the picture, depth (P,).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read known points from {str(path)!r}: {error}; check the path") from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            x, y, depth = (float(word) for word in words)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: write 'x y depth', got {line.strip()!r:.60}") from error
        rows.append((x, y, depth))
    if not rows:
        raise ValueError(f"{path} holds no known point; write one 'x y depth' a line")
    table = np.array(rows)
    return table[:, :2], table[:, 2]
