"""Clips of other programs: what is shown when, in which shape, and what is left of damaged ones."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from motionstream.media.decode import VideoFile
from motionstream.media.video import VideoWriter, read_video, write_video


def greys(values: list[int]) -> np.ndarray:
    """One flat frame (T, 48, 64, 3) uint8 for each value."""
    return np.array(values, np.uint8)[:, None, None, None].repeat(48, 1).repeat(64, 2).repeat(3, 3)


def test_a_recording_of_a_browser_has_the_rate_of_its_frames(write: Callable):
    """It states no rate, and FFmpeg guesses 1000."""
    jitter = np.random.default_rng(1).integers(-12, 13, 60)
    times = np.cumsum(33 + jitter) - 33 - jitter[0]
    path = write("jittered.webm", greys((np.arange(60) * 4).tolist()), times.tolist())
    file = VideoFile(path)
    frames, fps = read_video(path)
    assert file.varying
    assert 28 < fps < 34
    assert len(frames) == file.expected_frames
    assert len(frames) / fps == pytest.approx((times[-1] + 33) / 1000, abs=0.04)
    shown = np.searchsorted(times, np.arange(len(frames)) * 1000 / fps + 250 / fps, side="right") - 1
    assert np.abs(frames[:, 24, 32, 0].astype(int) - shown * 4).max() < 12
    even = VideoFile(write("even.webm", greys([10] * 20), [33 * t for t in range(20)]))
    assert (even.varying, len(list(even.frames()))) == (False, 20)
    assert even.fps == pytest.approx(30, abs=0.5)
    assert VideoFile(write("one.webm", greys([10]), [0])).fps <= 240


def test_a_still_is_held_for_as_long_as_it_is_shown(write: Callable):
    """Two frames of half a second, then a second of motion at 25 fps."""
    values, times = [20, 40, *range(60, 210, 6)], [0, 500, *range(1000, 2000, 40)]
    path = write("uneven.mp4", greys(values), times)
    file = VideoFile(path)
    assert (file.varying, file.fps, file.expected_frames) == (True, 25, 50)
    frames, fps = read_video(path)
    wanted = [20] * 13 + [40] * 12 + values[2:]  # a frame comes at most a quarter of an interval early
    assert (len(frames), fps) == (50, 25)
    assert np.abs(frames[:, 24, 32, 0].astype(int) - wanted).max() < 6
    assert len(read_video(path, max_frames=20)[0]) == 20


def test_the_delays_of_a_gif(tmp_path: Path):
    pictures = [Image.new("RGB", (64, 48), (value, 0, 0)) for value in (0, 60, 120, 180, 240)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 100, 1000, 100, 500])
    frames, fps = read_video(tmp_path / "a.gif")
    assert (len(frames), fps) == (18, 10)
    assert frames[:, 24, 32, 0].tolist() == [0, 60] + [120] * 10 + [180] + [240] * 5


def test_a_clock_that_was_set_anew_holds_nothing(write: Callable):
    path = write("jump.mp4", greys([50] * 20), [*range(0, 400, 40), *range(90_000_000, 90_000_400, 40)])
    assert len(read_video(path)[0]) == VideoFile(path).expected_frames == 20


@pytest.mark.parametrize("fps", [12.5, 16, 29.97, 60])
def test_a_constant_rate_is_taken_as_it_is(tmp_path: Path, fps: float):
    path = write_video(tmp_path / "a.mp4", greys([5 * t for t in range(30)]), fps)
    file = VideoFile(path)
    assert (file.varying, file.expected_frames) == (False, 30)
    assert file.fps == pytest.approx(fps, rel=1e-4)
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(read_video(path)[0], stored)


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(2), 128), (Fraction(8, 9), 57), (Fraction(500), 64)])
def test_pixels_become_square(write: Callable, aspect: Fraction, width: int):
    frames = greys([0] * 4)
    frames[:, :, 32:] = 250
    path = write("wide.mp4", frames, [0, 40, 80, 120], aspect)
    seen = read_video(path)[0]
    assert seen.shape == (4, 48, width, 3)
    assert seen[0, 24, round(width * 0.4), 0] < 60 < 190 < seen[0, 24, round(width * 0.6), 0]
    assert read_video(path, size=(30, 50))[0].shape == (4, 30, 50, 3)


def test_names_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """FFmpeg takes what stands before it for a protocol."""
    monkeypatch.chdir(tmp_path)
    for name in ("take:1.mp4", "12:30.mp4"):
        with VideoWriter(name, 16, (48, 64)) as video:
            video.write(greys([10, 20, 30]))
        assert video.kept == Path(name)
        assert len(read_video(name)[0]) == 3


def test_a_codec_that_nobody_knows(tmp_path: Path):
    path = write_video(tmp_path / "odd.mp4", greys([10, 20]), 16)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(ValueError, match=r"odd\.mp4' is in a form that this FFmpeg cannot decode; convert it to H\.264"):
        VideoFile(path)


def spoil(path: Path, wanted: range) -> None:
    """Overwrite the packets of these numbers."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    payload = bytearray(path.read_bytes())
    for index in wanted:
        start, size = places[index]
        payload[start : start + size] = b"\xff" * size
    path.write_bytes(payload)


