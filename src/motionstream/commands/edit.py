"""``motionstream edit``: drag something in a picture to another place; the last frame of a short stream is the result."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import positive_number, say, size_argument, whole_number
from motionstream.commands.streaming import check_scale, shown_scale, stream_video, video_arguments
from motionstream.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from motionstream.media.images import PictureFit
    from motionstream.shapes import VideoGeometry
    from motionstream.tracks.paths import MotionPath
    from motionstream.tracks.tracks import Tracks

EPILOG = """\
examples:
  motionstream edit examples/demo.jpg --from 256,200 --to 330,200 -o edited.png
  motionstream edit photo.jpg --mask cup.png --from 300,200 --to 420,240 --rotate 20 -o edited.png
  motionstream edit photo.jpg --from 300,200 --to 300,150 --path circle -o circling.mp4
All places are in pixels of the picture. The paths are described in docs/paths.md.
"""
PATHS = ("line", "follow", "wave", "circle", "orbit")
DEFAULT_FRAMES, MAX_FRAMES = 33, 2000
MOVING = 0.7  # of the frames; the rest settles
BRUSH = 0.07  # radius of the default brush as a share of the picture's width
MAX_TRACKS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="any picture of at least 16x16 pixels")
    parser.add_argument("--from", dest="start", type=place, required=True, metavar="X,Y", help="what is taken hold of")
    parser.add_argument(
        "--to",
        dest="end",
        type=place,
        required=True,
        metavar="X,Y",
        help="where it goes (--path circle and orbit: what it goes round)",
    )
    parser.add_argument("--mask", metavar="PNG", help="white where the thing is (default: a disc around --from)")
    parser.add_argument("--radius", type=positive_number, metavar="PX", help="of that disc (default: 7 %% of the width)")
    parser.add_argument("--via", type=place, action="append", default=[], metavar="X,Y", help="on the way; may be repeated")
    parser.add_argument("--path", choices=PATHS, help="line (default), follow --via, wave, or round --to: circle, orbit")
    parser.add_argument(
        "--turns", type=number, metavar="N", help="of a circle or orbit (default: 1); negative: the other way"
    )
    parser.add_argument("--amplitude", type=positive_number, metavar="PX", help="of a wave (default: 1/8 of its length)")
    parser.add_argument("--cycles", type=positive_number, metavar="N", help="of a wave (default: 2)")
    parser.add_argument("--rotate", type=number, default=0.0, metavar="DEG", help="turn it on the way, clockwise")
    parser.add_argument("--grow", type=positive_number, default=1.0, metavar="K", help="make it K times as large on the way")
    parser.add_argument(
        "--easing", default="ease-in-out", metavar="E", help="linear, ease-in, ease-out, ease-in-out (default)"
    )
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--duration", type=positive_number, metavar="S", help="seconds of the movement (default: 70 %% of all)"
    )
    pace.add_argument("--speed", type=positive_number, metavar="PX", help="pixels of the picture per second instead")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help=".png: the last frame; .mp4: the movement")
    parser.add_argument("--save-tracks", metavar="FILE", help="also write the tracks, .npz or .json")
    parser.add_argument("--prompt", default="", help="what is seen, and what moves")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="nano", help="a bundled model (default: nano)")
    model.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    size_argument(parser)
    parser.add_argument(
        "--frames", type=whole_number(2, MAX_FRAMES), default=DEFAULT_FRAMES, metavar="N", help=f"default: {DEFAULT_FRAMES}"
    )
    video_arguments(parser)


def number(text: str) -> float:
    """An argparse type: a number of either sign, smaller than a million."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number between -1e6 and 1e6")
    return value


def place(text: str) -> tuple[float, float]:
    """An argparse type: ``X,Y`` in pixels.

    >>> place("412,220.5")
    (412.0, 220.5)
    """
    x, comma, y = text.partition(",")
    try:
        if comma:
            return number(x), number(y)
    except argparse.ArgumentTypeError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} must be X,Y in pixels, such as 412,220")


def run(args: argparse.Namespace) -> int:
    from motionstream.media.images import fit_picture, open_picture
    from motionstream.media.output import check_output
    from motionstream.presets import preset
    from motionstream.tracks.io import save_tracks

    given = (args.image, args.mask)
    output = check_output(args.output, (".png", ".mp4"), inputs=given)
    sheet = output.with_name(f"{output.stem}_sheet.png") if args.contact_sheet else None
    if sheet is not None:
        check_output(sheet, (".png",), inputs=given)
    tracks_file = check_output(args.save_tracks, (".npz", ".json")) if args.save_tracks else None
    if args.weights is None:
        preset(args.preset)
    picture = open_picture(args.image)
    size = (picture.height, picture.width)
    mask = _mask_of(args, size)
    path = _path_of(args)

    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    named = args.weights or args.preset
    geometry = find_config(named, size=args.size)[0].geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale, geometry)
    first_frame, placed = fit_picture(picture, geometry.width, geometry.height, args.fit)
    say(f"picture: {placed}")
    tracks = _tracks_of(args, geometry, mask, path, placed)
    if tracks_file is not None:
        save_tracks(tracks_file, tracks)
    engine = load_engine(named, device=args.device, dtype=args.dtype, size=args.size)
    say(f"compute: {engine.compute.reason}")
    engine.warmup()
    if output.suffix.lower() == ".mp4":
        result = stream_video(args, engine, first_frame, tracks, output, scale=scale, sheet=sheet)
    else:
        result = _last_frame(args, engine, first_frame, tracks, output, scale, sheet)
    print(json.dumps({**result, "tracks": tracks.num_tracks}), flush=True)
    return 0


