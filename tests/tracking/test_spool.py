"""Tracks written piece by piece are those that `save_tracks` writes at once."""

import os
from pathlib import Path

import numpy as np
import pytest

import motionstream as ms
from motionstream.tracking.spool import TrackSpool
from motionstream.tracks.io import load_tracks, save_tracks


def write(path: Path, xy: np.ndarray, visible: np.ndarray, parts: list[int]) -> None:
    with TrackSpool(path, num_tracks=xy.shape[1], size=(30, 40), fps=12.5) as spool:
        for start, stop in zip([0, *parts], [*parts, len(xy)], strict=True):
            spool.write(xy[start:stop], visible[start:stop])


@pytest.mark.parametrize("name", ["tracks.npz", "tracks.json"])
def test_the_file_is_the_usual_one(tmp_path: Path, name: str):
    rng = np.random.default_rng(0)
    xy = rng.uniform(-5, 45, (23, 7, 2)).astype(np.float32)
    visible = rng.random((23, 7)) < 0.7
    visible[:, 3] = False  # a track that is never seen keeps its place
    write(tmp_path / name, xy, visible, [1, 9, 9, 20])
    found = load_tracks(tmp_path / name)
    wanted = ms.Tracks.from_points(xy, visible=visible, size=(30, 40), fps=12.5)
    assert found.allclose(wanted, atol=0)
    save_tracks(tmp_path / f"again.{name}", wanted)
    assert load_tracks(tmp_path / f"again.{name}").allclose(found, atol=0)
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"again.{name}"])


def test_no_more_is_written_than_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("motionstream.tracks.io.MAX_POINTS", 20)
    xy, visible = np.full((7, 3, 2), 5, np.float32), np.ones((7, 3), bool)
    with pytest.raises(ValueError, match=r"3 tracks of 7 frames are too many for JSON, .*; write \.npz"):
        write(tmp_path / "a.json", xy, visible, [6])
    tracks = ms.Tracks.from_points(xy, visible=visible, size=(30, 40), fps=12.5)
    with pytest.raises(ValueError, match=r"too many for JSON"):
        save_tracks(tmp_path / "b.json", tracks)
    assert os.listdir(tmp_path) == []
    write(tmp_path / "a.npz", xy, visible, [6])
    assert load_tracks(tmp_path / "a.npz").allclose(tracks, atol=0)
    with pytest.raises(ValueError, match=r"fps must be a number from 0\.01"):
        TrackSpool(tmp_path / "c.npz", num_tracks=3, size=(30, 40), fps=1 / 150)


def test_nothing_is_left_after_a_failure(tmp_path: Path):
    xy, visible = np.zeros((3, 2, 2), np.float32), np.ones((3, 2), bool)
    spool = TrackSpool(tmp_path / "a.npz", num_tracks=2, size=(30, 40), fps=8)
    spool.write(xy, visible)
    spool.__exit__(RuntimeError, RuntimeError(), None)
    with pytest.raises(ValueError, match="no point of these tracks is ever visible"):
        write(tmp_path / "b.json", xy, ~visible, [])
    with pytest.raises(ValueError, match=r"must end in \.json or \.npz"):
        TrackSpool(tmp_path / "c.csv", num_tracks=2, size=(30, 40), fps=8)
    with pytest.raises(ValueError, match="frames of 2 tracks expected"):
        write(tmp_path / "d.npz", np.zeros((3, 2, 2), np.float32), np.ones((3, 1), bool), [])
    assert os.listdir(tmp_path) == []
