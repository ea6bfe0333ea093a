"""The rollout's two calls as recorded graphs: on CUDA a chunk is then one launch, not thousands.

A graph replays the same operations on the same memory. What changes from chunk to chunk is copied into buffers first: noise,
tracks and, when they change, picture and prompt. Where the cache writes depends on its layout, so each layout has graphs of
its own; a layout is recorded when it comes back, the first time it runs as it is. What cannot be recorded keeps running as
it is, and :attr:`ChunkGraphs.reason` says why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from motionstream.causal.rollout import NoiseFn, commit_chunk, denoise_chunk
from motionstream.config import CacheConfig
from motionstream.models.denoise import write_keys
from motionstream.models.dit import Condition
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import SinkWindowCache
from motionstream.nn.recording import record_cuda_graph

MOST_FAILURES = 2
"""Recordings that may fail before nothing is recorded any more."""


def streams_to_record(cache: CacheConfig, picture_latents: int = 1) -> list[int]:
    """Chunks of streams after which every chunk of any stream of one list of noise levels is a replay.

    A layout is recorded when it comes for the second time: the places of the ring within one stream, what comes only at the
    start, while the cache fills and the picture's latents (``Condition.picture_latents``) go by, with the second.
    """
    places = cache.window_chunks + 1
    filling = max(cache.sink_chunks + places, math.ceil(picture_latents / cache.chunk_frames))
    return [filling + 2 * places, filling]


class Recorder(Protocol):
    """Runs nothing: records ``work`` and returns what it returned, to be filled by every call of the second."""

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]: ...

    def forget(self) -> None:
        """All that was recorded is gone."""


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory, in a stream of their own."""

    def __init__(self) -> None:
        self.pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        self._stream = self._stream or torch.cuda.Stream()
        out, graph = record_cuda_graph(work, self.pool, self._stream)
        self.pool = graph.pool()
        return out, graph.replay

    def forget(self) -> None:
        """All that was recorded is gone: torch refuses a pool whose graphs have all ended."""
        self.pool = None


class ChunkGraphs:
    """``denoise_chunk`` and ``commit_chunk`` of one cache and one list of noise levels.

    Args:
        recorder: how to record; None = never, every call runs as it is.
        reason: why nothing is recorded, for people.
    """

    def __init__(
        self, model: FusedDiT, cache: SinkWindowCache, recorder: Recorder | None, reason: str = "recorded per layout"
    ) -> None:
        self.model, self.cache, self.recorder, self.reason = model, cache, recorder, reason
        self._failures = 0
        self._seen: set[tuple[object, ...]] = set()
        self._graphs: dict[tuple[object, ...], tuple[Tensor, Callable[[], None]]] = {}
        self._noise: Tensor | None = None
        self._latents: Tensor | None = None
        self._held: Condition | None = None
        self._given: Condition | None = None

    @property
    def num_graphs(self) -> int:
        return len(self._graphs)

    def denoise(self, condition: Condition, noise: NoiseFn, sigmas: tuple[float, ...]) -> Tensor:
        """What :func:`denoise_chunk` gives, in a tensor that no later call writes to."""
        cache = self.cache
        cache.open_chunk()
        key = ("denoise", sigmas, *self._place(condition))
        if not self._recordable(key):
            return denoise_chunk(self.model, cache, condition, noise, sigmas)
        chunk = cache.chunk
        drawn = [noise(chunk, step) for step in range(len(sigmas))]
        if self._noise is None or self._noise.shape[0] < len(drawn):
            # A longer list of levels than before: graphs that read the shorter buffer keep it alive and are not used again.
            self._noise = torch.stack(drawn)
            self._forget()
        else:
            for step, tensor in enumerate(drawn):
                self._noise[step].copy_(tensor)
        held, buffer = self._hold(condition), self._noise
        out = self._run(key, lambda: denoise_chunk(self.model, cache, held, lambda _, step: buffer[step], sigmas))
        return denoise_chunk(self.model, cache, condition, noise, sigmas) if out is None else out.clone()

    def commit(self, latents: Tensor, condition: Condition) -> None:
        """What :func:`commit_chunk` does."""
        cache = self.cache
        key = ("commit", *self._place(condition))
        if self._recordable(key):
            if self._latents is None:
                self._latents = latents.clone()
            else:
                self._latents.copy_(latents)
            held, buffer, start = self._hold(condition), self._latents, cache.chunk * cache.cache.chunk_frames

            def work() -> Tensor:
                write_keys(self.model, buffer, held, start=start, cache=cache)
                return buffer

            if self._run(key, work) is not None:
                cache.commit()
                return
        commit_chunk(self.model, cache, latents, condition)

    def _place(self, condition: Condition) -> tuple[object, ...]:
        """What a graph depends on beside the contents of its buffers: the layout, and what happens only at the start."""
        start = self.cache.chunk * self.cache.cache.chunk_frames
        known = 1 if condition.picture_latents is None else condition.picture_latents.shape[1]
        return (*self.cache.layout, min(start, known))

    def _recordable(self, key: tuple[object, ...]) -> bool:
        if self.recorder is None:
            return False
        again = key in self._seen
        self._seen.add(key)
        return again

    def _run(self, key: tuple[object, ...], work: Callable[[], Tensor]) -> Tensor | None:
        """Replay the graph of ``key``, recorded now if there is none; None when it cannot be recorded."""
        assert self.recorder is not None
        if key not in self._graphs:
            try:
                self._graphs[key] = self.recorder(work)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of the work itself, too: it is said where it runs as it is
                self._failures += 1
                if self._failures < MOST_FAILURES:  # something else may have ended in the middle of it: later once more
                    return None
                said = " ".join(str(error).split())[:200]
                self.recorder, self.reason = None, f"not recorded: {said}"
                warnings.warn(f"chunks run as they are, not as a recorded graph ({said})", RuntimeWarning)
                return None
        out, replay = self._graphs[key]
        replay()
        return out

    def _forget(self) -> None:
        self._graphs.clear()
        if self.recorder is not None:
            self.recorder.forget()

    def _hold(self, condition: Condition) -> Condition:
        """``condition`` in buffers that stay where they are; only what is another tensor than last time is copied."""
        given, held = self._given, self._held
        if held is None or _form(held) != _form(condition):
            self._forget()  # other inputs than the graphs were recorded with
            self._held = _cloned(condition)
        elif given is not None:
            for new, old, buffer in zip(_tensors(condition), _tensors(given), _tensors(held), strict=True):
                if new is not old:
                    buffer.copy_(new)
        self._given = condition
        assert self._held is not None
        return self._held


SINGLE = ("first_latent", "track_latents", "picture_latents", "prompt_rows")
"""Fields of a condition that are one tensor or None."""


def _tensors(condition: Condition) -> list[Tensor]:
    pairs = [*condition.text, *(condition.image or [])]
    single = [getattr(condition, name) for name in SINGLE]
    return [tensor for tensor in (*single, *(t for pair in pairs for t in pair)) if tensor is not None]


def _form(condition: Condition) -> list[tuple[object, ...]]:
    parts = (*(getattr(condition, name) for name in SINGLE), condition.image)
    return [tuple(part is None for part in parts), *((t.shape, t.dtype) for t in _tensors(condition))]


def _cloned(condition: Condition) -> Condition:
    def copy(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.clone()

    return replace(
        condition,
        **{name: copy(getattr(condition, name)) for name in SINGLE},
        text=[(k.clone(), v.clone()) for k, v in condition.text],
        image=None if condition.image is None else [(k.clone(), v.clone()) for k, v in condition.image],
    )
