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
    CHUNK,
    TRACK_COUNTS,
    DragCase,
    brush_points,
    drag_case,
    drag_error_pct,
    drag_shares,
    pictures_mark,
    points_per_frame,
    rest_measures,
    stream_frames,
)
from motionstream.eval.intervals import share_interval
from motionstream.eval.presence import psnr_beside
from motionstream.eval.quality import to_frames
from motionstream.eval.rows import Row
from motionstream.eval.tasks import Gallery, LastMade, Task
from motionstream.eval.teacher import Teacher
from motionstream.stream.engine import StreamEngine
from motionstream.tracks.draw import draw_tracks
from motionstream.tracks.tracks import Tracks

PUBLISHED_SCENES, FIRST_SCENE = 64, 64
"""Scenes before the first are for choosing between weights (docs/LOG.md), so none is measured here."""
STEPS = (1, 2, 3, 4)
GRABS = (3, 20)
ALL_OVER = TRACK_COUNTS[-1]
REST_CHUNKS = 6
"""So long nothing is held in condition "rest"."""


class DragSuite:
    """See `motionstream.eval.drags`.

    Args:
        scenes: held-out scenes of every part, at least 2. late_scenes: of those, of the part that grabs after 237 frames.
        teacher: None leaves it out. quick: only brush, brush_whole, 24 points, single, dropped, rest,
            static, truth (and teacher).
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
        self.indices = range(FIRST_SCENE, FIRST_SCENE + scenes)
        self.samples = [f"scene-{index:03d}" for index in self.indices]
        self.expected = PUBLISHED_SCENES
        self.settings: dict[str, Any] = {
            "metric": "object located in the last frame, distance in % of width",
            "pictures": pictures_mark(),
            "first_scene": FIRST_SCENE,
            "brush": "takes all of its thing",
        }
        self.notes = ["quick: without 4 and 12 points, other numbers of steps, and late grabs"] if quick else []
        self._case = LastMade(partial(drag_case, engine))
        self._unheld = LastMade(self._stream_unheld, keep=1)  # "tracks_dropped" and "rest" look at one stream
        self._late = {grab: LastMade(lambda index, grab=grab: drag_case(engine, index, grab)) for grab in GRABS}  # type: ignore[misc]

    def tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for index, sample in zip(self.indices, self.samples, strict=True):
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
        found = [
            Task(sample, "tracks_dropped", seed, partial(self._dropped, index, seed, shown)),
            Task(sample, "rest", seed, partial(self._rest, index, seed, shown)),
        ]
        counts = {"brush": None, "brush_whole": None, f"tracks_{ALL_OVER}": ALL_OVER, "single": 1}
        if not self.quick:
            counts |= {f"tracks_{count}": count for count in TRACK_COUNTS[1:-1]}
        found += [
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
                    measure = partial(self._student, index, name, seed, ALL_OVER, Gallery(), steps=steps)
                    found.append(Task(sample, name, seed, measure))
        return found

    def _late_tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for grab, count in zip(GRABS, (self.scenes, min(self.scenes, self.late_scenes)), strict=True):
            for index in self.indices[:count]:
                for seed in self.seeds:
                    name, shown = f"grab_{grab}", gallery if seed == self.seeds[0] else Gallery()
                    measure = partial(self._student, index, name, seed, ALL_OVER, shown, grab=grab)
                    found.append(Task(f"scene-{index:03d}", name, seed, measure))
        return found

    # ---- rows --------------------------------------------------------------------------------------------------------

    def _student(
        self,
        index: int,
        name: str,
        seed: int,
        count: int | None,
        gallery: Gallery,
        *,
        steps: int | None = None,
        grab: int = 0,
    ) -> Row:
        """``count`` points all over the object; with None a brush, in "brush_whole" with all that it covers."""
        case = self._late[grab](index) if grab else self._case(index)
        first = 0 if grab == 0 else self.engine.preset.geometry.frame_span(0, grab * CHUNK)[1]
        points = brush_points(case, snap=name == "brush") if count is None else points_per_frame(case, count, first)
        video = stream_frames(self.engine, case, points, steps=steps, seed=seed)
        row = self._row(index, name, video[len(case.points) - 1], case, gallery, 1)
        # What was there to be grabbed after so many chunks without a hand?
        return row | rest_measures(video[first - 1], case) if grab else row

    def _stream_unheld(self, index: int, seed: int) -> Tensor:
        frames = self.engine.preset.geometry.pixel_frames(REST_CHUNKS * CHUNK)
        return stream_frames(self.engine, self._case(index), [[]] * frames, seed=seed)

    def _dropped(self, index: int, seed: int, gallery: Gallery) -> Row:
        case = self._case(index)
        frame = self._unheld(index, seed)[len(case.points) - 1]
        return self._row(index, "tracks_dropped", frame, case, gallery, 0)

    def _rest(self, index: int, seed: int, gallery: Gallery) -> Row:
        frame = self._unheld(index, seed)[-1]
        gallery.picture(f"scene-{index:03d}", "rest", to_frames(frame[None])[0])
        return rest_measures(frame, self._case(index))

    def _teacher_row(self, index: int, seed: int, gallery: Gallery) -> Row:
        case = self._case(index)
        assert self.teacher is not None
        shown = torch.ones_like(case.points[..., 0], dtype=torch.bool)
        # With seed 0 the teacher's noise is the scene's index, as in the first published figures.
        video = self.teacher.video(case.video[0], case.points, shown, case.caption, index + 1000 * seed)
        return self._row(index, "teacher", video[-1], case, gallery, 1)

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
        beside = psnr_beside(frame, case.video[-1], case.alpha, case.old_alpha)
        found = {"error_pct": drag_error_pct(frame, case), **drag_shares(frame, case), "beside_psnr_db": beside}
        return found | {"size_px": case.size_px}

    # ---- summary -----------------------------------------------------------------------------------------------------

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """What earlier releases said (median, mean and share under 4 % for each part), and what is left of the object."""
        by: dict[str, list[Row]] = {}
        for row in rows:
            by.setdefault(row["condition"], []).append(row)
        part = {name: summary(found) for name, found in by.items() if name != "rest"}
        all_over = part[f"tracks_{ALL_OVER}"]
        student: dict[str, Any] = {name: part[name] for name in ("brush", "brush_whole", f"tracks_{ALL_OVER}", "single")}
        student["rest"] = rest_summary(by["rest"])
        report: dict[str, Any] = {
            "student": student,
            "tracks_dropped": part["tracks_dropped"],
            "static": part["static"],
            "truth_through_vae": part["truth_through_vae"],
            "shift_pct": round(statistics.fmean(row["shift_pct"] for row in by["static"]), 2),
        }
        if "teacher" in part:
            report["teacher"] = {f"tracks_{ALL_OVER}": part["teacher"]}
        if self.quick:
            return report
        middle = {str(count): part[f"tracks_{count}"] for count in TRACK_COUNTS[1:-1]}
        student["by_tracks"] = {"1": part["single"], **middle, str(ALL_OVER): all_over}
        student["by_steps"] = {str(k): part.get(f"steps_{k}", all_over) for k in STEPS}
        ordered = sorted(by["brush"], key=lambda row: row["size_px"])
        half = len(ordered) // 2
        student["by_size"] = {"smaller_half": summary(ordered[:half]), "larger_half": summary(ordered[half:])}
        student["grab_at_chunk"] = {"0": all_over} | {str(grab): part[f"grab_{grab}"] for grab in GRABS}
        rests = {REST_CHUNKS: "rest"} | {grab: f"grab_{grab}" for grab in GRABS}
        student["rest_for_chunks"] = {str(chunks): rest_summary(by[rests[chunks]]) for chunks in sorted(rests)}
        return report


def _with_path(frame: Tensor, case: DragCase, count: int) -> np.ndarray:
    """The last frame with the way that the first commanded point was given."""
    T, H, W = len(case.points), *frame.shape[1:]
    drawn = to_frames(frame[None])
    if count == 0:
        return drawn[0]
    tracks = Tracks.from_points(case.points[:, :1], size=(H, W), fps=16.0)
    return draw_tracks(np.repeat(drawn, T, axis=0), tracks, tail=T, colours="drag")[-1]


def summary(rows: list[Row]) -> dict[str, Any]:
    """Median, mean, share of errors below 4 % with its 95 % interval; mean shares at the new and the old place, mean PSNR
    beside them."""
    errors = [row["error_pct"] for row in rows]
    share = sum(e < 4 for e in errors) / len(errors)
    scenes = len({row.get("sample", n) for n, row in enumerate(rows)})  # seeds of one scene are no further samples
    return {
        "median_pct": round(statistics.median(errors), 3),
        "mean_pct": round(statistics.fmean(errors), 3),
        "share_under_4pct": round(share, 3),
        "share_interval": [round(end, 3) for end in share_interval(share, scenes)],
        "kept_share": _mean_of(rows, "kept_share"),
        "left_behind": _mean_of(rows, "left_behind"),
        "beside_psnr_db": _mean_of(rows, "beside_psnr_db"),
        "n": len(errors),
    }


def rest_summary(rows: list[Row]) -> dict[str, float | None]:
    """What is left of an object that nobody held: mean share, levels of change, and dB below the rest of the picture."""
    shares = [row["rest_share"] for row in rows if row.get("rest_share") is not None]
    return {
        "share": _mean_of(rows, "rest_share"),
        "share_of_worst_tenth": round(statistics.fmean(sorted(shares)[: -(-len(shares) // 10)]), 3) if shares else None,
        "error_levels": _mean_of(rows, "rest_error"),
        "psnr_gap_db": _mean_of(rows, "rest_psnr_gap_db"),
        "n": len(shares),
    }


def _mean_of(rows: list[Row], name: str) -> float | None:
    """Mean over the rows in which it is known; rows of folders begun by earlier releases do not have all."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return round(statistics.fmean(values), 3) if values else None
