"""The causal video autoencoder of nano: near-linear latents that shift as pictures do, and a light streaming decoder.

Encoding is one linear map of ``t_stride x stride x stride`` pixel blocks (a principal component analysis, fitted by
``train vae``): small steps of an object then move its latent smoothly, which decides whether a small DiT can learn to
follow tracks at all (docs/LOG.md, "oracle"). Frame 0 is encoded as a block of identical frames, so ``T = 4 (F - 1) + 1``.

Decoding adds a convolutional correction to the linear inverse. Each memory block sees its own previous input, so a
video can be decoded latent by latent, or chunk by chunk, with the same result (as in the paper's tiny VAE, appendix A).

    vae = NanoVAE(VAEConfig())
    latents = vae.encode(video)              # (B, T, 3, H, W) in [0, 1] -> (B, F, C, h, w)
    video, state = vae.decode(latents)       # any chunk plan: pass ``state`` back in
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from motionstream.config import VAEConfig
from motionstream.models.seams import smooth_seams

DecoderState = list[Tensor]


class MemoryBlock(nn.Module):
    """Residual block over a frame and the block's previous input frame (TAEHV's idea, our form)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Without a norm the residual stream grew a thousandfold in training and the decoder died (docs/LOG.md).
        self.norm = _norm(width)
        self.mix = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """x, past: ``(n, width, h, w)``."""
        both = torch.cat([F.silu(self.norm(x)), F.silu(self.norm(past))], dim=1)
        return x + self.out(F.silu(self.mix(both)))


