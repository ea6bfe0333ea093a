"""A take that is being played, and what the threads behind it tell the event loop about it, in order.

Besides the types here they tell `State`, `Held`, `Ended`, `Branched`, `Live` and `Error` of the protocol, and each frame as
a `FramePacket`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from motionstream.media.images import PictureFit
from motionstream.serve.protocol import Stages, Started
from motionstream.serve.store import TakeFolder
from motionstream.stream.live_input import LiveInput
from motionstream.stream.take import Take


@dataclass(eq=False, kw_only=True)
class LiveTake:
    """What a visitor asked for: a picture with a prompt, or a recorded take to play first.

    Args:
        folder: where it is kept. preset: name of the model. listener: hears every event, on a thread of the server.
        picture: (H, W, 3) uint8 of the model's size; ``placed``: which part it is of the picture in the file ``original``.
        script: a recorded take; then the fields above it are not used.
    """

    folder: TakeFolder
    preset: str
    listener: Callable[[LiveTake, object], None]
    picture: np.ndarray | None = None
    placed: PictureFit | None = None
    original: Path | None = None
    prompt: str = ""
    seed: int = 0
    steps: int | None = None
    script: Take | None = None
    unsaved: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Frames that a full disk did not take; only the publisher's thread uses it."""
    replaced: bool = False
    """Another take was asked for since: where this one has not begun yet, it need not begin."""

    def perform(self, performance: type, engine: Any, snapshot_bytes: int) -> Any:
        """The performance of this take; on the compute thread.

        Raises:
            ValueError: a picture, seed or number of steps that does not fit.
        """
        if self.script is not None:
            geometry = engine.preset.geometry
            script = self.script
            if (script.width, script.height) != (geometry.width, geometry.height):
                script = script.scaled(geometry.width, geometry.height)
            return performance.of_take(engine, script, snapshot_bytes=snapshot_bytes)  # type: ignore[attr-defined]
        assert self.picture is not None
        return performance(engine, self.picture, self.prompt, self.seed, steps=self.steps, snapshot_bytes=snapshot_bytes)


@dataclass(frozen=True)
class Begun:
    """The take plays; ``live`` takes the hand's input, from any thread."""

    started: Started
    live: LiveInput


@dataclass(frozen=True)
class Made:
    """A chunk was made; its frames follow."""

    chunk: int
    next_frame: int
    chunk_ms: float
    stages: Stages
    fps_possible: float
