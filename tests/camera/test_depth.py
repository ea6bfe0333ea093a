import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motionstream.camera.depth import (
    DepthMap,
    Kind,
    depth_from_bytes,
    depth_from_values,
    flat_depth,
    ground_depth,
    load_depth,
)
from motionstream.media.images import fit_window

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 65535, (40, 40)).astype(np.uint16))


def _png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return packed.getvalue()


RAMP = np.linspace(1.0, 4.0, 12 * 16).reshape(12, 16)


def test_files_give_the_same_depth(tmp_path: Path):
    np.save(tmp_path / "d.npy", RAMP.astype(np.float32))
    np.savez(tmp_path / "one.npz", whatever=RAMP)
    np.savez(tmp_path / "named.npz", depth=RAMP[None], other=np.zeros(3))
    Image.fromarray((RAMP * 1000).round().astype(np.uint16)).save(tmp_path / "d.png")
    Image.fromarray((RAMP * 1000).round().astype(np.uint16)).save(tmp_path / "d.tiff")
    for name, steps in (("d.npy", 1), ("one.npz", 1), ("named.npz", 1), ("d.png", 1000), ("d.tiff", 1000)):
        depth = load_depth(tmp_path / name, steps_per_unit=steps)
        assert depth.values == pytest.approx(RAMP, abs=6e-4)
        assert depth.metric
        assert depth.notes == ()
        assert name in depth.source
    inverse = load_depth(tmp_path / "d.npy", "inverse")
    assert inverse.values == pytest.approx(1 / RAMP, rel=1e-6)
    assert not inverse.metric


def test_holes_are_filled_from_their_neighbours_with_a_note():
    holed = np.full((9, 11), 2.0)
    holed[:, 6:] = 8.0
    truth = holed.copy()
    holed[2, 2], holed[3, 2], holed[4, 8], holed[8, 10] = np.nan, 0, -1, -np.inf
    depth = depth_from_values(holed, source="it")
    assert depth.values == pytest.approx(truth)
    assert depth.notes == ("4.0 % of it has no depth (0, negative, NaN or infinite) and is filled from its neighbours",)
    half = np.where(np.arange(16 * 16).reshape(16, 16) % 16 < 8, 0.0, 3.0)
    assert depth_from_values(half).values == pytest.approx(np.full((16, 16), 3.0))


def test_infinity_is_far_in_depth_and_a_hole_in_disparity():
    values = np.full((8, 8), 2.0)
    values[0] = np.inf
    assert depth_from_values(values).values[0] == pytest.approx([2000.0] * 8)
    assert depth_from_values(values, "inverse").values[0] == pytest.approx([0.5] * 8)


@pytest.mark.parametrize("missing", [0.0, np.nan, np.inf])
def test_mostly_holes_are_refused(missing: float):
    values = np.full((10, 10), missing)
    values[:4] = 1.0
    with pytest.raises(ValueError, match=r"^it: 60 % of it has no depth .*; give a map with at most 50 % of holes$"):
        depth_from_values(values, "inverse", source="it")
    with pytest.raises(ValueError, match=r"100 % of it has no depth"):
        depth_from_values(np.full((4, 4), np.nan), "relative")
    with pytest.raises(ValueError, match="all that it holds is infinitely far"):
        depth_from_values(np.full((4, 4), np.inf), "metric")


def test_relative_depth_is_spread_over_the_assumed_range():
    values = np.linspace(-3.0, 5.0, 1000).reshape(20, 50)  # inverse depth up to scale and shift
    depth = depth_from_values(values, "relative", far_over_near=4.0)
    assert depth.values.max() == pytest.approx(4.0)
    assert depth.values.min() == pytest.approx(1.0)
    assert (np.diff(depth.values.ravel()) <= 1e-12).all()
    assert "4 times as far" in depth.notes[0]
    constant = depth_from_values(np.full((4, 4), 7.0), "relative")
    assert np.ptp(constant.values) == 0


