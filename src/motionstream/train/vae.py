"""Stage 0: fit nano's linear latents, train the streaming decoder.

motionstream train vae --out runs/work/vae --steps 3000
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.config import PresetConfig
from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, sample_scenes
from motionstream.device import Compute
from motionstream.models.load import save_config, save_weights
from motionstream.models.vae import NanoVAE
from motionstream.train.check import NOISE_SEEDS, check_settings
from motionstream.train.ema import EMA
from motionstream.train.loop import LoopConfig
from motionstream.train.optim import adamw, lr_scale
from motionstream.train.pictures import edges_apart
from motionstream.train.sheets import save_rows


@dataclass(frozen=True, kw_only=True)
class VAETrainConfig:
    """Args: batch clips of ``num_frames``; ``latent_noise``: std of noise added to latents, so that the decoder forgives
    the DiT's small errors; ``edge``: weight of the picture-gradient loss."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=3000))
    batch: int = 4
    num_frames: int = 17
    lr: float = 1e-3
    warmup: int = 100
    decay_share: float = 0.5
    ema: float = 0.998
    latent_noise: float = 0.08
    edge: float = 0.5
    fit_clips: int = 256
    whitening: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)


class VAEStage:
    """Trains the decoder of :class:`NanoVAE` on procedural scenes; the encoder is fitted once, before step 0."""

    name = "vae"
    exports = "vae.safetensors"

    def __init__(self, preset: PresetConfig, config: VAETrainConfig, compute: Compute) -> None:
        self.preset, self.config, self.compute, self.steps = preset, config, compute, config.loop.steps
        torch.manual_seed(config.seed)
        self.vae = NanoVAE(preset.vae)
        self.vae.fit_linear(sample_blocks(self.vae, self._scene_config(), config.fit_clips), config.whitening)
        self.vae = self.vae.to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizer = adamw(self.vae, config.lr)
        self.ema = EMA(self.vae, config.ema)

    def _scene_config(self) -> SceneConfig:
        return SceneConfig.of(self.preset.geometry, self.config.num_frames, p_camera=0.5)

    def train_step(self, step: int) -> dict[str, float]:
        config = self.config
        seed = config.seed * 1_000_003 + step
        video = clip_batch(config.batch, self._scene_config(), seed, self.compute.device)
        latents = self.vae.encode(video)
        generator = torch.Generator(self.compute.device).manual_seed(NOISE_SEEDS + seed)
        noise = torch.randn(latents.shape, generator=generator, device=latents.device)
        level = torch.rand(len(latents), 1, 1, 1, 1, generator=generator, device=latents.device) * config.latent_noise
        with self.compute.autocast():
            decoded, _ = self.vae.decode(latents + level * noise)
        decoded = decoded.float()
        loss_pixel = (decoded - video).abs().mean()
        loss_edge = sum(edges_apart(decoded, video, axis) for axis in (-1, -2))
        loss = loss_pixel + config.edge * loss_edge
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, config.warmup, config.decay_share), 1.0)
        self.ema.update(self.vae)
        return {"loss": float(loss.detach()), "psnr": psnr(decoded, video), "grad_norm": norm}

    def state_dict(self) -> dict[str, Any]:
        return {"vae": self.vae.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def averaged(self) -> NanoVAE:
        vae = NanoVAE(self.preset.vae).to(self.compute.device).eval()
        self.ema.copy_to(vae)
        return vae

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        vae = self.averaged()
        config = replace(self._scene_config(), split="eval")
        video = clip_batch(4, config, 12345, self.compute.device)
        decoded, _ = vae.decode(vae.encode(video))
        linear = vae.decode_linear(vae.encode(video))[:, vae.config.t_stride - 1 :].clamp(0, 1)
        picks = torch.linspace(0, video.shape[1] - 1, 4).long()
        save_rows(path, [row[picks] for trio in zip(video, decoded, linear, strict=True) for row in trio])

    def export(self, folder: Path) -> None:
        save_config(folder, self.preset)
        save_weights(folder / "vae.safetensors", self.averaged(), dtype=torch.float16)


def clip_batch(batch: int, config: SceneConfig, seed: int, device: torch.device | str) -> Tensor:
    scenes = sample_scenes(batch, config, look_seed=seed, motion_seed=seed, device=device)
    return render(scenes, grid=(1, 1)).video


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of videos in [0, 1]."""
    error = float(F.mse_loss(a.detach().clamp(0, 1), b))
    return -10 * math.log10(max(error, 1e-12))


def sample_blocks(vae: NanoVAE, config: SceneConfig, clips: int, per_clip: int = 400) -> Tensor:
    """Pixel blocks ``(clips * per_clip, block)`` drawn at random from procedural clips, frame-0 blocks included."""
    generator = torch.Generator().manual_seed(99)
    kept = []
    for start in range(0, clips, 8):
        blocks = vae.blocks_of(clip_batch(min(8, clips - start), config, 777_000 + start, "cpu")).flatten(1, 3)
        for row in blocks:
            kept.append(row[torch.randint(len(row), (per_clip,), generator=generator)])
    return torch.cat(kept)
