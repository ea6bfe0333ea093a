"""Which tracks training shows: what moves is told, what is not told rests, and hiding has its rules."""

import dataclasses

import pytest
import torch

from motionstream.data.conditions import (
    ConditionConfig,
    _spilled,
    by_latent,
    changed_cells,
    choose_tracks,
    condition_batch,
    training_batch,
    widened,
)
from motionstream.data.render import Rendered, render
from motionstream.data.scenes import SceneConfig, sample_scenes
from motionstream.models.vae import NanoVAE
from motionstream.presets import nano, tiny_debug
from motionstream.tracks.origin import origins

PRESET = tiny_debug()
PLAIN = ConditionConfig(p_anchor=0.0, p_hide_resting=0.0, p_drop_motion=0.0, p_drop_text=0.0, max_tracks=10_000)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    config = SceneConfig(num_frames=33, height=32, width=48, object_px=(10.0, 20.0), speed_px=12.0)
    return render(sample_scenes(12, config, look_seed=0, motion_seed=0), grid=(12, 16))


def choose(rendered: Rendered, seed: int = 0, **settings) -> tuple[torch.Tensor, ...]:
    """xy, visible, ids, and for every chosen track its index in ``rendered``."""
    xy, visible, ids = choose_tracks(rendered, PRESET, dataclasses.replace(PLAIN, **settings), generator(seed))
    source = torch.cdist(xy.transpose(1, 2).flatten(2), rendered.xy.transpose(1, 2).flatten(2)).argmin(2)
    return xy, visible, ids, source


def speed_of(rendered: Rendered) -> torch.Tensor:
    """Largest step of each point, ``(B, N)``."""
    return (rendered.xy[:, 1:] - rendered.xy[:, :-1]).norm(dim=-1).amax(1)


