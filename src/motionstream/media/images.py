"""Any picture -> the first frame of a video: upright, RGB, at the model's size, and a note of what went where.

    first_frame, fit = fit_picture(open_picture("photo.jpg"), width=128, height=96)   # uint8 (96, 128, 3)
    tracks = fit.apply_to(tracks)                                # from the photo's pixels to those of the first frame

>>> fit_window((480, 640), (96, 96), "crop").left
80
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from motionstream.files import replacing

Fit = Literal["crop", "pad", "stretch"]
Source = str | Path | bytes | Image.Image | np.ndarray
Colour = tuple[int, int, int]

NEUTRAL = (128, 128, 128)  # behind transparent parts, and around a padded picture
BLACK = (0, 0, 0)  # behind the transparent parts of a mask
MIN_SIDE_PX = 16
MAX_PIXELS = 50_000_000
# What is read: the list leaves out formats whose readers start other programs (EPS) or are rarely exercised.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "TGA")


class Croppable(Protocol):
    """What `PictureFit` can be applied to, such as `motionstream.Tracks`."""

    def crop(self, top: int, left: int, height: int, width: int) -> Self: ...

    def resize(self, height: int, width: int) -> Self: ...


CroppableT = TypeVar("CroppableT", bound=Croppable)


@dataclass(frozen=True, kw_only=True)
class PictureFit:
    """How a picture was brought to the model's size: a window of it, scaled.

    Args:
        source: (H, W) of the upright picture, in pixels.
        top, left, height, width: the window, in the picture's pixels; it reaches beyond the picture where it pads.
        size: (H, W) of the result, in pixels.
    """

    source: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the result per pixel of the picture, (vertical, horizontal)."""
        return self.size[0] / self.height, self.size[1] / self.width

    def apply_to(self, tracks: CroppableT) -> CroppableT:
        """Tracks on the picture's canvas -> the same tracks on the result's; what is cut away becomes invisible."""
        return tracks.crop(self.top, self.left, self.height, self.width).resize(*self.size)

    def __str__(self) -> str:
        (H, W), (height, width) = self.source, self.size
        if (self.height, self.width) == (H, W):
            part = "whole"
        elif self.height >= H and self.width >= W:
            part = f"padded to {self.width}x{self.height}"
        else:
            part = f"cropped to its middle {self.width}x{self.height}"
        return f"{W}x{H}, {part}, resized to {width}x{height}"


def fit_window(source: tuple[int, int], size: tuple[int, int], fit: Fit = "crop") -> PictureFit:
    """Choose the window of a picture that becomes the frame.

    Args:
        source: (H, W) of the picture, in pixels.
        size: (H, W) of the frame, in pixels.
        fit: "crop" the middle of the frame's aspect, "pad" to that aspect, or "stretch" the whole picture.

    Raises:
        ValueError: a size below one pixel, or an unknown `fit`.
    """
    (H, W), (height, width) = source, size
    if min(H, W, height, width) < 1:
        raise ValueError(f"a picture of {W}x{H} pixels cannot become {width}x{height}: sizes must be at least 1")
    if fit not in get_args(Fit):
        raise ValueError(f"fit {fit!r} is unknown: use {', '.join(get_args(Fit))}")
    if fit == "stretch":
        return PictureFit(source=source, top=0, left=0, height=H, width=W, size=size)
    ratios = W / width, H / height  # picture pixels per frame pixel
    step = min(ratios) if fit == "crop" else max(ratios)
    window_height, window_width = round(height * step), round(width * step)
    if fit == "crop":
        window_height, window_width = max(1, min(H, window_height)), max(1, min(W, window_width))
    else:
        window_height, window_width = max(H, window_height), max(W, window_width)
    top, left = (H - window_height) // 2, (W - window_width) // 2
    return PictureFit(source=source, top=top, left=left, height=window_height, width=window_width, size=size)


def load_first_frame(source: Source, width: int, height: int, fit: Fit = "crop") -> np.ndarray:
    """Read a picture as the first frame of a video: uint8 (height, width, 3), RGB.

    Args:
        source: path, bytes of a file, PIL image, or array (H, W), (H, W, 1), (H, W, 3), (H, W, 4), uint8 or uint16.
        width, height: size of the frame, in pixels.
        fit: see `fit_window`.

    Raises:
        ValueError: one sentence: missing, unreadable, smaller than 16 pixels or larger than 50 megapixels.
    """
    return fit_picture(open_picture(source), width, height, fit)[0]


def fit_picture(picture: Image.Image, width: int, height: int, fit: Fit = "crop") -> tuple[np.ndarray, PictureFit]:
    """Bring an RGB picture to uint8 (height, width, 3), and say how; see `fit_window`.

    Raises:
        ValueError: as in `fit_window`, or a frame of more than 50 megapixels.
    """
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"a frame of {width}x{height} pixels is too large; take at most {MAX_PIXELS // 1_000_000} megapixels"
        )
    placed = fit_window((picture.height, picture.width), (height, width), fit)
    lanczos = Image.Resampling.LANCZOS
    if fit != "pad":
        right, bottom = placed.left + placed.width, placed.top + placed.height
        frame = picture.resize((width, height), lanczos, box=(placed.left, placed.top, right, bottom))
        return np.array(frame), placed
    down, across = placed.scale
    inner = picture.resize((max(1, round(picture.width * across)), max(1, round(picture.height * down))), lanczos)
    frame = Image.new("RGB", (width, height), NEUTRAL)
    frame.paste(inner, (round(-placed.left * across), round(-placed.top * down)))
    return np.array(frame), placed


