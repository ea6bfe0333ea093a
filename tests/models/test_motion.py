from dataclasses import replace

import pytest
import torch

from motionstream.models.dit import WanDiT
from motionstream.models.motion import track_latents
from motionstream.presets import tiny_debug
from motionstream.tracks.codes import draw_ids

GEOMETRY = tiny_debug().geometry


def case(T: int, N: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(2, T, N, 2, generator=generator) * torch.tensor([GEOMETRY.width, GEOMETRY.height])
    return xy, torch.ones(2, T, N, dtype=torch.bool), draw_ids(2, N, tiny_debug().model.tracks, generator)


@torch.no_grad()
def test_chunks_of_tracks_equal_the_whole():
    model = WanDiT(tiny_debug().model)
    xy, visible, ids = case(21)
    whole = track_latents(model, GEOMETRY, xy, visible, ids)
    assert whole.shape == (2, 6, 8, 4, 6)
    head = track_latents(model, GEOMETRY, xy[:, :9], visible[:, :9], ids)
    tail = track_latents(model, GEOMETRY, xy[:, 9:], visible[:, 9:], ids, first=False)
    torch.testing.assert_close(torch.cat([head, tail], 1), whole)


@torch.no_grad()
def test_tracks_that_are_hidden_say_nothing_and_their_order_is_free():
    model = WanDiT(tiny_debug().model)
    xy, visible, ids = case(9)
    assert track_latents(model, GEOMETRY, xy, ~visible, ids).abs().max() == 0
    order = torch.tensor([2, 0, 3, 1])
    shuffled = track_latents(model, GEOMETRY, xy[:, :, order], visible, ids[:, order])
    torch.testing.assert_close(shuffled, track_latents(model, GEOMETRY, xy, visible, ids), atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("first", [True, False])
def test_a_chunk_without_any_track(first):
    T = 9 if first else 12
    empty = torch.zeros(1, T, 0, 2), torch.zeros(1, T, 0, dtype=torch.bool), torch.zeros(1, 0, dtype=torch.int64)
    out = track_latents(WanDiT(tiny_debug().model), GEOMETRY, *empty, first=first)
    assert torch.equal(out, torch.zeros(1, 3, 8, 4, 6))


def test_a_model_without_a_track_head_has_none():
    config = tiny_debug().model
    assert track_latents(WanDiT(replace(config, tracks=replace(config.tracks, channels=0))), GEOMETRY, *case(9)) is None
