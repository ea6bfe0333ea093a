"""A student learns a smaller chunk from itself: less latency, the same pictures.

The student as it is streams a clip in its own chunks. A copy streams the same clip, from the same noise, under another
cache setting with smaller chunks, on its own past, and every estimate of every step is drawn to the one the first made
there, where something moves. The paper trains each setting from the teacher (section 3.3, table 4); this starts from a
student that is done. What it makes of a moving thing follows from noise and tracks, so that, unlike the truth of a clip, it
leaves nothing to be averaged away. Where nothing moves the truth is the picture, and is the better one: a student forgets
a little of what rests in every chunk, and small chunks would learn to forget as much in each of theirs (docs/LOG.md).
What a thing has left is the ground again, and of that too the truth can tell more than a guide that leaves a ghost there.

With ``truth`` there is no guide: every estimate is drawn to the truth of the clip. That is how a student learns to stream
whose track codes nobody who streams knows yet. With ``lpips_weight`` clips are decoded, too, and compared as pictures.

    motionstream train rechunk --vae DIR --student DIR --out DIR --set cache=c1s1w2
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from motionstream.causal.rollout import NoiseFn, SeededNoise, rollout
from motionstream.config import CacheConfig, PresetConfig
from motionstream.data.conditions import Batch, ConditionConfig, training_batch
from motionstream.data.grabs import BLUR_CELLS, grab_batch
from motionstream.data.scenes import SceneConfig
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.models.load import load_weights
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import HistoryCache
from motionstream.train.causal_init import ROBUST_FLOOR, student_sheet
from motionstream.train.check import check_settings
from motionstream.train.dit_stage import DiTStage, clip_latents, with_cache, with_late_codes, with_levels
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import lr_scale, muon_adamw
from motionstream.train.pictures import PictureLoss
from motionstream.train.streamed import streamed
from motionstream.train.teacher import condition_of


@dataclass(frozen=True, kw_only=True)
class RechunkConfig:
    """Settings of a change of chunk.

    Args:
        cache: the setting to learn, as "c1s1w1", or "" for the preset's.
        sigmas: noise levels of guide and student, and of what is exported, as [1,0.7]; none = the preset's.
        num_frames: clip length in pixels, a whole number of the chunks to learn and, with a guide, of the student's own.
        moving_weight: cells that change weigh 1 + this.
        uncovered_weight: cells that a thing has left weigh so much more and are drawn to the truth instead of the guide, as
            are those beside a moving thing that do not change; 0 = to the guide, both of them.
        sweeps_true: clips whose camera sweeps are drawn to the truth alone: what a guide never learnt it cannot teach.
        resting_weight: cells that show a thing at rest weigh so much more, and are drawn to the truth even where something
            moves through a part of the cell. Without it, what is drawn to the ground where a thing was is drawn there where
            another one still is.
        init: a folder whose ``student.safetensors`` to go on from, while ``--student`` is the guide; "" = the guide.
        p_grab: share of steps whose clips are pictures of which parts are pulled about (data/grabs.py), not scenes.
        truth: no guide: every estimate is drawn to the truth, in pictures that are pulled about where they stand still.
        grab_cache: the setting in which the student is the guide there, or "" for its own. One that forgets less may be
            better for what lies beside a pulled part.
        grab_blur_cells: what is further than this from what was pulled is drawn to the picture there, at least 1: a guide
            that loses what lies beside teaches that too.
        pixel_weight, lpips_weight: of what decoded pictures of scenes differ by from the truth's (train/pictures.py), the
            latter by the weights in the file ``lpips``; ``picture_frames`` of each clip's frames are compared.
        only: parts of names of the parameters that are trained, as ["self_attn"]; the others stay as they are, to the last
            bit. [] = all but the track head.
        tracks_per_object, camera_tracks, p_camera, p_brush: as in CausalInitConfig; p_twin, p_sweep: as in SceneConfig;
            p_spill, p_late_tracks, p_beyond, p_hide_resting, p_still_untold: as in ConditionConfig.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=600, log_steps=10, sheet_steps=100))
    cache: str = ""
    sigmas: tuple[float, ...] = ()
    batch: int = 2
    num_frames: int = 45
    lr: float = 3e-4
    warmup: int = 20
    decay_share: float = 0.5
    ema: float = 0.98
    moving_weight: float = 3.0
    uncovered_weight: float = 0.0
    sweeps_true: bool = False
    resting_weight: float = 0.0
    init: str = ""
    p_grab: float = 0.5
    truth: bool = False
    grab_cache: str = ""
    grab_blur_cells: int = BLUR_CELLS
    lpips: str = ""
    lpips_weight: float = 0.0
    pixel_weight: float = 0.0
    picture_frames: int = 2
    only: tuple[str, ...] = ()
    tracks_per_object: tuple[int, ...] = (8, 96)
    camera_tracks: tuple[int, ...] = (16, 150)
    p_camera: float = 0.35
    p_twin: float = 0.0
    p_sweep: float = 0.0
    p_brush: float = 0.5
    p_spill: float = 0.0
    p_late_tracks: float = 0.0
    p_beyond: float = 0.0
    p_hide_resting: float = 0.5
    p_still_untold: float = 0.5
    seed: int = 4

    def __post_init__(self) -> None:
        check_settings(self)
        if self.truth and self.grab_cache:
            raise ValueError(f"grab_cache={self.grab_cache} is of a guide, and truth=true has none: leave one of them out")
        if self.truth and self.sweeps_true:
            raise ValueError("sweeps_true=true takes clips from a guide, and truth=true has none: leave one of them out")


