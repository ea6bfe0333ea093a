"""``motionstream generate``: a picture, a prompt and tracks become an MP4, chunk by chunk (paper section 3.3)."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments, say, whole_number
from motionstream.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from motionstream.media.images import Fit, PictureFit
    from motionstream.shapes import VideoGeometry
    from motionstream.tracks.draw import Colour
    from motionstream.tracks.tracks import Tracks

EPILOG = """\
example:
  motionstream generate examples/demo.jpg --prompt "a dahlia" --tracks examples/demo_drag.json -o demo.mp4
The last line on stdout is one JSON object; `fps` in it is the speed of making frames, without loading and writing.
"""
DEFAULT_FRAMES = 81
MAX_FRAMES = 100_000
SMALL_HEIGHT_PX, SHOWN_HEIGHT_PX = 160, 384  # frames up to the first are enlarged to at least the second
SHEET_FRAMES, SHEET_HEIGHT_PX = 18, 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="first frame: any picture of at least 16x16 pixels")
    parser.add_argument("--prompt", required=True, help="what is seen, and what moves")
    parser.add_argument("--tracks", metavar="FILE", help="tracks or strokes, .json or .npz (default: nothing is dragged)")
    parser.add_argument("-o", "--output", metavar="OUT.mp4", required=True, help="the video")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="nano", help="a bundled model (default: nano)")
    model.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    parser.add_argument(
        "--frames",
        type=whole_number(1, MAX_FRAMES),
        metavar="N",
        help=f"length of the video (default: that of the tracks, else {DEFAULT_FRAMES})",
    )
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, metavar="S", help="default: 0")
    parser.add_argument("--steps", type=whole_number(1, 1000), metavar="K", help="denoising steps (default: the model's)")
    parser.add_argument("--fit", choices=("crop", "pad", "stretch"), default="crop", help="picture to frame (default: crop)")
    device_arguments(parser)
    parser.add_argument(
        "--scale", type=whole_number(1, 64), metavar="K", help="enlarge the video K times (default: small ones)"
    )
    parser.add_argument("--draw-tracks", action="store_true", help="draw the tracks into the video")
    parser.add_argument("--contact-sheet", action="store_true", help="also write OUT_sheet.png, frames side by side")
    parser.add_argument("--chunk-log", action="store_true", help="one JSON line for each chunk on stderr")


def run(args: argparse.Namespace) -> int:
    from motionstream.media.images import fit_picture, open_picture
    from motionstream.media.video import check_output
    from motionstream.presets import preset
    from motionstream.tracks.io import load_tracks

    # Everything that can be wrong is looked at before the model is loaded, and the rest before anything is computed.
    output = check_output(args.output)
    sheet = check_output(output.with_name(f"{output.stem}_sheet.png"), (".png",)) if args.contact_sheet else None
    if args.weights is None:
        preset(args.preset)
    picture = open_picture(args.image)
    if args.tracks is not None:
        load_tracks(args.tracks)

    from motionstream.stream.engine import load_engine

    engine = load_engine(args.weights or args.preset, device=args.device, dtype=args.dtype)
    geometry = engine.preset.geometry
    scale = args.scale or shown_scale(geometry.height)
    _check_scale(scale, geometry)
    first_frame, placed = fit_picture(picture, geometry.width, geometry.height, args.fit)
    say(f"picture: {placed}")
    tracks, colours = _tracks_for(args, geometry, placed)
    say(f"compute: {engine.compute.reason}")
    engine.warmup()
    result = _stream(args, engine, first_frame, tracks, colours, output, sheet, scale)
    print(json.dumps(result), flush=True)
    return 0


def shown_scale(height: int) -> int:
    """Factor by which a video of this height (pixels) is enlarged to be seen well.

    >>> shown_scale(96), shown_scale(480)
    (4, 1)
    """
    return -(-SHOWN_HEIGHT_PX // height) if height <= SMALL_HEIGHT_PX else 1


def _check_scale(scale: int, geometry: VideoGeometry) -> None:
    from motionstream.media.video import MAX_EDGE_PX

    edge = max(geometry.height, geometry.width)
    if edge * scale > MAX_EDGE_PX:
        raise UserError(f"--scale {scale} makes a video of {edge * scale} pixels; use at most {MAX_EDGE_PX // edge}")


# ---- tracks ----------------------------------------------------------------------------------------------------------


def _tracks_for(
    args: argparse.Namespace, geometry: VideoGeometry, placed: PictureFit
) -> tuple[Tracks, dict[int, str | Colour] | None]:
    """Read the tracks at the model's frame rate, length and canvas; and their colours for drawing."""
    from motionstream.commands.tracks import colours_of, strokes_of
    from motionstream.stream.track_buffer import MAX_POINTS
    from motionstream.tracks.io import load_tracks
    from motionstream.tracks.tracks import Tracks

    size = (geometry.height, geometry.width)
    if args.tracks is None:
        say("tracks: none, nothing is dragged")
        return Tracks.empty(num_frames=args.frames or DEFAULT_FRAMES, size=size, fps=geometry.fps), None
    strokes = strokes_of(args.tracks)
    tracks = load_tracks(args.tracks, fps=geometry.fps)
    if tracks.batch != 1:
        raise UserError(f"{args.tracks}: holds {tracks.batch} samples; give a file with one")
    length = tracks.num_frames
    wanted = args.frames or (length if length > 1 else DEFAULT_FRAMES)
    if wanted < length:
        say(f"tracks: {length} frames, the video has {wanted}; what comes later is cut")
        tracks = tracks.slice_frames(0, wanted)
    elif wanted > length and strokes is not None:
        tracks = load_tracks(args.tracks, num_frames=wanted, fps=geometry.fps)
        say(f"tracks: the strokes end at frame {length} of {wanted}; after that each holds or lets go as it says")
    elif wanted > length:
        tracks = tracks.pad_frames(wanted, "release")
        say(f"tracks: {length} frames, the video has {wanted}; all points are let go after frame {length}")
    most = int(tracks.visible.sum(dim=-1).max())
    if most > MAX_POINTS:
        raise UserError(f"{args.tracks}: {most} points are visible at once; use at most {MAX_POINTS}")
    if not most:
        raise UserError(f"{args.tracks}: no point is visible in the first {wanted} frames; raise --frames")
    tracks, how = place_tracks(tracks, placed, args.fit)
    if not tracks.visible.any():
        raise UserError(f"{args.tracks}: every point is outside the part of the picture that is used; try --fit pad")
    say(f"tracks: {tracks.num_tracks} over {wanted} frames, {how}")
    return tracks, colours_of(args.tracks)


