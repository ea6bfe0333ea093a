"""Every verb from the command line, with a fake engine; and every bad input of a user: exit code 2 and one sentence."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.config import to_dict
from motionstream.presets import preset
from motionstream.tracks.io import load_tracks, save_strokes, save_tracks

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


class FakeSession:
    """Yields whole chunks of grey frames that grow brighter from chunk to chunk."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.engine = engine

    def __enter__(self) -> "FakeSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.closed = True

    def stream(self, tracks: ms.Tracks, num_frames: int) -> Iterator[Any]:
        self.engine.tracks = tracks
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

    def load(self, name: str, *, device: str | None = None, dtype: str | None = None) -> "FakeEngine":
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


def generate(*more: str) -> int:
    return cli.main(["generate", "photo.png", "--preset", "tiny-debug", "--prompt", "a ball", "-o", "out.mp4", *more])


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# ---- generate --------------------------------------------------------------------------------------------------------


def test_generate_writes_the_video_and_says_how_fast(engine: FakeEngine, folder: Path, capsys):
    assert generate("--tracks", "tracks.json", "--contact-sheet", "--seed", "3", "--steps", "2", "--device", "cpu") == 0
    result = last_json(capsys)
    assert set(result) >= {"frames", "fps", "chunk_ms", "ttff_s", "seed", "output"}
    assert (result["frames"], result["seed"], result["output"]) == (17, 3, "out.mp4")
    assert result["fps"] == pytest.approx(21 / 0.030)  # chunks of 9 and 12 frames in 10 and 20 ms
    assert result["chunk_ms"] == {"p50": 15.0, "p95": 19.5}
    assert result["ttff_s"] > 0
    frames, fps = ms.read_video("out.mp4")
    assert frames.shape == (17, 384, 576, 3)  # 32 px high, enlarged to be seen
    assert fps == 16
    assert np.abs(frames[[0, 8, 9, 16], 100, 100, 0].astype(int) - [40, 40, 80, 80]).max() < 4
    assert Image.open("out_sheet.png").width > 6 * 300
    assert engine.loads == [("tiny-debug", "cpu", None)]
    assert (engine.warm, engine.closed, engine.prompt, engine.seed, engine.steps) == (True, True, "a ball", 3, 2)
    assert engine.first_frame.shape == (32, 48, 3)
    assert sorted(os.listdir()) == ["out.mp4", "out_sheet.png", "photo.png", "strokes.json", "tracks.json"]


def test_tracks_on_the_pictures_canvas_are_cropped_with_it(engine: FakeEngine, folder: Path, capsys):
    assert generate("--tracks", "tracks.json") == 0
    assert engine.tracks.size == (32, 48)
    # 80x60 is cropped to 80x53 from row 3 on, then scaled by 0.6
    assert engine.tracks.xy[0, 5, 0].tolist() == pytest.approx([25 * 0.6, 27 * 32 / 53], abs=1e-3)
    assert "80x60, cropped to its middle 80x53, resized to 48x32" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "said"), [((64, 96), "has the frame's aspect"), ((300, 300), "is neither")])
def test_tracks_on_other_canvases(engine: FakeEngine, folder: Path, capsys, size: tuple[int, int], said: str):
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
    engine: FakeEngine, folder: Path, capsys, file: str, frames: str, visible_at_the_end: bool, said: str
):
    assert generate("--tracks", file, "--frames", frames, "--scale", "1") == 0
    captured = capsys.readouterr()
    assert said in captured.err
    assert json.loads(captured.out)["frames"] == int(frames) == len(ms.read_video("out.mp4")[0])
    assert engine.tracks.num_frames == int(frames)
    assert bool(engine.tracks.visible[0, -1].any()) == visible_at_the_end


def test_tracks_are_brought_to_the_models_frame_rate(engine: FakeEngine, folder: Path):
    points = [[[20.0 + t, 30.0]] for t in range(17)]
    save_tracks("slow.json", ms.Tracks.from_points(points, size=(60, 80), fps=8))
    assert generate("--tracks", "slow.json", "--scale", "1") == 0
    assert (engine.tracks.num_frames, engine.tracks.fps) == (33, 16)


