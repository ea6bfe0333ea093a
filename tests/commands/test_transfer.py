"""`motionstream transfer` on tiny-debug (random weights) and on a stand-in that records which points it is shown."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.tracks.io import load_tracks


def write_clip(
    name: str, num_frames: int = 30, fps: float = 16, speed: float = 4, size: tuple[int, int] = (128, 192)
) -> None:
    """A textured block crosses a textured ground at ``speed`` px a frame, from x = 16 on."""
    H, W = size
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(90, 160, (H // 8, W // 8, 3)), np.ones((8, 8, 1)))
    block = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((6, 6, 1)))
    frames = np.repeat(ground[None], num_frames, axis=0).astype(np.uint8)
    for t in range(num_frames):
        left = round(16 + speed * t)
        if left + 48 <= W:
            frames[t, 40:88, left : left + 48] = block
    ms.write_video(name, frames, fps=fps)


class Recorder:
    """A session that notes the points of every frame and returns grey pictures."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.index = engine, 0

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def frames_in_chunk(self, index: int) -> int:
        return 9 if index == 0 else 12

    def step_frames(self, frames: list[list[Any]]) -> Any:
        assert len(frames) == self.frames_in_chunk(self.index)
        self.engine.points += frames
        self.index += 1
        geometry = self.engine.preset.geometry
        pictures = np.full((len(frames), geometry.height, geometry.width, 3), 99, np.uint8)
        return SimpleNamespace(frames=pictures, index=self.index - 1, stats=SimpleNamespace(total_ms=5.0))


@pytest.fixture
def recording(engine, monkeypatch: pytest.MonkeyPatch):
    """The fake engine of this folder, with a session for exact points."""
    engine.points = []
    monkeypatch.setattr(engine, "start", lambda *_, **__: Recorder(engine))
    return engine


def transfer(*more: str) -> int:
    return cli.main(["transfer", "clip.mp4", "photo.png", "--preset", "tiny-debug", "-o", "out.mp4", *more])


def paths(points: list[list[Any]]) -> dict[int, list[tuple[int, float, float]]]:
    """id -> (frame, x, y)."""
    found: dict[int, list[tuple[int, float, float]]] = {}
    for t, held in enumerate(points):
        for point in held:
            found.setdefault(point.id, []).append((t, point.x, point.y))
    return found


def test_a_clip_of_uneven_times_keeps_its_length(recording, folder: Path, last_json):
    write_clip("steady.mp4", num_frames=12)
    pictures = [Image.fromarray(frame) for frame in ms.read_video("steady.mp4")[0]]
    pictures[0].save("clip.gif", save_all=True, append_images=pictures[1:], duration=[1000, *[50] * 11])
    arguments = ["transfer", "clip.gif", "photo.png", "--preset", "tiny-debug", "-o", "out.mp4", "--scale", "1"]
    assert cli.main(arguments) == 0
    result = last_json()
    assert abs(result["frames"] - 1.55 * result["video_fps"]) <= 2
    first = [path for path in paths(recording.points[: result["frames"]]).values() if path[-1][1] - path[0][1] > 3]
    assert first  # the block
    still = round(0.9 * result["video_fps"])
    assert all(abs(x - path[0][1]) < 0.5 for path in first for t, x, _ in path if t < still)


def test_the_block_moves_and_the_ground_is_pinned(recording, folder: Path, last_json):
    write_clip("clip.mp4")
    rate = recording.preset.geometry.fps
    assert transfer("--scale", "1") == 0
    result = last_json()
    assert result["frames"] == len(ms.read_video("out.mp4")[0])
    assert abs(result["frames"] - 30 * rate / 16) <= 2
    assert set(result) >= {"fps", "chunk_ms", "track_ms", "points", "ttff_s", "video_fps"}
    # 192x128 becomes the canvas of 48x32: 4 px a frame are 1
    moving, resting = [], []
    for path in paths(recording.points[: result["frames"]]).values():
        (t0, x0, y0), (t1, x1, y1) = path[0], path[-1]
        if t1 - t0 >= 6:
            speed = (x1 - x0) / (t1 - t0) * rate / 16
            (moving if abs(speed) > 0.3 else resting).append((speed, abs(y1 - y0)))
    assert len(moving) >= 3
    assert np.median([speed for speed, _ in moving]) == pytest.approx(1.0, abs=0.1)
    assert len(resting) >= 2
    assert max(rise for _, rise in resting) < 0.5


