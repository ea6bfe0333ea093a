"""Videos of takes: written once, kept until the take grows, given up when nobody waits."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from motionstream.media.video import read_video
from motionstream.serve import exports as module
from motionstream.serve.export import ExportStopped, write_take_video
from motionstream.serve.exports import Exports
from motionstream.serve.frames import FrameFile
from motionstream.serve.images import jpeg
from motionstream.serve.limits import Limits
from motionstream.serve.routes import _unless_gone
from motionstream.serve.store import Store, TakeFolder

GREY = jpeg(np.full((32, 48, 3), 90, np.uint8), 92), b""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """On a thread of its own: the browser's tests leave a loop running on this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@pytest.fixture
def folder(tmp_path: Path) -> TakeFolder:
    made = Store(tmp_path, Limits()).new_take()
    made.frames.append([GREY] * 3)
    return made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Videos take as long as somebody waits, at most a second; the list names those that were begun."""
    begun: list[str] = []

    def write(frames: FrameFile, path: Path, fps: float, *, tracks: bool, stopped) -> int:
        begun.append(path.name)
        end = time.monotonic() + 1.0
        while time.monotonic() < end and len(frames.read(0)[0]):
            if stopped():
                begun.append("stopped")
                raise ExportStopped
            time.sleep(0.01)
        return 0

    monkeypatch.setattr(module, "write_take_video", write)
    return begun


def test_a_video_is_written_once_for_all_who_ask_until_the_take_grows(folder: TakeFolder, monkeypatch: pytest.MonkeyPatch):
    written: list[bool] = []

    def write(*given, tracks: bool, **more) -> int:
        written.append(tracks)
        return write_take_video(*given, tracks=tracks, **more)

    monkeypatch.setattr(module, "write_take_video", write)

    async def main() -> None:
        exports = Exports()
        paths = await asyncio.gather(*(exports.video(folder, 16, tracks=tracks) for tracks in (False, True, False)))
        assert [path.name for path in paths] == ["clean.mp4", "tracks.mp4", "clean.mp4"]
        size = folder.nbytes
        assert size > folder.frames.nbytes + 500
        await exports.video(folder, 16, tracks=False)
        assert written == [False, True]
        folder.frames.cut(2)
        folder.frames.append([GREY])  # as many as before, and others
        await exports.video(folder, 16, tracks=False)
        assert written == [False, True, False]
        exports.close()

    run(main())


def test_a_video_that_nobody_waits_for_is_given_up(folder: TakeFolder, slow: list[str]):
    async def main() -> None:
        exports = Exports()
        first, second = (asyncio.create_task(exports.video(folder, 16, tracks=False)) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.sleep(0.1)
        assert slow == ["clean.mp4"], "one still waits"
        second.cancel()
        await asyncio.wait({first, second})
        exports.close()

    run(main())
    assert slow == ["clean.mp4", "stopped"]


def test_no_video_outlives_the_server(folder: TakeFolder, slow: list[str]):
    async def main() -> None:
        exports = Exports()
        asked = asyncio.create_task(exports.video(folder, 16, tracks=True))
        await asyncio.sleep(0.1)
        exports.close()
        with pytest.raises(ExportStopped):
            await asked

    begun = time.monotonic()
    run(main())
    assert time.monotonic() - begun < 0.9
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("export")]


def test_who_has_gone_waits_for_nothing(folder: TakeFolder, slow: list[str]):
    async def gone() -> bool:
        return True

    async def main() -> None:
        exports = Exports()
        with pytest.raises(ExportStopped):
            await _unless_gone(SimpleNamespace(is_disconnected=gone), exports.video(folder, 16, tracks=False))
        exports.close()

    run(main())
    assert slow == ["clean.mp4", "stopped"]


def test_a_branch_while_a_video_is_written_begins_it_anew(folder: TakeFolder, monkeypatch: pytest.MonkeyPatch):
    grey, white = ((jpeg(np.full((32, 48, 3), value, np.uint8), 92), b"") for value in (90, 220))
    folder.frames.cut(0)
    folder.frames.append([grey] * 30)
    asked: list[int] = []

    def write(frames: FrameFile, path: Path, fps: float, *, tracks: bool, stopped) -> int:
        def branched() -> bool:
            asked.append(1)
            if len(asked) == 20:
                frames.cut(5)
                frames.append([white] * 40)  # and it has grown beyond where it was
            return stopped()

        return write_take_video(frames, path, fps, tracks=tracks, stopped=branched)

    monkeypatch.setattr(module, "write_take_video", write)

    async def main() -> None:
        exports = Exports()
        path = await exports.video(folder, 16, tracks=False)
        video, _ = read_video(path)
        assert [int(value > 150) for value in video.mean((1, 2, 3))] == [0] * 5 + [1] * 40
        assert folder.exported == {"clean.mp4": folder.frames.version}
        exports.close()

    run(main())


def test_nothing_is_left_of_a_video_that_was_given_up(folder: TakeFolder):
    asked = iter([False, False, True])
    with pytest.raises(ExportStopped):
        write_take_video(folder.frames, folder.path / "clean.mp4", 16, tracks=False, stopped=lambda: next(asked))
    assert not list(folder.path.glob("*.mp4*"))
