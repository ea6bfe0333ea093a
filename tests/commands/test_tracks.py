from pathlib import Path

import numpy as np
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.media.decode import VideoFile
from motionstream.tracks.io import load_tracks, save_tracks


def test_tracks_draw(folder: Path, capsys, check_sentence):
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
    check_sentence("must end in .png or .mp4")
    for below, name in (("--video", "below.mp4"), ("--image", "photo.png")):
        assert cli.main(["tracks", "draw", "tracks.json", below, name, "-o", f"./{name}"]) == 2
        check_sentence("is also what is read, which would be lost")


def test_tracks_info_and_convert(folder: Path, capsys, last_json, check_sentence):
    assert cli.main(["tracks", "info", "strokes.json", "--json"]) == 0
    facts = last_json()
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
        check_sentence(complaint)


def test_drawing_on_a_video_reads_no_more_than_is_drawn(folder: Path, monkeypatch):
    seen = []

    def count(self, frame, *more):
        seen.append(frame)
        return upright(self, frame, *more)

    upright = VideoFile.upright
    monkeypatch.setattr(VideoFile, "upright", count)
    ms.write_video("below.mp4", np.zeros((60, 30, 40, 3), np.uint8), fps=16)
    assert cli.main(["tracks", "draw", "tracks.json", "--video", "below.mp4", "-o", "paths.png"]) == 0
    assert len(seen) == 1
    assert cli.main(["tracks", "draw", "tracks.json", "--video", "below.mp4", "-o", "moving.mp4"]) == 0
    assert len(seen) == 1 + 17
    assert len(ms.read_video("moving.mp4")[0]) == 17


def test_several_samples_are_not_drawn_as_one(folder: Path, check_sentence):
    tracks = load_tracks("tracks.json")
    both = ms.Tracks(
        xy=tracks.xy.repeat(2, 1, 1, 1), visible=tracks.visible.repeat(2, 1, 1), ids=tracks.ids.repeat(2, 1),
        size=tracks.size, fps=tracks.fps,
    )  # fmt: skip
    save_tracks("both.npz", both)
    assert cli.main(["tracks", "draw", "both.npz", "-o", "both.png"]) == 2
    check_sentence("both.npz: holds 2 samples; give a file with one")
    assert not Path("both.png").exists()


def test_files_without_a_rate_are_resampled(folder: Path):
    x = np.arange(33, dtype=np.float32)[None, :, None, None].repeat(2, axis=3)
    np.save("a_tracks.npy", x)
    convert = ["tracks", "convert", "a_tracks.npy", "a.npz", "--canvas", "80x60", "--fps", "24"]
    for more, count in (([], 49), (["--source-fps", "8"], 97)):
        assert cli.main([*convert, *more]) == 0
        tracks = load_tracks("a.npz")
        assert (tracks.num_frames, tracks.fps) == (count, 24)
        assert tracks.xy[0, -1, 0].tolist() == [32.5, 32.5]


def test_what_is_said_about_ati(folder: Path, capsys):
    convert = ["tracks", "convert", "tracks.json", "a.pth"]
    assert cli.main(convert) == 0
    said = capsys.readouterr().err
    assert "121 frames at 24 fps" in said
    assert "cut" not in said
    assert cli.main([*convert, "--frames", "300", "--fps", "30"]) == 0
    said = capsys.readouterr().err
    assert "121 frames at 24 fps, 80x60 pixels in a.pth" in said
    assert "ATI files hold 121 frames at 24 fps: what comes after 5 s of the 9.96667 s was cut" in said


def test_what_is_converted_is_not_lost(folder: Path, check_sentence):
    for source in ("tracks.json", "a_tracks.npy"):
        assert cli.main(["tracks", "convert", "tracks.json", "a_tracks.npy"]) == 0
        check = {name: Path(name).read_bytes() for name in ("tracks.json", "a_tracks.npy", "a_visibility.npy")}
        for target in (f"./{source}", "a.npy" if source.endswith(".npy") else "tracks.json"):  # a.npy has the same partner
            assert cli.main(["tracks", "convert", source, target, "--frames", "3"]) == 2
            check_sentence("is also what is read, which would be lost: choose another name")
        assert check == {name: Path(name).read_bytes() for name in check}


def test_a_drawing_that_is_stopped_says_what_is_kept(folder: Path, stopped_video, capsys):
    assert cli.main(["tracks", "draw", "tracks.json", "-o", "moving.mp4"]) == 130
    assert "the 16 frames made so far are in moving.partial.mp4\nmotionstream: interrupted" in capsys.readouterr().err
    assert len(ms.read_video("moving.partial.mp4")[0]) == 16