def test_without_tracks_nothing_is_dragged(engine: FakeEngine, folder: Path, capsys):
    assert generate("--scale", "1") == 0
    assert last_json(capsys)["frames"] == 81
    assert engine.tracks.num_tracks == 0


def test_chunk_log_and_drawn_tracks(engine: FakeEngine, folder: Path, capsys):
    assert generate("--tracks", "strokes.json", "--frames", "14", "--chunk-log", "--draw-tracks") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines == [{"index": 0, "frames": 9, "ms": 10.0}, {"index": 1, "frames": 5, "ms": 20.0}]
    frames = ms.read_video("out.mp4")[0].astype(int)
    green = frames[..., 1] - frames[..., 0] > 60
    assert green.any(axis=(1, 2)).all()
    assert green[8].any(axis=0).nonzero()[0].min() > green[0].any(axis=0).nonzero()[0].max()  # it moved to the right
    assert green[10].sum() > green[13].sum() / 2  # the tail reaches over the border of chunks


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "ours"])
def test_a_stopped_run_keeps_what_it_made(engine: FakeEngine, folder: Path, capsys, how: str):
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
def test_warnings_are_notes(engine: FakeEngine, folder: Path, capsys):
    reds = [Image.new("RGB", (32, 32), (250 - 100 * n, 0, 0)) for n in range(2)]
    reds[0].save("moving.gif", save_all=True, append_images=reds[1:])
    assert cli.main(["generate", "moving.gif", "--prompt", "", "--frames", "1", "--scale", "1", "-o", "out.mp4"]) == 0
    assert (
        "motionstream: note: picture 'moving.gif' has several frames; only the first is used\n"
        in capsys.readouterr().err
    )


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
    "option": (["--sede", "1"], "unrecognized arguments: --sede 1; see motionstream"),
    "suffix": (["-o", "out.avi"], "must end in .mp4"),
    "no folder": (["-o", "nowhere/out.mp4"], "create 'nowhere' first"),
    "is folder": (["-o", "."], "must end in .mp4"),
    "both": (["--weights", "."], "not allowed with argument --preset"),
}


def check_sentence(capsys: pytest.CaptureFixture[str], complaint: str) -> None:
    captured = capsys.readouterr()
    said = captured.err.splitlines()[-1]
    assert said.startswith("motionstream: ")
    assert complaint in said
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not [name for name in os.listdir() if "unfinished" in name or "partial" in name]


@pytest.mark.parametrize("case", BAD_TRACKS)
def test_bad_tracks(engine: FakeEngine, folder: Path, capsys, case: str):
    text, complaint = BAD_TRACKS[case]
    if text is not None:
        Path("bad.json").write_text(text)
    for arguments in (
        ["generate", "photo.png", "--prompt", "", "--tracks", "bad.json", "-o", "out.mp4"],
        ["tracks", "info", "bad.json"],
    ):
        assert cli.main(arguments) == 2
        check_sentence(capsys, complaint)
    assert not engine.loads  # said before anything was loaded


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_bad_pictures(engine: FakeEngine, folder: Path, capsys, case: str):
    make, complaint = BAD_PICTURES[case]
    make()
    assert cli.main(["generate", "bad.png", "--prompt", "", "--tracks", "tracks.json", "-o", "out.mp4"]) == 2
    check_sentence(capsys, complaint)
    assert not engine.loads


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(engine: FakeEngine, folder: Path, capsys, case: str):
    options, complaint = BAD_OPTIONS[case]
    assert generate("--tracks", "tracks.json", *options) == 2
    check_sentence(capsys, complaint)
    assert not engine.loads


