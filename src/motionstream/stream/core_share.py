"""How a stream shares a processor's cores with others, such as the browser that shows it.

Alone on a machine, all threads in every product are the fastest. But a product ends when its last part does, and where
something else takes a core away for a moment, all threads wait for the one that has lost it: two cores of which a browser
took two fifths of one made 15 frames a second in place of 38. Then half of the threads do better in the chain of passes, and
the other half in the clean pass, which runs beside decoding: 22 frames (docs/LOG.md, 2026-11-30). Numbers are the same.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

BUSY = 0.85
"""Share of the time in which the stream's own thread has a core where all of them are the stream's (two cores: above .9);
below, the other way is tried."""
RECENT, TRIAL = 6, 4
"""Chunks whose cost is remembered, and chunks that a trial lasts; the first of a trial does not count."""
BETTER = 0.92
"""A way is changed for one that costs less than so much of it."""
REST = 24, 192
"""Chunks from one trial to the next at first; twice as many after each that changed nothing, and the most."""


class CoreShare:
    """Chooses between the two ways while a stream runs, by what its chunks cost.

    Args:
        apart: how to begin: whether the clean pass has threads of its own.

    Attributes:
        threads: that the caller has; with one there is nothing to choose.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self.threads, self.apart = torch.get_num_threads(), apart
        self._costs: deque[float] = deque(maxlen=RECENT)
        self._busy = 1.0
        self._trial: list[float] | None = None
        self._before = 0.0
        self._rest, self._wait = REST[0], RECENT + 2
        self._wall = self._own = 0.0
        self._working = False

    @property
    def beside(self) -> int:
        """Threads of a clean pass that has its own."""
        return self.threads // 2

    @property
    def chain(self) -> int:
        """Threads of everything else."""
        return self.threads - self.beside if self.apart else self.threads

    @property
    def chosen(self) -> bool:
        """``apart`` of the way that was found to be the better one; another may be on trial."""
        return self.apart != (self._trial is not None)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Whatever is computed in it counts, on as many threads as is best; the caller's own number is put back after it."""
        if self._working:
            yield
            return
        self.threads = own = torch.get_num_threads()
        begun, begun_own = time.perf_counter(), time.thread_time()
        try:
            self._working = True
            torch.set_num_threads(self.chain)
            yield
        finally:
            self._working = False
            torch.set_num_threads(own)
            self._wall += time.perf_counter() - begun
            self._own += time.thread_time() - begun_own

    def next_chunk(self) -> None:
        """A chunk begins; what was computed since the last call was one chunk's. The way may change here."""
        wall, own = self._wall, self._own
        self._wall = self._own = 0.0
        if wall > 0:
            self.note(wall, own / wall)
        if self._working:
            torch.set_num_threads(self.chain)

    def note(self, cost: float, busy: float) -> None:
        """A chunk took ``cost`` seconds; in ``busy`` of them the stream's own thread had a core."""
        if self._trial is not None:
            self._trial.append(cost)
            if len(self._trial) == TRIAL:
                self._judge(statistics.median(self._trial[1:]))
            return
        self._costs.append(cost)
        self._busy += (busy - self._busy) / RECENT
        self._wait -= 1
        wanted = self.apart or self._busy < BUSY
        if self._wait <= 0 and len(self._costs) == RECENT and wanted and self.threads > 1:
            self._before, self._trial = statistics.median(self._costs), []
            self.apart = not self.apart

    def stay_together(self) -> None:
        """The other way cannot be had here."""
        self.apart, self._trial, self._wait = False, None, REST[1]

    def _judge(self, cost: float) -> None:
        self._trial = None
        if cost < BETTER * self._before:
            self._rest = REST[0]
            self._costs.clear()
        else:
            self.apart = not self.apart
            self._rest = min(2 * self._rest, REST[1])
        self._wait = self._rest
