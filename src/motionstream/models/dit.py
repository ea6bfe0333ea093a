"""``WanDiT``: one video transformer, bidirectional or cached-causal by its arguments (paper sections 3.1 and 3.3).

The motion condition enters as channels: noisy latents, first-frame latents and track latents are concatenated before
the patch embedding, and nothing else changes (no ControlNet).

    model = WanDiT(ModelConfig())
    text = model.embed_text(torch.zeros(1, 16, 64))
    out = model(model.assemble(noisy, condition), timestep, text)       # (B, F, C, h, w)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import silu

from motionstream.config import ModelConfig
from motionstream.models.blocks import Head, ImageEmbedding, TextKeys, WanBlock, gelu_mlp, linear_float32, silu_mlp
from motionstream.models.track_head import TrackHead
from motionstream.nn.kv_cache import ChunkCache
from motionstream.nn.layers import timestep_embedding
from motionstream.nn.rope import RotaryTable, rotary_table


@dataclass(frozen=True)
class Condition:
    """What a video is made from.

    Attributes:
        first_latent: ``(B, 1, C, h, w)``, or None without a picture.
        track_latents: ``(B, F, C_track, h, w)`` of the frames asked for, or None without motion.
        text: keys and values of the prompt, one pair a layer (:meth:`WanDiT.embed_text`).
        image: keys and values of the picture's rows (:meth:`WanDiT.embed_image`), for models with ``image_dim``.
        prompt_rows: int32 ``(1,)``, for B = 1: the rows of ``text`` after so many, the prompt's, are equal. None = unknown.
        picture_latents: ``(B, S, C, h, w)`` latents of the picture followed by grey frames, counted from latent frame 0
            of the video; later frames have the last one's. For models with ``after_picture="grey"``
            (:func:`motionstream.models.picture.encode_picture` makes them).
    """

    first_latent: Tensor | None
    track_latents: Tensor | None
    text: list[TextKeys]
    image: list[TextKeys] | None = None
    picture_latents: Tensor | None = None
    prompt_rows: Tensor | None = None

    def without_motion(self) -> Condition:
        """Motion dropped: zero track latents, as in training."""
        none = None if self.track_latents is None else torch.zeros_like(self.track_latents)
        return replace(self, track_latents=none)

    def frames(self, start: int, stop: int) -> Condition:
        """Track latents of latent frames [start, stop) only."""
        part = None if self.track_latents is None else self.track_latents[:, start:stop]
        return replace(self, track_latents=part)


class WanDiT(nn.Module):
    """See the module docstring; parameter names follow Wan's own checkpoints."""

    def __init__(self, config: ModelConfig, t_stride: int = 4) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, (1, patch, patch), stride=(1, patch, patch))
        self.text_embedding = gelu_mlp(config.text_dim, dim)
        self.img_emb = ImageEmbedding(config.image_dim, dim) if config.image_dim else None
        self.time_embedding = silu_mlp(config.freq_dim, dim)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(WanBlock(config) for _ in range(config.num_layers))
        self.head = Head(config)
        self.track_head = TrackHead(config.tracks, t_stride) if config.tracks.channels else None

    def embed_text(self, text: Tensor) -> list[TextKeys]:
        """Text ``(B, text_len, text_dim)`` -> cross-attention keys and values of every layer."""
        embedded = self.text_embedding(text)
        return [block.cross_attn.keys_of(embedded) for block in self.blocks if isinstance(block, WanBlock)]

    def embed_image(self, rows: Tensor) -> list[TextKeys]:
        """Rows of the image encoder ``(B, rows, image_dim)`` -> cross-attention keys and values of every layer.

        Raises:
            ValueError: for a model without image cross-attention.
        """
        if self.img_emb is None:
            raise ValueError("this model has no image cross-attention (image_dim=0): leave the image rows out")
        embedded = self.img_emb(rows)
        return [block.cross_attn.image_keys_of(embedded) for block in self.blocks if isinstance(block, WanBlock)]

    def assemble(self, noisy: Tensor, condition: Condition, start: int = 0) -> Tensor:
        """Concatenate noisy latents and conditions to ``(B, F, in_channels, h, w)``.

        Args:
            noisy: ``(B, F, C, h, w)``, latent frames ``start .. start + F``.
            start: index of the first of them in the video; the picture is marked at latent frame 0 only.
        """
        B, F, _, h, w = noisy.shape
        parts = [noisy]
        if self.config.image_channels:
            if condition.first_latent is None:
                raise ValueError(f"this model starts from a picture (first_frame={self.config.first_frame!r}): give one")
            first = condition.first_latent.to(noisy.dtype)
            if self.config.first_frame == "repeat":
                shown = noisy.new_zeros(B, F, first.shape[2] + 1, h, w)
                if start == 0:
                    shown[:, 0, :-1] = first[:, 0]
                    shown[:, 0, -1] = 1
                parts += [shown, first.expand(-1, F, -1, -1, -1)]
            else:
                mask = noisy.new_zeros(B, F, self.config.mask_channels, h, w)
                if start == 0:
                    mask[:, 0] = 1
                parts += [mask, self._picture_channels(noisy, condition, start)]
        if self.config.tracks.channels:
            tracks = condition.track_latents
            if tracks is None:
                tracks = noisy.new_zeros(B, F, self.config.tracks.channels, h, w)
            parts.append(tracks.to(noisy.dtype))
        return torch.cat(parts, dim=2)

    def _picture_channels(self, noisy: Tensor, condition: Condition, start: int) -> Tensor:
        """``(B, F, C, h, w)``: the picture's latent at frame 0, then zeros or the latents of grey frames."""
        F = noisy.shape[1]
        if self.config.after_picture == "grey":
            if condition.picture_latents is None:
                raise ValueError(
                    'this model reads the latents of the picture and the grey frames after it (after_picture="grey"): '
                    "give Condition.picture_latents (models.picture.encode_picture)"
                )
            known = condition.picture_latents
            frames = (torch.arange(F, device=known.device) + start).clamp(max=known.shape[1] - 1)
            return known[:, frames].to(noisy.dtype)
        shown = torch.zeros_like(noisy)
        if start == 0 and condition.first_latent is not None:
            shown[:, 0] = condition.first_latent[:, 0]
        return shown

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        text: list[TextKeys],
        *,
        image: list[TextKeys] | None = None,
        cache: ChunkCache | None = None,
        mask: Tensor | None = None,
        table: RotaryTable | None = None,
    ) -> Tensor:
        """One pass.

        Args:
            x: ``(B, F, in_channels, h, w)`` from :meth:`assemble`.
            timestep: ``(B, F)`` in [0, 1000], one per latent frame: the form that Wan 2.2's timesteps per token take.
            text: from :meth:`embed_text`. image: from :meth:`embed_image`, for models with ``image_dim``.
            cache: with it, F is one chunk and attention also sees the cache's past chunks.
            mask: bool ``(L, L)`` for masked training without a cache.
            table: rotary angles; absolute latent frames 0.. when None (ignored with a cache).

        Returns:
            ``(B, F, C, h, w)`` float32: velocity or residual clean latents, by ``config.prediction``.

        Raises:
            ValueError: image rows are missing, or given to a model that would ignore them.
        """
        config = self.config
        if (image is None) != (config.image_dim == 0):
            wrong = (
                "needs image rows: give Condition.image" if image is None else "has no image cross-attention: give no rows"
            )
            raise ValueError(f"this model (image_dim={config.image_dim}) {wrong} (WanDiT.embed_image)")
        B, F, _, h, w = x.shape
        tokens = self.patch_embedding(rearrange(x, "b f c h w -> b c f h w"))
        rows, columns = tokens.shape[3:]
        tokens = rearrange(tokens, "b d f h w -> b f (h w) d").float()
        if cache is not None:
            table = cache.table
        elif table is None:
            table = rotary_table(torch.arange(F), rows, columns, config.head_dim, config.rope_theta, x.device)
        time, time_blocks = self.embed_time(timestep)
        for layer, block in enumerate(self.blocks):
            rows_of_image = None if image is None else image[layer]
            tokens = block(tokens, time_blocks, text[layer], table, mask, cache, layer, rows_of_image)
        out = self.head(tokens, time).float()
        return rearrange(out, "b f (h w) (p q c) -> b f c (h p) (w q)", h=rows, w=columns, p=config.patch, q=config.patch)

    def embed_time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps ``(B, F)`` -> ``(B, F, D)`` for the head and ``(B, F, 6, D)`` for the blocks."""
        wave = timestep_embedding(timestep, self.config.freq_dim)
        if self.config.time_precision == "float32":
            layers = (self.time_embedding[0], self.time_embedding[2], self.time_projection[1])
            first, second, projection = (layer for layer in layers if isinstance(layer, nn.Linear))
            time = linear_float32(second, silu(linear_float32(first, wave)))
            return time, linear_float32(projection, silu(time)).unflatten(-1, (6, -1))
        time = self.time_embedding(wave)
        return time, self.time_projection(time).unflatten(-1, (6, -1))
