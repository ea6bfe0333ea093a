"""``motionstream info [preset]``: device and why, sizes, parameters; with ``--for`` the memory that a purpose needs."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments, fp8_argument, size_argument, whole_number
from motionstream.commands.streaming import check_fp8
from motionstream.errors import UserError

if TYPE_CHECKING:
    from motionstream.config import PresetConfig
    from motionstream.device import Compute
    from motionstream.models.memory_plan import MemoryOptions

EPILOG = """\
example:
  motionstream info nano --json
  motionstream info wan2.1-1.3b --for stream --fit 24GB
"""
MEMORY_UNITS = {"GB": 10**9, "MB": 10**6, "GIB": 2**30, "MIB": 2**20}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="one preset (default: all of them)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    size_argument(parser)
    parser.add_argument(
        "--for", dest="purpose", choices=("stream", "teacher", "distill"), help="predict the memory this needs"
    )
    parser.add_argument("--gpus", type=whole_number(1, 1024), metavar="N", help="with --for (default: 1)")
    parser.add_argument("--batch", type=whole_number(1, 1024), metavar="N", help="clips a GPU, with --for (default: 1)")
    fp8_argument(parser, "with --for stream: as streamed with --fp8, either form")
    parser.add_argument("--fit", type=memory_size, metavar="SIZE", help="memory of a GPU, such as 24GB; with --for")
    device_arguments(parser)


def memory_size(text: str) -> int:
    """An argparse type: a size of memory -> bytes; GB is 10**9, GiB is 2**30.

    >>> memory_size("24GB")
    24000000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(GB|MB|GiB|MiB)", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * MEMORY_UNITS[match[2].upper()]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a size of memory such as 24GB, 80GiB or 500MB")
    return size


def run(args: argparse.Namespace) -> int:
    import torch

    import motionstream
    from motionstream.device import choose_compute
    from motionstream.presets import PRESETS, preset

    presets = [preset(name) for name in ([args.preset] if args.preset else PRESETS)]
    if args.size is not None:
        if args.preset is None:
            raise UserError("--size needs a preset: motionstream info wan2.1-1.3b --size 832x480")
        presets = [presets[0].sized(*args.size)]
    if args.purpose is not None:
        if args.preset is None:
            raise UserError("--for needs a preset: motionstream info wan2.1-1.3b --for stream")
        return plan(args, presets[0])
    if args.fit is not None:
        raise UserError("--fit needs a purpose: add --for stream, --for teacher or --for distill")
    for name in ("gpus", "batch"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name} needs a purpose: add --for teacher or --for distill")
    if args.fp8:
        raise UserError("--fp8 needs a purpose: add --for stream")
    compute = choose_compute(args.device, args.dtype)
    facts: dict[str, Any] = {
        "version": motionstream.__version__,
        "torch": torch.__version__,
        "device": str(compute.device),
        "dtype": str(compute.dtype).removeprefix("torch."),
        "reason": compute.reason,
        "threads": torch.get_num_threads(),
        "presets": {config.name: describe(config, compute) for config in presets},
    }
    if args.json:
        print(json.dumps(facts))
        return 0
    print(f"motionstream {facts['version']}, torch {facts['torch']}, {facts['threads']} threads")
    print(f"compute: {compute.reason}")
    for name, sizes in facts["presets"].items():
        print(f"\n{name}")
        for line in _lines(sizes):
            print(f"  {line}")
    return 0


