"""One transformer for everything: sizes come from the configuration, and every input reaches the output."""

from dataclasses import replace

import pytest
import torch

from motionstream.config import CacheConfig, TrackConfig
from motionstream.models.dit import Condition, WanDiT
from motionstream.nn.masks import chunk_mask
from motionstream.nn.rope import rotary_table

SIZES = [
    {"dim": 24, "num_heads": 2, "patch": 1},
    {"dim": 32, "num_heads": 4, "patch": 2, "latent_channels": 6, "num_layers": 3, "ffn_dim": 20, "text_len": 5},
    {"first_frame": "concat", "tracks": TrackConfig(channels=0)},
    {"first_frame": "none", "text_dim": 5, "freq_dim": 8},
]


def noisy_for(model: WanDiT, F: int, grid=(2, 4), batch: int = 1, seed: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, F, model.config.latent_channels, *grid, generator=generator)


def run(model: WanDiT, noisy: torch.Tensor, condition: Condition, level: float = 500.0, **kwargs) -> torch.Tensor:
    timestep = torch.full(noisy.shape[:2], level)
    return model(model.assemble(noisy, condition), timestep, condition.text, **kwargs)


@torch.no_grad()
@pytest.mark.parametrize("settings", SIZES)
@pytest.mark.parametrize("grid", [(2, 4), (6, 2)])
@pytest.mark.parametrize(("batch", "F"), [(1, 1), (2, 3)])
def test_any_size_gives_latents_of_the_same_shape(make_model, condition_for, settings, grid, batch, F):
    model = make_model(**settings)
    noisy = noisy_for(model, F, grid, batch)
    out = run(model, noisy, condition_for(model, F, grid, batch))
    assert out.shape == noisy.shape
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert out.std() > 0.01


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix(make_model, condition_for):
    model = make_model()
    noisy, condition = noisy_for(model, 3, batch=2), condition_for(model, 3, batch=2)
    both = run(model, noisy, condition)
    text = [(k[:1], v[:1]) for k, v in condition.text]
    alone = run(model, noisy[:1], Condition(condition.first_latent[:1], condition.track_latents[:1], text))
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("first_frame", ["concat", "repeat"])
def test_every_condition_reaches_the_output(make_model, condition_for, first_frame):
    model = make_model(first_frame=first_frame)
    noisy, condition = noisy_for(model, 3), condition_for(model, 3)
    plain = run(model, noisy, condition)
    other = condition_for(model, 3, seed=1)
    for change in ({"text": other.text}, {"track_latents": other.track_latents}, {"first_latent": other.first_latent}):
        assert (run(model, noisy, replace(condition, **change)) - plain).abs().max() > 1e-2, change.keys()
    assert (run(model, noisy, condition.without_motion()) - plain).abs().max() > 1e-2
    nothing = replace(condition, track_latents=None)
    assert torch.equal(run(model, noisy, nothing), run(model, noisy, condition.without_motion()))
    assert torch.equal(
        run(model, noisy, replace(condition, text=other.text)), run(model, noisy, replace(condition, text=other.text))
    )


@torch.no_grad()
def test_every_frame_has_its_own_timestep(make_model, condition_for):
    model = make_model()
    noisy, condition = noisy_for(model, 3), condition_for(model, 3)
    x = model.assemble(noisy, condition)
    own = chunk_mask(3, 8, CacheConfig(chunk_frames=1, sink_chunks=0, window_chunks=0))  # frames see themselves only
    plain = model(x, torch.tensor([[100.0, 500.0, 900.0]]), condition.text, mask=own)
    moved = model(x, torch.tensor([[100.0, 510.0, 900.0]]), condition.text, mask=own)
    change = (plain - moved).abs().amax((0, 2, 3, 4))
    assert (change > 1e-4).tolist() == [False, True, False]


@torch.no_grad()
def test_bidirectional_without_a_mask_and_causal_with_one(make_model, condition_for):
    model, cache = make_model(), CacheConfig(chunk_frames=2, sink_chunks=1, window_chunks=1)
    noisy, condition = noisy_for(model, 6), condition_for(model, 6)
    later = noisy.clone()
    later[:, 4:] += 1
    mask = chunk_mask(6, 8, cache)
    free = (run(model, noisy, condition) - run(model, later, condition)).abs().amax((0, 2, 3, 4))
    masked = (run(model, noisy, condition, mask=mask) - run(model, later, condition, mask=mask)).abs().amax((0, 2, 3, 4))
    assert (free > 1e-5).all()
    assert (masked > 1e-6).tolist() == [False] * 4 + [True] * 2