def test_another_size_is_resized_with_a_note():
    plane = 1 / np.linspace(0.2, 1.0, 41)[None].repeat(31, axis=0)
    depth = DepthMap(values=plane, metric=True, source="it").resized((62, 82))
    assert depth.size == (31, 41)  # read at the picture's places, but not enlarged
    x = (np.arange(82) + 0.5) / 2 - 0.5
    inner = slice(1, -1)
    row = depth.at(np.stack([np.arange(82) + 0.5, np.full(82, 5.5)], axis=1), (62, 82))
    assert 1 / row[inner] == pytest.approx(0.2 + 0.8 * x[inner] / 40)  # exact on a plane
    assert DepthMap(values=plane, metric=True, source="it").resized((16, 20)).size == (16, 20)
    assert depth.notes == ("it has 41x31 pixels, the picture 82x62: resized",)
    assert "check that it belongs" in flat_depth((10, 10)).resized((10, 20)).notes[0]
    assert flat_depth((3, 4)).resized((3, 4)).notes == ()


def test_nothing_floats_between_near_and_far():
    values = np.full((4, 8), 1.0)
    values[:, 4:] = 5.0
    depth = DepthMap(values=values, metric=True, source="it")
    x = np.linspace(0, 8, 200)
    found = depth.at(np.stack([x, np.full(200, 2.0)], axis=1), (4, 8))
    assert set(found.round(9)) == {1.0, 5.0}
    assert (found[x < 3.99] == 1).all()
    assert (found[x > 4.01] == 5).all()
    assert depth.at(np.array([[-9.0, -9.0], [99.0, 99.0]]), (4, 8)).tolist() == [1.0, 5.0]  # outside: the border's


def test_the_part_that_became_the_frame():
    values = 1 / np.linspace(0.1, 0.9, 80)[None].repeat(60, axis=0)
    depth = DepthMap(values=values, metric=True, source="it")
    placed = fit_window((60, 80), (32, 32), "crop")  # the middle 60x60
    part = depth.on_frame(placed, (30, 30))
    assert part.size == (30, 30)
    x = placed.left + (np.arange(30) + 0.5) * 2 - 0.5
    assert 1 / part.values[3] == pytest.approx(0.1 + 0.8 * x / 79)
    padded = depth.on_frame(fit_window((60, 80), (32, 32), "pad"), (32, 32))
    assert padded.values[0] == pytest.approx(padded.values[10])


def test_planar_fallbacks_say_what_they_are():
    flat = flat_depth((6, 8))
    assert (flat.values == 1).all()
    assert "flat plane" in flat.source
    assert flat.reference == 1
    ground = ground_depth((100, 8), horizon=0.4, far=5.0)
    assert "ground is assumed below 40 %" in ground.source
    assert ground.values[:40] == pytest.approx(np.full((40, 8), 5.0))
    below = 1 / ground.values[60:, 0]
    assert np.diff(below) == pytest.approx(np.diff(below)[0])  # a plane
    assert ground.values[-1, 0] == pytest.approx(1.0, abs=0.01)


def write(path: Path, content: object) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Image.Image):
        content.save(path)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("d.png", None, "does not exist; check the path"),
        ("d.npy", None, "does not exist; check the path"),
        ("d.png", b"hello", "is not a PNG, TIFF, .npy or .npz file"),
        ("d.png", _png(NOISE)[:-300], "is damaged (image file is truncated"),
        ("d.npy", b"hello", "not readable as NumPy data"),
        ("d.npz", b"PK hello", "not readable as NumPy data"),
        ("d.npy", np.array([{"a": 1}]), "not readable as NumPy data"),
        ("d.png", Image.new("RGB", (20, 20)), "has the colour mode RGB; depth must be one grey channel"),
        ("d.npz", {"a": RAMP, "b": RAMP}, "it holds a, b; name the array 'depth'"),
        ("d.npy", np.ones((3, 4, 5)), "must be numbers (H, W) of at least 2 pixels each way, got (3, 4, 5)"),
        ("d.npy", np.ones((1, 9)), "got (9,)"),
        ("d.npy", np.array([["a", "b"], ["c", "d"]]), "must be numbers (H, W)"),
        ("d.npy", np.zeros((5, 5)), "100 % of it has no depth"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: object, complaint: str):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError) as raised:
        load_depth(path)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("start", [60, 200, 2000, 20_000])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, start: int):
    np.savez_compressed(tmp_path / "d.npz", depth=np.random.default_rng(0).random((64, 64)))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[start : start + 100] = bytes(100)
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not readable as NumPy data"):
        load_depth(tmp_path / "d.npz")


