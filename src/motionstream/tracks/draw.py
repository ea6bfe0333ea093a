"""Tracks drawn over frames, and contact sheets, for people to look at (numpy and PIL only).

>>> from motionstream.tracks.tracks import Tracks
>>> tracks = Tracks.from_points([[[3.5, 4.5]], [[5.5, 4.5]]], size=(8, 8), fps=16)
>>> draw_tracks(np.zeros((2, 8, 8, 3), np.uint8), tracks).shape
(2, 8, 8, 3)
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from motionstream.tracks.given import check_whole
from motionstream.tracks.tracks import Tracks

Colour = tuple[int, int, int]
# as in the paper's demo (appendix C): live drags green, pinned points red, paths drawn beforehand blue
KIND_COLOURS: dict[str, Colour] = {"drag": (40, 210, 80), "pin": (235, 60, 50), "path": (60, 120, 255)}


def colour_of_id(track_id: int) -> Colour:
    """Return a bright RGB colour that depends on the id alone; neighbouring ids differ clearly."""
    hue = (track_id * 2654435769 % 2**32) / 2**32  # Fibonacci hashing
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_tracks(
    frames: np.ndarray,
    tracks: Tracks,
    tail: int = 8,
    colours: Mapping[int, str | Colour] | str | None = None,
    sample: int = 0,
) -> np.ndarray:
    """Draw a dot with a short fading tail for every visible point.

    Args:
        frames: (T, H, W, 3) uint8; left as they are.
        tracks: T frames; another canvas size is scaled to that of the frames.
        tail: how many past frames the tail covers, >= 0; it breaks where the track was not visible.
        colours: None = by id; "drag", "pin" or "path" for all; or a mapping from id to such a kind or to RGB, as
            `kinds_by_id` makes it (ids it lacks are coloured by id).
        sample: which sample of the batch to draw.

    Returns:
        (T, H, W, 3) uint8.

    Raises:
        ValueError: shapes or frame counts that do not fit, a sample that is not there, or an unknown kind.
    """
    _check_frames(frames)
    T, H, W, _ = frames.shape
    if tracks.num_frames != T:
        raise ValueError(f"{T} frames and tracks of {tracks.num_frames}; use slice_frames, pad_frames or resample")
    tail = check_whole("tail", tail, 0)
    if not 0 <= check_whole("sample", sample, None) < tracks.batch:
        raise ValueError(f"there is no sample {sample}; these tracks have 0 to {tracks.batch - 1}")
    tracks = tracks.resize(H, W)
    xy = tracks.xy[sample].cpu().numpy() - 0.5  # PIL counts from pixel centres
    visible = tracks.visible[sample].cpu().numpy()
    palette = [_pick_colour(track_id, colours) for track_id in tracks.ids[sample].tolist()]
    radius = max(1.0, min(H, W) / 120)
    return np.stack([_draw_frame(frames[t], t, xy, visible, palette, tail, radius) for t in range(T)])


def _draw_frame(
    frame: np.ndarray, t: int, xy: np.ndarray, visible: np.ndarray, palette: list[Colour], tail: int, radius: float
) -> np.ndarray:
    image = Image.fromarray(frame)
    pen = ImageDraw.Draw(image, "RGBA")
    shown = visible[t].nonzero()[0]
    for past in range(max(0, t - tail), t):  # oldest and faintest first
        alpha = round(200 * (1 - (t - past) / (tail + 1)))
        for n in shown[visible[past : t + 1, shown].all(axis=0)]:
            ends = [tuple(xy[past, n]), tuple(xy[past + 1, n])]
            pen.line(ends, fill=(*palette[n], alpha), width=max(1, round(radius)))
    for n in shown:
        (x, y), r = xy[t, n], radius
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(*palette[n], 255), outline=(0, 0, 0, 255) if r >= 2 else None)
    return np.asarray(image)


def _pick_colour(track_id: int, colours: Mapping[int, str | Colour] | str | None) -> Colour:
    choice = colours.get(track_id) if isinstance(colours, Mapping) else colours
    if choice is None:
        return colour_of_id(track_id)
    if not isinstance(choice, str):
        return choice
    if choice not in KIND_COLOURS:
        raise ValueError(f"unknown kind of track {choice!r}; known are {', '.join(KIND_COLOURS)}")
    return KIND_COLOURS[choice]


def contact_sheet(frames: np.ndarray, columns: int = 6, every: int = 1, gap_px: int = 2) -> Image.Image:
    """Lay frames out in rows on one picture, left to right and top to bottom.

    Args:
        frames: (T, H, W, 3) uint8.
        columns: most frames in a row, >= 1.
        every: take frame 0, `every`, 2 * `every`, ...; >= 1.
        gap_px: white space between the frames.
    """
    _check_frames(frames)
    if columns < 1 or every < 1 or gap_px < 0:
        raise ValueError(f"columns and every must be at least 1 and gap_px 0, got {columns}, {every} and {gap_px}")
    chosen = frames[::every]
    count, H, W, _ = chosen.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * (W + gap_px) - gap_px, rows * (H + gap_px) - gap_px), "white")
    for k, frame in enumerate(chosen):
        row, column = divmod(k, columns)
        sheet.paste(Image.fromarray(frame), (column * (W + gap_px), row * (H + gap_px)))
    return sheet


def _check_frames(frames: np.ndarray) -> None:
    given: Any = frames
    if not isinstance(given, np.ndarray):
        raise ValueError(f"frames must be a NumPy array, got a {type(given).__name__}: np.stack(frames) makes one of a list")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"frames must be (T, H, W, 3) uint8 and not empty, got {frames.shape} {frames.dtype}")
