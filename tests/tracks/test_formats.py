"""Round trips through the files of other projects, what is lost on the way, and files that must not be read."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motionstream.tracks.formats import (
    ATI_FRAMES,
    files_of,
    form_of,
    from_cotracker,
    load_any_tracks,
    save_any_tracks,
    to_cotracker,
    visibility_path,
)
from motionstream.tracks.tracks import Tracks

SIZE = (48, 64)


def some_tracks(num_frames: int = 20, fps: float = 16.0, batch: int = 1) -> Tracks:
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(batch, num_frames, 6, 2, generator=generator) * torch.tensor([64.0, 48.0])
    visible = torch.rand(batch, num_frames, 6, generator=generator) < 0.8
    return Tracks(xy=xy, visible=visible, ids=torch.arange(6).expand(batch, 6).contiguous(), size=SIZE, fps=fps)


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.json", None), ("a.npz", None), ("a.npz", "tapvid"), ("a.npz", "cotracker"), ("a_tracks.npy", None)],
)
def test_round_trips_that_lose_nothing(tmp_path: Path, name: str, form: str | None):
    tracks = some_tracks()
    save_any_tracks(tmp_path / name, tracks, form=form)
    found = load_any_tracks(tmp_path / name, size=SIZE if name.endswith(".npy") else None)
    assert found.allclose(tracks, atol=1e-4)
    assert form_of(tmp_path / name) == (form or {"npy": "wan-move"}.get(name.split(".")[1], "motionstream"))


def test_ids_and_hidden_places_of_tapvid(tmp_path: Path):
    tracks = some_tracks().select([5, 2])
    save_any_tracks(tmp_path / "a.npz", tracks, form="tapvid")
    found = load_any_tracks(tmp_path / "a.npz")
    assert found.ids.tolist() == [[0, 1]]  # names are lost
    assert torch.allclose(found.xy, tracks.xy, atol=1e-4)  # places are not, even where hidden
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["points"].shape == (2, 20, 2)
        assert arrays["points"].max() <= 1
        assert arrays["occluded"].dtype == bool
        t, y, x = arrays["query_points"][0]
        assert np.allclose([x, y], tracks.xy[0, int(t), 0])


def test_an_ati_file_holds_121_frames_at_24_fps(tmp_path: Path):
    exact = some_tracks(30, fps=24)
    save_any_tracks(tmp_path / "a.pth", exact)
    found = load_any_tracks(tmp_path / "a.pth", size=SIZE)
    assert (found.num_frames, found.fps) == (ATI_FRAMES, 24)
    assert found.slice_frames(0, 30).allclose(exact, atol=1e-5)
    assert not found.visible[0, 30:].any()

    save_any_tracks(tmp_path / "b.pth", some_tracks(10, fps=16))
    found = load_any_tracks(tmp_path / "b.pth", size=SIZE)
    assert found.allclose(some_tracks(10, fps=16).resample(fps=24).pad_frames(ATI_FRAMES, "release"), atol=1e-4)

    save_any_tracks(tmp_path / "c.pth", some_tracks(150, fps=24))
    assert load_any_tracks(tmp_path / "c.pth", size=SIZE).num_frames == ATI_FRAMES
    late = Tracks.from_points(np.full((150, 1, 2), 5.0), visible=np.arange(150)[:, None] > 130, size=SIZE, fps=24)
    with pytest.raises(ValueError, match=r"holds 121 frames at 24 per second, and no point is visible in them"):
        save_any_tracks(tmp_path / "d.pth", late)
    # what ATI's own reader finds
    packed = torch.load(tmp_path / "a.pth", weights_only=True)
    with np.load(io.BytesIO(packed)) as arrays:
        array = arrays["array"]
    assert (array.shape, array.dtype) == ((6, ATI_FRAMES, 1, 3), np.float32)
    assert np.allclose(array[:, 3, 0, :2] / 8, exact.xy[0, 3])
    assert set(np.unique(array[..., 2])) == {0, 8}


def test_ati_files_of_other_layouts(tmp_path: Path):
    for shape in ((5, ATI_FRAMES, 1, 4), (ATI_FRAMES, 5, 1, 3)):
        array = np.full(shape, 80, np.float32)
        array[..., 2] = 8
        write_ati(tmp_path / "a.pth", array)
        found = load_any_tracks(tmp_path / "a.pth", size=SIZE)
        assert (found.num_frames, found.num_tracks, found.xy[0, 7, 3].tolist()) == (ATI_FRAMES, 5, [10, 10])
        assert found.visible.all()


def write_ati(path: Path, array: np.ndarray, key: str = "array") -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: array})
    torch.save(buffer.getvalue(), path)


def test_half_a_pixel_between_cotracker_and_here():
    tracks = Tracks.from_points([[[10.5, 20.5]]], size=SIZE, fps=8)
    xy, visibility = to_cotracker(tracks)
    assert xy.tolist() == [[[[10, 20]]]]
    assert from_cotracker(xy, visibility[..., None], size=SIZE, fps=8).allclose(tracks)


def test_samples_of_cotracker(tmp_path: Path):
    save_any_tracks(tmp_path / "a.npz", some_tracks(batch=3), form="cotracker")
    assert load_any_tracks(tmp_path / "a.npz").allclose(some_tracks(batch=3), atol=1e-4)
    for name, form in (("b.npz", "tapvid"), ("b.pth", None), ("b.npy", None)):
        with pytest.raises(ValueError, match="hold one sample, but these tracks have 3"):
            save_any_tracks(tmp_path / name, some_tracks(batch=3), form=form)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_wan_move_files_come_in_pairs(tmp_path: Path):
    assert visibility_path(Path("x/a_tracks.npy")) == Path("x/a_visibility.npy")
    assert visibility_path(Path("a.npy")) == Path("a_visibility.npy")
    save_any_tracks(tmp_path / "a_tracks.npy", some_tracks())
    assert sorted(os.listdir(tmp_path)) == ["a_tracks.npy", "a_visibility.npy"]
    assert np.load(tmp_path / "a_visibility.npy").shape == (1, 20, 6)
    found = load_any_tracks(tmp_path / "a_tracks.npy")
    assert (found.size, found.fps) == ((480, 832), 16)  # theirs, when nothing is said
    (tmp_path / "a_visibility.npy").unlink()
    assert load_any_tracks(tmp_path / "a_tracks.npy", size=SIZE).visible.all()


def test_length_and_rate(tmp_path: Path):
    save_any_tracks(tmp_path / "a.npz", some_tracks(), form="tapvid")
    assert load_any_tracks(tmp_path / "a.npz", num_frames=7).num_frames == 7
    longer = load_any_tracks(tmp_path / "a.npz", num_frames=70, fps=32)
    assert (longer.num_frames, longer.fps) == (70, 32)
    save_any_tracks(tmp_path / "a.json", some_tracks())
    ours = load_any_tracks(tmp_path / "a.json", num_frames=7, fps=8)
    assert (ours.num_frames, ours.fps) == (7, 8)


def test_names_of_files():
    assert [form_of(f"A.{suffix}") for suffix in ("JSON", "PTH", "NPY")] == ["motionstream", "ati", "wan-move"]
    assert files_of("x/a_tracks.NPY") == (Path("x/a_tracks.NPY"), Path("x/a_visibility.npy"))
    assert files_of("x/a.npz") == (Path("x/a.npz"),)


class Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harmed",)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a.pth").write_bytes(pickle.dumps(Harmful()))
    torch.save(Harmful(), "b.pth")
    np.save("c.npy", np.array([Harmful()], dtype=object), allow_pickle=True)
    np.savez("d.npz", points=np.array([Harmful()], dtype=object), occluded=np.zeros((1, 1)), allow_pickle=True)
    torch.save(torch.zeros(3), "e.pth")
    inner = io.BytesIO()
    np.savez(inner, array=np.array([Harmful()], dtype=object), allow_pickle=True)
    torch.save(inner.getvalue(), "f.pth")
    for name in ("a.pth", "b.pth", "c.npy", "d.npz", "e.pth", "f.pth"):
        with pytest.raises(ValueError, match=name) as caught:
            load_any_tracks(name, size=SIZE)
        assert "\n" not in str(caught.value)
    assert not Path("harmed").exists()


@pytest.mark.parametrize("form", ["motionstream", "tapvid", "cotracker"])
def test_what_a_file_says_is_not_said_otherwise(tmp_path: Path, form: str):
    """What is given would be ignored, and a canvas is easily mistaken for the size to scale to."""
    tracks = Tracks.from_points(np.full((5, 2, 2), 10.0), size=(48, 64), fps=24)
    path = tmp_path / "a.npz"
    save_any_tracks(path, tracks, form=form)
    assert load_any_tracks(path, size=(48, 64), source_fps=24, fps=12).num_frames == 3
    with pytest.raises(ValueError, match=r"a\.npz: its canvas is 64x48, not 10x10: leave size .*out, and scale"):
        load_any_tracks(path, size=(10, 10))
    with pytest.raises(ValueError, match=r"a\.npz: it has 24 frames a second, not 16: leave source_fps .*out, and res"):
        load_any_tracks(path, source_fps=16)


def test_bad_files(tmp_path: Path):
    points, occluded = np.full((2, 5, 2), 0.5, np.float32), np.zeros((2, 5), bool)

    def complain(name: str, complaint: str, **arrays: Any) -> None:
        if arrays:
            np.savez(tmp_path / name, **arrays)
        with pytest.raises(ValueError, match=complaint):
            load_any_tracks(tmp_path / name)

    complain("a.npz", "does not say its canvas", points=points, occluded=occluded)
    size: dict[str, Any] = {"width": 64, "height": 48}
    complain("a.npz", "fractions of the picture", points=points * 50, occluded=occluded, **size)
    complain("a.npz", r"points must be \(N, T, 2\)", points=points, occluded=occluded[:1], **size)
    complain("a.npz", "ever visible", points=points, occluded=~occluded, **size)
    complain("a.npz", r"shape \(B, T, N, 2\)", tracks=points, visibility=occluded, **size)
    complain("a.npz", "visibility must have the shape", tracks=points[None], visibility=occluded, **size)
    complain("a.npz", "must hold numbers", tracks=np.array("text"), visibility=occluded, **size)
    complain("a.npz", "'width' must be a single number, got 2", tracks=points, visibility=occluded, height=9, width=[9, 9])
    complain("missing.npz", "check the path")
    complain("missing.pth", "does not say its canvas")
    complain("missing.npy", "check the path")
    (tmp_path / "junk.npz").write_text("junk")
    complain("junk.npz", "not readable as NPZ")
    (tmp_path / "junk.npy").write_text("junk")
    complain("junk.npy", "not readable as NPY")
    np.save(tmp_path / "text.npy", np.array([[[["a", "b"]]]]))
    complain("text.npy", "must hold one array of numbers")
    np.save(tmp_path / "torn.npy", points)
    torn = bytearray((tmp_path / "torn.npy").read_bytes())
    torn[20] = ord("(")
    (tmp_path / "torn.npy").write_bytes(torn)
    complain("torn.npy", "not readable as NPY")
    np.savez(tmp_path / "newer.npz", points=points)
    newer = bytearray((tmp_path / "newer.npz").read_bytes())
    newer[newer.index(b"PK\x01\x02") + 6] = 125  # the version of zip that unpacking needs
    (tmp_path / "newer.npz").write_bytes(newer)
    complain("newer.npz", "not readable as NPZ")
    with pytest.raises(ValueError, match="must end in"):
        form_of("a.txt")
    write_ati(tmp_path / "a.pth", np.zeros((3, 81, 1, 3)))
    with pytest.raises(ValueError, match=r"must have the shape \(N, 121, 1, 3\)"):
        load_any_tracks(tmp_path / "a.pth", size=SIZE)
    write_ati(tmp_path / "a.pth", np.zeros((3, 121, 1, 3)), key="other")
    with pytest.raises(ValueError, match="'array' is missing; there are other"):
        load_any_tracks(tmp_path / "a.pth", size=SIZE)


@pytest.mark.parametrize(
    ("name", "form", "complaint"),
    [
        ("a.npz", "ati", r"must end in \.pth"),
        ("a.pth", "tapvid", r"must end in \.npz"),
        ("a.json", "wan-move", r"must end in \.npy"),
        ("a.txt", None, "must end in"),
        ("a.npz", "davis", "unknown form"),
        ("nowhere/a.pth", None, "cannot write"),
    ],
)
def test_bad_targets(tmp_path: Path, name: str, form: str | None, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        save_any_tracks(tmp_path / name, some_tracks(), form=form)
    hidden = Tracks.from_points([[[1, 1]]], visible=[[False]], size=SIZE, fps=8)
    with pytest.raises(ValueError, match="ever visible"):
        save_any_tracks(tmp_path / "a.pth", hidden)