def test_tracks_that_do_not_reach_the_frame(engine: FakeEngine, folder: Path, capsys):
    save_tracks("edge.json", ms.Tracks.from_points([[[40.0, 1.0]]] * 3, size=(60, 80), fps=16))
    assert generate("--tracks", "edge.json") == 2
    check_sentence(capsys, "outside the part of the picture that is used; try --fit pad")
    assert generate("--tracks", "edge.json", "--fit", "pad", "--scale", "1") == 0
    late = [[False]] * 8 + [[True]]
    save_tracks("late.json", ms.Tracks.from_points([[[40.0, 30.0]]] * 9, visible=late, size=(60, 80), fps=16))
    capsys.readouterr()
    assert generate("--tracks", "late.json", "--frames", "4") == 2
    check_sentence(capsys, "no point is visible in the first 4 frames; raise --frames")
    crowd = np.full((1, 1025, 2), 30.0)
    save_tracks("crowd.npz", ms.Tracks.from_points(crowd, size=(60, 80), fps=16))
    assert generate("--tracks", "crowd.npz", "--frames", "1") == 2
    check_sentence(capsys, "1025 points are visible at once")


@pytest.mark.parametrize("case", ["missing", "no config", "unknown key", "damaged", "pickle only"])
def test_bad_weights(folder: Path, capsys, case: str):
    weights = Path("weights")
    complaint = "neither a preset"
    if case != "missing":
        weights.mkdir()
        complaint = "config.json"
    if case not in ("missing", "no config"):
        config = to_dict(preset("tiny-debug"))
        if case == "unknown key":
            config["colour"], complaint = "blue", "unknown key 'colour'"
        (weights / "config.json").write_text(json.dumps(config))
    if case == "damaged":
        complaint = "is damaged"
        for part in ("student", "vae"):
            (weights / f"{part}.safetensors").write_bytes(b"not safetensors at all")
    if case == "pickle only":
        complaint = "does not exist"
        (weights / "student.pt").write_bytes(b"\x80\x04.")
    argv = ["generate", "photo.png", "--prompt", "", "--tracks", "tracks.json", "--weights", "weights", "-o", "out.mp4"]
    assert cli.main(argv) == 2
    check_sentence(capsys, complaint)


# ---- tracks, info ----------------------------------------------------------------------------------------------------


def test_tracks_draw(folder: Path, capsys):
    assert cli.main(["tracks", "draw", "strokes.json", "--image", "photo.png", "-o", "paths.png"]) == 0
    photo, drawn = (np.asarray(Image.open(name)).astype(int) for name in ("photo.png", "paths.png"))
    changed = np.abs(drawn - photo).max(axis=-1) > 30
    rows, columns = changed.nonzero()
    assert (rows.min() >= 27, rows.max() <= 32, columns.min(), columns.max()) == (True, True, 18, 51)
    assert cli.main(["tracks", "draw", "tracks.json", "-o", "moving.mp4"]) == 0
    assert ms.read_video("moving.mp4")[0].shape == (17, 60, 80, 3)
    ms.write_video("below.mp4", np.zeros((6, 30, 40, 3), np.uint8), fps=32)
    assert cli.main(["tracks", "draw", "tracks.json", "--video", "below.mp4", "-o", "over.mp4"]) == 0
    frames, fps = ms.read_video("over.mp4")
    assert (frames.shape, fps) == ((6, 30, 40, 3), 32)
    assert (frames.max(axis=(1, 2, 3)) > 100).all()
    capsys.readouterr()
    assert cli.main(["tracks", "draw", "tracks.json", "-o", "paths.gif"]) == 2
    check_sentence(capsys, "must end in .png or .mp4")


def test_tracks_info_and_convert(folder: Path, capsys):
    assert cli.main(["tracks", "info", "strokes.json", "--json"]) == 0
    facts = last_json(capsys)
    assert (facts["form"], facts["size"], facts["frames"], facts["path_px"]["max"]) == ("1 stroke", [80, 60], 9, 30.0)
    convert = ["tracks", "convert", "strokes.json", "new.npz", "--fps", "8", "--frames", "7", "--size", "160x120"]
    assert cli.main(convert) == 0
    tracks = load_tracks("new.npz")
    assert (tracks.size, tracks.fps, tracks.num_frames) == ((120, 160), 8, 7)
    assert tracks.xy[0, -1, 0].tolist() == [100, 60]
    assert cli.main(["tracks", "convert", "new.npz", "back.json"]) == 0
    assert load_tracks("back.json").allclose(tracks)
    assert cli.main(["tracks", "info", "back.json"]) == 0
    assert "160x120" in capsys.readouterr().out
    for arguments, complaint in (
        (["new.npz", "x.csv"], "must end in .json or .npz"),
        (["new.npz", "x.npz", "--size", "12"], "WIDTHxHEIGHT"),
        (["new.npz", "x.npz", "--fps", "-1"], "above 0"),
    ):
        assert cli.main(["tracks", "convert", *arguments]) == 2
        check_sentence(capsys, complaint)


