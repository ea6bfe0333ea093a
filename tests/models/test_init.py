"""The matching heads at nano's width: before any training, a point in a later frame finds its code in frame 0."""

from dataclasses import replace

import pytest
import torch

from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.init import init_from_scratch, init_matching_heads
from motionstream.models.motion import track_latents
from motionstream.nn.attention import attention_reference
from motionstream.nn.rope import rotary_table, rotate
from motionstream.presets import nano, tiny_debug
from motionstream.tracks.codes import draw_ids

FRAMES = 9  # three latent frames


@pytest.fixture(scope="module")
def matched() -> WanDiT:
    config = nano().model
    torch.manual_seed(0)
    model = WanDiT(replace(config, num_layers=1)).eval()
    init_from_scratch(model)
    init_matching_heads(model)
    return model


def moving_patch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """5 x 5 cells of tracks around cell (3, 4) rest until frame 4 and are 4 cells right, 3 down in frames 5-8."""
    geometry, stride = nano().geometry, nano().geometry.stride
    y, x = torch.meshgrid(torch.arange(1, 6), torch.arange(2, 7), indexing="ij")
    home = (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
    far = home + torch.tensor([4.0, 3.0]) * stride
    xy = torch.stack([home] * 5 + [far] * 4)[None]
    assert (far < torch.tensor([geometry.width, geometry.height])).all()
    ids = draw_ids(1, len(home), nano().model.tracks, torch.Generator().manual_seed(3))
    return xy, torch.ones(xy.shape[:3], dtype=torch.bool), ids


@torch.no_grad()
def attention_weights(model: WanDiT, condition: Condition, noisy: torch.Tensor) -> torch.Tensor:
    """Weights ``(A, L, L)`` of layer 0, read out with one-hot values through the block's own projections."""
    caught = {}
    attn = model.blocks[0].self_attn
    hooks = [
        attn.norm_q.register_forward_hook(lambda m, a, out: caught.update(q=out)),
        attn.norm_k.register_forward_hook(lambda m, a, out: caught.update(k=out)),
    ]
    predict(model, noisy, torch.full(noisy.shape[:2], 0.9), condition)
    for hook in hooks:
        hook.remove()
    F, rows, columns = noisy.shape[1], *noisy.shape[3:]
    table = rotary_table(torch.arange(F), rows, columns, model.config.head_dim)
    q, k = (rotate(caught[n].unflatten(-1, (model.config.num_heads, -1)), table) for n in "qk")
    L = q.shape[1]
    one_hot = torch.eye(L)[None, :, None].expand(1, L, q.shape[2], L)
    return attention_reference(q, k, one_hot)[0].transpose(0, 1)


@torch.no_grad()
def test_a_moved_point_attends_to_where_it_was(matched):
    config, geometry = matched.config, nano().geometry
    rows, columns = geometry.latent_height, geometry.latent_width
    motion = track_latents(matched, geometry, *moving_patch())
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(1, 1, config.latent_channels, rows, columns, generator=generator)
    noisy = torch.randn(1, 3, config.latent_channels, rows, columns, generator=generator)
    condition = Condition(first, motion, matched.embed_text(torch.zeros(1, config.text_len, config.text_dim)))
    weights = attention_weights(matched, condition, noisy).unflatten(2, (3, rows * columns))
    hits = []
    for y in range(1, 6):
        for x in range(2, 7):
            home, now = y * columns + x, (y + 3) * columns + x + 4
            found = weights[:, 2 * rows * columns + now]  # (A, F, P): all four heads, moved cell in the last latent
            hits.append(found.flatten(1).argmax(1) == home)
    hits = torch.stack(hits).float().mean(0)
    assert hits.min() >= 0.9, f"share of moved cells whose strongest key is their own frame-0 cell, by head: {hits}"
    # Without codes nothing can be found.
    blind = attention_weights(matched, condition.without_motion(), noisy)[:, 2 * rows * columns + 6 * columns + 8]
    assert (blind.argmax(1) != 3 * columns + 4).all()


@torch.no_grad()
def test_scratch_output_is_the_repeated_picture(matched):
    config = matched.config
    first = torch.randn(1, 1, config.latent_channels, 3, 4)
    condition = Condition(first, None, matched.embed_text(torch.zeros(1, config.text_len, config.text_dim)))
    made = predict(matched, torch.randn(1, 3, config.latent_channels, 3, 4), torch.full((1, 3), 0.9), condition)
    assert torch.equal(made.x0, first.expand_as(made.x0))


def test_initialisation_follows_its_seed():
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        models.append(WanDiT(tiny_debug().model))
        init_from_scratch(models[-1], seed)
    one, same, other = (m.blocks[0].ffn[0].weight for m in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_heads": 2}, "one head per packed frame"),
        ({"patch": 2}, "patch=1"),
        ({"first_frame": "concat", "prediction": "velocity"}, "first_frame='repeat'"),
        ({"dim": 128}, "too narrow"),
        ({"num_heads": 16}, "slow rotary dims"),
    ],
)
def test_models_that_cannot_hold_the_heads_are_refused(settings, words):
    model = WanDiT(replace(nano().model, num_layers=1, **settings))
    with pytest.raises(ValueError, match=words):
        init_matching_heads(model)
