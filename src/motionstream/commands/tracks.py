"""``motionstream tracks draw | info | convert``: look at a tracks file, describe it, turn it into another one."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import canvas_size, positive_number, say, tell_kept, whole_number

if TYPE_CHECKING:
    import numpy as np

    from motionstream.tracks.draw import Colour
    from motionstream.tracks.strokes import Stroke
    from motionstream.tracks.tracks import Tracks

    Colours = Mapping[int, str | Colour] | None

EPILOG = """\
examples:
  motionstream tracks info examples/demo_drag.json
  motionstream tracks draw examples/demo_drag.json --image examples/demo.jpg -o drag.png
  motionstream tracks convert examples/demo_drag.json drag.npz --fps 16 --size 192x144
"""
MAX_FRAMES = 100_000
TAIL_FRAMES = 8
WINDOW_FRAMES = 16  # drawn at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    draw = what.add_parser("draw", help="draw tracks on a picture, a video or grey")
    draw.add_argument("tracks", metavar="TRACKS", help=".json or .npz")
    background = draw.add_mutually_exclusive_group()
    background.add_argument("--image", metavar="IMG", help="picture below")
    background.add_argument("--video", metavar="V", help="video below")
    draw.add_argument(
        "-o", "--output", required=True, metavar="OUT", help=".png: whole paths in one picture; .mp4: moving dots"
    )
    draw.set_defaults(action=run_draw)

    info = what.add_parser("info", help="describe a tracks file")
    info.add_argument("tracks", metavar="TRACKS", help=".json or .npz")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(action=run_info)

    convert = what.add_parser("convert", help="json <-> npz and other projects' files; other rate, length or canvas")
    convert.add_argument("source", metavar="SRC", help=".json, .npz (ours, TAP-Vid, CoTracker), .pth (ATI), .npy (Wan-Move)")
    convert.add_argument("target", metavar="DST", help="the same suffixes")
    convert.add_argument("--to", choices=("motionstream", "tapvid", "cotracker", "ati", "wan-move"), help="form of DST")
    convert.add_argument("--canvas", type=canvas_size, metavar="WxH", help="canvas of SRC, where the file does not say it")
    convert.add_argument(
        "--source-fps", type=positive_number, metavar="FPS", help="rate of SRC, where the file does not say it (default: 16)"
    )
    convert.add_argument("--fps", type=positive_number, help="resample to this frame rate")
    convert.add_argument(
        "--frames", type=whole_number(1, MAX_FRAMES), metavar="N", help="cut to N frames, or hold the last one up to N"
    )
    convert.add_argument("--size", type=canvas_size, metavar="WxH", help="scale to this canvas, in pixels")
    convert.set_defaults(action=run_convert)


def run(args: argparse.Namespace) -> int:
    return args.action(args)


# ---- draw ------------------------------------------------------------------------------------------------------------


def run_draw(args: argparse.Namespace) -> int:
    import numpy as np

    from motionstream.media.decode import VideoFile
    from motionstream.media.images import open_picture, write_picture
    from motionstream.media.output import check_output
    from motionstream.media.video import VideoWriter
    from motionstream.tracks.io import load_tracks

    output = check_output(args.output, (".png", ".mp4"), inputs=(args.video, args.image))
    tracks = load_tracks(args.tracks)
    if tracks.batch != 1:
        raise ValueError(f"{args.tracks}: holds {tracks.batch} samples; give a file with one")
    colours = colours_of(args.tracks)
    H, W = tracks.size
    if args.video is not None:
        video = VideoFile(args.video)
        below: Iterator[np.ndarray] = map(video.upright, video.frames())
        if video.fps != tracks.fps:
            tracks = tracks.resample(fps=video.fps)
    elif args.image is not None:
        below = itertools.repeat(np.asarray(open_picture(args.image)))
    else:
        below = itertools.repeat(np.full((H, W, 3), 96, dtype=np.uint8))
    first = next(below)
    height, width, _ = first.shape
    if H * width != W * height:
        say(f"the canvas of {W}x{H} has another aspect than the {width}x{height} pixels below; it is stretched")
    if output.suffix.lower() == ".png":
        write_picture(output, draw_paths(first, tracks, colours))
        num_frames = 1
    else:
        even_height, even_width = height - height % 2, width - width % 2  # as H.264 needs
        scaled = tracks.resize(height, width).crop(0, 0, even_height, even_width)
        below = itertools.islice(itertools.chain([first], below), tracks.num_frames)
        writer = VideoWriter(output, tracks.fps, (even_height, even_width))
        with tell_kept(writer), writer:
            while window := list(itertools.islice(below, WINDOW_FRAMES)):
                frames = np.stack(window)[:, :even_height, :even_width]
                writer.write(draw_onto(frames, scaled, writer.num_frames, colours=colours))
        num_frames = writer.num_frames
    say(f"{tracks.num_tracks} tracks on {num_frames} frame{'s' if num_frames > 1 else ''} in {output}")
    return 0


def draw_onto(
    frames: np.ndarray, tracks: Tracks, start: int, *, tail: int = TAIL_FRAMES, colours: Colours = None
) -> np.ndarray:
    """Draw a part of a video, with tails that reach back before it.

    Args:
        frames: (T, H, W, 3) uint8, the frames start, ..., start + T - 1 of the video.
        tracks: of the whole video, on any canvas.
        start: index of the first frame.
        tail, colours: as in `motionstream.draw_tracks`.
    """
    import numpy as np

    from motionstream.tracks.draw import draw_tracks

    before = min(start, tail)
    blank = np.zeros((before, *frames.shape[1:]), dtype=np.uint8)
    part = tracks.slice_frames(start - before, start + len(frames))
    return draw_tracks(np.concatenate([blank, frames]), part, tail, colours)[before:]


def draw_paths(picture: np.ndarray, tracks: Tracks, colours: Colours = None) -> np.ndarray:
    """Draw every track's whole path on a picture (H, W, 3) uint8: a dot where it starts, a line, a ring at its end."""
    import numpy as np
    from PIL import Image, ImageDraw

    from motionstream.tracks.draw import KIND_COLOURS, colour_of_id

    H, W, _ = picture.shape
    tracks = tracks.resize(H, W)
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image, "RGBA")
    radius = max(1.5, min(H, W) / 120)
    for n, track_id in enumerate(tracks.ids[0].tolist()):
        kind = (colours or {}).get(track_id, colour_of_id(track_id))
        colour = KIND_COLOURS[kind] if isinstance(kind, str) else kind
        for run in _visible_runs(tracks, n):
            xy = run - 0.5  # PIL counts from pixel centres
            pen.line([tuple(point) for point in xy.tolist()], fill=(*colour, 200), width=max(1, round(radius / 2)))
            (x, y), (end_x, end_y) = xy[0].tolist(), xy[-1].tolist()
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 255))
            box = (end_x - radius, end_y - radius, end_x + radius, end_y + radius)
            pen.ellipse(box, outline=(*colour, 255), width=max(1, round(radius / 2)))
    return np.asarray(image)


