"""A student with smaller chunks is drawn to what it made with its own, from the same noise."""

import pytest
import torch
from safetensors.torch import load_file

from motionstream.causal.rollout import rollout
from motionstream.config import CacheConfig
from motionstream.device import choose_compute
from motionstream.errors import UserError
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import HistoryCache
from motionstream.presets import tiny_debug
from motionstream.stream.find_weights import read_config
from motionstream.stream.random_parts import random_planes
from motionstream.train.rechunk import RechunkConfig, RechunkStage
from motionstream.train.teacher import condition_of


@pytest.fixture
def build(tmp_path):
    preset = tiny_debug()
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    torch.nn.init.normal_(model.head.head.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    vae.fit_linear(random_planes(preset, 500))
    save_weights(tmp_path / "student.safetensors", model, dtype=torch.float32)

    def made(cache: str, before: CacheConfig = preset.cache, **settings) -> RechunkStage:
        config = RechunkConfig(cache=cache, **{"batch": 2, "num_frames": 45, "warmup": 1, "p_grab": 0.0} | settings)
        path = tmp_path / "student.safetensors"
        return RechunkStage(preset, config, vae, path, before, choose_compute("cpu", "float32"))

    return made


@pytest.mark.parametrize(("cache", "chunks"), [("c1s1w2", 6), ("c2s1w2", 3)])
def test_small_chunks_get_the_noise_of_the_large_ones(build, cache, chunks):
    stage = build(cache)
    whole, part = stage.noise(stage.batch_at(0), stage.before, 7)
    for step in range(3):
        small = torch.cat([part(chunk, step) for chunk in range(chunks)], dim=1)
        assert torch.equal(small, torch.cat([whole(0, step), whole(1, step)], dim=1))


def test_the_guide_is_the_student_with_its_own_chunks(build):
    stage = build("c1s1w2")
    batch = stage.batch_at(0)
    guide = stage.guide_estimates(batch, 7, stage.before)
    cache = HistoryCache(stage.before.model, stage.before.cache, grid=tuple(batch.latents.shape[-2:]))
    with torch.no_grad():
        condition = condition_of(stage.model, stage.before, batch)
        noise, sigmas = stage.noise(batch, stage.before, 7)[0], stage.before.sample.student_sigmas
        made = torch.cat(list(rollout(stage.model, cache, condition, noise, sigmas, 4)), dim=1)
    assert guide.shape == (3, *batch.latents.shape)
    torch.testing.assert_close(guide[-1], made, atol=1e-4, rtol=1e-4)


def test_noise_levels_can_be_chosen(build, tmp_path):
    stage = build("c1s1w2", sigmas=(1.0, 0.7))
    batch = stage.batch_at(0)
    aim = stage.aim(batch, 7, stage.before)
    assert len(aim) == 2
    assert stage.loss(batch, aim, stage.before, 7)[0] > 0
    stage.export(tmp_path)
    assert read_config(tmp_path).sample.student_sigmas == (1.0, 0.7)
    with pytest.raises(ValueError, match=r"student_sigmas=\[0\.7, 1\.0\] must descend"):
        build("c1s1w2", sigmas=(0.7, 1.0))


def test_with_the_same_setting_there_is_nothing_to_learn(build):
    """Guide and student then differ by nothing but the form of the network: fused and ring against plain and history."""
    stage = build("c3s1w1")
    batch = stage.batch_at(0)
    loss, gap, _ = stage.loss(batch, stage.guide_estimates(batch, 7, stage.before), stage.before, 7)
    assert loss < 1e-5
    assert gap < 1e-5
    small = build("c2s1w1")
    other, apart, _ = small.loss(batch, small.guide_estimates(batch, 7, small.before), small.before, 7)
    assert other > 100 * loss
    assert apart > 100 * gap


def test_steps_bring_it_closer_to_the_guide_which_stays(build):
    stage = build("c1s1w1", lr=3e-3)
    batch = stage.batch_at(0)
    stage.batch_at = lambda step: batch  # one clip and (below) one noise: only whether gradients go the right way
    before = stage.guide_estimates(batch, 7, stage.before)
    with torch.no_grad():
        first = float(stage.loss(batch, before, stage.before, 7)[0])
    for step in range(12):
        stage.train_step(step)
    assert torch.equal(stage.guide_estimates(batch, 7, stage.before), before)
    assert float(stage.loss(batch, before, stage.before, 7)[0].detach()) < 0.8 * first


@pytest.mark.parametrize(("share", "still"), [(0.0, False), (1.0, True)])
def test_clips_are_scenes_or_pictures_that_are_pulled_about(build, share, still):
    batch = build("c1s1w1", p_grab=share).batch_at(0)
    assert (not (batch.latents[:, 2:] - batch.latents[:, 1:2]).abs().max() > 1e-3) is still


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_is_drawn_to_the_guide_where_something_moves_and_to_the_truth_elsewhere(build, share):
    stage = build("c1s1w1", p_grab=share)
    batch = stage.batch_at(3)
    guide, aim = stage.guide_estimates(batch, 7, stage.before), stage.aim(batch, 7, stage.before)
    moves, rests = (batch.moving == 1).expand_as(guide), (batch.moving == 0).expand_as(guide)
    assert moves.any()
    assert rests.any()
    assert torch.equal(aim[moves], guide[moves])
    assert torch.equal(aim[rests], batch.latents.expand_as(aim)[rests])


def test_what_a_thing_has_left_may_be_drawn_to_the_truth_and_weigh_more(build):
    plain, stage = build("c1s1w1"), build("c1s1w1", uncovered_weight=5.0)
    batch = stage.batch_at(3)
    guide, aim = stage.guide_estimates(batch, 7, stage.before), stage.aim(batch, 7, stage.before)
    left = ((batch.uncovered == 1) & (batch.moving == 1)).expand_as(guide)
    kept = ((batch.uncovered == 0) & (batch.changed == 1)).expand_as(guide)
    around = ((batch.changed == 0) & (batch.moving == 1)).expand_as(guide)
    assert left.any()
    assert torch.equal(aim[left], batch.latents.expand_as(aim)[left])
    assert torch.equal(aim[kept], guide[kept])
    assert around.any()
    assert torch.equal(aim[around], batch.latents.expand_as(aim)[around])
    assert torch.equal(plain.aim(batch, 7, plain.before)[left], guide[left])
    light, heavy = (one.loss(batch, aim, one.before, 7)[0] for one in (plain, stage))
    assert heavy > light


def test_clips_whose_camera_sweeps_may_be_drawn_to_the_truth_alone(build):
    settings = {"p_sweep": 0.5, "batch": 4}
    plain, stage = build("c1s1w1", **settings), build("c1s1w1", sweeps_true=True, **settings)
    batch = stage.batch_at(3)
    sweeps = batch.sweeps
    assert 0 < sweeps.sum() < 4
    aim, guided = (one.aim(batch, 7, one.before) for one in (stage, plain))
    truth = batch.latents.expand_as(aim)
    assert torch.equal(aim[:, sweeps], truth[:, sweeps])
    assert not torch.equal(guided[:, sweeps], truth[:, sweeps])
    assert torch.equal(aim[:, ~sweeps], guided[:, ~sweeps])
    pulled = build("c1s1w1", sweeps_true=True, p_grab=1.0)
    assert pulled.aim(pulled.batch_at(0), 7, pulled.before).isfinite().all()


def test_sweeps_are_taken_from_a_guide_alone():
    with pytest.raises(ValueError, match=r"sweeps_true=true takes clips from a guide, and truth=true has none"):
        RechunkConfig(truth=True, sweeps_true=True)


def test_a_thing_at_rest_may_be_drawn_to_the_truth_and_weigh_more(build):
    plain, stage = build("c1s1w1"), build("c1s1w1", resting_weight=5.0)
    batch = stage.batch_at(3)
    batch.moving[...] = 1.0  # a guide to all of it
    guide, aim = stage.guide_estimates(batch, 7, stage.before), stage.aim(batch, 7, stage.before)
    rests, others = ((batch.resting == value).expand_as(guide) for value in (1, 0))
    assert rests.any()
    assert others.any()
    assert torch.equal(aim[rests], batch.latents.expand_as(aim)[rests])
    assert torch.equal(aim[others], guide[others])
    assert torch.equal(plain.aim(batch, 7, plain.before)[rests], guide[rests])
    light, heavy = (one.loss(batch, aim, one.before, 7)[0] for one in (plain, stage))
    assert heavy > light


def test_it_may_go_on_from_other_weights_than_the_guide_s(build, tmp_path):
    other = build("c1s1w1").model
    with torch.no_grad():
        other.head.head.weight.mul_(1.5)
    (tmp_path / "other").mkdir()
    save_weights(tmp_path / "other" / "student.safetensors", other, dtype=torch.float32)
    stage = build("c1s1w1", init=str(tmp_path / "other"))
    assert torch.equal(stage.model.head.head.weight, other.head.head.weight)
    assert torch.equal(stage.guide_model.head.head.weight * 1.5, other.head.head.weight)


def test_grabs_may_have_the_guide_in_another_setting(build):
    stage = build("c1s1w1", grab_cache="c2s1w2", p_grab=0.5)
    assert stage.before.cache.tag == "c3s1w1"
    assert stage.before_grabs.cache.tag == "c2s1w2"
    used = []
    aim = stage.aim
    stage.aim = lambda batch, seed, before: used.append(before) or aim(batch, seed, before)
    kinds = [stage.grabs(step) for step in range(4)]
    assert len(set(kinds)) == 2
    for step in range(4):
        stage.train_step(step)
    assert used == [stage.before_grabs if grab else stage.before for grab in kinds]


def test_what_it_exports_says_its_setting(build, tmp_path):
    stage = build("c1s1w2")
    assert stage.preset.cache == CacheConfig(chunk_frames=1, sink_chunks=1, window_chunks=2)
    (tmp_path / "out").mkdir()
    stage.export(tmp_path / "out")
    assert '"window_chunks": 2' in (tmp_path / "out" / "config.json").read_text()


@pytest.mark.parametrize(
    ("cache", "settings", "kind", "said"),
    [
        ("c2s1w1", {"num_frames": 33}, ValueError, r"must be .* of 3 .*c3s1w1\) and of 2 \(c2s1w1\) latent frames: use 21"),
        (
            "c1s1w1",
            {"num_frames": 33, "grab_cache": "c2s1w2"},
            ValueError,
            r"of 3 .* and of 2 \(c2s1w2\) and of 1 .*: use 21",
        ),
        ("c1s1w1", {"grab_cache": "long"}, UserError, "'long' must look like c3s1w1"),
        ("short", {}, UserError, "'short' must look like c3s1w1"),
        ("c1s1w1", {"uncovered_weight": -1.0}, ValueError, "uncovered_weight=-1.0 must be at least 0"),
        ("c1s1w1", {"grab_blur_cells": 0}, ValueError, "grab_blur_cells=0 must be at least 1"),
        ("c1s1w1", {"resting_weight": -1.0}, ValueError, "resting_weight=-1.0 must be at least 0"),
        ("c1s1w1", {"init": "nowhere"}, ValueError, "nowhere/student.safetensors does not exist"),
        ("c1s1w1", {"num_frames": 33 + 4}, ValueError, "num_frames=37 must be a whole .*: use 33"),
        ("c1s1w1", {"num_frames": 1}, ValueError, "num_frames=1 is the picture alone: use at least 5"),
    ],
)
def test_bad_settings_are_refused(build, cache, settings, kind, said):
    with pytest.raises(kind, match=said):
        build(cache, **settings)


def test_without_a_guide_the_truth_is_the_aim(build, monkeypatch):
    stage = build("c1s1w2", truth=True)
    monkeypatch.setattr(stage, "guide_estimates", lambda *a: pytest.fail("no guide is asked"))
    seen = {}
    plain = stage.loss

    def watched(batch, aim, *rest, known=None):
        seen.update(batch=batch, aim=aim, known=known)
        return plain(batch, aim, *rest, known=known)

    monkeypatch.setattr(stage, "loss", watched)
    assert stage.train_step(0)["loss"] > 0
    assert torch.equal(seen["aim"][0], seen["batch"].latents)
    assert seen["known"] is None


def test_without_a_guide_a_pulled_picture_counts_where_it_stands_still(build, monkeypatch):
    stage = build("c1s1w2", truth=True, p_grab=1.0)
    batch = stage.batch_at(0)
    known = 1 - batch.moving
    assert known.min() == 0
    loss, *_ = stage.loss(batch, batch.latents[None], stage.before, 7, known=known)
    loss.backward()
    torn = batch.latents + 5 * (known == 0)
    again, *_ = stage.loss(batch, torn[None], stage.before, 7, known=known)
    torch.testing.assert_close(again.detach(), loss.detach(), msg="what nobody knows does not count")
    assert stage.train_step(0)["loss"] > 0


def test_without_a_guide_clips_need_not_be_whole_chunks_of_one(build):
    assert build("c1s1w2", truth=True, num_frames=37).train_step(0)["loss"] > 0


def test_the_gap_is_of_steps_whose_movement_is_known(build):
    """In a pulled picture nobody knows how what is pulled should look: without a guide there is nothing to be apart from."""
    assert "gap" not in build("c1s1w2", truth=True, p_grab=1.0, num_frames=21).train_step(0)
    assert "gap" in build("c1s1w2", p_grab=1.0, num_frames=21).train_step(0)
    assert build("c1s1w2", truth=True, num_frames=21).train_step(0)["gap"] < 100


def test_a_sheet_of_chunks_that_grow_shows_some(build, tmp_path):
    stage = build("c5s1w1", before=CacheConfig.parse("c1s1w2"), num_frames=37)
    stage.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize("name", ["p_hide_resting", "p_still_untold"])
def test_whether_resting_tracks_hide_is_a_setting(build, name):
    hidden, told = (build("c1s1w2", **{name: p}).batch_at(0).visible[:, 1:].sum() for p in (1.0, 0.0))
    assert hidden < told


def test_twins_are_a_setting(build):
    plain, twins = (build("c1s1w2", p_twin=p).batch_at(0) for p in (0.0, 1.0))
    assert not torch.equal(plain.latents[:, 0], twins.latents[:, 0])


def test_a_part_may_be_trained_alone(build, tmp_path):
    stage = build("c1s1w1", only=("self_attn.q", "modulation"), truth=True)
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    for step in range(3):
        stage.train_step(step)
    stage.export(tmp_path / "made")
    exported = load_file(tmp_path / "made" / "student.safetensors")
    for name, value in before.items():
        learns = "self_attn.q" in name or "modulation" in name
        assert torch.equal(exported[name], value.half()) is not learns, name


def test_a_part_that_is_none_is_refused(build):
    with pytest.raises(ValueError, match=r"only=track_head is in no name .*, such as head\."):
        build("c1s1w1", only=("track_head",))
    with pytest.raises(ValueError, match="only=attention is in no name"):
        build("c1s1w1", only=("self_attn", "attention"))


def test_sweeps_and_points_beyond_the_edge_are_settings(build):
    plain, swept = (build("c1s1w1", p_camera=0.0, p_sweep=p, p_beyond=1.0).batch_at(2) for p in (0.0, 1.0))
    size = torch.tensor([48, 32])
    beyond = [int((b.visible & ~((b.xy >= 0) & (b.xy < size)).all(-1)).sum()) for b in (plain, swept)]
    assert beyond[1] > 3 * beyond[0]
