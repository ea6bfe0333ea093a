"""Which points of a stream a model is shown: what moves, and a sprinkling of what stands still.

A model that was trained to move what has a track, and to leave the rest alone, is best shown the points that move. Points
that rest are pins: a few of them keep the background where it is, all of them would freeze it to the clip's own shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from motionstream.tracking.live import LiveSeen


@dataclass
class MovingPoints:
    """Chooses points chunk by chunk; a point that moved once stays chosen while it lives, so that it can come to rest.

    Args:
        start_px: how far a point must get from where it began (pixels of its frames) to count as moving.
        pin_spacing_px: resting points are shown about this far from one another; 0 shows none, and inf only the first.
    """

    start_px: float
    pin_spacing_px: float
    _moving: set[int] = field(default_factory=set)
    _pins: set[int] = field(default_factory=set)

    def choose(self, chunk: Sequence[LiveSeen], ahead: Sequence[LiveSeen] = ()) -> list[LiveSeen]:
        """The same frames with the chosen points alone, hidden ones left out; ``chunk`` has at least one frame.

        ``ahead``: frames after it, as far as they are known. What will move there is shown from now on: a point that is
        first shown when it is a cell from where it began takes hold of what lies there, and not of its own thing.
        """
        known = [*chunk, *ahead]
        alive = {int(point) for seen in known for point in seen.ids}
        self._moving &= alive
        self._pins &= alive
        for seen in known:
            far = np.linalg.norm(seen.xy - seen.born, axis=1) >= self.start_px
            self._moving |= {int(point) for point in seen.ids[far & seen.visible]}
        self._pins -= self._moving
        self._add_pins(chunk[0])
        shown = np.array(sorted(self._moving | self._pins), np.int64)
        return [self._pick(seen, np.isin(seen.ids, shown) & seen.visible) for seen in chunk]

    @property
    def num_moving(self) -> int:
        """Points chosen because they moved."""
        return len(self._moving)

    def _add_pins(self, seen: LiveSeen) -> None:
        """Pin resting points that are far enough from every pin, oldest first."""
        if self.pin_spacing_px <= 0:
            return
        resting = [k for k in range(len(seen.ids)) if seen.visible[k] and int(seen.ids[k]) not in self._moving]
        places = [seen.xy[k] for k in resting if int(seen.ids[k]) in self._pins]
        for k in resting:
            gaps = np.linalg.norm(np.array(places).reshape(-1, 2) - seen.xy[k], axis=1)
            if int(seen.ids[k]) not in self._pins and (gaps >= self.pin_spacing_px).all():
                self._pins.add(int(seen.ids[k]))
                places.append(seen.xy[k])

    @staticmethod
    def _pick(seen: LiveSeen, rows: np.ndarray) -> LiveSeen:
        return LiveSeen(seen.ids[rows], seen.xy[rows], seen.visible[rows], seen.born[rows])
