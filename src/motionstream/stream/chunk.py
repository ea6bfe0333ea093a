"""A chunk of a stream, while it is being made and when it is there, and the clock that says what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ChunkStats:
    """Milliseconds of one chunk by stage; ``commit_ms`` is the clean pass over the chunk before, off the latency path; or
    what was left of it to wait for, where it ran beside decoding (stream/core_share.py)."""

    commit_ms: float
    tracks_ms: float
    denoise_ms: float
    decode_ms: float
    transfer_ms: float = 0.0

    @property
    def latency_ms(self) -> float:
        """From points to frames on the host."""
        return self.tracks_ms + self.denoise_ms + self.decode_ms + self.transfer_ms

    @property
    def total_ms(self) -> float:
        return self.commit_ms + self.latency_ms


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames ``(T, H, W, 3)`` uint8, the chunk's index from 0, and what it cost; equal to itself alone."""

    frames: np.ndarray
    index: int
    stats: ChunkStats


class Mark:
    """A moment on the device's own clock: for CUDA an event in the current stream, else the host's time now."""

    def __init__(self, device: torch.device) -> None:
        self.event: torch.cuda.Event | None = None
        self.seconds = 0.0
        if device.type == "cuda":
            self.event = torch.cuda.Event(enable_timing=True)
            self.event.record()
        else:
            self.seconds = time.perf_counter()

    def ms_since(self, earlier: Mark) -> float:
        """Milliseconds from ``earlier``; both must have passed (:meth:`wait`)."""
        if self.event is not None and earlier.event is not None:
            return earlier.event.elapsed_time(self.event)
        return 1000 * (self.seconds - earlier.seconds)

    def wait(self) -> None:
        """Until the device has come here."""
        if self.event is not None:
            self.event.synchronize()


@dataclass(frozen=True, eq=False)
class PendingChunk:
    """A chunk on its way: the device may still be at work on it.

    Args:
        frames: ``(T, H, W, 3)`` uint8 on the host, to be filled by ``done``.
        spans: first and last mark of commit, tracks, denoise, decode and transfer; None where nothing was done.
        finish: what is done with the frames on the host, in place.
    """

    frames: Tensor
    index: int
    spans: tuple[tuple[Mark, Mark] | None, ...]
    done: Mark
    finish: Callable[[np.ndarray], None] | None

    def result(self) -> Chunk:
        """Wait for it."""
        self.done.wait()
        frames = self.frames.numpy()
        if self.finish is not None:
            self.finish(frames)
        stats = ChunkStats(*(0.0 if span is None else span[1].ms_since(span[0]) for span in self.spans))
        return Chunk(frames, self.index, stats)
