import numpy as np
import pytest
import torch

from motionstream.tracks.draw import draw_tracks
from motionstream.tracks.io import load_strokes, save_strokes, save_tracks
from motionstream.tracks.paths import follow_path, line_path, move_points, walk
from motionstream.tracks.strokes import Stroke, brush_offsets, tracks_from_strokes
from motionstream.tracks.tracks import Tracks

SIZE = (48, 64)
POINTS = np.arange(24, dtype=np.float64).reshape(4, 3, 2)


def tracks(**given) -> Tracks:
    return Tracks.from_points(**{"points": POINTS, "size": SIZE, "fps": 16, **given})


def test_arrays_of_any_layout_are_taken():
    swapped = tracks(points=POINTS[..., ::-1])  # (y, x) to (x, y), a view with steps backwards
    assert swapped.xy[0, 0, 0].tolist() == [1, 0]
    assert tracks(points=POINTS.astype(">f4")).allclose(tracks())
    assert tracks(ids=np.array([5, 4, 3], np.uint16)[::-1], visible=np.ones((4, 3), np.uint8)).ids.tolist() == [[3, 4, 5]]


def test_what_the_caller_does_to_an_array_later_changes_no_tracks():
    ids, points = np.array([5, 4, 3]), POINTS.copy()
    made = tracks(ids=ids, points=points)
    ids[:], points[:] = 0, 0
    assert made.ids.tolist() == [[5, 4, 3]]
    assert made.xy[0, 0, 1].tolist() == [2, 3]


def test_points_that_require_a_gradient_are_drawn_and_saved(tmp_path):
    learnt = tracks(points=torch.tensor(POINTS, requires_grad=True))
    save_tracks(tmp_path / "learnt.npz", learnt)
    assert draw_tracks(np.zeros((4, *SIZE, 3), np.uint8), learnt).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ids": [0.5, 1, 2]}, "ids must be whole numbers, got 0.5"),
        ({"ids": torch.tensor([0, 1, 2.5])}, "ids must be whole numbers, got 2.5"),
        ({"ids": np.array([1, 2, 2**63], np.uint64)}, r"ids must be below 2\^63"),
        ({"ids": ["a", "b", "c"]}, "ids must be an array or nested list of numbers"),
        ({"visible": np.full((4, 3), 0.3)}, r"visible must be True or False \(compare shares with a threshold\), got 0.3"),
        ({"visible": np.full((4, 3), np.nan)}, "visible must be True or False"),
        ({"points": None}, "points must be an array or nested list of numbers, .* got None"),
        ({"points": [[[1, 2]], [[1, 2], [3, 4]]]}, "points must be .* all rows of the same length"),
        ({"size": 48}, r"size must be \(height, width\) .* got 48"),
        ({"size": None}, r"size must be \(height, width\)"),
        ({"size": ("a", 8)}, r"size must be \(height, width\)"),
        ({"size": (float("inf"), 8)}, r"size must be \(height, width\)"),
        ({"size": (10**30, 8)}, r"size must be \(height, width\)"),
    ],
)
def test_what_no_tracks_can_be_made_of(given, message):
    with pytest.raises(ValueError, match=message):
        tracks(**given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tracks.empty(num_frames=-1, size=SIZE, fps=16), "num_frames must be at least 1, got -1"),
        (lambda: Tracks.empty(num_frames=1.5, size=SIZE, fps=16), "num_frames must be a whole number, got 1.5"),
        (lambda: Tracks(xy=POINTS, visible=None, ids=None, size=SIZE, fps=16), "xy must be a tensor, got a ndarray"),
        (lambda: Tracks.from_tapvid(POINTS[0], [0, 0, 0], size=SIZE, fps=16), r"target_points must be \(N, T, 2\)"),
        (
            lambda: Tracks.from_tapvid(POINTS, np.zeros((4, 3)), size=SIZE, fps=16, ids=[1]),
            r"ids must have the shape \(4,\)",
        ),
        (lambda: tracks().select(1), r"index must be \(M,\) or \(B, M\) with B = 1, got \(\)"),
        (lambda: tracks().select([[0], [1]]), r"index must be \(M,\) or \(B, M\) with B = 1, got \(2, 1\)"),
        (lambda: tracks().select([0.5]), "index must be whole numbers, got 0.5"),
        (lambda: tracks().select("a"), "index must be an array"),
        (lambda: tracks().select([]).select([0]), "there is no track 0; there are none"),
        (lambda: tracks().slice_frames(0.0, 2.0), "start must be a whole number, got 0.0"),
        (lambda: tracks().pad_frames(7.5), "num_frames must be a whole number, got 7.5"),
        (lambda: tracks().resample(num_frames=2.5), "num_frames must be a whole number, got 2.5"),
        (lambda: tracks_from_strokes([Stroke(points=[(0, 1, 2)])], 5.5, 16, SIZE), "num_frames must be a whole number"),
        (lambda: draw_tracks(np.zeros((4, *SIZE, 3), np.uint8), tracks(), sample=1), "there is no sample 1"),
        (lambda: draw_tracks(np.zeros((4, *SIZE, 3), np.uint8), tracks(), tail=1.5), "tail must be a whole number"),
        (lambda: draw_tracks([[0]], tracks()), "frames must be a NumPy array, got a list"),
        (lambda: brush_offsets(float("nan"), 1), "radius_px >= 0"),
        (lambda: brush_offsets(1, float("nan")), "spacing_px > 0"),
        (lambda: brush_offsets(1, float("inf")), "spacing_px > 0"),
    ],
)
def test_a_mistake_is_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_lists_name_the_ids_to_match():
    assert tracks().match_ids([[2, 7]]).visible[0, 0].tolist() == [True, False]


def test_a_polyline_of_three_columns_is_no_longer_another_polyline():
    for points in ([(1, 2, 3), (4, 5, 6)], [1, 2, 3, 4], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"a path needs points of the shape \(M, 2\)"):
            follow_path(points)


def test_times_of_a_walk_may_be_a_list():
    path = line_path((1.0, 1.0), (9.0, 1.0))
    phase = walk(path, num_frames=3, fps=2.0)
    moved = move_points([(1.0, 1.0)], path, phase, size=SIZE, fps=2.0)
    assert move_points([(1.0, 1.0)], path, phase.tolist(), size=SIZE, fps=2.0).allclose(moved)
    for wrong in ([], [[0.0, 1.0]], [float("nan")]):
        with pytest.raises(ValueError, match=r"phase must be \(T,\) finite numbers"):
            move_points([(1.0, 1.0)], path, wrong, size=SIZE, fps=2.0)


def test_no_file_of_strokes_is_written_that_cannot_be_read(tmp_path):
    strokes = [Stroke(points=[(0, 1, 2)])]
    for name, size, fps, message in (
        ("a.json", (0, 8), 16, "height must be at least 1, got 0"),
        ("a.json", (8, 8.5), 16, "width must be a whole number, got 8.5"),
        ("a.json", (8, 70_000), 16, "above 65536"),
        ("a.json", (8, 8), 0, "fps must be a number from"),
        ("a.json", (8, 8), float("nan"), "fps must be a number from"),
        ("a.npz", (8, 8), 16, r"must end in \.json"),
    ):
        with pytest.raises(ValueError, match=message):
            save_strokes(tmp_path / name, strokes, size, fps)
        assert not (tmp_path / name).exists()
    save_strokes(tmp_path / "a.json", strokes, (np.int64(8), np.int32(9)), np.float32(24))
    assert load_strokes(tmp_path / "a.json") == (strokes, (8, 9), 24.0)