def npy(shape: str, dtype: str = "<f4", body: bytes = b"1234") -> bytes:
    """A .npy file whose header claims what it likes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (npy("(200000, 200000)"), "has 40000.0 million values; give one of at most 0.001"),
        (npy("(30, 30)"), "it is cut off"),
        (npy("(2, 2)", "<U400000000"), "it is cut off"),
        (npy("(-1, 5)"), "not readable as NumPy data"),
        (npy("(2, 2)", "|O"), "not readable as NumPy data"),
        (b"\x93NUMPY\x09\x00", "not readable as NumPy data"),
        (b"\x93NUM", "is not a PNG"),
    ],
)
def test_uploads_that_claim_too_much(content: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch):
    """Room for it must not be taken first: 149 GiB in one of these."""
    load = np.load

    def watched(file, **options):
        assert "million" not in complaint, "it was read before it was judged"
        return load(file, **options)

    monkeypatch.setattr(np, "load", watched)
    with pytest.raises(ValueError, match="the depth map") as raised:
        depth_from_bytes(content, most_pixels=1000)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_uploads_of_the_usual_kinds():
    for array in (RAMP.astype(np.float32), RAMP.astype(np.float64), np.asfortranarray(RAMP)):
        file = io.BytesIO()
        np.save(file, array)
        assert depth_from_bytes(file.getvalue(), most_pixels=RAMP.size).size == RAMP.shape


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_an_upload_that_is_cut_off(form: str):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (64, 64)).astype(np.uint8)).save(file, form)
    with pytest.raises(ValueError, match="the depth map is damaged"):
        depth_from_bytes(file.getvalue()[:-400], most_pixels=10**6)


@pytest.mark.parametrize(
    ("value", "kind"), [(1e200, "relative"), (-1e40, "relative"), (1e31, "metric"), (1e-200, "inverse")]
)
def test_absurd_values(value: float, kind: Kind):
    values = RAMP.astype(np.float64)
    values[0, 0] = value
    with pytest.raises(ValueError, match=r"holds the value .* from 1e-30 to 1e\+30"):
        depth_from_values(values, kind)


def test_bad_values():
    with pytest.raises(ValueError, match="kind of depth 'near' is unknown; use metric, inverse, relative"):
        depth_from_values(RAMP, "near")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="far_over_near must be a number above 1, got 1"):
        depth_from_values(RAMP, "relative", far_over_near=1.0)
    with pytest.raises(ValueError, match="steps_per_unit must be a number above 0, got nan"):
        load_depth("d.npy", steps_per_unit=float("nan"))
    with pytest.raises(ValueError, match="fills holes"):
        DepthMap(values=np.array([[1.0, np.nan]]), metric=True, source="it")
    with pytest.raises(ValueError, match="factor"):
        flat_depth((2, 2)).scaled(-1.0)
    with pytest.raises(ValueError, match="horizon"):
        ground_depth((4, 4), horizon=1.0)


def test_a_range_that_no_depth_has_is_refused():
    with pytest.raises(ValueError, match=r"far_over_near must be a number above 1, got 1e\+300; at most 1e"):
        depth_from_values(np.random.default_rng(0).random((20, 30)), "relative", far_over_near=1e300)
