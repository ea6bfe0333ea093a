"""Suite "horizon": what becomes of a stream far beyond the length it was trained on, for several cache settings.

One row is one stream. Measures are averaged over windows of the training length, so that "at 5x" means the fifth window.
Settings other than the one a model was trained with run on the same weights (the paper's table 4 retrains them).
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from motionstream.config import CacheConfig
from motionstream.errors import UserError
from motionstream.eval.drags import pictures_mark
from motionstream.eval.following import measure_following
from motionstream.eval.horizon_scene import HorizonScene
from motionstream.eval.intervals import interval
from motionstream.eval.quality import measure_drift, measure_quality, to_frames, to_tensor
from motionstream.eval.rows import Row
from motionstream.eval.tasks import Gallery, LastMade, Task
from motionstream.models.lpips import LPIPS
from motionstream.stream.engine import StreamEngine

PUBLISHED_SCENES, PUBLISHED_MULTIPLES = 4, (1, 5, 25)
PAPER_SETTINGS = ("c3s1w1", "c3s0w1", "c1s1w1", "c3s0w6")
"""Rows of the paper's table 4: its own, no sink, chunk 1, sliding window."""
CURVE = (
    "epe_moving_px",
    "object_error_pct",
    "psnr_db",
    "ssim",
    "lpips",
    "colour_shift",
    "contrast_ratio",
    "detail_ratio",
    "seen_share",
)
FLOOR, STATIC = "truth", "static"
LOOKS = 3
"""How often in a window the front object is looked for."""


def with_cache(engine: StreamEngine, cache: CacheConfig) -> StreamEngine:
    """The same models under another cache setting."""
    variant = copy.copy(engine)
    variant.preset = replace(engine.preset, cache=cache)
    return variant


