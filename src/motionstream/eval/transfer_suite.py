"""Suite transfer: clips drive pictures as in `motionstream transfer`, and what comes out is tracked again.

No true video of a picture that moves like another clip exists. So there is no PSNR, SSIM or LPIPS here, and the floor of
the end-point error comes from the picture bent along the tracks (`motionstream.eval.warp`), where every point's truth is
known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from motionstream.errors import sentence_of
from motionstream.eval.following import end_point_error, with_queries
from motionstream.eval.intervals import interval
from motionstream.eval.rows import Row
from motionstream.eval.tasks import Gallery, LastMade, Task, UnusableSample
from motionstream.eval.transfer_cases import (
    PICTURES,
    Motion,
    Picture,
    clip_motion,
    load_picture,
    nothing_held,
    of_length,
    short_clips,
    shuffled,
    transfer_clips,
)
from motionstream.eval.warp import warp_along
from motionstream.stream.engine import StreamEngine
from motionstream.stream.follow import follow
from motionstream.tracking import track_points
from motionstream.tracking.live import LiveSeen
from motionstream.tracks.draw import draw_tracks
from motionstream.tracks.tracks import Tracks

FLOOR = "warped"
NO_TRUTH = "No true video of these pictures in motion exists, so there is no PSNR, SSIM or LPIPS."
FLOOR_NOTE = (
    "The floor is the tracker's error on each picture bent along the tracks; the model's own video may be harder or easier."
)
KEPT_CLIPS = 8


class TransferSuite:
    """Rows of every clip on every picture, in the order of the pictures.

    Args:
        frames: of a sample at most; shorter clips end earlier. scenes: use the first so many samples; None = all.
        clips: a folder of videos instead of the bundled ones. tracker: finds the clip's points, and those of the output.
        quick: only floor, static copy and student.
    """

    name = "transfer"
    main_metric, less_is_better = "epe_px", True
    floor = FLOOR

    def __init__(
        self,
        engine: StreamEngine,
        *,
        frames: int,
        scenes: int | None = None,
        seeds: Sequence[int] = (0,),
        clips: Path | None = None,
        tracker: str = "lk",
        quick: bool = False,
    ) -> None:
        self.engine, self.frames, self.tracker, self.quick = engine, frames, tracker, quick
        self.seeds = list(seeds)
        self.clips = transfer_clips(clips)
        names = list(self.clips)
        pairs = [(clip, picture) for picture in PICTURES for clip in names]
        self.expected = len(pairs)
        self.pairs = {f"{clip}-on-{picture}": (clip, picture) for clip, picture in pairs[:scenes]}
        self.samples = list(self.pairs)
        self.settings: dict[str, Any] = {
            "frames": frames,
            "clips": names,
            "pictures": list(PICTURES),
            "tracker": tracker,
            **({"data": clips.resolve().name} if clips is not None else {}),
        }
        geometry = engine.preset.geometry
        self.notes = [NO_TRUTH, FLOOR_NOTE, *short_clips(self.clips, geometry, frames)]
        if clips is not None:
            self.notes.append(f"Clips of the folder {clips.name!r}: not the bundled set.")
        self._motion_of = LastMade(self._make_motion, keep=KEPT_CLIPS)
        self._picture_of = LastMade(lambda k: load_picture(PICTURES[k], geometry))

    def _make_motion(self, index: int) -> Motion:
        path = list(self.clips.values())[index]
        preset = self.engine.preset
        return clip_motion(path, preset.geometry, self.frames, preset.cache.chunk_frames, self.tracker)

    def _motion(self, sample: str, ahead: int = 0) -> Motion:
        """Of the sample's clip, or of the clip so many further on."""
        names, (clip, picture) = list(self.clips), self.pairs[sample]
        index = (names.index(clip) + ahead) % len(names)
        try:
            motion: Motion = self._motion_of(index)
        except (ValueError, OSError) as error:  # what the user's files are like; one of them must not end the run
            raise UnusableSample(f"{names[index]}-on-{picture}", sentence_of(error) or str(error)) from error
        return motion

    def tasks(self, gallery: Gallery) -> list[Task]:
        fixed = [FLOOR, "static"]
        if not self.quick:
            fixed += ["clip", "tracks_dropped", "shuffled"] + (["other_clip"] if len(self.clips) > 1 else [])
        found = []
        for sample in self.samples:
            found += [self._task(sample, condition, self.seeds[0], gallery) for condition in fixed]
            for seed in self.seeds:
                found.append(self._task(sample, "student", seed, gallery if seed == self.seeds[0] else Gallery()))
        return found

    def _task(self, sample: str, condition: str, seed: int, gallery: Gallery) -> Task:
        return Task(sample, condition, seed, partial(self._measure, sample, condition, seed, gallery))

    def _measure(self, sample: str, condition: str, seed: int, gallery: Gallery) -> Row:
        clip, name = self.pairs[sample]
        motion = self._motion(sample)
        frames = self._frames(sample, motion, condition, seed)
        if gallery.folder is not None:
            shown = draw_tracks(frames, motion.tracks) if condition in (FLOOR, "clip") else frames
            gallery.video(sample, condition, shown, motion.tracks.fps)
        facts = {"kind": clip, "picture": name, "frames": len(frames), "points": motion.tracks.num_tracks}
        return facts | following(frames, motion.tracks, self.tracker, self.engine.preset.geometry.reach_px)

    def _frames(self, sample: str, motion: Motion, condition: str, seed: int) -> np.ndarray:
        picture: Picture = self._picture_of(PICTURES.index(self.pairs[sample][1]))
        T = motion.tracks.num_frames
        if condition == FLOOR:
            return warp_along(picture.frame, motion.tracks)
        if condition == "static":
            return np.repeat(picture.frame[None], T, axis=0)
        if condition == "clip":
            return motion.pictures
        if condition == "other_clip":
            sights = of_length(self._motion(sample, ahead=1).sights, len(motion.sights))
        else:
            make = {"student": lambda m: m.sights, "shuffled": shuffled, "tracks_dropped": nothing_held}[condition]
            sights = make(motion)
        return driven(self.engine, picture, sights, seed)[:T]

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """The student for each clip, beside a static copy; and paired with every control.

        Pictures under one clip share its motion: intervals of the differences are drawn over clips, not samples.
        """
        by_kind: dict[str, dict[str, float | int]] = {}
        for clip in dict.fromkeys(row["kind"] for row in rows):
            found: dict[str, float | int] = {}
            for label, condition, metric in (
                ("EPE, px", "student", "epe_px"),
                ("of what moves", "student", "epe_moving_px"),
                ("static copy", "static", "epe_px"),
                ("static copy, of what moves", "static", "epe_moving_px"),
            ):
                part = [row for row in rows if row["kind"] == clip and row["condition"] == condition]
                values = [row[metric] for row in part if row.get(metric) is not None]
                if values:
                    found[label] = round(float(np.mean(values)), 2)
            by_kind[clip] = {**found, "n": len({row["sample"] for row in rows if row["kind"] == clip})}
        return {"by_kind": by_kind, "paired": self._paired(rows), "paired_by": "clips"}

    def _paired(self, rows: list[Row]) -> dict[str, Any]:
        """``{control: {metric: interval of student less control}}``; seeds of the student are averaged first."""
        table: dict[str, Any] = {}
        for control in ("static", "tracks_dropped", "shuffled", "other_clip"):
            other = {row["sample"]: row for row in rows if row["condition"] == control}
            for metric in ("epe_px", "epe_moving_px"):
                found = []
                for sample, row in other.items():
                    ours = [r[metric] for r in rows if (r["sample"], r["condition"]) == (sample, "student")]
                    if ours and None not in (row[metric], *ours):
                        found.append((row["kind"], float(np.mean(ours)) - row[metric]))
                if found:
                    table.setdefault(control, {})[metric] = interval(found).as_dict()
        return table


