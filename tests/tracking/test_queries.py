import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream.tracking import grid_queries, queries_of_tracks, read_mask, read_queries
from motionstream.tracking.queries import check_queries
from motionstream.tracks.io import save_tracks


def test_a_grid_covers_the_picture():
    queries = grid_queries((30, 60), 3)
    assert queries.shape == (9, 3)
    assert queries[0].tolist() == [0, 10, 5]
    assert queries[-1].tolist() == [0, 50, 25]


def test_a_grid_within_a_mask_covers_its_box():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    mask[10:15, 30:40] = False
    queries = grid_queries((40, 60), 4, mask)
    x, y = queries[:, 1], queries[:, 2]
    assert len(queries) == 12
    assert mask[y.astype(int), x.astype(int)].all()
    assert (x.min(), x.max(), y.min(), y.max()) == (32.5, 47.5, 11.25, 18.75)


@pytest.mark.parametrize(
    ("grid", "mask", "complaint"),
    [
        (0, None, "use 1 to 223"),
        (500, None, "500 x 500"),
        (3, np.zeros((30, 60), bool), "mask is empty"),
        (3, np.zeros((30, 30), bool), "the mask is 30x30 pixels, the video 60x30"),
    ],
)
def test_bad_grids(grid: int, mask: np.ndarray | None, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        grid_queries((30, 60), grid, mask)


def test_points_from_files(tmp_path: Path):
    wanted = [[0, 3.5, 4.5], [2, 10, 20]]
    (tmp_path / "a.csv").write_text("# t, x, y\n0, 3.5, 4.5\n\n2 10 20\n")
    (tmp_path / "b.json").write_text(json.dumps(wanted))
    np.save(tmp_path / "c.npy", np.array(wanted))
    for name in ("a.csv", "b.json", "c.npy"):
        assert read_queries(tmp_path / name, (30, 40)).tolist() == wanted
    (tmp_path / "d.txt").write_text("3 4\n5 6\n")
    assert read_queries(tmp_path / "d.txt", (30, 40)).tolist() == [[0, 3, 4], [0, 5, 6]]


def test_a_mark_of_utf8_at_the_start_is_no_point(tmp_path: Path):
    (tmp_path / "a.csv").write_text("3, 4\n", encoding="utf-8-sig")
    (tmp_path / "a.json").write_text("[[3, 4]]", encoding="utf-8-sig")
    for name in ("a.csv", "a.json"):
        assert read_queries(tmp_path / name, (30, 40)).tolist() == [[0, 3, 4]]


def test_points_from_tracks_are_their_first_visible_ones(tmp_path: Path):
    points = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    tracks = ms.Tracks.from_points(points, visible=[[False, False], [True, False], [True, False]], size=(20, 20), fps=16)
    assert queries_of_tracks(tracks).tolist() == [[1, 4, 5]]
    for name in ("tracks.json", "tracks.npz"):
        save_tracks(tmp_path / name, tracks)
        assert read_queries(tmp_path / name, (40, 60)).tolist() == [[1, 12, 10]]
        assert read_queries(tmp_path / name, (40, 60), fps=48).tolist() == [[3, 12, 10]]  # the same moment
        assert read_queries(tmp_path / name, (40, 60), fps=10).tolist() == [[1, 12, 10]]  # 0.6, to a whole frame


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "1, 2\n3\n", "not readable as points"),
        ("a.csv", "1, x\n", "not readable as points"),
        ("a.csv", "", "a list of x, y"),
        ("a.csv", "1, 2, 3, 4\n", "a list of x, y"),
        ("a.csv", "0, 50, 2\n", "inside 40x30"),
        ("a.csv", "0.5, 5, 2\n", "a whole frame"),
        ("a.csv", "-1, 5, 2\n", "a whole frame"),
        ("a.json", "[[1, 2], [3]]", "not readable as points"),
        ("a.json", "{", "not readable as points"),
        ("a.json", '{"format": "x"}', "format is 'x'"),
        ("a.json", "[" * 100_000, "nested too deeply.*give a list of points"),
        ("a.json", f"[[{10**400}, 3]]", "a number is above 1e308.*give x and y in pixels"),
        ("a.csv", f"{10**400}, 3", "inside 40x30"),
        ("a.npy", "junk", "not readable as points"),
        ("a.xml", "", "must end in"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, complaint: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_queries(tmp_path / name, (30, 40))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_read(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_queries(tmp_path / "a.npy", (30, 40))
    with pytest.raises(ValueError, match="check the path"):
        read_queries(tmp_path / "missing.csv", (30, 40))


def test_damaged_arrays_are_told_in_a_sentence(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    whole = (tmp_path / "a.npy").read_bytes()
    with (tmp_path / "b.npy").open("wb") as file:
        np.savez(file, x=np.ones((2, 2)))
    archive = (tmp_path / "b.npy").read_bytes()
    for content, complaint in (
        (b"", "No data left"),
        (whole[:-8], "not readable as points"),
        (whole[:20] + b"(" + whole[21:], "not readable as points"),
        (archive, "it holds several arrays; save one with numpy.save"),
    ):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(ValueError, match=complaint) as caught:
            read_queries(tmp_path / "a.npy", (30, 40))
        assert "a.npy" in str(caught.value)


def test_masks(tmp_path: Path):
    picture = np.zeros((30, 40), np.uint8)
    picture[10:20, 10:20] = 255
    Image.fromarray(picture).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", (60, 80))
    assert mask.shape == (60, 80)
    assert (mask[30, 30], mask[10, 10], mask.sum()) == (True, False, 400)
    with pytest.raises(ValueError, match="another aspect than 80x80"):
        read_mask(tmp_path / "mask.png", (80, 80))
    Image.fromarray(picture * 0).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match="is empty"):
        read_mask(tmp_path / "black.png", (60, 80))


def test_a_mask_on_transparency_is_what_is_painted(tmp_path: Path):
    for mode, white in (("LA", (255, 255)), ("RGBA", (255, 255, 255, 255))):
        picture = Image.new(mode, (40, 30))
        picture.paste(white, (10, 10, 20, 20))
        picture.save(tmp_path / "mask.png")
        mask = read_mask(tmp_path / "mask.png", (30, 40))
        assert (mask.sum(), mask[10:20, 10:20].all()) == (100, True)


def test_a_mask_has_the_aspect_of_the_frames_it_is_painted_on(tmp_path: Path):
    Image.new("L", (80, 60), 255).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", (50, 50), source=(30, 40)).shape == (50, 50)
    with pytest.raises(ValueError, match="80x60 pixels, another aspect than 30x30"):
        read_mask(tmp_path / "mask.png", (60, 80), source=(30, 30))


def test_too_many_and_misshapen_queries():
    with pytest.raises(ValueError, match="too many"):
        check_queries(np.zeros((60_000, 3)), (10, 10))
    with pytest.raises(ValueError, match="at least one row"):
        check_queries(np.zeros((0, 3)), (10, 10))


@pytest.mark.parametrize("mask", [np.full((48, 64), 255, np.uint8), np.ones((48, 64)).tolist(), np.ones((48, 64, 3), bool)])
def test_a_mask_is_told_from_the_bytes_of_a_picture(mask):
    with pytest.raises(ValueError, match=r"a mask must be \(H, W\) bool, got .*mask > 127"):
        grid_queries((48, 64), 3, mask)


def test_a_grid_of_a_broken_number_has_no_points_on_the_edge():
    with pytest.raises(ValueError, match=r"grid must be a whole number, got 2\.5"):
        grid_queries((48, 64), 2.5)