def place_tracks(tracks: Tracks, placed: PictureFit, fit: Fit) -> tuple[Tracks, str]:
    """Bring tracks on any canvas to that of the first frame, and say how it was done."""
    from motionstream.media.images import fit_window

    H, W = tracks.size
    canvas = f"their canvas of {W}x{H}"
    if tracks.size == placed.source:
        return placed.apply_to(tracks), f"{canvas} is the picture's and goes with it"
    height, width = placed.size
    if H * width == W * height:
        return tracks.resize(height, width), f"{canvas} has the frame's aspect and is resized to {width}x{height}"
    own = fit_window(tracks.size, placed.size, fit)
    return own.apply_to(tracks), f"{canvas} is neither the picture's size nor the frame's aspect: taken as {own}"


# ---- streaming -------------------------------------------------------------------------------------------------------


def _stream(
    args: argparse.Namespace,
    engine: Any,
    first_frame: np.ndarray,
    tracks: Tracks,
    colours: dict[int, str | Colour] | None,
    output: Path,
    sheet: Path | None,
    scale: int,
) -> dict[str, Any]:
    """Stream into the MP4; returns what the last line says."""
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
    try:
        began = time.perf_counter()
        with video, engine.start(first_frame, args.prompt, seed=args.seed, steps=args.steps) as session:
            with tqdm(total=wanted, unit="frame", file=sys.stderr, disable=plain, dynamic_ncols=True) as bar:
                for chunk in session.stream(tracks, wanted):
                    ttff_s = ttff_s or time.perf_counter() - began
                    chunk_ms.append(chunk.stats.total_ms)
                    num_made += len(chunk.frames)
                    start = video.num_frames
                    frames = enlarge(chunk.frames[: wanted - start], scale)
                    if args.draw_tracks:
                        frames = draw_onto(frames, tracks, start, colours=colours)
                    video.write(frames)
                    if sheet is not None:
                        shown += [frames[t - start] for t in range(start, video.num_frames) if t % every == 0]
                    if args.chunk_log:
                        line = {"index": chunk.index, "frames": video.num_frames - start, "ms": round(chunk_ms[-1], 3)}
                        bar.write(json.dumps(line), file=sys.stderr)
                    bar.set_postfix_str(f"{chunk_ms[-1]:.0f} ms a chunk", refresh=False)
                    bar.update(video.num_frames - start)
    except BaseException:
        if video.kept is not None:
            say(f"the {video.num_frames} frames made so far are in {video.kept}")
        raise
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
    if sheet is not None:
        _write_sheet(sheet, shown)
        result["contact_sheet"] = str(sheet)
    return result


def _write_sheet(path: Path, frames: list[np.ndarray]) -> None:
    import numpy as np
    from PIL import Image

    from motionstream.tracks.draw import contact_sheet

    H, W, _ = frames[0].shape
    if H > SHEET_HEIGHT_PX:
        size = (round(W * SHEET_HEIGHT_PX / H), SHEET_HEIGHT_PX)
        frames = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        contact_sheet(np.stack(frames)).save(unfinished, format="PNG")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
