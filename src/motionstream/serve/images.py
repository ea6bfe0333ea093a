"""Pictures in and frames out: uploads are checked before they are decoded, frames become JPEGs."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from motionstream.media.images import MIN_SIDE_PX, PictureFit, fit_picture, open_picture

KEPT_SIDE_PX = 2048
"""Longer side of a kept picture: more than any model's canvas needs, and small enough to keep many."""
_FORMATS = ("PNG", "JPEG", "WEBP")
_ONE_AT_A_TIME = threading.Lock()


class WrongType(ValueError):
    """Not a picture of a kind that is taken."""


class TooLarge(ValueError):
    """More pixels than are taken."""


def read_upload(content: bytes, most_pixels: int) -> Image.Image:
    """Read an uploaded picture: upright, RGB, its longer side at most `KEPT_SIDE_PX`.

    One picture is decoded at a time, which bounds the memory that uploads can take.

    Raises:
        WrongType: not PNG, JPEG or WebP. TooLarge: too many pixels. ValueError: empty, damaged, or too small.
    """
    if not content:
        raise ValueError("the picture is empty: choose a PNG, JPEG or WebP file")
    width, height = _size_of(content, most_pixels)
    if width * height > most_pixels:
        raise TooLarge(f"the picture has {width * height / 1e6:.1f} megapixels; give one of at most {most_pixels / 1e6:g}")
    if min(width, height) < MIN_SIDE_PX:
        raise ValueError(f"the picture is {width}x{height} pixels; give one of at least {MIN_SIDE_PX} pixels each way")
    if min(width, height) * KEPT_SIDE_PX < MIN_SIDE_PX * max(width, height):  # reduced, no crop of it could be used
        most = KEPT_SIDE_PX // MIN_SIDE_PX
        raise ValueError(
            f"the picture is {width}x{height} pixels, a mere strip: give one at most {most} times as long as wide"
        )
    with _ONE_AT_A_TIME:
        picture = open_picture(content)
        picture.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX), Image.Resampling.LANCZOS)
    return picture


def _size_of(content: bytes, most_pixels: int) -> tuple[int, int]:
    """(width, height) from the header; nothing is decoded."""
    Image.init()  # otherwise only the commonest readers are known
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"the picture is far too large; give one of at most {most_pixels / 1e6:g} megapixels") from error
    except Exception as error:  # readers of damaged headers raise almost anything
        raise WrongType("this is not a PNG, JPEG or WebP picture") from error


def first_frame(
    picture: Image.Image, crop: Sequence[float] | None, width: int, height: int
) -> tuple[np.ndarray, PictureFit]:
    """A part of a picture as the first frame, (height, width, 3) uint8, and where in the picture that is.

    Args:
        picture: upright RGB. crop: x0, y0, x1, y1 in its pixels; the middle of it with the frame's aspect is taken.

    Raises:
        ValueError: a crop that leaves too little of the picture.
    """
    size, x0, y0 = (picture.height, picture.width), 0, 0
    if crop is not None:
        x0, x1 = (min(max(round(x), 0), picture.width) for x in (crop[0], crop[2]))
        y0, y1 = (min(max(round(y), 0), picture.height) for y in (crop[1], crop[3]))
        if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
            raise ValueError(
                f"the crop {[round(value) for value in crop]} is too small, or outside of the picture of "
                f"{picture.width}x{picture.height} pixels: give at least {MIN_SIDE_PX} pixels each way"
            )
        picture = picture.crop((x0, y0, x1, y1))
    frame, placed = fit_picture(picture, width, height, "crop")
    return frame, replace(placed, source=size, top=placed.top + y0, left=placed.left + x0)


def jpeg(frame: np.ndarray, quality: int) -> bytes:
    """A frame (H, W, 3) uint8 as JPEG with full colour resolution."""
    packed = io.BytesIO()
    Image.fromarray(frame).save(packed, "JPEG", quality=quality, subsampling=0)
    return packed.getvalue()


def frame_of_jpeg(packed: bytes) -> np.ndarray:
    """The frame (H, W, 3) uint8 in a JPEG."""
    with Image.open(io.BytesIO(packed), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))
