"""Samples of suite transfer: bundled (or the user's) clips, and bundled pictures that they drive.

A sample is the motion of the first frames of a clip, found and chosen as `motionstream transfer` does, and a picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from motionstream.errors import UserError
from motionstream.eval.clip_cases import bundled_files, folder_files
from motionstream.eval.quality import resize_frames
from motionstream.media.images import load_first_frame
from motionstream.shapes import VideoGeometry
from motionstream.tracking.borrow import ClipMotion, expected_at, tracks_of
from motionstream.tracking.clip import Clip
from motionstream.tracking.live import LiveSeen
from motionstream.tracks.tracks import Tracks

ASSETS = Path(str(resources.files("motionstream"))) / "assets"
PICTURES = ("cat", "coffee", "rocket", "dahlia")
"""Photographs of the gallery that no training saw."""
MIN_FRAMES = 5


@dataclass(frozen=True, eq=False)
class Motion:
    """What a clip gives to a stream.

    Attributes:
        sights: points of whole chunks, for `motionstream.stream.follow`; the last chunk may be longer than the sample.
        tracks: the same points as tracks of the sample's frames, B = 1, on the model's canvas.
        pictures: the clip itself there, ``(T, H, W, 3)`` uint8.
    """

    sights: list[LiveSeen]
    tracks: Tracks
    pictures: np.ndarray


@dataclass(frozen=True)
class Picture:
    """A first frame ``(H, W, 3)`` uint8 on the model's canvas, and words for it."""

    frame: np.ndarray
    prompt: str


def clip_motion(path: Path, geometry: VideoGeometry, max_frames: int, chunk_frames: int, tracker: str) -> Motion:
    """The motion of a clip's first ``max_frames`` at the model's rate, taken chunk by chunk (``chunk_frames`` latent ones).

    Raises:
        ValueError: a clip that cannot be read, is too short, or has nothing in it to follow.
    """
    source = ClipMotion(Clip(path), geometry, tracker=tracker)
    sights: list[LiveSeen] = []
    pictures: list[np.ndarray] = []
    chunk = 0
    while len(sights) < max_frames:
        start, stop = geometry.frame_span(chunk * chunk_frames, (chunk + 1) * chunk_frames)
        seen = source.take(stop - start)
        sights += seen
        pictures += source.pictures
        chunk += 1
        if len(seen) < stop - start:
            break
    T, canvas = min(max_frames, len(sights)), (geometry.height, geometry.width)
    if T < MIN_FRAMES:
        raise UserError(f"clip {str(path)!r} has {T} frames at {geometry.fps:g} fps: at least {MIN_FRAMES} are needed")
    tracks = tracks_of(sights[:T], canvas, geometry.fps)
    visible = tracks.visible[0].numpy()
    if not (visible.sum(axis=0) > 1).any():
        raise UserError(f"clip {str(path)!r} has no point that can be followed: use one with texture")
    return Motion(sights, tracks, resize_frames(np.stack(pictures[:T]), canvas))


def load_picture(name: str, geometry: VideoGeometry) -> Picture:
    """A picture of the gallery."""
    entries = json.loads((ASSETS / "gallery" / "gallery.json").read_text(encoding="utf-8"))
    caption = next(entry["caption"] for entry in entries if entry["file"] == f"{name}.jpg")
    return Picture(load_first_frame(ASSETS / "gallery" / f"{name}.jpg", geometry.width, geometry.height), caption)


def transfer_clips(folder: Path | None) -> dict[str, Path]:
    """Name -> file: the bundled clips, or the videos of a folder.

    Raises:
        UserError: a folder that does not exist or holds no video.
    """
    return {name: path for name, (path, _) in bundled_files().items()} if folder is None else folder_files(folder)


def short_clips(clips: dict[str, Path], geometry: VideoGeometry, max_frames: int) -> list[str]:
    """Sentences about clips that end before ``max_frames``; what cannot be read is said when it is its turn."""
    found = []
    for name, path in clips.items():
        try:
            frames = expected_at(Clip(path), geometry.fps)
        except ValueError:
            continue
        if 0 < frames < max_frames:
            found.append(f"Clip {name} ends after {frames} of {max_frames} frames, and its samples with it.")
    return found


def shuffled(motion: Motion) -> list[LiveSeen]:
    """The control: every point stays where and when it is, but goes the way of another one.

    Points are paired at random (always alike). A point takes, frame by frame of its life, how far the other one got from
    its own beginning; a shorter life is held at its end. What would leave the canvas is hidden.
    """
    H, W = motion.tracks.size
    paths: dict[int, list[np.ndarray]] = {}
    for seen in motion.sights:
        for name, xy in zip(seen.ids.tolist(), seen.xy, strict=True):
            paths.setdefault(name, []).append(xy)
    names = sorted(paths)
    order = np.random.default_rng(0).permutation(len(names))
    # neighbours in a random order are a pairing without fixed points
    other = {names[order[k]]: names[order[(k + 1) % len(order)]] for k in range(len(order))}
    age = dict.fromkeys(names, 0)
    changed = []
    for seen in motion.sights:
        xy = seen.xy.copy()
        for k, name in enumerate(seen.ids.tolist()):
            way = paths[other[name]]
            xy[k] = paths[name][0] + way[min(age[name], len(way) - 1)] - way[0]
            age[name] += 1
        inside = (xy >= 0).all(axis=1) & (xy < (W, H)).all(axis=1)
        changed.append(LiveSeen(seen.ids[inside], xy[inside], seen.visible[inside], seen.born[inside]))
    return changed


def nothing_held(motion: Motion) -> list[LiveSeen]:
    """The control without any point."""
    none = np.zeros((0, 2), np.float32)
    return [LiveSeen(np.zeros(0, np.int64), none, np.zeros(0, bool), none) for _ in motion.sights]


def of_length(sights: list[LiveSeen], count: int) -> list[LiveSeen]:
    """The first ``count`` frames, or all and their last one held."""
    return [*sights[:count], *[sights[-1]] * (count - len(sights))]
