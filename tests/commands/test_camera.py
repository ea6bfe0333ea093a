"""`motionstream camera` with a fake engine, a real one once, and what a user can get wrong."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.commands.camera import default_grid
from motionstream.presets import preset
from motionstream.tracks.io import load_tracks


def camera(*more: str) -> int:
    return cli.main(["camera", "photo.png", "--model", "tiny-debug", "-o", "out.mp4", "--scale", "1", *more])


def test_a_named_move_becomes_a_video(engine, folder: Path, capsys):
    assert camera("--preset", "pan-right", "--contact-sheet", "--save-tracks", "tracks.npz", "--seed", "3") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert (result["frames"], result["output"], result["seed"]) == (81, "out.mp4", 3)
    assert result["tracks"] == engine.tracks.num_tracks > 24
    assert "depth: none given: a flat plane facing the camera is assumed" in captured.err
    assert "tracks: 6x4 points in frame 0, " in captured.err
    assert ms.read_video("out.mp4")[0].shape == (81, 32, 48, 3)
    assert Path("out_sheet.png").exists()
    assert load_tracks("tracks.npz").allclose(engine.tracks)
    assert engine.prompt == result["prompt"] == "everything stays still, the camera turns right"
    xy, visible = engine.tracks.xy[0], engine.tracks.visible[0]
    both = visible[0] & visible[-1]
    assert (xy[-1, both, 0] < xy[0, both, 0] - 8).all()  # the picture goes to the left
    assert (xy[0, 0] == xy.new_tensor([4.0, 4.0])).all()


def test_a_move_takes_its_own_time(engine, folder: Path):
    how = ["--preset", "dolly-in", "--amount", "0.2", "--duration", "0.25", "--easing", "linear"]
    assert camera(*how, "--frames", "9", "--prompt", "a hill") == 0
    xy = engine.tracks.xy[0, :, 0]
    assert (xy[4:] == xy[4]).all()
    assert xy[4].tolist() == pytest.approx([24 - 20 / 0.8, 16 - 12 / 0.8], abs=1e-3)
    assert xy[2].tolist() == pytest.approx([24 - 20 / 0.9, 16 - 12 / 0.9], abs=1e-3)
    assert engine.prompt == "a hill"


def test_a_path_with_depth_in_its_unit(engine, folder: Path, capsys):
    """A wall at 4 m, seen 60 degrees wide, from 1 m further to the right."""
    keyframes = [{"time_s": 0}, {"time_s": 0.5, "position": [1, 0, 0]}]
    document = {"format": "motionstream-camera", "version": 1, "unit": "depth", "keyframes": keyframes}
    Path("path.json").write_text(json.dumps(document))
    wall = np.full((30, 40), 4000, dtype=np.uint16)
    wall[3:6, 7] = 0
    Image.fromarray(wall).save("depth.png")
    assert camera("--path", "path.json", "--depth", "depth.png", "--depth-steps", "1000") == 0
    said = capsys.readouterr().err
    assert "depth: depth 'depth.png'\n" in said
    assert "depth: it has 40x30 pixels, the picture 80x60: resized\n" in said
    assert "0.2 % of it has no depth" in said
    assert engine.tracks.num_frames == 9  # the path's own length
    shift = engine.tracks.xy[0, -1, 5, 0] - engine.tracks.xy[0, 0, 5, 0]
    assert float(shift) == pytest.approx(-(24 / np.tan(np.radians(30))) / 4, abs=1e-3)


def test_known_points_fix_the_scale(engine, folder: Path, capsys):
    keyframes = [{"time_s": 0}, {"time_s": 0.5, "position": [1, 0, 0]}]
    document = {"format": "motionstream-camera", "version": 1, "unit": "depth", "keyframes": keyframes}
    Path("path.json").write_text(json.dumps(document))
    Path("points.txt").write_text("10 10 8\n40 30 8\n70 20 8\n70 50 80\n")
    assert camera("--path", "path.json", "--frames", "9") == 0
    assert "it has no unit of its own" in capsys.readouterr().err
    near = engine.tracks.xy[0, -1, 5, 0] - engine.tracks.xy[0, 0, 5, 0]
    assert camera("--path", "path.json", "--frames", "9", "--known-points", "points.txt") == 0
    said = capsys.readouterr().err
    assert "depth: scaled by 8 to 4 known points, which agree to 0.0 %" in said
    assert "no unit" not in said
    assert float(engine.tracks.xy[0, -1, 5, 0] - engine.tracks.xy[0, 0, 5, 0]) == pytest.approx(float(near) / 8, abs=1e-3)


def test_a_depth_model_is_asked(engine, folder: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    from motionstream.camera.depth import ground_depth

    asked = {}

    def estimate(picture: Image.Image, source: str, **how: object):
        asked.update(how, size=picture.size, source=source)
        return ground_depth((picture.height, picture.width))

    monkeypatch.setattr("motionstream.camera.estimate.estimate_depth", estimate)
    assert camera("--preset", "truck-left", "--frames", "9", "--depth-model", "mine", "--far-over-near", "4") == 0
    assert asked == {"size": (80, 60), "source": "mine", "kind": None, "device": None, "far_over_near": 4.0}
    assert "level ground" in capsys.readouterr().err
    shift = (engine.tracks.xy[0, -1, :24] - engine.tracks.xy[0, 0, :24])[:, 0]
    assert shift[0] < shift[-1]  # to the right, and more below, where it is near


def test_a_metric_model_is_not_spread(engine, folder: Path, check_sentence, monkeypatch: pytest.MonkeyPatch):
    from motionstream.camera.depth import depth_from_values

    metric = depth_from_values(np.full((60, 80), 2.0), "metric")
    monkeypatch.setattr("motionstream.camera.estimate.estimate_depth", lambda *_, **__: metric)
    assert camera("--preset", "pan-left", "--depth-model", "mine", "--far-over-near", "4") == 2
    check_sentence("--far-over-near 4 is for relative depth, and this model gives metric: leave it out")


def test_the_whole_chain_with_a_model(folder: Path, last_json: Callable):
    assert camera("--preset", "orbit-left", "--depth", "ground", "--frames", "13", "--draw-tracks") == 0
    assert last_json()["frames"] == 13
    assert ms.read_video("out.mp4")[0].shape == (13, 32, 48, 3)


def test_the_default_grid_is_the_models_anchors_or_fewer():
    assert default_grid(preset("nano").geometry) == (18, 24)
    large = ms.VideoGeometry(height=480, width=832)
    rows, columns = default_grid(large)
    assert 2300 < rows * columns <= 2500  # the paper's 50x50, in the picture's aspect


def test_what_is_read_is_not_written_over(engine, folder: Path, check_sentence):
    write_path()
    kept = Path("path.json").read_bytes()
    assert camera("--path", "path.json", "--save-tracks", "path.json") == 2
    check_sentence("output 'path.json' is also what is read, which would be lost: choose another name")
    assert Path("path.json").read_bytes() == kept
    np.savez("depth.npz", depth=np.ones((4, 4)))
    assert camera("--preset", "pan-left", "--depth", "depth.npz", "--save-tracks", "./depth.npz") == 2
    check_sentence("is also what is read")
    Path("known.json").write_text("10 10 8")
    assert camera("--preset", "pan-left", "--known-points", "known.json", "--save-tracks", "known.json") == 2
    check_sentence("is also what is read")
    Image.new("L", (8, 8), 9).save("out_sheet.png")
    for more in (["--depth", "out_sheet.png"], ["--known-points", "out_sheet.png"]):
        assert camera("--preset", "pan-left", "--contact-sheet", *more) == 2
        check_sentence("output 'out_sheet.png' is also what is read")
    assert not engine.loads


def test_a_small_depth_map_is_not_blown_up_to_the_photo(engine, folder: Path):
    """Twelve megapixels of depth took gigabytes; what is sampled is the frame's few."""
    Image.new("RGB", (4000, 3000)).save("photo.png")
    np.save("depth.npy", np.linspace(1, 4, 512 * 384, dtype=np.float32).reshape(384, 512))
    tracemalloc.start()
    try:
        assert camera("--preset", "pan-left", "--frames", "9", "--depth", "depth.npy") == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6


