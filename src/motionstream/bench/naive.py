"""The baseline: the same weights streamed the way public engines of the Self-Forcing family do it. Slow on purpose.

Per forward: positions are absolute and the rotary table is built anew in complex double precision; the prompt goes through
its projections in every layer; the cache is cloned and rolled, its counters are tensors that the host reads. Per chunk: the
clean pass comes before the frames, decoding waits for it, frames go to the host one by one.

Its latents are ours for chunks up to ``sink + window``; later its sink lies farther back in time than ours, as there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motionstream.bench.contestants import PROMPT, brush, picture_for
from motionstream.config import CacheConfig
from motionstream.flow.path import add_noise
from motionstream.models.blocks import SelfAttention, WanBlock
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.motion import track_latents
from motionstream.models.vae import DecoderState
from motionstream.nn.layers import modulate
from motionstream.nn.rope import axis_widths
from motionstream.stream.engine import StreamEngine
from motionstream.stream.pushes import resample_pushes
from motionstream.stream.session import ChunkStats


@dataclass
class _LayerCache:
    """Rotated keys and values ``(1, S, A, E)``; ends are tensors on the device, as tokens ever seen and tokens held."""

    k: Tensor
    v: Tensor
    seen: Tensor
    held: Tensor


class _Forward:
    """Stands for the model in :func:`predict`; ``start`` is the first token's place in the whole stream."""

    def __init__(self, model: WanDiT, text: Tensor, rows: Tensor | None, cache: CacheConfig, tokens: int) -> None:
        self.model, self.config, self.text, self.rows = model, model.config, text, rows
        self.assemble = model.assemble
        self.sink, self.capacity = cache.sink_chunks * tokens, (cache.sink_chunks + cache.window_chunks + 1) * tokens
        A, E, device = model.config.num_heads, model.config.head_dim, text.device
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
        self.caches = [
            _LayerCache(
                torch.zeros(1, self.capacity, A, E, device=device, dtype=dtype),
                torch.zeros(1, self.capacity, A, E, device=device, dtype=dtype),
                torch.zeros(1, dtype=torch.long, device=device),
                torch.zeros(1, dtype=torch.long, device=device),
            )
            for _ in model.blocks
        ]
        self.start = 0

    def __call__(self, x: Tensor, timestep: Tensor, text: object, **_: object) -> Tensor:
        model, config = self.model, self.config
        keys = model.embed_text(self.text)
        image = None if self.rows is None else model.embed_image(self.rows)
        tokens = model.patch_embedding(rearrange(x, "b f c h w -> b c f h w"))
        rows, columns = tokens.shape[3:]
        tokens = rearrange(tokens, "b d f h w -> b f (h w) d").float()
        time_head, time_blocks = model.embed_time(timestep)
        for layer, block in enumerate(model.blocks):
            assert isinstance(block, WanBlock)
            picture = None if image is None else image[layer]
            mod = (block.modulation.float() + time_blocks.float())[:, :, :, None]
            shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = mod.unbind(2)
            F, P = tokens.shape[1:3]
            y = modulate(block.norm1(tokens), shift, scale)
            y = self._attend(block.self_attn, self.caches[layer], y.flatten(1, 2), (F, rows, columns))
            tokens = tokens + y.unflatten(1, (F, P)) * gate
            tokens = tokens + block.cross_attn(block.norm3(tokens).flatten(1, 2), keys[layer], picture).unflatten(1, (F, P))
            tokens = tokens + block.ffn(modulate(block.norm2(tokens), shift_ffn, scale_ffn)) * gate_ffn
        out = model.head(tokens, time_head).float()
        return rearrange(out, "b f (h w) (p q c) -> b f c (h p) (w q)", h=rows, w=columns, p=config.patch, q=config.patch)

    def _attend(self, attn: SelfAttention, cache: _LayerCache, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        q = attn.norm_q(attn.q(x)).unflatten(-1, (attn.num_heads, -1))
        k = attn.norm_k(attn.k(x)).unflatten(-1, (attn.num_heads, -1))
        v = attn.v(x).unflatten(-1, (attn.num_heads, -1))
        first = self.start // (grid[1] * grid[2])
        q = _rotate_absolute(q, grid, first, self.config.rope_theta).to(v.dtype)
        k = _rotate_absolute(k, grid, first, self.config.rope_theta).to(v.dtype)
        keys, values = cache.k.clone(), cache.v.clone()
        end, new = self.start + x.shape[1], x.shape[1]
        if end > cache.seen.item() and new + cache.held.item() > self.capacity:
            evicted = int(new + cache.held.item()) - self.capacity
            kept = int(cache.held.item()) - evicted - self.sink
            for page in (keys, values):
                moved = page[:, self.sink + evicted : self.sink + evicted + kept].clone()
                page[:, self.sink : self.sink + kept] = moved
            held = int(cache.held.item()) + int(end - cache.seen.item()) - evicted
        else:
            held = int(cache.held.item()) + int(end - cache.seen.item())
        keys[:, held - new : held], values[:, held - new : held] = k, v
        out = scaled_dot_product_attention(
            q.transpose(1, 2), keys[:, :held].transpose(1, 2), values[:, :held].transpose(1, 2)
        )
        cache.k, cache.v = keys, values
        cache.seen.fill_(end)
        cache.held.fill_(held)
        return attn.o(out.transpose(1, 2).flatten(2))


def _rotate_absolute(x: Tensor, grid: tuple[int, int, int], first: int, theta: float) -> Tensor:
    """``x (1, L, A, E)`` rotated by absolute (frame, row, column) in complex double precision, table built on the way."""
    F, rows, columns = grid
    parts = []
    counts = (torch.arange(first, first + F), torch.arange(rows), torch.arange(columns))
    for axis, (place, width) in enumerate(zip(counts, axis_widths(x.shape[-1]), strict=True)):
        frequency = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float64, device=x.device) / max(width, 1))
        angle = torch.outer(place.to(x.device, torch.float64), frequency)
        view = [1, 1, 1, angle.shape[1]]
        view[axis] = len(place)
        parts.append(torch.polar(torch.ones_like(angle), angle).view(view).expand(F, rows, columns, -1))
    table = torch.cat(parts, dim=-1).reshape(F * rows * columns, 1, -1)
    pairs = torch.view_as_complex(x[0].to(torch.float64).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(2)[None].float()


class Naive:
    """One stream of the baseline on ``engine``'s weights, decoder and track input."""

    name = "naive"

    def __init__(self, engine: StreamEngine) -> None:
        self.engine = engine
        # Picture, noise, ids and points come from a session of ours that never steps.
        self.given = engine.start(picture_for(engine), PROMPT)
        geometry, device = engine.preset.geometry, engine.compute.device
        tokens = engine.preset.cache.chunk_frames * (geometry.latent_height // geometry.patch)
        tokens *= geometry.latent_width // geometry.patch
        with torch.inference_mode(), engine.compute.autocast():
            text = engine.text([PROMPT]).to(device)
            rows, picture = None, picture_for(engine)
            if engine.picture_rows is not None and picture is not None:
                shown = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255
                rows = engine.picture_rows(shown).to(device)
            self.forward = _Forward(engine.model, text, rows, engine.preset.cache, tokens)
        self.tokens, self.index = tokens, 0
        self.memory: DecoderState | None = None
        self.held: dict = {}
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
            self._pass(x0, 0.0, condition)
            engine.synchronize()
            cleaned = clock()
            video, self.memory = engine.vae.decode(x0, self.memory)
            for frame in video[0]:
                (frame.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        done = clock()
        self.latents, self.index = x0, self.index + 1
        spans = (cleaned - denoised, tracked - begun, denoised - tracked, done - cleaned)
        return ChunkStats(*(1000 * span for span in spans))

    def _denoise(self, condition: Condition) -> Tensor:
        noisy = x0 = self.given.noise(self.index, 0)
        for step, sigma in enumerate(self.given.sigmas):
            if step:
                level = torch.full(x0.shape[:2], sigma, device=x0.device, dtype=torch.float32)
                noisy = add_noise(x0, self.given.noise(self.index, step), level)
            x0 = self._pass(noisy, sigma, condition)
        return x0

    def _pass(self, noisy: Tensor, sigma: float, condition: Condition) -> Tensor:
        self.forward.start = self.index * self.tokens
        level = torch.full(noisy.shape[:2], sigma, device=noisy.device, dtype=torch.float32)
        start = self.index * noisy.shape[1]
        return predict(self.forward, noisy, level, condition, start=start).x0  # type: ignore[arg-type]

    def close(self) -> None:
        self.given.close()
        self.forward.caches.clear()
