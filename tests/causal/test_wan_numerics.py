"""The cached student at the numerics of Wan's blocks, against a reference built from diffusers' own layers.

The reference keeps all keys, concatenates those of the chunks that are visible, turns them by diffusers' rotary tables at
their slots and attends in float64: no cache, no ring, none of our layers. Wan's head width (128), patch and conditions;
fewer and narrower layers.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from motionstream.causal.rollout import commit_chunk
from motionstream.config import CacheConfig, PresetConfig
from motionstream.models.convert.keys import from_diffusers
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.nn.kv_cache import HistoryCache, SinkWindowCache
from motionstream.presets import preset

CHUNKS, GRID, SIGMA = 6, (4, 6), 0.7
TOKENS = (2, 3)
BF16_TOLERANCE = 1e-2
"""Relative RMS error of bfloat16 weights and products (8 bits: 4e-3 a rounding) over two layers; 5e-3 is seen."""


def small(name: str) -> PresetConfig:
    """A real preset with fewer, narrower layers."""
    made = preset(name)
    sizes = {"dim": 256, "ffn_dim": 96, "num_heads": 2, "num_layers": 2, "text_dim": 12, "freq_dim": 32}
    image = {"image_dim": 20} if made.model.image_dim else {}
    return replace(made, model=replace(made.model, **sizes, **image))


class Reference:
    """One forward over a chunk, from diffusers' modules, with the keys of earlier chunks given."""

    def __init__(self, network: Any, cache: CacheConfig) -> None:
        self.network, self.cache = network, cache
        frames = cache.slots
        self.cos, self.sin = network.rope(torch.zeros(1, 1, frames, *GRID))
        self.length = cache.chunk_frames * TOKENS[0] * TOKENS[1]

    def rotate(self, x: Tensor, slot: int) -> Tensor:
        span = slice(slot * self.length, (slot + 1) * self.length)
        turn = torch.complex(self.cos[:, span, :, ::2].double(), self.sin[:, span, :, ::2].double())
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turn).flatten(-2)

    def __call__(
        self, x: Tensor, timestep: Tensor, text: Tensor, rows: Tensor | None, past: list[list[tuple[Tensor, Tensor]]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """x ``(B, C, F, h, w)``, timestep ``(B, F)``; past: visible chunks, unrotated keys and values of each layer."""
        net, written = self.network, []
        tokens = net.patch_embedding(x).flatten(2).transpose(1, 2)
        per_token = timestep.repeat_interleave(TOKENS[0] * TOKENS[1], 1)
        time, time6, context, image = net.condition_embedder(per_token.flatten(), text, rows, per_token.shape[1])
        time6 = time6.unflatten(2, (6, -1))
        if image is not None:
            context = torch.cat([image, context], 1)
        for layer, block in enumerate(net.blocks):
            shift, scale, gate, shift2, scale2, gate2 = (block.scale_shift_table[:, None] + time6).unbind(2)
            y, attn = block.norm1(tokens) * (1 + scale) + shift, block.attn1
            q = attn.norm_q(attn.to_q(y)).unflatten(2, (attn.heads, -1))
            k = attn.norm_k(attn.to_k(y)).unflatten(2, (attn.heads, -1))
            v = attn.to_v(y).unflatten(2, (attn.heads, -1))
            written.append((k, v))
            seen = [*(chunk[layer] for chunk in past), (k, v)]
            keys = torch.cat([self.rotate(key, slot) for slot, (key, _) in enumerate(seen)], 1)
            values = torch.cat([value for _, value in seen], 1).double()
            scores = torch.einsum("blae,bsae->bals", self.rotate(q, len(past)), keys) / q.shape[-1] ** 0.5
            y = torch.einsum("bals,bsae->blae", scores.softmax(-1), values).flatten(2).float()
            tokens = tokens + attn.to_out[0](y) * gate
            tokens = tokens + block.attn2(block.norm2(tokens), context, None, None)
            tokens = tokens + block.ffn(block.norm3(tokens) * (1 + scale2) + shift2) * gate2
        shift, scale = (net.scale_shift_table[:, None] + time[:, :, None]).unbind(2)
        out = net.proj_out(net.norm_out(tokens) * (1 + scale) + shift)
        out = out.reshape(len(x), -1, *TOKENS, 2, 2, out.shape[-1] // 4).permute(0, 1, 6, 2, 4, 3, 5)
        return out.flatten(5).flatten(3, 4), written


def networks(config: PresetConfig) -> tuple[Any, WanDiT]:
    """diffusers' network, random in every weight, and ours with the same weights."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra wan)")
    m = config.model
    theirs = diffusers.WanTransformer3DModel(
        num_attention_heads=m.num_heads, attention_head_dim=m.head_dim, in_channels=m.in_channels, num_layers=m.num_layers,
        out_channels=m.latent_channels, text_dim=m.text_dim, freq_dim=m.freq_dim, ffn_dim=m.ffn_dim,
        image_dim=m.image_dim or None, added_kv_proj_dim=m.dim if m.image_dim else None,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1 and "table" not in name:
                weight.copy_(noise * weight[0].numel() ** -0.5)
            else:
                weight.copy_(1 + 0.2 * noise if "norm" in name and name.endswith("weight") else 0.3 * noise)
        for block in theirs.blocks:  # sharp attention: a wrong slot or a missing key must show
            block.attn1.norm_q.weight.mul_(2)
    ours = WanDiT(m, config.geometry.t_stride).eval()
    ours.load_state_dict({from_diffusers(k): v for k, v in theirs.state_dict().items()}, strict=not m.tracks.channels)
    return theirs, ours


class Scene:
    """Clean and noisy latents of all chunks, conditions, and the networks' inputs put together by hand."""

    def __init__(self, config: PresetConfig, cache: CacheConfig) -> None:
        m, generator = config.model, torch.Generator().manual_seed(1)
        self.config, self.size, F = config, cache.chunk_frames, cache.chunk_frames * CHUNKS
        self.text = torch.randn(1, m.text_len, m.text_dim, generator=generator)
        self.clean, self.noisy, self.known = torch.randn(3, 1, F, m.latent_channels, *GRID, generator=generator)
        self.rows = torch.randn(1, 5, m.image_dim, generator=generator) if m.image_dim else None
        self.tracks = torch.randn(1, F, m.tracks.channels, *GRID, generator=generator) if m.tracks.channels else None
        self.known = self.known[:, :4]  # the picture and three grey frames; later ones repeat the last

    def condition(self, model: WanDiT) -> Condition:
        image = None if self.rows is None else model.embed_image(self.rows)
        return Condition(self.known[:, :1], self.tracks, model.embed_text(self.text), image, self.known)

    def put_together(self, latents: Tensor, chunk: int, sigma: float) -> tuple[Tensor, Tensor]:
        """``(B, channels, F, h, w)`` and timesteps ``(B, F)`` of a chunk, written out frame by frame."""
        frames, timestep = [], []
        for i in range(self.size):
            frame = chunk * self.size + i
            parts = [latents[:, frame]]
            level = sigma
            if self.config.model.first_frame == "concat":
                parts.append(torch.full((1, 4, *GRID), float(frame == 0)))
                parts.append(self.known[:, min(frame, 3)])
            if self.config.model.first_frame == "clean" and frame == 0:
                parts, level = [self.known[:, 0]], 0.0
            if self.tracks is not None:
                parts.append(self.tracks[:, frame])
            frames.append(torch.cat(parts, 1))
            timestep.append(1000 * level)
        return torch.stack(frames, 2), torch.tensor([timestep])


def reference_velocities(theirs: Any, scene: Scene, cache: CacheConfig) -> list[Tensor]:
    reference, past, made = Reference(theirs, cache), [], []
    for chunk in range(CHUNKS):
        sink, window = cache.sink_chunks, cache.window_chunks
        visible = [past[i] for i in range(chunk) if i < sink or i >= chunk - window]
        x, timestep = scene.put_together(scene.noisy, chunk, SIGMA)
        made.append(reference(x, timestep, scene.text, scene.rows, visible)[0])
        x, timestep = scene.put_together(scene.clean, chunk, 0.0)
        past.append(reference(x, timestep, scene.text, scene.rows, visible)[1])
    return made


def cached_velocities(model: WanDiT, scene: Scene, cache: CacheConfig, store: Any) -> list[Tensor]:
    condition, made = scene.condition(model), []
    for chunk in range(CHUNKS):
        here = slice(chunk * scene.size, (chunk + 1) * scene.size)
        part = condition.frames(here.start, here.stop)
        level = torch.full((1, scene.size), SIGMA)
        store.begin_chunk()
        made.append(predict(model, scene.noisy[:, here], level, part, start=here.start, cache=store).velocity)
        commit_chunk(model, store, scene.clean[:, here], part)
    return made


PLANS = [(3, 1, 1), (1, 2, 2), (2, 0, 1)]
NAMES = ["wan2.1-1.3b-t2v", "wan2.1-1.3b", "wan2.2-5b"]


@torch.no_grad()
@pytest.mark.parametrize(("c", "s", "w"), PLANS)
@pytest.mark.parametrize("name", NAMES)
def test_the_cached_student_is_the_concatenated_reference(name, c, s, w):
    cache = CacheConfig(chunk_frames=c, sink_chunks=s, window_chunks=w)
    config = small(name)
    theirs, ours = networks(config)
    scene = Scene(config, cache)
    wanted = torch.cat(reference_velocities(theirs, scene, cache), 1)
    rows = slice(1, None) if config.model.first_frame == "clean" else slice(None)  # latent 0 is the picture there
    stores = [SinkWindowCache(config.model, cache, batch=1, grid=TOKENS), HistoryCache(config.model, cache, grid=TOKENS)]
    for store in stores:
        got = torch.cat(cached_velocities(ours, scene, cache, store), 1)
        error = (got - wanted)[:, rows].abs().max() / wanted[:, rows].abs().max()
        assert error <= 1e-5, type(store).__name__

    low = WanDiT(config.model, config.geometry.t_stride).eval()
    low.load_state_dict(ours.state_dict())
    store = SinkWindowCache(config.model, cache, batch=1, grid=TOKENS, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = torch.cat(cached_velocities(low.bfloat16(), scene, cache, store), 1)
    error = (got - wanted)[:, rows].square().mean().sqrt() / wanted[:, rows].square().mean().sqrt()
    assert 1e-4 < error <= BF16_TOLERANCE
    assert got.dtype == torch.float32


@torch.no_grad()
def test_the_reference_depends_on_sink_window_and_slots():
    """Otherwise the test above could not fail."""
    config = small("wan2.1-1.3b-t2v")
    theirs, _ = networks(config)
    made = []
    for s, w in [(0, 1), (1, 1), (1, 2), (2, 1)]:
        cache = CacheConfig(chunk_frames=1, sink_chunks=s, window_chunks=w)
        made.append(reference_velocities(theirs, Scene(config, cache), cache)[-1])
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(made) for b in made[i + 1 :])