class NanoVAE(nn.Module):
    """See the module docstring. ``config`` fixes every size."""

    pixel_mean: Tensor
    encoder: Tensor
    latent_mean: Tensor
    linear_decoder: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        block = 3 * config.t_stride * config.stride**2
        self.register_buffer("pixel_mean", torch.zeros(block))
        self.register_buffer("encoder", torch.zeros(config.latent_channels, block))
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("linear_decoder", torch.zeros(block, config.latent_channels))
        self.conv_in = nn.Conv2d(config.latent_channels, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(MemoryBlock(config.width) for _ in range(config.depth))
        # Twice the resolution, one frame per pixel frame: time grows by t_stride here.
        self.grow = nn.Conv2d(config.width, config.width_out * 4 * config.t_stride, 1)
        self.blocks_out = nn.ModuleList(MemoryBlock(config.width_out) for _ in range(config.depth_out))
        self.norm_out = _norm(config.width_out)
        self.conv_out = nn.Conv2d(config.width_out, 3 * (config.stride // 2) ** 2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ encode

    def blocks_of(self, video: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` with ``T = 4 k + 1`` -> pixel blocks ``(B, F, h, w, 3 * t_stride * stride**2)``."""
        T, t_stride, stride = video.shape[1], self.config.t_stride, self.config.stride
        if (T - 1) % t_stride or video.shape[3] % stride or video.shape[4] % stride:
            raise ValueError(
                f"video of {T} frames, {video.shape[4]}x{video.shape[3]} pixels does not fit: frames must be "
                f"{t_stride} k + 1, sides multiples of {stride}"
            )
        padded = torch.cat([video[:, :1].expand(-1, t_stride - 1, -1, -1, -1), video], dim=1)
        return rearrange(padded, "b (f t) c (h y) (w x) -> b f h w (t c y x)", t=t_stride, y=stride, x=stride)

    def encode(self, video: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` float in [0, 1] -> latents ``(B, F, C, h, w)``, about unit variance."""
        blocks = self.blocks_of(video) - self.pixel_mean
        latents = blocks @ self.encoder.T - self.latent_mean
        return rearrange(latents, "b f h w c -> b f c h w")

    # ------------------------------------------------------------------ decode

    def initial_state(self, batch: int, height: int, width: int, like: Tensor) -> DecoderState:
        """Zero memories for latents of ``height x width`` cells: one per block. (With `smooth_seams` a video's first latent
        frame comes behind them.)"""
        config = self.config
        state = [like.new_zeros(batch, config.width, height, width) for _ in self.blocks]
        return state + [like.new_zeros(batch, config.width_out, 2 * height, 2 * width) for _ in self.blocks_out]

    def decode(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Latents ``(B, F, C, h, w)`` -> video ``(B, T, 3, H, W)`` in [0, 1] and the memories to continue with.

        Without ``state`` this is the start of a video: latent 0 gives one frame, the rest ``t_stride`` each.
        All latents given are decoded in parallel; the result does not depend on how a video is cut into calls.
        """
        B, F_, _, h, w = latents.shape
        config = self.config
        memory = self.initial_state(B, h, w, latents) if state is None else state
        x, kept = self._trunk(latents, memory)
        for block, past in zip(self.blocks_out, memory[len(self.blocks) :][: len(self.blocks_out)], strict=True):
            x, last = _run_block(block, x, past, F_ * config.t_stride)
            kept.append(last)
        detail = F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x))), config.stride // 2)
        return self._finish(self.decode_linear(latents) + detail.unflatten(0, (B, -1)), latents, state, kept)

    def decode_half(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, Tensor, DecoderState]:
        """As :meth:`decode`, for whoever makes the correction (models/recall.py): the linear inverse alone, ``(B, T, 3, H,
        W)`` in [0, 1], what a correction is to be made of, ``(B, T, width_out, 2 h, 2 w)``, and the memories, fewer here."""
        B, _, _, h, w = latents.shape
        memory = self.initial_state(B, h, w, latents)[: len(self.blocks)] if state is None else state
        x, kept = self._trunk(latents, memory)
        features = x.unflatten(0, (B, -1))
        video, kept = self._finish(self.decode_linear(latents), latents, state, kept)
        return video, features[:, -video.shape[1] :], kept

    def _trunk(self, latents: Tensor, memory: DecoderState) -> tuple[Tensor, DecoderState]:
        """All that runs at the latents' resolution, frame by frame of pixels: ``(B t_stride F, width_out, 2 h, 2 w)``."""
        B, F_ = latents.shape[:2]
        kept: DecoderState = []
        x = self.conv_in(latents.flatten(0, 1))
        for block, past in zip(self.blocks, memory, strict=False):
            x, last = _run_block(block, x, past, F_)
            kept.append(last)
        t_stride = self.config.t_stride
        return rearrange(self.grow(x), "(b f) (c t y x) h w -> (b f t) c (h y) (w x)", b=B, t=t_stride, y=2, x=2), kept

    def _finish(
        self, video: Tensor, latents: Tensor, state: DecoderState | None, kept: DecoderState
    ) -> tuple[Tensor, DecoderState]:
        """The frames there are, with their seams smoothed; ``kept`` with the first latent frame behind it."""
        t_stride = self.config.t_stride
        if state is None:
            video = video[:, t_stride - 1 :]
        if self.training:
            return video, kept
        video = video.clamp(0, 1)
        if self.config.smooth_seams:
            kept.append(latents[:, 0].clone() if state is None else state[-1])
            video = smooth_seams(video, latents, kept[-1], t_stride)
        return video, kept

    def decode_linear(self, latents: Tensor) -> Tensor:
        """The linear inverse alone, all ``t_stride * F`` frames: ``(B, F, C, h, w)`` -> ``(B, 4 F, 3, H, W)``."""
        config = self.config
        cells = rearrange(latents, "b f c h w -> b f h w c") + self.latent_mean
        blocks = cells @ self.linear_decoder.T + self.pixel_mean
        return rearrange(
            blocks,
            "b f h w (t c y x) -> b (f t) c (h y) (w x)",
            t=config.t_stride,
            y=config.stride,
            x=config.stride,
        )

    # ------------------------------------------------------------------ fit

    @torch.no_grad()
    def fit_linear(self, blocks: Tensor, whitening: float = 0.5) -> None:
        """Set the linear encoder and decoder from sample blocks ``(n, 3 * t_stride * stride**2)``.

        Args:
            whitening: 0 keeps the natural spread of the components, 1 gives each the same variance. Between the two,
                coarse structure weighs more in the DiT's loss than fine texture, and noise hides texture first.
        """
        mean = blocks.mean(0)
        centred = (blocks - mean).double()
        covariance = centred.T @ centred / len(centred)
        values, vectors = torch.linalg.eigh(covariance)
        C = self.config.latent_channels
        values, vectors = values[-C:].flip(0), vectors[:, -C:].flip(1)
        gain = values.clamp_min(1e-8) ** (-0.5 * whitening)
        gain = gain / (values * gain**2).mean().sqrt()
        self.pixel_mean.copy_(mean)
        self.encoder.copy_((vectors * gain).T)
        self.linear_decoder.copy_(vectors / gain)
        self.latent_mean.zero_()


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, width // 16), width)


def _run_block(block: nn.Module, x: Tensor, past: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Apply a memory block to ``(B * frames, ...)`` at once; returns the output and the last input of each sample."""
    timeline = x.unflatten(0, (-1, frames))
    shifted = torch.cat([past[:, None], timeline[:, :-1]], dim=1)
    return block(x, shifted.flatten(0, 1)), timeline[:, -1]
