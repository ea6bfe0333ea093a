"""``motionstream camera``: a picture, its depth and a camera path become an MP4 (the use of the paper's table 2)."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from motionstream.commands.options import positive_number, say, size_argument, whole_number
from motionstream.commands.streaming import check_scale, shown_scale, stream_video, video_arguments
from motionstream.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from motionstream.camera.depth import DepthMap, Kind
    from motionstream.camera.keyframes import CameraPath
    from motionstream.shapes import VideoGeometry

EPILOG = """\
examples:
  motionstream camera examples/demo.jpg --preset orbit-right --depth ground -o orbit.mp4
  motionstream camera photo.jpg --path orbit.json --depth depth.png --depth-kind inverse -o orbit.mp4
Here --preset names a camera move and --model the model. The format of camera paths is in docs/camera.md.
"""
DEFAULT_FRAMES, MAX_FRAMES = 81, 2000
PAPER_POINTS = 50 * 50
MIN_SPACING_PX = 4  # half a latent cell of nano, and far below one of Wan
DEFAULT_FOV_DEG = 60.0
STILL = "everything stays still, the camera"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="first frame: any picture of at least 16x16 pixels")
    parser.add_argument("-o", "--output", metavar="OUT.mp4", required=True, help="the video")
    camera = parser.add_mutually_exclusive_group(required=True)
    camera.add_argument("--preset", metavar="MOVE", help="a camera move, such as dolly-in, pan-left, orbit-right")
    camera.add_argument("--path", metavar="FILE", help="a camera path, .json")
    parser.add_argument("--amount", type=positive_number, metavar="A", help="how far a --preset goes, in its own unit")
    parser.add_argument("--duration", type=positive_number, metavar="S", help="seconds a --preset takes (default: all)")
    parser.add_argument("--easing", metavar="E", help="of a --preset: linear, ease-in, ease-out, ease-in-out (default)")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--depth", default="plane", metavar="D", help="a depth map (.png, .npy, .npz), or 'plane' (default) or 'ground'"
    )
    depth.add_argument("--depth-model", metavar="DIR", help="a folder with a depth model for transformers")
    parser.add_argument(
        "--depth-kind",
        choices=("metric", "inverse", "relative"),
        help="what the depth map holds (default: metric; of a model: by its configuration)",
    )
    parser.add_argument(
        "--depth-steps", type=positive_number, metavar="K", help="file values per unit: 1000 for millimetres (default: 1)"
    )
    parser.add_argument(
        "--far-over-near", type=positive_number, metavar="R", help="range given to relative depth (default: 10)"
    )
    parser.add_argument("--known-points", metavar="FILE", help="lines of 'x y depth' in picture pixels: fixes the scale")
    parser.add_argument(
        "--fov",
        type=positive_number,
        default=DEFAULT_FOV_DEG,
        metavar="DEG",
        help="horizontal view of the frame (default: 60)",
    )
    parser.add_argument("--grid", type=grid_size, metavar="CxR", help="columns and rows of points (default: by the model)")
    parser.add_argument(
        "--min-overlap", type=share, metavar="P", help="share of each view that must show the picture (default: 0.1)"
    )
    parser.add_argument("--save-tracks", metavar="FILE", help="also write the tracks, .npz or .json")
    parser.add_argument("--prompt", help="what is seen (default: that all is still and how the camera moves)")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", default="nano", metavar="PRESET", help="a bundled model (default: nano)")
    model.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    size_argument(parser)
    parser.add_argument(
        "--frames",
        type=whole_number(1, MAX_FRAMES),
        metavar="N",
        help=f"length of the video (default: that of the --path, else {DEFAULT_FRAMES})",
    )
    video_arguments(parser)


def grid_size(text: str) -> tuple[int, int]:
    """An argparse type: ``COLUMNSxROWS`` -> (rows, columns).

    >>> grid_size("16x12")
    (12, 16)
    """
    columns, _, rows = text.lower().partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and 1 <= int(columns) <= 512 and 1 <= int(rows) <= 512):
        raise argparse.ArgumentTypeError(f"{text!r} must be COLUMNSxROWS of 1 to 512 each, such as 16x12")
    return int(rows), int(columns)


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 1")
    return value


def run(args: argparse.Namespace) -> int:
    from motionstream.camera.keyframes import load_camera
    from motionstream.camera.pose import Pinhole
    from motionstream.camera.reproject import MIN_OVERLAP, camera_tracks
    from motionstream.camera.surface import working_size
    from motionstream.media.images import fit_picture, open_picture
    from motionstream.media.output import check_output
    from motionstream.presets import preset
    from motionstream.tracks.io import save_tracks

    # Everything that can be wrong is looked at before the model is loaded.
    given = (args.image, args.path, args.depth, args.known_points)
    output = check_output(args.output, inputs=given)
    beside = output.with_name(f"{output.stem}_sheet.png")
    sheet = check_output(beside, (".png",), inputs=given) if args.contact_sheet else None
    tracks_file = check_output(args.save_tracks, (".npz", ".json"), inputs=given) if args.save_tracks else None
    _check_depth_options(args)
    if args.weights is None:
        preset(args.model)
    picture = open_picture(args.image)
    path = load_camera(args.path) if args.path is not None else None
    _preset_path(args, 1.0)

    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    named = args.weights or args.model
    geometry = find_config(named, size=args.size)[0].geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale, geometry)
    grid = args.grid or default_grid(geometry)
    _check_grid(grid, geometry)
    depth = _depth_of(args, picture, path)
    num_frames = args.frames or (DEFAULT_FRAMES if path is None else _frames_of(path, geometry.fps))
    path = path or _preset_path(args, max((num_frames - 1) / geometry.fps, 1 / geometry.fps))
    assert path is not None
    first_frame, placed = fit_picture(picture, geometry.width, geometry.height, args.fit)
    say(f"picture: {placed}")
    canvas = (geometry.height, geometry.width)
    tracks = camera_tracks(
        depth.on_frame(placed, working_size(canvas)),
        path,
        Pinhole.from_fov(canvas, args.fov),
        num_frames=num_frames,
        fps=geometry.fps,
        grid=grid,
        min_overlap=MIN_OVERLAP if args.min_overlap is None else args.min_overlap,
    )
    most = int(tracks.visible.sum(dim=-1).max())
    new = tracks.num_tracks - grid[0] * grid[1]
    say(f"tracks: {grid[1]}x{grid[0]} points in frame 0, {new} new ones came into view, at most {most} visible at once")
    if tracks_file is not None:
        save_tracks(tracks_file, tracks)
    if args.prompt is None:
        args.prompt = _prompt_of(path)
    engine = load_engine(named, device=args.device, dtype=args.dtype, size=args.size)
    say(f"compute: {engine.compute.reason}")
    engine.warmup()
    result = stream_video(args, engine, first_frame, tracks, output, scale=scale, sheet=sheet)
    result |= {"tracks": tracks.num_tracks, "depth": depth.source, "prompt": args.prompt}
    print(json.dumps(result), flush=True)
    return 0


def _check_grid(grid: tuple[int, int], geometry: VideoGeometry) -> None:
    """Refuse points that lie closer than anything of the model tells apart (UserError)."""
    most = max(1, geometry.height // MIN_SPACING_PX), max(1, geometry.width // MIN_SPACING_PX)
    if grid[0] > most[0] or grid[1] > most[1]:
        raise UserError(
            f"--grid {grid[1]}x{grid[0]} puts points less than {MIN_SPACING_PX} pixels apart in a video of "
            f"{geometry.width}x{geometry.height}; use at most {most[1]}x{most[0]}"
        )


def default_grid(geometry: VideoGeometry) -> tuple[int, int]:
    """(rows, columns) of points for a model: one per latent cell, as the engine's anchors, but no more than the paper's."""
    rows, columns = geometry.latent_height, geometry.latent_width
    shrink = min(1.0, math.sqrt(PAPER_POINTS / (rows * columns)))
    return max(1, math.floor(rows * shrink)), max(1, math.floor(columns * shrink))


def _preset_path(args: argparse.Namespace, duration_s: float) -> CameraPath | None:
    """The move of --preset, by default as long as `duration_s`; None where --path is given."""
    from motionstream.camera.moves import PresetPath

    if args.preset is None:
        for name in ("amount", "duration", "easing"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name} goes with --preset; a --path says it in its file")
        return None
    how = {} if args.easing is None else {"easing": args.easing}
    return PresetPath(preset=args.preset, amount=args.amount, duration_s=args.duration or duration_s, **how)


def _frames_of(path: CameraPath, fps: float) -> int:
    frames = math.ceil(path.duration_s * fps - 1e-6) + 1
    if frames > MAX_FRAMES:
        raise UserError(
            f"the camera path takes {path.duration_s:g} s, {frames} frames; give --frames of at most {MAX_FRAMES}"
        )
    return frames if frames > 1 else DEFAULT_FRAMES


def _check_depth_options(args: argparse.Namespace) -> None:
    """Refuse options that the chosen depth would not read (UserError)."""
    given = [name for name in ("depth-kind", "depth-steps", "far-over-near") if getattr(args, name.replace("-", "_"))]
    if args.depth_model is not None:
        if args.depth_steps is not None:
            raise UserError(f"--depth-steps {args.depth_steps:g} is for a depth map: leave it out with --depth-model")
    elif args.depth in ("plane", "ground") and given:
        raise UserError(f"--{given[0]} is for a depth map, and --depth {args.depth} reads none: give a file or leave it out")
    kind = args.depth_kind or ("relative" if args.depth_model else "metric")  # what a model gives is not known yet
    if args.depth_steps is not None and kind == "relative":
        raise UserError(f"--depth-steps {args.depth_steps:g} is of a unit, and relative depth has none: leave it out")
    if args.far_over_near is not None and kind != "relative":
        far = args.far_over_near
        raise UserError(f"--far-over-near {far:g} is for relative depth, not for {kind}: add --depth-kind relative")


def _depth_of(args: argparse.Namespace, picture: Image.Image, path: CameraPath | None) -> DepthMap:
    """Depth of the whole picture, from wherever the options say; tells what it is and what was done to it."""
    from motionstream.camera.align import align_scale, load_known_points
    from motionstream.camera.depth import FAR_OVER_NEAR, flat_depth, ground_depth, load_depth
    from motionstream.camera.estimate import estimate_depth

    size = (picture.height, picture.width)
    far = args.far_over_near or FAR_OVER_NEAR
    if args.depth_model is not None:
        depth = estimate_depth(picture, args.depth_model, kind=args.depth_kind, device=args.device, far_over_near=far)
        if args.far_over_near is not None and depth.metric:
            raise UserError(f"--far-over-near {far:g} is for relative depth, and this model gives metric: leave it out")
    elif args.depth in ("plane", "ground"):
        depth = flat_depth(size) if args.depth == "plane" else ground_depth(size)
    else:
        kind: Kind = args.depth_kind or "metric"
        depth = load_depth(args.depth, kind, steps_per_unit=args.depth_steps or 1.0, far_over_near=far).resized(size)
    say(f"depth: {depth.source}")
    for note in depth.notes:
        say(f"depth: {note}")
    if args.known_points is not None:
        found = align_scale(depth, *load_known_points(args.known_points), size)
        depth = depth.scaled(found.scale, metric=True)
        spread = 100 * found.spread
        say(f"depth: scaled by {found.scale:.4g} to {found.num_points} known points, which agree to {spread:.1f} %")
    if path is not None and not path.in_scene_units and not depth.metric:
        say("depth: it has no unit of its own, so the path's positions count in what its values happen to be")
    return depth


def _prompt_of(path: CameraPath) -> str:
    from motionstream.camera.moves import MOVES, PresetPath

    return f"{STILL} {MOVES[path.preset].words}" if isinstance(path, PresetPath) else f"{STILL} moves"
