"""Marks of held points: packed for the disk, unpacked, and drawn over a frame in the paper's colours (appendix C).

>>> from collections import namedtuple
>>> Mark = namedtuple("Mark", "x y kind")
>>> unpack_marks(pack_marks([Mark(3.5, 2.25, "pin")]))
[(3.5, 2.25, 'pin')]
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from motionstream.tracks.draw import KIND_COLOURS, Colour

COLOURS: dict[str, Colour] = {**KIND_COLOURS, "camera": (250, 200, 60), "motion": (186, 130, 255)}
_KINDS = ("drag", "pin", "path", "camera", "motion")
_SWARMS = ("camera", "motion")
_ROW = struct.Struct("<ffB")


class MarkLike(Protocol):
    """A held point in one frame, in pixels of the canvas; see `motionstream.stream.gestures.Mark`."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def kind(self) -> str: ...


def pack_marks(marks: Iterable[MarkLike]) -> bytes:
    """Nine bytes a mark."""
    return b"".join(_ROW.pack(mark.x, mark.y, _KINDS.index(mark.kind)) for mark in marks)


def unpack_marks(packed: bytes) -> list[tuple[float, float, str]]:
    """(x, y, kind) of every mark; bytes that a torn file left over are passed by."""
    whole = len(packed) - len(packed) % _ROW.size
    return [(x, y, _KINDS[kind % len(_KINDS)]) for x, y, kind in _ROW.iter_unpack(packed[:whole])]


def draw_marks(frame: np.ndarray, marks: Sequence[tuple[float, float, str]], scale: int = 1) -> np.ndarray:
    """Draw dots over a frame.

    Args:
        frame: (H, W, 3) uint8, enlarged ``scale`` times from the canvas of the marks; left as it is.
        marks: (x, y, kind), pixel centres at +0.5.
    """
    if not marks:
        return frame
    image = Image.fromarray(frame)
    pen = ImageDraw.Draw(image, "RGBA")
    r = max(1.0, min(frame.shape[:2]) / 120)
    for x, y, kind in sorted(marks, key=lambda mark: mark[2] not in _SWARMS):  # a hand's marks lie over the camera's
        px, py = x * scale - 0.5, y * scale - 0.5  # PIL counts from pixel centres
        small = r / 2 if kind in _SWARMS else r
        outline = (0, 0, 0, 255) if small >= 2 else None
        pen.ellipse((px - small, py - small, px + small, py + small), fill=(*COLOURS[kind], 255), outline=outline)
    return np.asarray(image)
