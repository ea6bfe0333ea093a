"""The program's steps, run on tensors without numbers to learn what memory they take beside the weights.

Depth is rehearsed with few layers and continued in a straight line: each layer adds the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from motionstream.config import PresetConfig
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.guided import guided_predictor
from motionstream.models.memory_trace import MemoryTrace, made_in, products_in, rehearsal
from motionstream.models.tiny_vae import TinyVAE
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import HistoryCache, SinkWindowCache

CLIP_ROWS = 257
FEW = (1, 2)
"""Depths that are rehearsed; more are continued from them."""


@dataclass(frozen=True)
class Rehearsed:
    """Bytes beside the weights: kept for the backward pass when the forward pass ends, and at most at any time.

    ``peak`` holds the gradients as far as they are there at that time, unless they are released at once.
    """

    saved: int
    peak: int


def by_depth(preset: PresetConfig, run: Callable[[PresetConfig], Rehearsed]) -> Rehearsed:
    """``run(preset)``, from two shallow copies of the preset where it is deep."""
    layers = preset.model.num_layers
    if layers <= FEW[1]:
        return run(preset)
    low, high = (run(replace(preset, model=replace(preset.model, num_layers=few))) for few in FEW)

    def at(a: int, b: int) -> int:
        return a + (b - a) * (layers - FEW[0]) // (FEW[1] - FEW[0])

    return Rehearsed(at(low.saved, high.saved), at(low.peak, high.peak))


@lru_cache(maxsize=64)
def rehearse_denoise(preset: PresetConfig, weights: torch.dtype, compute: torch.dtype) -> Rehearsed:
    """One denoising step of a stream, sink and window filled. Cache, prompt and picture keys are not in it."""

    def run(shallow: PresetConfig) -> Rehearsed:
        with rehearsal() as trace, torch.inference_mode(), products_in(compute):
            model = made_in(weights, lambda: WanDiT(shallow.model, shallow.geometry.t_stride))
            trace.ignore(model)
            cache = full_cache(shallow, compute, torch.device("cpu"))
            condition = blank_condition(model, shallow, 1, shallow.cache.chunk_frames)
            before = trace.restart()
            denoise_step(model, shallow, cache, condition)
            return Rehearsed(0, trace.peak - before)

    return by_depth(preset, run)


@lru_cache(maxsize=64)
def rehearse_decode(preset: PresetConfig, kind: str, weights: torch.dtype) -> tuple[int, int]:
    """Decoding a chunk in mid-stream with nano's or the tiny autoencoder: bytes of the state, and at most beside it.

    Args:
        kind: "nano" or "tiny".
    """
    config = preset.vae
    with rehearsal() as trace, torch.inference_mode():
        vae = made_in(weights, lambda: NanoVAE(config) if kind == "nano" else TinyVAE(*tiny_form(preset))).eval()
        trace.ignore(vae)
        _, state = vae.decode(blank_latents(preset, 1, preset.cache.chunk_frames))
        before = trace.restart()
        vae.decode(blank_latents(preset, 1, preset.cache.chunk_frames), state)
        return sum(part.numel() * part.element_size() for part in state), trace.peak - before


@lru_cache(maxsize=64)
def rehearse_encode(preset: PresetConfig, num_frames: int, batch: int) -> int:
    """Encoding ``batch`` clips with nano's autoencoder: at most, the clips included."""
    geometry = preset.geometry
    with rehearsal() as trace, torch.inference_mode():
        vae = made_in(torch.float32, lambda: NanoVAE(preset.vae))
        before = trace.restart()  # the weights were made here and are no part of it
        vae.encode(torch.empty(batch, num_frames, 3, geometry.height, geometry.width, dtype=torch.float32))
        return trace.peak - before


