"""Stage 1: the bidirectional teacher learns text, picture and tracks by flow matching (paper section 3.1, appendix D).

motionstream train teacher --vae runs/work/vae --out runs/work/teacher --steps 12000
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from motionstream.config import PresetConfig
from motionstream.data.conditions import Batch, ConditionConfig, training_batch
from motionstream.data.scenes import SceneConfig
from motionstream.device import Compute
from motionstream.flow.path import add_noise
from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import draw_sigma, euler_sigmas
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.init import init_from_scratch, init_matching_heads, init_recoded
from motionstream.models.load import load_weights
from motionstream.models.motion import track_latents
from motionstream.models.vae import NanoVAE
from motionstream.train.check import NOISE_SEEDS, check_settings
from motionstream.train.dit_stage import DiTStage, clip_latents
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import lr_scale, muon_adamw
from motionstream.train.sheets import save_rows

SIGMA_FLOOR = 0.4
"""Noise levels below it weigh no more than it, in losses on clean estimates: 1 / sigma^2 would leave them alone."""


@dataclass(frozen=True, kw_only=True)
class TeacherTrainConfig:
    """Settings of the teacher stage.

    Args:
        batch, num_frames: clips per step and their length; ``long_frames`` from the share ``long_from`` of the steps on,
            with a smaller batch of about as many frames.
        pairs_until: share of the steps in which a clip is its picture and one later latent frame, ``pair_batch`` of them:
            the quickest way to learn what comes from where (docs/LOG.md).
        dense_until: share of the steps in which every point may be shown (dense tracks first).
        tracks_per_object: fewest and most tracks on one object after that.
        moving_weight: extra loss weight of cells that differ from the first frame.
        sigma_mean: mean of the logistic-normal noise levels.
        matching_init: start with the matching circuit of ``models.init``.
        compile: compile the blocks with ``torch.compile`` (needs a C++ compiler on a CPU).
        init: a folder whose ``teacher.safetensors`` to start from; "" trains from scratch.
        recode: it was trained with other track codes: what reads them starts anew (models.init.init_recoded).
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=12_000))
    batch: int = 8
    num_frames: int = 21
    long_frames: int = 33
    long_from: float = 0.6
    pairs_until: float = 0.0
    pair_batch: int = 24
    dense_until: float = 0.2
    tracks_per_object: tuple[int, ...] = (6, 64)
    lr: float = 1.5e-3
    warmup: int = 50
    decay_share: float = 0.35
    ema: float = 0.999
    moving_weight: float = 3.0
    sigma_mean: float = 1.2
    matching_init: bool = True
    init: str = ""
    recode: bool = False
    p_mask_chunk: float = 0.0
    gap_steps: int = 100
    compile: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self)
        if self.recode and not self.init:
            raise ValueError("recode=true needs init=DIR, whose weights were trained with other track codes")


