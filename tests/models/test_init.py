"""The matching heads at nano's width: before any training, a point in a later frame finds its place in frame 0."""

from dataclasses import replace

import pytest
import torch

from motionstream.config import TrackConfig
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.init import init_from_scratch, init_matching_heads, init_recoded
from motionstream.models.load import save_weights
from motionstream.models.motion import track_latents
from motionstream.nn.attention import attention_reference
from motionstream.nn.rope import rotary_table, rotate
from motionstream.presets import nano, tiny_debug
from motionstream.tracks.origin import make_ids

FRAMES = 9  # three latent frames


IDS = TrackConfig(code="gaussian", splat="bilinear", channels=64, first_pad="repeat")


def made(tracks: TrackConfig, num_layers: int = 1) -> WanDiT:
    torch.manual_seed(0)
    model = WanDiT(replace(nano().model, num_layers=num_layers, tracks=tracks)).eval()
    init_from_scratch(model)
    init_matching_heads(model)
    return model


@pytest.fixture(scope="module", params=[IDS, nano().model.tracks], ids=["ids", "origin"])
def matched(request) -> WanDiT:
    return made(request.param)


def moving_patch(
    tracks: TrackConfig, cells: tuple[float, float] = (4.0, 3.0)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """5 x 5 cells of tracks around cell (3, 4) rest until frame 4 and have moved by ``cells`` in frames 5-8.

    Every other cell has a track in frame 0 alone, as when streaming.
    """
    geometry, stride = nano().geometry, nano().geometry.stride
    y, x = torch.meshgrid(torch.arange(geometry.latent_height), torch.arange(geometry.latent_width), indexing="ij")
    home = (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
    held = ((y >= 1) & (y < 6) & (x >= 2) & (x < 7)).reshape(-1)
    far = home + held[:, None] * torch.tensor(cells) * stride
    xy = torch.stack([home] * 5 + [far] * 4)[None]
    visible = held.expand(1, 9, -1).clone()
    visible[:, 0] = True
    assert (far < torch.tensor([geometry.width, geometry.height])).all()
    return xy, visible, make_ids(xy, visible, tracks, torch.Generator().manual_seed(3))


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
def found(model: WanDiT, cells: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of layer 0 of the last latent's cells, ``(A, P, F, P)``, with the moved patch's tracks and without."""
    config, geometry = model.config, nano().geometry
    rows, columns = geometry.latent_height, geometry.latent_width
    motion = track_latents(model, geometry, *moving_patch(config.tracks, cells))
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(1, 1, config.latent_channels, rows, columns, generator=generator)
    noisy = torch.randn(1, 3, config.latent_channels, rows, columns, generator=generator)
    condition = Condition(first, motion, model.embed_text(torch.zeros(1, config.text_len, config.text_dim)))
    told, blind = (attention_weights(model, c, noisy) for c in (condition, condition.without_motion()))
    P = rows * columns
    return tuple(weights[:, 2 * P :].unflatten(2, (3, P)) for weights in (told, blind))


def strongest(weights: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Row and column of the strongest key of a cell, which must be of frame 0, for each head: ``(A, 2)``."""
    columns = nano().geometry.latent_width
    best = weights[:, row * columns + column].flatten(1).argmax(1)
    return torch.stack([best // columns, best % columns], 1)  # beyond the grid: a later frame


def test_a_moved_point_attends_to_where_it_was():
    told, blind = found(made(IDS), (4.0, 3.0))
    hits = torch.stack(
        [(strongest(told, y + 3, x + 4) == torch.tensor([y, x])).all(1) for y in range(1, 6) for x in range(2, 7)]
    )
    share = hits.float().mean(0)
    assert share.min() >= 0.9, f"share of moved cells whose strongest key is their own frame-0 cell, by head: {share}"
    # Without codes nothing can be found.
    assert (strongest(blind, 6, 8) != torch.tensor([3, 4])).any(1).all()


def test_codes_of_places_fetch_the_four_cells_that_a_moved_cell_comes_from():
    """Moved by half a cell each way, a cell shows the corners of four; each head finds another of them."""
    told, blind = found(made(nano().model.tracks), (4.5, 2.5))
    corners = {(dy, dx) for dy in (-1, 0) for dx in (-1, 0)}
    for y in range(2, 5):
        for x in range(3, 6):  # inside, where every cell around is told the same
            # Cell (y + 3, x + 5) has its upper left corner in the middle of cell (y, x)
            best = strongest(told, y + 3, x + 5)
            assert {(int(r) - y - 1, int(c) - x - 1) for r, c in best} == corners, (y, x, best)
    assert (strongest(blind, 6, 9) != torch.tensor([3, 4])).any(1).all()


def test_codes_of_places_need_room_in_the_track_latents():
    with pytest.raises(ValueError, match="56 are needed"):
        made(replace(nano().model.tracks, channels=48))


def test_weights_of_other_codes_keep_what_does_not_read_them(tmp_path):
    before = made(IDS, num_layers=2)
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.01)
    save_weights(tmp_path / "teacher.safetensors", before, dtype=torch.float32)
    after = WanDiT(replace(nano().model, num_layers=2)).eval()
    init_recoded(after, tmp_path / "teacher.safetensors")
    old, new, fresh = before.state_dict(), after.state_dict(), made(nano().model.tracks, 2).state_dict()
    for name, value in new.items():
        if name.startswith(("track_head.", "blocks.0.self_attn.q.", "blocks.0.self_attn.k.")):
            torch.testing.assert_close(value, fresh[name])
        elif name == "patch_embedding.weight":
            torch.testing.assert_close(value[:, :-64], old[name][:, :-64])
            torch.testing.assert_close(value[:, -64:], fresh[name][:, -64:])
        elif not name.startswith("blocks.0.self_attn.norm"):
            torch.testing.assert_close(value, old[name])
    with pytest.raises(ValueError, match="another architecture"):
        init_recoded(WanDiT(replace(nano().model, num_layers=3)), tmp_path / "teacher.safetensors")


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
