"""Which updates a step of distillation makes, on the smallest preset."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.distill import DistillConfig, DistillStage
from motionstream.train.teacher import SIGMA_FLOOR


@pytest.fixture
def stage(tmp_path) -> DistillStage:
    preset = tiny_debug()
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    vae.fit_linear(random_planes(preset, 500))
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, dtype=torch.float32)
    config = DistillConfig(batch=1, num_frames=21, critic_per_student=2, critic_warmup=3)
    return DistillStage(preset, config, vae, path, path, choose_compute("cpu", "float32"))


def updated(stage: DistillStage, steps: range) -> list[tuple[bool, bool]]:
    """Whether each step changed the critic and the student."""
    made = []
    for step in steps:
        before = [{k: v.clone() for k, v in model.state_dict().items()} for model in (stage.fake, stage.student)]
        stage.train_step(step)
        models = zip(before, (stage.fake, stage.student), strict=True)
        made.append(tuple(any(not torch.equal(v, was[k]) for k, v in now.state_dict().items()) for was, now in models))
    return made


def test_the_critic_learns_alone_first_then_the_student_in_every_second_step(stage):
    assert updated(stage, range(7)) == [(True, student) for student in (False, False, False, False, True, False, True)]


def test_without_warmup_the_ratio_holds_from_the_start(stage):
    stage.config = replace(stage.config, critic_warmup=0)
    assert [student for _, student in updated(stage, range(4))] == [False, True, False, True]


@pytest.mark.parametrize(("name", "value"), [("critic_warmup", -1), ("critic_per_student", 0)])
def test_bad_numbers_of_updates_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be"):
        DistillConfig(**{name: value})


def test_what_clips_show_and_tell_are_settings(stage):
    plain = stage.batch_at(0, 0)[0]
    for name in ("p_still_untold", "p_hide_resting", "p_anchor", "p_twin", "p_camera"):
        shown = []
        for p in (0.0, 1.0):
            stage.config = replace(DistillConfig(batch=4, num_frames=21), **{name: p})
            batch = stage.batch_at(0, 0)[0]
            shown.append((batch.latents.sum().item(), batch.visible.sum().item()))
        assert shown[0] != shown[1], name
    stage.config = replace(DistillConfig(batch=1, num_frames=21), tracks_per_object=(1, 1), p_anchor=0.0)
    assert stage.batch_at(0, 0)[0].visible.any(1).sum() < plain.visible.any(1).sum()


@pytest.mark.parametrize(("first_frame", "learnt"), [("repeat", False), ("clean", False), ("concat", True), ("none", True)])
def test_the_critic_learns_frame_0_where_it_is_predicted(stage, monkeypatch, first_frame, learnt):
    """The distance of the two scores is taken there, too: of a critic that never learnt it, it would be noise."""
    made = stage.generate(stage.batch_at(0, 0)[0], 0, grad=False)
    stage.preset = replace(stage.preset, model=replace(stage.preset.model, first_frame=first_frame, prediction="velocity"))

    def off_in_frame_0(model, noisy, level, condition):
        error = torch.zeros_like(made)
        error[:, 0] = 1
        return SimpleNamespace(velocity=error + 0 * next(model.parameters()).sum())

    monkeypatch.setattr(stage, "generate", lambda *_, **__: made)
    monkeypatch.setattr("motionstream.train.distill.velocity_target", lambda latents, noise: torch.zeros_like(latents))
    monkeypatch.setattr("motionstream.train.distill.predict", off_in_frame_0)
    assert (stage.critic_step(0)["loss"] > 0) == learnt


def test_low_noise_does_not_take_over_the_critic(stage, monkeypatch):
    """An error of one in every number of a clean estimate counts alike at all noise levels up to the floor."""
    made = stage.generate(stage.batch_at(0, 0)[0], 0, grad=False)
    losses = {}
    for sigma in (0.02, 0.1, SIGMA_FLOOR, 0.8):

        def off_by_one(model, noisy, level, condition):
            return SimpleNamespace(x0=made + 1 + 0 * next(model.parameters()).sum())

        level = torch.full((len(made), made.shape[1]), sigma)
        monkeypatch.setattr(stage, "generate", lambda *_, **__: made)
        monkeypatch.setattr(stage, "score_noise", lambda latents, _, level=level: (latents, latents, level))
        monkeypatch.setattr("motionstream.train.distill.predict", off_by_one)
        losses[sigma] = stage.critic_step(0)["loss"]
    assert losses[0.02] == pytest.approx(losses[0.1]) == pytest.approx(losses[SIGMA_FLOOR])
    assert losses[SIGMA_FLOOR] == pytest.approx(4 * losses[0.8])


def test_the_real_score_is_guided_the_fake_one_is_not_and_the_truth_has_its_weight(stage, monkeypatch):
    """Along the difference of the two, of the same noisy clip, and towards the truth as far as is asked."""
    asked = {}

    def guided(model, condition, empty, text_guidance, motion_guidance):
        assert model is stage.real
        asked["weights"] = (text_guidance, motion_guidance)
        return lambda noisy, sigma: asked.setdefault("real", noisy) / sigma[..., None, None, None]  # x0 = 0

    def plain(model, noisy, level, condition):
        assert model is stage.fake
        asked["fake"] = noisy
        return SimpleNamespace(x0=torch.ones_like(noisy))

    made = (2 * torch.ones_like(stage.batch_at(0, 1)[0].latents)).requires_grad_()
    monkeypatch.setattr("motionstream.train.distill.guided_predictor", guided)
    monkeypatch.setattr("motionstream.train.distill.predict", plain)
    monkeypatch.setattr(stage, "generate", lambda *_, **__: made)
    for weight in (0.0, 0.3):
        made.grad = None
        stage.config = replace(stage.config, truth_weight=weight)
        stage.student_step(0)
        truth = stage.batch_at(0, 1)[0].latents
        wanted = (0.5 + weight * 2 * (made.detach() - truth)) / made.numel()  # (1 - 0) / mean |2 - 0|
        torch.testing.assert_close(made.grad, wanted)
        assert torch.equal(asked.pop("real"), asked.pop("fake"))
    assert asked["weights"] == (3.0, 1.5)


def test_clips_are_scored_at_levels_of_their_own_within_bounds(stage):
    latents = torch.zeros(400, 2, 1, 1, 1)
    noisy, noise, sigma = stage.score_noise(latents, torch.Generator().manual_seed(0))
    assert torch.equal(sigma[:, 0], sigma[:, 1])
    assert sigma.min() < 0.2 < 0.7 < sigma.median() < 0.9, "shifted towards high noise"
    assert sigma.min() >= 0.02
    assert sigma.max() == torch.tensor(0.98)
    torch.testing.assert_close(noisy, sigma[..., None, None, None] * noise)


def test_rollouts_stop_at_one_step_drawn_anew_and_roles_see_other_clips(stage, monkeypatch):
    stopped = []

    def kept(*given, exit_step, **more):
        stopped.append(exit_step)
        return [torch.zeros(1, 1)]

    monkeypatch.setattr("motionstream.train.distill.rollout", kept)
    batches = [stage.batch_at(0, role)[0] for role in (0, 1)]
    assert not torch.equal(batches[0].latents, batches[1].latents)
    for seed in range(20):
        stage.generate(batches[0], seed, grad=False)
    assert set(stopped) == set(range(len(stage.preset.sample.student_sigmas)))


def test_the_average_follows_the_student_and_track_heads_stay(stage):
    """Which are frozen after the teacher's stage."""
    before = {name: value.clone() for name, value in stage.student.state_dict().items()}
    for step in (3, 4):  # the second one updates the student
        stage.train_step(step)
    for model in (stage.student, stage.fake):
        assert all(torch.equal(v, before[name]) for name, v in model.state_dict().items() if name.startswith("track_head."))
    name = "blocks.0.self_attn.q.weight"
    begun, now, mean = before[name], stage.student.state_dict()[name], stage.averaged().state_dict()[name]
    torch.testing.assert_close(mean - begun, (now - begun) * 9 / 11, atol=1e-7, rtol=0.01)  # 1 - (1 + 1) / (10 + 1)
    assert (now - begun).abs().max() > 1e-5