def describe(config: PresetConfig, compute: Compute) -> dict[str, Any]:
    """Sizes of a preset. Nothing is loaded: models are built on torch's meta device and their steps rehearsed.

    Returns:
        A dictionary for JSON; ``parameters`` counts the stored numbers, the autoencoder's fixed matrices included, and
        ``memory`` is in bytes to stream: weights, the cache, and what is predicted to be alive at once in between.
    """
    from motionstream.models.memory_plan import plan_memory, vae_parameters

    geometry, cache = config.geometry, config.cache
    options = _options(config, str(compute.dtype).removeprefix("torch."))
    plan = plan_memory(config, "stream", options=options)
    parts = plan.parts
    weights = sum(parts[name] for name in ("dit", "vae", "text_encoder", "picture_encoder"))
    itemsize = 2 if options.weights == "bfloat16" else 4
    return {
        "size": [geometry.width, geometry.height],
        "fps": geometry.fps,
        "latent": [config.model.latent_channels, geometry.latent_height, geometry.latent_width],
        "tokens_per_latent_frame": geometry.tokens_per_frame,
        "dit": {"dim": config.model.dim, "layers": config.model.num_layers, "heads": config.model.num_heads},
        "cache": cache.tag,
        "chunk_frames": list(config.frames_of_chunks),
        "steps": len(config.sample.student_sigmas),
        "parameters": {"dit": parts["dit"] // itemsize, "vae": sum(vae_parameters(config, "full").values())}
        | _recall_parameters(config),
        "memory": {
            "weights": weights,
            "cache": parts["cache"],
            "activations": plan.peak - weights - parts["cache"],
            "total": plan.peak,
        },
    }


def _recall_parameters(config: PresetConfig) -> dict[str, int]:
    """Of what gives frames the picture's own pixels back, for presets whose weights may have it."""
    import torch

    from motionstream.models.recall import PictureRecall

    if config.vae_kind != "nano" or config.model.tracks.code != "origin":
        return {}
    with torch.device("meta"):
        return {"recall": sum(p.numel() for p in PictureRecall(config.vae.width_out).parameters())}


def _options(config: PresetConfig, compute: str) -> MemoryOptions:
    """nano's weights stay float32; Wan's are held in bfloat16 where products are."""
    from motionstream.models.memory_plan import MemoryOptions

    low = config.vae_kind != "nano" and compute == "bfloat16"
    return MemoryOptions(compute=compute, weights="bfloat16" if low else "float32")  # type: ignore[arg-type]


def plan(args: argparse.Namespace, config: PresetConfig) -> int:
    """Predict the memory of a purpose, and with ``--fit`` what to give up."""
    from motionstream.device import named_dtype
    from motionstream.models.memory_fit import fit_memory, gigabytes
    from motionstream.models.memory_plan import plan_memory

    if args.fp8 and args.purpose != "stream":
        raise UserError(f"--fp8 is for streaming, and --for {args.purpose} trains: leave it out or use --for stream")
    check_fp8(args, config)
    if args.batch is not None and args.purpose == "stream":
        raise UserError(f"--batch {args.batch} is for training, and --for stream makes one video: leave it out")
    if args.device is not None:
        raise UserError(f"--device {args.device} is not asked for a prediction: leave it out (--fit says how much memory)")
    name, gpus = args.dtype or "bfloat16", args.gpus or 1
    named_dtype(name)
    options = replace(_options(config, name), batch=args.batch or 1, fp8=args.fp8 is not None)
    words = None
    if args.fit is None:
        made = plan_memory(config, args.purpose, gpus=gpus, options=options)
    else:
        made, words = fit_memory(config, args.purpose, args.fit, gpus=gpus, options=options)
    if args.json:
        print(json.dumps(asdict(made) | {"total": made.total, "fits": words}))
        return 0
    per = f"each of {made.gpus} GPUs" if made.gpus > 1 else "one GPU"
    clip = f", clips of {made.num_frames} frames, batch {options.batch}" if made.num_frames else ""
    print(f"{made.preset} {made.purpose} on {per}{clip}: predicted, not measured")
    for name, held in made.parts.items():
        if held:
            print(f"  {name.replace('_', ' '):16} {gigabytes(held):>10}")
    print(f"  {'at most at once':16} {gigabytes(made.peak):>10}")
    print(f"  {'reserve':16} {gigabytes(made.reserve):>10}  CUDA context, libraries, allocator (assumed)")
    print(f"  {'total':16} {gigabytes(made.total):>10}")
    for name, held in made.host.items():
        print(f"  {name.replace('_', ' '):16} {gigabytes(held):>10}  in the processor's memory, while it runs")
    if words is not None:
        print(words)
    return 0


def _lines(sizes: dict[str, Any]) -> list[str]:
    width, height = sizes["size"]
    channels, h, w = sizes["latent"]
    first, later = sizes["chunk_frames"]
    dit, parameters = sizes["dit"], sizes["parameters"]
    memory = {part: _size(number) for part, number in sizes["memory"].items()}
    return [
        f"video       {width}x{height} pixels, {sizes['fps']:g} fps",
        f"latents     {w}x{h} cells of {channels} numbers, {sizes['tokens_per_latent_frame']} tokens a latent frame",
        f"model       {dit['layers']} layers of width {dit['dim']}, {dit['heads']} heads; {sizes['steps']} steps",
        f"chunks      cache {sizes['cache']}; {first} frames first, then {later}",
        f"parameters  DiT {_count(parameters['dit'])}, VAE {_count(parameters['vae'])}"
        + (f", recall {_count(parameters['recall'])}" if "recall" in parameters else ""),
        f"memory      about {memory['total']} to stream, beside torch itself (weights {memory['weights']}, "
        f"cache {memory['cache']}, the rest predicted)",
    ]


def _count(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.1f} k"


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number < 2**30 else f"{number / 2**30:.2f} GiB"
