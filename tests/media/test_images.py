import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motionstream.media.images import NEUTRAL, enlarge, fit_picture, fit_window, load_first_frame, open_mask, open_picture
from motionstream.tracks.tracks import Tracks


def gradient(height: int = 48, width: int = 64) -> np.ndarray:
    """Red grows to the right, green downwards, blue is constant."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, width)
    frame[..., 1] = np.linspace(0, 255, height)[:, None]
    frame[..., 2] = 77
    return frame


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\x10\0IDAT"


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("height", "width"), [(32, 48), (96, 128)])
def test_all_kinds_of_source_give_the_same_frame(tmp_path: Path, height: int, width: int):
    array = gradient()
    path = tmp_path / "photo.png"
    Image.fromarray(array).save(path)
    sources = [path, str(path), path.read_bytes(), Image.fromarray(array), array]
    frames = [load_first_frame(source, width, height) for source in sources]
    for frame in frames:
        assert frame.shape == (height, width, 3)
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, frames[0])
    assert frames[0].flags.writeable


def test_exif_turns_the_picture(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(gradient(64, 48)).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "p.png", exif=exif)
    picture = open_picture(tmp_path / "p.png")
    assert picture.size == (48, 64)
    assert np.array_equal(np.asarray(picture), gradient(64, 48))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_every_mode_becomes_rgb(mode: str):
    grey = Image.fromarray(np.full((20, 24), 255, np.uint8))
    if mode in ("I", "F", "I;16"):
        deep = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
        image = Image.fromarray(np.full((20, 24), 65535, deep))
    else:
        image = grey.convert("RGB").convert(mode) if mode != "LA" else grey.convert("LA")
    assert image.mode == mode
    frame = load_first_frame(image, 24, 16)
    assert frame.shape == (16, 24, 3)
    assert frame.min() >= 254


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.full((16, 16), 32768, np.uint16)
    for source in (values, encoded(Image.fromarray(values), "PNG"), encoded(Image.fromarray(values), "TIFF")):
        assert abs(int(load_first_frame(source, 16, 16)[8, 8, 0]) - 128) <= 1


def test_transparent_parts_lie_on_grey():
    array = np.zeros((16, 32, 4), np.uint8)
    array[:, :16] = (255, 0, 0, 255)
    frame = load_first_frame(array, 32, 16)
    assert tuple(frame[8, 2]) == (255, 0, 0)
    assert tuple(frame[8, 29]) == NEUTRAL
    palette = Image.fromarray(array[..., :3]).convert("P")
    palette.info["transparency"] = palette.getpixel((31, 0))
    assert tuple(load_first_frame(encoded(palette, "GIF"), 32, 16)[8, 29]) == NEUTRAL


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame_and_says_so(form: str):
    reds = [Image.new("RGB", (32, 32), (250 - 200 * n, 0, 0)) for n in range(2)]
    animated = encoded(reds[0], form, save_all=True, append_images=reds[1:])
    with pytest.warns(UserWarning, match="only the first is used"):
        frame = load_first_frame(animated, 32, 32)
    assert abs(int(frame[16, 16, 0]) - 250) < 6


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("nowhere.jpg", "'nowhere.jpg' does not exist"),
        (".", "cannot read picture '.'"),
        (b"", "not a picture"),
        (b"some text, not a picture", "not a picture"),
        (png_header(8000, 7000), "56.0 megapixels; give one of at most 50"),
        (png_header(10_000, 10_000), "100.0 megapixels"),
        (png_header(30_000, 30_000), "900.0 megapixels"),
        (png_header(64, 64), "damaged"),
        (encoded(Image.fromarray(gradient()), "JPEG")[:700], "damaged"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "1x1 pixels; give one of at least 16"),
        (Image.new("RGB", (400, 15)), "400x15 pixels"),
        (np.zeros((0, 20, 3), np.uint8), "20x0 pixels"),
        (np.zeros((32, 32, 3), np.float32), "uint8"),
        (np.zeros((32, 32, 2), np.uint8), "(32, 32, 2)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_used_is_named_in_a_sentence(source: object, complaint: str):
    with pytest.raises(ValueError) as caught:
        load_first_frame(source, 64, 48)  # type: ignore[arg-type]
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("source", [(48, 64), (100, 40), (33, 200)])
def test_tracks_go_where_the_picture_goes(fit: str, source: tuple[int, int]):
    """A white dot and a track on it stay together."""
    H, W = source
    array = np.zeros((H, W, 3), np.uint8)
    array[H // 2 - 4 : H // 2 + 4, W // 2 - 4 : W // 2 + 4] = 255
    frame, placed = fit_picture(Image.fromarray(array), 128, 96, fit)  # type: ignore[arg-type]
    tracks = Tracks.from_points([[[W // 2, H // 2]]], size=source, fps=16)
    moved = placed.apply_to(tracks)
    assert moved.size == (96, 128) == frame.shape[:2]
    weight = frame[..., 0] * (frame.min(-1) > 200)
    y, x = (np.average(axis + 0.5, weights=weight) for axis in np.indices(weight.shape))
    assert moved.xy[0, 0, 0].tolist() == pytest.approx([x, y], abs=0.75)


def test_windows():
    crop = fit_window((480, 640), (96, 96), "crop")
    assert (crop.top, crop.left, crop.height, crop.width, crop.scale) == (0, 80, 480, 480, (0.2, 0.2))
    pad = fit_window((480, 640), (96, 96), "pad")
    assert (pad.top, pad.left, pad.height, pad.width) == (-80, 0, 640, 640)
    assert str(fit_window((480, 640), (96, 128))) == "640x480, whole, resized to 128x96"
    outside = crop.apply_to(Tracks.from_points([[[40.0, 240.0]]], size=(480, 640), fps=16))
    assert not outside.visible.any()
    with pytest.raises(ValueError, match="fit 'zoom' is unknown"):
        fit_window((480, 640), (96, 96), "zoom")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        fit_window((480, 640), (0, 96))


def test_enlarge():
    frames = gradient()[None]
    assert enlarge(frames, 1) is frames
    square = enlarge(frames, 3, smooth=False)
    assert square.shape == (1, 144, 192, 3)
    assert np.array_equal(square[:, 1::3, 1::3], frames)
    assert enlarge(frames, 2).shape == (1, 96, 128, 3)
    with pytest.raises(ValueError, match="at least 1"):
        enlarge(frames, 0)


def test_a_mask_lies_on_black():
    picture = np.zeros((20, 30, 4), np.uint8)
    picture[5:15, 5:15] = 255
    picture[15:, :, :] = (255, 255, 255, 100)
    mask = np.asarray(open_mask(picture))
    assert (mask.shape, mask[10, 10], mask[0, 0], mask[18, 3]) == ((20, 30), 255, 0, 100)
    assert np.asarray(open_picture(picture))[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("given", [None, 3, [[0, 0], [0, 0]]])
def test_what_is_no_picture_at_all(given):
    with pytest.raises(ValueError, match=r"a picture must be a path, .* or a NumPy array, got (None|3|\[\[0, 0)"):
        load_first_frame(given, 48, 32)


def test_a_frame_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match="a frame of 1000000x1000000 pixels is too large; take at most 50 megapixels"):
        load_first_frame(np.zeros((40, 60, 3), np.uint8), 10**6, 10**6)
