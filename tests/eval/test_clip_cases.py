"""Real clips: the bundled ones can be followed; folders of the user's are read as the protocols say."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motionstream.errors import UserError
from motionstream.eval.clip_cases import Clip, ClipCases, bundled_clips, folder_clips
from motionstream.eval.datasets import PAPER_SIZE, TREES, check_sums, davis_cases, sora_cases
from motionstream.media.video import write_video
from motionstream.shapes import VideoGeometry

GEOMETRY = VideoGeometry(height=48, width=64)
GRID = (3, 4)


def write_davis(folder: Path, frames: np.ndarray, names: list[str], listed: list[str]) -> Path:
    (folder / "ImageSets" / "2017").mkdir(parents=True)
    (folder / "ImageSets" / "2017" / "val.txt").write_text("\n".join(listed) + "\n")
    for name in names:
        clip = folder / "JPEGImages" / "480p" / name
        clip.mkdir(parents=True)
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(clip / f"{t:05d}.jpg", quality=95)
    return folder


def test_bundled_clips_are_there_and_move():
    clips = bundled_clips(33)
    assert len(clips) == 9
    assert all(clip.path.is_file() and clip.prompt for clip in clips)
    chosen = [clip for clip in clips if clip.name == "rabbit-033"]
    case = ClipCases("clips", chosen, GEOMETRY, max_frames=9, grid=GRID, expected=1).case(0)
    assert case.truth.shape == (9, 48, 64, 3)
    assert case.reference.shape == (9, 48, 64, 3)
    way = (case.wanted.xy[0, -1] - case.wanted.xy[0, 0]).norm(dim=-1)[case.wanted.visible[0, -1]]
    assert way.max() > 2


def test_a_folder_of_videos(tmp_path, pan):
    frames, _ = pan
    write_video(tmp_path / "one.mp4", frames, fps=32)
    (tmp_path / "prompts.json").write_text(json.dumps({"one": "a pan"}))
    (clip,) = folder_clips(tmp_path, 16.0)
    assert (clip.name, clip.prompt, clip.step) == ("one", "a pan", 2)
    case = ClipCases("clips", [clip], GEOMETRY, max_frames=33, grid=GRID, expected=1).case(0)
    assert case.tracks.num_frames == 5, "every second frame of nine, cut to 4 k + 1"
    (tmp_path / "prompts.json").write_text('["a pan"]')
    with pytest.raises(UserError, match="object from clip names"):
        folder_clips(tmp_path, 16.0)


def test_clips_of_one_name_stay_apart(tmp_path, pan):
    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, pan[0], fps=16)
    (tmp_path / "one.mov").write_bytes((tmp_path / "one.mp4").read_bytes())
    assert [clip.name for clip in folder_clips(tmp_path, 16.0)] == ["one.mov", "one.mp4", "two"]


def test_clips_that_cannot_be_used(tmp_path, pan):
    frames, _ = pan
    write_video(tmp_path / "short.mp4", frames[:3], fps=16)
    with pytest.raises(UserError, match="has 3 frames: at least 5"):
        ClipCases("clips", [Clip("short", tmp_path / "short.mp4")], GEOMETRY, max_frames=33, grid=GRID, expected=1).case(0)


def test_davis_is_measured_at_the_papers_size(tmp_path, pan):
    folder = write_davis(tmp_path / "DAVIS", pan[0], ["cows", "dog"], ["cows", "dog", "goat"])
    source = davis_cases(folder, GEOMETRY, GRID, 9, "lk")
    assert source.names == ["cows", "dog"]
    assert source.expected == 30
    assert any("goat" in note for note in source.notes)
    assert any("CoTracker3" in note for note in source.notes)
    case = source.case(0)
    assert case.metric_size == PAPER_SIZE
    assert case.wanted.size == PAPER_SIZE
    assert case.tracks.size == (48, 64)
    scale = np.array([64 / 832, 48 / 480])
    assert np.allclose(case.tracks.xy[0].numpy(), case.wanted.xy[0].numpy() * scale, atol=1e-3)


@pytest.mark.parametrize("suite", ["davis", "sora"])
def test_missing_data_prints_the_tree(tmp_path, suite):
    make = {"davis": davis_cases, "sora": sora_cases}[suite]
    for folder in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(UserError) as caught:
            make(folder, GEOMETRY, GRID, 9, "lk")
        assert TREES[suite].splitlines()[0].split("/")[0] in str(caught.value)
        assert "docs/evaluation.md" in str(caught.value)


def test_sora_takes_every_video(tmp_path, pan):
    write_video(tmp_path / "b.mp4", pan[0], fps=16)
    write_video(tmp_path / "a.mp4", pan[0], fps=16)
    source = sora_cases(tmp_path, GEOMETRY, (50, 50), 9, "cotracker")
    assert source.names == ["a", "b"]
    assert source.expected == 20
    assert not any("CoTracker3" in note or "grid" in note for note in source.notes)


def test_checksums(tmp_path):
    assert check_sums(tmp_path) == 0
    (tmp_path / "a.txt").write_bytes(b"one")
    good = hashlib.sha256(b"one").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{good}  a.txt\n")
    assert check_sums(tmp_path) == 1
    (tmp_path / "a.txt").write_bytes(b"two")
    with pytest.raises(UserError, match="differs"):
        check_sums(tmp_path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UserError, match="missing"):
        check_sums(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(UserError, match="not a line"):
        check_sums(tmp_path)
