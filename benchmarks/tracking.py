"""Trackers against the truth of procedural scenes, and on real clips (docs/tracking.md).

    python benchmarks/tracking.py [--scenes 16] [--clips FOLDER] [--out FILE]

Scenes: pictures that training never saw, other seeds than those the settings were chosen on. Clips: how many points of a
grid are still seen, and by how much a point misses its start after the clip was played forwards and backwards.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, sample_scenes
from motionstream.tracking import grid_queries, track_points, track_windows
from motionstream.tracking.clip import Clip

TRACKERS: dict[str, dict[str, Any]] = {
    "lk": {"tracker": "lk"},
    "lk, no dense flow": {"tracker": "lk", "fill": False},
    "dis": {"tracker": "dis"},
}
LOOK_SEED, MOTION_SEED, FRAMES, GRID = 4100, 4200, 49, (24, 32)
THRESHOLDS = (1, 2, 4, 8, 16)  # pixels of a 256 x 256 picture, as in TAP-Vid


def procedural(times: int, num_scenes: int) -> list[dict[str, Any]]:
    """One row per tracker, on scenes of ``times`` 128x96."""
    base = SceneConfig()
    config = dataclasses.replace(
        base,
        num_frames=FRAMES,
        height=base.height * times,
        width=base.width * times,
        object_px=(base.object_px[0] * times, base.object_px[1] * times),
        speed_px=base.speed_px * times,
        split="eval",
    )
    rows = {name: Scores(config.height, config.width) for name in TRACKERS}
    for k in range(num_scenes):
        scenes = sample_scenes(1, config, look_seed=LOOK_SEED + k, motion_seed=MOTION_SEED + k)
        scenes = dataclasses.replace(scenes, pan=scenes.pan * times)  # pan_px is left as it is
        truth = render(scenes, GRID, point_seed=k)
        frames = (truth.video[0] * 255).round().byte().permute(0, 2, 3, 1).numpy()
        start = truth.visible[0, 0].numpy()
        xy, visible = truth.xy[0].numpy()[:, start], truth.visible[0].numpy()[:, start]
        queries = np.concatenate([np.zeros((xy.shape[1], 1), np.float32), xy[0]], axis=1)
        for name, options in TRACKERS.items():
            began = time.perf_counter()
            tracks = track_points(frames, queries, **options)
            seconds = time.perf_counter() - began
            rows[name].add(tracks.xy[0].numpy()[1:], tracks.visible[0].numpy()[1:], xy[1:], visible[1:], seconds)
        print(f"scene {k + 1} of {num_scenes} at {config.width}x{config.height}", flush=True)
    return [{"tracker": name, **rows[name].summary()} for name in TRACKERS]


class Scores:
    """Errors of one tracker, collected over scenes; "moving" is what is more than 2 px of 256 from where it began."""

    def __init__(self, height: int, width: int) -> None:
        self.scale = np.array([256 / width, 256 / height])
        self.errors: list[np.ndarray] = []
        self.moving: list[np.ndarray] = []
        self.rows: list[list[float]] = []
        self.jaccard: list[list[float]] = []
        self.seconds = self.frames = 0.0

    def add(self, xy: np.ndarray, seen: np.ndarray, true_xy: np.ndarray, visible: np.ndarray, seconds: float) -> None:
        error = np.linalg.norm(xy - true_xy, axis=-1)
        tapvid = np.linalg.norm((xy - true_xy) * self.scale, axis=-1)
        self.errors.append(error[seen & visible])
        gone = np.linalg.norm((true_xy - true_xy[:1]) * self.scale, axis=-1) > 2
        self.moving.append(error[seen & visible & gone])
        within = [(tapvid < limit) for limit in THRESHOLDS]
        good = [float(near[visible].mean()) for near in within]
        jaccard = [
            float((near & seen & visible).sum() / (visible.sum() + (seen & ~(near & visible)).sum())) for near in within
        ]
        last = visible[-1]
        survived = seen[-1] & (tapvid[-1] < 8)
        hidden = float(seen[~visible].mean()) if (~visible).any() else np.nan
        self.rows.append(
            [
                np.mean(good),
                np.mean(jaccard),
                np.mean(seen == visible),
                hidden,
                np.mean(~seen[visible]),
                survived[last].mean(),
            ]
        )
        self.seconds, self.frames = self.seconds + seconds, self.frames + len(xy)

    def summary(self) -> dict[str, float]:
        errors = np.concatenate(self.errors)
        names = (
            "delta_avg",
            "average_jaccard",
            "occlusion_accuracy",
            "hidden_called_seen",
            "seen_called_hidden",
        )
        means = np.nanmean(np.array(self.rows), axis=0)
        return {
            "median_px": round(float(np.median(errors)), 3),
            "median_moving_px": round(float(np.median(np.concatenate(self.moving))), 3),
            "mean_px": round(float(errors.mean()), 3),
            "p95_px": round(float(np.percentile(errors, 95)), 2),
            **{name: round(float(value), 4) for name, value in zip((*names, "survival"), means, strict=True)},
            "ms_per_frame": round(1000 * self.seconds / self.frames, 1),
        }


def real_clips(folder: Path, num_frames: int = 120) -> list[dict[str, Any]]:
    """Survival of a 50 x 50 grid and error of going there and back, one row per clip and tracker."""
    rows = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".webm", ".mov", ".mkv")):
        whole = Clip(path)
        height = min(360, whole.source[0])
        clip = Clip(path, (height, round(height * whole.source[1] / whole.source[0] / 2) * 2))
        frames = list(itertools.islice(clip.frames(), num_frames))
        queries = grid_queries(clip.size, 50)
        for name, options in TRACKERS.items():
            began = time.perf_counter()
            there = np.concatenate([w.visible for w in track_windows(frames, queries, **options)])
            seconds = time.perf_counter() - began
            half = frames[: min(len(frames), num_frames // 2)]
            back = track_points(np.stack(half + half[-2::-1]), queries, **options)
            returned = back.visible[0, -1].numpy()
            miss = np.linalg.norm(back.xy[0, -1].numpy() - queries[:, 1:], axis=1)
            turned = int(back.visible[0, len(half) - 1].sum())
            rows.append(
                {
                    "clip": path.name,
                    "size": f"{clip.size[1]}x{clip.size[0]}",
                    "frames": len(frames),
                    "tracker": name,
                    "seen_after": {f"{share}%": share_seen(there, share) for share in (25, 50, 100)},
                    "turned": turned,
                    "returned": int(returned.sum()),
                    "return_median_px": round(float(np.median(miss[returned])), 3) if returned.any() else None,
                    "return_below_2px": round(float((miss[returned] < 2).mean()), 3) if returned.any() else None,
                    "ms_per_frame": round(1000 * seconds / len(frames), 1),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def share_seen(visible: np.ndarray, percent: int) -> float:
    return round(float(visible[round((len(visible) - 1) * percent / 100)].mean()), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=16, help="procedural scenes at each size (default: 16)")
    parser.add_argument("--clips", type=Path, help="folder with real clips")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    report: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch threads {torch.get_num_threads()}",
        "opencv": f"{cv2.__version__}, {cv2.getNumThreads()} threads",
    }
    if args.scenes:
        report["procedural"] = {f"{128 * times}x{96 * times}": procedural(times, args.scenes) for times in (1, 4)}
    if args.clips is not None:
        report["clips"] = real_clips(args.clips)
    text = json.dumps(report, indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