def write_path(**changes: object) -> None:
    document = {"format": "motionstream-camera", "version": 1, "keyframes": [{"time_s": 0}], **changes}
    Path("path.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "one of the arguments --preset --path is required"),
        (["--preset", "fly"], "unknown camera preset 'fly'; use one of pan-right"),
        (["--preset", "dolly-in", "--amount", "-1"], "'-1' must be a number above 0"),
        (["--preset", "tilt-up", "--amount", "200"], "at most 90 degrees, got 200"),
        (["--preset", "dolly-in", "--easing", "bounce"], "unknown easing 'bounce'"),
        (["--preset", "dolly-in", "--path", "path.json"], "not allowed with argument"),
        (["--path", "path.json", "--amount", "2"], "--amount goes with --preset"),
        (["--path", "nowhere.json"], "cannot read nowhere.json"),
        (["--path", "photo.png"], "photo.png: not readable as JSON"),
        (["--preset", "dolly-in", "--depth", "nowhere.npy"], "depth 'nowhere.npy' does not exist"),
        (["--preset", "dolly-in", "--depth", "photo.png"], "has the colour mode RGB"),
        (["--preset", "dolly-in", "--depth", "holes.npy"], "70 % of it has no depth"),
        (["--preset", "dolly-in", "--depth-model", "nowhere"], "holds no readable config.json"),
        (["--preset", "dolly-in", "--known-points", "nowhere"], "cannot read known points"),
        (["--preset", "dolly-in", "--grid", "16"], "'16' must be COLUMNSxROWS"),
        (["--preset", "dolly-in", "--grid", "13x8"], "less than 4 pixels apart in a video of 48x32; use at most 12x8"),
        (["--preset", "dolly-in", "--fov", "180"], "field of view must be above 1 and below 175 degrees, got 180"),
        (["--preset", "dolly-in", "--min-overlap", "2"], "'2' must be a number from 0 to 1"),
        (["--preset", "pan-left", "--amount", "120"], "the camera leaves the scene: in frame "),
        (
            ["--preset", "pan-left", "--depth-kind", "inverse"],
            "--depth-kind is for a depth map, and --depth plane reads none: give a file or leave it out",
        ),
        (["--preset", "pan-left", "--depth", "ground", "--depth-steps", "1000"], "--depth-steps is for a depth map"),
        (["--preset", "pan-left", "--far-over-near", "4"], "--far-over-near is for a depth map"),
        (
            ["--preset", "pan-left", "--depth", "holes.npy", "--far-over-near", "4"],
            "--far-over-near 4 is for relative depth, not for metric: add --depth-kind relative",
        ),
        (["--preset", "pan-left", "--depth-model", "mine", "--depth-steps", "9"], "--depth-steps 9 is for a depth map"),
        (
            ["--preset", "pan-left", "--depth", "holes.npy", "--depth-kind", "relative", "--depth-steps", "9"],
            "--depth-steps 9 is of a unit, and relative depth has none",
        ),
        (["--preset", "pan-left", "--model", "mega"], "unknown preset 'mega'"),
        (["--preset", "pan-left", "--save-tracks", "t.txt"], "must end in .npz or .json"),
        (["--preset", "pan-left", "--frames", "5000"], "'5000' must be a whole number from 1 to 2000"),
    ],
)
def test_bad_input(engine, folder: Path, check_sentence, options: list[str], complaint: str):
    write_path()
    np.save("holes.npy", np.where(np.arange(100).reshape(10, 10) < 30, 1.0, np.nan))
    assert camera(*options) == 2
    check_sentence(complaint)
    assert not os.path.exists("out.mp4")


def test_paths_that_are_too_long(engine, folder: Path, check_sentence):
    write_path(keyframes=[{"time_s": 0}, {"time_s": 1000, "position": [1, 0, 0]}])
    assert camera("--path", "path.json") == 2
    check_sentence("the camera path takes 1000 s, 16001 frames; give --frames of at most 2000")
