"""Chunks of a stream whose points come from a source that is asked for a few frames at a time, such as a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from motionstream.stream.chunk import Chunk
from motionstream.stream.points import Point
from motionstream.stream.session import StreamSession


class Sight(Protocol):
    """Points held in one frame: ``ids`` (N,) whole numbers, ``xy`` (N, 2) in model pixels."""

    @property
    def ids(self) -> np.ndarray: ...

    @property
    def xy(self) -> np.ndarray: ...


SightT = TypeVar("SightT", bound=Sight)


def follow(session: StreamSession, take: Callable[[int], list[SightT]]) -> Iterator[tuple[Chunk, list[SightT]]]:
    """Chunks, each with the sights it was made from, until the source ends.

    Args:
        take: gives the next ``count`` frames; fewer only at its end. The last points are then held for the rest of the
            chunk: of its frames only the first ``len(sights)`` belong to the source.
    """
    while True:
        count = session.frames_in_chunk(session.index)
        seen = take(count)
        if not seen:
            return
        held = [*seen, *[seen[-1]] * (count - len(seen))]
        yield session.step_frames([_points(now) for now in held]), seen
        if len(seen) < count:
            return


def _points(seen: Sight) -> list[Point]:
    return [Point(int(name), float(x), float(y)) for name, (x, y) in zip(seen.ids, seen.xy, strict=True)]
