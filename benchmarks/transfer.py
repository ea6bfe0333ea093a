"""A long motion transfer on nano: is its speed constant, does memory grow, what does the tracker cost? (docs/tracking.md)

    python benchmarks/transfer.py [--frames 2000] [--clip rabbit] [--picture dahlia] [--out FILE]

A bundled clip is played back and forth into a file long enough; from there on it is what `motionstream transfer` does: the
same motion, stream and video file. "Early" are the chunks after the first ten, "late" the last ones, fifty each where there
are so many. Wall time covers all of a chunk: reading, tracking, streaming, writing. Processor time is not distorted by other
programs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from motionstream.bench.machine import environment, resident_bytes
from motionstream.media.images import load_first_frame
from motionstream.media.video import VideoWriter
from motionstream.stream.engine import load_engine
from motionstream.stream.follow import follow
from motionstream.tracking.borrow import ClipMotion
from motionstream.tracking.clip import Clip

ASSETS = Path(str(resources.files("motionstream"))) / "assets"
WARM_CHUNKS, WINDOW_CHUNKS = 10, 50
SCALE = 4
FIELDS = ("wall_ms", "stream_ms", "tracker_ms", "processor_ms")


def back_and_forth(clip: Clip, num_frames: int, path: Path) -> Clip:
    """The clip forwards, backwards, forwards, ... as a file of ``num_frames``."""
    frames = list(clip.frames())
    wave = frames + frames[-2:0:-1]
    with VideoWriter(path, clip.fps, clip.size) as video:
        for frame in itertools.islice(itertools.cycle(wave), num_frames):
            video.write(frame[None])
    return Clip(path)


def measure(preset: str, clip_name: str, picture: str, num_frames: int) -> dict[str, Any]:
    """Transfer ``num_frames`` and sum up what its chunks cost."""
    engine = load_engine(preset)
    geometry = engine.preset.geometry
    engine.warmup()
    first_frame = load_first_frame(ASSETS / "gallery" / f"{picture}.jpg", geometry.width, geometry.height)
    rows: list[dict[str, float]] = []
    points: list[int] = []
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        short = Clip(ASSETS / "clips" / f"{clip_name}.webm")
        length = int(num_frames * short.fps / geometry.fps) + 2
        motion = ClipMotion(back_and_forth(short, length, Path(folder) / "long.mp4"), geometry)
        output = VideoWriter(Path(folder) / "out.mp4", geometry.fps, (geometry.height, geometry.width), upscale=SCALE)
        with output as video, engine.start(first_frame) as session:
            before = time.perf_counter(), time.process_time(), motion.track_s
            for chunk, seen in follow(session, motion.take):
                video.write(chunk.frames[: len(seen)])
                now = time.perf_counter(), time.process_time(), motion.track_s
                wall, processor, tracker = (1000 * (b - a) for a, b in zip(before, now, strict=True))
                costs = (wall, chunk.stats.total_ms, tracker, processor)
                rows.append({**dict(zip(FIELDS, costs, strict=True)), "mib": resident_bytes() / 2**20})
                points.append(len(seen[-1].ids))
                made += len(seen)
                before = now
                if made >= num_frames:
                    break
    return {
        "what": f"{made} frames of {clip_name}, played back and forth, onto {picture}, {preset}",
        "frames": made,
        "chunks": len(rows),
        "frames_in_chunk": len(chunk.frames),
        **summary(rows),
        "points": {"p50": int(np.median(points)), "max": max(points), "reseeded": motion.points.reseeded},
        "environment": {**environment(engine), "command": " ".join(["python", *sys.argv])},
    }


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Early and late chunks beside each other, and the growth of memory from the first early chunk to the last."""
    warm = min(WARM_CHUNKS, len(rows) // 3)
    count = max(1, min(WINDOW_CHUNKS, (len(rows) - warm) // 2))
    early, late = rows[warm : warm + count], rows[-count:]
    found: dict[str, Any] = {"compared_chunks": count}
    for name in FIELDS:
        first, last = (np.array([row[name] for row in part]) for part in (early, late))
        found[name] = {
            "early_p50": round(float(np.median(first)), 2),
            "late_p50": round(float(np.median(last)), 2),
            "early_p95": round(float(np.percentile(first, 95)), 2),
            "late_p95": round(float(np.percentile(last, 95)), 2),
            "late_over_early": round(float(np.median(last) / max(np.median(first), 1e-9)), 3),
        }
    return {**found, "memory_growth_mib": round(rows[-1]["mib"] - early[0]["mib"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--clip", default="rabbit", help="a bundled clip")
    parser.add_argument("--picture", default="dahlia", help="a bundled picture")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    if args.frames < 60:
        parser.error("--frames must be at least 60: early and late chunks are compared")
    text = json.dumps(measure(args.preset, args.clip, args.picture, args.frames), indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
