"""``motionstream transfer``: the motion of a clip drives another picture, for as long as the clip lasts.

The clip is read, tracked and forgotten frame by frame; what its points do in a chunk goes straight into the next chunk of
the stream (paper section 3.3), so the length is bounded by nothing but the clip.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments, say, whole_number
from motionstream.commands.streaming import check_scale, shown_scale
from motionstream.commands.track import tracker_arguments, tracker_options
from motionstream.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from motionstream.shapes import VideoGeometry
    from motionstream.tracking.clip import Clip
    from motionstream.tracking.live import LiveSeen
    from motionstream.tracks.tracks import Tracks

EPILOG = """\
example:
  motionstream transfer dancer.mp4 photo.jpg --prompt "a cat" -o out.mp4 --beside
The last line on stdout is one JSON object.
"""
MAX_FRAMES = 100_000
WORK_HEIGHT_PX, MAX_TIMES = 288, 4
"""Clips are tracked at a whole multiple of the model's canvas, up to this height and factor: nano's own is too coarse."""
START_CELLS, PIN_CELLS = 1.0, 3.0
"""In latent cells: how far a point must get to count as moving, and how far apart resting ones are shown.

Chosen by eye among 0.2 to 1.5 and 2 to 4 on the bundled clips: showing nano more than moves wears the picture out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", metavar="CLIP", help="whose motion: any video that FFmpeg reads")
    parser.add_argument("image", metavar="IMAGE", help="what moves: any picture of at least 16x16 pixels")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.mp4", help="the video")
    parser.add_argument("--prompt", default="", help="what is seen, and what moves")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="nano", help="a bundled model (default: nano)")
    model.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    parser.add_argument("--grid", type=whole_number(1, 128), metavar="N", help="points across (default: one a latent cell)")
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
    parser.add_argument("--steps", type=whole_number(1, 1000), metavar="K", help="denoising steps (default: the model's)")
    device_arguments(parser)
    parser.add_argument("--scale", type=whole_number(1, 64), metavar="K", help="enlarge the video (default: small ones)")
    parser.add_argument("--draw-tracks", action="store_true", help="draw the points into the video")
    parser.add_argument("--beside", action="store_true", help="put the clip beside the result")
    parser.add_argument("--save-tracks", metavar="FILE", help="also write the points that were shown, .npz or .json")


