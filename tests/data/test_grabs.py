"""Pictures that are pulled about: what is held moves as one, what is not shows its code once."""

import pytest
import torch

from motionstream.data import grabs as module
from motionstream.data.grabs import BLUR_CELLS, grab_batch
from motionstream.models.text import HashedWords
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes

FRAMES = 21


@pytest.fixture(scope="module")
def vae() -> NanoVAE:
    preset = tiny_debug()
    vae = NanoVAE(preset.vae)
    vae.fit_linear(random_planes(preset, 500))
    return vae


def grabs(vae: NanoVAE, seed: int = 0, **more):
    return grab_batch(
        16, tiny_debug(), vae, FRAMES, seed, torch.device("cpu"), object_px=(10.0, 20.0), speed_px=12.0, **more
    )


def test_the_picture_stands_still_and_every_code_is_shown_in_it(vae):
    batch = grabs(vae)
    assert batch.latents.shape == (16, 6, 4, 4, 6)
    assert batch.moving.shape == (16, 6, 1, 4, 6)
    torch.testing.assert_close(batch.latents[:, 2:], batch.latents[:, 1:2].expand(-1, 4, -1, -1, -1), atol=1e-4, rtol=1e-4)
    assert batch.visible[:, 0].all()
    assert batch.ids.shape == batch.xy.shape[::2]
    pictures = batch.latents[:, 0].flatten(1)
    assert torch.pdist(pictures).min() > 0.1, "sixteen different ones"


def test_what_is_held_moves_in_one_or_two_pieces_and_the_rest_does_not(vae):
    batch = grabs(vae)
    ways = batch.xy - batch.xy[:, :1]
    moved = ways.abs().amax((1, 3)) > 0
    for way in ways:
        kinds = torch.unique(way.transpose(0, 1).flatten(1).mul(100).round(), dim=0)
        assert 1 <= len(kinds) <= 3, "standing still, the one disc, the other"
    assert moved.any(1).float().mean() > 0.7, "in most pictures something is pulled"
    shown = batch.visible[:, 1:].any(1)
    assert not (shown & ~moved)[moved.any(1)].any(), "what rests is not shown beside what moves"


def test_points_outside_of_the_picture_are_not_shown(vae):
    batch = grabs(vae, seed=3)
    inside = ((batch.xy >= 0) & (batch.xy < torch.tensor([48.0, 32.0]))).all(-1)
    assert not (batch.visible & ~inside).any()


def test_prompts_say_nothing_of_motion_and_nothing_of_a_photo(vae, monkeypatch):
    told = []
    monkeypatch.setattr(HashedWords, "__call__", lambda self, prompts: told.extend(prompts) or torch.zeros(16, 8, 16))
    grabs(vae)
    assert 3 <= told.count("") <= 13, "photos"
    assert not any(word in prompt for prompt in told for word in ("moves", "stays", "camera"))


def test_everything_follows_from_the_seed(vae):
    one, same, other = grabs(vae), grabs(vae), grabs(vae, seed=1)
    for name in ("latents", "text", "xy", "visible", "ids"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("blur", [1, BLUR_CELLS])
def test_what_may_change_is_what_was_pulled_and_what_lies_close(vae, blur):
    batch = grabs(vae, blur_cells=blur)
    assert not batch.moving[:, 0].any(), "at first nothing was pulled"
    assert (batch.moving[:, 1:] >= batch.moving[:, :-1]).all(), "what was pulled once may stay changed"
    stirred = (batch.xy - batch.xy[:, :1]).norm(dim=-1).amax(1) > 0.5
    assert stirred.any(1).sum() > 10
    for b, (where, moved) in enumerate(zip(batch.xy, stirred, strict=True)):
        cells = (where[::4, moved] / 8).floor().long()  # at the latent frames' last pixel frames
        for place in (cells[-1], cells[0]):
            inside = place[((place >= 0) & (place < torch.tensor([6, 4]))).all(-1)]
            assert (batch.moving[b, -1, 0][inside[:, 1], inside[:, 0]] == 1).all()
        grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"), -1).flip(-1).reshape(-1, 1, 2)
        swept = (where[:, moved] / 8).floor().long().reshape(1, -1, 2)
        if swept.shape[1]:
            away = (grid - swept).abs().amax(-1).amin(1).reshape(4, 6)  # cells between, diagonals count as one
            assert not batch.moving[b, -1, 0][away > blur].any()
            assert batch.moving[b, -1, 0][away <= blur].float().mean() > 0.4
        else:
            assert not batch.moving[b].any()


def test_every_cell_of_the_picture_has_its_point(vae):
    """What is held begins there too: it is pulled from where the picture shows it."""
    cell = (grabs(vae).xy[:, 0] / 8).floor().long()
    assert torch.equal(cell[..., 1] * 6 + cell[..., 0], torch.arange(24).expand(16, -1))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_is_a_photo_that_has_no_prompt(vae, monkeypatch, share):
    told = []
    monkeypatch.setattr(module, "P_PHOTO", share)
    monkeypatch.setattr(HashedWords, "__call__", lambda self, prompts: told.extend(prompts) or torch.zeros(16, 8, 16))
    grabs(vae)
    assert [not prompt for prompt in told] == [share == 1.0] * 16


def test_around_what_was_pulled_it_fades_and_nothing_is_known_of_the_rest(vae):
    batch = grabs(vae)
    assert batch.moving.unique().tolist() == [0.0, 0.5, 1.0]
    assert batch.sweeps is None
    assert not batch.uncovered.any()
    assert not batch.resting.any()


def test_a_larger_picture_is_pulled_about_in_larger_pieces():
    ways = torch.zeros(64, 1, 2, 2)
    small, large = (
        module._pulled(ways, (24, 32), (96, 128), scale, torch.Generator().manual_seed(0))[1].float().mean()
        for scale in (1.0, 2.0)
    )
    assert large > 1.5 * small


def test_what_jumps_away_uncovers_its_home():
    xy = torch.tensor([4.0, 4.0]).repeat(1, 5, 1, 1)
    xy[0, 1:, 0] = torch.tensor([44.0, 28.0])
    swept = module._swept(xy, torch.ones(1, 1, dtype=torch.bool), (4, 6), (32, 48), 4, 1)
    assert not swept[0, 0].any()
    wanted = torch.zeros(4, 6)
    wanted[:2, :2] = wanted[2:, 4:] = 1
    assert torch.equal(swept[0, 1, 0], wanted)
