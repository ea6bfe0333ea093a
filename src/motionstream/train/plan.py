"""How many steps a run has: ``steps``, or as many as fit into ``fit_minutes`` at the speed that is measured."""

from __future__ import annotations

import math
import time
from collections import deque

SETTLE_STEPS = 3
"""The first steps of a call tell nothing about its speed: they compile, allocate and fill caches."""
WINDOW_STEPS = 50
"""The speed is the mean of so many steps, with the checkpoints and sheets between them."""


class StepPlan:
    """The planned total of steps, over which schedules are laid, and the seconds trained so far.

    Without ``fit_minutes`` the total is ``steps``. With it, the total is planned anew after every step from the time that is
    left, so that schedule and time end together (by less than a step too late); ``steps`` is the guess until the speed is
    known.

    Args:
        steps: see above. fit_minutes: of training, all calls of a run together; 0 is off.
        done, trained_s, planned: steps, seconds and last total of a resumed run.
    """

    def __init__(self, steps: int, fit_minutes: float, *, done: int = 0, trained_s: float = 0.0, planned: int = 0) -> None:
        self.steps, self.fit_s, self.first = steps, 60 * fit_minutes, done
        self.begun = time.monotonic() - trained_s
        self.stamps: deque[float] = deque(maxlen=WINDOW_STEPS + 1)
        if self.fit_s and done:
            # The old total where there is one; a run that was finished and gets more time goes on at its old speed.
            self.steps = planned if planned > done else self._fitting(done, trained_s / done)
            if trained_s >= self.fit_s:
                self.steps = done

    @property
    def trained_s(self) -> float:
        return time.monotonic() - self.begun

    def update(self, done: int) -> None:
        """Plan again, ``done`` steps into the run."""
        if not self.fit_s:
            return
        if done - self.first >= SETTLE_STEPS:
            self.stamps.append(time.monotonic())
        if len(self.stamps) > 1:
            self.steps = self._fitting(done, (self.stamps[-1] - self.stamps[0]) / (len(self.stamps) - 1))
        else:
            self.steps = max(self.steps, done + 1) if self.trained_s < self.fit_s else done

    def _fitting(self, done: int, step_s: float) -> int:
        return done + math.ceil(max(0.0, self.fit_s - self.trained_s) / max(step_s, 1e-9))
