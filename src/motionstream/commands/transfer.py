"""``motionstream transfer``: the motion of a clip drives another picture, for as long as the clip lasts.

The clip is read, tracked and forgotten frame by frame; what its points do in a chunk goes straight into the next chunk of
the stream (paper section 3.3), so the length is bounded by nothing but the clip.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import MOST_STEPS, device_arguments, say, size_argument, tell_kept, whole_number
from motionstream.commands.streaming import check_scale, shown_scale
from motionstream.commands.track import tracker_arguments, tracker_options

if TYPE_CHECKING:
    import numpy as np

    from motionstream.shapes import VideoGeometry
    from motionstream.tracking.borrow import ClipMotion
    from motionstream.tracking.live import LiveSeen

EPILOG = """\
example:
  motionstream transfer dancer.mp4 photo.jpg --prompt "a cat" -o out.mp4 --beside
The last line on stdout is one JSON object.
"""
MAX_FRAMES = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", metavar="CLIP", help="whose motion: any video that FFmpeg reads")
    parser.add_argument("image", metavar="IMAGE", help="what moves: any picture of at least 16x16 pixels")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.mp4", help="the video")
    parser.add_argument("--prompt", default="", help="what is seen, and what moves")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="nano", help="a bundled model (default: nano)")
    model.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    size_argument(parser)
    parser.add_argument(
        "--grid",
        type=whole_number(1, 128),
        metavar="N",
        help="points across (default: one a latent cell, or fewer: 300 places)",
    )
    parser.add_argument(
        "--mask", metavar="PNG", help="take only the motion of what is white in this picture of the first frame"
    )
    parser.add_argument(
        "--fit", choices=("crop", "scale"), default="crop", help="clip to canvas: its middle, or all of it (default: crop)"
    )
    parser.add_argument(
        "--frames", type=whole_number(1, MAX_FRAMES), metavar="N", help="at most so many (default: the clip)"
    )
    parser.add_argument(
        "--pins", choices=("some", "none", "all"), default="some", help="resting points shown (default: some)"
    )
    tracker_arguments(parser, ("lk", "dis", "tapir", "tapnext"))
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--steps", type=whole_number(1, MOST_STEPS), metavar="K", help="denoising steps (default: the model's)"
    )
    device_arguments(parser)
    parser.add_argument("--scale", type=whole_number(1, 64), metavar="K", help="enlarge the video (default: small ones)")
    parser.add_argument("--draw-tracks", action="store_true", help="draw the points into the video")
    parser.add_argument("--beside", action="store_true", help="put the clip beside the result")
    parser.add_argument("--save-tracks", metavar="FILE", help="also write the points that were shown, .npz or .json")


def run(args: argparse.Namespace) -> int:
    from motionstream.media.images import fit_picture, open_picture
    from motionstream.media.output import check_output
    from motionstream.presets import preset
    from motionstream.tracking.borrow import ClipMotion
    from motionstream.tracking.clip import Clip
    from motionstream.tracking.queries import read_mask
    from motionstream.tracking.tracker import make_tracker

    # Everything that can be wrong is looked at before the model is loaded.
    output = check_output(args.output, inputs=(args.clip,))
    saved = check_output(args.save_tracks, (".npz", ".json")) if args.save_tracks else None
    if args.weights is None:
        preset(args.preset)
    picture = open_picture(args.image)
    clip = Clip(args.clip)
    mask = None if args.mask is None else read_mask(args.mask, clip.source)
    tracker = make_tracker(args.tracker, **tracker_options(args))

    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    named = args.weights or args.preset
    geometry = find_config(named, size=args.size)[0].geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale, geometry, side_by_side=2 if args.beside else 1)
    first_frame, placed = fit_picture(picture, geometry.width, geometry.height)
    say(f"picture: {placed}")
    motion = ClipMotion(clip, geometry, fit=_FITS[args.fit], across=args.grid, mask=mask, tracker=tracker, pins=args.pins)
    say(f"clip: {clip.fps:g} fps, {motion.window}; tracked at its own rate, shown at {geometry.fps:g} fps")
    engine = load_engine(named, device=args.device, dtype=args.dtype, size=args.size)
    say(f"compute: {engine.compute.reason}")
    engine.warmup()
    shown: list[LiveSeen] | None = None if saved is None else []
    result = _stream(args, engine, first_frame, motion, output, scale, shown)
    if saved is not None and shown is not None:
        result["tracks"] = _save_shown(saved, shown[: result["frames"]], geometry)
    print(json.dumps(result), flush=True)
    return 0


_FITS: dict[str, Any] = {"crop": "crop", "scale": "stretch"}


def _stream(
    args: argparse.Namespace,
    engine: Any,
    first_frame: np.ndarray,
    motion: ClipMotion,
    output: Path,
    scale: int,
    shown: list[LiveSeen] | None,
) -> dict[str, Any]:
    """Stream into the MP4; returns what the last line says. ``shown``, if any, gets the points of every frame."""
    import numpy as np

    from motionstream.media.images import enlarge
    from motionstream.media.video import VideoWriter
    from motionstream.stream.follow import follow

    geometry = engine.preset.geometry
    chunk_ms: list[float] = []
    num_shown: list[int] = []
    num_made, ttff_s = 0, 0.0
    size = geometry.height * scale, geometry.width * scale * (2 if args.beside else 1)
    video = VideoWriter(output, geometry.fps, size)
    drawing = _Tails(geometry, scale) if args.draw_tracks else None
    began = time.perf_counter()
    with tell_kept(video):
        with contextlib.ExitStack() as stack:
            stack.enter_context(video)
            session = stack.enter_context(engine.start(first_frame, args.prompt, seed=args.seed, steps=args.steps))
            bar = stack.enter_context(_progress(args, motion))
            for chunk, seen in follow(session, motion.take):
                ttff_s = ttff_s or time.perf_counter() - began
                chunk_ms.append(chunk.stats.total_ms)
                num_shown += [len(now.ids) for now in seen]
                num_made += len(chunk.frames)
                left = len(seen) if args.frames is None else min(len(seen), args.frames - video.num_frames)
                if shown is not None:
                    shown += seen[:left]
                frames = enlarge(chunk.frames[:left], scale)
                if drawing is not None:
                    frames = drawing.draw(frames, seen[:left])
                if args.beside:
                    clip = np.stack([_fitted(picture, frames.shape[1:3]) for picture in motion.pictures[:left]])
                    clip = clip if drawing is None else drawing.draw(clip, seen[:left], again=True)
                    frames = np.concatenate([clip, frames], axis=2)
                video.write(frames)
                bar.set_postfix_str(f"{num_shown[-1]} points, {chunk_ms[-1]:.0f} ms a chunk", refresh=False)
                bar.update(left)
                if video.num_frames == args.frames:
                    break
    if args.frames is not None and video.num_frames < args.frames:
        say(f"the clip ends after {video.num_frames} of {args.frames} frames at {geometry.fps:g} fps, and the video with it")
    if not motion.ever_moving and args.pins != "all":
        say("nothing in the clip moved, so the picture stays still")
    p50, p95 = np.percentile(chunk_ms, [50, 95]).tolist()
    return {
        "frames": video.num_frames,
        "fps": round(1000 * num_made / max(sum(chunk_ms), 1e-6), 2),
        "chunk_ms": {"p50": round(p50, 2), "p95": round(p95, 2)},
        "track_ms": round(1000 * motion.track_s / max(len(num_shown), 1), 2),
        "points": {"p50": int(np.median(num_shown)), "max": max(num_shown), "reseeded": motion.points.reseeded},
        "ttff_s": round(ttff_s, 4),
        "seed": args.seed,
        "output": str(output),
        "video_fps": geometry.fps,
    }


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _progress(args: argparse.Namespace, motion: ClipMotion) -> Any:
    from tqdm import tqdm

    expected = motion.expected_frames or None
    total = args.frames if expected is None else min(args.frames or expected, expected)
    return tqdm(total=total, unit="frame", file=sys.stderr, dynamic_ncols=True)


@dataclass
class _Tails:
    """Draws points with tails that reach back into the chunk before."""

    geometry: VideoGeometry
    scale: int
    before: list[LiveSeen] = field(default_factory=list)
    earlier: list[LiveSeen] = field(default_factory=list)
    TAIL_FRAMES = 8

    def draw(self, frames: np.ndarray, seen: list[LiveSeen], again: bool = False) -> np.ndarray:
        """Draw the points of these frames; ``again`` for a second picture of the same ones."""
        import numpy as np

        from motionstream.tracking.borrow import tracks_of
        from motionstream.tracks.draw import draw_tracks

        past = self.earlier if again else self.before
        tracks = tracks_of(past + seen, (self.geometry.height, self.geometry.width), self.geometry.fps)
        blank = np.zeros((len(past), *frames.shape[1:]), np.uint8)
        self.earlier, self.before = past, (past + seen)[-self.TAIL_FRAMES :]
        if not tracks.num_tracks:
            return frames
        return draw_tracks(np.concatenate([blank, frames]), tracks, self.TAIL_FRAMES)[len(past) :]


def _save_shown(path: Path, seen: list[LiveSeen], geometry: VideoGeometry) -> str:
    """Write what was shown, as many frames as fit; where it went, "" for nowhere."""
    from motionstream.tracking.borrow import tracks_of
    from motionstream.tracks.io import MAX_POINTS, save_tracks

    names: set[int] = set()
    for count, now in enumerate(seen):
        names.update(map(int, now.ids))
        if (count + 1) * len(names) > MAX_POINTS:  # every point has a place in every frame
            say(f"tracks: the first {count} of {len(seen)} frames are written, for a file holds {MAX_POINTS} points")
            seen = seen[:count]
            break
    tracks = tracks_of(seen, (geometry.height, geometry.width), geometry.fps)
    if not tracks.visible.any():
        say("no point was ever shown, so no tracks were written")
        return ""
    save_tracks(path, tracks)
    return str(path)