class RechunkStage(DiTStage):
    """See the module docstring.

    Args:
        preset: its cache is what to learn, unless ``config.cache`` says otherwise; what is exported says so.
        before: the cache setting that the student was made for.
        student: its file.
    """

    name = "rechunk"

    def __init__(
        self,
        preset: PresetConfig,
        config: RechunkConfig,
        vae: NanoVAE,
        student: Path,
        before: CacheConfig,
        compute: Compute,
    ) -> None:
        begun = Path(config.init) / "student.safetensors" if config.init else student
        preset = with_levels(with_cache(preset, config.cache), config.sigmas)
        preset = with_late_codes(preset, begun, p_late_tracks=config.p_late_tracks)
        super().__init__(preset, config.loop.steps, vae, compute)
        self.config, self.before = config, replace(preset, cache=before)
        self.before_grabs = with_cache(self.before, config.grab_cache)
        self.chunks = self._chunks()
        self.model, guide = (WanDiT(preset.model, preset.geometry.t_stride).to(compute.device) for _ in range(2))
        load_weights(begun, self.model)
        load_weights(student, guide)
        self.guide, self.guide_model = FusedDiT(guide.eval().requires_grad_(False), compute.dtype), guide
        assert self.model.track_head is not None
        self.model.track_head.requires_grad_(False)  # frozen after stage 1 (paper appendix D)
        self._train_only(config.only)
        self.model.train()
        self.pictures = None
        if config.pixel_weight or config.lpips_weight:
            weights = {"pixel_weight": config.pixel_weight, "lpips_weight": config.lpips_weight}
            self.pictures = PictureLoss(
                self.vae, config.lpips, frames=config.picture_frames, device=compute.device, **weights
            )
        self.optimizer = muon_adamw(self.model, config.lr)
        self.ema = EMA(self.model, config.ema)

    def _train_only(self, parts: tuple[str, ...]) -> None:
        names = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        if strange := [part for part in parts if not any(part in name for name in names)]:
            raise ValueError(f"only={strange[0]} is in no name of a parameter that is trained here, such as {names[-1]}")
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and (not parts or any(part in name for part in parts)))

    def _chunks(self) -> int:
        """How many chunks to learn a clip has, which must be a whole number of the guides' too, where there are any."""
        guides = () if self.config.truth else (self.before, self.before_grabs)
        settings = [preset.cache for preset in (*guides, self.preset)]
        geometry, together = self.preset.geometry, math.lcm(*(setting.chunk_frames for setting in settings))
        latents = clip_latents(self.preset, self.config.num_frames)
        if latents % together:
            told = " and ".join(dict.fromkeys(f"of {setting.chunk_frames} ({setting.tag})" for setting in settings))
            raise ValueError(
                f"num_frames={self.config.num_frames} must be a whole number of chunks {told} latent frames: use "
                f"{geometry.pixel_frames(together * max(1, latents // together))}"
            )
        return latents // self.preset.cache.chunk_frames

    def train_step(self, step: int) -> dict[str, float]:
        config = self.config
        batch = self.batch_at(step)
        seed = config.seed * 7919 + step
        pulled = self.grabs(step)
        before = self.before_grabs if pulled else self.before
        with self.compute.autocast():
            aim = batch.latents[None] if config.truth else self.aim(batch, seed, before)
            known = 1 - batch.moving if config.truth and pulled else None
            loss, gap, made = self.loss(batch, aim, before, seed, known=known)
            metrics = {} if known is not None else {"gap": gap}  # nobody knows how what is pulled should move
            if self.pictures is not None and not pulled:
                seen, parts = self.pictures(made, batch.latents, seed)
                loss = loss + seen
                metrics |= {name: float(value.detach()) for name, value in parts.items()}
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, config.warmup, config.decay_share), 1.0)
        self.ema.update(self.model)
        return {"loss": float(loss.detach()), "grad_norm": norm, **metrics}

    def grabs(self, step: int) -> bool:
        """Whether the step's clips are pictures that are pulled about."""
        draw = torch.rand((), generator=torch.Generator().manual_seed(self.config.seed * 10_000_019 + step))
        return bool(draw < self.config.p_grab)

    def batch_at(self, step: int) -> Batch:
        config = self.config
        seed = config.seed * 10_000_019 + step
        if self.grabs(step):
            given = (config.batch, self.preset, self.vae, config.num_frames, seed, self.compute.device)
            return grab_batch(*given, blur_cells=config.grab_blur_cells)
        camera = {"p_camera": config.p_camera, "p_sweep": config.p_sweep}
        scene = SceneConfig.of(self.preset.geometry, config.num_frames, p_twin=config.p_twin, **camera)
        low, high = config.tracks_per_object
        conditions = ConditionConfig(
            min_per_object=low,
            max_per_object=high,
            camera_tracks=config.camera_tracks,
            p_brush=config.p_brush,
            p_spill=config.p_spill,
            p_late_tracks=config.p_late_tracks,
            p_beyond=config.p_beyond,
            p_anchor=1.0,
            p_hide_resting=config.p_hide_resting,
            p_still_untold=config.p_still_untold,
            p_drop_motion=0.0,
            p_drop_text=0.1,
        )
        return training_batch(config.batch, self.preset, self.vae, scene, conditions, seed, self.compute.device)

    def noise(self, batch: Batch, before: PresetConfig, seed: int) -> tuple[NoiseFn, NoiseFn]:
        """The same noise, latent frame by latent frame, in the guide's chunks and in the student's."""
        large, small = before.cache.chunk_frames, self.preset.cache.chunk_frames
        whole = SeededNoise(seed, (len(batch.latents), large, *batch.latents.shape[2:]), self.compute.device)

        def part(chunk: int, step: int) -> Tensor:
            frames = range(chunk * small, (chunk + 1) * small)
            parts = {index: whole(index, step) for index in {frame // large for frame in frames}}
            return torch.stack([parts[frame // large][:, frame % large] for frame in frames], dim=1)

        return whole, part

    def aim(self, batch: Batch, seed: int, before: PresetConfig) -> Tensor:
        """What every estimate is drawn to, ``(steps, B, F, C, h, w)``: the guide's in moving cells, the truth in others.

        With ``uncovered_weight`` and ``resting_weight`` the truth in what a thing has left and in things at rest too.
        """
        guided = batch.moving if not self.config.uncovered_weight else batch.changed * (1 - batch.uncovered)
        if self.config.resting_weight:
            guided = guided * (1 - batch.resting)
        if self.config.sweeps_true and batch.sweeps is not None:
            guided = guided * ~batch.sweeps.view(-1, 1, 1, 1, 1)
        return torch.lerp(batch.latents, self.guide_estimates(batch, seed, before), guided)

    def guide_estimates(self, batch: Batch, seed: int, before: PresetConfig) -> Tensor:
        """Every clean estimate of the student in the setting of ``before``, ``(steps, B, F, C, h, w)``."""
        estimates: list[Tensor] = []
        streamed(self.guide, self.guide_model, before, batch, self.noise(batch, before, seed)[0], self.compute, estimates)
        return by_step(estimates, len(before.sample.student_sigmas)).float()

    def loss(
        self, batch: Batch, aim: Tensor, before: PresetConfig, seed: int, known: Tensor | None = None
    ) -> tuple[Tensor, float, Tensor]:
        """The weighted distance; the squared one of moving cells in the last step relative to what is to be gained
        over standing still; and what was made, ``(B, F, C, h, w)``. ``known (B, F, 1, h, w)`` in [0, 1] tells how far the
        aim counts, where not everywhere."""
        preset, config, sigmas = self.preset, self.config, self.preset.sample.student_sigmas
        h, w = (size // preset.model.patch for size in batch.latents.shape[-2:])
        cache = HistoryCache(preset.model, preset.cache, grid=(h, w), device=self.compute.device)
        estimates: list[Tensor] = []
        condition, noise = condition_of(self.model, preset, batch), self.noise(batch, before, seed)[1]
        for _ in rollout(self.model, cache, condition, noise, sigmas, self.chunks, grad=True, estimates=estimates):
            pass
        made = by_step(estimates, len(sigmas)).float()
        weight = 1 + config.moving_weight * batch.moving
        weight = weight + config.uncovered_weight * batch.uncovered + config.resting_weight * batch.resting
        weight = weight if known is None else weight * known
        weight = weight / made.new_tensor(sigmas).view(-1, 1, 1, 1, 1, 1) ** 2
        loss = (robust(made - aim) * weight).mean()
        apart, moved = (((one - aim[-1]).pow(2) * batch.moving).mean() for one in (made[-1].detach(), batch.latents[:, :1]))
        return loss, float(apart / moved.clamp_min(1e-6)), made[-1]

    def sheet(self, path: Path) -> None:
        chunks = max(2, 4 * self.before.cache.chunk_frames // self.preset.cache.chunk_frames)
        student_sheet(self.averaged(), self.vae, self.preset, self.compute, path, chunks)


def by_step(estimates: list[Tensor], steps: int) -> Tensor:
    """Estimates ``(B, F, ...)`` in the order in which a rollout makes them -> ``(steps, B, all frames, ...)``."""
    return torch.stack([torch.cat(estimates[step::steps], dim=1) for step in range(steps)])


def robust(difference: Tensor) -> Tensor:
    """Root mean square over channels, a square below `ROBUST_FLOOR`: ``(..., C, h, w) -> (..., 1, h, w)``."""
    square = difference.pow(2).mean(dim=-3, keepdim=True)
    return (square + ROBUST_FLOOR**2).sqrt() - ROBUST_FLOOR
