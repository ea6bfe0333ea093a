import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.tracks.io import load_strokes, load_tracks, save_strokes, save_tracks
from motionstream.tracks.strokes import Stroke
from motionstream.tracks.tracks import Tracks

HEAD = {"format": "motionstream-tracks", "version": 1, "width": 64, "height": 48}
TRACK = {"id": 7, "start": 1, "points": [[1, 2], None, [3.5, 4]]}
GOOD = {**HEAD, "tracks": [TRACK]}
STROKES = {**HEAD, "format": "motionstream-strokes", "strokes": [{"points": [[0, 8, 8], [1, 40, 8]], "radius_px": 8}]}


def written(folder: Path, document, name: str = "drag.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def random_tracks(seed: int, B: int = 1) -> Tracks:
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(B, 6, 3, 2, generator=generator) * 48
    visible = torch.rand(B, 6, 3, generator=generator) < 0.6
    visible[:, 2, 1] = True
    return Tracks(xy=xy, visible=visible, ids=torch.tensor([[2**62, 0, 5]] * B), size=(48, 64), fps=23.976)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["a.json", "a.npz", "a.NPZ"]))
def test_round_trip_is_exact(tmp_path_factory, seed, name):
    path = tmp_path_factory.mktemp("io") / name
    tracks = random_tracks(seed)
    save_tracks(path, tracks)
    assert load_tracks(path).allclose(tracks, atol=0)
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_npz_holds_a_batch_and_json_says_it_does_not(tmp_path):
    tracks = random_tracks(0, B=2)
    save_tracks(tmp_path / "a.npz", tracks)
    assert load_tracks(tmp_path / "a.npz").allclose(tracks, atol=0)
    with pytest.raises(ValueError, match=r"have 2; save them as \.npz"):
        save_tracks(tmp_path / "a.json", tracks)


def test_a_hand_written_file(tmp_path):
    tracks = load_tracks(written(tmp_path, GOOD))
    assert (tracks.num_frames, tracks.fps, tracks.size, tracks.ids.tolist()) == (4, 16.0, (48, 64), [[7]])
    assert tracks.visible[0, :, 0].tolist() == [False, True, False, True]
    assert tracks.xy[0, 3, 0].tolist() == [3.5, 4.0]


def test_more_frames_or_fewer_than_asked(tmp_path):
    path = written(tmp_path, GOOD)
    assert load_tracks(path, num_frames=2).visible[0, :, 0].tolist() == [False, True]
    longer = load_tracks(path, num_frames=6)
    assert longer.visible[0, :, 0].tolist() == [False, True, False, True, True, True]
    with pytest.raises(ValueError, match="num_frames must be 1"):
        load_tracks(path, num_frames=0)


def test_another_frame_rate(tmp_path):
    path = written(tmp_path, {**GOOD, "fps": 24, "num_frames": 49})
    tracks = load_tracks(path, fps=16)
    assert (tracks.fps, tracks.num_frames) == (16, 33)


def test_strokes_are_expanded_on_load(tmp_path):
    path = written(tmp_path, STROKES)
    tracks = load_tracks(path)
    assert (tracks.num_frames, tracks.num_tracks, tracks.fps) == (17, 5, 16)
    assert tracks.xy[0, 8, 0].tolist() == [24, 8]
    assert load_tracks(path, fps=8).num_frames == 9
    with pytest.raises(ValueError, match=r"fps must be a number from 0\.01 to 10000 frames per second, got inf"):
        load_tracks(path, fps=math.inf)
    assert load_tracks(path, num_frames=20).xy[0, -1, 0].tolist() == [40, 8]


def test_strokes_round_trip(tmp_path):
    strokes = [
        Stroke(points=[(0.1, 1, 2)], kind="pin", id=30, radius_px=9.0, spacing_px=4.0),
        Stroke(points=[(0, 1, 2), (0.25, 3.5, 4)], hold=False, rotate_deg=90.0, scale=1.5),
    ]
    save_strokes(tmp_path / "a.json", strokes, size=(48, 64), fps=24)
    assert load_strokes(tmp_path / "a.json") == (strokes, (48, 64), 24.0)
    with pytest.raises(ValueError, match="strokes need"):
        load_strokes(written(tmp_path, GOOD))


