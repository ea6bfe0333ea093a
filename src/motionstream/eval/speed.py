"""Suite "speed": the benchmark of a stream, once for each repetition, as rows like those of the other suites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from motionstream.eval.rows import Row
from motionstream.eval.tasks import Gallery, Task


class SpeedSuite:
    """Args:
    measure: runs the benchmark (`motionstream.bench.bench_stream`) and returns its report.
    repeats: numbers of the repetitions; every one is a sample of its own.
    """

    name, main_metric, less_is_better = "speed", "fps", False

    def __init__(self, measure: Callable[[], dict[str, Any]], *, chunks: int, repeats: Sequence[int] = (0, 1, 2)) -> None:
        self.measure, self.seeds = measure, list(repeats)
        self.samples = [f"run-{repeat}" for repeat in repeats]
        self.expected = len(self.samples)
        self.settings: dict[str, Any] = {"chunks": chunks}
        self.notes = ["Speed is that of this machine at this time: other work on it makes it lower."]

    def tasks(self, gallery: Gallery) -> list[Task]:
        return [Task(name, "student", repeat, self._row) for name, repeat in zip(self.samples, self.seeds, strict=True)]

    def _row(self) -> Row:
        report = self.measure()
        return {
            "fps": report["fps"],
            "latency_s": report["chunk_ms"]["p50"] / 1000,
            "first_frames_s": report["ttff_s"],
            "bench": report,
        }

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """The benchmark's own report of the last repetition."""
        return {"bench": rows[-1]["bench"]}