def in_windows(source: Iterable[np.ndarray], size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Frames that come a few at a time -> (start, frames) of ``size`` frames; the last window may be shorter.

    >>> [(start, len(part)) for start, part in in_windows([np.zeros((3, 1, 1, 3))] * 3, 4)]
    [(0, 4), (4, 4), (8, 1)]
    """
    start, kept = 0, np.zeros((0, 0, 0, 3), np.uint8)
    for frames in source:
        kept = np.concatenate([kept, frames]) if len(kept) else frames
        while len(kept) >= size:
            yield start, kept[:size]
            start, kept = start + size, kept[size:]
    if len(kept):
        yield start, kept


class HorizonSuite:
    """See the module.

    Args:
        settings: cache settings such as "c3s1w1". num_frames: of every stream, at least the training length.
        grid: (rows, columns) of tracks.
    """

    name, main_metric, less_is_better = "horizon", "object_error_pct", True

    def __init__(
        self,
        engine: StreamEngine,
        *,
        num_frames: int,
        settings: Sequence[str] = PAPER_SETTINGS,
        scenes: int = PUBLISHED_SCENES,
        seeds: Sequence[int] = (0, 1, 2),
        grid: tuple[int, int] = (12, 16),
        lpips: LPIPS | None = None,
        tracker: str = "lk",
    ) -> None:
        self.engine, self.num_frames, self.grid, self.lpips, self.tracker = engine, num_frames, grid, lpips, tracker
        self.window = engine.preset.clip_frames
        if num_frames < self.window:
            raise UserError(f"--frames {num_frames} is shorter than the training length: use at least {self.window}")
        self.caches = {name: CacheConfig.parse(name) for name in dict.fromkeys(settings)}
        self.seeds, self.samples = list(seeds), [f"horizon-{index:03d}" for index in range(scenes)]
        self.expected = PUBLISHED_SCENES
        self.settings: dict[str, Any] = {
            "frames": num_frames, "training_frames": self.window, "grid": list(grid), "tracker": tracker,
            "lpips": lpips is not None, "pictures": pictures_mark(),
        }  # fmt: skip
        self.notes = [
            f"All settings run on the same weights, made for {engine.preset.cache.tag}; the paper trains each of its own."
        ]
        self.multiples = [k for k in PUBLISHED_MULTIPLES if k * self.window <= num_frames]
        self._scene = LastMade(lambda index: HorizonScene(engine.preset.geometry, index, num_frames, grid))

    def tasks(self, gallery: Gallery) -> list[Task]:
        found = []
        for index, sample in enumerate(self.samples):
            for control in (FLOOR, STATIC):  # the video itself, and its first frame for ever
                found.append(Task(sample, control, self.seeds[0], partial(self._control, index, control, gallery)))
            for name in self.caches:
                for seed in self.seeds:
                    shown = gallery if seed == self.seeds[0] else Gallery()
                    found.append(Task(sample, name, seed, partial(self._measure, index, name, seed, shown)))
        return found

    def _control(self, index: int, control: str, gallery: Gallery) -> Row:
        scene = self._scene(index)
        source = self._truth(scene) if control == FLOOR else self._frozen(scene)
        return self._by_window(index, control, source, gallery, quality=control != FLOOR)

    def _measure(self, index: int, setting: str, seed: int, gallery: Gallery) -> Row:
        """One stream: means by window, and what a chunk cost."""
        costs: list[tuple[int, float]] = []
        row = self._by_window(index, setting, self._stream(self._scene(index), setting, seed, costs), gallery, quality=True)
        steady = costs[min(3, len(costs) // 4) :]
        row["latency_s"] = statistics.median(ms for _, ms in steady) / 1000
        row["fps"] = sum(n for n, _ in steady) / (sum(ms for _, ms in steady) / 1000)
        return row

    def _by_window(self, index: int, name: str, source: Iterable[np.ndarray], gallery: Gallery, *, quality: bool) -> Row:
        scene = self._scene(index)
        shown: list[np.ndarray] = []
        windows = []
        for start, frames in in_windows(source, self.window):
            windows.append(self._window(scene, start, frames, quality=quality))
            if start == 0 or start + len(frames) >= self.num_frames:
                shown.append(frames)  # the first and the last window, for people
        gallery.video(self.samples[index], name, np.concatenate(shown), scene.geometry.fps)
        curve = {name: [part.get(name) for part in windows] for name in CURVE}
        row: Row = {"curve": curve, "frames_made": self.num_frames}
        for name in CURVE:
            values = [value for value in curve[name] if value is not None]
            row[name] = statistics.fmean(values) if values else None
            row |= {f"{name}@{k}x": curve[name][k - 1] for k in self.multiples}
        return row

    def _truth(self, scene: HorizonScene) -> Iterator[np.ndarray]:
        for start in range(0, self.num_frames, self.window):
            yield to_frames(scene.stretch(start, min(start + self.window, self.num_frames)).video)

    def _frozen(self, scene: HorizonScene) -> Iterator[np.ndarray]:
        first = to_frames(scene.stretch(0, 1).video)
        for start in range(0, self.num_frames, self.window):
            yield first.repeat(min(self.window, self.num_frames - start), axis=0)

    def _stream(self, scene: HorizonScene, setting: str, seed: int, costs: list[tuple[int, float]]) -> Iterator[np.ndarray]:
        engine = with_cache(self.engine, self.caches[setting])
        first = to_frames(scene.stretch(0, 1).video)[0]
        made = 0
        with engine.start(first, scene.caption, seed=seed) as session:
            while made < self.num_frames:
                stop = made + session.frames_in_chunk(session.index)
                known = scene.stretch(made, min(stop, self.num_frames)).tracks
                for chunk in session.stream(known, stop - made):
                    costs.append((len(chunk.frames), chunk.stats.total_ms))
                    yield chunk.frames[: self.num_frames - made]
                made = stop

    def _window(self, scene: HorizonScene, start: int, frames: np.ndarray, *, quality: bool) -> dict[str, float | None]:
        """Measures of one window: its tracks start anew where they should be in its first frame.

        Followed from frame 0 of a long stream, the tracker itself loses points at every occlusion: its floor would grow
        above what is measured. Whether things are where they belong is told by the front object's place.
        """
        known = scene.stretch(start, start + len(frames))
        found: dict[str, float | None] = {}
        tracks = known.tracks
        # Most points rest, and are found where they were in anything that has texture, frozen noise included.
        away = (tracks.xy[0] - tracks.xy[0, :1]).norm(dim=-1) * tracks.visible[0]
        moving = tracks.select(tracks.visible[0, 0] & (away.amax(0) >= self.engine.preset.geometry.reach_px))
        if bool(moving.visible[0, 1:].any()):
            followed = measure_following(frames, moving, self.tracker)
            found |= {"epe_moving_px": followed["epe_px"], "seen_share": followed["seen_share"]}
        looks = range(len(frames) - 1, -1, -max(1, self.window // LOOKS))
        errors = [scene.object_error_pct(to_tensor(frames[t : t + 1])[0], start + t) for t in looks]
        found["object_error_pct"] = statistics.fmean(errors)
        if quality:
            truth = to_frames(known.video)
            found |= {**measure_quality(frames, truth, self.lpips), **measure_drift(frames, truth)}
        return found

    def extra(self, rows: list[Row]) -> dict[str, Any]:
        """Curves: for each setting and measure the mean and interval of every window, over scenes."""
        curves: dict[str, Any] = {}
        for condition in dict.fromkeys(row["condition"] for row in rows):
            part = [row for row in rows if row["condition"] == condition]
            curves[condition] = {}
            for name in CURVE:
                points = []
                for k in range(len(part[0]["curve"][name])):
                    values = [(row["sample"], row["curve"][name][k]) for row in part if row["curve"][name][k] is not None]
                    points.append(interval(values, resamples=500).as_dict() if values else None)
                if any(points):
                    curves[condition][name] = points
        return {"curves": curves, "window_frames": self.window, "multiples": self.multiples}
