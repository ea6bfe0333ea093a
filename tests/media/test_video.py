import os
import signal
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from motionstream.media.output import check_output
from motionstream.media.video import VideoWriter, read_video, write_video

COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)], np.uint8)


def clip(num_frames: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """Four colour bars that swap places from frame to frame."""
    bars = np.arange(width) * len(COLOURS) // width
    order = (bars[None] + np.arange(num_frames)[:, None]) % len(COLOURS)
    return COLOURS[order][:, None].repeat(height, axis=1)


def inner(frames: np.ndarray) -> np.ndarray:
    """The middles of the bars: colour is stored at half resolution."""
    width = frames.shape[2]
    return frames[:, :, width // 8 :: width // 4].astype(int)


@pytest.mark.parametrize("size", [(32, 48), (64, 96)])
@pytest.mark.parametrize("fps", [16.0, 29.97])
def test_what_is_written_is_read_back(tmp_path: Path, size: tuple[int, int], fps: float):
    frames = clip(6, *size)
    path = write_video(tmp_path / "clip.mp4", frames, fps)
    read, read_fps = read_video(path)
    assert read.shape == frames.shape
    assert read.dtype == np.uint8
    assert read_fps == pytest.approx(fps, rel=1e-4)
    assert np.abs(inner(read) - inner(frames)).max() < 16
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_the_file_is_what_players_expect(tmp_path: Path):
    path = write_video(tmp_path / "clip.mp4", clip(), 16, upscale=4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (192, 128)
        assert stream.codec_context.colorspace == 1
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # playable before it is fully loaded


def test_reading_less(tmp_path: Path):
    path = write_video(tmp_path / "clip.mp4", clip(), 16)
    assert read_video(path, max_frames=2)[0].shape == (2, 32, 48, 3)
    small = read_video(path, size=(16, 24))[0]
    assert small.shape == (6, 16, 24, 3)
    assert np.abs(inner(small) - inner(clip(6, 16, 24))).max() < 40
    with pytest.raises(ValueError, match="max_frames"):
        read_video(path, max_frames=0)
    with pytest.raises(ValueError, match="size"):
        read_video(path, size=(0, 4))


def test_streaming_and_nearest_enlargement(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    frames = clip(5)
    with VideoWriter(path, 16, (32, 48), upscale=2, upscale_filter="nearest") as video:
        video.write(frames[:3])
        assert not path.exists()
        video.write(frames[3])
        video.write(frames[4:])
    assert (video.num_frames, video.kept) == (5, path)
    video.close()  # once more does nothing
    assert np.abs(inner(read_video(path)[0]) - inner(clip(5, 64, 96))).max() < 16
    with pytest.raises(ValueError, match="closed"):
        video.write(frames)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interruption_keeps_the_old_file_and_the_new_frames(tmp_path: Path, error: type[BaseException]):
    path = write_video(tmp_path / "clip.mp4", clip(2), 16)
    before = path.read_bytes()

    def write_and_fail() -> None:
        with VideoWriter(path, 16, (32, 48)) as video:
            started.append(video)
            video.write(clip(4))
            raise error

    started: list[VideoWriter] = []
    for name in ("clip.partial.mp4", "clip.partial-2.mp4"):
        with pytest.raises(error):
            write_and_fail()
        assert started[-1].kept == tmp_path / name
        assert read_video(tmp_path / name)[0].shape[0] == 4
    assert path.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 3


def test_a_second_ctrl_c_waits_until_the_frames_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Both are real signals: the first while frames are made, the second while the partial file is finished."""
    finish = VideoWriter._finish

    def interrupted(video: VideoWriter, target: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        finish(video, target)

    monkeypatch.setattr(VideoWriter, "_finish", interrupted)

    def write_and_stop() -> None:
        with VideoWriter(tmp_path / "clip.mp4", 16, (32, 48)) as video:
            video.write(clip(4))
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is born deaf to it
    try:
        with pytest.raises(KeyboardInterrupt):
            write_and_stop()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(read_video(tmp_path / "clip.partial.mp4")[0]) == 4


def test_nothing_is_left_when_nothing_was_written(tmp_path: Path):
    with pytest.raises(ValueError, match="no frame was given"), VideoWriter(tmp_path / "a.mp4", 16, (32, 48)):
        pass
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", 16, (32, 48)) as video:
        raise RuntimeError
    assert video.kept is None
    with pytest.raises(ValueError, match=r"\(T, 32, 48, 3\) uint8, got \(1, 32, 40, 3\)"):
        with VideoWriter(tmp_path / "a.mp4", 16, (32, 48)) as video:
            video.write(np.zeros((1, 32, 40, 3), np.uint8))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("clip.avi", "must end in .mp4"),
        ("clip", "must end in .mp4"),
        ("nowhere/clip.mp4", "create"),
        ("folder.mp4", "is a folder"),
        ("file.txt/clip.mp4", "is a file; choose another output"),
        (f"{'ü' * 99}.mp4", "is longer than 200 bytes; choose a shorter one"),
    ],
)
def test_outputs_that_cannot_be(tmp_path: Path, name: str, complaint: str):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ValueError, match=complaint):
        check_output(tmp_path / name)
    with pytest.raises(ValueError, match=complaint):
        write_video(tmp_path / name, clip(), 16)


def test_a_folder_without_write_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # a test run as root could write anywhere
    with pytest.raises(ValueError, match="Permission denied"):
        check_output(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("size", "fps", "upscale"),
    [
        ((31, 48), 16, 1),
        ((32, 0), 16, 1),
        ((32, 48), 0, 1),
        ((32, 48), float("nan"), 1),
        ((32, 48), 16, 1000),
        ((32, 48), 16, 0),
    ],
)
def test_values_out_of_range(tmp_path: Path, size: tuple[int, int], fps: float, upscale: int):
    with pytest.raises(ValueError):
        VideoWriter(tmp_path / "clip.mp4", fps, size, upscale=upscale)
    assert os.listdir(tmp_path) == []


def test_numbers_of_numpy_and_what_is_no_number(tmp_path: Path):
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    path = write_video(tmp_path / "clip.mp4", frames, np.float32(24), upscale=np.int64(2))
    shown, fps = read_video(path)
    assert (shown.shape, fps) == ((3, 64, 96, 3), 24)
    wrong: list[tuple[Any, Any, Any, str]] = [
        (frames, "24", 1, "fps must be a number from 0.01 to 1000, got '24'"),
        (frames, None, 1, "fps must be a number"),
        (frames, 24, 2.5, r"upscale must be a whole number from 1 on, .* got 2\.5"),
        (list(frames), 24, 1, r"frames must be a NumPy array, got a list: np\.stack\(frames\) makes one of a list"),
    ]
    for given, rate, upscale, said in wrong:
        with pytest.raises(ValueError, match=said):
            write_video(path, given, rate, upscale=upscale)
    with VideoWriter(path, 24, (32, 48)) as video:
        with pytest.raises(ValueError, match="got a list"):
            video.write(wrong[3][0])
        video.write(frames)


def test_videos_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ValueError, match="does not exist"):
        read_video(tmp_path / "clip.mp4")
    with pytest.raises(ValueError, match="is a folder"):
        read_video(tmp_path)
    (tmp_path / "text.mp4").write_text("not a video at all")
    with pytest.raises(ValueError, match="cannot read video"):
        read_video(tmp_path / "text.mp4")
    whole = write_video(tmp_path / "whole.mp4", clip(), 16).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        read_video(tmp_path / "cut.mp4")


def test_too_much_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "clip.mp4", clip(), 16)
    monkeypatch.setattr("motionstream.media.video.MAX_READ_BYTES", 10_000)
    with pytest.raises(ValueError, match="give max_frames or a smaller size"):
        read_video(path)
    assert len(read_video(path, max_frames=3)[0]) == 3


def test_what_cannot_be_asked_of_a_video(tmp_path: Path):
    path = write_video(tmp_path / "clip.mp4", np.zeros((3, 32, 48, 3), np.uint8), 24)
    assert read_video(path, np.int64(2), np.array([16, 24]))[0].shape == (2, 16, 24, 3)  # type: ignore[arg-type]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"max_frames": 2.5}, "max_frames must be a whole number of at least 1, got 2.5"),
        ({"max_frames": "2"}, "max_frames must be a whole number"),
        ({"size": 16}, r"size must be \(height, width\) in whole pixels, 1 to 8192, got 16"),
        ({"size": (16, 24, 3)}, r"size must be \(height, width\)"),
        ({"size": (16.5, 24)}, r"size must be \(height, width\)"),
        ({"size": (10**6, 10**6)}, r"size must be \(height, width\)"),
    ]
    for given, said in wrong:
        with pytest.raises(ValueError, match=said):
            read_video(path, **given)
    with pytest.raises(ValueError, match=r"cannot read video .*: File name too long; check the path"):
        read_video("a" * 300 + ".mp4")
    with pytest.raises(ValueError, match=r"fps must be a number from 0\.01 to 1000, got 1e-06"):
        write_video(tmp_path / "slow.mp4", np.zeros((3, 32, 48, 3), np.uint8), 1e-6)
