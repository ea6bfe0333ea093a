"""Wan's own video autoencoder (diffusers' ``AutoencoderKLWan``), streamed with explicit state.

The 2.1 form has 16 latent channels on 8x8 pixels, the 2.2 form 48 channels on 16x16 (pixels are patchified by 2 first, and
its up and down blocks have shortcuts). Both are causal in time: latent 0 covers one frame, each later one four. Every
causal convolution looks back two frames, and that is all the state there is. It is carried here by the caller, so one
model serves any number of streams, in chunks of any length; the result equals diffusers' whole-clip one.

    vae = load_wan_vae(Path("Wan2.1-T2V-1.3B-Diffusers"))
    latents = vae.encode(video)                     # (B, T, 3, H, W) in [0, 1] -> normalised (B, F, C, h, w)
    video, state = vae.decode(latents[:, :3])       # 9 frames
    video, state = vae.decode(latents[:, 3:6], state)    # 12 more
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motionstream.models.extra import wan_library
from motionstream.models.vae import DecoderState

T_STRIDE = 4

LATENT_MEAN_21 = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_STD_21 = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
LATENT_MEAN_22 = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
    0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
    -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)  # fmt: skip
LATENT_STD_22 = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)  # fmt: skip

# Arguments of AutoencoderKLWan for the two released forms; used where a checkpoint comes without a config.json.
WAN21_FORM: dict[str, Any] = {
    "base_dim": 96,
    "z_dim": 16,
    "latents_mean": list(LATENT_MEAN_21),
    "latents_std": list(LATENT_STD_21),
}
WAN22_FORM: dict[str, Any] = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": list(LATENT_MEAN_22),
    "latents_std": list(LATENT_STD_22),
}


@dataclass(frozen=True)
class WanEncoderState:
    """Where a streaming encode stands.

    Attributes:
        memory: last input frames of each causal convolution, in order of use.
        waiting: ``(B, n, 3, H, W)`` frames in [0, 1], n < 4, that do not fill a latent yet; None for none.
    """

    memory: DecoderState
    waiting: Tensor | None


class WanVAE(nn.Module):
    """See the module docstring.

    Args:
        autoencoder: a diffusers ``AutoencoderKLWan``; its config says everything. Use :func:`build_wan_vae` or
            ``models.wan_vae_load.load_wan_vae`` to get one.

    Raises:
        ValueError: the config's mean and std do not have one number per latent channel.
    """

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder: Any = autoencoder
        config: Any = autoencoder.config
        self.latent_channels: int = config.z_dim
        self.patch: int = config.patch_size or 1
        self.stride: int = self.patch * 2 ** (len(config.dim_mult) - 1)
        self.t_stride = T_STRIDE
        if not len(config.latents_mean) == len(config.latents_std) == config.z_dim:
            raise ValueError(
                f"the autoencoder has {config.z_dim} latent channels, but {len(config.latents_mean)} means and "
                f"{len(config.latents_std)} standard deviations: give latents_mean and latents_std in its config.json"
            )
        # Plain tensors, not buffers: .to(bfloat16) must not round them.
        self._statistics = torch.tensor([config.latents_mean, config.latents_std], dtype=torch.float32)

    # ------------------------------------------------------------------ encode

    def encode(self, video: Tensor) -> Tensor:
        """Whole clip ``(B, T, 3, H, W)`` in [0, 1], ``T = 4 k + 1`` -> normalised latents ``(B, k + 1, C, h, w)`` float32.

        Raises:
            ValueError: frames or sides that do not fit.
        """
        if (video.shape[1] - 1) % T_STRIDE:
            raise ValueError(f"video of {video.shape[1]} frames does not fit: frames must be {T_STRIDE} k + 1")
        latents, _ = self.encode_stream(video)
        return latents

    def encode_stream(self, video: Tensor, state: WanEncoderState | None = None) -> tuple[Tensor, WanEncoderState]:
        """The next frames ``(B, T, 3, H, W)`` in [0, 1], any T >= 1 -> the latents they complete, and the new state.

        Without ``state`` this is the start of a video. Latents are ``(B, F, C, h, w)``; F may be 0 when fewer than four
        frames are waiting.

        Raises:
            ValueError: sides that are no multiple of the stride.
        """
        B, _, _, H, W = video.shape
        if H % self.stride or W % self.stride:
            raise ValueError(f"video of {W}x{H} pixels does not fit: sides must be multiples of {self.stride}")
        memory = _unpack(self.autoencoder.encoder, None if state is None else state.memory)
        if state is not None and state.waiting is not None:
            video = torch.cat([state.waiting.to(video), video], dim=1)
        first = state is None
        groups = [video[:, :1]] if first else []
        rest = video[:, 1:] if first else video
        full = rest.shape[1] // T_STRIDE * T_STRIDE
        groups += rest[:, :full].split(T_STRIDE, dim=1) if full else []
        waiting = rest[:, full:].clone() if full < rest.shape[1] else None
        made = [self._encode_group(group, memory) for group in groups]
        if made:
            latents = torch.cat(made, dim=1)
        else:
            latents = video.new_zeros(B, 0, self.latent_channels, H // self.stride, W // self.stride, dtype=torch.float32)
        return latents, WanEncoderState(_pack(memory), waiting)

    def _encode_group(self, frames: Tensor, memory: list[Any]) -> Tensor:
        """One latent frame from one frame (the first) or four; ``memory`` is updated."""
        x = 2 * frames.transpose(1, 2) - 1  # (B, 3, T, H, W) in [-1, 1]
        x = _patchify(x.to(_dtype(self.autoencoder)), self.patch)
        out = self.autoencoder.encoder(x, feat_cache=memory, feat_idx=[0])
        mean_, _ = self.autoencoder.quant_conv(out).chunk(2, dim=1)  # the posterior's mean
        mean, std = self._mean_std(mean_.device)
        return (mean_.float().transpose(1, 2) - mean) / std

    # ------------------------------------------------------------------ decode

    def decode(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Latents ``(B, F, C, h, w)`` -> video ``(B, T, 3, H, W)`` float32 in [0, 1] and the state to continue with.

        Without ``state`` this is the start of a video: latent 0 gives one frame, the rest four each. The state given is
        not changed, so a stream may branch from it.
        """
        first = state is None
        memory = _unpack(self.autoencoder.decoder, state)
        mean, std = self._mean_std(latents.device)
        z = (latents.float() * std + mean).transpose(1, 2).to(_dtype(self.autoencoder))  # (B, C, F, h, w)
        made = []
        for f in range(z.shape[2]):
            x = self.autoencoder.post_quant_conv(z[:, :, f : f + 1])
            out = self.autoencoder.decoder(x, feat_cache=memory, feat_idx=[0], first_chunk=first and f == 0)
            made.append(_unpatchify(out, self.patch).float().clamp(-1, 1))
        video = torch.cat(made, dim=2).transpose(1, 2)  # (B, T, 3, H, W) in [-1, 1]
        return (video + 1) / 2, _pack(memory)

    def _mean_std(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and std of latents, both ``(C, 1, 1)`` float32 on ``device``."""
        if self._statistics.device != device:
            self._statistics = self._statistics.to(device)
        mean, std = self._statistics[:, :, None, None]
        return mean, std


def build_wan_vae(**form: Any) -> WanVAE:
    """A Wan autoencoder of the given form with random weights (tests, benchmarks, the meta device).

    Args:
        form: arguments of diffusers' ``AutoencoderKLWan``, such as ``WAN21_FORM`` or ``WAN22_FORM``.
    """
    return WanVAE(wan_library("diffusers").AutoencoderKLWan(**form)).eval()


REPEAT = "Rep"
"""diffusers' mark of an upsampling that has seen one latent only; an empty tensor stands for it in our state."""


def _unpack(module: nn.Module, state: DecoderState | None) -> list[Any]:
    """State -> the list that diffusers passes around: a slot for each causal convolution, None where nothing is known."""
    memory: list[Any] = [None] * sum(type(part).__name__ == "WanCausalConv3d" for part in module.modules())
    if state is not None:
        memory[: len(state)] = [part if part.numel() else REPEAT for part in state]
    return memory


def _pack(memory: list[Any]) -> DecoderState:
    """The inverse of :func:`_unpack`; slots at the end are unused (1x1x1 convolutions need no memory)."""
    used = [part for part in memory if part is not None]
    assert all(part is not None for part in memory[: len(used)]), "slots are used in order"
    like = next(part for part in used if isinstance(part, Tensor))
    return [part if isinstance(part, Tensor) else like.new_empty(0) for part in used]


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _patchify(x: Tensor, patch: int) -> Tensor:
    """``(B, C, T, H, W)`` -> ``(B, C * patch**2, T, H / patch, W / patch)``; Wan counts columns before rows."""
    if patch == 1:
        return x
    return x.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def _unpatchify(x: Tensor, patch: int) -> Tensor:
    """The inverse of :func:`_patchify`."""
    if patch == 1:
        return x
    x = x.unflatten(1, (-1, patch, patch))  # (B, C, column, row, T, H, W)
    return x.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)