def driven(engine: StreamEngine, picture: Picture, sights: list[LiveSeen], seed: int) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 that the student streams; the same loop as in `motionstream transfer`."""
    rest = iter(sights)
    with engine.start(picture.frame, picture.prompt, seed=seed) as session:
        chunks = [chunk.frames[: len(seen)] for chunk, seen in follow(session, lambda count: list(islice(rest, count)))]
    return np.concatenate(chunks)


def following(frames: np.ndarray, tracks: Tracks, tracker: str, moves_px: float) -> dict[str, float | None]:
    """EPE of ``tracks`` found again in ``frames``.

    ``epe_moving_px`` is of those that get ``moves_px`` away from where they began, ``epe_late_px`` of those among them that
    began after the first frame.
    """
    kept, queries = with_queries(tracks)
    found = track_points(frames, queries, tracker=tracker, fps=tracks.fps)

    def error_of(chosen: np.ndarray) -> float | None:
        some = chosen.nonzero()[0].tolist()
        return end_point_error(kept.select(some), found.select(some)).epe_px if some else None

    whole = end_point_error(kept, found)
    xy, visible = kept.xy[0].numpy(), kept.visible[0].numpy()
    way = np.linalg.norm(xy - queries[None, :, 1:], axis=-1)
    moving = ((way >= moves_px) & visible).any(axis=0)
    return {
        "epe_px": whole.epe_px,
        "epe_moving_px": error_of(moving),
        "epe_late_px": error_of(moving & (queries[:, 0] > 0)),
        "epe_pct": 100 * whole.epe_px / tracks.size[1],
        "epe_seen_px": whole.epe_seen_px,
        "seen_share": whole.seen_share,
        "moving": int(moving.sum()),
    }
