import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.tracks.tracks import Tracks

SIZE = (48, 64)
FAST = settings(max_examples=25, deadline=None)
edges = st.integers(1, 2000)
unit = st.floats(0, 1, exclude_max=True, width=32)


def random_tracks(seed: int = 0, B: int = 1, T: int = 5, N: int = 4, size: tuple[int, int] = SIZE) -> Tracks:
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(B, T, N, 2, generator=generator) * torch.tensor([size[1], size[0]])
    visible = torch.rand(B, T, N, generator=generator) < 0.7
    return Tracks(xy=xy, visible=visible, ids=torch.arange(N).repeat(B, 1) + 3, size=size, fps=16)


def line(*xs: float | None, fps: float = 16) -> Tracks:
    """One track at y = 8; None is not visible."""
    points = [[[0.0 if x is None else x, 8.0]] for x in xs]
    return Tracks.from_points(points, visible=[[x is not None] for x in xs], size=SIZE, fps=fps)


def xs_of(tracks: Tracks) -> list[float | None]:
    shown = zip(tracks.xy[0, :, 0, 0].tolist(), tracks.visible[0, :, 0].tolist(), strict=True)
    return [x if seen else None for x, seen in shown]


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_nan_is_an_error_only_where_visible():
    nan = float("nan")
    with pytest.raises(ValueError, match="track 0 is NaN or infinite at frame 1"):
        line(1.0, nan)
    hidden = Tracks.from_points([[[nan, nan]], [[1, 2]]], visible=[[False], [True]], size=SIZE, fps=16)
    assert hidden.xy[0, 0, 0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("x", "y", "seen"),
    [
        (0.0, 0.0, True),
        (63.999, 47.999, True),
        (64.0, 1.0, False),
        (1.0, 48.0, False),
        (-0.001, 1.0, False),
        (1e30, 1.0, False),
    ],
)
def test_off_screen_is_invisible(x, y, seen):
    assert Tracks.from_points([[[x, y]]], size=SIZE, fps=16).visible.item() is seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": torch.zeros(1, 2, 3)}, r"shape \(B, T, N, 2\)"),
        ({"xy": torch.zeros(1, 0, 3, 2)}, "at least 1"),
        ({"xy": torch.zeros(1, 2, 3, 2, dtype=torch.float64)}, "xy must be torch.float32"),
        ({"visible": torch.ones(1, 2, 3)}, "visible must be torch.bool"),
        (
            {"visible": torch.ones(1, 3, 2, dtype=torch.bool)},
            r"visible must be torch.bool \(1, 2, 3\), got torch.bool \(1, 3, 2\)",
        ),
        ({"ids": torch.arange(3)}, r"ids must be torch.int64 \(1, 3\)"),
        ({"ids": torch.tensor([[1, 2, 1]])}, "unique within a sample, but 1"),
        ({"ids": torch.tensor([[1, -2, 0]])}, "at least 0, got -2"),
        ({"size": (0, 4)}, "size must be"),
        ({"fps": 0.0}, "fps must be"),
        ({"fps": float("nan")}, "fps must be"),
        ({"fps": 1e-300}, "fps must be a number from 0.01 to 10000 frames per second, got 1e-300"),
        ({"fps": 10_001}, "fps must be"),
        ({"fps": True}, "fps must be"),
    ],
)
def test_broken_rules_say_what_is_wrong(changes, message):
    good = {
        "xy": torch.zeros(1, 2, 3, 2),
        "visible": torch.ones(1, 2, 3, dtype=torch.bool),
        "ids": torch.arange(3)[None],
        "size": SIZE,
        "fps": 16.0,
    }
    with pytest.raises(ValueError, match=message):
        Tracks(**{**good, **changes})


def test_the_same_id_in_two_samples_is_fine():
    assert random_tracks(B=2).batch == 2


# ---- space -----------------------------------------------------------------------------------------------------------


@FAST
@given(edges, edges, edges, edges, unit, unit)
def test_resize_round_trip_keeps_points_and_visibility(H, W, height, width, x, y):
    size = (H, W)
    tracks = Tracks.from_points([[[min(x * W, W * (1 - 1e-7)), min(y * H, H * (1 - 1e-7))]]], size=size, fps=16)
    resized = tracks.resize(height, width)
    assert resized.visible.item() == tracks.visible.item()
    torch.testing.assert_close(resized.resize(H, W).xy, tracks.xy, rtol=1e-5, atol=1e-4 * max(size))


def test_resize_maps_edges_to_edges_and_centres_by_half_pixels():
    tracks = Tracks.from_points([[[0.5, 0.5], [63.5, 47.5], [0, 0]]], size=SIZE, fps=16)
    assert tracks.resize(24, 32).xy[0, 0].tolist() == [[0.25, 0.25], [31.75, 23.75], [0, 0]]


