"""`motionstream generate` with a fake engine, and every bad input of a user: exit code 2 and one sentence."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.config import to_dict
from motionstream.presets import preset
from motionstream.tracks.io import load_strokes, save_tracks


def generate(*more: str) -> int:
    return cli.main(["generate", "photo.png", "--preset", "tiny-debug", "--prompt", "a ball", "-o", "out.mp4", *more])


def test_generate_writes_the_video_and_says_how_fast(engine, folder: Path, last_json):
    assert generate("--tracks", "tracks.json", "--contact-sheet", "--seed", "3", "--steps", "2", "--device", "cpu") == 0
    result = last_json()
    assert set(result) >= {"frames", "fps", "chunk_ms", "ttff_s", "seed", "output"}
    assert (result["frames"], result["seed"], result["output"]) == (17, 3, "out.mp4")
    assert result["fps"] == pytest.approx(21 / 0.030)  # chunks of 9 and 12 frames in 10 and 20 ms
    assert result["chunk_ms"] == {"p50": 15.0, "p95": 19.5}
    assert result["ttff_s"] > 0
    frames, fps = ms.read_video("out.mp4")
    assert frames.shape == (17, 384, 576, 3)  # 32 px high, enlarged to be seen
    assert fps == 16
    assert np.abs(frames[[0, 8, 9, 16], 100, 100, 0].astype(int) - [40, 40, 80, 80]).max() < 4
    with Image.open("out_sheet.png") as sheet:
        assert sheet.width > 6 * 300
    assert engine.loads == [("tiny-debug", "cpu", None)]
    assert (engine.warm, engine.closed, engine.prompt, engine.seed, engine.steps) == (True, True, "a ball", 3, 2)
    assert engine.first_frame.shape == (32, 48, 3)
    assert sorted(os.listdir()) == ["out.mp4", "out_sheet.png", "photo.png", "strokes.json", "tracks.json"]


def test_tracks_on_the_pictures_canvas_are_cropped_with_it(engine, folder: Path, capsys):
    assert generate("--tracks", "tracks.json") == 0
    assert engine.tracks.size == (32, 48)
    # 80x60 is cropped to 80x53 from row 3 on, then scaled by 0.6
    assert engine.tracks.xy[0, 5, 0].tolist() == pytest.approx([25 * 0.6, 27 * 32 / 53], abs=1e-3)
    assert "80x60, cropped to its middle 80x53, resized to 48x32" in capsys.readouterr().err


def test_strokes_go_to_the_stream_with_their_tracks(engine, folder: Path):
    assert generate("--tracks", "strokes.json", "--scale", "1") == 0
    assert engine.strokes == load_strokes("strokes.json")[0]
    assert generate("--tracks", "tracks.json", "--scale", "1") == 0
    assert engine.strokes is None


@pytest.mark.parametrize(("size", "said"), [((64, 96), "has the frame's aspect"), ((300, 300), "is neither")])
def test_tracks_on_other_canvases(engine, folder: Path, capsys, size: tuple[int, int], said: str):
    H, W = size
    save_tracks("other.npz", ms.Tracks.from_points([[[W / 2, H / 2]]] * 9, size=size, fps=16))
    assert generate("--tracks", "other.npz", "--scale", "1") == 0
    assert engine.tracks.xy[0, 3, 0].tolist() == pytest.approx([24, 16], abs=0.1)
    assert said in capsys.readouterr().err
    assert ms.read_video("out.mp4")[0].shape == (9, 32, 48, 3)


@pytest.mark.parametrize(
    ("file", "frames", "visible_at_the_end", "said"),
    [
        ("tracks.json", "5", True, "17 frames, the video has 5; what comes later is cut"),
        ("tracks.json", "30", False, "all points are let go after frame 17"),
        ("strokes.json", "30", True, "the strokes end at frame 9 of 30"),
        ("strokes.json", "4", True, "what comes later is cut"),
    ],
)
def test_other_lengths_than_that_of_the_tracks(
    engine, folder: Path, capsys, file: str, frames: str, visible_at_the_end: bool, said: str
):
    assert generate("--tracks", file, "--frames", frames, "--scale", "1") == 0
    captured = capsys.readouterr()
    assert said in captured.err
    assert json.loads(captured.out)["frames"] == int(frames) == len(ms.read_video("out.mp4")[0])
    assert engine.tracks.num_frames == int(frames)
    assert bool(engine.tracks.visible[0, -1].any()) == visible_at_the_end


def test_tracks_are_brought_to_the_models_frame_rate(engine, folder: Path):
    points = [[[20.0 + t, 30.0]] for t in range(17)]
    save_tracks("slow.json", ms.Tracks.from_points(points, size=(60, 80), fps=8))
    assert generate("--tracks", "slow.json", "--scale", "1") == 0
    assert (engine.tracks.num_frames, engine.tracks.fps) == (33, 16)


def test_what_is_read_is_not_written_over(engine, folder: Path, check_sentence):
    Path("photo.png").rename("out_sheet.png")
    before = Path("out_sheet.png").read_bytes()
    argv = ["generate", "out_sheet.png", "--prompt", "", "-o", "out.mp4", "--contact-sheet"]
    assert cli.main(argv) == 2
    check_sentence("output 'out_sheet.png' is also what is read, which would be lost: choose another name")
    assert Path("out_sheet.png").read_bytes() == before
    Path("tracks.json").rename("tracks.mp4")
    assert cli.main(["generate", "out_sheet.png", "--prompt", "", "--tracks", "tracks.mp4", "-o", "tracks.mp4"]) == 2
    check_sentence("output 'tracks.mp4' is also what is read")
    assert not engine.loads


def test_fp8_is_for_wan(engine, folder: Path, check_sentence):
    assert generate("--fp8") == 2
    check_sentence("--fp8 is for Wan presets, and tiny-debug is none: leave --fp8 out")
    assert not engine.loads


def test_frame_rates_without_end_are_refused(engine, folder: Path, check_sentence):
    for fps, complaint in ((1e-300, "fps must be a number from 0.01 to 10000"), (0.01, "17 frames at fps 0.01 become")):
        document = json.loads(Path("tracks.json").read_text()) | {"fps": fps}
        if fps == 0.01:
            document |= {"num_frames": 90}
            complaint = "90 frames at fps 0.01 become 144000 at fps 16, above 100000 frames"
        Path("slow.json").write_text(json.dumps(document))
        assert generate("--tracks", "slow.json") == 2
        check_sentence(complaint)


def test_without_tracks_nothing_is_dragged(engine, folder: Path, last_json):
    assert generate("--scale", "1") == 0
    assert last_json()["frames"] == 81
    assert engine.tracks.num_tracks == 0


def test_chunk_log_and_drawn_tracks(engine, folder: Path, capsys):
    assert generate("--tracks", "strokes.json", "--frames", "14", "--chunk-log", "--draw-tracks") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines == [{"index": 0, "frames": 9, "ms": 10.0}, {"index": 1, "frames": 5, "ms": 20.0}]
    frames = ms.read_video("out.mp4")[0].astype(int)
    green = frames[..., 1] - frames[..., 0] > 60
    assert green.any(axis=(1, 2)).all()
    assert green[8].any(axis=0).nonzero()[0].min() > green[0].any(axis=0).nonzero()[0].max()  # it moved to the right
    assert green[10].sum() > green[13].sum() / 2  # the tail reaches over the border of chunks


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "ours"])
def test_a_stopped_run_keeps_what_it_made(engine, folder: Path, capsys, how: str):
    Path("out.mp4").write_bytes(b"an older video")

    def fail() -> None:
        if how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt if how == "Ctrl-C" else RuntimeError("a mistake of ours")

    engine.fail_at, engine.fail = 2, fail
    if how == "Ctrl-C":
        assert generate("--tracks", "strokes.json", "--frames", "50") == 130
    else:
        with pytest.raises(RuntimeError if how == "ours" else SystemExit):
            generate("--tracks", "strokes.json", "--frames", "50")
    assert "21 frames made so far are in out.partial.mp4" in capsys.readouterr().err
    assert ms.read_video("out.partial.mp4")[0].shape[0] == 21
    assert Path("out.mp4").read_bytes() == b"an older video"


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_notes(engine, folder: Path, capsys):
    reds = [Image.new("RGB", (32, 32), (250 - 100 * n, 0, 0)) for n in range(2)]
    reds[0].save("moving.gif", save_all=True, append_images=reds[1:])
    assert cli.main(["generate", "moving.gif", "--prompt", "", "--frames", "1", "--scale", "1", "-o", "out.mp4"]) == 0
    assert "motionstream: note: picture 'moving.gif' has several frames; only the first is used\n" in capsys.readouterr().err


# ---- a user's mistakes -----------------------------------------------------------------------------------------------


def broken_tracks(**changes: Any) -> str:
    document: dict[str, Any] = {"format": "motionstream-tracks", "version": 1, "width": 80, "height": 60, "fps": 16}
    document["tracks"] = [{"id": 1, "points": [[5, 5], [6, 6]]}, {"id": 2, "points": [[5, 5]]}]
    return json.dumps({**document, **changes})


BAD_TRACKS: dict[str, tuple[str | None, str]] = {
    "missing": (None, "check the path"),
    "text": ("hello", "not readable as JSON"),
    "version": (broken_tracks(version=2), "version is 2"),
    "format": (broken_tracks(format="tapvid"), "format is 'tapvid'"),
    "nan": (broken_tracks(tracks=[{"id": 1, "points": [[float("nan"), 5]]}]), "NaN is not a coordinate"),
    "empty": (broken_tracks(tracks=[]), "at least one entry"),
    "off-screen": (broken_tracks(tracks=[{"id": 1, "points": [[500, 5]]}]), "outside the canvas"),
    "more frames": (broken_tracks(num_frames=1), "raise num_frames"),
    "duplicate ids": (broken_tracks(tracks=[{"id": 7, "points": [[5, 5]]}] * 2), "7 appears more than once"),
    "null only": (broken_tracks(tracks=[{"id": 1, "points": [None]}]), "no point is ever visible"),
}
BAD_PICTURES: dict[str, tuple[Callable[[], object], str]] = {
    "missing": (lambda: None, "does not exist"),
    "text": (lambda: Path("bad.png").write_text("hello"), "not a picture"),
    "1-pixel": (lambda: Image.new("RGB", (1, 1)).save("bad.png"), "1x1 pixels"),
    "huge": (lambda: Image.new("1", (10_000, 6_000)).save("bad.png"), "60.0 megapixels"),
    "folder": (lambda: Path("bad.png").mkdir(), "Is a directory"),
}
BAD_OPTIONS: dict[str, tuple[list[str], str]] = {
    "unknown preset": (["--preset", "mega"], "unknown preset 'mega': use one of nano, tiny-debug"),
    "no frames": (["--frames", "0"], "'0' must be a whole number from 1"),
    "seed": (["--seed", "x"], "'x' must be a whole number"),
    "option": (["--sede", "1"], "unrecognized arguments: --sede 1; see motionstream generate --help"),
    "suffix": (["-o", "out.avi"], "must end in .mp4"),
    "no folder": (["-o", "nowhere/out.mp4"], "create 'nowhere' first"),
    "is folder": (["-o", "."], "must end in .mp4"),
    "both": (["--weights", "."], "has no config.json"),
    "steps": (["--steps", "9"], "'9' must be a whole number from 1 to 8"),
    "size": (["--size", "64x64"], "makes 48x32 pixels, not 64x64: take such a size, or give none"),
}


@pytest.mark.parametrize("case", BAD_TRACKS)
def test_bad_tracks(engine, folder: Path, check_sentence, case: str):
    text, complaint = BAD_TRACKS[case]
    if text is not None:
        Path("bad.json").write_text(text)
    for arguments in (
        ["generate", "photo.png", "--prompt", "", "--tracks", "bad.json", "-o", "out.mp4"],
        ["tracks", "info", "bad.json"],
    ):
        assert cli.main(arguments) == 2
        check_sentence(complaint)
    assert not engine.loads  # said before anything was loaded


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_bad_pictures(engine, folder: Path, check_sentence, case: str):
    make, complaint = BAD_PICTURES[case]
    make()
    assert cli.main(["generate", "bad.png", "--prompt", "", "--tracks", "tracks.json", "-o", "out.mp4"]) == 2
    check_sentence(complaint)
    assert not engine.loads


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(engine, folder: Path, check_sentence, case: str):
    options, complaint = BAD_OPTIONS[case]
    assert generate("--tracks", "tracks.json", *options) == 2
    check_sentence(complaint)
    assert not engine.loads


def test_tracks_that_do_not_reach_the_frame(engine, folder: Path, capsys, check_sentence):
    save_tracks("edge.json", ms.Tracks.from_points([[[40.0, 1.0]]] * 3, size=(60, 80), fps=16))
    assert generate("--tracks", "edge.json") == 2
    check_sentence("outside the part of the picture that is used; try --fit pad")
    assert generate("--tracks", "edge.json", "--fit", "pad", "--scale", "1") == 0
    late = [[False]] * 8 + [[True]]
    save_tracks("late.json", ms.Tracks.from_points([[[40.0, 30.0]]] * 9, visible=late, size=(60, 80), fps=16))
    capsys.readouterr()
    assert generate("--tracks", "late.json", "--frames", "4") == 2
    check_sentence("no point is visible in the first 4 frames; raise --frames")


def test_as_many_tracks_as_the_papers_grid(folder: Path, last_json: Callable):
    crowd = np.random.default_rng(0).uniform(5, 55, (9, 2500, 2))
    save_tracks("crowd.npz", ms.Tracks.from_points(crowd, size=(60, 80), fps=16))
    assert generate("--tracks", "crowd.npz") == 0
    assert last_json()["frames"] == 9


@pytest.mark.parametrize("case", ["missing", "no config", "unknown key", "damaged", "pickle only"])
def test_bad_weights(folder: Path, check_sentence, case: str):
    weights = Path("weights")
    complaint = "neither a preset"
    if case != "missing":
        weights.mkdir()
        complaint = "config.json"
    if case not in ("missing", "no config"):
        config = to_dict(preset("tiny-debug"))
        if case == "unknown key":
            config["colour"], complaint = "blue", "config.json: unknown key 'colour'"
        (weights / "config.json").write_text(json.dumps(config))
    if case == "damaged":
        complaint = "is damaged"
        for part in ("student", "vae"):
            (weights / f"{part}.safetensors").write_bytes(b"not safetensors at all")
    if case == "pickle only":
        complaint = "does not exist: put it there, or make it with train or convert"
        (weights / "student.pt").write_bytes(b"\x80\x04.")
    argv = ["generate", "photo.png", "--prompt", "", "--tracks", "tracks.json", "--weights", "weights", "-o", "out.mp4"]
    assert cli.main(argv) == 2
    check_sentence(complaint)
