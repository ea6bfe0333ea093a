"""Pictures and takes on disk, bounded: when there are too many, the oldest go.

    FOLDER/pictures/<id>.jpg
    FOLDER/depths/<id>.depth
    FOLDER/takes/<id>/take.json, frames.bin, frames.idx, and the videos asked for: clean.mp4, tracks.mp4

Every method may be called from any thread and may block on the disk; the event loop calls none of them directly.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
from pathlib import Path

from PIL import Image

from motionstream.files import replacing
from motionstream.serve.frames import FrameFile
from motionstream.serve.limits import Limits

_ID = re.compile(r"[0-9a-f]{16}")
_OTHERS = ("take.json", "clean.mp4", "tracks.mp4")


class TakeFolder:
    """One take on disk; while it is ``live``, it is not removed to make room."""

    def __init__(self, path: Path) -> None:
        self.path, self.id = path, path.name
        self.frames = FrameFile(path)
        self.live = False
        self.fps: float | None = None  # where it is known without reading the file
        self.exported: dict[str, int] = {}  # name of a video -> version of the frames that it shows
        self._unsaved: str | None = None
        self._others = 0
        self.measure()

    @property
    def nbytes(self) -> int:
        """Its frames, its JSON and its videos."""
        return self.frames.nbytes + self._others

    def measure(self) -> None:
        """Look again at how large the JSON and the videos are."""
        sizes = (path.stat().st_size for path in (self.path / name for name in _OTHERS) if path.is_file())
        self._others = sum(sizes)

    def hold(self, text: str) -> None:
        """Let the take's JSON be read from here until it is saved, which takes its turn."""
        self._unsaved = text

    def save(self, text: str) -> None:
        """Keep the take's JSON; the file is replaced in one go.

        Raises:
            OSError: the disk is full. The take can still be read from here.
        """
        self.hold(text)
        with replacing(self.path / "take.json", alone=True) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        self._unsaved = None
        self.measure()

    def read(self) -> str | None:
        """The take's JSON as it was saved last, None when it never was."""
        if self._unsaved is not None:
            return self._unsaved
        try:
            return (self.path / "take.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


class Store:
    """What one server keeps.

    Args:
        folder: takes of an earlier server in it are taken up; None = a temporary folder that `close` removes.
    """

    def __init__(self, folder: Path | None, limits: Limits) -> None:
        self.limits = limits
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="motionstream-")) if folder is None else folder
        self._pictures_folder, self._takes_folder = self.folder / "pictures", self.folder / "takes"
        self._lock = threading.Lock()
        self._depths_folder = self.folder / "depths"
        for made in (self._pictures_folder, self._depths_folder, self._takes_folder):
            made.mkdir(parents=True, exist_ok=True)
        pictures = [path for path in self._pictures_folder.glob("*.jpg") if _ID.fullmatch(path.stem)]
        self._pictures = {path.stem: path for path in sorted(pictures, key=_age)}
        depths = [path for path in self._depths_folder.glob("*.depth") if _ID.fullmatch(path.stem)]
        self._depths = {path.stem: path for path in sorted(depths, key=_age)}
        takes = [path for path in self._takes_folder.iterdir() if _ID.fullmatch(path.name) and path.is_dir()]
        for path in takes:  # what a server that was killed has left behind
            for left in path.glob("*.mp4.*.unfinished"):
                left.unlink(missing_ok=True)
        self._takes = {path.name: TakeFolder(path) for path in sorted(takes, key=_age)}

    def close(self) -> None:
        """Remove the folder if it was temporary."""
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- pictures ----------------------------------------------------------------------------------------------------

    def add_picture(self, picture: Image.Image) -> str:
        """Keep an upright RGB picture; its id.

        Raises:
            OSError: the disk is full.
        """
        key = secrets.token_hex(8)
        path = self._pictures_folder / f"{key}.jpg"
        try:
            picture.save(path, "JPEG", quality=95, subsampling=0)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._pictures[key] = path
            while len(self._pictures) > self.limits.pictures_on_disk:
                self._pictures.pop(next(iter(self._pictures))).unlink(missing_ok=True)
        return key

    def picture(self, key: str) -> Path | None:
        """File of a picture, None for an id that is not known (any more)."""
        return self._pictures.get(key)

    def add_depth(self, content: bytes) -> str:
        """Keep the file of a depth map; its id.

        Raises:
            OSError: the disk is full.
        """
        key = secrets.token_hex(8)
        path = self._depths_folder / f"{key}.depth"
        try:
            path.write_bytes(content)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._depths[key] = path
            while len(self._depths) > self.limits.depth_maps_on_disk:
                self._depths.pop(next(iter(self._depths))).unlink(missing_ok=True)
        return key

    def depth(self, key: str) -> Path | None:
        """The file of a depth map, None for an id that is not known (any more)."""
        return self._depths.get(key)

    # ---- takes -------------------------------------------------------------------------------------------------------

    def new_take(self) -> TakeFolder:
        """A folder for a new take, after the oldest made room.

        Raises:
            OSError: the disk is full.
        """
        path = self._takes_folder / secrets.token_hex(8)
        path.mkdir()
        take = TakeFolder(path)
        with self._lock:
            self._takes[take.id] = take
        self.make_room()
        return take

    def drop(self, take: TakeFolder) -> None:
        """Remove a take."""
        with self._lock:
            self._takes.pop(take.id, None)
        shutil.rmtree(take.path, ignore_errors=True)

    def take(self, key: str) -> TakeFolder | None:
        """A take, None for an id that is not known (any more)."""
        return self._takes.get(key)

    def make_room(self) -> bool:
        """Remove the oldest takes until the rest is within the limits; False when live ones alone are beyond them."""
        with self._lock:
            while True:
                used = sum(take.nbytes for take in self._takes.values())
                if used <= self.limits.disk_bytes and len(self._takes) <= self.limits.takes_on_disk:
                    return True
                newest = next(reversed(self._takes), None)
                oldest = next((key for key, take in self._takes.items() if not take.live and key != newest), None)
                if oldest is None:
                    return used <= self.limits.disk_bytes
                shutil.rmtree(self._takes.pop(oldest).path, ignore_errors=True)


def _age(path: Path) -> float:
    return path.stat().st_mtime