class TeacherStage(DiTStage):
    """Flow matching on procedural clips; watches the counterfactual gap, never the loss alone."""

    name = "teacher"
    exports = "teacher.safetensors"

    def __init__(self, preset: PresetConfig, config: TeacherTrainConfig, vae: NanoVAE, compute: Compute) -> None:
        super().__init__(preset, config.loop.steps, vae, compute)
        self.config = config
        for frames in (config.num_frames, config.long_frames):  # now, not when the long clips begin
            clip_latents(preset, frames)
        self.model = WanDiT(preset.model, preset.geometry.t_stride)
        before = Path(config.init) / "teacher.safetensors"
        if config.init and config.recode:
            init_recoded(self.model, before, preset.geometry.t_stride, config.seed)
        elif config.init:
            load_weights(before, self.model)
        else:
            init_from_scratch(self.model, config.seed)
            if config.matching_init:
                init_matching_heads(self.model, preset.geometry.t_stride)
        self.model.to(compute.device).train()
        if config.compile:
            compile_blocks(self.model)
        self.optimizer = muon_adamw(self.model, config.lr)
        self.ema = EMA(self.model, config.ema)

    # -------------------------------------------------------------- data

    def scene_config(self, num_frames: int) -> SceneConfig:
        return SceneConfig.of(self.preset.geometry, num_frames)

    def batch_at(self, step: int) -> Batch:
        config, steps = self.config, self.steps
        late = step >= config.long_from * steps
        frames = config.long_frames if late else config.num_frames
        batch = max(1, round(config.batch * config.num_frames / frames)) if late else config.batch
        dense = step < config.dense_until * steps
        low, high = config.tracks_per_object
        conditions = ConditionConfig(
            dense=dense, min_per_object=low, max_per_object=high, p_mask_chunk=0.0 if dense else config.p_mask_chunk
        )
        seed = config.seed * 10_000_019 + step
        if step < config.pairs_until * steps:
            given = (config.pair_batch, self.preset, self.vae, self.scene_config(config.long_frames))
            return training_batch(*given, replace(conditions, p_hide_resting=0.0), seed, self.compute.device, pairs=True)
        return training_batch(batch, self.preset, self.vae, self.scene_config(frames), conditions, seed, self.compute.device)

    def _sheet_conditions(self) -> ConditionConfig:
        low, high = self.config.tracks_per_object
        return ConditionConfig(p_drop_motion=0.0, p_drop_text=0.0, min_per_object=low, max_per_object=high)

    # -------------------------------------------------------------- steps

    def train_step(self, step: int) -> dict[str, float]:
        config = self.config
        batch = self.batch_at(step)
        generator = torch.Generator(self.compute.device).manual_seed(NOISE_SEEDS + config.seed * 7919 + step)
        sigma = draw_sigma((len(batch.latents), 1), generator, config.sigma_mean)
        noise = torch.randn(batch.latents.shape, generator=generator, device=batch.latents.device)
        with self.compute.autocast():
            condition = condition_of(self.model, self.preset, batch)
            loss = flow_loss(self.model, batch, condition, noise, sigma, config.moving_weight)
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, config.warmup, config.decay_share), 1.0)
        self.ema.update(self.model)
        metrics = {"loss": float(loss.detach()), "grad_norm": norm}
        if config.gap_steps and step % config.gap_steps == 0:
            metrics["gap_pct"] = self.counterfactual_gap()
        return metrics

    @torch.no_grad()
    def counterfactual_gap(self, sigma: float = 0.95) -> float:
        """How much the tracks lower the error of moving cells, in % of the error without tracks.

        On fixed held-out clips at high noise: the number to watch (above 5 after 800 clips, or something is wrong).
        """
        scene = replace(self.scene_config(self.config.num_frames), split="eval", p_camera=0.0)
        conditions = self._sheet_conditions()
        device = self.compute.device
        batch = training_batch(8, self.preset, self.vae, scene, conditions, 424_242, device)
        generator = torch.Generator(device).manual_seed(1)
        noise = torch.randn(batch.latents.shape, generator=generator, device=device)
        level = torch.full((len(noise), 1), sigma, device=device)
        with self.compute.autocast():
            condition = condition_of(self.model, self.preset, batch)
            told = moving_error(self.model, batch, condition, noise, level)
            untold = moving_error(self.model, batch, condition.without_motion(), noise, level)
        return 100 * (1 - told / untold)

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Rows of truth, sample with tracks, sample without."""
        model = self.averaged()
        scene = replace(self.scene_config(self.config.num_frames), split="eval", p_camera=0.2)
        conditions = self._sheet_conditions()
        batch = training_batch(5, self.preset, self.vae, scene, conditions, 31_337, self.compute.device)
        generator = torch.Generator(self.compute.device).manual_seed(2)
        noise = torch.randn(batch.latents.shape, generator=generator, device=self.compute.device)
        with self.compute.autocast():
            condition = condition_of(model, self.preset, batch)
            videos = [batch.latents]
            for chosen in (condition, condition.without_motion()):
                videos.append(sample_teacher(model, noise, chosen, self.preset, steps=8))
        decoded = [self.vae.decode(latents.float())[0] for latents in videos]
        picks = torch.linspace(0, decoded[0].shape[1] - 1, 6).long()
        save_rows(path, [video[row, picks] for row in range(len(noise)) for video in decoded])


def compile_blocks(model: WanDiT) -> None:
    """Fuse each block's norms, modulation and rotations (about 1.3x on a CPU; docs/LOG.md). Weights keep their names."""
    for block in model.blocks:
        block.compile(dynamic=False)


def condition_of(model: WanDiT, preset: PresetConfig, batch: Batch) -> Condition:
    return Condition(
        first_latent=batch.latents[:, :1],
        track_latents=track_latents(model, preset.geometry, batch.xy, batch.visible, batch.ids),
        text=model.embed_text(batch.text),
    )


def flow_loss(
    model: WanDiT, batch: Batch, condition: Condition, noise: Tensor, sigma: Tensor, moving_weight: float
) -> Tensor:
    """Velocity-matching loss written on clean estimates: ``(x0 - latents)^2 / max(sigma, 0.4)^2``; sigma ``(B, 1)``.

    The floor 0.4 keeps low noise from dominating; moving cells weigh ``1 + moving_weight`` (ours; the paper's w_t is
    not given).
    """
    B, F = noise.shape[:2]
    level = sigma.expand(B, F)
    noisy = add_noise(batch.latents, noise, level)
    error = (predict(model, noisy, level, condition).x0 - batch.latents).pow(2)
    weight = (1 + moving_weight * batch.moving) / sigma.clamp_min(SIGMA_FLOOR)[..., None, None, None] ** 2
    return (error * weight).mean()


def moving_error(model: WanDiT, batch: Batch, condition: Condition, noise: Tensor, sigma: Tensor) -> float:
    """Mean squared error of the clean estimate over cells that differ from the first frame and those around them
    (``Batch.moving``); sigma ``(B, 1)``."""
    level = sigma.expand(*noise.shape[:2])
    error = (predict(model, add_noise(batch.latents, noise, level), level, condition).x0 - batch.latents).pow(2)
    return float((error * batch.moving).sum() / (batch.moving.sum() * error.shape[2]).clamp_min(1))


def sample_teacher(
    model: WanDiT, noise: Tensor, condition: Condition, preset: PresetConfig, *, steps: int | None = None
) -> Tensor:
    """Euler samples of the teacher without guidance, ``(B, F, C, h, w)``."""
    sigmas = euler_sigmas(steps or preset.sample.teacher_steps, preset.sample.shift, noise.device)
    return sample_euler(lambda noisy, sigma: predict(model, noisy, sigma, condition).velocity, noise, sigmas)