def open_picture(source: Source, *, behind: Colour = NEUTRAL) -> Image.Image:
    """Read a picture upright (EXIF applied) and in RGB, at its own size.

    Transparent parts lie on ``behind`` (grey); 16-bit values are scaled to 8; of an animation the first frame is taken,
    with a warning (a PIL image gives its current frame).

    Raises:
        ValueError: as in `load_first_frame`.
    """
    if isinstance(source, np.ndarray):
        return _rgb_of_array(source, behind)
    if isinstance(source, Image.Image):
        _check_size("the picture", source.width, source.height)
        return _upright_rgb(source, "the picture", behind)
    if not isinstance(source, (str, Path, bytes)):
        raise ValueError(f"a picture must be a path, the bytes of a file, a PIL image or a NumPy array, got {source!r:.60}")
    name = f"the picture of {len(source)} bytes" if isinstance(source, bytes) else f"picture {str(source)!r}"
    with _opened(source, name) as image:
        _check_size(name, image.width, image.height)
        # MPO is a photo with a depth map or a second view behind it, not an animation
        if getattr(image, "is_animated", False) and image.format != "MPO":
            warnings.warn(f"{name} has several frames; only the first is used")
            image.seek(0)
        return _upright_rgb(image, name, behind)


def open_mask(source: Source) -> Image.Image:
    """Read a picture as a mask, in mode "L" at its own size: white is in, black and what is transparent is out.

    Raises:
        ValueError: as in `load_first_frame`.
    """
    return open_picture(source, behind=BLACK).convert("L")


def enlarge(frames: np.ndarray, factor: int, smooth: bool = True) -> np.ndarray:
    """Enlarge frames (T, H, W, 3) uint8 by a whole factor, smoothly (Lanczos) or by repeating pixels."""
    if factor < 1:
        raise ValueError(f"the factor of an enlargement must be at least 1, got {factor}")
    if factor == 1:
        return frames
    if not smooth:
        return frames.repeat(factor, axis=1).repeat(factor, axis=2)
    _, H, W, _ = frames.shape
    size = (W * factor, H * factor)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 as a PNG, complete or not at all."""
    with replacing(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG")


def _opened(source: str | Path | bytes, name: str) -> Image.Image:
    """Open a file without decoding it: only its header is read."""
    Image.init()
    formats = [form for form in FORMATS if form in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        num_pixels = re.search(r"\d+", str(error))
        raise ValueError(_say_huge(name, int(num_pixels[0]) if num_pixels else MAX_PIXELS)) from error
    except FileNotFoundError as error:
        raise ValueError(f"{name} does not exist; check the path") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read; save it as JPEG, PNG or WebP") from error
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror or error}; check the path and its permissions") from error
    except Exception as error:  # readers of damaged headers raise almost anything
        raise ValueError(_say_damaged(name, error)) from error


def _check_size(name: str, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise ValueError(f"{name} is {width}x{height} pixels; give one of at least {MIN_SIDE_PX} pixels each way")
    if width * height > MAX_PIXELS:
        raise ValueError(_say_huge(name, width * height))


def _say_huge(name: str, num_pixels: int) -> str:
    return f"{name} has {num_pixels / 1e6:.1f} megapixels; give one of at most {MAX_PIXELS // 1_000_000}"


def _say_damaged(name: str, error: Exception) -> str:
    return f"{name} is damaged ({error}); save it again as JPEG, PNG or WebP"


def _upright_rgb(image: Image.Image, name: str, behind: Colour) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # as above: OSError, SyntaxError, struct.error, zlib.error, ...
        raise ValueError(_say_damaged(name, error)) from error
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception as error:
        warnings.warn(f"{name} has unreadable EXIF data ({error}); it is used as stored")
        upright = image
    try:
        return _rgb(upright, behind)
    except ValueError as error:
        raise ValueError(f"{name} has the colour mode {upright.mode}, which cannot be read; save it as RGB") from error


def _rgb(image: Image.Image, behind: Colour) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    background = Image.new("RGBA", image.size, (*behind, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Deep grey values -> uint8: 16-bit integers by their range, others by the smallest usual range that holds them."""
    known = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    brightest = known.max()
    if values.dtype.kind == "u":
        full = 65535.0
    elif brightest <= 1 and values.dtype.kind == "f":
        full = 1.0
    else:
        full = next((full for full in (255.0, 65535.0) if brightest <= full), brightest)
    return (known * (255 / full)).round().clip(0, 255).astype(np.uint8)


def _rgb_of_array(array: np.ndarray, behind: Colour) -> Image.Image:
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"a picture must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16, "
            f"got {array.shape} {array.dtype}; values in [0, 1] need (255 * picture).round().astype('uint8')"
        )
    H, W, channels = shaped.shape
    _check_size("the picture", W, H)
    if shaped.dtype == np.uint16:
        shaped = ((shaped.astype(np.uint32) + 128) // 257).astype(np.uint8)
    pixels: Any = shaped[..., 0] if channels == 1 else shaped
    return _rgb(Image.fromarray(np.ascontiguousarray(pixels)), behind)
