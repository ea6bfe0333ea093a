"""Codes of places: ids hold a beginning, and a cell tells where in frame 0 its centre comes from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.config import TrackConfig
from motionstream.tracks.origin import make_ids, origin_ids, origins, rasterize_origins, rasterize_origins_loop

SPLATS = ("nearest", "bilinear")
ROWS, COLUMNS, STRIDE = 3, 5, 8


def config(splat: str = "bilinear", **more) -> TrackConfig:
    return TrackConfig(code="origin", code_dim=22, splat=splat, **more)


def both(xy, visible, ids, made: TrackConfig) -> torch.Tensor:
    fast = rasterize_origins(xy, visible, ids, grid=(ROWS, COLUMNS), stride=STRIDE, config=made)
    slow = rasterize_origins_loop(xy, visible, ids, grid=(ROWS, COLUMNS), stride=STRIDE, config=made)
    torch.testing.assert_close(fast, slow, atol=1e-4, rtol=0)
    return fast


def source_of(code: torch.Tensor, made: TrackConfig) -> list[float]:
    """The place in cells that a code tells (its longest period is unambiguous here)."""
    longest = len(made.origin_periods) - 1
    places = []
    for axis in range(2):
        at = 2 * (axis * len(made.origin_periods) + longest)
        places.append(math.atan2(code[at + 1], code[at]) / (2 * math.pi) * made.origin_periods[longest])
    return places


@settings(max_examples=50, deadline=None)
@given(st.floats(-60_000, 60_000), st.floats(-60_000, 60_000), st.booleans())
def test_an_id_holds_a_place_to_a_sixteenth_of_a_pixel(x, y, late):
    place, told = origins(origin_ids(torch.tensor([x, y]), torch.tensor(late)))
    assert (place - torch.tensor([x, y])).abs().max() <= 1 / 32 + 0.004, "rounding, and that of float32"
    assert bool(told) == late


def test_places_past_what_an_id_can_hold_stay_at_its_end_and_nan_is_a_place():
    ids = origin_ids(torch.tensor([[1e9, -1e9], [math.nan, 3.0]]), torch.tensor([False, True]))
    place, late = origins(ids)
    assert place[0].tolist() == [65535.9375, -65536.0]
    assert place[1].tolist() == [0.0, 3.0]
    assert late.tolist() == [False, True]


def test_ids_of_a_clip_say_where_a_track_shows_first():
    xy = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], [[5.0, 6.0], [7.0, 8.0], [9.0, 9.0]]])[None]  # (1, 2, 3, 2)
    visible = torch.tensor([[[True, False, False], [True, True, False]]])
    place, late = origins(make_ids(xy, visible, config(), torch.Generator()))
    assert place[0].tolist() == [[1.0, 2.0], [7.0, 8.0], [9.0, 9.0]]
    assert late[0].tolist() == [False, True, False]


def test_ids_of_other_codes_are_drawn():
    xy, visible = torch.zeros(2, 3, 40, 2), torch.ones(2, 3, 40, dtype=torch.bool)
    ids = make_ids(xy, visible, TrackConfig(id_range=50), torch.Generator().manual_seed(0))
    assert ids.shape == (2, 40)
    assert all(len(row.unique()) == 40 for row in ids)
    assert ids.max() < 50


@pytest.mark.parametrize("splat", SPLATS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_fast_equals_loop(splat, seed):
    generator = torch.Generator().manual_seed(seed)
    B, T, N = 2, 3, 9
    xy = (torch.rand(B, T, N, 2, generator=generator) * 1.6 - 0.3) * torch.tensor([COLUMNS, ROWS]) * STRIDE
    xy[:, :, :3] = xy[:, :, 3:6] + 0.1  # collisions
    xy[:, :, 6] = (xy[:, :, 6] / STRIDE).round() * STRIDE  # cell borders and the edges of the picture
    xy[0, 0, 7], xy[1, 1, 8] = torch.nan, torch.inf
    visible = torch.rand(B, T, N, generator=generator) < 0.7
    made = config(splat, code_scale=1.5)
    both(xy, visible, make_ids(xy, visible, made, generator), made)


def test_a_resting_point_tells_every_cell_around_it_its_own_place():
    """However far the point lies from a cell's centre: what counts is how far it moved."""
    made = config()
    xy = torch.tensor([[[[18.0, 11.0]]]])
    visible = torch.ones(1, 1, 1, dtype=torch.bool)
    out = both(xy, visible, make_ids(xy, visible, made, torch.Generator()), made)[0, 0]
    told = (out[-2] > 0).nonzero().tolist()
    assert told == [[0, 1], [0, 2], [1, 1], [1, 2]]
    for row, column in told:
        code = out[:, row, column]
        assert source_of(code, made) == pytest.approx([column + 0.5, row + 0.5], abs=1e-3)
    assert out[:, 2].abs().max() == 0, "nothing is told where there is no point"


