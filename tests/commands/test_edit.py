"""`motionstream edit`: what is dragged where, the two kinds of output, and what a user can get wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.tracks.io import load_tracks


def edit(*more: str, output: str = "out.png") -> int:
    common = ["--preset", "tiny-debug", "--scale", "1", "-o", output]
    return cli.main(["edit", "photo.png", "--from", "20,30", "--to", "50,30", *common, *more])


def moved(engine) -> np.ndarray:
    """Displacement of each point from first to last frame, in pixels of the picture (80x53 of it become 48x32)."""
    xy = engine.tracks.xy[0].numpy()
    return (xy[-1] - xy[0]) / [48 / 80, 32 / 53]


def test_the_last_frame_is_the_result(engine, folder: Path, last_json: Callable):
    assert edit("--prompt", "a ball", "--seed", "3", "--contact-sheet", "--save-tracks", "t.json") == 0
    result = last_json()
    assert (result["frames"], result["output"], result["seed"]) == (33, "out.png", 3)
    with Image.open("out.png") as picture:
        assert np.asarray(picture).shape == (32, 48, 3)
        assert np.unique(np.asarray(picture)) == [120]  # of the third chunk: 9 + 12 + 12 frames
    assert (engine.prompt, engine.seed, engine.closed) == ("a ball", 3, True)
    assert moved(engine) == pytest.approx(np.tile([30.0, 0.0], (engine.tracks.num_tracks, 1)), abs=0.01)
    assert load_tracks("t.json").num_tracks == result["tracks"] == engine.tracks.num_tracks
    assert np.abs(np.diff(engine.tracks.xy[0, -8:].numpy(), axis=0)).max() < 1e-4  # at rest at the end
    assert sorted(os.listdir()) == ["out.png", "out_sheet.png", "photo.png", "strokes.json", "t.json", "tracks.json"]


def test_the_movement_as_a_video(engine, folder: Path, last_json: Callable):
    assert edit("--frames", "14", "--draw-tracks", output="out.mp4") == 0
    assert last_json()["frames"] == 14
    assert ms.read_video("out.mp4")[0].shape == (14, 32, 48, 3)


def test_a_mask_says_what_moves(engine, folder: Path, capsys):
    mask = np.zeros((120, 160), dtype=np.uint8)
    mask[50:70, 30:60] = 255  # x 15 to 30, y 25 to 35 of the picture
    Image.fromarray(mask).save("mask.png")
    assert edit("--mask", "mask.png", "--rotate", "90", "--grow", "2") == 0
    assert "mask: 160x120 pixels, resized to the picture's 80x60" in capsys.readouterr().err
    start = engine.tracks.xy[0, 0].numpy() / [48 / 80, 32 / 53] + [0, 3]
    assert ((start > [15, 25]) & (start < [30, 35])).all()
    assert (np.ptp(start, axis=0) > [10, 6]).all()  # all over it
    end = engine.tracks.xy[0, -1].numpy() / [48 / 80, 32 / 53] + [0, 3]
    offset = start - [20, 30]
    assert end == pytest.approx(np.array([50, 30]) + 2 * np.stack([-offset[:, 1], offset[:, 0]], axis=1), abs=0.05)


def test_a_mask_on_transparency(engine, folder: Path):
    mask = Image.new("RGBA", (80, 60))
    mask.paste((255, 255, 255, 255), (15, 25, 30, 35))
    mask.save("mask.png")
    assert edit("--mask", "mask.png") == 0
    start = engine.tracks.xy[0, 0].numpy() / [48 / 80, 32 / 53] + [0, 3]
    assert ((start > [15, 25]) & (start < [30, 35])).all()


@pytest.mark.parametrize(
    ("options", "end", "middle"),
    [
        (["--path", "line"], (30, 0), (15, 0)),
        (["--via", "20,10"], (30, 0), None),
        (["--path", "circle", "--turns", "0.5", "--to", "30,30"], (20, 0), (10, -10)),
        (["--path", "circle", "--turns", "-0.5", "--to", "30,30"], (20, 0), (10, 10)),
        (["--path", "wave", "--cycles", "1.5", "--amplitude", "6"], (30, 0), (15, 6)),
        (["--path", "orbit", "--turns", "1", "--to", "30,30"], (0, 0), (20, 0)),
    ],
)
def test_paths(engine, folder: Path, options: list[str], end: tuple, middle: tuple | None):
    assert edit("--radius", "0.5", "--easing", "linear", "--duration", "2", "--frames", "33", *options) == 0
    xy = engine.tracks.xy[0, :, 0].numpy() / [48 / 80, 32 / 53]
    assert xy[-1] - xy[0] == pytest.approx(end, abs=0.1)
    if middle is not None:
        assert xy[16] - xy[0] == pytest.approx(middle, abs=0.3)
    else:
        assert (xy[:, 1] - xy[0, 1]).min() == pytest.approx(-20, abs=2)


def test_speed_and_a_note_when_the_end_is_not_reached(engine, folder: Path, capsys):
    assert edit("--speed", "10", "--frames", "33", "--easing", "linear") == 0
    assert moved(engine)[:, 0] == pytest.approx(20, abs=0.05)
    assert "path: 33 frames end after 67 % of the way; raise --frames for all of it" in capsys.readouterr().err


def test_with_a_model(folder: Path, last_json: Callable):
    assert edit("--frames", "9") == 0
    assert last_json()["frames"] == 9
    with Image.open("out.png") as picture:
        assert picture.size == (48, 32)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--from", "20"], "'20' must be X,Y in pixels"),
        (["--from", "20,x"], "'20,x' must be X,Y in pixels"),
        (["--to", "-9,40"], "one that begins with a minus after =, such as --to=-9,40"),
        (["--to", "nan,3"], "'nan,3' must be X,Y in pixels"),
        (["--from", "200,30"], "--from 200,30 is outside the picture of 80x60 pixels"),
        (["--from", "20,0.5", "--radius", "1"], "outside the part of the picture that is used; try --fit pad"),
        (["--to", "500,30"], "nothing of what is moved is left in the picture at the end; choose another --to"),
        (["--mask", "nowhere.png"], "picture 'nowhere.png' does not exist"),
        (["--mask", "black.png"], "mask 'black.png' is black everywhere"),
        (["--mask", "black.png", "--radius", "3"], "--radius is for the disc"),
        (["--via", "3,3", "--path", "wave"], "--via goes with --path follow, not with wave"),
        (["--amplitude", "5"], "--amplitude goes with --path wave, not with line"),
        (["--cycles", "3", "--via", "3,3"], "--cycles goes with --path wave, not with follow"),
        (["--turns", "2", "--path", "wave"], "--turns goes with --path circle or orbit, not with wave"),
        (["--path", "zigzag"], "invalid choice: 'zigzag'"),
        (["--easing", "bounce"], "unknown easing 'bounce'"),
        (["--duration", "1", "--speed", "3"], "not allowed with argument"),
        (["--from", "30,30", "--to", "30,30", "--speed", "3", "--rotate", "90"], "--speed needs a way to go"),
        (["--rotate", "inf"], "'inf' must be a number"),
        (["--grow", "0"], "'0' must be a number above 0"),
        (["--preset", "mega"], "unknown preset 'mega'"),
        (["-o", "out.gif"], "must end in .png or .mp4"),
        (["-o", "photo.png"], "is also what is read, which would be lost"),
        (["--frames", "1"], "'1' must be a whole number from 2"),
    ],
)
def test_bad_input(engine, folder: Path, check_sentence, options: list[str], complaint: str):
    Image.new("L", (80, 60)).save("black.png")
    assert edit(*options) == 2
    check_sentence(complaint)
    assert not os.path.exists("out.png")


def test_the_log_of_chunks(engine, folder: Path, capsys):
    assert edit("--chunk-log", "--frames", "14") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines == [{"index": 0, "frames": 9, "ms": 10.0}, {"index": 1, "frames": 5, "ms": 20.0}]