def run(args: argparse.Namespace) -> int:
    from motionstream.media.images import fit_picture, fit_window, open_picture
    from motionstream.media.output import check_output
    from motionstream.presets import preset
    from motionstream.tracking.clip import Clip
    from motionstream.tracking.queries import read_mask
    from motionstream.tracking.tracker import make_tracker

    # Everything that can be wrong is looked at before the model is loaded.
    output = check_output(args.output)
    saved = check_output(args.save_tracks, (".npz", ".json")) if args.save_tracks else None
    if args.weights is None:
        preset(args.preset)
    picture = open_picture(args.image)
    clip = Clip(args.clip)
    mask = None if args.mask is None else read_mask(args.mask, clip.source)
    tracker = make_tracker(args.tracker, **tracker_options(args))

    from motionstream.stream.engine import load_engine

    engine = load_engine(args.weights or args.preset, device=args.device, dtype=args.dtype)
    geometry = engine.preset.geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale * (2 if args.beside else 1), geometry)
    first_frame, placed = fit_picture(picture, geometry.width, geometry.height)
    say(f"picture: {placed}")
    times = max(1, min(MAX_TIMES, WORK_HEIGHT_PX // geometry.height))
    window = fit_window(clip.source, (geometry.height * times, geometry.width * times), _FITS[args.fit])
    say(f"clip: {clip.fps:g} fps, {window}; tracked at its own rate, shown at {geometry.fps:g} fps")
    source = _Source(clip.within(window), geometry, times, args, tracker, _cut(mask, window))
    say(f"compute: {engine.compute.reason}")
    engine.warmup()
    result = _stream(args, engine, first_frame, source, output, scale)
    if saved is not None:
        result["tracks"] = _save_shown(saved, source, result["frames"])
    print(json.dumps(result), flush=True)
    return 0


_FITS: dict[str, Any] = {"crop": "crop", "scale": "stretch"}


def _cut(mask: np.ndarray | None, window: Any) -> np.ndarray | None:
    """The mask of the whole clip, seen through the window."""
    if mask is None:
        return None
    import numpy as np
    from PIL import Image

    H, W = window.size
    box = (window.left, window.top, window.left + window.width, window.top + window.height)
    cut = np.asarray(Image.fromarray(mask).convert("L").resize((W, H), Image.Resampling.BILINEAR, box=box)) > 127
    if not cut.any():
        raise UserError("the mask is white only where the clip is cut away; use --fit scale")
    return cut


@dataclass
class _Source:
    """The clip as points on the model's canvas at the model's rate, chunk by chunk."""

    clip: Clip
    geometry: VideoGeometry
    times: int
    args: argparse.Namespace
    tracker: Any
    mask: np.ndarray | None
    track_s: float = 0.0
    shown: list[LiveSeen] = field(default_factory=list)  # kept only for --save-tracks
    ever_moving: int = 0
    begun: bool = False

    def __post_init__(self) -> None:
        from motionstream.tracking.choose import MovingPoints
        from motionstream.tracking.live import LivePoints, at_rate

        cell = self.geometry.stride * self.times
        across = self.args.grid or self.geometry.latent_width
        self.points = LivePoints(self.clip.size[1] / across, mask=self.mask, tracker=self.tracker)
        everything = self.args.pins == "all"
        pins_px = {"some": PIN_CELLS * cell, "none": 0.0, "all": 1e-6}[self.args.pins]
        self.chooser = MovingPoints(start_px=math.inf if everything else START_CELLS * cell, pin_spacing_px=pins_px)
        # a clip faster than twice the model's rate is thinned: the points between would hardly move
        step = max(1, int(self.clip.fps / (2 * self.geometry.fps)))
        self._stream = at_rate(self._followed(step), self.clip.fps / step, self.geometry.fps)

    def _followed(self, step: int) -> Iterator[LiveSeen]:
        for frame in self.clip.frames(step):
            began = time.perf_counter()
            seen = self.points.feed(frame)
            self.track_s += time.perf_counter() - began
            self._picture = frame
            yield seen

    def take(self, count: int) -> tuple[list[LiveSeen], list[np.ndarray]]:
        """Up to ``count`` further frames: chosen points in model pixels, and the clip's pictures; fewer at its end."""
        seen: list[LiveSeen] = []
        pictures: list[np.ndarray] = []
        for now in self._stream:
            seen.append(now)
            pictures.append(self._picture)
            if len(seen) == count:
                break
        if not seen:
            return [], []
        if not any(len(now.ids) for now in seen) and not self.begun:
            raise UserError(
                f"{self.args.clip}: no point of its first {len(seen)} frames can be followed, they are flat or dark; "
                "start the clip later, or use another one"
            )
        self.begun = True
        chosen = [self._scaled(now) for now in self.chooser.choose(seen)]
        self.ever_moving = max(self.ever_moving, self.chooser.num_moving)
        if self.args.save_tracks:
            self.shown += chosen
        return chosen, pictures

    def _scaled(self, seen: LiveSeen) -> LiveSeen:
        from motionstream.tracking.live import LiveSeen

        return LiveSeen(seen.ids, seen.xy / self.times, seen.visible, seen.born / self.times)


def _stream(
    args: argparse.Namespace, engine: Any, first_frame: np.ndarray, source: _Source, output: Path, scale: int
) -> dict[str, Any]:
    """Stream into the MP4; returns what the last line says."""
    import numpy as np

    from motionstream.media.images import enlarge
    from motionstream.media.video import VideoWriter

    geometry = engine.preset.geometry
    chunk_ms: list[float] = []
    num_shown: list[int] = []
    num_made, ttff_s = 0, 0.0
    size = geometry.height * scale, geometry.width * scale * (2 if args.beside else 1)
    video = VideoWriter(output, geometry.fps, size)
    drawing = _Tails(geometry, scale) if args.draw_tracks else None
    began = time.perf_counter()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(video)
            session = stack.enter_context(engine.start(first_frame, args.prompt, seed=args.seed, steps=args.steps))
            bar = stack.enter_context(_progress(args, source, geometry.fps))
            while args.frames is None or video.num_frames < args.frames:
                count = session.frames_in_chunk(session.index)
                seen, pictures = source.take(count)
                if not seen:
                    break
                held = seen + [seen[-1]] * (count - len(seen))  # the clip ends within the chunk: hold, and cut below
                chunk = session.step_frames([_points(now) for now in held])
                ttff_s = ttff_s or time.perf_counter() - began
                chunk_ms.append(chunk.stats.total_ms)
                num_shown += [len(now.ids) for now in seen]
                num_made += count
                left = len(seen) if args.frames is None else min(len(seen), args.frames - video.num_frames)
                frames = enlarge(chunk.frames[:left], scale)
                if drawing is not None:
                    frames = drawing.draw(frames, seen[:left])
                if args.beside:
                    shown = np.stack([_fitted(picture, frames.shape[1:3]) for picture in pictures[:left]])
                    shown = shown if drawing is None else drawing.draw(shown, seen[:left], again=True)
                    frames = np.concatenate([shown, frames], axis=2)
                video.write(frames)
                bar.set_postfix_str(f"{num_shown[-1]} points, {chunk_ms[-1]:.0f} ms a chunk", refresh=False)
                bar.update(left)
                if len(seen) < count:
                    break
    except BaseException:
        if video.kept is not None:
            say(f"the {video.num_frames} frames made so far are in {video.kept}")
        raise
    if args.frames is not None and video.num_frames < args.frames:
        say(f"the clip ends after {video.num_frames} of {args.frames} frames at {geometry.fps:g} fps, and the video with it")
    if not source.ever_moving and args.pins != "all":
        say("nothing in the clip moved, so the picture stays still")
    p50, p95 = np.percentile(chunk_ms, [50, 95]).tolist()
    return {
        "frames": video.num_frames,
        "fps": round(1000 * num_made / max(sum(chunk_ms), 1e-6), 2),
        "chunk_ms": {"p50": round(p50, 2), "p95": round(p95, 2)},
        "track_ms": round(1000 * source.track_s / max(len(num_shown), 1), 2),
        "points": {"p50": int(np.median(num_shown)), "max": max(num_shown), "reseeded": source.points.reseeded},
        "ttff_s": round(ttff_s, 4),
        "seed": args.seed,
        "output": str(output),
        "video_fps": geometry.fps,
    }


def _points(seen: LiveSeen) -> list[Any]:
    from motionstream.stream.track_buffer import Point

    return [Point(int(name), float(x), float(y)) for name, (x, y) in zip(seen.ids, seen.xy, strict=True)]


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _progress(args: argparse.Namespace, source: _Source, fps: float) -> Any:
    from tqdm import tqdm

    expected = math.ceil(source.clip.expected_frames * fps / source.clip.fps) or None
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

        from motionstream.tracks.draw import draw_tracks

        past = self.earlier if again else self.before
        tracks = _tracks_of(past + seen, (self.geometry.height, self.geometry.width), self.geometry.fps)
        blank = np.zeros((len(past), *frames.shape[1:]), np.uint8)
        self.earlier, self.before = past, (past + seen)[-self.TAIL_FRAMES :]
        if not tracks.num_tracks:
            return frames
        return draw_tracks(np.concatenate([blank, frames]), tracks, self.TAIL_FRAMES)[len(past) :]


def _tracks_of(seen: list[LiveSeen], size: tuple[int, int], fps: float) -> Tracks:
    """Points that come and go -> tracks of all of them."""
    import numpy as np

    from motionstream.tracks.tracks import Tracks

    ids = np.unique(np.concatenate([now.ids for now in seen]))
    xy = np.zeros((len(seen), len(ids), 2), np.float32)
    visible = np.zeros((len(seen), len(ids)), bool)
    for t, now in enumerate(seen):
        columns = np.searchsorted(ids, now.ids)
        xy[t, columns], visible[t, columns] = now.xy, now.visible
    return Tracks.from_points(xy, visible=visible, ids=ids, size=size, fps=fps)


def _save_shown(path: Path, source: _Source, num_frames: int) -> str:
    from motionstream.tracks.io import MAX_POINTS, save_tracks

    seen = source.shown[:num_frames]
    count = len(seen) * len({int(name) for now in seen for name in now.ids})
    if count > MAX_POINTS:
        raise UserError(f"{count} points are too many for --save-tracks; use --frames, or a shorter clip")
    tracks = _tracks_of(seen, (source.geometry.height, source.geometry.width), source.geometry.fps)
    if not tracks.visible.any():
        say("no point was ever shown, so no tracks were written")
        return ""
    save_tracks(path, tracks)
    return str(path)