def test_pins_mask_and_grid(recording, folder: Path, last_json):
    write_clip("clip.mp4")
    mask = np.zeros((128, 192), np.uint8)
    mask[40:88, 16:64] = 255
    Image.fromarray(mask).save("mask.png")
    counts = {}
    for name, more in (
        ("some", []),
        ("none", ["--pins", "none"]),
        ("all", ["--pins", "all"]),
        ("mask", ["--pins", "all", "--mask", "mask.png", "--grid", "12"]),
    ):
        recording.points.clear()
        assert transfer("--frames", "9", "--scale", "1", *more) == 0
        counts[name] = len(recording.points[0])
        first = {(round(p.x), round(p.y)) for p in recording.points[0]}
    assert counts["none"] < counts["some"] < counts["all"] == 6 * 4
    assert 4 <= counts["mask"] <= 16
    assert all(3 <= x <= 17 and 9 <= y <= 23 for x, y in first)


def test_the_whole_clip_or_its_middle(recording, folder: Path, capsys):
    write_clip("clip.mp4", num_frames=12, size=(128, 256))
    for fit, said in (("crop", "cropped to its middle 192x128"), ("scale", "256x128, whole")):
        assert transfer("--fit", fit, "--scale", "1") == 0
        assert said in capsys.readouterr().err


def test_saved_and_drawn_and_beside(recording, folder: Path, last_json):
    write_clip("clip.mp4")
    assert transfer("--save-tracks", "shown.npz", "--draw-tracks", "--beside", "--scale", "4", "--frames", "15") == 0
    assert last_json()["tracks"] == "shown.npz"
    tracks = load_tracks("shown.npz")
    assert (tracks.num_frames, tracks.size, tracks.fps) == (15, (32, 48), recording.preset.geometry.fps)
    for t in range(15):
        held = {point.id: (point.x, point.y) for point in recording.points[t]}
        for n in tracks.visible[0, t].nonzero()[:, 0].tolist():
            assert tracks.xy[0, t, n].tolist() == pytest.approx(held[int(tracks.ids[0, n])], abs=1e-4)
    frames = ms.read_video("out.mp4")[0]
    assert frames.shape == (15, 128, 384, 3)
    assert np.abs(frames[:, :, 192:].astype(int) - 99).max() > 60  # points on grey
    assert frames[:, :, :192].std() > 20  # the clip


def test_a_real_stream_goes_on_as_long_as_the_clip(folder: Path, last_json):
    write_clip("clip.mp4", num_frames=40, fps=12.5)
    assert transfer("--seed", "3", "--device", "cpu") == 0
    result = last_json()
    frames, fps = ms.read_video("out.mp4")
    assert (len(frames), result["video_fps"]) == (result["frames"], fps)
    assert abs(len(frames) / fps - 39 / 12.5) < 0.2
    assert result["points"]["reseeded"] > 0
    assert result["points"]["max"] <= 6 * 4 * 3


def test_clips_of_other_lengths(recording, folder: Path, capsys):
    write_clip("clip.mp4", num_frames=12)
    assert transfer("--frames", "500", "--scale", "1") == 0
    assert " of 500 frames at " in capsys.readouterr().err
    made = len(ms.read_video("out.mp4")[0])
    assert made < 30
    assert transfer("--frames", "5", "--scale", "1") == 0
    assert len(ms.read_video("out.mp4")[0]) == 5
    write_clip("clip.mp4", num_frames=1)
    assert transfer("--scale", "1") == 0
    assert len(ms.read_video("out.mp4")[0]) == 1


