"""What a benchmark measures: something that makes the next chunk of a stream, frames on the host, and says what it cost."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from motionstream.stream.engine import StreamEngine
from motionstream.stream.points import Point
from motionstream.stream.session import ChunkStats, StreamSession

PROMPT = (
    "A ceramic cup stands on a worn wooden table beside an open window, morning light falling through thin white curtains "
    "that move slowly in a warm breeze. Steam rises from fresh coffee, curling upwards past green leaves of a small potted "
    "plant, while dust drifts across golden sunbeams. Behind it blurred shelves hold books, brass instruments, glass jars "
    "filled with dried herbs, an old radio, two framed photographs. Somebody pushes that cup gently around; its shadow "
    "stretches over scratches, crumbs, spilled sugar, a folded newspaper. Shallow depth of field, natural colours, fine "
    "texture, steady camera at eye level, calm quiet mood, cinematic realistic style, high detail."
)
"""As long as people write them for Wan: some hundred rows of the 512 there are, which is what a pass over a prompt takes."""


class Contestant(Protocol):
    """One engine at work on one stream."""

    name: str

    @property
    def latents(self) -> Tensor | None:
        """Of the newest chunk, ``(1, F, C, h, w)``, where it can be had."""

    def chunk(self) -> ChunkStats:
        """Make the next chunk."""

    def close(self) -> None:
        """Free what the stream holds."""


class Ours:
    """A session of the engine, its points pushed as a hand's are."""

    name = "motionstream"

    def __init__(self, engine: StreamEngine) -> None:
        self.engine = engine
        self.session: StreamSession = engine.start(picture_for(engine), PROMPT)
        self.index = 0

    @property
    def latents(self) -> Tensor | None:
        return self.session.latents

    def chunk(self) -> ChunkStats:
        if self.engine.takes_tracks:
            self.session.push(brush(self.engine, self.index))
        self.index += 1
        return self.session.step().stats

    def close(self) -> None:
        self.session.close()


def brush(engine: StreamEngine, index: int) -> list[Point]:
    """24 points side by side that go round the middle of the picture once in nine chunks."""
    geometry = engine.preset.geometry
    phase = 2 * np.pi * index / 9
    x, y = geometry.width * (0.5 + 0.2 * np.cos(phase)), geometry.height * (0.5 + 0.2 * np.sin(phase))
    return [Point(n, float(x + 4 * (n % 6) - 10), float(y + 4 * (n // 6) - 6)) for n in range(24)]


def picture_for(engine: StreamEngine) -> np.ndarray | None:
    """Noise of the engine's size; None for models that start from text alone."""
    geometry = engine.preset.geometry
    if not engine.takes_picture:
        return None
    return np.random.default_rng(0).integers(0, 255, (geometry.height, geometry.width, 3), np.uint8)
