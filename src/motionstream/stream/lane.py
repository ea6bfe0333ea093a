"""Where a session's chunks are computed: the static memory of one stream and the order of work on the device.

On CUDA a lane has two streams. Denoising and clean passes follow each other in the caller's; decoding and the copy to the
host run in a second one, beside the clean pass and the next chunk. On a CPU the same calls run one after the other.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motionstream.causal.graphs import ChunkGraphs, CudaRecorder
from motionstream.causal.rollout import NoiseFn, commit_chunk, denoise_chunk
from motionstream.models.dit import Condition
from motionstream.models.recall import PictureRecall, Told
from motionstream.models.vae import DecoderState, NanoVAE
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.stream.chunk import Mark

if TYPE_CHECKING:
    from motionstream.stream.engine import StreamEngine
    from motionstream.stream.wan_parts import StreamVAE


class Lane:
    """Made by :meth:`StreamEngine.lend_lane`, and given back when a session ends: recorded graphs stay with it."""

    def __init__(self, engine: StreamEngine) -> None:
        preset, self.device = engine.preset, engine.compute.device
        geometry = preset.geometry
        grid = (geometry.latent_height // geometry.patch, geometry.latent_width // geometry.patch)
        self.cache = SinkWindowCache(
            preset.model, preset.cache, batch=1, grid=grid, device=self.device, dtype=engine.compute.dtype
        )
        # Weakly: the engine keeps lanes, and in a circle both would live, with all their memory, until Python collects.
        self.engine = weakref.proxy(engine)
        self.graphs: ChunkGraphs | None = None
        if engine.fused is not None:
            self.graphs = ChunkGraphs(engine.fused, self.cache, CudaRecorder() if engine.records else None)
        self.overlaps = self.device.type == "cuda"
        self._decoding = torch.cuda.Stream(self.device, priority=-1) if self.overlaps else None

    def to_device(self, tensor: Tensor) -> Tensor:
        """A small input of the host on the device, without waiting."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def denoise(self, condition: Condition, noise: NoiseFn, sigmas: tuple[float, ...]) -> Tensor:
        """Latents of the next chunk."""
        if self.graphs is None:
            return denoise_chunk(self.engine.model, self.cache, condition, noise, sigmas)
        return self.graphs.denoise(condition, noise, sigmas)

    def commit(self, latents: Tensor, condition: Condition) -> None:
        """The clean pass."""
        if self.graphs is None:
            commit_chunk(self.engine.model, self.cache, latents, condition)
        else:
            self.graphs.commit(latents, condition)

    def decode(
        self, latents: Tensor, memory: DecoderState | None, told: Told | None = None
    ) -> tuple[Tensor, DecoderState, tuple[Mark, Mark, Mark]]:
        """Frames ``(T, H, W, 3)`` uint8 on the host, the decoder's memory, and marks: begun, decoded, copied.

        On CUDA the frames are there when the last mark has passed.
        """
        if self._decoding is None:
            begun = Mark(self.device)
            frames, memory = self.engine.frames(latents, memory, told)
            decoded = Mark(self.device)
            return frames.cpu(), memory, (begun, decoded, Mark(self.device))
        self._decoding.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._decoding):
            begun = Mark(self.device)
            # They may be freed by the caller's stream while this one reads them.
            for given in (latents, *(memory or ()), *(told or ())):
                given.record_stream(self._decoding)
            frames, memory = self.engine.frames(latents, memory, told)
            decoded = Mark(self.device)
            # Pinned pages come from torch's pool: after the first chunks nothing is allocated.
            host = torch.empty(frames.shape, dtype=torch.uint8, pin_memory=True)
            host.copy_(frames, non_blocking=True)
            return host, memory, (begun, decoded, Mark(self.device))

    def join(self) -> None:
        """Let later work in the caller's stream see what the decoder's stream made (its memories, for a snapshot)."""
        if self._decoding is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._decoding)


def decoded_frames(
    vae: StreamVAE,
    latents: Tensor,
    memory: DecoderState | None,
    recall: PictureRecall | None = None,
    told: Told | None = None,
) -> tuple[Tensor, DecoderState]:
    """See :meth:`StreamEngine.frames`."""
    if recall is not None and told is not None and isinstance(vae, NanoVAE):
        first = memory is None
        video, features, memory = vae.decode_half(latents, memory)
        picture, ways, cues = told
        frames = recall(video[0].float(), features[0], picture, ways, cues)
        if first:  # the picture itself
            frames = torch.cat([picture, frames[1:]])
    else:
        video, memory = vae.decode(latents, memory)
        frames = video[0].float()
    pixels = frames.clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous(), memory
