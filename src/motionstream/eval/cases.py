"""A clip to be followed: its first frame, the tracks the model is given, and the truth it is compared with.

The model works on its own canvas; measures are taken on another where a protocol says so (832x480, 512x288).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from motionstream.tracks.tracks import Tracks


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoCase:
    """One sample of a video suite.

    Attributes:
        name: of the sample; also of its files.
        first_frame: ``(H, W, 3)`` uint8 on the model's canvas.
        tracks: what the model is given, B = 1, on the model's canvas; T frames.
        prompt: words for the model.
        truth: ``(T, H, W, 3)`` uint8 on the model's canvas; None where only some frames are known.
        scored: frames at which pictures are compared, increasing.
        reference: ``(len(scored), Hm, Wm, 3)`` uint8, the truth of those frames on the canvas of the measures.
        wanted: the tracks on the canvas of the measures, to be found again in the output; None = not asked.
        facts: further fields for the rows, such as the kind of motion.
    """

    name: str
    first_frame: np.ndarray
    tracks: Tracks
    prompt: str
    truth: np.ndarray | None
    scored: tuple[int, ...]
    reference: np.ndarray
    wanted: Tracks | None
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        T, canvas = self.tracks.num_frames, self.tracks.size
        assert self.first_frame.shape == (*canvas, 3)
        assert self.truth is None or self.truth.shape == (T, *canvas, 3)
        assert len(self.reference) == len(self.scored)
        assert not self.scored or self.scored[-1] < T
        assert self.wanted is None or (self.wanted.num_frames == T and self.wanted.size == self.metric_size)

    @property
    def metric_size(self) -> tuple[int, int]:
        """(H, W) on which measures are taken."""
        return self.reference.shape[1], self.reference.shape[2]


class CaseSource(Protocol):
    """Where cases come from.

    Attributes:
        suite: name of the suite. names: of the samples there are. expected: how many the full number needs.
        settings: what decides the cases; JSON values. notes: sentences for the report.
    """

    suite: str
    names: list[str]
    expected: int
    settings: dict[str, Any]
    notes: list[str]

    def case(self, index: int) -> VideoCase: ...