@torch.no_grad()
def test_absolute_frames_are_the_default_positions(make_model, condition_for):
    model = make_model()
    noisy, condition = noisy_for(model, 3), condition_for(model, 3)
    plain = run(model, noisy, condition)
    shifted = run(model, noisy, condition, table=rotary_table(torch.arange(3) + 50, 2, 4, 12))
    torch.testing.assert_close(plain, shifted, atol=1e-5, rtol=0)  # a common shift of time is invisible
    spread = run(model, noisy, condition, table=rotary_table(torch.arange(3) * 5, 2, 4, 12))
    assert (plain - spread).abs().max() > 1e-3


def test_the_picture_is_marked_at_frame_0_alone(make_model, condition_for):
    model = make_model(first_frame="repeat")
    C, condition, noisy = 4, condition_for(model, 3), noisy_for(model, 3)
    x, later = model.assemble(noisy, condition), model.assemble(noisy, condition, start=3)
    assert x.shape[2] == model.config.in_channels == later.shape[2]
    assert torch.equal(x[:, :, :C], noisy)
    assert torch.equal(x[:, :1, C : 2 * C], condition.first_latent)
    assert x[:, :, 2 * C].amax((0, 2, 3)).tolist() == [1, 0, 0]
    assert x[:, 1:, C : 2 * C + 1].abs().max() == 0
    assert later[:, :, C : 2 * C + 1].abs().max() == 0
    assert torch.equal(x[:, :, -4:], condition.track_latents)
    repeated = condition.first_latent.expand(-1, 3, -1, -1, -1)
    assert torch.equal(x[:, :, 2 * C + 1 : 3 * C + 1], repeated)
    assert torch.equal(later[:, :, 2 * C + 1 : 3 * C + 1], repeated)


def wan_mask(T: int, h: int, w: int) -> torch.Tensor:
    """Wan's own packing: pixel frames 1 0 0 ..., the first four times, four of them to a latent frame."""
    pixel = torch.zeros(1, T, h, w)
    pixel[:, 0] = 1
    return torch.cat([pixel[:, :1].repeat_interleave(4, 1), pixel[:, 1:]], 1).view(1, -1, 4, h, w)


@pytest.mark.parametrize("after_picture", ["zero", "grey"])
def test_concat_is_the_form_of_wan_image_to_video(make_model, condition_for, after_picture):
    model = make_model(first_frame="concat", after_picture=after_picture)
    condition, noisy = condition_for(model, 5), noisy_for(model, 5)
    known = torch.randn(1, 3, 4, 2, 4, generator=torch.Generator().manual_seed(8))
    condition = replace(condition, picture_latents=known, first_latent=known[:, :1])
    rest = torch.zeros(1, 4, 4, 2, 4) if after_picture == "zero" else known[:, [1, 2, 2, 2]]
    wanted = torch.cat([noisy, wan_mask(17, 2, 4), torch.cat([known[:, :1], rest], 1), condition.track_latents], 2)
    assert torch.equal(model.assemble(noisy, condition), wanted)
    for start in (0, 2, 4):
        part = model.assemble(noisy[:, start : start + 1], condition.frames(start, start + 1), start)
        assert torch.equal(part, wanted[:, start : start + 1])
    if after_picture == "grey":
        with pytest.raises(ValueError, match=r"give Condition\.picture_latents"):
            model.assemble(noisy, replace(condition, picture_latents=None))


def test_a_model_that_needs_a_picture_says_so(make_model, condition_for):
    model = make_model()
    condition = replace(condition_for(model, 2), first_latent=None)
    with pytest.raises(ValueError, match="starts from a picture"):
        model.assemble(noisy_for(model, 2), condition)


@torch.no_grad()
def test_patches_return_to_their_places(make_model):
    """With identity weights through embedding and head, what goes in at a cell comes out at that cell."""
    model = make_model(latent_channels=4, patch=2, dim=24, first_frame="none", tracks=TrackConfig(channels=0))
    for weight in model.parameters():
        weight.zero_()
    order = [(c, p, q) for p in range(2) for q in range(2) for c in range(4)]
    for row, (c, p, q) in enumerate(order):
        model.patch_embedding.weight[row, c, 0, p, q] = 1
        model.head.head.weight[row, row] = 1
    model.head.norm = torch.nn.Identity()
    noisy = noisy_for(model, 2, (4, 6))
    out = run(model, noisy, Condition(None, None, model.embed_text(torch.zeros(1, 3, 8))))
    torch.testing.assert_close(out, noisy)
