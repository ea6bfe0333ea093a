"""A fake engine, a folder to work in, and what a user's mistake must look like."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream.media.video import VideoWriter
from motionstream.presets import preset
from motionstream.tracks.io import save_strokes, save_tracks


class FakeSession:
    """Yields whole chunks of grey frames that grow brighter from chunk to chunk."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.engine = engine

    def __enter__(self) -> "FakeSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.closed = True

    def stream(self, tracks: ms.Tracks, num_frames: int, *, strokes: list[ms.Stroke] | None = None) -> Iterator[Any]:
        self.engine.tracks, self.engine.strokes = tracks, strokes
        geometry, cache = self.engine.preset.geometry, self.engine.preset.cache
        made = index = 0
        while made < num_frames:
            if index == self.engine.fail_at:
                self.engine.fail()
            start, stop = geometry.frame_span(index * cache.chunk_frames, (index + 1) * cache.chunk_frames)
            frames = np.full((stop - start, geometry.height, geometry.width, 3), 40 * (index + 1) % 256, np.uint8)
            yield SimpleNamespace(frames=frames, index=index, stats=SimpleNamespace(total_ms=10.0 * (index + 1)))
            made, index = stop, index + 1


class FakeEngine:
    def __init__(self) -> None:
        self.preset = preset("tiny-debug")
        self.compute = SimpleNamespace(reason="a fake")
        self.loads: list[tuple[str, str | None, str | None]] = []
        self.fail_at, self.fail = -1, lambda: None
        self.warm = self.closed = False
        self.tracks: Any = None
        self.strokes: list[ms.Stroke] | None = None
        self.options: dict[str, Any] = {}

    def load(self, name: str, *, device: str | None = None, dtype: str | None = None, **options: Any) -> "FakeEngine":
        self.options = options
        self.loads.append((name, device, dtype))
        return self

    def warmup(self) -> None:
        self.warm = True

    def start(self, first_frame: np.ndarray, prompt: str, *, seed: int, steps: int | None) -> FakeSession:
        self.first_frame, self.prompt, self.seed, self.steps = first_frame, prompt, seed, steps
        return FakeSession(self)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr("motionstream.stream.engine.load_engine", fake.load)
    return fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a photo, tracks of its size over 17 frames, and a stroke."""
    monkeypatch.chdir(tmp_path)
    ramp = np.linspace(0, 255, 60 * 80 * 3).astype(np.uint8).reshape(60, 80, 3)
    Image.fromarray(ramp).save("photo.png")
    points = [[[20.0 + t, 30.0], [40.0, 30.0]] for t in range(17)]
    save_tracks("tracks.json", ms.Tracks.from_points(points, size=(60, 80), fps=16))
    save_strokes("strokes.json", [ms.Stroke(points=[(0.0, 20, 30), (0.5, 50, 30)])], (60, 80))
    return tmp_path


@pytest.fixture
def stopped_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the first frames of a video have been written."""
    write = VideoWriter.write

    def stop(video: VideoWriter, frames: np.ndarray) -> None:
        write(video, frames)
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", stop)


@pytest.fixture
def last_json(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """Read the last line on stdout."""
    return lambda: json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def check_sentence(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Check that stderr ends in one sentence with a complaint in it, and that no unfinished file lies about."""

    def check(complaint: str) -> None:
        captured = capsys.readouterr()
        said = captured.err.splitlines()[-1]
        assert said.startswith("motionstream: ")
        assert complaint in said
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert not [name for name in os.listdir() if "unfinished" in name or "partial" in name]

    return check
