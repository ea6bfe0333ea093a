"""Pictures, takes and frames on disk: bounded, whole after errors, taken up again."""

import errno
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motionstream.media.video import read_video
from motionstream.serve.export import write_take_video
from motionstream.serve.frames import FrameFile
from motionstream.serve.gallery import Gallery
from motionstream.serve.images import TooLarge, WrongType, first_frame, frame_of_jpeg, jpeg, read_upload
from motionstream.serve.limits import Limits
from motionstream.serve.marks import draw_marks, pack_marks, unpack_marks
from motionstream.serve.store import Store

Mark = namedtuple("Mark", "x y kind")


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_frames_are_appended_cut_and_taken_up_again(tmp_path: Path):
    frames = FrameFile(tmp_path)
    frames.append([(b"one", b"m"), (b"three", b"")])
    frames.append([(b"seven77", b"mm")])
    assert (frames.num_frames, frames.nbytes) == (3, 18)
    assert [frames.read(n) for n in range(3)] == [(b"one", b"m"), (b"three", b""), (b"seven77", b"mm")]
    frames.cut(2)
    frames.append([(b"other", b"")])
    assert frames.read(2) == (b"other", b"")
    with pytest.raises(IndexError, match="no frame 3"):
        frames.read(3)
    again = FrameFile(tmp_path)
    assert [again.read(n)[0] for n in range(3)] == [b"one", b"three", b"other"]
    index = tmp_path / "frames.idx"
    index.write_bytes(index.read_bytes() + b"torn")
    (tmp_path / "frames.bin").write_bytes((tmp_path / "frames.bin").read_bytes()[:-1])
    assert FrameFile(tmp_path).num_frames == 2


def test_a_full_disk_takes_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frames = FrameFile(tmp_path)
    frames.append([(b"one", b"")])
    written = FrameFile._write

    def half(path: Path, at: int, content: bytes) -> None:
        written(path, at, content[: len(content) // 2])
        full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(FrameFile, "_write", staticmethod(half))
        with pytest.raises(OSError, match="No space"):
            frames.append([(b"two", b""), (b"three", b"")])
    assert frames.num_frames == 1
    frames.append([(b"two", b"")])
    assert [FrameFile(tmp_path).read(n)[0] for n in range(2)] == [b"one", b"two"]


def test_the_oldest_takes_and_pictures_go_first(tmp_path: Path):
    store = Store(tmp_path, Limits(takes_on_disk=2, pictures_on_disk=2, disk_bytes=100))
    first, second = store.new_take(), store.new_take()
    first.live = True
    third = store.new_take()
    assert [store.take(take.id) for take in (first, second, third)] == [first, None, third]
    assert not second.path.exists()
    third.frames.append([(b"x" * 90, b"")])
    assert store.make_room()
    first.frames.append([(b"x" * 90, b"")])
    assert not store.make_room()  # one is live, the other the newest
    first.live = False
    assert store.make_room()
    assert store.take(first.id) is None
    keys = [store.add_picture(Image.new("RGB", (20, 20))) for _ in range(3)]
    assert [store.picture(key) is not None for key in keys] == [False, True, True]
    store.close()
    assert tmp_path.exists()
    again = Store(tmp_path, Limits())
    assert again.take(third.id).frames.num_frames == 1
    assert again.picture(keys[2]) is not None
    temporary = Store(None, Limits())
    temporary.close()
    assert not temporary.folder.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path):
    (tmp_path / "takes" / "holiday").mkdir(parents=True)
    store = Store(tmp_path, Limits(takes_on_disk=1))
    for _ in range(3):
        store.new_take()
    assert (tmp_path / "takes" / "holiday").is_dir()


def test_a_take_that_cannot_be_saved_can_still_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    take = Store(tmp_path, Limits()).new_take()
    assert take.read() is None
    take.save(json.dumps({"a": 1}))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="No space"):
            take.save(json.dumps({"a": 2}))
    assert json.loads(take.read() or "") == {"a": 2}
    assert json.loads((take.path / "take.json").read_text()) == {"a": 1}
    assert not list(take.path.glob("*.partial"))


def test_the_gallery_names_files_that_are_there():
    gallery = Gallery()
    assert len(gallery.entries()) >= 8
    for entry in gallery.entries():
        path = gallery.path(entry["name"])
        assert path is not None
        width, height = entry["size"]
        x0, y0, x1, y1 = entry["object"]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert entry["prompt"]
        assert entry["credit"]
    assert gallery.path("../gallery.json") is None


