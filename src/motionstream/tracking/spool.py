"""Tracks that are written while they are made: an hour of them never lies in memory.

    with TrackSpool("tracks.npz", num_tracks=2500, size=(480, 832), fps=30) as spool:
        for window in track_windows(frames, queries):
            spool.write(window.xy, window.visible)

The file is the one `save_tracks` would write; it appears complete or not at all.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from motionstream.files import replacing, said_if_unwritable
from motionstream.tracks.io import MAX_FRAMES, TRACKS_FORMAT, VERSION, check_fits_json
from motionstream.tracks.tracks import check_fps


class TrackSpool:
    """Collects positions and visibility frame by frame in unnamed files, and makes a tracks file of them at the end.

    Args:
        path: ``.npz`` or ``.json`` in a folder that exists. num_tracks: N; ids are 0, ..., N - 1.
        size: (H, W) of the canvas in pixels. fps: frames per second.

    Raises:
        ValueError: another suffix, a frame rate out of range, nothing visible to write, or more than such a file holds.
    """

    def __init__(self, path: str | Path, *, num_tracks: int, size: tuple[int, int], fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in (".npz", ".json"):
            raise ValueError(f"{self.path.name!r} must end in .json or .npz to hold tracks")
        self.num_tracks, self.size, self.fps, self.num_frames = num_tracks, size, check_fps(fps), 0
        self._any_visible = False
        self._xy: IO[bytes] = tempfile.TemporaryFile(dir=self.path.parent)
        self._visible: IO[bytes] = tempfile.TemporaryFile(dir=self.path.parent)

    def write(self, xy: np.ndarray, visible: np.ndarray) -> None:
        """Append frames: xy (T, N, 2) pixels, visible (T, N) bool; a visible point off the canvas becomes invisible."""
        H, W = self.size
        if xy.shape != (*visible.shape, 2) or visible.shape[1] != self.num_tracks:
            raise ValueError(f"frames of {self.num_tracks} tracks expected, got xy {xy.shape} and visible {visible.shape}")
        if self.num_frames + len(xy) > MAX_FRAMES:
            raise ValueError(f"a tracks file holds at most {MAX_FRAMES} frames; take fewer (--frames), or cut the video")
        if self.path.suffix.lower() == ".json":
            check_fits_json(self.num_frames + len(xy), self.num_tracks)
        shown = visible & (xy >= 0).all(axis=-1) & (xy[..., 0] < W) & (xy[..., 1] < H)
        self._any_visible |= bool(shown.any())
        with said_if_unwritable(self.path):
            self._xy.write(np.ascontiguousarray(xy, dtype="<f4").tobytes())
            self._visible.write(np.ascontiguousarray(shown, dtype=bool).tobytes())
        self.num_frames += len(xy)

    def close(self) -> None:
        """Write the file."""
        if not self._any_visible:
            self.discard()
            raise ValueError(f"cannot save to {self.path}: no point of these tracks is ever visible")
        try:
            with said_if_unwritable(self.path), replacing(self.path) as unfinished:
                if self.path.suffix.lower() == ".npz":
                    self._write_npz(unfinished)
                else:
                    self._write_json(unfinished)
        finally:
            self.discard()

    def discard(self) -> None:
        """Give up what was collected."""
        self._xy.close()
        self._visible.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close() if kind is None else self.discard()

    def _write_npz(self, target: Path) -> None:
        T, N = self.num_frames, self.num_tracks
        H, W = self.size
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            self._copy_into(archive, "xy", self._xy, "<f4", (1, T, N, 2))
            self._copy_into(archive, "visible", self._visible, "|b1", (1, T, N))
            header: dict[str, Any] = {"format": TRACKS_FORMAT, "version": VERSION, "width": W, "height": H, "fps": self.fps}
            for name, value in {"ids": np.arange(N, dtype=np.int64)[None], **header}.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, np.asarray(value), allow_pickle=False)

    @staticmethod
    def _copy_into(archive: zipfile.ZipFile, name: str, spool: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(entry, header)
            spool.seek(0)
            while block := spool.read(1 << 22):
                entry.write(block)

    def _write_json(self, target: Path) -> None:
        T, N = self.num_frames, self.num_tracks
        H, W = self.size
        self._xy.flush()
        self._visible.flush()
        xy = np.memmap(self._xy, dtype="<f4", mode="r", shape=(T, N, 2))  # type: ignore[call-overload]
        visible = np.memmap(self._visible, dtype=bool, mode="r", shape=(T, N))  # type: ignore[call-overload]
        header = {"format": TRACKS_FORMAT, "version": VERSION, "width": W, "height": H, "fps": self.fps, "num_frames": T}
        with target.open("w", encoding="utf-8") as file:
            file.write(f'{json.dumps(header)[:-1]},\n "tracks": [')
            for n in range(N):
                file.write(",\n  " if n else "\n  ")
                file.write(json.dumps(_json_track(n, np.asarray(xy[:, n]), np.asarray(visible[:, n]))))
            file.write("\n]}\n")


def _json_track(track_id: int, xy: np.ndarray, visible: np.ndarray) -> dict[str, Any]:
    seen = visible.nonzero()[0]
    start, stop = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 1)
    # str() of a float32 is its shortest exact form: 0.1, not 0.10000000149011612
    points = [[float(str(value)) for value in xy[t]] if visible[t] else None for t in range(start, stop)]
    return {"id": track_id, "start": start, "points": points}
