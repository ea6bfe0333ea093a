"""What the verbs that make a video share: their options, the loop from engine to MP4, the contact sheet, the last line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import (
    MOST_STEPS,
    SIZE_WORDS,
    device_arguments,
    fp8_argument,
    size_argument,
    tell_kept,
    whole_number,
)
from motionstream.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from motionstream.config import PresetConfig
    from motionstream.shapes import VideoGeometry
    from motionstream.tracks.draw import Colour
    from motionstream.tracks.strokes import Stroke
    from motionstream.tracks.tracks import Tracks

SMALL_HEIGHT_PX, SHOWN_HEIGHT_PX = 160, 384  # frames up to the first are enlarged to at least the second
SHEET_FRAMES, SHEET_HEIGHT_PX = 18, 240


def video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `stream_video` reads besides ``prompt``: seed, steps, fit, device, scale, drawing, sheet and log."""
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--steps", type=whole_number(1, MOST_STEPS), metavar="K", help="denoising steps (default: the model's)"
    )
    parser.add_argument("--fit", choices=("crop", "pad", "stretch"), default="crop", help="picture to frame (default: crop)")
    device_arguments(parser)
    parser.add_argument(
        "--scale", type=whole_number(1, 64), metavar="K", help="enlarge the video K times (default: small ones)"
    )
    parser.add_argument("--draw-tracks", action="store_true", help="draw the tracks into the video")
    parser.add_argument("--contact-sheet", action="store_true", help="also write OUT_sheet.png, frames side by side")
    parser.add_argument("--chunk-log", action="store_true", help="one JSON line for each chunk on stderr")


def wan_arguments(parser: argparse.ArgumentParser, size: str = SIZE_WORDS) -> None:
    """Add the size (``size``: its help), and what only Wan's presets read: `load_options` turns it into arguments of
    ``load_engine``."""
    size_argument(parser, size)
    wan = parser.add_argument_group("Wan presets")
    wan.add_argument("--encoders", metavar="DIR", help="where vae, text_encoder, ... are, if not beside the weights")
    wan.add_argument("--full-vae", action="store_true", help="decode with Wan's own decoder, not with the tiny one")
    fp8_argument(wan, "most products of all steps but the last in FP8 (all: of every pass): faster (docs/speed.md)")
    wan.add_argument("--ignore-memory", action="store_true", help="try although too little memory is predicted")


def weights_named(args: argparse.Namespace) -> str | Path:
    """What ``load_engine`` loads: the folder of ``--weights``, else ``--preset``, else nano."""
    return Path(args.weights) if args.weights is not None else args.preset or "nano"