def test_a_clip_in_which_nothing_moves(recording, folder: Path, capsys):
    write_clip("clip.mp4", speed=0)
    assert transfer("--scale", "1") == 0
    assert "nothing in the clip moved" in capsys.readouterr().err


def test_more_points_than_a_file_holds(recording, folder: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    write_clip("clip.mp4")
    assert transfer("--save-tracks", "all.npz") == 0
    whole = load_tracks("all.npz")
    monkeypatch.setattr("motionstream.tracks.io.MAX_POINTS", whole.num_frames * whole.num_tracks - 1)
    assert transfer("--save-tracks", "some.npz") == 0
    captured = capsys.readouterr()
    assert f" of {whole.num_frames} frames are written, for a file holds" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["tracks"] == "some.npz"
    some = load_tracks("some.npz")
    assert 0 < some.num_frames < whole.num_frames
    assert some.xy[0, -1][some.visible[0, -1]].equal(whole.xy[0, some.num_frames - 1][whole.visible[0, some.num_frames - 1]])


def test_a_clip_without_trackable_points(recording, folder: Path, check_sentence):
    ms.write_video("clip.mp4", np.full((20, 64, 96, 3), 30, np.uint8), fps=16)
    assert transfer() == 2
    check_sentence("no point of its first 12 frames can be followed")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--grid", "0"], "'0' must be a whole number from 1"),
        (["--mask", "away.png"], "white only where the clip is cut away"),
        (["--mask", "missing.png"], "does not exist"),
        (["--tracker", "cotracker"], "invalid choice"),
        (["--tracker", "tapnext"], "needs your own installation of tapnet"),
        (["--tracker-weights", "x.pt"], "--tracker lk needs no weights"),
        (["--preset", "mega"], "unknown preset 'mega'"),
        (["--fit", "pad"], "invalid choice"),
        (["-o", "out.avi"], "must end in .mp4"),
        (["-o", "./clip.mp4"], "is also what is read, which would be lost"),
        (["--save-tracks", "a.csv"], "must end in .npz or .json"),
        (["--grid", "128"], "a grid of 128 points across is too dense for this size of video: use at most 48"),
        (["--scale", "64", "--beside"], "--scale 64 makes a video of 6144 pixels; use at most 41"),
    ],
)
def test_bad_input(recording, folder: Path, check_sentence, capsys, arguments: list[str], complaint: str, monkeypatch):
    write_clip("clip.mp4", num_frames=3, size=(128, 384))
    mask = np.zeros((128, 384), np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save("away.png")
    if "--beside" in arguments:
        monkeypatch.setattr("motionstream.media.video.MAX_EDGE_PX", 4000)
    assert transfer(*arguments) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err.splitlines()[-1]
    assert captured.out == ""
    assert not recording.loads
    assert not Path("out.mp4").exists()


def test_bad_clips_and_pictures(recording, folder: Path, check_sentence):
    write_clip("clip.mp4", num_frames=2)
    assert cli.main(["transfer", "missing.mp4", "photo.png", "-o", "out.mp4"]) == 2
    check_sentence("video 'missing.mp4' does not exist")
    assert cli.main(["transfer", "clip.mp4", "missing.png", "-o", "out.mp4"]) == 2
    check_sentence("'missing.png' does not exist")
    assert not recording.loads


def test_what_was_made_is_kept(recording, folder: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    write_clip("clip.mp4")
    step = Recorder.step_frames

    def fail(self, frames):
        if self.index == 1:
            raise KeyboardInterrupt
        return step(self, frames)

    monkeypatch.setattr(Recorder, "step_frames", fail)
    assert transfer("--scale", "1") == 130
    assert "9 frames made so far are in out.partial.mp4" in capsys.readouterr().err
