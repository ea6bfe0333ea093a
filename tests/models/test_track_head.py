"""The track head at pixel time: each latent sees exactly the frames it covers."""

import pytest
import torch

from motionstream.config import TrackConfig
from motionstream.models.track_head import TrackHead


def head(t_stride: int = 4, **settings) -> TrackHead:
    made = TrackHead(TrackConfig(code_dim=3, channels=5, **settings), t_stride)
    with torch.no_grad():
        made.conv.weight.copy_(torch.randn(made.conv.weight.shape, generator=torch.Generator().manual_seed(0)))
    return made


def track_map(T: int) -> torch.Tensor:
    return torch.randn(2, T, 3, 2, 4, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("pad", ["repeat", "zero"])
@pytest.mark.parametrize("t_stride", [4, 2])
def test_a_latent_sees_its_own_frames_alone(pad, t_stride):
    made, T = head(t_stride, first_pad=pad), 3 * t_stride + 1
    plain = made(track_map(T))
    assert plain.shape == (2, 4, 5, 2, 4)
    for t in range(T):
        changed = track_map(T)
        changed[:, t] += 1
        moved = (made(changed) - plain).abs().amax((0, 2, 3, 4)) > 1e-6
        assert moved.nonzero().flatten().tolist() == [(t + t_stride - 1) // t_stride]


@torch.no_grad()
def test_first_latent_by_pad_mode():
    maps = track_map(1)
    weight = head().conv.weight[..., 0, 0, 0].unflatten(1, (4, 3))  # (channels, frame, code)
    repeated = torch.einsum("otd,bdhw->bohw", weight, maps[:, 0])
    alone = torch.einsum("od,bdhw->bohw", weight[:, 3], maps[:, 0])
    torch.testing.assert_close(head(first_pad="repeat")(maps)[:, 0], repeated, atol=1e-5, rtol=0)
    torch.testing.assert_close(head(first_pad="zero")(maps)[:, 0], alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("pad", ["repeat", "zero"])
def test_chunk_by_chunk_equals_whole(pad):
    made, whole = head(first_pad=pad), track_map(33)
    parts = [made(whole[:, :9]), made(whole[:, 9:21], first=False), made(whole[:, 21:], first=False)]
    torch.testing.assert_close(torch.cat(parts, 1), made(whole))


@torch.no_grad()
def test_an_empty_map_says_nothing_unless_there_is_a_bias():
    empty = torch.zeros(1, 9, 3, 2, 2)
    assert head()(empty).abs().max() == 0
    assert head(head_bias=True)(empty).abs().max() > 0
