"""Predicted against measured memory: ``python benchmarks/memory.py [--preset P] [--steps S] [--layers N] [--frames N]``.

Needs no weights: they are random. With a CUDA device the measured figure is ``torch.cuda.max_memory_allocated`` beside what
was held before the step; on a processor it is a trace of the tensors made. The last line is JSON.
"""

import argparse
import json
import sys
from dataclasses import replace

import torch

from motionstream.device import choose_compute
from motionstream.models.memory_measure import measure_denoise, measure_teacher
from motionstream.models.memory_plan import MemoryOptions
from motionstream.models.memory_rehearsal import rehearse_denoise, rehearse_teacher
from motionstream.stream.find_weights import find_config


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="nano", help="preset, or a folder with a config.json")
    parser.add_argument("--steps", choices=("stream", "teacher", "both"), default="both", help="what is measured")
    parser.add_argument("--layers", type=int, help="fewer blocks than the preset's, for small GPUs")
    parser.add_argument("--frames", type=int, help="of a training clip (default: the preset's)")
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    args = parser.parse_args()
    compute, config = choose_compute(args.device, args.dtype), find_config(args.preset, random_weights=True)[0]
    if args.layers:
        config = replace(config, model=replace(config.model, num_layers=args.layers))
    dtype = str(compute.dtype).removeprefix("torch.")
    frames, rows = args.frames or config.clip_frames, []
    if args.steps != "teacher":
        for weights in ("float32", "bfloat16") if dtype == "bfloat16" else ("float32",):
            options = MemoryOptions(compute=dtype, weights=weights)
            predicted = rehearse_denoise(config, getattr(torch, weights), compute.dtype).peak
            rows.append((f"denoise, {weights} weights", predicted, measure_denoise(config, options, compute)))
    if args.steps != "stream":
        predicted = rehearse_teacher(config, frames, 1, compute.dtype, False).peak
        options = MemoryOptions(compute=dtype)
        rows.append((f"teacher, {frames} frames", predicted, measure_teacher(config, options, frames, compute)))
    report = {"preset": config.name, "layers": config.model.num_layers, "device": str(compute.device), "dtype": dtype}
    report |= {"torch": torch.__version__, "hardware": compute.reason, "steps": {}}
    if compute.device.type == "cuda":
        report["hardware"] = torch.cuda.get_device_name(compute.device)
    for name, predicted, found in rows:
        error = 100 * (predicted - found) / found
        print(f"{name:28} predicted {predicted / 2**20:10.1f} MiB   measured {found / 2**20:10.1f} MiB   {error:+.1f} %")
        report["steps"][name] = {"predicted": predicted, "measured": found, "error_pct": round(error, 2)}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
