import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream.media.images import fit_window
from motionstream.tracking.clip import Clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.zeros((7, 48, 64, 3), np.uint8)
    frames[:, :24, :, 0] = 200
    frames[:, :, 32:, 2] = 200
    frames[:, ..., 1] = np.arange(7)[:, None, None] * 30
    return ms.write_video(tmp_path / "clip.mp4", frames, fps=12.5)


def test_frames_one_by_one(clip: Path):
    source = Clip(clip)
    assert (source.size, source.fps, source.expected_frames) == ((48, 64), 12.5, 7)
    frames = list(source.frames())
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 7
    assert np.abs(np.array([frame[40, 10, 1] for frame in frames], int) - np.arange(7) * 30).max() < 8
    assert len(list(source.frames(step=3))) == 3
    assert np.array_equal(list(source.frames(step=3))[1], frames[3])  # and again from the start


def test_scaled_and_through_a_window(clip: Path):
    small = next(Clip(clip, (24, 32)).frames())
    assert small.shape == (24, 32, 3)
    assert small[4, 4, 0] > 150 > 50 > small[20, 4, 0]
    window = fit_window((48, 64), (96, 96), "crop")
    part = Clip(clip).within(window)
    assert part.size == (96, 96)
    frame = next(part.frames())
    assert frame.shape == (96, 96, 3)
    # the middle 48x48 begins at x = 8, so the border at x = 32 comes to (32 - 8) * 2 = 48
    assert frame[80, 44, 2] < 60 < 140 < frame[80, 52, 2]


def test_a_file_that_was_cut_off_says_so(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    whole = ms.write_video(tmp_path / "whole.mp4", noise, fps=24).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"cut.mp4' says that it has 40 frames, but only \d+ can be read"):
        frames = list(Clip(tmp_path / "cut.mp4").frames())
    assert 5 < len(frames) < 36
    assert len(list(itertools.islice(Clip(tmp_path / "cut.mp4").frames(), 3))) == 3  # nobody asked for the rest


def test_bad_files(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("hello")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    cases = {
        "missing.mp4": "does not exist",
        ".": "is a folder",
        "text.mp4": "cannot read video",
        "sound.wav": "holds no video",
    }
    for name, complaint in cases.items():
        with pytest.raises(ValueError, match=complaint):
            Clip(tmp_path / name)


def test_an_uneven_clip_is_read_at_one_rate(tmp_path: Path):
    pictures = [Image.new("RGB", (64, 48), (value, 0, 0)) for value in (0, 100, 200)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 400, 100])
    source = Clip(tmp_path / "a.gif")
    assert (source.fps, source.expected_frames) == (10, 6)
    assert [int(frame[0, 0, 0]) for frame in source.frames()] == [0, 100, 100, 100, 100, 200]
    part = source.within(fit_window(source.source, (24, 24)))
    assert [frame.shape for frame in part.frames(step=2)] == [(24, 24, 3)] * 3
