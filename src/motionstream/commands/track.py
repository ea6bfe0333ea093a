"""``motionstream track``: follow points through a video and write their tracks, frame by frame, however long it is."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import canvas_size, say, tell_kept, whole_number
from motionstream.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from motionstream.tracking.clip import Clip
    from motionstream.tracking.points import TrackWindow

EPILOG = """\
examples:
  motionstream track clip.mp4 -o tracks.npz --grid 50
  motionstream track clip.mp4 -o tracks.json --mask object.png --draw seen.mp4
lk and dis need no weights. The last line on stdout is one JSON object.
"""
MAX_FRAMES = 100_000
DEFAULT_GRID = 50
TAIL_FRAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", help="any file that FFmpeg reads")
    parser.add_argument("-o", "--output", required=True, metavar="TRACKS", help=".npz or .json")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--grid", type=whole_number(1, 223), metavar="N", help=f"N x N points (default: {DEFAULT_GRID})")
    which.add_argument(
        "--points", metavar="FILE", help="points to follow: .csv or .json with x, y or t, x, y; .npy; or tracks"
    )
    parser.add_argument("--mask", metavar="PNG", help="lay the grid over what is white in this picture of the first frame")
    tracker_arguments(parser, ("lk", "dis", "cotracker", "tapir", "tapnext"))
    parser.add_argument("--size", type=canvas_size, metavar="WxH", help="scale the video to this first (default: its own)")
    parser.add_argument("--frames", type=whole_number(1, MAX_FRAMES), metavar="N", help="stop after N frames")
    parser.add_argument("--draw", metavar="OUT.mp4", help="also write the video with the points drawn on it")


def tracker_arguments(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Add ``--tracker``, ``--tracker-weights`` and ``--tracker-device``."""
    parser.add_argument("--tracker", choices=names, default="lk", help="default: lk")
    learned = [name for name in ("cotracker", "tapir", "tapnext") if name in names]
    told = f"your weights for {', '.join(learned[:-1])} or {learned[-1]}"
    parser.add_argument("--tracker-weights", metavar="FILE", help=told)
    parser.add_argument("--tracker-device", metavar="D", help="where they run (default: cuda where there is one)")


