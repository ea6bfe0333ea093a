"""Trains what sets decoded frames beside the picture (models/recall.py), on procedural scenes.

Half of the clips are latents of the truth, spoilt where the picture has changed as a student spoils them: colours of cells a
little off, what is fine in them mostly guessed. They lie where the truth lies, and teach where the picture's pixels belong.
The other half are streamed by the student, and teach how far it can be believed. Both are drawn to the truth.

    motionstream train recall --vae DIR --student DIR --out DIR
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.causal.rollout import SeededNoise
from motionstream.config import PresetConfig
from motionstream.data.conditions import Batch, ConditionConfig, changed_cells, condition_batch, widened
from motionstream.data.render import Rendered, render, ways_home
from motionstream.data.scenes import SceneConfig, sample_scenes
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.models.load import load_weights, save_weights
from motionstream.models.recall import PictureRecall, carried_picture, told_ways
from motionstream.models.vae import NanoVAE
from motionstream.train.check import check_settings
from motionstream.train.dit_stage import whole_chunks
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import adamw, lr_scale
from motionstream.train.sheets import save_rows
from motionstream.train.streamed import streamed
from motionstream.train.vae import psnr

SPEEDS = (0.8, 1.6, 2.8)
"""In turn, times the usual speed of things: a hand is quick."""
P_SPOILT = 0.8
"""Of clips of the truth; the others are the truth through the VAE."""
COARSE, MIDDLE = 3, 9
"""Channels before these are the coarsest, and the next; a student gets them right, and about half right (docs/LOG.md)."""
NOISE, BLUR = (0.28, 0.48, 0.64), (0.25, 0.6, 0.9)
"""Of coarse, middle and fine channels: noise, of their standard deviation, and the share of a mean over 3 x 3 cells in them,
at the most."""
NOISE_SEEDS = 1 << 38
"""Seeds of :class:`SeededNoise` are less: it multiplies them, and the product must fit 64 bits."""
SAME = 0.06
"""Largest difference of any channel at which the picture at the end of a true way counts as what a pixel shows."""


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """Args: batch clips of ``num_frames``, of which ``frames_per_clip`` are compared a step; ``p_student``: share of steps
    with clips of the student's; ``told_off_px``: how far the tracks of a clip may lie beside what they tell of, standard
    deviation; ``edge``, ``way``: weights of the steps between neighbouring pixels and, a pixel, of wrong ways; what differs
    from the picture weighs 1 + ``moving_weight``; ``init``: a folder with ``recall.safetensors`` to go on from. The
    others as in CausalInitConfig, SceneConfig and ConditionConfig."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2_500))
    batch: int = 5
    num_frames: int = 17
    frames_per_clip: int = 8
    lr: float = 2e-3
    warmup: int = 50
    decay_share: float = 0.4
    ema: float = 0.995
    p_student: float = 0.45
    told_off_px: float = 1.5
    edge: float = 0.5
    way: float = 0.02
    moving_weight: float = 3.0
    init: str = ""
    tracks_per_object: tuple[int, ...] = (1, 96)
    camera_tracks: tuple[int, ...] = (16, 200)
    p_camera: float = 0.35
    p_twin: float = 0.2
    p_sweep: float = 0.0
    p_brush: float = 0.5
    p_spill: float = 0.4
    p_beyond: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.frames_per_clip >= self.num_frames:
            raise ValueError(
                f"frames_per_clip={self.frames_per_clip} must be less than num_frames={self.num_frames}: one is the picture"
            )


