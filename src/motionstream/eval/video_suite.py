"""Suites of clips: every case is made by each subject, compared with the truth, and tracked again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from motionstream.errors import sentence_of
from motionstream.eval.cases import CaseSource, VideoCase
from motionstream.eval.following import measure_following
from motionstream.eval.quality import measure_quality, resize_frames
from motionstream.eval.rows import Row
from motionstream.eval.subjects import no_tracks, static_video, student_video, teacher_video, through_vae
from motionstream.eval.tasks import Gallery, LastMade, Task, UnusableSample
from motionstream.eval.teacher import Teacher
from motionstream.models.lpips import LPIPS
from motionstream.stream.engine import StreamEngine
from motionstream.tracks.draw import draw_tracks
from motionstream.tracks.tracks import Tracks

FLOOR = "truth"
"""The condition that tracks the true video again, at the model's resolution: the floor of every end-point error."""


class VideoSuite:
    """Rows of a `CaseSource`.

    Args:
        scenes: use the first so many samples; None = all.
        teacher: None leaves it out. lpips: None leaves LPIPS out (null in the rows).
        tracker: what finds the tracks again. quick: only truth, student and static.
    """

    def __init__(
        self,
        engine: StreamEngine,
        source: CaseSource,
        *,
        scenes: int | None = None,
        seeds: Sequence[int] = (0,),
        teacher: Teacher | None = None,
        lpips: LPIPS | None = None,
        tracker: str = "lk",
        quick: bool = False,
    ) -> None:
        self.engine, self.source, self.teacher, self.lpips = engine, source, teacher, lpips
        self.seeds, self.tracker, self.quick = list(seeds), tracker, quick
        self.name, self.expected = source.suite, source.expected
        self.samples = source.names[:scenes]
        self.settings = {**source.settings, "tracker": tracker, "lpips": lpips is not None}
        self.notes = list(source.notes)
        follows = self._follows()
        self.main_metric, self.less_is_better = ("epe_px", True) if follows else ("psnr_db", False)
        self._case = LastMade(self._case_of)

    def _case_of(self, index: int) -> VideoCase:
        try:
            return self.source.case(index)
        except (ValueError, OSError) as error:  # what the user's files are like; one of them must not end the run
            raise UnusableSample(self.source.names[index], sentence_of(error) or str(error)) from error

    def _follows(self) -> bool:
        return bool(self.source.settings.get("epe", True))

    def tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for index, sample in enumerate(self.samples):
            fixed = ["static"]
            if self._follows():
                fixed = [FLOOR, "truth_through_vae", "static", "tracks_dropped"]
            if len(self.source.names) > 1 and self._follows():
                fixed.append("other_tracks")
            if self.quick:
                fixed = [name for name in fixed if name in (FLOOR, "static")]
            for name in fixed:
                found.append(self._task(index, sample, name, self.seeds[0], gallery))
            for seed in self.seeds:
                shown = gallery if seed == self.seeds[0] else Gallery()
                found.append(self._task(index, sample, "student", seed, shown))
                if self.teacher is not None and not self.quick:
                    found.append(self._task(index, sample, "teacher", seed, shown))
        return found

    def _task(self, index: int, sample: str, condition: str, seed: int, gallery: Gallery) -> Task:
        return Task(sample, condition, seed, partial(self._measure, index, condition, seed, gallery))

    def _measure(self, index: int, condition: str, seed: int, gallery: Gallery) -> Row:
        case = self._case(index)
        if condition == "other_tracks":
            return self._with_other_tracks(case, index, seed, gallery)
        frames = self._frames(case, condition, seed)
        self._show(gallery, case, condition, frames, case.tracks if condition != "tracks_dropped" else None)
        row: Row = dict(case.facts)
        if condition != FLOOR:
            pictures = resize_frames(frames[list(case.scored)], case.metric_size)
            row |= measure_quality(pictures, case.reference, self.lpips)
        if case.wanted is not None:
            row |= self._following(frames, case.wanted)
        return row

    def _frames(self, case: VideoCase, condition: str, seed: int) -> np.ndarray:
        if condition == FLOOR:
            assert case.truth is not None
            return case.truth
        if condition == "truth_through_vae":
            assert case.truth is not None
            return through_vae(self.engine, case.truth)
        if condition == "static":
            return static_video(case)
        if condition == "teacher":
            assert self.teacher is not None
            return teacher_video(self.teacher, case, seed)
        tracks = case.tracks if condition == "student" else no_tracks(case)
        return student_video(self.engine, case, tracks, seed)

    def _with_other_tracks(self, case: VideoCase, index: int, seed: int, gallery: Gallery) -> Row:
        """The picture of one sample under the tracks of the next: does the output follow what it was given?

        ``epe_px`` is against the tracks it was given, ``epe_own_px`` against those that belong to its picture.
        """
        # of all that there are, not of those asked for: the row stays what it is when more are measured
        other = self._case((index + 1) % len(self.source.names))
        assert case.wanted is not None
        assert other.wanted is not None
        T = case.tracks.num_frames
        given, wanted = _of_length(other.tracks, T), _of_length(other.wanted.resize(*case.metric_size), T)
        frames = student_video(self.engine, case, given, seed)
        self._show(gallery, case, "other_tracks", frames, given)
        own = self._following(frames, case.wanted)
        return {**case.facts, **self._following(frames, wanted), "epe_own_px": own["epe_px"]}

    def _following(self, frames: np.ndarray, wanted: Tracks) -> dict[str, float | None]:
        found = measure_following(resize_frames(frames, wanted.size), wanted, self.tracker)
        epe = found["epe_px"]
        assert epe is not None
        return {**found, "epe_pct": 100 * epe / wanted.size[1]}

    def _show(self, gallery: Gallery, case: VideoCase, condition: str, frames: np.ndarray, tracks: Tracks | None) -> None:
        if gallery.folder is None:
            return
        drawn = draw_tracks(frames, tracks) if tracks is not None and condition == FLOOR else frames
        gallery.video(case.name, condition, drawn, case.tracks.fps)

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """Means of the student for each kind of motion, where cases have kinds."""
        kinds = sorted({row["kind"] for row in rows if "kind" in row})
        chosen = {kind: [r for r in rows if r.get("kind") == kind and r["condition"] == "student"] for kind in kinds}
        metrics = ("epe_px", "psnr_db", "ssim", "lpips")
        by_kind = {}
        for kind, part in chosen.items():
            values = {metric: [row[metric] for row in part if row.get(metric) is not None] for metric in metrics}
            by_kind[kind] = {name: round(float(np.mean(found)), 4) for name, found in values.items() if found} | {
                "n": len(part)
            }
        return {"by_kind": by_kind} if by_kind else {}


def _of_length(tracks: Tracks, num_frames: int) -> Tracks:
    """Cut tracks, or hold their last frame."""
    if tracks.num_frames >= num_frames:
        return tracks.slice_frames(0, num_frames)
    return tracks.pad_frames(num_frames)
