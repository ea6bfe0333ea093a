"""Suite "drags" as rows: what is asked of each scene, and the summary that earlier results used."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motionstream.eval.drags import (
    TRACK_COUNTS,
    DragCase,
    drag_case,
    drag_error_pct,
    pictures_mark,
    points_per_frame,
    stream_last_frame,
)
from motionstream.eval.quality import to_frames
from motionstream.eval.rows import Row
from motionstream.eval.tasks import Gallery, LastMade, Task
from motionstream.eval.teacher import Teacher
from motionstream.stream.engine import StreamEngine
from motionstream.tracks.draw import draw_tracks
from motionstream.tracks.tracks import Tracks

PUBLISHED_SCENES = 64
STEPS = (1, 2, 3, 4)
GRABS = (3, 20)
BRUSH = TRACK_COUNTS[-1]


class DragSuite:
    """See `motionstream.eval.drags`.

    Args:
        scenes: held-out scenes of every part, at least 2. late_scenes: of the part that grabs at chunk 20.
        teacher: None leaves it out. quick: only brush, single, dropped, static, truth (and teacher).
        seeds: of the noise.
    """

    name, main_metric, less_is_better = "drags", "error_pct", True

    def __init__(
        self,
        engine: StreamEngine,
        *,
        scenes: int = PUBLISHED_SCENES,
        late_scenes: int = 16,
        teacher: Teacher | None = None,
        quick: bool = False,
        seeds: Sequence[int] = (0,),
    ) -> None:
        self.engine, self.teacher, self.quick, self.seeds = engine, teacher, quick, list(seeds)
        self.scenes, self.late_scenes = scenes, late_scenes
        self.samples = [f"scene-{index:03d}" for index in range(scenes)]
        self.expected = PUBLISHED_SCENES
        self.settings: dict[str, Any] = {
            "metric": "object located in the last frame, distance in % of width",
            "pictures": pictures_mark(),
        }
        self.notes = ["quick: only brush, single, dropped, static and truth were measured"] if quick else []
        self._case = LastMade(partial(drag_case, engine))
        self._late = {grab: LastMade(lambda index, grab=grab: drag_case(engine, index, grab)) for grab in GRABS}  # type: ignore[misc]

    def tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for index, sample in enumerate(self.samples):
            fixed = {"truth_through_vae": self._through_vae, "static": self._static}
            for condition, measure in fixed.items():
                found.append(Task(sample, condition, self.seeds[0], partial(measure, index, gallery)))
            for seed in self.seeds:
                found += self._seeded(index, sample, seed, gallery)
        if not self.quick:
            found += self._late_tasks(gallery)
        return found

    def _seeded(self, index: int, sample: str, seed: int, gallery: Gallery) -> list[Task]:
        shown = gallery if seed == self.seeds[0] else Gallery()
        counts = {"tracks_dropped": 0, "brush": BRUSH, "single": 1}
        if not self.quick:
            counts |= {f"tracks_{count}": count for count in TRACK_COUNTS[1:-1]}
        found = [
            Task(sample, name, seed, partial(self._student, index, name, seed, count, shown))
            for name, count in counts.items()
        ]
        if self.teacher is not None:
            found.append(Task(sample, "teacher", seed, partial(self._teacher_row, index, seed, shown)))
        if not self.quick:
            usual = len(self.engine.preset.sample.student_sigmas)
            for steps in STEPS:
                if steps != usual:
                    name = f"steps_{steps}"
                    measure = partial(self._student, index, name, seed, BRUSH, Gallery(), steps=steps)
                    found.append(Task(sample, name, seed, measure))
        return found

    def _late_tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for grab, count in zip(GRABS, (self.scenes, self.late_scenes), strict=True):
            for index in range(count):
                for seed in self.seeds:
                    name, shown = f"grab_{grab}", gallery if seed == self.seeds[0] else Gallery()
                    measure = partial(self._student, index, name, seed, BRUSH, shown, grab=grab)
                    found.append(Task(f"scene-{index:03d}", name, seed, measure))
        return found

    # ---- rows --------------------------------------------------------------------------------------------------------

    def _student(
        self,
        index: int,
        name: str,
        seed: int,
        count: int,
        gallery: Gallery,
        *,
        steps: int | None = None,
        grab: int = 0,
    ) -> Row:
        case = self._late[grab](index) if grab else self._case(index)
        preset = self.engine.preset
        first = 0 if grab == 0 else preset.geometry.frame_span(0, grab * preset.cache.chunk_frames)[1]
        frame = stream_last_frame(self.engine, case, points_per_frame(case, count, first), steps=steps, seed=seed)
        return self._row(index, name, frame, case, gallery, count)

    def _teacher_row(self, index: int, seed: int, gallery: Gallery) -> Row:
        case = self._case(index)
        assert self.teacher is not None
        shown = torch.ones_like(case.points[..., 0], dtype=torch.bool)
        # With seed 0 the teacher's noise is the scene's index, as in the first published figures.
        video = self.teacher.video(case.video[0], case.points, shown, case.caption, index + 1000 * seed)
        return self._row(index, "teacher", video[-1], case, gallery, BRUSH)

    def _static(self, index: int, gallery: Gallery) -> Row:
        case = self._case(index)
        return self._row(index, "static", case.video[0], case, gallery, 1) | {
            "shift_pct": 100 * case.shift_px / case.video.shape[3]
        }

    @torch.no_grad()
    def _through_vae(self, index: int, gallery: Gallery) -> Row:
        case = self._case(index)
        video = case.video[None].to(self.engine.compute.device)
        frame = self.engine.vae.decode(self.engine.vae.encode(video))[0][0, -1].float().cpu()
        return self._row(index, "truth_through_vae", frame, case, gallery, 1)

    def _row(self, index: int, name: str, frame: Tensor, case: DragCase, gallery: Gallery, count: int) -> Row:
        if gallery.folder is not None:
            gallery.picture(f"scene-{index:03d}", name, _with_path(frame, case, count))
        return {"error_pct": drag_error_pct(frame, case), "size_px": case.size_px}

    # ---- summary -----------------------------------------------------------------------------------------------------

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """The summary of earlier releases: median, mean and share under 4 % for each part."""
        by: dict[str, list[Row]] = {}
        for row in rows:
            by.setdefault(row["condition"], []).append(row)
        errors = {name: [row["error_pct"] for row in part] for name, part in by.items()}
        brush, single = summary(errors["brush"]), summary(errors["single"])
        student: dict[str, Any] = {"brush": brush, "single": single}
        shifts = [row["shift_pct"] for row in by["static"]]
        report: dict[str, Any] = {
            "student": student,
            "tracks_dropped": summary(errors["tracks_dropped"]),
            "static": summary(errors["static"]),
            "truth_through_vae": summary(errors["truth_through_vae"]),
            "shift_pct": round(statistics.fmean(shifts), 2),
        }
        if "teacher" in errors:
            report["teacher"] = {"brush": summary(errors["teacher"])}
        if self.quick:
            return report
        middle = {str(count): summary(errors[f"tracks_{count}"]) for count in TRACK_COUNTS[1:-1]}
        student["by_tracks"] = {"1": single, **middle, str(BRUSH): brush}
        student["by_steps"] = {str(k): summary(errors[f"steps_{k}"]) if f"steps_{k}" in errors else brush for k in STEPS}
        ordered = sorted(by["brush"], key=lambda row: row["size_px"])
        half = len(ordered) // 2
        student["by_size"] = {
            "smaller_half": summary([row["error_pct"] for row in ordered[:half]]),
            "larger_half": summary([row["error_pct"] for row in ordered[half:]]),
        }
        student["grab_at_chunk"] = {"0": brush} | {str(grab): summary(errors[f"grab_{grab}"]) for grab in GRABS}
        return report


def _with_path(frame: Tensor, case: DragCase, count: int) -> np.ndarray:
    """The last frame with the way that the first commanded point was given."""
    T, H, W = len(case.points), *frame.shape[1:]
    drawn = to_frames(frame[None])
    if count == 0:
        return drawn[0]
    tracks = Tracks.from_points(case.points[:, :1], size=(H, W), fps=16.0)
    return draw_tracks(np.repeat(drawn, T, axis=0), tracks, tail=T, colours="drag")[-1]


def summary(errors: list[float]) -> dict[str, float]:
    """Median, mean, and share of errors below 4 %."""
    return {
        "median_pct": round(statistics.median(errors), 3),
        "mean_pct": round(statistics.fmean(errors), 3),
        "share_under_4pct": round(sum(e < 4 for e in errors) / len(errors), 3),
        "n": len(errors),
    }
