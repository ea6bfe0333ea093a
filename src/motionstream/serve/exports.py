"""Who waits for which video: each is written once for all, is kept until the take grows, and given up when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from motionstream.serve.export import ExportStopped, write_take_video
from motionstream.serve.store import TakeFolder


@dataclass
class _Job:
    """A video that is being written, and how many wait for it."""

    written: asyncio.Future[Path]
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0


class Exports:
    """Used on the event loop only; videos are written one at a time on a thread of their own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="export")
        self._jobs: dict[tuple[str, bool], _Job] = {}

    async def video(self, folder: TakeFolder, fps: float, *, tracks: bool) -> Path:
        """The video of a take so far; whoever comes while it is written gets the same one.

        Raises:
            ExportStopped: the server ends.
            ValueError, OSError: it cannot be written.
        """
        key = folder.id, tracks
        job = self._jobs.get(key)
        if job is None or job.stop.is_set():
            job = self._jobs[key] = self._begin(folder, fps, tracks)
        job.waiting += 1
        try:
            return await asyncio.shield(job.written)
        finally:
            job.waiting -= 1
            if not job.waiting:
                job.stop.set()
                if self._jobs.get(key) is job:
                    del self._jobs[key]

    def _begin(self, folder: TakeFolder, fps: float, tracks: bool) -> _Job:
        stop = threading.Event()

        def write() -> Path:
            path, frames = folder.path / ("tracks.mp4" if tracks else "clean.mp4"), folder.frames
            while True:
                cuts, version = frames.cuts, frames.version
                if folder.exported.get(path.name) == version and path.is_file():
                    return path

                def unwanted(cuts: int = cuts) -> bool:
                    return stop.is_set() or frames.cuts != cuts

                try:
                    write_take_video(frames, path, fps, tracks=tracks, stopped=unwanted)
                except ExportStopped:
                    if stop.is_set():
                        raise
                if frames.cuts == cuts:
                    folder.exported[path.name] = version
                    folder.measure()
                    return path
                # A branch took frames back meanwhile, and the numbers are those of others by now: once more.

        written = asyncio.get_running_loop().run_in_executor(self._thread, write)
        written.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, or of no interest now
        return _Job(written, stop)

    def close(self) -> None:
        """Stop what is being written. Blocks until it has: one frame, and the end of the file."""
        for job in list(self._jobs.values()):
            job.stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
