"""Which points to follow: grids, grids within a mask, and points that somebody wrote down.

A query is (t, x, y): the frame in which the point is given and its pixels there, pixel centres at +0.5.

>>> grid_queries((96, 128), 2)[:, 1:].tolist()
[[32.0, 24.0], [96.0, 24.0], [32.0, 72.0], [96.0, 72.0]]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from motionstream.tracks.given import check_whole
from motionstream.tracks.io import DAMAGED, load_tracks
from motionstream.tracks.tracks import Tracks

MAX_QUERIES = 50_000


def grid_queries(size: tuple[int, int], grid: int, mask: np.ndarray | None = None) -> np.ndarray:
    """``grid`` x ``grid`` points spread evenly over frame 0, each in the middle of its cell; (N, 3) float32, row by row.

    Args:
        size: (H, W) in pixels. grid: points each way, 1 to 223.
        mask: (H, W) bool; points outside it are left out, and the grid is laid over its bounding box: objects are small.

    Raises:
        ValueError: a grid out of range, or a mask of another type or size, or without a point in it.
    """
    if not 1 <= check_whole("grid", grid, None) or grid * grid > MAX_QUERIES:
        raise ValueError(f"a grid of {grid} x {grid} points: use 1 to {int(MAX_QUERIES**0.5)} each way")
    top, left, (height, width) = 0, 0, size
    if mask is not None:
        given: Any = mask
        # Bytes would be taken for row numbers.
        if not isinstance(given, np.ndarray) or given.dtype != bool or given.ndim != 2:
            found = f"{getattr(given, 'shape', '')} {getattr(given, 'dtype', type(given).__name__)}"
            raise ValueError(f"a mask must be (H, W) bool, got {found.strip()}; mask > 127 makes one of a picture's bytes")
        if mask.shape != tuple(size):
            raise ValueError(f"the mask is {mask.shape[1]}x{mask.shape[0]} pixels, the video {size[1]}x{size[0]}")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise ValueError("the mask is empty: paint what is to be followed white on black")
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    steps = (np.arange(grid) + 0.5) / grid
    x, y = (values.ravel() for values in np.meshgrid(left + steps * width, top + steps * height))
    if mask is not None:
        inside = mask[y.astype(int), x.astype(int)]
        if not inside.any():
            raise ValueError(f"no point of a grid of {grid} x {grid} lies in the mask: use a finer grid")
        x, y = x[inside], y[inside]
    return np.stack([np.zeros_like(x), x, y], axis=1).astype(np.float32)


def queries_of_tracks(tracks: Tracks, fps: float | None = None) -> np.ndarray:
    """The first visible point of every track of the first sample, (N, 3); tracks never visible are left out.

    ``fps`` is the rate of the frames in which they are given, where it is not the tracks' own.
    """
    found = tracks.to_tapvid()["query_points"][0].numpy()
    points = found[found[:, 0] >= 0][:, [0, 2, 1]].astype(np.float32)
    if fps is not None:
        points[:, 0] = (points[:, 0] * (fps / tracks.fps)).round()
    return points


def read_queries(path: str | Path, size: tuple[int, int], fps: float | None = None) -> np.ndarray:
    """Queries (N, 3) from a file, on a canvas of ``size`` (H, W) pixels, for frames at ``fps`` (None: the file's own rate).

    ``.csv`` or ``.txt``: a line per point, ``x, y`` (frame 0) or ``t, x, y``. ``.json``: a list of such points, or tracks
    (`load_tracks`), whose first visible points are taken and scaled to the canvas and the rate. ``.npy``: (N, 2) or (N, 3).

    Raises:
        ValueError: one sentence that names the file, the value and the fix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".txt", ".json", ".npy", ".npz"):
        raise ValueError(f"points {str(path)!r} must end in .csv, .txt, .json, .npy or .npz")
    try:
        if suffix == ".npz":
            points = queries_of_tracks(load_tracks(path).resize(*size), fps)
        elif suffix == ".npy":
            points = _read_npy(path)
        elif suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8-sig"))
            if isinstance(document, dict):
                points = queries_of_tracks(load_tracks(path).resize(*size), fps)
            else:
                points = np.array(document, dtype=np.float64)
        else:
            rows = [line.replace(",", " ").split() for line in _lines(path)]
            odd = next((row for row in rows if len(row) != len(rows[0])), None)
            if odd is not None:
                raise ValueError(f"{' '.join(odd)!r} has {len(odd)} numbers, the first point {len(rows[0])}")
            points = np.array(rows, dtype=np.float64)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except RecursionError as error:
        raise ValueError(
            f"{path}: not readable as points (its lists are nested too deeply); give a list of points"
        ) from error
    except OverflowError as error:
        raise ValueError(f"{path}: not readable as points (a number is above 1e308); give x and y in pixels") from error
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ValueError(said if str(path) in said else f"{path}: not readable as points ({said})") from error
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not len(points) or points.dtype.kind not in "fiu":
        raise ValueError(f"{path}: points must be a list of x, y or of t, x, y, got numbers of shape {points.shape}")
    if points.shape[1] == 2:
        points = np.concatenate([np.zeros((len(points), 1)), points], axis=1)
    try:
        return check_queries(points, size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_npy(path: Path) -> np.ndarray:
    try:
        points = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(str(error)) from error
    if not isinstance(points, np.ndarray):
        points.close()
        raise ValueError("it holds several arrays; save one with numpy.save")
    return points


def _lines(path: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    return [line for line in lines if line]


def read_mask(path: str | Path, size: tuple[int, int], source: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as a mask (H, W) bool of ``size``: brighter than half is inside, what is transparent is outside.

    ``source`` is the (H, W) of the frames that it is painted on, where ``size`` stretches them to another aspect.

    Raises:
        ValueError: an unreadable picture, one of another aspect than the frames, or one without anything white.
    """
    from PIL import Image

    from motionstream.media.images import open_mask

    picture = open_mask(path)
    H, W = source or size
    if abs(picture.width * H - picture.height * W) > 0.02 * picture.height * W:
        raise ValueError(
            f"mask {str(path)!r} is {picture.width}x{picture.height} pixels, another aspect than {W}x{H}: paint it on a "
            "frame of the clip"
        )
    mask = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)) > 127
    if not mask.any():
        raise ValueError(f"mask {str(path)!r} is empty: paint what is to be followed white on black")
    return mask


def check_queries(queries: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Queries as float32 (N, 3) = (t, x, y), whole t of at least 0, inside the canvas; ValueError otherwise."""
    points = np.asarray(queries, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"queries must be (N, 3) = (t, x, y) with at least one row, got {np.shape(queries)}")
    if len(points) > MAX_QUERIES:
        raise ValueError(f"{len(points)} points are too many: use at most {MAX_QUERIES}")
    t, x, y = points.T
    H, W = size
    good = np.isfinite(points).all(axis=1) & (t >= 0) & (t == np.floor(t)) & (x >= 0) & (x < W) & (y >= 0) & (y < H)
    if not good.all():
        first = points[~good][0].tolist()
        raise ValueError(f"query (t, x, y) = {tuple(first)}: t must be a whole frame, x and y inside {W}x{H} pixels")
    return points