def tracker_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options for `make_tracker` from those arguments; UserError for weights that nothing would read."""
    from motionstream.tracking.tracker import NEED_WEIGHTS

    if args.tracker in NEED_WEIGHTS:
        return {"weights": args.tracker_weights, "device": args.tracker_device}
    if args.tracker_weights is not None or args.tracker_device is not None:
        raise UserError(f"--tracker {args.tracker} needs no weights; leave --tracker-weights and --tracker-device out")
    return {}


def run(args: argparse.Namespace) -> int:
    from motionstream.media.output import check_output
    from motionstream.tracking.clip import Clip
    from motionstream.tracking.points import track_windows
    from motionstream.tracking.spool import TrackSpool
    from motionstream.tracking.tracker import make_tracker
    from motionstream.tracks.io import check_fits_json

    output = check_output(args.output, (".npz", ".json"), inputs=(args.points,))
    if args.draw is not None:
        check_output(args.draw, inputs=(args.video,))
    if args.points is not None and args.mask is not None:
        raise UserError("--mask goes with --grid: points from a file are taken as they are")
    clip = Clip(args.video, args.size)
    queries = _queries(args, clip)
    if args.tracker in ("lk", "dis") and not queries[:, 0].any():
        _check_texture(clip)
    tracker = make_tracker(args.tracker, **tracker_options(args))
    most = args.frames or MAX_FRAMES
    expected = min(clip.expected_frames or most, most)
    if output.suffix.lower() == ".json" and clip.expected_frames:
        check_fits_json(expected, len(queries))
    began, num_seen = time.perf_counter(), 0
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(TrackSpool(output, num_tracks=len(queries), size=clip.size, fps=clip.fps))
        drawing = None if args.draw is None else _Drawing(args.draw, clip)
        if drawing is not None:
            stack.enter_context(tell_kept(drawing.video))
            stack.enter_context(drawing)
        bar = stack.enter_context(_progress(expected if clip.expected_frames else None))
        for window in track_windows(itertools.islice(clip.frames(), most), queries, tracker=tracker):
            spool.write(window.xy, window.visible)
            num_seen += int(window.visible.sum())
            if drawing is not None:
                drawing.add(window)
            bar.set_postfix_str(f"{int(window.visible[-1].sum())} of {len(queries)} points seen", refresh=False)
            bar.update(len(window.frames))
        if queries[:, 0].min() >= spool.num_frames:
            raise UserError(
                f"all points are given for frame {queries[:, 0].min():g} or later, and the last frame that was read is "
                f"{spool.num_frames - 1}: give points for frames of the clip"
            )
    num_frames, seconds = spool.num_frames, time.perf_counter() - began
    if args.frames is None and num_frames == MAX_FRAMES:
        say(f"the first {MAX_FRAMES} frames were tracked, which is all that a tracks file holds")
    if args.frames is not None and num_frames < args.frames:
        say(f"the video has {num_frames} frames, {args.frames} were asked for")
    late = int((queries[:, 0] >= num_frames).sum())
    if late:
        say(f"{late} of the points are given for frames after the last one, {num_frames - 1}; they are never visible")
    H, W = clip.size
    result = {
        "frames": num_frames,
        "tracks": len(queries),
        "visible": round(num_seen / (num_frames * len(queries)), 4),
        "seen_at_end": int(window.visible[-1].sum()),
        "size": [W, H],
        "video_fps": round(clip.fps, 4),
        "fps": round(num_frames / seconds, 2),
        "tracker": args.tracker,
        "output": str(output),
    }
    if drawing is not None:
        result["drawn"] = args.draw
    print(json.dumps(result), flush=True)
    return 0


def _queries(args: argparse.Namespace, clip: Clip) -> np.ndarray:
    from motionstream.tracking.queries import grid_queries, read_mask, read_queries

    if args.points is not None:
        return read_queries(args.points, clip.size, clip.fps)
    mask = None if args.mask is None else read_mask(args.mask, clip.size, clip.source)
    return grid_queries(clip.size, args.grid or DEFAULT_GRID, mask)


def _check_texture(clip: Clip) -> None:
    """Refuse a clip that begins without anything that flow could hold on to: its points would only seem to rest."""
    from motionstream.tracking.appearance import is_flat

    if is_flat(next(clip.frames())):
        raise UserError(
            f"{clip.path}: its first frame is flat or dark, so no point in it can be followed; give --points with t where "
            "the picture begins, or another clip"
        )


def _progress(total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="frame", file=sys.stderr, dynamic_ncols=True)


class _Drawing:
    """Writes the video with its points, window by window, with tails that reach back over their borders."""

    def __init__(self, path: str, clip: Clip) -> None:
        from motionstream.media.video import VideoWriter

        H, W = clip.size
        self.size, self.fps = (H - H % 2, W - W % 2), clip.fps  # even sides, as H.264 needs
        self.canvas = clip.size
        self.video = VideoWriter(path, clip.fps, self.size)
        self.tail: tuple[Any, Any] | None = None

    def __enter__(self) -> _Drawing:
        self.video.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.video.__exit__(*error)

    def add(self, window: TrackWindow) -> None:
        import numpy as np

        from motionstream.tracks.draw import draw_tracks
        from motionstream.tracks.tracks import Tracks

        xy, visible, before = window.xy, window.visible, 0
        if self.tail is not None:
            before = len(self.tail[0])
            xy, visible = np.concatenate([self.tail[0], xy]), np.concatenate([self.tail[1], visible])
        self.tail = xy[-TAIL_FRAMES:], visible[-TAIL_FRAMES:]
        H, W = self.size
        tracks = Tracks.from_points(xy, visible=visible, size=self.canvas, fps=self.fps).crop(0, 0, H, W)
        frames = np.stack(window.frames)[:, :H, :W]
        blank = np.zeros((before, H, W, 3), np.uint8)
        self.video.write(draw_tracks(np.concatenate([blank, frames]), tracks, TAIL_FRAMES)[before:])
