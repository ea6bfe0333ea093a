"""How the whole picture moves under a camera, and where what lay somewhere a moment ago is now.

Points hold what they are told to hold; all else that a camera moves moves too, and the books must say so, or a later grab
would take what lay there before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

TRAIL_FRAMES = 96
"""How many frames back a hand may have seen the picture in which it grabs something."""
FAR_PX = 1e6
"""What a zoom has carried farther away than this stays there: it would run out of digits."""
NEAR_CELLS = 1.5
"""An anchor farther away than this says nothing of how a place has moved."""


@dataclass(frozen=True)
class Flow:
    """A movement that is known at scattered points; what lies between them goes with the nearest one.

    Attributes:
        places: ``(k, 2)`` where they were in the frame before. steps: ``(k, 2)`` how far they have moved since.
    """

    places: Tensor
    steps: Tensor

    @classmethod
    def between(cls, before: dict[int, tuple[float, float]], after: dict[int, tuple[float, float]]) -> Flow | None:
        """Of named points; None where no name is in both frames."""
        both = [name for name in before if name in after]
        if not both:
            return None
        was, now = (torch.tensor([frame[name] for name in both], dtype=torch.float32) for frame in (before, after))
        return cls(was, now - was)


Step = np.ndarray | Flow
"""To the next frame: a matrix ``(3, 3)`` for all of the plane, or a flow."""
Drift = list[Step | None]
"""For each frame how the whole picture moves from the one before; None = it does not."""


def carried(places: Tensor, step: Step) -> Tensor:
    """Where what lies at ``places (n, 2)`` goes with the picture."""
    if isinstance(step, Flow):
        moved = places + step.steps[torch.cdist(places, step.places).argmin(dim=1)]
    else:
        matrix = torch.as_tensor(step, dtype=torch.float32)
        moved = places @ matrix[:2, :2].T + matrix[:2, 2]
    return moved.clamp(-FAR_PX, FAR_PX)


@dataclass
class Trail:
    """Where the anchors were in the last `TRAIL_FRAMES` frames, and how the picture moved between them."""

    places: list[Tensor] = field(default_factory=list)
    steps: list[Step | None] = field(default_factory=list)

    def copy(self) -> Trail:
        return Trail(list(self.places), list(self.steps))

    def leave(self, anchors: Tensor, step: Step | None) -> None:
        """Note the next frame: its anchors ``(n, 2)``, and the step that led to it."""
        self.places.append(anchors.clone())
        self.steps.append(step)
        del self.places[:-TRAIL_FRAMES], self.steps[:-TRAIL_FRAMES]

    def moved_since(self, back: int, points: Tensor, reach: float) -> np.ndarray:
        """How far what lay under ``points (k, 2)`` so many frames ago has moved since, ``(2,)`` pixels.

        The median over the points of the way of the nearest anchor; where none is within ``reach`` pixels, as in picture
        that a camera has brought into view, of the camera's own way.
        """
        if not self.places:
            return np.zeros(2)
        back = min(max(back, 0), len(self.places) - 1)
        then, now = self.places[-1 - back], self.places[-1]
        gaps, nearest = torch.cdist(points, then).min(dim=1)
        ways = now[nearest] - then[nearest]
        lost = gaps > reach
        if lost.any():
            ways[lost] = _way(points[lost], self.steps[len(self.steps) - back :])
        return ways.median(dim=0).values.double().numpy()


def _way(points: Tensor, steps: Iterable[Step | None]) -> Tensor:
    here = points
    for step in steps:
        here = here if step is None else carried(here, step)
    return here - points
