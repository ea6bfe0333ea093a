"""The baseline without a cache: diffusers' Wan transformer, given the visible context again in every step.

Its weights are random (a plain checkpoint has no causal student), so only its speed means anything. Tracks, noise and
decoding are ours.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from motionstream.bench.contestants import PROMPT, brush, picture_for
from motionstream.flow.path import add_noise
from motionstream.models.dit import Condition
from motionstream.models.extra import wan_library
from motionstream.models.memory_rehearsal import CLIP_ROWS
from motionstream.models.motion import track_latents
from motionstream.models.vae import DecoderState
from motionstream.nn.masks import visible_chunks
from motionstream.stream.engine import StreamEngine
from motionstream.stream.pushes import resample_pushes
from motionstream.stream.session import ChunkStats


class Whole:
    """One stream of diffusers' transformer in the shapes of ``engine``'s preset.

    Raises:
        ValueError: diffusers is not installed.
    """

    name = "diffusers"

    def __init__(self, engine: StreamEngine) -> None:
        self.engine, self.given = engine, engine.start(picture_for(engine), PROMPT)
        config, device, dtype = engine.preset.model, engine.compute.device, engine.compute.dtype
        extra = {"image_dim": config.image_dim, "added_kv_proj_dim": config.dim} if config.image_dim else {}
        torch.manual_seed(0)
        self.model = wan_library("diffusers").WanTransformer3DModel(
            patch_size=(1, config.patch, config.patch),
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            in_channels=config.in_channels,
            out_channels=config.latent_channels,
            text_dim=config.text_dim,
            freq_dim=config.freq_dim,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
            cross_attn_norm=True,
            **extra,
        )  # fmt: skip
        self.model = self.model.to(device).eval().requires_grad_(False)
        kept = tuple(self.model._keep_in_fp32_modules)  # as its own loader does with torch_dtype
        for key, weight in self.model.named_parameters():
            if not any(part in key for part in kept):
                weight.data = weight.data.to(dtype)
        self.text = engine.text([PROMPT]).to(device, dtype)
        self.rows = (
            torch.randn(1, CLIP_ROWS, config.image_dim, device=device, dtype=torch.float32).to(dtype)
            if config.image_dim
            else None
        )
        geometry = engine.preset.geometry
        self.cells = (geometry.latent_height // geometry.patch) * (geometry.latent_width // geometry.patch)
        self.index = 0
        self.held: dict = {}
        self.memory: DecoderState | None = None
        self.past: dict[int, Tensor] = {}
        self.latents: Tensor | None = None

    def chunk(self) -> ChunkStats:
        engine, given, clock = self.engine, self.given, time.perf_counter
        begun = clock()
        pushes = [(0.0, brush(engine, self.index))] if engine.takes_tracks else []
        frames, self.held = resample_pushes(self.held, pushes, given.frames_in_chunk(self.index))
        with torch.inference_mode(), engine.compute.autocast():
            points = (t.to(engine.compute.device) for t in given.buffer.chunk(frames, first=self.index == 0))
            motion = track_latents(engine.model, engine.preset.geometry, *points, first=self.index == 0)
            condition = Condition(given.first_latent, motion, [], None, given.picture_latents)
            tracked = clock()
            x0 = self._denoise(condition)
            engine.synchronize()
            denoised = clock()
            video, self.memory = engine.vae.decode(x0, self.memory)
            (video[0].float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        done = clock()
        spans = (0.0, tracked - begun, denoised - tracked, done - denoised)
        return ChunkStats(*(1000 * span for span in spans))

    def _denoise(self, condition: Condition) -> Tensor:
        given, engine, size = self.given, self.engine, self.engine.preset.cache.chunk_frames
        before = [c for c in visible_chunks(self.index, engine.preset.cache) if c != self.index]
        context = [self.past[c] for c in before]
        noisy = x0 = given.noise(self.index, 0)
        for step, sigma in enumerate(given.sigmas):
            if step:
                level = torch.full(x0.shape[:2], sigma, device=x0.device, dtype=torch.float32)
                noisy = add_noise(x0, given.noise(self.index, step), level)
            current = engine.model.assemble(noisy, condition, self.index * size)
            x0 = self._forward(torch.cat([*context, current], dim=1), sigma, size)
        self.past[self.index] = engine.model.assemble(x0, condition, self.index * size)
        for gone in [c for c in self.past if c not in visible_chunks(self.index + 1, engine.preset.cache)]:
            del self.past[gone]
        self.latents, self.index = x0, self.index + 1
        return x0

    def _forward(self, x: Tensor, sigma: float, size: int) -> Tensor:
        """Context at timestep 0, the last ``size`` frames at ``sigma``; returns those."""
        timestep = torch.zeros(1, x.shape[1] * self.cells, device=x.device, dtype=torch.float32)
        timestep[:, -size * self.cells :] = 1000 * sigma
        with torch.autocast(x.device.type, enabled=False):
            shown = x.transpose(1, 2).to(self.text.dtype)
            out = self.model(shown, timestep, self.text, self.rows, return_dict=False)[0]
        return out.transpose(1, 2)[:, -size:].float()

    def close(self) -> None:
        self.given.close()
        self.past.clear()
