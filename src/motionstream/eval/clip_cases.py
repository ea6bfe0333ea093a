"""Suites of real video: the bundled clips, and the paper's DAVIS and Sora protocols from folders of the user's.

A clip's tracks are found by a point tracker on a grid over its first frame, and given to the model with that frame.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from motionstream.errors import UserError
from motionstream.eval.cases import VideoCase
from motionstream.eval.quality import resize_frames
from motionstream.media.images import fit_window
from motionstream.media.video import read_video
from motionstream.shapes import VideoGeometry
from motionstream.tracking import track_points
from motionstream.tracking.appearance import is_flat
from motionstream.tracks.tracks import Tracks

VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Clip:
    """Where a sample's frames are.

    Attributes:
        name: of the sample. path: a video file, or a folder of pictures in order of their names.
        prompt: words, may be "". start, step: first frame, and every how many-th is taken.
    """

    name: str
    path: Path
    prompt: str = ""
    start: int = 0
    step: int = 1

    def frames(self, count: int) -> np.ndarray:
        """At most ``count`` frames ``(T, H, W, 3)`` uint8 at the clip's own size."""
        last = self.start + self.step * (count - 1) + 1
        if self.path.is_dir():
            files = picture_files(self.path)[self.start : last : self.step]
            return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        return read_video(self.path, max_frames=last)[0][self.start :: self.step]


def picture_files(folder: Path) -> list[Path]:
    """Pictures of a folder by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


class ClipCases:
    """A `CaseSource` over clips.

    Args:
        max_frames: frames of a clip that are used; each clip is cut to the latent grid (t_stride * k + 1).
        grid: (rows, columns) of points on the first frame. metric_size: (H, W) of the measures; None = the model's.
        whole: stretch the whole picture, as the paper's protocols do; else crop to the model's aspect.
    """

    def __init__(
        self,
        suite: str,
        clips: list[Clip],
        geometry: VideoGeometry,
        *,
        max_frames: int,
        grid: tuple[int, int],
        expected: int,
        metric_size: tuple[int, int] | None = None,
        whole: bool = False,
        tracker: str = "lk",
        notes: list[str] | None = None,
    ) -> None:
        self.suite, self.clips, self.geometry, self.grid = suite, clips, geometry, grid
        self.max_frames, self.tracker, self.whole = max_frames, tracker, whole
        self.metric_size = metric_size or (geometry.height, geometry.width)
        self.names = [clip.name for clip in clips]
        self.expected = expected
        self.settings: dict[str, Any] = {
            "frames": max_frames, "grid": list(grid), "measured_at": list(self.metric_size),
            "tracks_from": tracker,
        }  # fmt: skip
        self.notes = notes or []

    def case(self, index: int) -> VideoCase:
        clip, geometry = self.clips[index], self.geometry
        frames = clip.frames(self.max_frames)
        kept = (len(frames) - 1) // geometry.t_stride * geometry.t_stride + 1
        if kept < geometry.t_stride + 1:
            found = f"{len(frames)} frame{'s' if len(frames) != 1 else ''}"
            raise UserError(f"clip {str(clip.path)!r} has {found}: at least {geometry.t_stride + 1} are needed")
        frames, canvas = frames[:kept], (geometry.height, geometry.width)
        window = fit_window((frames.shape[1], frames.shape[2]), canvas, "stretch" if self.whole else "crop")
        seen = frames[:, window.top : window.top + window.height, window.left : window.left + window.width]
        # Points are followed at the better of both resolutions: the floor then says what the model's canvas costs.
        reference = resize_frames(seen, self.metric_size)
        source = reference if self.whole else seen
        tracks = grid_tracks(source, self.grid, self.tracker, geometry.fps)
        # On a flat picture every point is "visible" for ever where it was put.
        if is_flat(source[0]) or not bool(tracks.visible[0, 1:].any()):
            raise UserError(
                f"clip {str(clip.path)!r} has no point that can be followed beyond its first frame: leave it out, or give a "
                "clip with texture"
            )
        truth = resize_frames(seen, canvas)
        return VideoCase(
            name=clip.name,
            first_frame=truth[0],
            tracks=tracks.resize(*canvas),
            prompt=clip.prompt,
            truth=truth,
            scored=tuple(range(kept)),
            reference=reference,
            wanted=tracks.resize(*self.metric_size),
            facts={"frames": kept, "clip": clip.path.stem},
        )


def grid_tracks(frames: np.ndarray, grid: tuple[int, int], tracker: str, fps: float) -> Tracks:
    """Tracks of (rows, columns) points in the middle of their cells of frame 0."""
    (rows, columns), (H, W) = grid, frames.shape[1:3]
    y, x = np.meshgrid((np.arange(rows) + 0.5) * H / rows, (np.arange(columns) + 0.5) * W / columns, indexing="ij")
    queries = np.stack([np.zeros(rows * columns), x.ravel(), y.ravel()], axis=1).astype(np.float32)
    return track_points(frames, queries, tracker=tracker, fps=fps)


def bundled_clips(window_frames: int) -> list[Clip]:
    """The clips that ship with the package (THIRD_PARTY.md), each cut into windows of ``window_frames``."""
    clips = []
    for name, (path, caption) in bundled_files().items():
        count = len(read_video(path, size=(16, 16))[0])
        for start in range(0, max(count - window_frames, 0) + 1, window_frames):
            clips.append(Clip(f"{name}-{start:03d}", path, caption, start))
    return clips


def bundled_files() -> dict[str, tuple[Path, str]]:
    """Name -> (file, caption) of the clips that ship with the package."""
    folder = Path(str(resources.files("motionstream"))) / "assets" / "clips"
    entries = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    return {entry["name"]: (folder / entry["file"], entry["caption"]) for entry in entries}


def folder_clips(folder: Path, fps: float) -> list[Clip]:
    """Every video file of a folder, thinned to about ``fps`` frames a second; ``prompts.json`` may name prompts.

    A file that cannot be read is listed too: what is wrong with it is said when it is its turn.

    Raises:
        UserError: no such folder, no video in it, or prompts that cannot be read.
    """
    files, prompts = folder_files(folder), read_prompts(folder)
    clips = []
    for name, path in files.items():
        try:
            own = read_video(path, max_frames=1, size=(16, 16))[1]
        except ValueError:
            own = fps
        clips.append(Clip(name, path, prompts.get(name, ""), step=max(1, round(own / fps))))
    return clips


def folder_files(folder: Path) -> dict[str, Path]:
    """Name -> file of a folder's videos.

    Raises:
        UserError: no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise UserError(f"the folder {str(folder)!r} does not exist: give --data a folder of videos")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise UserError(f"{folder} holds no video (mp4, webm, mov, mkv): give --data a folder of videos")
    stems = [path.stem for path in files]
    return {path.stem if stems.count(path.stem) == 1 else path.name: path for path in files}  # a.mp4 beside a.webm


def read_prompts(folder: Path) -> dict[str, str]:
    """``prompts.json`` of a folder: an object from a clip's name to its prompt; {} without the file.

    Raises:
        UserError: another content.
    """
    path = folder / "prompts.json"
    if not path.is_file():
        return {}
    try:
        prompts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): write an object from clip names to prompts") from error
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise UserError(f"{path} must be an object from clip names to prompts")
    return prompts
