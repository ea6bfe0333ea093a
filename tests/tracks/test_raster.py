"""The rasteriser against its loop, and the rules that the loop states."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.config import TrackConfig
from motionstream.tracks.raster import rasterize, rasterize_loop

SPLATS = ("nearest", "bilinear")
ROWS, COLUMNS, STRIDE = 3, 5, 8
WIDTH, HEIGHT = COLUMNS * STRIDE, ROWS * STRIDE


def both(xy, visible, codes, splat, grid=(ROWS, COLUMNS), stride=STRIDE):
    config = TrackConfig(splat=splat, code_dim=codes.shape[-1])
    fast = rasterize(xy, visible, codes, grid=grid, stride=stride, config=config)
    slow = rasterize_loop(xy, visible, codes, grid=grid, stride=stride, config=config)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
    return fast


def one(x: float, y: float, splat: str, visible: bool = True) -> torch.Tensor:
    """The map of a single point with the code (1, 2): ``(rows, columns)`` of its first channel."""
    xy, code = torch.tensor([[[[x, y]]]]), torch.tensor([[[1.0, 2.0]]])
    out = both(xy, torch.tensor([[[visible]]]), code, splat)[0, 0]
    torch.testing.assert_close(out[1], 2 * out[0])
    return out[0]


@pytest.mark.parametrize("splat", SPLATS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_fast_equals_loop(splat, seed):
    generator = torch.Generator().manual_seed(seed)
    B, T, N = 2, 3, 9
    scale = torch.tensor([WIDTH, HEIGHT])
    xy = (torch.rand(B, T, N, 2, generator=generator) * 1.6 - 0.3) * scale
    xy[:, :, :3] = xy[:, :, 3:6] + 0.1  # collisions
    xy[:, :, 6] = (xy[:, :, 6] / STRIDE).round() * STRIDE  # cell borders and the edges of the picture
    xy[0, 0, 7], xy[1, 1, 8] = torch.nan, torch.inf
    xy[1, 2, 8, 0] = -torch.inf
    visible = torch.rand(B, T, N, generator=generator) < 0.7
    both(xy, visible, torch.randn(B, N, 4, generator=generator), splat)


@pytest.mark.parametrize("splat", SPLATS)
@pytest.mark.parametrize(("grid", "stride"), [((2, 2), 16), ((1, 1), 8), ((7, 3), 4)])
def test_other_grids_and_strides(splat, grid, stride):
    generator = torch.Generator().manual_seed(3)
    xy = torch.rand(1, 2, 20, 2, generator=generator) * torch.tensor([grid[1], grid[0]]) * stride
    out = both(xy, torch.ones(1, 2, 20, dtype=torch.bool), torch.randn(1, 20, 3, generator=generator), splat, grid, stride)
    assert out.shape == (1, 2, 3, *grid)


def test_nearest_is_the_floor_of_the_paper():
    for x, y, cell in [(0, 0, (0, 0)), (7.99, 8.0, (1, 0)), (39.9, 23.9, (2, 4)), (16.0, 15.9, (1, 2))]:
        wanted = torch.zeros(ROWS, COLUMNS)
        wanted[cell] = 1
        assert torch.equal(one(x, y, "nearest"), wanted)


def test_bilinear_shares_by_distance_to_cell_centres():
    assert torch.equal(one(12.0, 12.0, "bilinear").nonzero(), torch.tensor([[1, 1]]))
    half = one(16.0, 12.0, "bilinear")
    assert half[1, 1] == half[1, 2] == 0.5
    got = one(14.0, 10.0, "bilinear")
    torch.testing.assert_close(got[0:2, 1:3], torch.tensor([[0.1875, 0.0625], [0.5625, 0.1875]]))
    # At the border nothing is lost: the cells outside fold in.
    for x, y in [(0.0, 0.0), (0.0, 12.0), (WIDTH - 0.01, HEIGHT - 0.01), (WIDTH - 0.01, 3.0)]:
        assert one(x, y, "bilinear").sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("splat", SPLATS)
def test_what_is_not_seen_is_not_drawn(splat):
    assert one(12.0, 12.0, splat, visible=False).abs().max() == 0
    for x, y in [(-0.01, 5), (5, -0.01), (WIDTH, 5), (5, HEIGHT), (1e30, 5), (float("nan"), 5), (5, float("inf"))]:
        assert one(x, y, splat).abs().max() == 0, (x, y)


@pytest.mark.parametrize("splat", SPLATS)
def test_order_of_tracks_does_not_matter(splat):
    generator = torch.Generator().manual_seed(4)
    xy = torch.rand(1, 2, 40, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    codes, visible = torch.randn(1, 40, 4, generator=generator), torch.ones(1, 2, 40, dtype=torch.bool)
    order = torch.randperm(40, generator=generator)
    plain, shuffled = (
        both(xy, visible, codes, splat),
        both(xy[:, :, order], visible[:, :, order], codes[:, order], splat),
    )
    torch.testing.assert_close(plain, shuffled, atol=1e-5, rtol=0)


@pytest.mark.parametrize("splat", SPLATS)
def test_collisions_keep_the_norm_of_one(splat):
    xy = torch.full((1, 1, 4, 2), 12.0)
    codes = torch.eye(4)[None]
    cell = both(xy, torch.ones(1, 1, 4, dtype=torch.bool), codes, splat)[0, 0, :, 1, 1]
    torch.testing.assert_close(cell, torch.full((4,), 0.5))
    visible = torch.tensor([[[True, False, False, True]]])
    cell = both(xy, visible, codes, splat)[0, 0, :, 1, 1]
    torch.testing.assert_close(cell, torch.tensor([1.0, 0, 0, 1.0]) / 2**0.5)


@pytest.mark.parametrize("splat", SPLATS)
def test_frames_and_samples_do_not_mix(splat):
    xy = torch.full((2, 3, 1, 2), 12.0)
    visible = torch.zeros(2, 3, 1, dtype=torch.bool)
    visible[1, 2] = True
    out = both(xy, visible, torch.ones(2, 1, 4), splat)
    assert out.flatten(2).abs().amax(-1).tolist() == [[0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("splat", SPLATS)
def test_no_tracks_make_an_empty_map(splat):
    out = both(torch.zeros(2, 3, 0, 2), torch.zeros(2, 3, 0, dtype=torch.bool), torch.zeros(2, 0, 4), splat)
    assert torch.equal(out, torch.zeros(2, 3, 4, ROWS, COLUMNS))


def test_half_precision_codes_stay_half_precision():
    xy, visible = torch.full((1, 1, 1, 2), 12.0), torch.ones(1, 1, 1, dtype=torch.bool)
    config = TrackConfig(splat="bilinear", code_dim=2)
    out = rasterize(xy, visible, torch.ones(1, 1, 2, dtype=torch.bfloat16), grid=(2, 2), stride=8, config=config)
    assert out.dtype == torch.bfloat16