class RecallStage:
    """See the module docstring. ``student``: its file; ``preset`` has the cache and the noise levels that it streams in."""

    name = "recall"
    exports = "recall.safetensors"

    def __init__(self, preset: PresetConfig, config: RecallConfig, vae: NanoVAE, student: Path, compute: Compute) -> None:
        if preset.model.tracks.code != "origin":
            raise ValueError(
                f"tracks of {preset.name} have code={preset.model.tracks.code!r}, which does not say where they begin: a "
                'recall needs code="origin", as nano has it'
            )
        self.preset, self.config, self.compute, self.steps = preset, config, compute, config.loop.steps
        whole_chunks(preset, config.num_frames)
        self.vae = vae.to(compute.device).eval().requires_grad_(False)
        self.student = WanDiT(preset.model, preset.geometry.t_stride).to(compute.device)
        load_weights(student, self.student)
        self.fused = FusedDiT(self.student.eval().requires_grad_(False), compute.dtype)
        torch.manual_seed(config.seed)
        self.recall = PictureRecall(preset.vae.width_out)
        if config.init:
            load_weights(Path(config.init) / self.exports, self.recall)
        self.recall = self.recall.to(compute.device).train()
        self.optimizer = adamw(self.recall, config.lr, weight_decay=1e-3)
        self.ema = EMA(self.recall, config.ema)

    def train_step(self, step: int) -> dict[str, float]:
        config = self.config
        seed = config.seed * 10_000_019 + step
        rendered, batch, home = self.clips(seed, SPEEDS[step % len(SPEEDS)])
        generator = torch.Generator(self.compute.device).manual_seed(seed ^ 0x0F5)
        given = self.given(batch, seed, generator)
        picks = 1 + torch.randperm(config.num_frames - 1, generator=generator, device=home.device)[: config.frames_per_clip]
        truth, home = (part[:, picks].flatten(0, 1) for part in (rendered.video, home))
        picture = rendered.video[:, :1].expand(-1, len(picks), -1, -1, -1).flatten(0, 1)
        with torch.no_grad(), self.compute.autocast():
            decoded, features = self.decoded(given, picks)
            ways, cues = self.told(batch, picks, generator)
        with self.compute.autocast():
            made = self.recall.parts(decoded, features, picture, ways, cues)
        changed = ((truth - picture).abs().amax(1, keepdim=True) > SAME / 2).float()
        weight = 1 + config.moving_weight * changed
        apart = made.frames - truth
        pixels = (apart.abs() * weight).mean()
        edges = sum(
            (apart.diff(dim=axis).abs() * weight.narrow(axis, 1, weight.shape[axis] - 1)).mean() for axis in (-1, -2)
        )
        wrong, counts = _wrong_ways(made.ways, home, picture, truth, cues[:, :1])
        loss = pixels + config.edge * edges + config.way * (wrong * counts).mean()
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, config.warmup, config.decay_share), 1.0)
        self.ema.update(self.recall)
        return {
            "loss": float(loss.detach()),
            "psnr": psnr(made.frames, truth),
            "psnr_decoded": psnr(decoded, truth),
            "way_px": float((wrong.detach() * counts).sum() / counts.sum().clamp_min(1)),
            "picture_share": float(
                (made.shares.detach()[:, 1:].sum(1, keepdim=True) * changed).sum() / changed.sum().clamp_min(1)
            ),
            "grad_norm": norm,
        }

    @torch.no_grad()
    def clips(self, seed: int, speed: float) -> tuple[Rendered, Batch, Tensor]:
        """Scenes, what a student is told of them, and the way home of every 2 x 2 pixels."""
        config, preset = self.config, self.preset
        usual = SceneConfig.of(preset.geometry, config.num_frames).speed_px
        more = {"p_camera": config.p_camera, "p_sweep": config.p_sweep, "p_twin": config.p_twin, "speed_px": usual * speed}
        scene = SceneConfig.of(preset.geometry, config.num_frames, **more)
        low, high = config.tracks_per_object
        conditions = ConditionConfig(
            min_per_object=low,
            max_per_object=high,
            camera_tracks=config.camera_tracks,
            p_brush=config.p_brush,
            p_spill=config.p_spill,
            p_beyond=config.p_beyond,
            p_anchor=1.0,
            p_hide_resting=0.0,  # a stream goes on telling where things lie that it has moved
            p_still_untold=0.9,
            p_drop_motion=0.0,
            p_drop_text=0.1,
        )
        scenes = sample_scenes(config.batch, scene, look_seed=seed, motion_seed=seed, device=self.compute.device)
        rendered = render(scenes, point_seed=seed)
        generator = torch.Generator(self.compute.device).manual_seed(seed ^ 0x7AC5)
        return rendered, condition_batch(rendered, preset, self.vae, conditions, generator), ways_home(scenes, 2)

    @torch.no_grad()
    def given(self, batch: Batch, seed: int, generator: torch.Generator) -> Tensor:
        """Latents ``(B, F, C, h, w)`` to be decoded: the student's, or those of the truth, spoilt."""
        draw = torch.rand((), generator=generator, device=self.compute.device)
        return self.streamed(batch, seed) if draw < self.config.p_student else spoilt(batch.latents, generator)

    def streamed(self, batch: Batch, seed: int) -> Tensor:
        """What the student makes of the clips."""
        shape = len(batch.latents), self.preset.cache.chunk_frames, *batch.latents.shape[2:]
        noise = SeededNoise(seed % NOISE_SEEDS, shape, self.compute.device)
        made = streamed(self.fused, self.student, self.preset, batch, noise, self.compute)
        return made[:, : batch.latents.shape[1]].float()

    def decoded(self, latents: Tensor, picks: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and features of :meth:`NanoVAE.decode_half`, some of all clips', one after the other."""
        video, features, _ = self.vae.decode_half(latents)
        return video[:, picks].flatten(0, 1).float(), features[:, picks].flatten(0, 1)

    def told(self, batch: Batch, picks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Ways and cues of some frames, all clips' one after the other; told of what moved a little beside it."""
        device = batch.xy.device
        far = torch.rand(len(batch.xy), 1, 1, 1, generator=generator, device=device) * self.config.told_off_px
        beside = far * torch.randn(len(batch.xy), 1, 1, 2, generator=generator, device=device)
        moved = (batch.xy - batch.xy[:, :1]).norm(dim=-1, keepdim=True) > 1
        xy = torch.where(moved, batch.xy + beside, batch.xy)[:, picks]
        size = self.preset.geometry.height, self.preset.geometry.width
        ways, cues = told_ways(xy, batch.visible[:, picks], batch.ids, size)
        return ways.flatten(0, 1), cues.flatten(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {
            "recall": self.recall.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema.state_dict()
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.recall.load_state_dict(state["recall"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def averaged(self) -> PictureRecall:
        recall = PictureRecall(self.preset.vae.width_out).to(self.compute.device).eval()
        self.ema.copy_to(recall)
        return recall

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Truth, the student's frames as decoded, and as shown."""
        rendered, batch, _ = self.clips(12345, SPEEDS[1])
        generator = torch.Generator(self.compute.device).manual_seed(0)
        picks = torch.linspace(0, self.config.num_frames - 1, 4, device=self.compute.device).long()
        latents = self.streamed(batch, 0)
        plain = self.vae.decode(latents)[0].float()[:, picks]
        picture = rendered.video[:, :1].expand_as(plain).flatten(0, 1)
        told = self.told(batch, picks, generator)
        shown = self.averaged()(*self.decoded(latents, picks), picture, *told).view_as(plain)
        save_rows(path, [row for trio in zip(rendered.video[:, picks], plain, shown, strict=True) for row in trio])

    def export(self, folder: Path) -> None:
        save_weights(folder / self.exports, self.averaged(), dtype=torch.float16)


def spoilt(latents: Tensor, generator: torch.Generator) -> Tensor:
    """``latents (B, F, C, h, w)`` as a student might make them; only cells that have changed, and those beside them."""
    B, _, C, h, w = latents.shape
    device = latents.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def normal(frames: int) -> Tensor:
        return torch.randn(B, frames, C, h, w, generator=generator, device=device)

    lasting = rand(B, 1, 1, 1, 1)  # most of what a student gets wrong it goes on getting wrong
    noise = lasting.sqrt() * normal(1) + (1 - lasting).sqrt() * normal(latents.shape[1])
    spread = latents.std(dim=(0, 1, 3, 4), keepdim=True)
    mean = F.avg_pool2d(F.pad(latents.flatten(0, 1), (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(latents)
    parts = torch.tensor([0] * COARSE + [1] * (MIDDLE - COARSE) + [2] * C, device=device)[:C]
    amount, share = (torch.tensor(levels, device=device)[parts].view(1, 1, C, 1, 1) for levels in (NOISE, BLUR))
    strength = rand(B, 1, 1, 1, 1) * (rand(B, 1, 1, 1, 1) < P_SPOILT)
    worse = strength * (share * (mean - latents) + amount * spread * noise)
    return latents + widened(changed_cells(latents)) * worse


def _wrong_ways(moved: Tensor, home: Tensor, picture: Tensor, truth: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """How far ways ``(n, 2, H / 2, W / 2)`` are from true ones, 8 pixels at the most, and how much each counts: those of
    what moved and is in the picture, the nearer to a track the more."""
    there = carried_picture(picture, home, (truth.shape[-2], truth.shape[-1]))
    same = -F.max_pool2d(-((there - truth).abs().amax(1, keepdim=True) < SAME).float(), 2)  # all four pixels
    counts = same * (home.norm(dim=1, keepdim=True) > 0.3)
    counts = counts * F.interpolate(near, size=moved.shape[-2:], mode="bilinear", align_corners=False)
    wrong = ((moved - home).square().sum(1, keepdim=True) + 0.01).sqrt().clamp(max=8)
    return wrong, counts