def test_uploads_are_judged_before_they_are_decoded(png):
    assert read_upload(png(64, 48), 10**6).size == (64, 48)
    assert read_upload(png(64, 48, "WEBP"), 10**6).size == (64, 48)
    assert read_upload(png(4000, 40), 10**6).size == (2048, 40 * 2048 // 4000)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert read_upload(png(64, 48, "JPEG", exif=exif), 10**6).size == (48, 64)
    with pytest.raises(TooLarge, match=r"0\.4 megapixels; give one of at most 0\.1"):
        read_upload(png(1000, 400), 100_000)
    for content, said in ((b"hello", "not a PNG"), (png(64, 48, "GIF"), "not a PNG"), (png(64, 48, "TIFF"), "not a PNG")):
        with pytest.raises(WrongType, match=said):
            read_upload(content, 10**6)
    for content, said in (
        (b"", "empty"),
        (png(8, 48), "at least 16"),
        (png(4000, 20), "a mere strip"),
        (png(64, 48)[:-200], "damaged"),
    ):
        with pytest.raises(ValueError, match=said):
            read_upload(content, 10**6)


def test_a_crop_becomes_the_first_frame():
    picture = Image.new("RGB", (200, 100))
    picture.paste((255, 0, 0), (100, 0, 200, 100))
    assert first_frame(picture, None, 48, 32)[0].shape == (32, 48, 3)
    assert first_frame(picture, (100, 0, 200, 100), 48, 32)[0][..., 0].min() == 255
    assert first_frame(picture, (-50, -50, 90, 500), 48, 32)[0].max() == 0
    for crop in ((0, 0, 10, 10), (300, 300, 400, 400), (50, 50, 20, 90)):
        with pytest.raises(ValueError, match="too small"):
            first_frame(picture, crop, 48, 32)


def test_frames_survive_as_jpeg():
    frame = np.linspace(0, 255, 32 * 48 * 3).astype(np.uint8).reshape(32, 48, 3)
    assert np.abs(frame_of_jpeg(jpeg(frame, 92)).astype(int) - frame).mean() < 3


def test_marks_are_packed_and_drawn_in_their_colours():
    marks = [Mark(10.5, 5.5, "drag"), Mark(30.5, 20.5, "pin"), Mark(20.5, 20.5, "camera")]
    packed = pack_marks(marks)
    assert unpack_marks(packed) == [tuple(mark) for mark in marks]
    assert unpack_marks(packed + b"torn") == [tuple(mark) for mark in marks]
    grey = np.full((32, 48, 3), 128, np.uint8)
    drawn = draw_marks(grey, unpack_marks(packed))
    assert drawn[5, 10].tolist() == [40, 210, 80]
    assert drawn[20, 30].tolist() == [235, 60, 50]
    assert (drawn != grey).any(-1).sum() < 30
    assert draw_marks(grey, []) is grey
    large = draw_marks(np.full((128, 192, 3), 128, np.uint8), unpack_marks(packed), scale=4)
    assert large[21, 41].tolist() == [40, 210, 80]


def test_the_video_of_a_take(tmp_path: Path):
    frames = FrameFile(tmp_path)
    with pytest.raises(ValueError, match="no frames yet"):
        write_take_video(frames, tmp_path / "a.mp4", 16, tracks=False)
    rows = [(jpeg(np.full((32, 48, 3), 20 * n, np.uint8), 92), pack_marks([Mark(24, 16, "pin")])) for n in range(6)]
    frames.append(rows)
    assert write_take_video(frames, tmp_path / "a.mp4", 16, tracks=False) == 6
    video, fps = read_video(tmp_path / "a.mp4")
    assert video.shape == (6, 384, 576, 3)
    assert fps == 16
    assert np.abs(video.mean((1, 2, 3)) - 20 * np.arange(6)).max() < 4
    write_take_video(frames, tmp_path / "b.mp4", 16, tracks=True)
    marked = read_video(tmp_path / "b.mp4")[0]
    assert marked[3, 191, 287, 0] > 200 > marked[3, 100, 100, 0]


def test_a_take_can_be_read_before_its_turn_to_be_saved(tmp_path: Path):
    take = Store(tmp_path, Limits()).new_take()
    take.hold("{}")
    assert take.read() == "{}"
    take.save('{"num_chunks": 1}')
    assert take.read() == '{"num_chunks": 1}'


def test_all_that_a_take_has_on_disk_counts(tmp_path: Path):
    store = Store(tmp_path, Limits())
    take = store.new_take()
    take.frames.append([(b"x" * 90, b"")])
    take.save("{}" + " " * 1000)
    assert take.nbytes == 90 + 1002
    (take.path / "clean.mp4").write_bytes(bytes(500))
    (take.path / ".clean.mp4.1-2.unfinished").write_bytes(b"of a server that was killed")
    again = Store(tmp_path, Limits()).take(take.id)
    assert again.nbytes == 90 + 1002 + 500
    assert not list(take.path.glob("*.unfinished"))
    store.drop(take)
    assert store.take(take.id) is None
    assert not take.path.exists()
