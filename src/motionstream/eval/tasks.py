"""What a suite consists of: tasks, each one row; run in order, with a progress bar, without those measured before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from motionstream.eval.rows import Key, Row, RowFile
from motionstream.media.images import enlarge

MEDIA = "media"
SHOWN_WIDTH_PX = 256
"""Small pictures are enlarged by a whole factor to about this width, so that people can see them."""


class UnusableSample(ValueError):
    """A sample that cannot be measured, such as a damaged file; the others still can.

    Args:
        sample: its name. why: one sentence.
    """

    def __init__(self, sample: str, why: str) -> None:
        super().__init__(why)
        self.sample = sample


@dataclass(frozen=True)
class Task:
    """One row to be measured; ``measure`` returns its metrics."""

    sample: str
    condition: str
    seed: int
    measure: Callable[[], dict[str, Any]]

    @property
    def key(self) -> Key:
        return self.sample, self.condition, self.seed


@dataclass(frozen=True)
class Gallery:
    """Where pictures and videos for people go; None = nowhere."""

    folder: Path | None = None

    def video(self, sample: str, condition: str, frames: np.ndarray, fps: float) -> None:
        """Keep frames (T, H, W, 3) uint8; sides are even by the presets."""
        if self.folder is not None:
            from motionstream.media.video import write_video  # needs PyAV, which measuring alone does without

            write_video(self._path(sample, condition, "mp4"), frames, fps, upscale=_factor(frames.shape[2]))

    def picture(self, sample: str, condition: str, frame: np.ndarray) -> None:
        """Keep a picture (H, W, 3) uint8."""
        if self.folder is not None:
            shown = enlarge(frame[None], _factor(frame.shape[1]))[0]
            Image.fromarray(shown).save(self._path(sample, condition, "png"))

    def _path(self, sample: str, condition: str, suffix: str) -> Path:
        assert self.folder is not None
        (self.folder / MEDIA).mkdir(parents=True, exist_ok=True)
        return self.folder / MEDIA / f"{sample}--{condition}.{suffix}"


def _factor(width: int) -> int:
    return max(1, round(SHOWN_WIDTH_PX / width))


class Suite(Protocol):
    """A list of tasks and how to sum up their rows.

    Attributes:
        name: of the suite. samples: names of those measured now. expected: how many make the published number.
        settings: everything that decides the rows besides weights; JSON values. notes: sentences for the report.
        main_metric: what samples are ordered by, and whether less of it is better.
    """

    name: str
    samples: list[str]
    expected: int
    settings: dict[str, Any]
    notes: list[str]
    main_metric: str
    less_is_better: bool

    def tasks(self, gallery: Gallery) -> list[Task]: ...

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """What the report says besides means of metrics."""


def run_tasks(tasks: Sequence[Task], rows: RowFile, label: str, left_out: dict[str, str] | None = None) -> list[Row]:
    """Measure what is not there yet; all rows of ``tasks``, in their order.

    Samples that cannot be used are passed over; ``left_out`` gets their names and why.

    Raises:
        ValueError: none of the samples can be used.
    """
    left_out = {} if left_out is None else left_out
    todo = [task for task in tasks if task.key not in rows]
    with tqdm(total=len(tasks), initial=len(tasks) - len(todo), desc=label, mininterval=1, smoothing=0.1) as bar:
        for task in todo:
            bar.set_postfix_str(f"{task.sample} {task.condition}", refresh=False)
            head = {"sample": task.sample, "condition": task.condition, "seed": task.seed}
            try:
                if task.sample not in left_out:
                    rows.add(head | task.measure())
            except UnusableSample as error:
                if error.sample not in left_out:
                    tqdm.write(f"left out {error.sample}: {error}", file=sys.stderr)
                left_out[error.sample] = str(error)
            bar.update()
    found = rows.select(task.key for task in tasks)
    if left_out and not found:
        raise ValueError(
            f"none of the samples can be used; the first, {next(iter(left_out))}: {next(iter(left_out.values()))}"
        )
    return found


@dataclass
class LastMade:
    """Keeps the last few things made by key, so that the tasks of one sample share what is costly to make."""

    make: Callable[..., Any]
    keep: int = 2
    _made: dict[tuple[int, ...], Any] = field(default_factory=dict)

    def __call__(self, *key: int) -> Any:
        if key not in self._made:
            while len(self._made) >= self.keep:
                del self._made[next(iter(self._made))]
            self._made[key] = self.make(*key)
        return self._made[key]
