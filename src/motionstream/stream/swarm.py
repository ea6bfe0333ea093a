"""Points that no hand moves, frame by frame: those of a camera with depth, or of a clip whose motion is borrowed.

A swarm is what a source says about one chunk, and what a take records of it: whole sixteenths of a pixel, so that what is
played and what is read from the file are the same numbers.

>>> swarm = Swarm.of("motion", [7], np.array([[[3.26, 4.0]], [[3.5, 4.0]]]), np.ones((2, 1), bool), (128, 96))
>>> swarm.at(0), swarm.at(1)
([(7, 3.25, 4.0)], [(7, 3.5, 4.0)])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

SwarmKind = Literal["camera", "motion"]
POINTS_PER_SWARM = 256
MAX_NAME = 2**40
STEPS_PER_PX = 16
_ABSENT = 65535


@dataclass(frozen=True)
class Swarm:
    """See the module.

    Attributes:
        kind: what moves the points.
        ids: (N,) names: a point that is seen in frame after frame under one name holds the same thing.
        places: (T, N, 2) little-endian uint16, x and y in sixteenths of a pixel; 65535 where the point is not seen.
    """

    kind: SwarmKind
    ids: tuple[int, ...]
    places: bytes

    def __post_init__(self) -> None:
        row = 4 * len(self.ids)
        if not 1 <= len(self.ids) <= POINTS_PER_SWARM or not self.places or len(self.places) % row:
            raise ValueError(f"{len(self.places)} bytes are no whole frames of 1 to {POINTS_PER_SWARM} points")
        if len(set(self.ids)) < len(self.ids) or not all(0 <= name < MAX_NAME for name in self.ids):
            raise ValueError(f"names of points must differ and lie in [0, {MAX_NAME})")

    @classmethod
    def of(
        cls, kind: SwarmKind, ids: Sequence[int], xy: np.ndarray, visible: np.ndarray, canvas: tuple[int, int]
    ) -> Swarm | None:
        """From positions xy (T, N, 2) in pixels of a canvas (width, height) and visible (T, N); None if nothing is seen.

        What lies outside the canvas is not seen. Of more than `POINTS_PER_SWARM` points some are kept, all over the
        canvas, and as far as they are still seen the same ones in the next swarm.
        """
        inside = np.isfinite(xy).all(-1) & (xy >= 0).all(-1) & (xy < canvas).all(-1) & visible
        kept = _some(np.flatnonzero(inside.any(0)), ids)
        if not len(kept):
            return None
        steps = np.where(inside[..., None], np.floor(np.where(inside[..., None], xy, 0) * STEPS_PER_PX + 0.5), _ABSENT)
        return cls(kind, tuple(int(ids[k]) for k in kept), np.minimum(steps[:, kept], _ABSENT).astype("<u2").tobytes())

    @property
    def num_frames(self) -> int:
        return len(self.places) // (4 * len(self.ids))

    def _steps(self) -> np.ndarray:
        return np.frombuffer(self.places, "<u2").reshape(self.num_frames, len(self.ids), 2)

    def at(self, t: int) -> list[tuple[int, float, float]]:
        """(name, x, y) of the points seen in frame ``t``; past its end those of the last one."""
        steps = self._steps()[min(t, self.num_frames - 1)]
        seen = (steps != _ABSENT).all(-1)
        places = steps[seen] / STEPS_PER_PX
        names = np.array(self.ids, np.int64)[seen]
        return [(name, x, y) for name, (x, y) in zip(names.tolist(), places.tolist(), strict=True)]

    def part(self, start: int, stop: int) -> Swarm | None:
        """Frames ``start`` to ``stop`` (past the end those of the last one); None where no point is seen in them."""
        steps = self._steps()[np.minimum(np.arange(start, stop), self.num_frames - 1)]
        kept = np.flatnonzero((steps != _ABSENT).all(-1).any(0))
        if not len(kept):
            return None
        return Swarm(self.kind, tuple(self.ids[k] for k in kept), steps[:, kept].tobytes())

    @classmethod
    def joined(cls, kind: SwarmKind, parts: Sequence[tuple[int, Swarm]], num_frames: int) -> Swarm:
        """One swarm of ``num_frames`` from parts and the frames at which they begin; of too many points some stay."""
        ids = list(dict.fromkeys(name for _, part in parts for name in part.ids))
        ids = [ids[k] for k in _some(np.arange(len(ids)), ids)]
        column = {name: n for n, name in enumerate(ids)}
        steps = np.full((num_frames, len(ids), 2), _ABSENT, "<u2")
        for begin, part in parts:
            known = [n for n, name in enumerate(part.ids) if name in column]
            rows = slice(begin, begin + part.num_frames)
            steps[rows, [column[part.ids[n]] for n in known]] = part._steps()[: num_frames - begin, known]
        return cls(kind, tuple(ids), steps.tobytes())

    def scaled(self, sx: float, sy: float) -> Swarm:
        """On a canvas that is ``sx`` times as wide and ``sy`` times as high."""
        steps = self._steps()
        grown = np.where(steps == _ABSENT, _ABSENT, np.minimum(np.round(steps * [sx, sy]), _ABSENT - 1))
        return Swarm(self.kind, self.ids, grown.astype("<u2").tobytes())


def _some(columns: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """At most `POINTS_PER_SWARM` of ``columns``, chosen by their names alone: names count up row by row, so that the first
    of them would be the top of the picture."""
    if len(columns) <= POINTS_PER_SWARM:
        return columns
    scattered = [int(ids[k]) * 0x9E3779B1 % 2**32 for k in columns]
    return np.sort(columns[np.argsort(scattered, kind="stable")[:POINTS_PER_SWARM]])


class PointSource(Protocol):
    """Says what its points do in a chunk; asked once for each, on the thread that makes it."""

    def points(self, chunk: int, num_frames: int) -> tuple[Swarm | None, tuple[int, ...]]:
        """The points of chunk ``chunk``, and per frame the ``t`` of the newest event that it shows (0 = none).

        A chunk that was asked for before means that the stream has gone back to there.
        """
