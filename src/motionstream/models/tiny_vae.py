"""The tiny video autoencoder (TAEHV's form, paper appendix A): decodes Wan's latents at a fraction of the cost.

Two sizes, whose tensors are named and ordered as in the public files: ``taew2_1`` (16 channels, 8x8 pixels) and
``taew2_2`` (48 channels, 16x16 pixels, pixels shuffled by 2). Latents are the normalised ones that the DiT works on, so
no mean or std is applied; video is in [0, 1].

Memory blocks see the frame before, nothing else crosses time. So a chunk is decoded with all its frames in parallel,
given what each block saw last: nine tensors ``(B, width, h, w)`` a stream, in decoding order.
:meth:`TinyVAE.decode_reference` walks frame by frame instead and gives the same video.

    vae = load_tiny_vae(Path("taew2_1.safetensors"))
    video, state = vae.decode(latents[:, :3])           # 9 frames: the first three of a stream have no meaning
    video, state = vae.decode(latents[:, 3:6], state)   # 12 more, whatever the chunks
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionstream.models.tensor_files import check_tensors, read_tensors
from motionstream.models.vae import DecoderState

T_STRIDE = 4
ENCODER_WIDTH = 64
DECODER_WIDTHS = (256, 128, 64, 64)


class SoftClamp(nn.Module):
    """``3 tanh(x / 3)``: latents beyond 3 standard deviations are bent back."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


class MemBlock(nn.Module):
    """Residual block over a frame and the frame before it at the same depth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(inplace=True),
            _conv(width, width), nn.ReLU(inplace=True),
            _conv(width, width),
        )  # fmt: skip

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """x, past: ``(n, width, h, w)``."""
        return F.relu(self.conv(torch.cat([x, past], dim=1)) + x)


class TimePool(nn.Module):
    """``times`` consecutive frames -> one."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(width * times, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n * times, width, h, w)`` -> ``(n, width, h, w)``."""
        return self.conv(x.unflatten(0, (-1, self.times)).flatten(1, 2))


class TimeGrow(nn.Module):
    """One frame -> ``times`` consecutive ones."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(width, width * times, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` -> ``(n * times, width, h, w)``."""
        # Channels last throughout: the frames leave the channels in the order of memory in which convolutions are fastest.
        grown = self.conv(x).permute(0, 2, 3, 1).unflatten(3, (self.times, -1))
        return grown.permute(0, 3, 1, 2, 4).flatten(0, 1).permute(0, 3, 1, 2)