def _mask_of(args: argparse.Namespace, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: what is moved, in pixels of the picture."""
    import numpy as np
    from PIL import Image

    from motionstream.media.images import open_mask

    H, W = size
    x, y = args.start
    if not (0 <= x < W and 0 <= y < H):
        raise UserError(f"--from {x:g},{y:g} is outside the picture of {W}x{H} pixels")
    if args.mask is None:
        radius = args.radius or BRUSH * W
        columns, rows = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
        disc = np.hypot(columns - x, rows - y) <= radius
        disc[int(y), int(x)] = True  # of a disc below a pixel
        return disc
    if args.radius is not None:
        raise UserError("--radius is for the disc that a --mask replaces; give one of them")
    drawn = open_mask(args.mask)
    if drawn.size != (W, H):
        say(f"mask: {drawn.width}x{drawn.height} pixels, resized to the picture's {W}x{H}")
        drawn = drawn.resize((W, H), Image.Resampling.NEAREST)
    mask = np.asarray(drawn) > 127
    if not mask.any():
        raise UserError(f"mask {args.mask!r} is black everywhere; paint the thing that moves white")
    return mask


def _path_of(args: argparse.Namespace) -> MotionPath:
    """The path in pixels of the picture."""
    from motionstream.tracks.paths import circle_path, ease, follow_path, line_path, orbit_path, wave_path

    ease(args.easing, 0.0)  # refuses an unknown name
    kind = args.path or ("follow" if args.via else "line")
    if args.via and kind != "follow":
        raise UserError(f"--via goes with --path follow, not with {kind}")
    for name, kinds in (("amplitude", ("wave",)), ("cycles", ("wave",)), ("turns", ("circle", "orbit"))):
        if getattr(args, name) is not None and kind not in kinds:
            raise UserError(f"--{name} goes with --path {' or '.join(kinds)}, not with {kind}")
    if kind == "wave":
        amplitude = args.amplitude or math.dist(args.start, args.end) / 8
        return wave_path(args.start, args.end, amplitude, args.cycles or 2.0)
    if kind in ("circle", "orbit"):
        turns = 1.0 if args.turns is None else args.turns
        return (circle_path if kind == "circle" else orbit_path)(args.start, args.end, turns=turns)
    return follow_path([args.start, *args.via, args.end]) if kind == "follow" else line_path(args.start, args.end)


def _tracks_of(
    args: argparse.Namespace, geometry: VideoGeometry, mask: np.ndarray, path: MotionPath, placed: PictureFit
) -> Tracks:
    """Tracks on the model's canvas."""
    from motionstream.tracks.paths import move_mask, walk

    if args.speed is not None and path.length_px <= 0:
        raise UserError("--speed needs a way to go, and --from and --to are one place: use --duration")
    duration_s = args.duration or MOVING * (args.frames - 1) / geometry.fps
    pace: dict[str, Any] = {"duration_s": duration_s} if args.speed is None else {"speed_px_s": args.speed}
    phase = walk(path, num_frames=args.frames, fps=geometry.fps, easing=args.easing, **pace)
    if phase[-1] < 1:
        say(f"path: {args.frames} frames end after {100 * phase[-1]:.0f} % of the way; raise --frames for all of it")
    tracks = move_mask(
        mask, path, phase, fps=geometry.fps, max_points=MAX_TRACKS, pivot=args.start, rotate_deg=args.rotate, scale=args.grow
    )
    tracks = placed.apply_to(tracks)
    if not tracks.visible[0, 0].any():
        raise UserError("what is taken hold of is outside the part of the picture that is used; try --fit pad")
    if not tracks.visible[0, -1].any():
        raise UserError("nothing of what is moved is left in the picture at the end; choose another --to")
    say(f"tracks: {tracks.num_tracks} points, {int(tracks.visible[0, -1].sum())} of them in the picture at the end")
    return tracks


def _last_frame(
    args: argparse.Namespace,
    engine: Any,
    first_frame: np.ndarray,
    tracks: Tracks,
    output: Path,
    scale: int,
    sheet: Path | None,
) -> dict[str, Any]:
    """Stream and keep the last frame only (and some for the sheet); returns what the last line says."""
    from motionstream.commands.streaming import SHEET_FRAMES, write_sheet
    from motionstream.commands.tracks import draw_onto
    from motionstream.media.images import enlarge, write_picture

    every = -(-args.frames // SHEET_FRAMES)
    shown: list[np.ndarray] = []
    made, began = 0, time.perf_counter()
    with engine.start(first_frame, args.prompt, seed=args.seed, steps=args.steps) as session:
        for chunk in session.stream(tracks, args.frames):
            frames = enlarge(chunk.frames[: args.frames - made], scale)
            if args.draw_tracks:
                frames = draw_onto(frames, tracks, made)
            if args.chunk_log:
                say(json.dumps({"index": chunk.index, "frames": len(frames), "ms": round(chunk.stats.total_ms, 3)}))
            shown += [frame.copy() for t, frame in enumerate(frames, made) if t % every == 0]
            made += len(frames)
    seconds = time.perf_counter() - began
    write_picture(output, frames[-1])
    result: dict[str, Any] = {"frames": made, "seconds": round(seconds, 3), "seed": args.seed, "output": str(output)}
    if sheet is not None:
        write_sheet(sheet, shown)
        result["contact_sheet"] = str(sheet)
    return result
