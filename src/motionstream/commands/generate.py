"""``motionstream generate``: a picture, a prompt and tracks become an MP4, chunk by chunk (paper section 3.3)."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from motionstream.commands.options import say, whole_number
from motionstream.commands.streaming import (
    check_fp8,
    check_scale,
    load_options,
    shown_scale,
    stream_video,
    video_arguments,
    wan_arguments,
    weights_named,
)
from motionstream.errors import UserError

if TYPE_CHECKING:
    from motionstream.config import PresetConfig
    from motionstream.media.images import Fit, PictureFit
    from motionstream.shapes import VideoGeometry
    from motionstream.tracks.draw import Colour
    from motionstream.tracks.strokes import Stroke
    from motionstream.tracks.tracks import Tracks

EPILOG = """\
examples:
  motionstream generate examples/demo.jpg --prompt "a dahlia" --tracks examples/demo_drag.json -o demo.mp4
  motionstream generate cup.jpg --prompt "a cup" --preset wan2.1-1.3b --weights weights/wan -o cup.mp4
The last line on stdout is one JSON object; `fps` in it is the speed of making frames, without loading and writing.
"""
DEFAULT_FRAMES = 81
MAX_FRAMES = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", metavar="IMAGE", nargs="?", help="first frame: any picture of at least 16x16 pixels (none for t2v presets)"
    )
    parser.add_argument("--prompt", required=True, help='what is seen, and what moves; "" will do for nano')
    parser.add_argument("--tracks", metavar="FILE", help="tracks or strokes, .json or .npz (default: nothing is dragged)")
    parser.add_argument("-o", "--output", metavar="OUT.mp4", required=True, help="the video")
    parser.add_argument("--preset", help="the model (default: that of --weights, else nano)")
    parser.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    parser.add_argument("--random-weights", action="store_true", help="no weights, to measure speed: every frame is stamped")
    parser.add_argument(
        "--frames",
        type=whole_number(1, MAX_FRAMES),
        metavar="N",
        help=f"length of the video (default: that of the tracks, else {DEFAULT_FRAMES})",
    )
    video_arguments(parser)
    wan_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from motionstream.media.images import fit_picture, open_picture
    from motionstream.media.output import check_output
    from motionstream.presets import preset
    from motionstream.tracks.io import load_tracks

    # Everything that can be wrong is looked at before the model is loaded, and the rest before anything is computed.
    given = (args.image, args.tracks)
    output = check_output(args.output, inputs=given)
    beside = output.with_name(f"{output.stem}_sheet.png")
    sheet = check_output(beside, (".png",), inputs=given) if args.contact_sheet else None
    if args.preset is not None:
        preset(args.preset)
    name, options = weights_named(args), load_options(args)
    picture = None if args.image is None else open_picture(args.image)
    if args.tracks is not None:
        load_tracks(args.tracks)

    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    known = {key: options[key] for key in ("preset", "size", "random_weights") if key in options}
    config = find_config(name, **known)[0]
    _check_inputs(args, config)
    check_fp8(args, config)
    engine = load_engine(name, device=args.device, dtype=args.dtype, **options)
    geometry = engine.preset.geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale, geometry)
    first_frame = placed = None
    if picture is not None:
        first_frame, placed = fit_picture(picture, geometry.width, geometry.height, args.fit)
        say(f"picture: {placed}")
    tracks, colours, strokes = _tracks_for(args, geometry, placed)
    say(f"compute: {engine.compute.reason}")
    if args.random_weights:
        say("warning: the weights are random: the video means nothing, and every frame is stamped")
    engine.warmup()
    result = stream_video(
        args, engine, first_frame, tracks, output, scale=scale, colours=colours, sheet=sheet, strokes=strokes
    )
    print(json.dumps(result), flush=True)
    return 0


def _check_inputs(args: argparse.Namespace, config: PresetConfig) -> None:
    """A picture where the model starts from one, tracks where it has channels for them."""
    if config.model.first_frame == "none":
        if args.image is not None:
            raise UserError(
                f"{config.name} starts from text alone: leave {args.image!r} out, or take a preset with a picture"
            )
    elif args.image is None:
        raise UserError(f"{config.name} starts from a picture: motionstream generate IMAGE --prompt ...")
    if args.tracks is not None and not config.model.tracks.channels:
        raise UserError(f"{config.name} has no track channels: leave --tracks out, or take a preset with tracks")


# ---- tracks ----------------------------------------------------------------------------------------------------------


def _tracks_for(
    args: argparse.Namespace, geometry: VideoGeometry, placed: PictureFit | None
) -> tuple[Tracks, dict[int, str | Colour] | None, list[Stroke] | None]:
    """Read the tracks at the model's frame rate, length and canvas; their colours for drawing; and their strokes, if any."""
    from motionstream.commands.tracks import strokes_of
    from motionstream.tracks.io import load_tracks
    from motionstream.tracks.strokes import kinds_by_id
    from motionstream.tracks.tracks import Tracks

    size = (geometry.height, geometry.width)
    if args.tracks is None or placed is None:  # without a picture there are no track channels either
        say("tracks: none, nothing is dragged")
        return Tracks.empty(num_frames=args.frames or DEFAULT_FRAMES, size=size, fps=geometry.fps), None, None
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
    if not tracks.visible.any():
        raise UserError(f"{args.tracks}: no point is visible in the first {wanted} frames; raise --frames")
    tracks, how = place_tracks(tracks, placed, args.fit)
    if not tracks.visible.any():
        raise UserError(f"{args.tracks}: every point is outside the part of the picture that is used; try --fit pad")
    say(f"tracks: {tracks.num_tracks} over {wanted} frames, {how}")
    return tracks, None if strokes is None else dict(kinds_by_id(strokes)), strokes


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
