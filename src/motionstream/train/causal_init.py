"""Stage 2: the causal student's start, by either of the two ways the field knows (paper section 3.2).

``ode``: regression on the teacher's ODE trajectories under random sparse causal masks (CausVid, the paper).
``forcing``: teacher-forced flow matching through the real cache (as argued for by Causal Forcing), optionally on the
student's own chunks (``p_own_context``), so that it meets its own mistakes: with ``own="rollout"`` these are made as in
streaming, from pure noise in few steps (Self Forcing's rollout with a regression in place of a score).

    motionstream train causal-init --vae runs/work/vae --teacher runs/work/teacher \
        --out runs/work/student --set method=forcing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from motionstream.causal.rollout import SeededNoise, rollout
from motionstream.config import CacheConfig, PresetConfig
from motionstream.data.conditions import Batch, ConditionConfig, training_batch
from motionstream.data.scenes import SceneConfig
from motionstream.device import Compute
from motionstream.flow.path import add_noise
from motionstream.flow.schedule import draw_sigma
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.load import load_weights
from motionstream.models.tensor_files import read_tensors
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import HistoryCache
from motionstream.nn.masks import chunk_mask
from motionstream.train.check import NOISE_SEEDS, check_settings
from motionstream.train.dit_stage import DiTStage, whole_chunks, with_cache, with_late_codes
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import lr_scale, muon_adamw
from motionstream.train.sheets import save_rows
from motionstream.train.teacher import SIGMA_FLOOR, compile_blocks, condition_of

ROBUST_FLOOR = 0.03
"""Below this root mean square of a cell (latents have about unit variance) the robust error becomes a square."""


@dataclass(frozen=True, kw_only=True)
class CausalInitConfig:
    """Settings of the student's initialisation.

    Args:
        method: "forcing" or "ode".
        cache: chunk, sink and window, as "c3s1w1"; "" is the preset's.
        num_frames: clip length in pixels (forcing); a whole number of chunks.
        past_chunks: most chunks that the student has streamed before the clip that is compared (own="rollout"); each step
            draws how many. Streams outlast every clip one can learn from, and mistakes add up in them.
        p_own_context: chance per step that earlier chunks are the student's own instead of the truth.
        own: how those are made: one "estimate" from the noised truth, or a few-step "rollout" that never sees the truth.
        context_noise: std of noise on true context, so that small errors of the past are forgiven.
        error: what a rollout's distance from the truth is: "squared", or "robust" (the root of each cell's mean square: it
            settles for one of several possible pictures where the square blends them; docs/LOG.md).
        p_mask_chunk, p_drop_motion: hidden motion. A regression can only blur what it is not told, so keep both at 0
            with own="rollout" (docs/LOG.md).
        tracks_per_object: fewest and most tracks on one object; the streaming engine always holds several.
        camera_tracks: fewest and most tracks on the background.
        p_camera: chance that the camera moves. p_brush: as in ConditionConfig.
        p_anchor: chance that a grid of codes shows in frame 0, as it always does when streaming.
        pairs: folder of ``train ode-pairs`` (ode).
        init: a folder whose ``student.safetensors`` to go on from; "" starts from the teacher.
        moving_weight: as in the teacher stage.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2_000))
    method: Literal["forcing", "ode"] = "forcing"
    cache: str = ""
    batch: int = 6
    num_frames: int = 45
    past_chunks: int = 0
    lr: float = 5e-4
    warmup: int = 50
    decay_share: float = 0.4
    ema: float = 0.998
    moving_weight: float = 3.0
    sigma_mean: float = 1.2
    p_own_context: float = 0.5
    own: Literal["estimate", "rollout"] = "estimate"
    context_noise: float = 0.05
    error: Literal["squared", "robust"] = "squared"
    p_mask_chunk: float = 0.1
    p_drop_motion: float = 0.05
    tracks_per_object: tuple[int, ...] = (8, 96)
    camera_tracks: tuple[int, ...] = (4, 120)
    p_camera: float = 0.4
    p_brush: float = 0.5
    p_anchor: float = 0.85
    pairs: str = ""
    init: str = ""
    compile: bool = False
    seed: int = 2

    def __post_init__(self) -> None:
        check_settings(self)
        if self.error == "robust" and (self.method, self.own) != ("forcing", "rollout"):
            raise ValueError("error=robust is how far a rollout is from the truth: set own=rollout (method=forcing), too")


