"""`motionstream track` on small videos, and what it says about bad input."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.tracks.io import load_tracks


@pytest.fixture
def clip(folder: Path) -> Path:
    """A checked block that moves 2 px to the right a frame over a ramp, 20 frames of 80x60."""
    frames = np.repeat(np.asarray(Image.open("photo.png"))[None], 20, axis=0) // 2 + 40
    block = np.kron(np.random.default_rng(0).integers(0, 255, (5, 5, 3)), np.ones((4, 4, 1)))
    for t in range(20):
        frames[t, 20:40, 10 + 2 * t : 30 + 2 * t] = block
    ms.write_video("clip.mp4", frames.astype(np.uint8), fps=12.5)
    return folder


def track(*more: str) -> int:
    return cli.main(["track", "clip.mp4", "-o", "out.npz", *more])


def test_a_grid(clip: Path, last_json):
    assert track("--grid", "8", "--draw", "drawn.mp4") == 0
    result = last_json()
    assert (result["frames"], result["tracks"], result["size"]) == (20, 64, [80, 60])
    assert (result["tracker"], result["output"], result["drawn"]) == ("lk", "out.npz", "drawn.mp4")
    tracks = load_tracks("out.npz")
    assert (tracks.num_frames, tracks.num_tracks, tracks.size, tracks.fps) == (20, 64, (60, 80), 12.5)
    assert result["visible"] == pytest.approx(float(tracks.visible.float().mean()), abs=1e-3)
    drawn, fps = ms.read_video("drawn.mp4")
    assert (drawn.shape, fps) == ((20, 60, 80, 3), 12.5)
    assert np.abs(drawn[18].astype(int) - ms.read_video("clip.mp4")[0][18]).max() > 100  # beyond the first window too


@pytest.mark.parametrize("tracker", ["lk", "dis"])
def test_given_points_follow_the_block(clip: Path, tracker: str, last_json):
    Path("points.csv").write_text("15, 25\n5, 30, 30\n".replace("15, 25", "0, 15, 25"))
    assert track("--points", "points.csv", "--tracker", tracker, "--frames", "12") == 0
    assert last_json()["frames"] == 12
    tracks = load_tracks("out.npz")
    assert np.abs(tracks.xy[0, 11].numpy() - [[37, 25], [42, 30]]).max() < 0.7
    assert tracks.visible[0, :, 1].tolist() == [False] * 5 + [True] * 7


def test_a_mask_and_another_size(clip: Path, last_json):
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 10:30] = 255
    Image.fromarray(mask).save("mask.png")
    assert track("--mask", "mask.png", "--grid", "4", "--size", "160x120") == 0
    tracks = load_tracks("out.npz")
    assert (tracks.size, tracks.num_tracks) == ((120, 160), 16)
    assert np.abs((tracks.xy[0, 9] - tracks.xy[0, 0]).numpy() - [36, 0]).max() < 1.5


def test_another_aspect_takes_the_mask_of_the_clip(clip: Path):
    mask = Image.new("LA", (80, 60))  # transparent but for the block
    mask.paste((255, 255), (10, 20, 30, 40))
    mask.save("mask.png")
    assert track("--mask", "mask.png", "--grid", "4", "--size", "120x60", "--frames", "3") == 0
    xy = load_tracks("out.npz").xy[0, 0].numpy()
    assert (len(xy), xy.min(axis=0).tolist(), xy.max(axis=0).tolist()) == (16, [18.75, 22.5], [41.25, 37.5])


def test_tracks_as_points_begin_at_the_same_moment(clip: Path):
    late = np.zeros((9, 1), bool)
    late[4:] = True
    points = np.full((9, 1, 2), 30, np.float32)
    ms.tracks.io.save_tracks("late.npz", ms.Tracks.from_points(points, visible=late, size=(60, 80), fps=5))
    assert track("--points", "late.npz") == 0
    assert load_tracks("out.npz").visible[0, :, 0].tolist() == [False] * 10 + [True] * 10  # 0.8 s at 12.5 fps


def test_json_and_tracks_as_points(clip: Path):
    assert cli.main(["track", "clip.mp4", "-o", "out.json", "--points", "tracks.json"]) == 0
    assert load_tracks("out.json").xy[0, 0].tolist() == [[20, 30], [40, 30]]


def test_what_is_said_about_lengths(clip: Path, capsys):
    Path("points.csv").write_text("0, 15, 25\n33, 15, 25\n")
    assert track("--points", "points.csv", "--frames", "30") == 0
    said = capsys.readouterr().err
    assert "the video has 20 frames, 30 were asked for" in said
    assert "1 of the points are given for frames after the last one, 19" in said


def test_converting_to_other_forms_and_back(folder: Path, capsys, check_sentence):
    for target, more, back in (
        ("a.pth", [], ["--canvas", "80x60"]),
        ("a.npz", ["--to", "tapvid"], []),
        ("b.npz", ["--to", "cotracker"], []),
        ("c_tracks.npy", [], ["--canvas", "80x60"]),
    ):
        assert cli.main(["tracks", "convert", "tracks.json", target, *more]) == 0
        assert cli.main(["tracks", "convert", target, "back.json", *back]) == 0
        tracks = load_tracks("back.json")
        assert tracks.resample(fps=16).slice_frames(0, 17).allclose(load_tracks("tracks.json"), atol=1e-3)
    capsys.readouterr()
    assert cli.main(["tracks", "convert", "a.pth", "back.json"]) == 2
    check_sentence("does not say its canvas; give the size of the picture that the tracks were drawn on (--canvas WxH)")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--grid", "0"], "'0' must be a whole number from 1 to 223"),
        (["--grid", "3", "--points", "p.csv"], "not allowed with"),
        (["--points", "missing.csv"], "cannot read missing.csv"),
        (["--points", "tracks.json", "--mask", "photo.png"], "--mask goes with --grid"),
        (["--mask", "missing.png"], "does not exist"),
        (["--mask", "square.png"], "another aspect"),
        (["--mask", "dark.png"], "is empty"),
        (["--tracker", "raft"], "invalid choice: 'raft'"),
        (["--tracker", "cotracker"], "needs your own installation of CoTracker"),
        (["--tracker", "tapir", "--tracker-weights", "x.pt"], "needs your own installation of tapnet"),
        (["--tracker-weights", "x.pt"], "--tracker lk needs no weights"),
        (["--size", "8x8"], "too small to track"),
        (["-o", "out.csv"], "must end in .npz or .json"),
        (["--draw", "out.gif"], "must end in .mp4"),
        (["--draw", "clip.mp4"], "is also what is read, which would be lost"),
        (["--points", "ragged.csv"], "'3 4 5' has 3 numbers, the first point 2"),
        (["-o", "nowhere/out.npz"], "create 'nowhere' first"),
    ],
)
def test_bad_input(clip: Path, check_sentence, capsys, arguments: list[str], complaint: str):
    Image.new("L", (50, 50), 255).save("square.png")
    Image.new("L", (80, 60)).save("dark.png")
    Path("ragged.csv").write_text("1, 2\n3, 4, 5\n")
    before = Path("clip.mp4").read_bytes()
    assert track(*arguments) == 2
    check_sentence(complaint)
    assert not Path("out.npz").exists()
    assert Path("clip.mp4").read_bytes() == before


def test_a_drawing_that_is_stopped_says_what_is_kept(clip: Path, stopped_video, capsys):
    assert track("--grid", "3", "--draw", "drawn.mp4") == 130
    assert "the 16 frames made so far are in drawn.partial.mp4\n" in capsys.readouterr().err
    assert len(ms.read_video("drawn.partial.mp4")[0]) == 16


def test_bad_videos(folder: Path, check_sentence):
    Path("text.mp4").write_text("hello")
    for name, complaint in (("missing.mp4", "does not exist"), ("text.mp4", "cannot read video"), (".", "is a folder")):
        assert cli.main(["track", name, "-o", "out.npz"]) == 2
        check_sentence(complaint)
    assert "out.npz" not in os.listdir()


def test_a_clip_without_anything_to_follow(folder: Path, check_sentence, capsys):
    """Its points would all be "visible" for ever where they were put."""
    flat = np.full((20, 60, 80, 3), 90, np.uint8)
    ms.write_video("flat.mp4", flat, fps=24)
    assert cli.main(["track", "flat.mp4", "-o", "out.npz"]) == 2
    check_sentence("flat.mp4: its first frame is flat or dark, so no point in it can be followed; give --points with t")
    flat[12:, 20:40, 20:40] = np.random.default_rng(0).integers(0, 255, (20, 20, 3))
    ms.write_video("late.mp4", flat, fps=24)
    Path("late.csv").write_text("14, 30, 30\n")
    assert cli.main(["track", "late.mp4", "-o", "out.npz", "--points", "late.csv"]) == 0
    assert load_tracks("out.npz").visible[0, 14:].all()


def test_clips_longer_than_a_file_of_tracks(clip: Path, capsys, check_sentence, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("motionstream.commands.track.MAX_FRAMES", 12)
    assert track("--grid", "4") == 0
    assert "the first 12 frames were tracked, which is all that a tracks file holds" in capsys.readouterr().err
    assert load_tracks("out.npz").num_frames == 12
    monkeypatch.setattr("motionstream.tracks.io.MAX_POINTS", 100)
    assert cli.main(["track", "clip.mp4", "-o", "out.json", "--grid", "4", "--draw", "drawn.mp4"]) == 2
    check_sentence("16 tracks of 12 frames are too many for JSON")
    assert not Path("drawn.mp4").exists()


def test_points_that_all_come_after_the_clip(folder: Path, check_sentence):
    ms.write_video("clip.mp4", np.full((6, 60, 80, 3), 90, np.uint8), fps=24)
    Path("late.csv").write_text("9, 30, 30\n14, 30, 30\n")
    assert cli.main(["track", "clip.mp4", "-o", "out.npz", "--points", "late.csv"]) == 2
    check_sentence("all points are given for frame 9 or later, and the last frame that was read is 5")
    assert not Path("out.npz").exists()


def test_help_names_every_tracker(capsys):
    with pytest.raises(SystemExit):
        cli.main(["track", "--help"])
    said = capsys.readouterr().out
    assert "cotracker" in said
    assert json.dumps("tapnext").strip('"') in said
