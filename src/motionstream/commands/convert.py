"""``motionstream convert SRC DST``: checkpoints that people have -> ours, and back (see docs/wan.md)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from motionstream.commands.options import positive_number
from motionstream.errors import UserError

if TYPE_CHECKING:
    from motionstream.models.convert.fit import Fit
    from motionstream.models.convert.transfer import Report

EPILOG = """\
examples:
  motionstream convert Wan2.1-T2V-1.3B/ weights/t2v                              original Wan, diffusers or ComfyUI
  motionstream convert self_forcing_dmd.pt weights/t2v                           the averaged generator, as the student
  motionstream convert Wan2.1-Fun-1.3B-InP/ weights/tracks --preset wan2.1-1.3b  adds track channels, output unchanged
  motionstream convert longlive_base.pt weights/longlive --lora lora.pt          merged
  motionstream convert weights/t2v out/ --to diffusers                           back
"""
FORMS = ("ours", "wan", "diffusers", "comfy", "self-forcing")
DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SRC", help="a checkpoint: a file, or a folder with one model")
    parser.add_argument("target", type=Path, metavar="DST", help="a folder (or a file, for other forms than ours)")
    parser.add_argument("--to", choices=FORMS, default="ours", help="form to write (default: ours)")
    parser.add_argument("--preset", metavar="NAME", help="preset, or folder with our config.json (default: by its sizes)")
    parser.add_argument(
        "--role", choices=("student", "teacher"), help="which of a folder of ours it is (default: student for a generator)"
    )
    parser.add_argument("--part", metavar="NAME", help="dictionary of a .pt file (default: generator_ema, generator, ...)")
    parser.add_argument("--lora", type=Path, metavar="FILE", help="merge this LoRA")
    parser.add_argument(
        "--lora-alpha", type=positive_number, metavar="A", help="its alpha, where not stored (default: rank)"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="type to write (default: as stored)")
    parser.add_argument("--shard-gb", type=positive_number, metavar="GB", help="files of at most this size, and an index")
    parser.add_argument("--allow-partial", action="store_true", help="write although tensors are missing, odd or mis-shaped")
    parser.add_argument("--dry-run", action="store_true", help="say what was found and would be written; write nothing")


def run(args: argparse.Namespace) -> int:
    import torch

    from motionstream.models.convert.transfer import Conversion, convert, read_preset

    if args.lora_alpha is not None and args.lora is None:
        raise UserError("--lora-alpha is of a --lora, and none is given: name its file, or leave --lora-alpha out")
    job = Conversion(
        source=args.source,
        target=args.target,
        to=args.to,
        preset=None if args.preset is None else read_preset(args.preset),
        role=args.role,
        part=args.part,
        lora=args.lora,
        lora_alpha=args.lora_alpha,
        dtype=None if args.dtype is None else getattr(torch, args.dtype),
        allow_partial=args.allow_partial,
        shard_bytes=None if args.shard_gb is None else int(args.shard_gb * 1e9),
    )
    for line in lines(convert(job, dry_run=args.dry_run)):
        print(line)
    return 0


def lines(report: Report) -> list[str]:
    """What a conversion found and did, for people."""
    said = [f"found    {report.kind}"]
    if report.preset is not None:
        said.append(f"preset   {report.preset.name}" + (f", as the {report.role}" if report.role else ""))
    if report.merged:
        said.append(f"merged   {report.merged} LoRA modules")
    if report.fit is not None:
        said += _fit_lines(report.fit)
    said.append(f"size     {report.nbytes / 1e9:.2f} GB")
    said += [f"wrote    {path}" for path in report.files] or ["wrote    nothing (--dry-run)"]
    return said


def _fit_lines(fit: Fit) -> list[str]:
    said = [f"tensors  {len(fit.copied)} as they are"]
    if fit.added:
        said.append(f"added    {_list(fit.added)}: the output stays what it was until they are trained")
    if fit.missing:
        said.append(f"missing  {_list(fit.missing)}: made anew")
    if fit.unexpected:
        said.append(f"dropped  {_list(fit.unexpected)}")
    if fit.misshaped:
        said.append(f"reshaped {_list(list(fit.misshaped))}: made anew; the patch embedding is cut")
    return said


def _list(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