@FAST
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_last_float_below_the_edge_stays_inside(W, width):
    last = torch.nextafter(torch.tensor(float(W)), torch.tensor(0.0)).item()
    tracks = Tracks.from_points([[[last, 0.5]]], size=(1, W), fps=16)
    assert tracks.visible.item()
    assert tracks.resize(3, width).visible.item()
    assert tracks.crop(0, -width, 1, W + width).visible.item()


@FAST
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
def test_crop_and_back(top, left, height, width, seed):
    tracks = random_tracks(seed)
    cropped = tracks.crop(top, left, height, width)
    back = cropped.crop(-top, -left, *SIZE)
    x, y = tracks.xy.unbind(-1)
    kept = tracks.visible & (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    assert torch.equal(back.visible, kept)
    torch.testing.assert_close(back.xy[kept], tracks.xy[kept], rtol=0, atol=1e-4)
    assert cropped.size == (height, width)


# ---- time ------------------------------------------------------------------------------------------------------------


def test_slice_and_pad():
    tracks = line(1, 2, 3)
    assert xs_of(tracks.slice_frames(1, 3)) == [2, 3]
    assert xs_of(tracks.pad_frames(5)) == [1, 2, 3, 3, 3]
    assert xs_of(tracks.pad_frames(5, "release")) == [1, 2, 3, None, None]
    assert xs_of(line(1, None).pad_frames(3)) == [1, None, None]
    assert xs_of(tracks.pad_frames(3)) == [1, 2, 3]
    for call in (lambda: tracks.slice_frames(2, 2), lambda: tracks.slice_frames(0, 4), lambda: tracks.pad_frames(2)):
        with pytest.raises(ValueError, match="3 frames"):
            call()
    with pytest.raises(ValueError, match="'hold' or 'release', got 'drop'"):
        tracks.pad_frames(4, "drop")


def test_resample_is_linear_between_visible_frames_and_nearest_elsewhere():
    tracks = line(0, 10, None, 30)
    twice = tracks.resample(num_frames=7)
    assert xs_of(twice) == [0, 5, 10, 10, None, None, 30]
    assert twice.fps == 32
    assert xs_of(line(0, 10, 20, 30, 40).resample(fps=8)) == [0, 20, 40]
    assert tracks.resample(num_frames=4).allclose(tracks, atol=0)
    assert xs_of(line(5).resample(num_frames=3)) == [5, 5, 5]
    assert xs_of(tracks.resample(num_frames=1)) == [0]


def test_resample_from_24_to_16_fps_keeps_moments():
    tracks = Tracks.from_points([[[float(t), 8.0]] for t in range(49)], size=SIZE, fps=24)
    slower = tracks.resample(fps=16)
    assert slower.num_frames == 33
    torch.testing.assert_close(slower.xy[0, :, 0, 0], torch.arange(33) * 1.5)


@pytest.mark.parametrize("wish", [{}, {"num_frames": 3, "fps": 8}, {"num_frames": 0}, {"fps": -1.0}])
def test_resample_refuses_unclear_wishes(wish):
    with pytest.raises(ValueError):
        line(1, 2).resample(**wish)


# ---- tracks ----------------------------------------------------------------------------------------------------------


def test_select_by_index_mask_and_per_sample():
    tracks = random_tracks(B=2)
    chosen = tracks.select([2, 0])
    assert chosen.ids.tolist() == [[5, 3], [5, 3]]
    assert torch.equal(chosen.xy, tracks.xy[:, :, [2, 0]])
    masked = tracks.select(torch.tensor([True, False, False, True]))
    assert masked.ids.tolist() == [[3, 6], [3, 6]]
    each = tracks.select(torch.tensor([[0], [3]]))
    assert torch.equal(each.visible[1], tracks.visible[1, :, 3:])
    assert tracks.select([]).num_tracks == 0
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        tracks.select(torch.tensor([True]))


def test_concat_refuses_clashing_ids_and_other_canvases():
    tracks = random_tracks()
    with pytest.raises(ValueError, match="3 appears more than once"):
        tracks.concat(tracks)
    with pytest.raises(ValueError, match="size differs"):
        tracks.concat(tracks.resize(4, 4))
    for join in (line(1, 2).concat, line(1, 2).concat_frames):
        with pytest.raises(ValueError, match=r"fps differs: 16\.0 and 8\.0"):
            join(line(1, 2, fps=8))
    for join in (tracks.concat, tracks.concat_frames):
        with pytest.raises(ValueError, match="batch differs: 1 and 2"):
            join(random_tracks(B=2))
    halves = tracks.select([0, 1]).concat(tracks.select([2, 3]))
    assert halves.allclose(tracks)


def test_concat_frames_matches_ids():
    first = Tracks.from_points([[[1, 1], [2, 2]]], ids=[7, 4], size=SIZE, fps=16)
    second = Tracks.from_points([[[9, 9], [3, 3]]], ids=[1, 7], size=SIZE, fps=16)
    both = first.concat_frames(second)
    assert both.ids.tolist() == [[7, 4, 1]]
    assert both.visible[0].tolist() == [[True, True, False], [True, False, True]]
    assert both.xy[0, 1, [0, 2]].tolist() == [[3, 3], [9, 9]]
    nothing = Tracks.empty(num_frames=2, size=SIZE, fps=16)
    assert nothing.concat_frames(first).visible.sum() == 2
    assert first.concat_frames(nothing).num_frames == 3
    assert nothing.concat_frames(nothing).num_tracks == 0


def test_concat_frames_fills_samples_with_a_smaller_union():
    first, second = random_tracks(B=2, N=2), random_tracks(B=2, N=2)
    second = Tracks(xy=second.xy, visible=second.visible, ids=torch.tensor([[3, 4], [0, 9]]), size=SIZE, fps=16)
    both = first.concat_frames(second)
    assert both.ids.tolist() == [[3, 4, 0, 1], [3, 4, 0, 9]]
    assert not both.visible[0, :, 2:].any()
    first = Tracks(xy=first.xy, visible=first.visible, ids=torch.tensor([[1, 0], [3, 4]]), size=SIZE, fps=16)
    second = Tracks(xy=second.xy, visible=second.visible, ids=torch.tensor([[0, 1], [0, 9]]), size=SIZE, fps=16)
    assert first.concat_frames(second).ids.tolist() == [[1, 0, 2, 3], [3, 4, 0, 9]]


@FAST
@given(st.integers(0, 99), st.integers(1, 4))
def test_slices_joined_again_are_the_same(seed, cut):
    tracks = random_tracks(seed)
    assert tracks.slice_frames(0, cut).concat_frames(tracks.slice_frames(cut, 5)).allclose(tracks, atol=0)


def test_allclose_sees_every_difference():
    tracks = line(1, 2, None)
    assert tracks.allclose(line(1, 2.0005, None))
    assert not tracks.allclose(line(1, 2.1, None))
    assert not tracks.allclose(line(1, 2, 3))
    assert not tracks.allclose(line(1, 2, None, fps=8))
    assert not tracks.allclose(line(1, 2))
    named = Tracks(xy=tracks.xy, visible=tracks.visible, ids=torch.tensor([[5]]), size=SIZE, fps=16)
    assert not tracks.allclose(named)


# ---- TAP-Vid ---------------------------------------------------------------------------------------------------------


def test_tapvid_both_ways():
    tracks = random_tracks(B=2)
    form = tracks.to_tapvid()
    assert form["target_points"].shape == (2, 4, 5, 2)
    back = Tracks.from_tapvid(form["target_points"], form["occluded"], size=SIZE, fps=16, ids=tracks.ids)
    assert back.allclose(tracks, atol=0)


def test_tapvid_query_is_the_first_visible_point_as_t_y_x():
    tracks = line(None, 5, 6).concat(Tracks.from_points([[[1, 1]]] * 3, visible=[[0]] * 3, ids=[9], size=SIZE, fps=16))
    assert tracks.to_tapvid()["query_points"][0].tolist()[0] == [1, 8, 5]
    assert tracks.to_tapvid()["query_points"][0, 1, 0] == -1


def test_from_strokes_is_the_same_as_the_function():
    from motionstream.tracks.strokes import Stroke, tracks_from_strokes

    strokes = [Stroke(points=[(0, 1, 2), (1, 9, 2)], radius_px=8)]
    direct = tracks_from_strokes(strokes, num_frames=9, fps=16, size=SIZE)
    assert Tracks.from_strokes(strokes, num_frames=9, size=SIZE).allclose(direct)


@pytest.mark.parametrize("index", [[2], [-1], [[0, 7]]])
def test_a_track_that_is_not_there_cannot_be_selected(index):
    tracks = Tracks.from_points([[[1.0, 2.0], [3.0, 4.0]]], size=(8, 8), fps=16)
    with pytest.raises(ValueError, match=r"there is no track (2|-1|7); use 0 to 1"):
        tracks.select(index)


def test_ids_to_match_are_a_row_for_each_sample():
    tracks = Tracks.from_points(torch.full((2, 3, 2), 5.0), size=(48, 64), fps=16)
    assert tracks.match_ids(torch.tensor([[2, 7]])).visible.tolist() == [[[True, False]] * 2]
    for ids, of in ((torch.tensor([2, 7]), tracks), (torch.zeros(2, 1), tracks), (torch.tensor([2]), tracks.select([]))):
        with pytest.raises(ValueError, match=r"ids must have the shape \(B, M\) with B = 1, got \("):
            of.match_ids(ids)
