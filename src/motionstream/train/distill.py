"""Stage 3: Self Forcing with distribution matching distillation (paper section 3.2).

The student rolls out whole clips through its rolling cache, exactly as in streaming. A frozen teacher with joint guidance
(the real score) and a trained critic (the fake score) say which way the clips should move. The critic learns five times
as often as the student.

    motionstream train distill --vae runs/work/vae --teacher runs/work/teacher --student runs/work/student \
        --out runs/work/distilled
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from motionstream.causal.rollout import SeededNoise, rollout
from motionstream.config import PresetConfig
from motionstream.data.conditions import Batch, ConditionConfig, training_batch
from motionstream.data.scenes import SceneConfig
from motionstream.device import Compute
from motionstream.flow.path import add_noise, velocity_target, x0_from_velocity
from motionstream.flow.schedule import shift_sigma
from motionstream.models.denoise import KEEPS_PICTURE, predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.guided import guided_predictor
from motionstream.models.load import load_weights
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import HistoryCache
from motionstream.train.causal_init import student_sheet
from motionstream.train.check import check_settings
from motionstream.train.dit_stage import DiTStage, whole_chunks, with_cache, with_late_codes, with_levels
from motionstream.train.dmd import dmd_gradient, dmd_loss
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import adamw
from motionstream.train.teacher import SIGMA_FLOOR, condition_of


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of distillation; a step is one critic update, every ``critic_per_student``-th also one of the student.

    Args:
        cache: chunk, sink and window, as "c3s1w1"; "" is the preset's.
        sigmas: noise levels of the student, and of what is exported, as [1,0.7]; none = the preset's.
        num_frames: length of a rollout: the teacher's horizon.
        critic_warmup: first steps that update the critic alone, which knows the teacher's clips but not yet the student's.
        truth_weight: weight of an extra regression on the rendered truth; 0 is the paper's pure DMD. Procedural clips
            come with a truth, so small budgets may use it as an anchor (docs/LOG.md).
        score_shift: timestep shift of the noise levels at which clips are scored, clamped to [0.02, 0.98].
        text_guidance, motion_guidance: of the real score (paper: 3.0 and 1.5).
        tracks_per_object, p_brush, p_anchor, p_hide_resting, p_still_untold: which tracks are told, as in ConditionConfig.
        p_camera, p_twin: what clips show, as in SceneConfig.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=600, log_steps=10, sheet_steps=100))
    cache: str = ""
    sigmas: tuple[float, ...] = ()
    batch: int = 4
    num_frames: int = 33
    critic_per_student: int = 5
    critic_warmup: int = 0
    lr_student: float = 2e-5
    lr_critic: float = 1e-5
    beta2: float = 0.999
    weight_decay: float = 0.01
    clip: float = 10.0
    ema: float = 0.99
    truth_weight: float = 0.0
    score_shift: float = 5.0
    text_guidance: float = 3.0
    motion_guidance: float = 1.5
    tracks_per_object: tuple[int, ...] = (8, 96)
    p_brush: float = 0.5
    p_anchor: float = 0.6
    p_hide_resting: float = 0.5
    p_still_untold: float = 0.5
    p_camera: float = 0.4
    p_twin: float = 0.0
    seed: int = 3

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.text_guidance + self.motion_guidance:
            raise ValueError("text_guidance=0 and motion_guidance=0 guide nothing: use 1 and 0 for no guidance")


class DistillStage(DiTStage):
    """Student, frozen real score and trained fake score; one rollout code for training and streaming."""

    name = "distill"
    parts = ("student", "fake", "optimizer", "critic_optimizer", "ema")

    def __init__(
        self, preset: PresetConfig, config: DistillConfig, vae: NanoVAE, teacher: Path, student: Path, compute: Compute
    ) -> None:
        fewest = config.critic_warmup + config.critic_per_student  # settings and --steps are all known here
        if config.loop.steps < fewest and not config.loop.fit_minutes:
            raise ValueError(
                f"{config.loop.steps} steps would train the critic alone (critic_warmup={config.critic_warmup}, "
                f"critic_per_student={config.critic_per_student}): use at least {fewest}"
            )
        preset = with_late_codes(with_levels(with_cache(preset, config.cache), config.sigmas), student)
        super().__init__(preset, config.loop.steps, vae, compute)
        self.config = config
        t_stride = preset.geometry.t_stride
        self.student, self.real, self.fake = (WanDiT(preset.model, t_stride).to(compute.device) for _ in range(3))
        load_weights(student, self.student)
        load_weights(teacher, self.real)
        load_weights(teacher, self.fake)
        self.real.eval().requires_grad_(False)
        for model in (self.student, self.fake):
            assert model.track_head is not None
            model.track_head.requires_grad_(False)
        betas = (0.0, config.beta2)
        self.optimizer = adamw(self.student, config.lr_student, config.weight_decay, betas)
        self.critic_optimizer = adamw(self.fake, config.lr_critic, config.weight_decay, betas)
        self.ema = EMA(self.student, config.ema)
        self.num_chunks = whole_chunks(preset, config.num_frames)

    # -------------------------------------------------------------- data and rollouts

    def batch_at(self, step: int, role: int) -> tuple[Batch, int]:
        config = self.config
        scene = SceneConfig.of(self.preset.geometry, config.num_frames, p_camera=config.p_camera, p_twin=config.p_twin)
        seed = (config.seed * 1_000_003 + step) * 2 + role
        low, high = config.tracks_per_object
        conditions = ConditionConfig(
            min_per_object=low,
            max_per_object=high,
            p_brush=config.p_brush,
            p_anchor=config.p_anchor,
            p_hide_resting=config.p_hide_resting,
            p_still_untold=config.p_still_untold,
            p_drop_motion=0.0,
            p_drop_text=0.0,
        )
        return training_batch(config.batch, self.preset, self.vae, scene, conditions, seed, self.compute.device), seed

    def generate(self, batch: Batch, seed: int, *, grad: bool) -> Tensor:
        """Roll out the student and stop every chunk at one random step, shared by all chunks."""
        B, _, C, h, w = batch.latents.shape
        patch, device = self.preset.model.patch, self.compute.device
        generator = torch.Generator().manual_seed(seed)
        sigmas = self.preset.sample.student_sigmas
        exit_step = int(torch.randint(len(sigmas), (), generator=generator))
        cache = HistoryCache(self.preset.model, self.preset.cache, grid=(h // patch, w // patch), device=device)
        noise = SeededNoise(seed, (B, self.preset.cache.chunk_frames, C, h, w), device)
        with torch.set_grad_enabled(grad):
            condition = condition_of(self.student, self.preset, batch)
            made = rollout(self.student, cache, condition, noise, sigmas, self.num_chunks, exit_step=exit_step, grad=grad)
            return torch.cat(list(made), dim=1)

    def score_noise(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One noise level a clip: uniform, shifted, clamped; returns noisy latents, noise and sigma ``(B, F)``."""
        B, F = latents.shape[:2]
        uniform = torch.rand(B, 1, generator=generator, device=latents.device)
        sigma = shift_sigma(uniform, self.config.score_shift).clamp(0.02, 0.98).expand(B, F)
        noise = torch.randn(latents.shape, generator=generator, device=latents.device)
        return add_noise(latents, noise, sigma), noise, sigma

    # -------------------------------------------------------------- updates

    def train_step(self, step: int) -> dict[str, float]:
        metrics = self.critic_step(step)
        updates, every = step + 1 - self.config.critic_warmup, self.config.critic_per_student
        if updates > 0 and updates % every == 0:
            metrics |= self.student_step(step)
        return metrics

    def critic_step(self, step: int) -> dict[str, float]:
        """The fake score learns the student's clips by flow matching, without guidance."""
        batch, seed = self.batch_at(step, 0)
        generator = torch.Generator(self.compute.device).manual_seed(seed + 17)
        with self.compute.autocast():
            latents = self.generate(batch, seed, grad=False)
            noisy, noise, sigma = self.score_noise(latents, generator)
            predicted = predict(self.fake, noisy, sigma, self._condition(self.fake, batch))
            if self.preset.model.prediction == "x0":  # or low noise, at which clips are hardly judged, is all
                error = (predicted.x0 - latents) / sigma.clamp_min(SIGMA_FLOOR)[..., None, None, None]
            else:
                error = predicted.velocity - velocity_target(latents, noise)
            known = int(self.preset.model.first_frame in KEEPS_PICTURE)  # where frame 0 is predicted, DMD asks for it too
            loss = error[:, known:].pow(2).mean()
        loss.backward()
        norm = self.critic_optimizer.step(1.0, self.config.clip)
        return {"loss": float(loss.detach()), "critic_norm": norm}

    def student_step(self, step: int) -> dict[str, float]:
        """One update along the difference of the two scores (DMD)."""
        batch, seed = self.batch_at(step, 1)
        generator = torch.Generator(self.compute.device).manual_seed(seed + 29)
        with self.compute.autocast():
            latents = self.generate(batch, seed, grad=True)
            with torch.no_grad():
                noisy, _, sigma = self.score_noise(latents, generator)
                real = x0_from_velocity(noisy, self._real_velocity(batch)(noisy, sigma), sigma)
                fake = predict(self.fake, noisy, sigma, self._condition(self.fake, batch)).x0
                gradient = dmd_gradient(latents, real, fake)
            loss = dmd_loss(latents, gradient)
            truth = (latents - batch.latents).pow(2).mean()
            total = loss + self.config.truth_weight * truth
        total.backward()
        norm = self.optimizer.step(1.0, self.config.clip)
        self.ema.update(self.student)
        # Health: how far clips move, and how strong the pull is (a collapse shows here first).
        motion = float((latents[:, 1:] - latents[:, :-1]).detach().abs().mean())
        return {
            "dmd_norm": float(gradient.pow(2).mean().sqrt()),
            "student_norm": norm,
            "truth": float(truth.detach()),
            "motion": motion,
        }

    def _condition(self, model: WanDiT, batch: Batch) -> Condition:
        return condition_of(model, self.preset, batch)

    def _real_velocity(self, batch: Batch):  # type: ignore[no-untyped-def]
        empty = torch.zeros_like(batch.text[:1])
        config = self.config
        return guided_predictor(
            self.real, self._condition(self.real, batch), empty, config.text_guidance, config.motion_guidance
        )

    def sheet(self, path: Path) -> None:
        student_sheet(self.averaged(), self.vae, self.preset, self.compute, path)