@lru_cache(maxsize=64)
def rehearse_teacher(
    preset: PresetConfig, num_frames: int, batch: int, compute: torch.dtype, checkpointing: bool, released: bool = False
) -> Rehearsed:
    """Forward and backward of flow matching on ``batch`` clips; weights float32.

    Args:
        released: let each gradient go as soon as it is whole, as it does where GPUs share them out.
    """
    frames = preset.geometry.latent_frames(num_frames)

    def run(shallow: PresetConfig) -> Rehearsed:
        with rehearsal() as trace:
            model = _trainable(shallow, trace, checkpointing, released)
            before = trace.restart()
            with products_in(compute):
                condition = blank_condition(model, shallow, batch, frames)
                loss = flow_step(model, shallow, condition, batch, frames)
            saved = trace.live - before
            loss.backward()
            return Rehearsed(saved, trace.peak - before)

    return by_depth(preset, run)


def rehearse_critic(
    preset: PresetConfig, num_frames: int, batch: int, compute: torch.dtype, checkpointing: bool, released: bool = False
) -> Rehearsed:
    """The critic's step of distillation: a rollout without gradient, then flow matching on its clips."""
    return _distillation(preset, num_frames, batch, compute, checkpointing, released, student=False)


def rehearse_student(
    preset: PresetConfig, num_frames: int, batch: int, compute: torch.dtype, checkpointing: bool, released: bool = False
) -> Rehearsed:
    """The student's step: a rollout with gradient in one denoising step a chunk, both scores, the backward pass."""
    return _distillation(preset, num_frames, batch, compute, checkpointing, released, student=True)


@lru_cache(maxsize=64)
def _distillation(
    preset: PresetConfig,
    num_frames: int,
    batch: int,
    compute: torch.dtype,
    checkpointing: bool,
    released: bool,
    *,
    student: bool,
) -> Rehearsed:
    frames = preset.geometry.latent_frames(num_frames)

    def run(shallow: PresetConfig) -> Rehearsed:
        with rehearsal() as trace:
            model, critic = (_trainable(shallow, trace, checkpointing, released) for _ in range(2))
            before = trace.restart()
            with products_in(compute):
                with torch.set_grad_enabled(student):
                    latents = _roll(model, shallow, blank_condition(model, shallow, batch, frames), batch, frames)
                if student:
                    saved = trace.live - before
                    with torch.no_grad():
                        noisy, level = torch.empty_like(latents), torch.empty(batch, frames, dtype=torch.float32)
                        condition = blank_condition(critic, shallow, batch, frames)
                        empty = torch.empty(1, shallow.model.text_len, shallow.model.text_dim, dtype=torch.float32)
                        real = guided_predictor(critic, condition, empty, 3.0, 1.5)(noisy, level)
                        fake = predict(critic, noisy, level, condition).velocity
                        gradient = (fake - real) / (latents - real).abs().mean()
                    loss = (latents - (latents - gradient).detach()).pow(2).mean()
                else:
                    loss = flow_step(critic, shallow, blank_condition(critic, shallow, batch, frames), batch, frames)
                    saved = trace.live - before
            loss.backward()
            return Rehearsed(saved, trace.peak - before)

    return by_depth(preset, run)


def _roll(model: WanDiT, preset: PresetConfig, condition: Condition, batch: int, frames: int) -> Tensor:
    """The memory of ``causal.rollout.rollout``: of the steps of a chunk the last, and the pass that commits it.

    (That module stands above this one; a test compares the plan with a real step of distillation.)
    """
    size, made = preset.cache.chunk_frames, []
    cache = HistoryCache(preset.model, preset.cache, grid=grid_of(preset))
    for start in range(0, frames, size):
        part, level = condition.frames(start, start + size), torch.empty(batch, size, dtype=torch.float32)
        cache.begin_chunk()
        pinned = copy.copy(cache)  # recomputing a checkpointed block must see this chunk's context, not the last one's
        made.append(predict(model, blank_latents(preset, batch, size), level, part, start=start, cache=pinned).x0)
        with torch.no_grad():
            predict(model, made[-1].detach(), level, part, start=start, cache=cache)
        cache.commit()
    return torch.cat(made, dim=1)