def _visible_runs(tracks: Tracks, n: int) -> Iterator[np.ndarray]:
    """The unbroken visible stretches of track n, each (T, 2) in pixels."""
    import numpy as np

    visible = tracks.visible[0, :, n].cpu().numpy()
    edges = np.flatnonzero(np.diff(visible, prepend=False, append=False))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield tracks.xy[0, start:stop, n].cpu().numpy()


def strokes_of(path: str | Path) -> list[Stroke] | None:
    """The strokes of a strokes file; None for a file of tracks."""
    from motionstream.tracks.io import load_strokes

    with contextlib.suppress(ValueError):
        return load_strokes(path)[0]
    return None


def colours_of(path: str | Path) -> dict[int, str | Colour] | None:
    """Colours by kind for a strokes file, as `motionstream.draw_tracks` takes them; None (by id) for tracks."""
    from motionstream.tracks.strokes import kinds_by_id

    strokes = strokes_of(path)
    return None if strokes is None else dict(kinds_by_id(strokes))


# ---- info ------------------------------------------------------------------------------------------------------------


def run_info(args: argparse.Namespace) -> int:
    from motionstream.tracks.io import load_tracks

    facts = describe(args.tracks, load_tracks(args.tracks))
    if args.json:
        print(json.dumps(facts))
        return 0
    width, height = facts["size"]
    first, last = facts["ids"]
    print(f"{args.tracks}: {facts['form']}")
    print(f"  canvas   {width}x{height} pixels")
    print(f"  length   {facts['frames']} frames at {facts['fps']:g} fps, {facts['seconds']:.2f} s")
    print(f"  tracks   {facts['tracks']} (ids {first} to {last}), visible {100 * facts['visible']:.0f}% of the time")
    print(f"  motion   paths of {facts['path_px']['median']:.1f} px (median), at most {facts['path_px']['max']:.1f} px")
    if facts["samples"] > 1:
        print(f"  samples  {facts['samples']}; the rest is about all of them")
    return 0


def describe(path: str | Path, tracks: Tracks) -> dict[str, Any]:
    """Facts about tracks: sizes, ids, how much is visible, and how long the paths are (pixels of the canvas)."""
    strokes = strokes_of(path)
    form = "tracks" if strokes is None else f"{len(strokes)} stroke{'s' if len(strokes) != 1 else ''}"
    step = (tracks.xy[:, 1:] - tracks.xy[:, :-1]).norm(dim=-1)  # (B, T - 1, N)
    seen = tracks.visible[:, 1:] & tracks.visible[:, :-1]
    paths = (step * seen).sum(dim=1)  # (B, N)
    return {
        "form": form,
        "samples": tracks.batch,
        "size": [tracks.size[1], tracks.size[0]],
        "frames": tracks.num_frames,
        "fps": tracks.fps,
        "seconds": round(tracks.num_frames / tracks.fps, 3),
        "tracks": tracks.num_tracks,
        "ids": [int(tracks.ids.min()), int(tracks.ids.max())],
        "visible": round(float(tracks.visible.float().mean()), 3),
        "path_px": {"median": round(float(paths.median()), 2), "max": round(float(paths.max()), 2)},
    }


# ---- convert ---------------------------------------------------------------------------------------------------------


def run_convert(args: argparse.Namespace) -> int:
    from motionstream.media.output import check_output
    from motionstream.tracks.formats import SUFFIXES, files_of, load_any_tracks, save_any_tracks

    for file in reversed(files_of(args.target)):  # the target itself comes last
        target = check_output(file, SUFFIXES, inputs=files_of(args.source))
    tracks = load_any_tracks(args.source, size=args.canvas, num_frames=args.frames, fps=args.fps, source_fps=args.source_fps)
    if args.size is not None:
        tracks = tracks.resize(*args.size)
    written = save_any_tracks(target, tracks, form=args.to)
    H, W = written.size
    say(f"{written.num_tracks} tracks, {written.num_frames} frames at {written.fps:g} fps, {W}x{H} pixels in {target}")
    # moments of first and last frames; what is resampled may end within a frame before the end
    kept_s, given_s = (written.num_frames - 1) / written.fps, (tracks.num_frames - 1) / tracks.fps
    if kept_s <= given_s - 1 / written.fps:
        say(
            f"ATI files hold {written.num_frames} frames at {written.fps:g} fps: what comes after {kept_s:g} s of the "
            f"{given_s:g} s was cut"
        )
    return 0
