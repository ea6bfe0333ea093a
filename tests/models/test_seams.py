"""Seams between cells: a mosaic becomes smooth; edges, texture, slopes, and what has not changed stay as they are."""

import pytest
import torch
from torch import Tensor

from motionstream.models.seams import smooth_seams

SIDE, ROWS, COLUMNS, STRIDE = 8, 3, 4, 4


def cells(values: Tensor) -> Tensor:
    """Brightness of each cell ``(h, w)`` -> one frame ``(1, 1, 3, H, W)``."""
    return values.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1).expand(1, 1, 3, -1, -1).clone()


def smoothed(video: Tensor, changed: float = 1.0) -> Tensor:
    first = torch.zeros(1, 2, ROWS, COLUMNS)
    return smooth_seams(video, first[:, None] + changed, first, STRIDE)


def mosaic() -> Tensor:
    return cells(0.5 + 0.04 * torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)))


def steps(video: Tensor) -> tuple[float, float]:
    """Largest step across a seam, and within cells, from column to column."""
    step = video.diff(dim=-1).abs()
    seam = torch.arange(step.shape[-1]) % SIDE == SIDE - 1
    return float(step[..., seam].max()), float(step[..., ~seam].max())


def test_a_mosaic_becomes_smooth_and_keeps_its_brightness():
    video = mosaic()
    assert steps(video)[1] == 0
    across, within = steps(smoothed(video))
    assert across < 0.5 * steps(video)[0]
    assert within < 0.2 * steps(video)[0]
    assert float(smoothed(video).mean()) == pytest.approx(float(video.mean()), abs=2e-3)


def test_rows_and_columns_are_alike():
    square = cells(0.5 + 0.04 * torch.rand(3, 3, generator=torch.Generator().manual_seed(0)))
    first = torch.zeros(1, 2, 3, 3)
    one = smooth_seams(square, first[:, None] + 1, first, STRIDE)
    other = smooth_seams(square.transpose(-1, -2), first[:, None] + 1, first, STRIDE).transpose(-1, -2)
    torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


def test_what_has_not_changed_stays():
    video = mosaic()
    assert torch.equal(smoothed(video, changed=0.0), video)
    first = torch.zeros(1, 2, ROWS, COLUMNS)
    latents = first[:, None].clone()
    latents[..., :, 0] = 1.0  # the first column of cells is another one now
    made = smooth_seams(video, latents, first, STRIDE)
    assert not torch.equal(made[..., : 2 * SIDE], video[..., : 2 * SIDE])
    assert torch.equal(made[..., 2 * SIDE + SIDE // 2 :], video[..., 2 * SIDE + SIDE // 2 :])


def test_left_and_right_and_up_and_down_are_alike():
    """With texture on one side of the seams alone."""
    video = mosaic()
    noise = 0.05 * torch.rand(video.shape, generator=torch.Generator().manual_seed(2))
    cell = torch.arange(COLUMNS * SIDE) // SIDE
    video = torch.where(cell % 2 == 1, video + noise, video)
    for axis in (-1, -2):
        torch.testing.assert_close(smoothed(video.flip(axis)), smoothed(video).flip(axis), atol=1e-5, rtol=0)
    assert (smoothed(video) - video).abs().max() > 6e-3


def test_a_change_of_one_channel_either_way_counts():
    first = torch.zeros(1, 6, ROWS, COLUMNS)
    for channel, value in ((0, 1.0), (5, -1.0)):
        latents = first[:, None].clone()
        latents[:, :, channel] = value
        assert torch.equal(smooth_seams(mosaic(), latents, first, STRIDE), smoothed(mosaic()))
    pair, first = cells(torch.tensor([[0.5, 0.54]])), torch.zeros(1, 2, 1, 2)
    for side in (0, 1):  # what one of two cells shows is enough
        latents = first[:, None].clone()
        latents[..., side] = 1.0
        made = smooth_seams(pair, latents, first, STRIDE)
        assert 0.001 < made[..., SIDE - 1].mean() - 0.5 < 0.54 - made[..., SIDE].mean() + 1e-4 < 0.03
    assert smoothed(mosaic().bfloat16()).dtype == torch.bfloat16


def test_a_slope_has_no_seams():
    slope = torch.linspace(0.2, 0.8, COLUMNS * SIDE).expand(1, 1, 3, ROWS * SIDE, -1)
    torch.testing.assert_close(smoothed(slope), slope, atol=1e-4, rtol=0)


def test_an_edge_of_the_picture_stays():
    values = torch.full((ROWS, COLUMNS), 0.2)
    values[:, 2:] = 0.8
    assert torch.equal(smoothed(cells(values)), cells(values))


def test_texture_is_hardly_touched():
    noise = 0.15 * torch.rand(1, 1, 3, ROWS * SIDE, COLUMNS * SIDE, generator=torch.Generator().manual_seed(1))
    video = 0.5 + noise
    assert (smoothed(video) - video).abs().mean() < 0.2 * (noise - noise.mean()).abs().mean()


def test_one_cell_has_no_seams():
    video = torch.rand(1, 1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    first = torch.zeros(1, 2, 1, 1)
    assert torch.equal(smooth_seams(video, first[:, None] + 1, first, STRIDE), video)


def test_frames_go_with_their_latents():
    """Five frames of two latent ones: the first alone, then four."""
    frame = mosaic()
    first = torch.zeros(1, 2, ROWS, COLUMNS)
    latents = torch.stack([first, first + 1], dim=1)
    made = smooth_seams(frame.expand(1, 5, -1, -1, -1), latents, first, STRIDE)
    assert torch.equal(made[:, :1], frame)
    for t in range(1, 5):
        assert torch.equal(made[:, t], smoothed(frame)[:, 0])


def test_cells_of_two_pixels():
    video = torch.rand(1, 1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    assert smoothed(video).isfinite().all()


def test_gradients_pass_and_what_was_given_stays_as_it_was():
    """A loss on pictures trains through it (train/pictures.py); what one side of a seam is given, the other gives."""
    video = mosaic().requires_grad_()
    before = video.detach().clone()
    smoothed(video).sum().backward()
    assert torch.equal(video.detach(), before)
    torch.testing.assert_close(video.grad.mean(), torch.ones(()), atol=0.01, rtol=0)
    numbers = torch.autograd.gradcheck(
        lambda one: smoothed(one.float()).double()[..., 4:12, 4:12],
        video.detach().double().requires_grad_(),
        eps=1e-3,
        atol=0.05,
    )
    assert numbers
