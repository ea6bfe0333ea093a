"""Parts of a stream alone, at a preset's shapes: ``python benchmarks/kernels.py PART [--preset P] [--layers N]``.

    attention  every attention that is present, tested and timed (nn/attention_choice.py); what each takes, or why it cannot
    fp8        the block's products in the compute type against FP8 with a size per row, rounding not included; error
    decode     a chunk through the decoder
    train      forward and backward of flow matching on noise
    profile    the operations that take longest in three chunks of a stream, and all of them together
    forms      how far latents of three chunks lie from the plain form's, for kernels, compiled and FP8 (relative RMS)

Weights are random. Other work on the machine makes times longer. The last line is JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motionstream.bench.contestants import Ours
from motionstream.bench.counts import forward_flop, matmul_ceiling
from motionstream.bench.machine import environment
from motionstream.config import PresetConfig
from motionstream.device import Compute, choose_compute, synchronize
from motionstream.models.dit import WanDiT
from motionstream.models.memory_rehearsal import blank_condition, flow_step, grid_of
from motionstream.nn.attention_choice import choose_attention
from motionstream.nn.fp8 import Fp8Product, Rows, rounded
from motionstream.nn.products import Product
from motionstream.stream.compute_path import ComputePath
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.find_weights import find_config

RUNS = 10


def milliseconds(work: Callable[[], Any], device: torch.device, runs: int = RUNS) -> float:
    """Median of ``runs`` after two that do not count."""
    spent = []
    for run in range(runs + 2):
        synchronize(device)
        begun = time.perf_counter()
        work()
        synchronize(device)
        if run >= 2:
            spent.append(1000 * (time.perf_counter() - begun))
    return statistics.median(spent)


def tokens_of(config: PresetConfig) -> tuple[int, int]:
    """Tokens of a chunk, and those that it attends to."""
    rows, columns = grid_of(config)
    return config.cache.chunk_frames * rows * columns, config.cache.slots * rows * columns


def time_attention(engine: StreamEngine) -> dict[str, Any]:
    queries, keys = tokens_of(engine.preset)
    model = engine.preset.model
    choice = choose_attention(
        "auto", queries=queries, keys=keys, heads=model.num_heads, head_dim=model.head_dim, compute=engine.compute
    )
    flop = 4 * queries * keys * model.dim
    rates = {name: round(flop / ms / 1e9, 1) for name, ms in choice.found.items() if isinstance(ms, float) and ms}
    return {"shape": [queries, keys, model.num_heads, model.head_dim], "found": choice.found, "tflop_per_s": rates}


@torch.inference_mode()
def time_fp8(engine: StreamEngine) -> dict[str, Any]:
    model, compute = engine.preset.model, engine.compute
    tokens, _ = tokens_of(engine.preset)
    shapes = {"qkv": (model.dim, 3 * model.dim), "out": (model.dim, model.dim)}
    shapes |= {"widen": (model.dim, model.ffn_dim), "narrow": (model.ffn_dim, model.dim)}
    generator, report = torch.Generator(compute.device).manual_seed(0), {}
    for name, (inner, outer) in shapes.items():

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=compute.device)

        x, weight = random(tokens, inner).to(compute.dtype), (random(outer, inner) * inner**-0.5).to(compute.dtype)
        plain = milliseconds(lambda x=x, weight=weight: x @ weight.T, compute.device)
        row: dict[str, Any] = {"shape": [tokens, inner, outer], "ms": round(plain, 4)}
        try:
            product = Fp8Product.of(Product(weight, torch.zeros(outer, dtype=torch.bfloat16, device=compute.device)))
            rows = rounded(x)

            def fp8(rows: Rows = rows, product: Fp8Product = product) -> Tensor:
                return product(rows, 1)[0]

            exact = x.float() @ weight.float().T
            row["fp8_error"] = round(float((fp8().float() - exact).norm() / exact.norm()), 4)
            row["fp8_ms"] = round(milliseconds(fp8, compute.device), 4)
            row["ratio"] = round(plain / row["fp8_ms"], 3)
        except Exception as error:  # an older GPU, or none
            row["fp8"] = " ".join(str(error).split())[:160]
        report[name] = row
    return {"products": report}


def time_decode(engine: StreamEngine) -> dict[str, Any]:
    geometry, size, device = engine.preset.geometry, engine.preset.cache.chunk_frames, engine.compute.device
    channels = engine.preset.model.latent_channels
    latents = torch.randn(1, size, channels, geometry.latent_height, geometry.latent_width, device=device)
    with torch.inference_mode(), engine.compute.autocast():
        _, memory = engine.frames(latents, None)
        spent = milliseconds(lambda: engine.frames(latents, memory), device)
    return {"decoder": engine.decoder, "frames": size * geometry.t_stride, "ms": round(spent, 2)}


def time_train(config: PresetConfig, compute: Compute, frames: int) -> dict[str, Any]:
    latent_frames = config.geometry.latent_frames(frames)
    with compute.device:
        model = WanDiT(config.model, config.geometry.t_stride)

        def step() -> None:
            with compute.autocast():
                loss = flow_step(model, config, blank_condition(model, config, 1, latent_frames), 1, latent_frames)
            loss.backward()
            model.zero_grad(set_to_none=True)

        spent = milliseconds(step, compute.device, runs=5)
    rows, columns = grid_of(config)
    flop = 3 * forward_flop(config.model, latent_frames * rows * columns, latent_frames * rows * columns)
    return {"frames": frames, "ms": round(spent, 1), "tflop_per_s": float(f"{flop / spent / 1e9:.4g}")}


def profile(engine: StreamEngine) -> dict[str, Any]:
    cuda = engine.compute.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * cuda
    ours = Ours(engine)
    for _ in range(8):
        ours.chunk()
    with torch.profiler.profile(activities=kinds) as found:
        for _ in range(3):
            ours.chunk()
        engine.synchronize()
    rows = found.key_averages()
    print(rows.table(sort_by="self_device_time_total" if cuda else "self_cpu_time_total", row_limit=25))

    def spent(row: Any) -> float:
        return (row.self_device_time_total if cuda else row.self_cpu_time_total) / 3000

    # On a GPU the operations that began a kernel may be told its time once more.
    total = sum(spent(row) for row in rows if not cuda or row.device_type == torch.autograd.DeviceType.CUDA)
    longest = sorted(rows, key=spent, reverse=True)[:15]
    told = {row.key[:80]: [round(spent(row), 3), round(row.count / 3, 1)] for row in longest}
    return {"total_ms_per_chunk": round(total, 1), "ms_per_chunk": told}


def compare_forms(preset: str, device: str | None, dtype: str | None, layers: int | None) -> dict[str, Any]:
    """Weights and noise are the same in all. What a chunk differs by goes into the next through the cache."""
    made: dict[str, list[Tensor]] = {}
    ran: dict[str, str] = {}
    ways: dict[str, dict[str, Any]] = {name: {"rows": name} for name in ("plain", "compiled", "kernels")}
    for name, way in (ways | {"fp8_early": {"fp8": "early"}, "fp8_all": {"fp8": "all"}}).items():
        path = ComputePath(graphs=False, **way)
        engine = load_engine(preset, device=device, dtype=dtype, random_weights=True, layers=layers, path=path)
        ours, made[name] = Ours(engine), []
        for _ in range(3):
            ours.chunk()
            assert ours.latents is not None
            made[name].append(ours.latents.float().cpu())
        ours.close()
        ran[name] = engine.describe_path()["path"]
    plain = made["plain"]

    def apart(others: list[Tensor]) -> list[float]:
        return [float(f"{(a - b).norm() / b.norm():.3g}") for a, b in zip(others, plain, strict=True)]

    return {"ran": ran, "apart": {name: apart(latents) for name, latents in made.items() if name != "plain"}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("attention", "fp8", "decode", "train", "profile", "forms"))
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--layers", type=int, help="fewer blocks than the preset's")
    parser.add_argument("--frames", type=int, default=21, help="pixel frames of the clip of train (default: 21)")
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    args = parser.parse_args()
    shallow = {"attention": 1, "fp8": 1, "decode": 1, "train": 1, "forms": 1}.get(args.part)  # these need no depth
    layers = args.layers or (4 if args.part == "train" else shallow)
    engine = load_engine(
        args.preset,
        device=args.device,
        dtype=args.dtype,
        random_weights=True,
        layers=1 if args.part in ("train", "forms") else layers,
        path=ComputePath(graphs=args.part != "profile"),  # the profiler and recorded graphs do not always agree
    )
    if args.part == "train":
        config = find_config(args.preset, random_weights=True)[0]
        config = replace(config, model=replace(config.model, num_layers=layers))
        report = {"layers": layers} | time_train(config, choose_compute(args.device, args.dtype), args.frames)
    elif args.part == "forms":
        report = compare_forms(args.preset, args.device, args.dtype, args.layers)
    elif args.part == "profile":
        engine.warmup()
        report = profile(engine)
    else:
        report = {"attention": time_attention, "fp8": time_fp8, "decode": time_decode}[args.part](engine)
    ceiling = matmul_ceiling(engine.compute)
    report = {"part": args.part, "preset": engine.preset.name} | report
    report["ceiling_tflop_per_s"] = float(f"{ceiling['flop_per_s'] / 1e12:.4g}")
    print(json.dumps(report | environment(engine)))
    return 0


if __name__ == "__main__":
    # The package by which FlashAttention 3 comes is called as this file is, which would be found in its place.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.exit(main())