def with_track(**changes):
    return {**HEAD, "tracks": [{**TRACK, **changes}]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("no json", "not readable as JSON"),
        ("[1]", "one JSON object, got a list"),
        ("[" * 100_000, "not readable as JSON"),
        ({**GOOD, "version": 2}, "version is 2, but this release reads version 1 only"),
        ({**GOOD, "format": "other"}, "format is 'other'"),
        ({"tracks": []}, "format is None"),
        ({**HEAD, "tracks": []}, "'tracks' must be a list with at least one entry"),
        (HEAD, "'tracks' must be a list"),
        ({**HEAD, "tracks": [3]}, "each track must be an object"),
        ({**GOOD, "width": 0}, "'width' must be a whole number from 1"),
        ({**GOOD, "height": True}, "'height' must be a whole number"),
        ({**GOOD, "fps": "16"}, "fps must be a number from 0.01 to 10000 frames per second, got '16'"),
        ({**GOOD, "fps": 1e-300}, "fps must be a number from .*, got 1e-300"),
        ({**STROKES, "fps": 20_000}, "fps must be a number from .*, got 20000"),
        ({**GOOD, "fps": 10**400}, "fps must be a number from .*, got 1000"),
        ({**GOOD, "num_frames": 2}, "a track reaches frame 3, but num_frames is 2"),
        ({**GOOD, "tracks": [TRACK, TRACK]}, "7 appears more than once"),
        (with_track(points=[[1, math.nan]]), "NaN is not a coordinate; write null"),
        (with_track(points=[[1, math.inf]]), "Infinity is not a coordinate"),
        (with_track(points=[]), "'points' must be a list"),
        (with_track(points=[[1, 2, 3]]), r"track 7, frame 1: a point must be \[x, y\] or null, got \[1, 2, 3\]"),
        (with_track(points=[["1", 2]]), "a point must be"),
        (with_track(points=[[10**400, 2]]), "a point must be"),
        (with_track(points=[None]), "no point is ever visible"),
        (with_track(points=[[900, 20]]), r"outside the canvas of 64x48, such as \(900, 20\)"),
        ({**GOOD, "frames": 9}, "a file of tracks has the unknown key 'frames'; known are format, .*num_frames, tracks"),
        (with_track(begin=2), "a track has the unknown key 'begin'; known are id, start, points"),
        ({**STROKES, "num_frames": 9}, "a file of strokes has the unknown key 'num_frames'"),
        (with_track(start=-1), "'start' must be a whole number from 0"),
        (with_track(start=10**12), "'start' must be a whole number"),
        (with_track(id="7"), "'id' must be a whole number"),
        ({**STROKES, "strokes": []}, "'strokes' must be a list"),
        ({**STROKES, "strokes": [{"points": [[0, 1, 1]], "speed": 3}]}, "unknown key 'speed'"),
        ({**STROKES, "strokes": [{"points": [[10**400, 1, 1]]}]}, "finite numbers"),
        ({**STROKES, "strokes": [{"radius_px": 3}]}, "with the key 'points'"),
        ({**STROKES, "strokes": [{"points": [[1, 1, 1], [0, 1, 1]]}]}, "never decrease, got 0"),
        ({**STROKES, "strokes": [{"points": [[0, 900, 1]]}]}, "no point is ever visible"),
        ({**STROKES, "strokes": [{"points": [[1e7, 1, 1]], "radius_px": 120, "spacing_px": 4}]}, "shorten them"),
        ({**STROKES, "strokes": [{"points": [[0, 1, 1], [1e7, 1, 1]]}]}, "last 1e\\+07 s, .* above 100000; shorten them"),
    ],
)
def test_bad_files_name_the_file_the_value_and_the_fix(tmp_path, document, message):
    path = written(tmp_path, document)
    with pytest.raises(ValueError, match=message) as caught:
        load_tracks(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_bad_npz(tmp_path):
    path = tmp_path / "a.npz"
    save_tracks(path, random_tracks(1))
    payload = path.read_bytes()
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    for broken in (b"", b"not a zip", payload[:200], payload[:-30]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="not readable as NPZ") as said:
            load_tracks(path)
        assert "allow_pickle" not in str(said.value), "no advice to open what could run code"
    np.savez(path, **{**arrays, "xy": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="not readable as NPZ"):
        load_tracks(path)
    foreign = {"points": np.zeros((3, 9, 2)), "occluded": np.zeros((3, 9))}, {"tracks": arrays["xy"], "visibility": [1]}
    for other in foreign:
        np.savez(path, **other)
        with pytest.raises(ValueError, match="another project's tracks; bring them over by: motionstream tracks convert"):
            load_tracks(path)
    cases = [
        ({"version": 3}, "version is 3"),
        ({"visible": arrays["visible"][:, :2]}, "visible must be torch.bool"),
        ({"xy": arrays["xy"] * np.nan}, "NaN or infinite"),
        ({"ids": np.array([[1, 1, 2]])}, "1 appears more than once"),
        ({"xy": arrays["xy"] + 1000}, "outside the canvas of 64x48"),
        ({"visible": np.zeros_like(arrays["visible"])}, "no point is ever visible"),
        ({"xy": np.array(["a"])}, "arrays must hold numbers"),
    ]
    for changes, message in cases:
        np.savez(path, **{**arrays, **changes})
        with pytest.raises(ValueError, match=message):
            load_tracks(path)
    del arrays["ids"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="missing are ids"):
        load_tracks(path)


def test_missing_files_other_suffixes_and_unwritable_places(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*check the path"):
        load_tracks(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"a\.txt: a file of tracks must end in \.json or \.npz"):
        load_tracks(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"cannot write .*choose another place"):
        save_tracks(tmp_path / "none" / "a.json", random_tracks(0))
    with pytest.raises(ValueError, match="ever visible"):
        save_tracks(tmp_path / "a.json", Tracks.empty(num_frames=2, size=(4, 4), fps=16))
    with pytest.raises(ValueError, match="there is no stroke"):
        save_strokes(tmp_path / "a.json", [], size=(4, 4))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    save_tracks(path, random_tracks(0))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="save them as"):
        save_tracks(path, random_tracks(0, B=2))
    assert path.read_bytes() == before