def test_packets_that_cannot_be_decoded_are_left_out(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "spoilt.mp4", noise, fps=24)
    spoil(path, range(20, 22))
    with pytest.warns(
        UserWarning, match=r"spoilt\.mp4' is damaged: 2 of its packets cannot be decoded .*, 38 frames"
    ) as said:
        frames = read_video(path)[0]
    assert (len(frames), len(said)) == (38, 1)
    spoil(path, range(40))
    with pytest.raises(ValueError, match=r"spoilt\.mp4' has no readable frame; check or convert the file"):
        read_video(path)


COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}
MATRICES = {
    "RG/BW": (1, 0, 0, 1),
    "GR/WB": (-1, 0, 0, 1),
    "BW/RG": (1, 0, 0, -1),
    "WB/GR": (-1, 0, 0, -1),
    "BR/WG": (0, 1, -1, 0),
    "RB/GW": (0, 1, 1, 0),
}
"""How the corners red, green / blue, white look by the a, b, c, d of a file's display matrix."""


@pytest.mark.parametrize("corners", MATRICES)
def test_turned_and_mirrored_videos_are_seen_as_players_show_them(tmp_path: Path, corners: str):
    picture = np.zeros((48, 64, 3), np.uint8)
    for name, rows, columns in (("R", 0, 0), ("G", 0, 1), ("B", 1, 0), ("W", 1, 1)):
        picture[24 * rows : 24 * rows + 24, 32 * columns : 32 * columns + 32] = COLOURS[name]
    path = write_video(tmp_path / "clip.mp4", np.stack([picture] * 4), 25)
    content = path.read_bytes()
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16  # of version 0
    a, b, c, d = (65536 * value for value in MATRICES[corners])
    path.write_bytes(content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + 36 :])
    for size in (None, (40, 30)):
        seen = read_video(path, size=size)[0][0]
        assert seen.shape[:2] == (size or ((64, 48) if b else (48, 64)))
        H, W, _ = seen.shape
        spots = seen[[H // 4, 3 * H // 4]][:, [W // 4, 3 * W // 4]] > 127
        named = {tuple(np.array(colour, bool).tolist()): name for name, colour in COLOURS.items()}
        assert "".join(named[tuple(spot)] for spot in spots.reshape(4, 3).tolist()) == corners.replace("/", "")


def test_a_file_that_changes_its_size_keeps_the_first(tmp_path: Path):
    """As recorded calls do: half white, half black, first small and then large."""
    stream = b""
    for width, height in ((64, 48), (128, 96)):
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 25)
        half = np.zeros((height, width, 3), np.uint8)
        half[:, width // 2 :] = 255
        packets = []
        for t in range(4):
            frame = av.VideoFrame.from_ndarray(half, format="rgb24").reformat(format="yuv420p")
            frame.pts = t
            packets += encoder.encode(frame)
        stream += b"".join(map(bytes, [*packets, *encoder.encode(None)]))
    (tmp_path / "call.h264").write_bytes(stream)
    frames, _ = read_video(tmp_path / "call.h264")
    assert frames.shape == (8, 48, 64, 3)
    assert (frames[:, :, 40:] > 200).all()
    assert (frames[:, :, :24] < 50).all()


def test_a_clock_slower_than_the_stated_rate_is_believed(write: Callable):
    path = write("lie.mkv", greys([10 * t for t in range(20)]), [67 * t for t in range(20)])
    file = VideoFile(path)
    assert (file.varying, len(list(file.frames()))) == (False, 20)
    assert file.fps == pytest.approx(15, abs=0.2)
