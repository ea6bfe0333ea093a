from pathlib import Path

import numpy as np
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.tracks.io import load_tracks


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
