"""``motionstream eval``: measure a model with a suite, or compare two results; the last line on stdout is JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from motionstream.commands.options import device_arguments, say, size_argument, whole_number
from motionstream.commands.track import tracker_arguments, tracker_options

SUITES = ("drags", "camera", "camera3d", "clips", "transfer", "davis", "sora", "llff", "horizon", "speed")
EPILOG = """\
this works on a laptop without a GPU (docs/evaluation.md says what every suite measures):
  motionstream eval --suite drags --scenes 8 --quick --out out/drags
  motionstream eval --compare out/drags out/drags_of_other_weights
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", choices=SUITES, default="drags", help="what to measure (default: drags)")
    parser.add_argument("--preset", default="nano", help="preset, or a folder with weights")
    parser.add_argument("--weights", metavar="DIR", help="a folder with weights, the same as --preset DIR")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="davis, sora, llff: the data set; clips, transfer: your videos"
    )
    size_argument(parser)
    parser.add_argument("--scenes", type=whole_number(1, 10_000), metavar="N", help="samples (default: as published)")
    parser.add_argument(
        "--late-scenes",
        type=whole_number(1, 10_000),
        default=16,
        metavar="N",
        help="drags: scenes of the part that grabs after 237 frames (default: 16)",
    )
    parser.add_argument("--seeds", type=_seeds, metavar="A,B,C", help="seeds of the noise (default: 0; horizon: 0,1,2)")
    parser.add_argument("--frames", type=whole_number(2, 1_000_000), metavar="N", help="frames of a clip or a long stream")
    parser.add_argument("--grid", type=_grid, metavar="RxC", help="rows x columns of tracks")
    parser.add_argument(
        "--settings",
        metavar="A,B",
        help="horizon: cache settings (default: the model's own, and c3s1w1,c3s0w1,c1s1w1,c3s0w6)",
    )
    parser.add_argument("--chunks", type=whole_number(4, 1_000_000), default=100, metavar="N", help="speed: chunks of a run")
    tracker_arguments(parser, ("lk", "dis", "cotracker", "tapir", "tapnext"))
    parser.add_argument(
        "--lpips-weights", type=Path, metavar="FILE", help="of tools/build_lpips.py; else MOTIONSTREAM_LPIPS"
    )
    parser.add_argument("--depth-model", type=Path, metavar="DIR", help="llff: a depth estimator for transformers")
    parser.add_argument("--quick", action="store_true", help="fewer conditions")
    parser.add_argument("--no-teacher", action="store_true", help="skip the bidirectional teacher")
    parser.add_argument("--no-recall", action="store_true", help="show frames as they are decoded (docs/architecture.md)")
    parser.add_argument("--no-videos", action="store_true", help="keep no pictures and videos in --out")
    parser.add_argument("--json", action="store_true", help="no table, only the last line")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep rows, report and page, go on where it stopped; or a .json file",
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"), help="paired differences of two results")
    device_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.compare:
        return _compare(args)
    folder = _check(args)
    from motionstream.bench import bench_stream, environment
    from motionstream.config import to_dict
    from motionstream.eval.report import table_lines
    from motionstream.eval.rows import write_json
    from motionstream.eval.speed import SpeedSuite
    from motionstream.eval.suites import EvalOptions, build_suite, run_suite
    from motionstream.eval.tasks import Suite
    from motionstream.models.lpips import find_lpips
    from motionstream.stream.engine import load_engine

    preset = args.weights or args.preset
    options_of_engine = {"device": args.device, "dtype": args.dtype, "size": args.size, "recall": not args.no_recall}
    engine = load_engine(preset, **options_of_engine)
    geometry = engine.preset.geometry
    lpips, lpips_missing = (None, "")
    suite: Suite
    if args.suite == "speed":
        suite = SpeedSuite(
            lambda: bench_stream(preset, args.chunks, **options_of_engine),
            chunks=args.chunks,
            repeats=args.seeds or (0, 1, 2),
        )
    else:
        if args.suite not in ("drags", "transfer"):
            lpips, lpips_missing = find_lpips(args.lpips_weights, engine.compute.device)
        options = EvalOptions(
            suite=args.suite,
            data=args.data,
            scenes=args.scenes,
            late_scenes=args.late_scenes,
            seeds=args.seeds,
            frames=args.frames,
            grid=args.grid,
            tracker=args.tracker,
            depth_model=args.depth_model,
            quick=args.quick,
            no_teacher=args.no_teacher,
            **({"cache_settings": tuple(args.settings.split(","))} if args.settings else {}),
        )
        suite = build_suite(engine, preset, options, lpips)
    described = {
        "preset": engine.preset.name,
        "size": f"{geometry.width}x{geometry.height}",
        "setting": engine.preset.cache.tag,
        "sigmas": list(engine.preset.sample.student_sigmas),
        "sample": to_dict(engine.preset.sample),
        "smooth_seams": engine.preset.vae.smooth_seams,
        "recall": engine.recall is not None,
        **environment(engine),
    }
    report = run_suite(
        suite, out=folder, preset=preset, environment=described, lpips_missing=lpips_missing, videos=not args.no_videos
    )
    if args.out and folder is None:
        write_json(args.out, report)
    if folder is not None:
        say(f"{folder / 'index.html'} shows what was made")
    _print(report, [] if args.json else table_lines(report))
    return 0


def _check(args: argparse.Namespace) -> Path | None:
    """The result folder, if there is one; refuses what does not go together."""
    from motionstream.tracking.tracker import NEED_WEIGHTS, USUAL_OPTIONS, make_tracker

    if args.suite == "drags" and args.scenes == 1:
        raise ValueError("--scenes 1 must be at least 2 for suite drags, which compares two halves of them")
    if args.weights and args.preset != "nano":
        raise ValueError(f"--preset {args.preset} and --weights {args.weights} both name a model: give one of them")
    if args.suite not in ("drags", "speed", "horizon") or args.tracker in NEED_WEIGHTS:
        USUAL_OPTIONS[args.tracker] = tracker_options(args)
        make_tracker(args.tracker)  # what is missing is said before a model is loaded, or a folder begun
    if args.out is None:
        return None
    if args.out.suffix == ".json":
        from motionstream.media.output import check_output

        args.out.parent.mkdir(parents=True, exist_ok=True)
        check_output(args.out, (".json",))  # now, not after hours of measuring
        return None
    if args.out.is_file():
        raise ValueError(f"--out {args.out} is a file: name a folder, or a .json file")
    return args.out


def _compare(args: argparse.Namespace) -> int:
    from motionstream.eval.compare import compare_runs, comparison_lines

    report = compare_runs(*args.compare)
    _print(report, [] if args.json else comparison_lines(report))
    return 0


def _print(report: dict[str, Any], lines: list[str]) -> None:
    for line in lines:
        print(line)
    print(json.dumps(report))


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**31 for part in parts) or len({int(part) for part in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be different whole numbers with commas, such as 0,1,2")
    return tuple(int(part) for part in parts)


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and 1 <= int(rows) <= 500 and 1 <= int(columns) <= 500):
        raise argparse.ArgumentTypeError(f"{text!r} must be ROWSxCOLUMNS, such as 12x16")
    return int(rows), int(columns)
