"""Where a session's chunks are computed: the static memory of one stream and the order of work on the device.

On CUDA a lane has two streams. Denoising and clean passes follow each other in the caller's; decoding and the copy to the
host run in a second one, beside the clean pass and the next chunk. On a CPU the same calls run one after the other; where
others want its cores too, the clean pass runs beside decoding (stream/core_share.py).
"""

from __future__ import annotations

import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motionstream.causal.graphs import ChunkGraphs, CudaRecorder
from motionstream.causal.rollout import NoiseFn, commit_chunk, denoise_chunk
from motionstream.models.denoise import write_keys
from motionstream.models.dit import Condition
from motionstream.models.recall import PictureRecall, Told
from motionstream.models.vae import DecoderState, NanoVAE
from motionstream.nn.kv_cache import CacheState, SinkWindowCache
from motionstream.stream.chunk import Mark
from motionstream.stream.core_share import CoreShare

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
        self.share = CoreShare(apart=engine.cores_wanted) if engine.shares_cores else None
        self._beside: ThreadPoolExecutor | None = None
        self._passing: Future[None] | None = None

    def to_device(self, tensor: Tensor) -> Tensor:
        """A small input of the host on the device, without waiting."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def at_work(self) -> AbstractContextManager[None]:
        """Whatever this stream computes is computed in it."""
        return nullcontext() if self.share is None else self.share.at_work()

    def denoise(self, condition: Condition, noise: NoiseFn, sigmas: tuple[float, ...]) -> Tensor:
        """Latents of the next chunk."""
        if self.share is not None:
            self.share.next_chunk()
            if not self.share.apart and self._beside is not None:  # its threads would count among those that spin
                self._beside.shutdown()
                self._beside = None
        if self.graphs is None:
            return denoise_chunk(self.engine.model, self.cache, condition, noise, sigmas)
        return self.graphs.denoise(condition, noise, sigmas)

    def begin_commit(self, latents: Tensor, condition: Condition) -> None:
        """The clean pass may begin, where it has threads of its own: :meth:`commit` waits for it."""
        if self.share is None or not self.share.apart or not self.share.beside:
            return
        engine, cache, threads = self.engine, self.cache, self.share.beside
        fused, compute = engine.fused, engine.compute
        assert fused is not None
        start = cache.chunk * cache.cache.chunk_frames

        def work() -> None:
            torch.set_num_threads(threads)  # of this thread: each has a number of its own
            with torch.inference_mode(), compute.autocast():
                write_keys(fused, latents, condition, start=start, cache=cache)

        try:
            self._beside = self._beside or ThreadPoolExecutor(1, thread_name_prefix="clean pass")
            self._passing = self._beside.submit(work)
        except RuntimeError:  # no more threads can be started
            self.share.stay_together()

    def commit(self, latents: Tensor, condition: Condition) -> None:
        """The clean pass, or the wait for the one that was begun."""
        if self._passing is not None:
            error = self._wait()
            if error is not None:
                raise error
            self.cache.commit()
        elif self.graphs is None:
            commit_chunk(self.engine.model, self.cache, latents, condition)
        else:
            self.graphs.commit(latents, condition)

    def drop_chunk(self) -> None:
        """Forget the chunk that is being made."""
        self._wait()
        self.cache.drop_chunk()

    def reset(self) -> None:
        """Nothing has been made."""
        self._wait()
        self.cache.reset()

    def restore(self, state: CacheState) -> None:
        """Back to what the cache held then."""
        self._wait()
        self.cache.restore(state)

    def _wait(self) -> BaseException | None:
        """For a clean pass that runs, which writes to the cache until it has ended; what went wrong in it."""
        if self._passing is None:
            return None
        try:
            return self._passing.exception()
        finally:
            if self._passing.done():  # whoever was interrupted while he waited must wait again
                self._passing = None

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
            host = torch.empty(frames.shape, dtype=torch.uint8, device="cpu", pin_memory=True)
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
