"""A take's frames on disk: JPEGs one after another in a file, and an index of them; appended, read and cut back.

``frames.bin`` holds for each frame its JPEG and then its marks; ``frames.idx`` a row for each: where it lies, and the two
lengths. The index is written after the frames, so that what it names is always there.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

_ROW = struct.Struct("<QII")


class FrameFile:
    """Frames 0, 1, 2, ... in a folder; one thread appends and cuts, any thread reads.

    Args:
        folder: must exist; what lies in it from an earlier run is taken up.
    """

    def __init__(self, folder: Path) -> None:
        self._frames, self._index = folder / "frames.bin", folder / "frames.idx"
        self._lock = threading.Lock()
        self._rows: list[tuple[int, int, int]] = []
        self.version = 0  # another one whenever frames come or go
        self.cuts = 0  # how often frames have gone
        size = self._frames.stat().st_size if self._frames.exists() else 0
        if self._index.exists():
            written = self._index.read_bytes()
            for row in _ROW.iter_unpack(written[: len(written) - len(written) % _ROW.size]):
                if row[0] + row[1] + row[2] > size:
                    break
                self._rows.append(row)

    @property
    def num_frames(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Size of the frames and their marks."""
        with self._lock:
            return self._end()

    def _end(self) -> int:
        start, jpeg, marks = self._rows[-1] if self._rows else (0, 0, 0)
        return start + jpeg + marks

    def append(self, frames: Sequence[tuple[bytes, bytes]]) -> None:
        """Add frames, each a JPEG and its packed marks; all of them or, after an error, none.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        with self._lock:
            start, rows = self._end(), []
            for jpeg, marks in frames:
                rows.append((start, len(jpeg), len(marks)))
                start += len(jpeg) + len(marks)
            self._write(self._frames, self._end(), b"".join(jpeg + marks for jpeg, marks in frames))
            self._write(self._index, len(self._rows) * _ROW.size, b"".join(_ROW.pack(*row) for row in rows))
            self._rows += rows
            self.version += 1

    def cut(self, num_frames: int) -> None:
        """Keep only the first ``num_frames``."""
        with self._lock:
            if num_frames >= len(self._rows):
                return
            self._rows = self._rows[:num_frames]
            self.version += 1
            self.cuts += 1
            os.truncate(self._index, num_frames * _ROW.size)
            os.truncate(self._frames, self._end())

    def read(self, frame: int) -> tuple[bytes, bytes]:
        """JPEG and packed marks of one frame.

        Raises:
            IndexError: no such frame. OSError: it cannot be read.
        """
        with self._lock:
            if not 0 <= frame < len(self._rows):
                raise IndexError(f"there is no frame {frame}: {len(self._rows)} were kept")
            start, jpeg, marks = self._rows[frame]
            with self._frames.open("rb") as file:
                file.seek(start)
                return file.read(jpeg), file.read(marks)

    @staticmethod
    def _write(path: Path, at: int, content: bytes) -> None:
        """Write at an offset that is the file's end, or a torn end of it."""
        with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
            file.truncate(at)
            file.seek(at)
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) or 0 :]
