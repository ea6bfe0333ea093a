"""How far away each pixel of a picture is: from a file, from an estimator, or as an assumed plane.

Depth is distance along the optical axis. Between pixels *inverse* depth is interpolated, which is exact on planes; where
neighbours differ by more than `EDGE_RATIO` there is an edge, and the nearest pixel counts: nothing floats in between.

>>> ground_depth((4, 4), horizon=0.5, far=8.0).values[:, 0].round(2).tolist()
[8.0, 8.0, 4.0, 1.33]
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from motionstream.tracks.io import DAMAGED

if TYPE_CHECKING:
    from motionstream.media.images import PictureFit

Kind = Literal["metric", "inverse", "relative"]
EDGE_RATIO = 1.1  # neighbours further apart than this are different things
MAX_MISSING = 0.5  # with more of it unknown a map says too little
FAR_OVER_NEAR = 10.0  # what a map of unknown range is given: see `depth_from_values`
INFINITY = 1000.0  # times the median: so far away that it does not move
SAME_ASPECT = 0.02
MOST = 1e30  # beyond it, either way, what is computed with a depth overflows


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthMap:
    """Depth of a picture, complete and positive.

    Args:
        values: (H, W) float64, finite, > 0.
        metric: whether the values have a unit; else they are right up to one factor (or only a guess: see `source`).
        source: where it comes from, in words.
        notes: what was done to it, one sentence each.

    Raises:
        ValueError: another shape, or a value that is not finite and positive.
    """

    values: np.ndarray
    metric: bool
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 2 or 0 in values.shape:
            raise ValueError(f"a depth map must be (H, W), got {values.shape}")
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError("a depth map must be finite and above 0 everywhere; depth_from_values fills holes")
        object.__setattr__(self, "values", values)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.values.shape  # type: ignore[return-value]

    @property
    def reference(self) -> float:
        """Depth of the subject: a quarter of what is in the middle half of the picture, each way, is nearer."""
        H, W = self.size
        return float(np.percentile(self.values[H // 4 : H - H // 4, W // 4 : W - W // 4], 25))

    def at(self, xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Depth (...) at points xy (..., 2) of a canvas `size` (H, W) that shows the same; outside, that of the border."""
        H, W = self.size
        x = np.clip(xy[..., 0] * (W / size[1]) - 0.5, 0, W - 1)
        y = np.clip(xy[..., 1] * (H / size[0]) - 0.5, 0, H - 1)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, bottom = np.minimum(left + 1, W - 1), np.minimum(top + 1, H - 1)
        corners = np.stack(
            [self.values[top, left], self.values[top, right], self.values[bottom, left], self.values[bottom, right]]
        )
        dx, dy = x - left, y - top
        weights = np.stack([(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy])
        smooth = corners.max(axis=0) <= EDGE_RATIO * corners.min(axis=0)
        nearest = np.take_along_axis(corners, weights.argmax(axis=0)[None], axis=0)[0]
        return np.where(smooth, 1 / (weights / corners).sum(axis=0), nearest)

    def scaled(self, factor: float, *, metric: bool | None = None) -> DepthMap:
        """Every depth times `factor` (> 0); `metric` says whether the result has a unit, None = as before."""
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"the factor of a depth map must be a number above 0, got {factor}")
        return replace(self, values=self.values * factor, metric=self.metric if metric is None else metric)

    def resized(self, size: tuple[int, int]) -> DepthMap:
        """Bring the map to a picture of `size` (H, W), with a note where that is another one.

        A smaller map keeps its own pixels, for all that reads it scales coordinates: a photo's would take gigabytes.
        """
        if size == self.size:
            return self
        (h, w), (H, W) = self.size, size
        note = f"it has {w}x{h} pixels, the picture {W}x{H}: resized"
        if abs(w * H / (h * W) - 1) > SAME_ASPECT:
            note += ", and stretched, for the aspect differs; check that it belongs to this picture"
        values = self.values if h * w <= H * W else self.at(_pixel_centres(size), size)
        return replace(self, values=values, notes=(*self.notes, note))

    def on_frame(self, placed: PictureFit, size: tuple[int, int]) -> DepthMap:
        """The part of a picture's map that became a frame, sampled with `size` (H, W) pixels.

        Args:
            placed: how the picture became the frame; where it pads, depth is that of the picture's border.
            size: of the result; need not be that of the frame.
        """
        step = np.array([placed.width / size[1], placed.height / size[0]])
        xy = _pixel_centres(size) * step + [placed.left, placed.top]
        return replace(self, values=self.at(xy, placed.source))