class TinyVAE(nn.Module):
    """See the module docstring.

    Args:
        latent_channels: 16 (Wan 2.1) or 48 (Wan 2.2).
        patch: pixels folded into channels each way: 1 (Wan 2.1) or 2 (Wan 2.2).
    """

    def __init__(self, latent_channels: int = 16, patch: int = 1) -> None:
        super().__init__()
        self.latent_channels, self.patch = latent_channels, patch
        self.stride, self.t_stride = 8 * patch, T_STRIDE
        colours, width = 3 * patch**2, ENCODER_WIDTH
        encoder: list[nn.Module] = [_conv(colours, width), nn.ReLU(inplace=True)]
        for times in (2, 2, 1):
            encoder += [TimePool(width, times), _conv(width, width, stride=2, bias=False)]
            encoder += [MemBlock(width) for _ in range(3)]
        self.encoder = nn.Sequential(*encoder, _conv(width, latent_channels))
        decoder: list[nn.Module] = [SoftClamp(), _conv(latent_channels, DECODER_WIDTHS[0]), nn.ReLU(inplace=True)]
        for width, narrower, times in zip(DECODER_WIDTHS, DECODER_WIDTHS[1:], (1, 2, 2), strict=False):
            decoder += [MemBlock(width) for _ in range(3)]
            decoder += [nn.Upsample(scale_factor=2), TimeGrow(width, times), _conv(width, narrower, bias=False)]
        self.decoder = nn.Sequential(*decoder, nn.ReLU(inplace=True), _conv(DECODER_WIDTHS[-1], colours))

    # ------------------------------------------------------------------ encode

    def encode(self, video: Tensor) -> Tensor:
        """Whole clip ``(B, T, 3, H, W)`` in [0, 1], ``T = 4 k + 1`` -> latents ``(B, k + 1, C, h, w)``.

        As in TAEHV the clip is continued with its last frame to a multiple of four: latent f is made from pixel frames
        4 f .. 4 f + 3 (Wan's own autoencoder looks at 4 f - 3 .. 4 f instead).

        Raises:
            ValueError: frames or sides that do not fit.
        """
        return self._encode(video, parallel=True)

    def encode_reference(self, video: Tensor) -> Tensor:
        """:meth:`encode`, one frame after the other; slow, for tests."""
        return self._encode(video, parallel=False)

    def _encode(self, video: Tensor, *, parallel: bool) -> Tensor:
        B, T, _, H, W = video.shape
        if (T - 1) % T_STRIDE or H % self.stride or W % self.stride:
            raise ValueError(
                f"video of {T} frames, {W}x{H} pixels does not fit: frames must be {T_STRIDE} k + 1, "
                f"sides multiples of {self.stride}"
            )
        video = torch.cat([video, video[:, -1:].expand(-1, T_STRIDE - 1, -1, -1, -1)], dim=1)
        x = F.pixel_unshuffle(video.to(self._dtype()), self.patch)
        return _in_parallel(self.encoder, x, None)[0] if parallel else _frame_by_frame(self.encoder, x)

    # ------------------------------------------------------------------ decode

    def decode(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Latents ``(B, F, C, h, w)`` -> video ``(B, T, 3, H, W)`` in [0, 1] and the state to continue with.

        Without ``state`` this is the start of a video: latent 0 gives one frame, the rest four each. All latents given
        are decoded in parallel; the result does not depend on how a video is cut into calls.
        """
        x, memory = _in_parallel(self.decoder, self._input(latents), state)
        return self._output(x, first=state is None), memory

    def decode_reference(self, latents: Tensor) -> Tensor:
        """:meth:`decode` of a whole video, one frame after the other; slow, for tests."""
        return self._output(_frame_by_frame(self.decoder, self._input(latents)), first=True)

    def _input(self, latents: Tensor) -> Tensor:
        return latents.to(self._dtype())

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _output(self, x: Tensor, *, first: bool) -> Tensor:
        video = F.pixel_shuffle(x, self.patch)
        if first:
            video = video[:, T_STRIDE - 1 :]
        return video if self.training else video.clamp(0, 1)


def _conv(n_in: int, n_out: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, stride=stride, bias=bias)


def _in_parallel(layers: nn.Sequential, x: Tensor, memory: DecoderState | None) -> tuple[Tensor, DecoderState]:
    """All frames of ``x (B, n, C, h, w)`` at once, layer by layer; returns the output and the memory blocks' last inputs.

    A TimeGrow is a 1x1 convolution, which commutes with repeating pixels: it runs before the Upsample in front of it, on a
    quarter of the pixels.
    """
    B = x.shape[0]
    kept: DecoderState = []
    pending: nn.Module | None = None
    x = x.flatten(0, 1)
    for layer in layers:
        if isinstance(layer, MemBlock):
            each = len(x) // B
            past = torch.empty_like(x)  # in x's order of memory, which a `cat` of five dimensions would not keep
            past[1:] = x[:-1]
            past[::each] = 0 if memory is None else memory[len(kept)].to(x.dtype)
            kept.append(x[each - 1 :: each].clone())  # a view would keep the whole chunk alive
            x = layer(x, past)
        elif isinstance(layer, nn.Upsample):
            pending = layer
        else:
            x = layer(x)
            if pending is not None:
                x, pending = pending(x), None
    return x.unflatten(0, (B, -1)), kept


def _frame_by_frame(layers: nn.Sequential, x: Tensor) -> Tensor:
    """The definition: a chain of generators, each layer handing frames ``(B, C, h, w)`` to the next as they come."""
    frames: Iterator[Tensor] = iter(x.unbind(1))
    for layer in layers:
        frames = _frames_through(layer, frames)
    return torch.stack(list(frames), dim=1)


def _frames_through(layer: nn.Module, frames: Iterator[Tensor]) -> Iterator[Tensor]:
    if isinstance(layer, MemBlock):
        past = None
        for x in frames:
            yield layer(x, torch.zeros_like(x) if past is None else past)
            past = x.clone()
    elif isinstance(layer, TimePool):
        waiting: list[Tensor] = []
        for x in frames:
            waiting.append(x)
            if len(waiting) == layer.times:
                yield layer.conv(torch.cat(waiting, dim=1))
                waiting = []
    elif isinstance(layer, TimeGrow):
        for x in frames:
            yield from layer.conv(x).chunk(layer.times, dim=1)
    else:
        for x in frames:
            yield layer(x.clone())


def load_tiny_vae(path: Path, dtype: torch.dtype = torch.float32) -> TinyVAE:
    """Load a public TAEHV file of Wan 2.1 or 2.2 (``taew2_1``, ``taew2_2``; ``.safetensors`` or ``.pth``).

    The size is read from the tensors. Where a TimeGrow of the file makes more frames than the model's, its last frames are
    kept, as TAEHV does.

    Raises:
        ValueError: missing, damaged or foreign file, or a model that is no plain Wan TAEHV.
    """
    path = Path(path)
    tensors = read_tensors(path)
    first, last = tensors.get("encoder.0.weight"), tensors.get("decoder.1.weight")
    form = None if first is None or last is None or last.ndim != 4 else (last.shape[1], first.shape[1])
    if form not in ((16, 3), (48, 12)):
        found = "no TAEHV tensors" if form is None else f"{form[0]} latent channels and {form[1]} pixel channels"
        raise ValueError(f"{path} is not a tiny autoencoder for Wan ({found}): give taew2_1 or taew2_2")
    with torch.device("meta"):
        vae = TinyVAE(form[0], 1 if form[1] == 3 else 2)
    for index, layer in enumerate(vae.decoder):
        name = f"decoder.{index}.conv.weight"
        if isinstance(layer, TimeGrow) and name in tensors:
            tensors[name] = tensors[name][-layer.conv.weight.shape[0] :]
    check_tensors(path, tensors, vae, "a plain TAEHV for Wan")
    vae.load_state_dict({name: value.to(dtype).clone() for name, value in tensors.items()}, assign=True)
    return vae.eval().requires_grad_(False)
