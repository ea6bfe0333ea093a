"""``motionstream bench``: streaming speed and memory; the last line is JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from motionstream.commands.options import say
from motionstream.commands.streaming import load_options, wan_arguments, weights_named

EPILOG = """\
examples:
  motionstream bench --chunks 1000
  motionstream bench --preset wan2.1-1.3b --random-weights --chunks 30 --out bench.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", help="preset, or a folder with weights (default: nano)")
    parser.add_argument("--weights", metavar="DIR", help="a folder with weights; --preset must agree with it, if given")
    parser.add_argument("--random-weights", action="store_true", help="no weights: the speed is the same, the video is none")
    parser.add_argument("--chunks", type=int, default=40, help="chunks to stream; 300 or more also report drift")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    wan_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from motionstream.bench import bench_stream

    if args.random_weights:
        say("warning: the weights are random: only speed and memory mean anything")
    name = weights_named(args)
    report = bench_stream(name, args.chunks, device=args.device, dtype=args.dtype, **load_options(args))
    if not args.json:
        for key, value in report.items():
            print(f"  {key:<20}{value}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))
    return 0