def depth_from_values(
    values: np.ndarray, kind: Kind = "metric", *, source: str = "an array", far_over_near: float = FAR_OVER_NEAR
) -> DepthMap:
    """Make a depth map of raw values, filling holes from their neighbours.

    Holes are NaN, values that are not positive and, except for "metric", infinite ones; a metric infinity is taken as
    infinitely far.

    Args:
        values: (H, W) numbers.
        kind: "metric" = depth in any unit; "inverse" = proportional to 1 / depth (disparity); "relative" = 1 / depth up to
            scale *and* shift, as MiDaS and Depth Anything give it, 0 and below included: its 1st to 99th percentile
            is spread from `far_over_near` to 1.
        source: in words, for notes and errors.
        far_over_near: > 1, the range a "relative" map is given; it cannot be known from the map.

    Raises:
        ValueError: another shape, an unknown kind, more than half of it missing, or absurdly large or small values.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind of depth {kind!r} is unknown; use {', '.join(get_args(Kind))}")
    if not 1 < far_over_near <= MOST:
        raise ValueError(f"far_over_near must be a number above 1, got {far_over_near}; at most {MOST:g} is taken")
    values = np.squeeze(np.asarray(values))
    if values.ndim != 2 or values.dtype.kind not in "fiu" or min(values.shape) < 2:
        raise ValueError(
            f"{source}: depth must be numbers (H, W) of at least 2 pixels each way, got {values.shape} {values.dtype}"
        )
    values = values.astype(np.float64)
    notes = []
    far = np.isposinf(values) if kind == "metric" else np.zeros(values.shape, dtype=bool)
    known = np.isfinite(values) if kind == "relative" else np.isfinite(values) & (values > 0)
    missing = 1 - (known | far).mean()
    if far.any() and not known.any():
        raise ValueError(f"{source}: all that it holds is infinitely far; give a map with the depth of something")
    if missing > MAX_MISSING or not known.any():
        raise ValueError(
            f"{source}: {100 * missing:.0f} % of it has no depth (0, negative, NaN or infinite); "
            f"give a map with at most {100 * MAX_MISSING:.0f} % of holes"
        )
    sizes = np.abs(values[known & (values != 0)])
    most, least = (sizes.max(), sizes.min()) if len(sizes) else (1.0, 1.0)
    if most > MOST or (kind != "relative" and least < 1 / MOST):
        raise ValueError(
            f"{source}: it holds the value {most if most > MOST else least:g}; give values from {1 / MOST:g} to {MOST:g}"
        )
    if kind == "relative":
        low, high = np.percentile(values[known], [1, 99])
        share = np.clip((values - low) / max(high - low, 1e-12), 0, 1) if high > low else np.ones_like(values)
        inverse = (1 + (far_over_near - 1) * share) / far_over_near
        notes.append(f"its range is unknown, the farthest is taken as {far_over_near:g} times as far as the nearest")
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = values if kind == "inverse" else 1 / values
    inverse = np.where(far, 1 / (INFINITY * np.median(1 / inverse[known])), inverse)
    if missing:
        notes.append(
            f"{100 * missing:.1f} % of it has no depth (0, negative, NaN or infinite) and is filled from its neighbours"
        )
        inverse = _fill(np.where(known | far, inverse, 0.0), known | far)
    return DepthMap(values=1 / inverse, metric=kind == "metric", source=source, notes=tuple(notes))


def load_depth(
    path: str | Path, kind: Kind = "metric", *, steps_per_unit: float = 1.0, far_over_near: float = FAR_OVER_NEAR
) -> DepthMap:
    """Read a depth map: 8- or 16-bit grey PNG or TIFF, .npy, or .npz (its array `depth`, or its only one).

    Args:
        path: the file.
        kind, far_over_near: as in `depth_from_values`.
        steps_per_unit: file values per unit of depth, > 0; 1000 for millimetres when metres are meant.

    Raises:
        ValueError: one sentence: missing, unreadable, not grey, not two-dimensional, or mostly holes.
    """
    path = Path(path)
    if not (np.isfinite(steps_per_unit) and steps_per_unit > 0):
        raise ValueError(f"steps_per_unit must be a number above 0, got {steps_per_unit}")
    name = f"depth {str(path)!r}"
    try:
        values = _read_numpy(path, name) if path.suffix.lower() in (".npy", ".npz") else _read_image(path, name)
    except FileNotFoundError as error:
        raise ValueError(f"{name} does not exist; check the path") from error
    except OSError as error:
        if error.errno is None:  # Pillow's, of a picture that is cut off
            raise ValueError(f"{name} is damaged ({error}); save it again") from error
        raise ValueError(f"cannot read {name}: {error.strerror or error}; check the path") from error
    if values.dtype.kind in "fiu":
        values = values / steps_per_unit
    return depth_from_values(values, kind, source=name, far_over_near=far_over_near)


def depth_from_bytes(content: bytes, kind: Kind | None = None, *, most_pixels: int) -> DepthMap:
    """Read an uploaded depth map: 8- or 16-bit grey PNG or TIFF, or .npy. What it holds is checked before it is decoded.

    Args:
        content: the file. most_pixels: of a picture; larger ones are refused.
        kind: as in `depth_from_values`; None = "relative" for 8 bits, as estimators save them, else "metric".

    Raises:
        ValueError: as `load_depth`; too large.
    """
    name = "the depth map"
    try:
        if content.startswith(b"\x93NUMPY"):
            _check_npy(content, name, most_pixels)
            values = _read_numpy(io.BytesIO(content), name)
        else:
            values = _read_image(io.BytesIO(content), name, most_pixels)
    except OSError as error:  # no file is read here: Pillow says so of a picture that is cut off
        raise ValueError(f"{name} is damaged ({error}); save it again") from error
    return depth_from_values(values, kind or ("relative" if values.dtype == np.uint8 else "metric"), source=name)


def flat_depth(size: tuple[int, int]) -> DepthMap:
    """The planar fallback: everything at depth 1, as if the picture were a photograph on a wall. No parallax."""
    words = "none given: a flat plane facing the camera is assumed, without parallax, like a photograph on a wall"
    return DepthMap(values=np.ones(size), metric=False, source=words)


def ground_depth(size: tuple[int, int], horizon: float = 0.45, far: float = 3.0) -> DepthMap:
    """A level ground that ends at a wall: below the horizon a plane, from depth 1 at the lower border to `far`.

    Args:
        size: (H, W) in pixels.
        horizon: its height as a share of the picture from above, in [0, 1).
        far: depth of the wall, which is also what lies above the horizon; > 1.
    """
    if not 0 <= horizon < 1 or not far > 1:
        raise ValueError(f"a ground needs a horizon in [0, 1) and far above 1, got {horizon} and {far}")
    H, W = size
    rows = (np.arange(H) + 0.5) / H
    inverse = np.maximum((rows - horizon) / (1 - horizon), 1 / far)
    words = f"none given: a level ground is assumed below {100 * horizon:.0f} % of the height, and a wall behind it"
    return DepthMap(values=np.repeat(1 / inverse[:, None], W, axis=1), metric=False, source=words)


def _pixel_centres(size: tuple[int, int]) -> np.ndarray:
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    return np.stack([x, y], axis=-1)


def _fill(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known with averages over ever larger blocks of what is; (H, W) both, unknown values are 0."""
    if known.all():
        return values
    H, W = values.shape
    even = ((0, H % 2), (0, W % 2))
    blocks = np.pad(values * known, even).reshape((H + 1) // 2, 2, (W + 1) // 2, 2)
    counts = np.pad(known, even).reshape(blocks.shape).sum(axis=(1, 3))
    coarse = _fill(blocks.sum(axis=(1, 3)) / np.maximum(counts, 1), counts > 0)
    return np.where(known, values, coarse.repeat(2, axis=0).repeat(2, axis=1)[:H, :W])


def _read_numpy(path: Path | io.BytesIO, name: str) -> np.ndarray:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            keys = list(content.files)
            key = "depth" if "depth" in keys else keys[0] if len(keys) == 1 else None
            if key is None:
                raise ValueError(f"it holds {', '.join(keys) or 'nothing'}; name the array 'depth'")
            return content[key]
    except DAMAGED as error:
        raise ValueError(f"{name} is not readable as NumPy data ({error}); save it with numpy.save") from error


def _check_npy(content: bytes, name: str, most_values: int) -> None:
    """Judge a .npy file by its header: room for what it claims would be taken before anything is read.

    Raises:
        ValueError: too many values, or more than the file can hold.
    """
    file = io.BytesIO(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, _, dtype = readers[np.lib.format.read_magic(file)](file)
    except DAMAGED as error:
        raise ValueError(f"{name} is not readable as NumPy data ({error}); save it with numpy.save") from error
    count = math.prod(shape)
    if count > most_values:
        raise ValueError(f"{name} has {count / 1e6:.1f} million values; give one of at most {most_values / 1e6:g}")
    if count * dtype.itemsize > len(content) and not dtype.hasobject:
        raise ValueError(f"{name} is not readable as NumPy data (it is cut off); save it with numpy.save")


def _read_image(path: Path | io.BytesIO, name: str, most_pixels: int | None = None) -> np.ndarray:
    try:
        with Image.open(path, formats=["PNG", "TIFF"]) as image:
            if most_pixels is not None and image.width * image.height > most_pixels:
                raise ValueError(
                    f"{name} has {image.width}x{image.height} pixels; give one of at most {most_pixels / 1e6:g} megapixels"
                )
            if image.mode not in ("L", "I", "F") and not image.mode.startswith("I;16"):
                raise ValueError(
                    f"{name} has the colour mode {image.mode}; depth must be one grey channel, best with 16 bits"
                )
            return np.asarray(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a PNG, TIFF, .npy or .npz file; save the depth as one of them") from error
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is damaged or too large ({error}); save it again") from error