@pytest.mark.parametrize("name", ["nano", "tiny-debug"])
def test_info(capsys, name: str):
    assert cli.main(["info", name, "--json", "--device", "cpu", "--dtype", "float32"]) == 0
    facts = last_json(capsys)
    assert (facts["device"], facts["dtype"], list(facts["presets"])) == ("cpu", "float32", [name])
    sizes, config = facts["presets"][name], preset(name)
    assert sizes["size"] == [config.geometry.width, config.geometry.height]
    assert sizes["chunk_frames"] == [9, 12]
    tokens = config.cache.slots * config.geometry.tokens_per_frame
    assert sizes["memory"]["cache"] == 3 * 4 * config.model.num_layers * tokens * config.model.dim
    assert sizes["parameters"]["dit"] > sizes["parameters"]["vae"] > 1000
    assert cli.main(["info"]) == 0
    assert "compute: cpu" in capsys.readouterr().out
    assert cli.main(["info", "mega"]) == 2
    check_sentence(capsys, "unknown preset 'mega'")


# ---- the frame around them -------------------------------------------------------------------------------------------


def test_help_is_instant_and_heavy_imports_wait():
    code = (
        "import sys, motionstream, motionstream.cli as cli\n"
        "for words in (['--help'], ['--version'], ['generate', '--help'], ['tracks', 'draw', '--help'], ['info', '-h']):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'av', 'PIL', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(verb in shown for verb in cli.VERBS)
    assert f"motionstream {ms.__version__}" in shown


def test_the_frame_around_a_verb(monkeypatch: pytest.MonkeyPatch, capsys):
    def run_with(error: BaseException) -> int:
        def run(_: object) -> int:
            raise error

        verb = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(cli, "_load_verb", lambda *_: verb)
        return cli.main(["info"])

    for error, complaint in (
        (ValueError("two\n lines"), "two lines"),
        (FileNotFoundError(2, "No such file", "a.txt"), "a.txt: No such file"),
        (PermissionError(13, "Permission denied", "b.txt"), "b.txt: Permission denied"),
        (ModuleNotFoundError("No module named 'fastapi'", name="fastapi"), "pip install 'motionstream[serve]'"),
        (ModuleNotFoundError("No module named 'foo'", name="foo.bar"), "the package foo is not installed"),
        (MemoryError(), "out of memory"),
    ):
        assert run_with(error) == 2
        check_sentence(capsys, complaint)
    assert run_with(KeyboardInterrupt()) == 130
    with pytest.raises(AssertionError):
        run_with(AssertionError("ours"))
    monkeypatch.setenv("MOTIONSTREAM_DEBUG", "1")
    with pytest.raises(ValueError, match="shown"):
        run_with(ValueError("shown"))


def test_unknown_and_missing_verbs(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(cli.VERBS, "fly", ("motionstream.commands.fly", "not there"))
    for argv, complaint in (
        ([], "required: VERB"),
        (["walk"], "invalid choice: 'walk'"),
        (["fly"], "not part of this release"),
    ):
        assert cli.main(argv) == 2
        check_sentence(capsys, complaint)


def test_the_public_names():
    assert set(ms.__all__) <= set(dir(ms))
    assert all(getattr(ms, name) is not None for name in ms.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        _ = ms.fly


def test_the_demo_fits_its_picture():
    picture = Image.open(EXAMPLES / "demo.jpg")
    tracks = load_tracks(EXAMPLES / "demo_drag.json")
    assert (tracks.size, tracks.fps) == ((picture.height, picture.width), 16)
    assert tracks.visible.all()
