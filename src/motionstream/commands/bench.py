"""``motionstream bench``: streaming speed and memory; the last line is JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="nano", help="preset, or a folder with weights")
    parser.add_argument("--chunks", type=int, default=40, help="chunks to stream; 300 or more also report drift")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--device")
    parser.add_argument("--dtype")


def run(args: argparse.Namespace) -> int:
    from motionstream.bench import bench_stream

    report = bench_stream(args.preset, args.chunks, device=args.device, dtype=args.dtype)
    if not args.json:
        for key, value in report.items():
            print(f"  {key:<20}{value}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))
    return 0