class CausalInitStage(DiTStage):
    """Turns a teacher into a causal, few-step student that a cache can stream.

    ``teacher`` is its file; with ``config.init`` it is not read, and may be None.
    """

    name = "causal-init"

    def __init__(
        self, preset: PresetConfig, config: CausalInitConfig, vae: NanoVAE, teacher: Path | None, compute: Compute
    ) -> None:
        begun = (Path(config.init) / "student.safetensors",) if config.init else ()
        preset = with_late_codes(with_cache(preset, config.cache), *begun)
        super().__init__(preset, config.loop.steps, vae, compute)
        self.config = config
        self.model = WanDiT(preset.model, preset.geometry.t_stride)
        start = begun[0] if begun else teacher
        assert start is not None, "without init a causal start needs its teacher"
        load_weights(start, self.model)
        assert self.model.track_head is not None
        self.model.track_head.requires_grad_(False)  # frozen after stage 1 (paper appendix D)
        self.model.to(compute.device).train()
        if config.compile:
            compile_blocks(self.model)
        self.optimizer = muon_adamw(self.model, config.lr)
        self.ema = EMA(self.model, config.ema)
        if config.pairs and config.method != "ode":
            raise ValueError(
                f"pairs={config.pairs} is read by method=ode alone, not by method={config.method}: leave it out"
            )
        if config.method == "ode" and not config.pairs:
            raise ValueError("method=ode needs trajectories: --set pairs=DIR with what `motionstream train ode-pairs` made")
        self.pairs = OdePairs(Path(config.pairs)) if config.method == "ode" else None
        whole_chunks(preset, self.pairs.fitting(preset) if self.pairs else config.num_frames)
        if config.past_chunks and (config.own, config.p_own_context) != ("rollout", 1.0):
            raise ValueError(
                f"past_chunks={config.past_chunks} needs own=rollout and p_own_context=1: it is the student's past"
            )

    @property
    def grid(self) -> tuple[int, int]:
        geometry = self.preset.geometry
        return geometry.latent_height // geometry.patch, geometry.latent_width // geometry.patch

    def train_step(self, step: int) -> dict[str, float]:
        config = self.config
        generator = torch.Generator(self.compute.device).manual_seed(NOISE_SEEDS + config.seed * 7919 + step)
        # Data first, in full precision: half-precision rendering would move tracks off their pixels.
        if self.pairs is None:
            batch = self.batch_at(step)
            with self.compute.autocast():
                loss = self.forcing_loss(batch, generator)
        else:
            pairs = self.pairs.draw(config.batch, generator, self.compute.device)
            with self.compute.autocast():
                loss = self.ode_loss(*pairs, generator)
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, config.warmup, config.decay_share), 1.0)
        self.ema.update(self.model)
        return {"loss": float(loss.detach()), "grad_norm": norm}

    def batch_at(self, step: int) -> Batch:
        config, geometry = self.config, self.preset.geometry
        generator = torch.Generator().manual_seed(config.seed * 104_729 + step)
        past = int(torch.randint(config.past_chunks + 1, (), generator=generator))
        num_frames = config.num_frames + past * self.preset.cache.chunk_frames * geometry.t_stride
        scene = SceneConfig.of(geometry, num_frames, p_camera=config.p_camera)
        low, high = config.tracks_per_object
        conditions = ConditionConfig(
            min_per_object=low,
            max_per_object=high,
            camera_tracks=config.camera_tracks,
            p_brush=config.p_brush,
            p_anchor=config.p_anchor,
            p_drop_motion=config.p_drop_motion,
            p_drop_text=0.1,
            p_mask_chunk=config.p_mask_chunk,
        )
        seed = config.seed * 10_000_019 + step
        return training_batch(config.batch, self.preset, self.vae, scene, conditions, seed, self.compute.device)

    def forcing_loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Each chunk is denoised from its own noise level, given clean (or own) past chunks through the cache."""
        config, size, device = self.config, self.preset.cache.chunk_frames, self.compute.device
        condition = condition_of(self.model, self.preset, batch)
        own = bool(torch.rand((), generator=generator, device=device) < config.p_own_context)
        if own and config.own == "rollout":
            return self.rollout_loss(batch, condition, generator)
        cache = HistoryCache(self.preset.model, self.preset.cache, grid=self.grid, device=device, detach=False)
        losses = []
        for start in range(0, batch.latents.shape[1], size):
            latents, part = batch.latents[:, start : start + size], condition.frames(start, start + size)
            B, F = latents.shape[:2]
            noise = torch.randn(latents.shape, generator=generator, device=device)
            sigma = draw_sigma((B, 1), generator, config.sigma_mean)
            # A third of the samples start from pure noise, as the student's first step does.
            pure = torch.rand(B, 1, generator=generator, device=device) < 1 / 3
            level = torch.where(pure, torch.ones_like(sigma), sigma).expand(B, F)
            cache.begin_chunk()
            x0 = predict(self.model, add_noise(latents, noise, level), level, part, start=start, cache=cache).x0
            weight = 1 + config.moving_weight * batch.moving[:, start : start + size]
            weight = weight / level.clamp_min(SIGMA_FLOOR)[..., None, None, None] ** 2
            losses.append(((x0 - latents).pow(2) * weight).mean())
            past = x0.detach() if own else latents
            if not own and start:
                past = past + config.context_noise * torch.randn(past.shape, generator=generator, device=device)
            zero = torch.zeros(B, F, device=device)
            predict(self.model, past, zero, part, start=start, cache=cache)
            cache.commit()
        return torch.stack(losses).mean()

    def rollout_loss(self, batch: Batch, condition: Condition, generator: torch.Generator) -> Tensor:
        """The student streams the clip by itself; each chunk stops at one random step and is compared with the truth.

        Gradients flow through that step only, as in Self Forcing; cached keys are detached. What comes before the last
        ``num_frames`` of the batch is streamed as people stream it, in all steps, and not compared.
        """
        config, sigmas, device = self.config, self.preset.sample.student_sigmas, self.compute.device
        size = self.preset.cache.chunk_frames
        chunks = batch.latents.shape[1] // size
        past = chunks - whole_chunks(self.preset, config.num_frames)
        seed, exit_step = (
            int(torch.randint(high, (), generator=generator, device=device)) for high in (2**31 - 1, len(sigmas))
        )
        cache = HistoryCache(self.preset.model, self.preset.cache, grid=self.grid, device=device)
        noise = SeededNoise(seed, (len(batch.latents), size, *batch.latents.shape[2:]), device)
        for _ in rollout(self.model, cache, condition, noise, sigmas, past):
            pass
        made = rollout(self.model, cache, condition, noise, sigmas, chunks, exit_step=exit_step, grad=True)
        truth, moving = batch.latents[:, past * size :], batch.moving[:, past * size :]
        error = (torch.cat(list(made), dim=1) - truth).pow(2).mean(dim=2, keepdim=True)
        if config.error == "robust":
            error = (error + ROBUST_FLOOR**2).sqrt() - ROBUST_FLOOR
        return (error * (1 + config.moving_weight * moving)).mean() / sigmas[exit_step] ** 2

    def ode_loss(self, batch: Batch, states: Tensor, sigmas: Tensor, generator: torch.Generator) -> Tensor:
        """Regression from trajectory states to their end, under a random sparse causal mask (paper section 3.2)."""
        device, size = self.compute.device, self.preset.cache.chunk_frames
        condition = condition_of(self.model, self.preset, batch)
        B, F = batch.latents.shape[:2]
        pick = torch.randint(len(sigmas), (B, F // size), generator=generator, device=device).repeat_interleave(size, 1)
        noisy = states.gather(1, pick[:, None, :, None, None, None].expand(B, 1, *states.shape[2:]))[:, 0]
        level = sigmas[pick]
        sink, window = torch.randint(2, (2,), generator=generator, device=device).tolist()
        sparse = CacheConfig(chunk_frames=size, sink_chunks=sink, window_chunks=window + 1)
        mask = chunk_mask(F, self.grid[0] * self.grid[1], sparse, device)
        x0 = predict(self.model, noisy, level, condition, mask=mask).x0
        return (x0 - batch.latents).pow(2).mean()

    def sheet(self, path: Path) -> None:
        student_sheet(self.averaged(), self.vae, self.preset, self.compute, path)


class OdePairs:
    """Trajectories written by ``train ode-pairs``: one safetensors file per shard."""

    def __init__(self, folder: Path) -> None:
        self.shards = sorted(folder.glob("pairs_*.safetensors"))
        if not self.shards:
            raise ValueError(f"no pairs_*.safetensors in {folder}: run `motionstream train ode-pairs --out {folder}` first")
        self.loaded: dict[Path, dict[str, Tensor]] = {}

    def fitting(self, preset: PresetConfig) -> int:
        """Pixel frames of the trajectories, which must be of pictures as ``preset`` has them.

        Raises:
            ValueError: they are of other pictures, or the first file is damaged.
        """
        _, frames, *found = self._read(self.shards[0])["latents"].shape
        geometry = preset.geometry
        wanted = [preset.model.latent_channels, geometry.latent_height, geometry.latent_width]
        if found != wanted:
            raise ValueError(
                f"{self.shards[0].parent} holds latents of {found} (channels, rows, columns), not {wanted}: make the pairs "
                "with the same --preset and --size"
            )
        return geometry.pixel_frames(frames)

    def draw(self, batch: int, generator: torch.Generator, device: torch.device) -> tuple[Batch, Tensor, Tensor]:
        """A batch, its states ``(B, S, F, C, h, w)`` and their noise levels ``(S,)``.

        Raises:
            ValueError: a damaged file.
        """
        index = int(torch.randint(len(self.shards), (), generator=generator, device=generator.device))
        shard = self._read(self.shards[index])
        rows = torch.randint(len(shard["latents"]), (batch,), generator=generator, device=generator.device).cpu()
        picked = {key: shard[key][rows].to(device) for key in ("latents", "text", "xy", "visible", "ids", "states")}
        latents = picked["latents"].float()
        unknown = torch.zeros_like(latents[:, :, :1])
        made = Batch(latents, picked["text"], picked["xy"], picked["visible"], picked["ids"], *(unknown,) * 4)
        return made, picked["states"].float(), shard["sigmas"].to(device)

    def _read(self, path: Path) -> dict[str, Tensor]:
        if path not in self.loaded:
            self.loaded[path] = read_tensors(path)
        return self.loaded[path]


@torch.no_grad()
def student_sheet(model: WanDiT, vae: NanoVAE, preset: PresetConfig, compute: Compute, path: Path, chunks: int = 4) -> None:
    """Rows of truth and of the student's own rollout, with and without tracks."""
    geometry, size = preset.geometry, preset.cache.chunk_frames
    scene = SceneConfig.of(geometry, geometry.pixel_frames(chunks * size), split="eval", p_camera=0.2)
    conditions = ConditionConfig(p_drop_motion=0.0, p_drop_text=0.0, min_per_object=24, max_per_object=24, p_anchor=1.0)
    batch = training_batch(5, preset, vae, scene, conditions, 31_337, compute.device)
    with compute.autocast():
        condition = condition_of(model, preset, batch)
        rows = [
            batch.latents,
            *(roll(model, preset, c, batch, chunks) for c in (condition, condition.without_motion())),
        ]
    decoded = [vae.decode(latents.float())[0] for latents in rows]
    picks = torch.linspace(0, decoded[0].shape[1] - 1, 8).long()
    save_rows(path, [video[row, picks] for row in range(len(batch.latents)) for video in decoded])


def roll(model: WanDiT, preset: PresetConfig, condition: Condition, batch: Batch, chunks: int, seed: int = 3) -> Tensor:
    """The student's latents ``(B, chunks * chunk_frames, C, h, w)`` for a batch's conditions."""
    B, _, C, h, w = batch.latents.shape
    grid = (h // preset.model.patch, w // preset.model.patch)
    device = batch.latents.device
    cache = HistoryCache(preset.model, preset.cache, grid=grid, device=device)
    noise = SeededNoise(seed, (B, preset.cache.chunk_frames, C, h, w), device)
    made = rollout(model, cache, condition, noise, preset.sample.student_sigmas, chunks)
    return torch.cat(list(made), dim=1)