def load_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of ``load_engine`` that were given, beside name, device and dtype."""
    from motionstream.stream.compute_path import ComputePath

    given = {
        "preset": args.preset if args.weights is not None else None,
        "size": args.size,
        "vae": "full" if args.full_vae else None,
        "encoders": args.encoders,
        "random_weights": getattr(args, "random_weights", False) or None,
        "path": ComputePath(fp8=args.fp8) if args.fp8 else None,
        "ignore_memory": args.ignore_memory or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def check_fp8(args: argparse.Namespace, config: PresetConfig) -> None:
    """Refuse ``--fp8`` where it would do nothing (UserError). A Wan model on a device without FP8 goes on with a warning."""
    if args.fp8 and config.vae_kind == "nano":
        raise UserError(f"--fp8 is for Wan presets, and {config.name} is none: leave --fp8 out")


def shown_scale(height: int) -> int:
    """Factor by which a video of this height (pixels) is enlarged to be seen well.

    >>> shown_scale(96), shown_scale(480)
    (4, 1)
    """
    return -(-SHOWN_HEIGHT_PX // height) if height <= SMALL_HEIGHT_PX else 1


def check_scale(scale: int, geometry: VideoGeometry, side_by_side: int = 1) -> None:
    """Refuse an enlargement beyond what the video writer takes; ``side_by_side`` pictures share its width."""
    from motionstream.media.video import MAX_EDGE_PX

    edge = max(geometry.height, geometry.width * side_by_side)
    if edge * scale > MAX_EDGE_PX:
        raise UserError(f"--scale {scale} makes a video of {edge * scale} pixels; use at most {MAX_EDGE_PX // edge}")


def stream_video(
    args: argparse.Namespace,
    engine: Any,
    first_frame: np.ndarray | None,
    tracks: Tracks,
    output: Path,
    *,
    scale: int,
    colours: Mapping[int, str | Colour] | None = None,
    sheet: Path | None = None,
    strokes: Sequence[Stroke] | None = None,
) -> dict[str, Any]:
    """Stream into the MP4; returns what the last line says.

    Args:
        args: with ``prompt`` and what `video_arguments` adds.
        engine: loaded and warm. first_frame: (H, W, 3) uint8 of its size; None for one that starts from text alone.
        tracks: one sample on its canvas, at its frame rate; their length is the video's.
        output: the MP4. scale: whole factor of enlargement. sheet: where the contact sheet goes, if any.
        colours: of the drawn tracks, as in `motionstream.draw_tracks`.
        strokes: what the tracks were made from, if they were.
    """
    import numpy as np
    from tqdm import tqdm

    from motionstream.commands.tracks import draw_onto
    from motionstream.media.images import enlarge
    from motionstream.media.video import VideoWriter

    wanted, geometry = tracks.num_frames, engine.preset.geometry
    chunk_ms: list[float] = []
    shown: list[np.ndarray] = []  # for the contact sheet
    every = -(-wanted // SHEET_FRAMES)
    num_made, ttff_s = 0, 0.0
    video = VideoWriter(output, geometry.fps, (geometry.height * scale, geometry.width * scale))
    # A log that is no terminal gets the JSON lines alone: a progress bar would run into them.
    plain = args.chunk_log and not sys.stderr.isatty()
    with tell_kept(video):
        began = time.perf_counter()
        with video, engine.start(first_frame, args.prompt, seed=args.seed, steps=args.steps) as session:
            with tqdm(total=wanted, unit="frame", file=sys.stderr, disable=plain, dynamic_ncols=True) as bar:
                for chunk in session.stream(tracks, wanted, strokes=strokes):
                    ttff_s = ttff_s or time.perf_counter() - began
                    chunk_ms.append(chunk.stats.total_ms)
                    num_made += len(chunk.frames)
                    start = video.num_frames
                    frames = enlarge(chunk.frames[: wanted - start], scale)
                    if args.draw_tracks:
                        frames = draw_onto(frames, tracks, start, colours=colours)
                    video.write(frames)
                    if sheet is not None:
                        shown += [frames[t - start].copy() for t in range(start, video.num_frames) if t % every == 0]
                    if args.chunk_log:
                        line = {"index": chunk.index, "frames": video.num_frames - start, "ms": round(chunk_ms[-1], 3)}
                        bar.write(json.dumps(line), file=sys.stderr)
                    bar.set_postfix_str(f"{chunk_ms[-1]:.0f} ms a chunk", refresh=False)
                    bar.update(video.num_frames - start)
    assert video.num_frames == wanted, f"the engine made {video.num_frames} of {wanted} frames"
    p50, p95 = np.percentile(chunk_ms, [50, 95]).tolist()
    result = {
        "frames": wanted,
        "fps": round(1000 * num_made / max(sum(chunk_ms), 1e-6), 2),
        "chunk_ms": {"p50": round(p50, 2), "p95": round(p95, 2)},
        "ttff_s": round(ttff_s, 4),
        "seed": args.seed,
        "output": str(output),
        "video_fps": geometry.fps,
    }
    if getattr(engine, "random_weights", False):
        result["random_weights"] = True
    if sheet is not None:
        write_sheet(sheet, shown)
        result["contact_sheet"] = str(sheet)
    return result


def write_sheet(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames, (H, W, 3) uint8 each, side by side as a PNG; high ones are scaled down."""
    import numpy as np
    from PIL import Image

    from motionstream.media.images import write_picture
    from motionstream.tracks.draw import contact_sheet

    H, W, _ = frames[0].shape
    if H > SHEET_HEIGHT_PX:
        size = (round(W * SHEET_HEIGHT_PX / H), SHEET_HEIGHT_PX)
        frames = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames]
    write_picture(path, np.asarray(contact_sheet(np.stack(frames))))
