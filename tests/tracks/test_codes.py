import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.config import TrackConfig
from motionstream.tracks.codes import draw_ids, track_codes

KINDS = ("sinusoid", "gaussian")


@pytest.mark.parametrize("code", KINDS)
def test_the_same_id_has_the_same_code_everywhere(code):
    config = TrackConfig(code=code, code_dim=16)
    ids = torch.tensor([[5, 99_999, 0], [7, 5, 5]])
    codes = track_codes(ids, config)
    assert codes.shape == (2, 3, 16)
    assert codes.dtype == torch.float32
    assert torch.equal(codes[0, 0], codes[1, 1])
    assert torch.equal(codes[0, 0], track_codes(torch.tensor(5), config))
    assert torch.equal(codes[0, 2], track_codes(torch.tensor([0]), config)[0])
    assert torch.isfinite(codes).all()


def test_sinusoid_formula():
    config = TrackConfig(code="sinusoid", code_dim=8, max_period=500.0, code_scale=1.5)
    code = track_codes(torch.tensor([81_234]), config)[0]
    for i in range(4):
        angle = 81_234 / 500 ** (i / 4)
        assert code[i].item() == pytest.approx(1.5 * math.cos(angle), abs=1e-5)
        assert code[4 + i].item() == pytest.approx(1.5 * math.sin(angle), abs=1e-5)


@pytest.mark.parametrize("code", KINDS)
def test_codes_are_well_spread(code):
    config = TrackConfig(code=code, code_dim=64)
    codes = track_codes(draw_ids(1, 500, config, torch.Generator().manual_seed(0))[0], config)
    unit = codes / codes.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T)[~torch.eye(500, dtype=torch.bool)]
    assert cosine.abs().mean() < 0.13  # independent Gaussians: sqrt(2 / (64 pi)) = 0.0997
    assert cosine.mean().abs() < 0.02
    assert (cosine > 0.9).float().mean() < 1e-3


def test_neighbouring_ids_have_unrelated_gaussian_codes():
    codes = track_codes(torch.arange(2000), TrackConfig(code="gaussian", code_dim=64))
    assert codes.mean().abs() < 0.01
    assert abs(codes.std() - 1) < 0.01
    neighbours = torch.nn.functional.cosine_similarity(codes[1:], codes[:-1])
    assert neighbours.mean().abs() < 0.02
    assert neighbours.std() == pytest.approx(1 / 8, rel=0.1)
    dims = torch.corrcoef(codes.T) - torch.eye(64)
    assert dims.abs().max() < 0.15


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(60, 3000), st.integers(0, 99))
def test_ids_are_unique_and_in_range(num_tracks, id_range, seed):
    config = TrackConfig(id_range=id_range)
    ids = draw_ids(3, num_tracks, config, torch.Generator().manual_seed(seed))
    assert ids.shape == (3, num_tracks)
    assert ids.min() >= 0
    assert ids.max() < id_range
    for row in ids:
        assert len(row.unique()) == num_tracks
    assert torch.equal(ids, draw_ids(3, num_tracks, config, torch.Generator().manual_seed(seed)))


def test_the_place_in_the_list_says_nothing_about_the_id():
    ids = torch.cat([draw_ids(8, 40, TrackConfig(), torch.Generator().manual_seed(n)) for n in range(40)])
    place = torch.arange(40).expand_as(ids)
    correlation = torch.corrcoef(torch.stack([place.flatten().double(), ids.flatten().double()]))[0, 1]
    assert abs(correlation) < 0.05
    assert ids.double().mean() == pytest.approx(50_000, rel=0.02)


def test_more_tracks_than_ids_are_refused():
    with pytest.raises(ValueError, match="11 tracks need ids from a range of 10"):
        draw_ids(1, 11, TrackConfig(id_range=10), torch.Generator())
    assert len(draw_ids(1, 10, TrackConfig(id_range=10), torch.Generator())[0].unique()) == 10
