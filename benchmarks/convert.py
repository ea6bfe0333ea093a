"""Convert and load a full-size checkpoint of random weights: ``python benchmarks/convert.py [--preset NAME] [--dir DIR]``.

Writes shards under diffusers' names in bfloat16, converts them to ours and loads the result, each in a process of its
own, in a temporary folder that needs twice the checkpoint's size on disk. ``peak_ratio`` is the largest resident set of
such a process over the checkpoint's size, Python and torch included; the aim is below 1.3. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from motionstream.device import peak_memory_bytes
from motionstream.models.convert.fit import expected_shapes
from motionstream.models.convert.keys import to_diffusers
from motionstream.models.convert.transfer import Conversion, convert
from motionstream.models.convert.write import Plan, write_safetensors
from motionstream.models.load import load_model
from motionstream.presets import preset

SHARD_BYTES = 10**9


def write_checkpoint(name: str, folder: Path) -> int:
    """Random bfloat16 weights under diffusers' names; returns their bytes."""
    shapes = {to_diffusers(ours) or ours: shape for ours, shape in expected_shapes(preset(name)).items()}
    plan: Plan = {theirs: (shape, torch.bfloat16) for theirs, shape in shapes.items()}
    generator = torch.Generator().manual_seed(0)

    def values() -> Iterator[tuple[str, Tensor]]:
        for theirs, (shape, dtype) in plan.items():
            yield theirs, torch.empty(shape, dtype=dtype).normal_(std=0.02, generator=generator)

    write_safetensors(folder, "diffusion_pytorch_model", plan, values(), SHARD_BYTES)
    return sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in plan.values())


def measure(step: str, name: str, folder: Path) -> dict[str, float]:
    """One step in this process: seconds and peak resident bytes."""
    begun = time.perf_counter()
    if step == "convert":
        convert(Conversion(source=folder / "theirs", target=folder / "ours", role="student"))
    else:
        model = load_model(preset(name), folder / "ours" / "student.safetensors")
        float(sum(p.sum(dtype=torch.float32) for p in model.parameters()))  # every page has been touched
    return {"s": time.perf_counter() - begun, "peak_bytes": peak_memory_bytes(torch.device("cpu"))}


def in_a_process(step: str, name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--step", step, "--preset", name, "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="wan2.1-1.3b-t2v")
    parser.add_argument("--dir", type=Path, help="where to make the temporary folder")
    parser.add_argument("--step", choices=("convert", "load"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measure(args.step, args.preset, args.dir)))
        return 0
    with tempfile.TemporaryDirectory(dir=args.dir) as temporary:
        folder = Path(temporary)
        size = write_checkpoint(args.preset, folder / "theirs")
        print(f"{args.preset}: {size / 1e9:.2f} GB in {len(list((folder / 'theirs').glob('*.safetensors')))} files")
        report: dict[str, object] = {
            "preset": args.preset,
            "checkpoint_gb": round(size / 1e9, 3),
            "torch": torch.__version__,
        }
        for step in ("convert", "load"):
            found = in_a_process(step, args.preset, folder)
            ratio = found["peak_bytes"] / size
            print(f"{step}: {found['s']:.1f} s, peak {found['peak_bytes'] / 1e9:.2f} GB, {ratio:.2f} of the checkpoint")
            report[step] = {"s": round(found["s"], 2), "peak_ratio": round(ratio, 3)}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
