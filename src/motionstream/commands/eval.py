"""``motionstream eval``: run a built-in suite and print one table and one JSON line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", choices=["drags"], default="drags")
    parser.add_argument("--preset", default="nano", help="preset, or a folder with weights")
    parser.add_argument("--scenes", type=int, default=64, help="held-out scenes (64 is the published number)")
    parser.add_argument("--late-scenes", type=int, default=16, help="scenes of the part that grabs at chunk 20")
    parser.add_argument("--quick", action="store_true", help="only brush, single, dropped, static, truth")
    parser.add_argument("--no-teacher", action="store_true", help="skip the bidirectional teacher")
    parser.add_argument("--json", action="store_true", help="no table, only the last line")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--device")
    parser.add_argument("--dtype")


def run(args: argparse.Namespace) -> int:
    if args.scenes < 2 or args.late_scenes < 1:
        raise ValueError(f"--scenes {args.scenes} and --late-scenes {args.late_scenes} must be at least 2 and 1")
    from motionstream.eval.drags import evaluate_drags
    from motionstream.eval.teacher import teacher_frames
    from motionstream.stream.engine import load_engine

    engine = load_engine(args.preset, device=args.device, dtype=args.dtype)
    teacher = None if args.no_teacher else teacher_frames(args.preset, engine)
    report = evaluate_drags(engine, scenes=args.scenes, late_scenes=args.late_scenes, teacher=teacher, quick=args.quick)
    if not args.json:
        print("median error of the dragged thing, % of image width")
        for name, value in _rows(report):
            print(f"  {name:<32}{value['median_pct']:>8.2f}   (mean {value['mean_pct']:.2f}, n {value['n']})")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))
    return 0


def _rows(report: dict, prefix: str = "") -> list[tuple[str, dict]]:
    rows: list[tuple[str, dict]] = []
    for key, value in report.items():
        if isinstance(value, dict):
            rows += [(prefix + key, value)] if "median_pct" in value else _rows(value, f"{prefix}{key} ")
    return rows