@pytest.mark.parametrize("move", [(8.0, 0.0), (5.0, -3.0), (0.5, 0.0)])
def test_moved_points_tell_where_their_cells_come_from(move):
    made = config()
    home = torch.tensor([[12.0, 12.0], [14.0, 10.0], [13.0, 15.0]])
    xy = torch.stack([home, home + torch.tensor(move)])[None]
    visible = torch.ones(1, 2, 3, dtype=torch.bool)
    out = both(xy, visible, make_ids(xy, visible, made, torch.Generator()), made)[0, 1]
    for row, column in (out[-2] > 0.2).nonzero().tolist():
        wanted = [column + 0.5 - move[0] / STRIDE, row + 0.5 - move[1] / STRIDE]
        assert source_of(out[:, row, column], made) == pytest.approx(wanted, abs=1e-2)


@pytest.mark.parametrize(("move", "told"), [((16.0, 0.0), 1.0), ((0.0, 8.0), 1.0), ((4.0, 0.0), 0.5), ((0.0, 0.0), 0.0)])
def test_what_frame_0_shows_where_a_track_began_has_left(move, told):
    made = config()
    home = torch.tensor([[12.0, 12.0]])
    xy = torch.stack([home, home + torch.tensor(move), home])[None]
    visible = torch.tensor([[[True], [True], [False]]])
    out = both(xy, visible, make_ids(xy, visible, made, torch.Generator()), made)[0, :, -1]
    assert out[0].abs().max() == 0
    wanted = torch.zeros(ROWS, COLUMNS)
    wanted[1, 1] = min(2 * told, 1.0)
    torch.testing.assert_close(out[1], wanted)
    assert out[2].abs().max() == 0, "a hidden track tells nothing"


def test_what_leaves_the_picture_has_left_and_what_begins_later_has_not():
    made = config()
    xy = torch.tensor([[[[12.0, 12.0], [0.0, 0.0]], [[-20.0, 12.0], [28.0, 12.0]], [[-20.0, 12.0], [36.0, 12.0]]]])
    visible = torch.tensor([[[True, False], [True, True], [True, True]]])
    left = both(xy, visible, make_ids(xy, visible, made, torch.Generator()), made)[0, 2, -1]
    assert left.nonzero().tolist() == [[1, 1]]


def test_tracks_that_begin_later_have_the_other_sign():
    made = config()
    xy = torch.tensor([[[[12.0, 12.0], [28.0, 12.0]], [[12.0, 12.0], [28.0, 12.0]]]])
    visible = torch.tensor([[[True, False], [True, True]]])
    out = both(xy, visible, make_ids(xy, visible, made, torch.Generator()), made)[0, 1, -2]
    assert out[1, 1] == 1
    assert out[1, 3] == -1


def test_tracks_of_frame_0_say_where_a_cell_comes_from_whatever_begins_beside_them():
    """As when the camera moves on and new points are sown between the old ones."""
    made = config()
    xy = torch.tensor([[[[20.0, 12.0], [0.0, 0.0]], [[12.0, 12.0], [12.0, 12.0]], [[4.0, 12.0], [4.0, 12.0]]]])
    visible = torch.tensor([[[True, False], [True, True], [True, True]]])
    ids = make_ids(xy, visible, made, torch.Generator())
    together = both(xy, visible, ids, made)[0, 2, :, 1, 0]
    alone = both(xy[:, :, :1], visible[:, :, :1], ids[:, :1], made)[0, 2, :, 1, 0]
    assert source_of(together, made) == pytest.approx([2.5, 1.5], abs=1e-2)
    assert (together - alone).abs().max() < 0.01


def test_the_order_of_tracks_is_free():
    generator = torch.Generator().manual_seed(1)
    made = config()
    xy = torch.rand(1, 2, 8, 2, generator=generator) * torch.tensor([COLUMNS, ROWS]) * STRIDE
    visible = torch.rand(1, 2, 8, generator=generator) < 0.8
    ids = make_ids(xy, visible, made, generator)
    order = torch.randperm(8, generator=generator)
    given_ = {"grid": (ROWS, COLUMNS), "stride": STRIDE, "config": made}
    shuffled = rasterize_origins(xy[:, :, order], visible[:, :, order], ids[:, order], **given_)
    torch.testing.assert_close(shuffled, rasterize_origins(xy, visible, ids, **given_), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_dim": 64},
        {"origin_periods": (1.0, 2.0)},
        {"origin_periods": (0.0, 1, 2, 4, 8)},
        {"origin_periods": (), "code_dim": 2},
    ],
)
def test_a_width_that_does_not_fit_the_periods_is_refused(wrong):
    with pytest.raises(ValueError, match="code_dim="):
        TrackConfig(**{"code": "origin", "code_dim": 22} | wrong)