def per_track(values: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """``(B, T, N)`` of the rendered points -> ``(B, T, n)`` of the chosen tracks."""
    return values.gather(2, source[:, None].expand(-1, values.shape[1], -1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dense", [False, True])
def test_everything_that_moves_has_a_track(rendered, seed, dense):
    _, visible, _, source = choose(rendered, seed, dense=dense)
    truth = per_track(rendered.visible, source)
    shown = visible.any(1)
    for b in range(len(visible)):
        for layer in range(-1, int(rendered.layer.max()) + 1):
            mine = rendered.layer[b] == layer
            if not mine.any() or speed_of(rendered)[b, mine].max() < 0.04:
                continue
            chosen = rendered.layer[b][source[b]] == layer
            assert (chosen & shown[b]).any(), f"sample {b}: layer {layer} moves and nothing tells"
    # A track that is shown at all is shown whenever its point can be seen.
    assert torch.equal(visible, truth & shown[:, None])


@pytest.mark.parametrize("seed", range(4))
def test_a_track_never_hides_while_its_point_moves(rendered, seed):
    _, visible, _, source = choose(rendered, seed, p_hide_resting=1.0, dense=True)
    truth = per_track(rendered.visible, source)
    step = torch.cat(
        [torch.zeros_like(rendered.xy[:, :1, :, 0]), (rendered.xy[:, 1:] - rendered.xy[:, :-1]).norm(dim=-1)], 1
    )
    step = per_track(step, source)
    awake = (step > 0.05) & truth & choose(rendered, seed, dense=True)[1].any(1)[:, None]  # the same draws, nothing hidden
    assert awake.sum() > 1000
    assert visible[awake].all()
    resting = (step < 0.03) & torch.roll(step < 0.03, 1, 1) & torch.roll(step < 0.03, -1, 1)
    inner = torch.zeros_like(resting)
    inner[:, 2:-2] = True
    assert not visible[resting & inner].any(), "and does hide while it rests"
    assert (truth & resting & inner).any()


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_what_never_moves_is_told_or_not_as_the_setting_says(rendered, p):
    xy, visible, _, source = choose(rendered, 5, p_still_untold=p)
    speed, layer = speed_of(rendered), rendered.layer
    fastest = {(b, int(of)): speed[b][layer[b] == of].max() for b in range(len(xy)) for of in layer[b].unique()}
    still = torch.tensor([[fastest[b, int(of)] < 0.04 for of in layer[b, source[b]]] for b in range(len(xy))])
    assert visible.any(1)[~still].any(), "what moves is told"
    assert bool(visible.any(1)[still].any()) == (p == 0)


def test_nothing_is_shown_that_cannot_be_seen(rendered):
    for settings in ({}, {"dense": True}, {"p_anchor": 1.0}, {"p_mask_chunk": 0.5}, {"p_hide_resting": 1.0}):
        _, visible, _, source = choose(rendered, **settings)
        assert not (visible & ~per_track(rendered.visible, source)).any(), settings


def test_a_point_that_comes_later_is_no_anchor():
    scene = SceneConfig(num_frames=17, height=32, width=48, p_sweep=1.0)
    rendered = render(sample_scenes(4, scene, look_seed=0, motion_seed=0), grid=(12, 16), p_late=1.0)
    _, visible, _, source = choose(rendered, p_anchor=1.0)
    truth = per_track(rendered.visible, source)
    assert (truth.any(1) & ~truth[:, 0]).any()
    assert not (visible & ~truth).any()


def test_dropped_motion_shows_nothing_at_all(rendered):
    _, visible, _, _ = choose(rendered, p_drop_motion=1.0, p_anchor=1.0)
    assert not visible.any()
    some = torch.cat([choose(rendered, seed, p_drop_motion=0.3)[1].any((1, 2)) for seed in range(12)])
    assert 0.55 < some.float().mean() < 0.85, "whole samples, at the rate asked for"


def test_anchors_show_in_frame_0_alone(rendered):
    _, without, _, source = choose(rendered, 3)
    _, visible, ids, again = choose(rendered, 3, p_anchor=1.0)
    truth = per_track(rendered.visible, again)
    assert torch.equal(visible[:, 0], truth[:, 0]), "every point of frame 0 shows its id"
    born = visible[:, 1:].any(1)
    tracked = torch.zeros_like(rendered.layer, dtype=torch.bool).scatter_(1, source, without[:, 1:].any(1))
    assert torch.equal(born, tracked.gather(1, again)), "later frames are as without anchors"
    assert (~born).sum() > 100
    assert len(ids[0].unique()) == ids.shape[1]


@pytest.mark.parametrize("seed", range(3))
def test_masked_chunks_are_whole_and_never_the_first(rendered, seed):
    _, plain, _, _ = choose(rendered, seed, dense=True)
    _, masked, _, _ = choose(rendered, seed, dense=True, p_mask_chunk=1.0)
    # Chunks of three latents: pixel frames 0-8, 9-20, 21-32.
    assert torch.equal(masked[:, :9].any(2), plain[:, :9].any(2))
    assert masked[:, :9].any()
    assert not masked[:, 9:].any()
    _, some, _, _ = choose(rendered, seed, dense=True, p_mask_chunk=0.5)
    for start, stop in ((9, 21), (21, 33)):
        seen = some[:, start:stop].any(2)
        assert (seen.all(1) | ~seen.any(1)).all()


def test_the_last_masked_chunk_may_be_cut_short(rendered):
    short = dataclasses.replace(rendered, xy=rendered.xy[:, :13], visible=rendered.visible[:, :13])
    shown = choose_tracks(short, PRESET, dataclasses.replace(PLAIN, dense=True, p_mask_chunk=1.0), generator())[1]
    assert shown[:, :9].any()
    assert not shown[:, 9:].any()


def test_numbers_of_tracks(rendered):
    xy, visible, ids, _ = choose(rendered, max_tracks=7)
    assert xy.shape == (12, 33, 7, 2)
    assert ids.shape == (12, 7)
    for most in (1, 5):
        counts = []
        for seed in range(6):
            _, visible, _, source = choose(rendered, seed, max_per_object=most)
            shown = visible.any(1)
            for layer in range(int(rendered.layer.max()) + 1):
                counts.append((shown & (rendered.layer.gather(1, source) == layer)).sum(1))
        assert torch.cat(counts).max() == most
    few = torch.cat([choose(rendered, seed)[1].any(1).sum(1) for seed in range(6)])
    many = choose(rendered, dense=True)[1].any(1).sum(1)
    assert many.float().mean() > 2 * few.float().mean()


def test_a_large_picture_keeps_four_tracks_for_every_three_cells():
    scene = SceneConfig(num_frames=5, height=32, width=48)
    dotted = render(sample_scenes(1, scene, look_seed=0, motion_seed=0), grid=(32, 40))
    for height, width, kept in ((32, 48, 256), (192, 256, 24 * 32 * 4 // 3)):
        preset = dataclasses.replace(PRESET, geometry=dataclasses.replace(PRESET.geometry, height=height, width=width))
        plain = dataclasses.replace(PLAIN, max_tracks=None)
        assert choose_tracks(dotted, preset, plain, generator())[2].shape[1] == kept


def fitted_vae() -> NanoVAE:
    vae = NanoVAE(PRESET.vae)
    vae.fit_linear(torch.rand(500, 3 * 4 * 64, generator=generator()))
    return vae


def test_batches_follow_their_seed_alone():
    vae, scene = fitted_vae(), SceneConfig(num_frames=9, height=32, width=48)

    def batch(seed: int):
        return training_batch(2, PRESET, vae, scene, ConditionConfig(p_mask_chunk=0.2), seed, torch.device("cpu"))

    torch.manual_seed(1)
    one = batch(5)
    torch.manual_seed(2)
    same, other = batch(5), batch(6)
    for name in ("latents", "text", "xy", "visible", "ids", "moving"):
        assert torch.equal(getattr(one, name), getattr(same, name)), name
    assert not torch.equal(one.latents, other.latents)
    assert not torch.equal(one.ids, other.ids)
    assert one.latents.shape == (2, 3, 4, 4, 6)
    assert one.moving.shape == (2, 3, 1, 4, 6)
    assert one.text.shape == (2, PRESET.model.text_len, PRESET.model.text_dim)
    assert set(one.moving.unique().tolist()) <= {0.0, 1.0}
    assert one.moving[:, 0].max() == 0, "frame 0 does not differ from itself"


def test_text_is_dropped_by_whole_prompts(rendered):
    vae = fitted_vae()
    kept = condition_batch(rendered, PRESET, vae, PLAIN, generator()).text
    dropped = condition_batch(rendered, PRESET, vae, dataclasses.replace(PLAIN, p_drop_text=1.0), generator()).text
    assert (kept.abs().amax((1, 2)) > 0).all()
    assert dropped.abs().max() == 0
    some = condition_batch(rendered, PRESET, vae, dataclasses.replace(PLAIN, p_drop_text=0.5), generator()).text
    for row, whole in zip(some, kept, strict=True):
        assert torch.equal(row, whole) or row.abs().max() == 0


def test_a_brush_lies_side_by_side(rendered):
    def spread(p_brush: float) -> float:
        settings = {"min_per_object": 6, "max_per_object": 6, "p_brush": p_brush}
        _, visible, _, source = choose(rendered, **settings)
        spreads = []
        for b in range(len(source)):
            layers = rendered.layer[b, source[b]]
            for layer in range(int(layers.max()) + 1):
                places = rendered.xy[b, 0, source[b][(layers == layer) & visible[b].any(0)]]
                if len(places) >= 4:
                    spreads.append(float(torch.cdist(places, places).mean()))
        assert len(spreads) > 8
        return sum(spreads) / len(spreads)

    assert spread(1.0) < 0.8 * spread(0.0)


def test_a_mask_is_averaged_over_what_a_latent_cell_shows(rendered):
    mask = torch.rand(2, 9, 1, 16, 24, generator=generator())
    small = by_latent(mask, 3, (4, 6))
    assert small.shape == (2, 3, 1, 4, 6)
    torch.testing.assert_close(small[0, 0, 0, 1, 2], mask[0, 0, 0, 4:8, 8:12].mean())
    torch.testing.assert_close(small[1, 2, 0, 3, 5], mask[1, 5:9, 0, 12:, 20:].mean())
    assert torch.equal(by_latent(mask[:, :1], 1, (4, 6)), small[:, :1])


def test_cells_have_changed_whichever_way_a_channel_did():
    latents = torch.full((1, 3, 2, 5, 6), 0.5)
    latents[0, 1, 0, 2, 1], latents[0, 1, 1, 4, 5], latents[0, 2, 1, 0, 0] = -0.5, 1.5, 0.8  # 0.3 is noise
    changed = changed_cells(latents)
    assert changed.nonzero().tolist() == [[0, 1, 0, 2, 1], [0, 1, 0, 4, 5]]
    around = widened(changed)
    assert around[0, 1, 0, 1:4, :3].all()
    assert around[0, 1, 0, 3:, 4:].all()
    assert around.sum() == 9 + 4


def test_a_batch_knows_which_cells_were_uncovered(rendered):
    vae = NanoVAE(PRESET.vae)
    batch = condition_batch(rendered, PRESET, vae, PLAIN, generator())
    assert batch.uncovered.shape == batch.moving.shape
    assert 0 < batch.uncovered.mean() < 0.5
    assert batch.uncovered[:, 0].max() < 0.3


def test_a_batch_knows_which_cells_show_a_thing_at_rest(rendered):
    batch = condition_batch(rendered, PRESET, NanoVAE(PRESET.vae), PLAIN, generator())
    assert batch.resting.shape == batch.moving.shape
    assert torch.equal(batch.resting, by_latent(rendered.resting, batch.latents.shape[1], batch.latents.shape[-2:]))
    assert batch.resting[:, 0].mean() > 0


def test_a_pair_is_the_picture_and_what_a_clip_shows_later():
    vae = NanoVAE(PRESET.vae).eval()
    scene = SceneConfig.of(PRESET.geometry, 33, p_camera=0.0)
    ends = set()
    for seed in range(8):
        pair = training_batch(3, PRESET, vae, scene, PLAIN, seed, torch.device("cpu"), pairs=True)
        assert pair.latents.shape[1] == 2
        assert pair.xy.shape[1] == pair.visible.shape[1] == 5
        shown = sample_scenes(3, scene, look_seed=seed, motion_seed=seed)
        moved = pair.xy[0] - pair.xy[0, :1]
        ends.add(round(float(moved.norm(dim=-1).max()), 1))
        whole = render(shown, point_seed=seed).video
        assert torch.allclose(vae.encode(whole[:, :1]), pair.latents[:, :1], atol=1e-4), "the picture is frame 0"
    assert len(ends) > 4, "the later frame is another each time"


def test_a_clip_of_one_latent_frame_has_no_pair():
    given = (1, PRESET, NanoVAE(PRESET.vae), SceneConfig.of(PRESET.geometry, 4), PLAIN, 0, torch.device("cpu"))
    with pytest.raises(ValueError, match="num_frames=4"):
        training_batch(*given, pairs=True)


def test_codes_of_places_begin_where_the_picture_shows_a_point_first(rendered):
    preset = dataclasses.replace(
        PRESET,
        model=dataclasses.replace(PRESET.model, tracks=dataclasses.replace(nano().model.tracks, channels=56)),
    )
    xy, visible, ids = choose_tracks(rendered, preset, dataclasses.replace(PLAIN, p_hide_resting=1.0), generator(1))
    _, _, source = choose(rendered, 1, p_hide_resting=1.0)[1:]
    place, late = origins(ids)
    truth = per_track(rendered.visible, source)
    seen = truth.any(1)
    first = truth.int().argmax(1)
    wanted = xy.gather(1, first[:, None, :, None].expand(-1, 1, -1, 2))[:, 0]
    assert (place - wanted)[seen].abs().max() < 0.04
    assert torch.equal(late[seen], (first > 0)[seen])
    hidden_at_first = visible.any(1) & ~visible[:, 0] & truth[:, 0]
    assert hidden_at_first.any(), "told late"
    assert not late[hidden_at_first].any(), "and yet there from the beginning"


def test_a_brush_that_spills_takes_what_rests_beside_along():
    config = SceneConfig(num_frames=17, height=32, width=48, object_px=(10.0, 20.0), speed_px=12.0, p_camera=0.0)
    rendered = render(sample_scenes(8, config, look_seed=0, motion_seed=0), grid=(24, 32))
    xy, visible, _, _ = choose(rendered, p_spill=1.0, min_per_object=24, max_per_object=24, p_still_untold=1.0)
    begun = rendered.xy[:, 0]
    first = torch.cdist(xy[:, 0], begun).argmin(2)  # which point of the scene a track began as
    layer, truth = (values.gather(1, first) for values in (rendered.layer, speed_of(rendered) > 0.04))
    told = visible.any(1)
    carried = told & ~truth & ((xy[:, -1] - xy[:, 0]).norm(dim=-1) > 2)
    spilled = carried.any(1)
    assert spilled.sum() >= 4
    for b in spilled.nonzero()[:, 0].tolist():
        liars = xy[b, :, carried[b]] - xy[b, :1, carried[b]]
        assert torch.allclose(liars, liars[:, :1].expand_as(liars), atol=1e-3), "all go one way"
        ways = [
            (rendered.xy[b, :, own] - rendered.xy[b, :1, own]).mean(1)
            for one in rendered.layer[b].unique().tolist()
            if one >= 0 and bool((own := (rendered.layer[b] == one) & rendered.visible[b, 0]).any())
        ]
        assert min(float((liars[:, 0] - way).abs().max()) for way in ways) < 0.5, "that of one object"
        inside = (xy[b] >= 0).all(-1) & (xy[b, ..., 0] < 48) & (xy[b, ..., 1] < 32)
        assert not (visible[b] & ~inside)[:, carried[b]].any()
    assert (layer[carried] == -1).any()


def test_any_object_that_moves_may_be_brushed(rendered):
    moves = speed_of(rendered) > 0.04
    brushes = [_spilled(rendered, moves, 1.0, generator(seed))[2] for seed in range(3)]
    taken = [{int(one) for brush in brushes for one in rendered.layer[b, (brush[b] >= 0) & moves[b]]} for b in range(12)]
    assert max(map(len, taken)) > 1


def test_without_it_the_draws_are_what_they_were(rendered):
    plain, none = choose(rendered, seed=3), choose(rendered, seed=3, p_spill=0.0)
    assert all(torch.equal(one, other) for one, other in zip(plain, none, strict=True))
    assert choose(rendered, seed=3, p_spill=1.0)[0].shape[:2] == plain[0].shape[:2]


def test_tracks_may_begin_on_what_has_come_into_view():
    scene = SceneConfig.of(PRESET.geometry, 33, p_camera=1.0)

    def begun_later(chance: float) -> float:
        config = dataclasses.replace(PLAIN, p_late_tracks=chance)
        visible = training_batch(4, PRESET, NanoVAE(PRESET.vae), scene, config, 3, torch.device("cpu")).visible
        told = visible.any(1)
        return float((told & ~visible[:, 0]).sum() / told.sum())

    assert begun_later(0.0) == 0
    assert begun_later(1.0) > 0.1


def test_a_live_camera_s_tracks_are_told_beyond_the_edge_and_late_ones_while_they_move():
    scene = SceneConfig(num_frames=33, height=32, width=48, p_sweep=1.0, p_static=1.0, max_objects=1)
    rendered = render(sample_scenes(8, scene, look_seed=1, motion_seed=1), grid=(12, 16), p_late=1.0)
    size = torch.tensor([48, 32])
    plain, live, some = (choose(rendered, 2, dense=True, p_beyond=p) for p in (0.0, 1.0, 0.5))
    beyond = [visible & ~((xy >= 0) & (xy < size)).all(-1) for xy, visible, _, _ in (plain, live, some)]
    assert not beyond[0].any()
    assert beyond[1].any(1).sum() > 100
    assert 0 < beyond[2].flatten(1).any(1).sum() < beyond[1].flatten(1).any(1).sum(), "whole clips"

    def of_new_picture_at_rest(xy, visible, _, source):
        early = per_track(rendered.visible, source)[:, 0]
        resting = (xy[:, -3:].diff(dim=1).norm(dim=-1) == 0).all(1)
        return early, visible[:, -1] & ~early & resting

    early, told = of_new_picture_at_rest(*live)
    assert not beyond[1].any(1)[~early].any(), "only of points that frame 0 shows"
    assert not told.any()
    assert of_new_picture_at_rest(*plain)[1].any()
    assert of_new_picture_at_rest(*some)[1].any(), "the other clips are told as ever"


def test_a_brush_never_takes_the_ground(rendered):
    def told_of_the_ground(p_brush: float) -> torch.Tensor:
        settings = {"camera_tracks": (20, 20), "p_still_untold": 0.0, "p_brush": p_brush}
        _, visible, _, source = choose(rendered, **settings)
        told = torch.zeros_like(rendered.layer, dtype=torch.bool).scatter_(1, source, visible.any(1))
        return told & (rendered.layer == -1)

    assert told_of_the_ground(0.0).any()
    assert torch.equal(told_of_the_ground(1.0), told_of_the_ground(0.0))


def test_tracks_that_tell_come_before_anchors(rendered):
    told = choose(rendered, 4, camera_tracks=(4, 8))[1].any(1).sum(1)
    few = choose(rendered, 4, camera_tracks=(4, 8), max_tracks=int(told.max()) + 5)[1]
    assert few.shape[2] < rendered.layer.shape[1] / 2
    assert torch.equal(few.any(1).sum(1), told)