def full_cache(preset: PresetConfig, compute: torch.dtype, device: torch.device) -> SinkWindowCache:
    """A cache whose sink and window are filled: what a stream holds from then on."""
    cache = SinkWindowCache(preset.model, preset.cache, batch=1, grid=grid_of(preset), device=device, dtype=compute)
    for _ in range(preset.cache.sink_chunks + preset.cache.window_chunks):
        cache.begin_chunk()
        cache.commit()
    return cache


def denoise_step(model: WanDiT, preset: PresetConfig, cache: SinkWindowCache, condition: Condition) -> None:
    """One evaluation of the next chunk."""
    frames = preset.cache.chunk_frames
    cache.begin_chunk()
    predict(
        model,
        blank_latents(preset, 1, frames),
        torch.empty(1, frames, dtype=torch.float32),
        condition,
        start=frames,
        cache=cache,
    )


def flow_step(model: WanDiT, preset: PresetConfig, condition: Condition, batch: int, frames: int) -> Tensor:
    """A loss of flow matching's size on clips of noise."""
    noisy = blank_latents(preset, batch, frames)
    error = predict(model, noisy, torch.empty(batch, frames, dtype=torch.float32), condition).x0 - torch.empty_like(noisy)
    return error.pow(2).mean()


def _trainable(preset: PresetConfig, trace: MemoryTrace, checkpointing: bool, released: bool) -> WanDiT:
    model = made_in(torch.float32, lambda: WanDiT(preset.model, preset.geometry.t_stride))
    trace.ignore(model)
    if checkpointing:
        for block in model.blocks:
            _recompute(block)
    if released:
        for weight in model.parameters():
            weight.register_post_accumulate_grad_hook(_release)
    return model


def _release(weight: Tensor) -> None:
    weight.grad = None


def _recompute(block: torch.nn.Module) -> None:
    forward = block.forward
    block.forward = lambda *inputs: checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)


def blank_condition(model: WanDiT, preset: PresetConfig, batch: int, frames: int) -> Condition:
    """A condition as training makes it: track map through the head, text and picture rows through their projections."""
    config, geometry = preset.model, preset.geometry
    tracks = None
    if model.track_head is not None:
        T = geometry.pixel_frames(frames)
        tracks = model.track_head(
            torch.empty(
                batch, T, config.tracks.code_dim, geometry.latent_height, geometry.latent_width, dtype=torch.float32
            ),
            first=True,
        )
    return Condition(
        first_latent=None if config.first_frame == "none" else blank_latents(preset, batch, 1),
        track_latents=tracks,
        text=model.embed_text(torch.empty(batch, config.text_len, config.text_dim, dtype=torch.float32)),
        image=model.embed_image(torch.empty(batch, CLIP_ROWS, config.image_dim, dtype=torch.float32))
        if config.image_dim
        else None,
        picture_latents=blank_latents(preset, batch, frames) if config.after_picture == "grey" else None,
    )


def blank_latents(preset: PresetConfig, batch: int, frames: int) -> Tensor:
    """``(batch, frames, C, h, w)`` float32 without meaning."""
    geometry = preset.geometry
    return torch.empty(
        batch, frames, preset.model.latent_channels, geometry.latent_height, geometry.latent_width, dtype=torch.float32
    )


def grid_of(preset: PresetConfig) -> tuple[int, int]:
    """Rows and columns of tokens of a latent frame."""
    geometry = preset.geometry
    return geometry.latent_height // geometry.patch, geometry.latent_width // geometry.patch


def tiny_form(preset: PresetConfig) -> tuple[int, int]:
    """Arguments of the tiny autoencoder that belongs to a preset's latents."""
    return preset.model.latent_channels, preset.geometry.stride // 8
