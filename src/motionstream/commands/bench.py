"""``motionstream bench``: streaming speed and memory; the last line is JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from motionstream.commands.options import device_arguments, say, whole_number
from motionstream.commands.streaming import check_fp8, load_options, wan_arguments, weights_named

EPILOG = """\
examples:
  motionstream bench --chunks 1000
  motionstream bench --vs naive
  motionstream bench --horizon 10000 --out horizon.json
  motionstream bench --preset wan2.1-1.3b --random-weights --chunks 30 --out bench.json
"""
DEFAULT_CHUNKS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", help="preset, or a folder with weights (default: nano)")
    parser.add_argument("--weights", metavar="DIR", help="a folder with weights; --preset must agree with it, if given")
    parser.add_argument("--random-weights", action="store_true", help="no weights: the speed is the same, the video is none")
    parser.add_argument("--layers", type=whole_number(1, 1000), metavar="N", help="only so many blocks (random weights)")
    parser.add_argument(
        "--chunks", type=int, help=f"chunks to stream; 300 or more also report drift (default: {DEFAULT_CHUNKS})"
    )
    parser.add_argument("--vs", choices=("naive", "diffusers"), help="also measure another engine, in turn with ours")
    parser.add_argument(
        "--rounds", type=whole_number(1, 10_000), default=5, help="rounds of --vs, 4 chunks each (default: 5)"
    )
    parser.add_argument(
        "--horizon", type=whole_number(300, 10_000_000), metavar="N", help="stream N chunks and show that the line is flat"
    )
    path = parser.add_argument_group("how the transformer is run")
    path.add_argument(
        "--attention",
        metavar="WAY",
        default="auto",
        help="auto, sdpa, products, math, flash, efficient, cudnn, cudnn-2, -3, -5, -tail or fa3",
    )
    path.add_argument(
        "--cross", metavar="WAY", default="auto", help="attention to text and picture: auto, kernel, or as --attention"
    )
    path.add_argument("--rows", metavar="WAY", default="auto", help="between products: auto, kernels, compiled or plain")
    path.add_argument("--graphs", action=argparse.BooleanOptionalAction, default=True, help="CUDA graphs (default: yes)")
    path.add_argument("--reference", action="store_true", help="the slow form that training uses")
    parser.add_argument("--no-recall", action="store_true", help="frames as they are decoded, as other engines show them")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--out", type=Path, help="also write the report to this file; a plot of --horizon goes beside it")
    device_arguments(parser)
    wan_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from motionstream.bench.horizon import draw, text_plot
    from motionstream.bench.machine import environment
    from motionstream.bench.stream import check_chunks, load_timed, measure_stream
    from motionstream.bench.versus import measure_versus
    from motionstream.errors import UserError
    from motionstream.files import replacing
    from motionstream.media.output import check_output
    from motionstream.stream.compute_path import ComputePath
    from motionstream.stream.find_weights import find_config

    if args.layers and not args.random_weights:
        raise UserError(f"--layers {args.layers} cuts a network that was trained whole: add --random-weights")
    if args.reference:
        chosen = {name: getattr(args, name) != "auto" for name in ("attention", "cross", "rows")}
        for name, given in (chosen | {"fp8": args.fp8 is not None}).items():
            if given:
                raise UserError(f"--{name} is of the fast path, and --reference takes the slow one: give one of them")
    if args.random_weights:
        say("warning: the weights are random: only speed and memory mean anything")
    if args.horizon and args.chunks is not None:
        raise UserError(f"--horizon {args.horizon} and --chunks {args.chunks} both say how many chunks: give one of them")
    chunks = args.horizon or (DEFAULT_CHUNKS if args.chunks is None else args.chunks)
    check_chunks(chunks)
    if args.out:  # now, not after all is measured
        if not args.out.parent.exists():
            args.out.parent.mkdir(parents=True)
        check_output(args.out, (".json",))
    wanted = {name: getattr(args, name) for name in ("attention", "cross", "rows", "fp8", "graphs")}
    path = ComputePath(fused=not args.reference, **wanted)
    options = load_options(args) | {"layers": args.layers, "path": path, "recall": not args.no_recall}
    if args.fp8:
        known = {key: options[key] for key in ("preset", "size", "random_weights") if key in options}
        check_fp8(args, find_config(weights_named(args), **known)[0])
    engine, loading = load_timed(weights_named(args), device=args.device, dtype=args.dtype, **options)
    report = measure_stream(engine, chunks) | loading
    if args.vs:
        report |= measure_versus(engine, args.vs, args.rounds)
    report |= environment(engine)
    if args.out:
        with replacing(args.out) as unfinished:
            unfinished.write_text(json.dumps(report, indent=2) + "\n")
    lines = args.horizon and "windows" in report  # not where it was stopped before there was one
    picture = draw(report, args.out.with_suffix(".png")) if lines and args.out else None
    if not args.json:
        _print(report)
        if lines:
            print("\n" + (f"  plot: {picture}" if picture else text_plot(report["windows"])))
    print(json.dumps(report))
    return 0


def _print(report: dict[str, Any]) -> None:
    for key, value in report.items():
        if key not in ("windows", "vs"):
            print(f"  {key:<22}{value}")
    if versus := report.get("vs"):
        print(f"\n  against {versus['name']}: {versus['what']}")
        rows = [("ours", versus["ours"]), (versus["name"], versus["theirs"])]
        for name, side in rows:
            split = "  ".join(f"{stage} {ms:.1f}" for stage, ms in side["split_ms"].items())
            print(f"  {name:<14}{side['chunk_ms']['p50']:>9.1f} ms a chunk {side['fps']:>8.2f} fps   {split}")
        low, high = versus["ratio_of_rounds"]
        print(f"  ours is {versus['ratio']:.2f} times as fast (rounds: {low:.2f} to {high:.2f})")
