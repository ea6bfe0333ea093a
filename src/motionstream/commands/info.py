"""``motionstream info [preset]``: device and why, sizes, parameters, and the memory streaming needs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments

if TYPE_CHECKING:
    import torch

    from motionstream.config import PresetConfig
    from motionstream.device import Compute

EPILOG = """\
example:
  motionstream info nano --json
"""
WEIGHT_BYTES = 4  # weights stay float32; products of them are taken in the device's type


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="one preset (default: all of them)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    device_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import torch

    import motionstream
    from motionstream.device import choose_compute
    from motionstream.presets import PRESETS, preset

    presets = [preset(name) for name in ([args.preset] if args.preset else PRESETS)]
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
    """Sizes of a preset. Nothing is allocated: the models are built on torch's meta device.

    Returns:
        A dictionary for JSON; ``parameters`` counts the stored numbers, the autoencoder's fixed matrices included, and
        ``memory`` is in bytes: weights, the cache, and an estimate of what is alive at once in between.
    """
    import torch

    from motionstream.models.dit import WanDiT
    from motionstream.models.vae import NanoVAE
    from motionstream.nn.kv_cache import SinkWindowCache

    geometry, cache = config.geometry, config.cache
    grid = (geometry.latent_height // geometry.patch, geometry.latent_width // geometry.patch)
    with torch.device("meta"):
        models: dict[str, torch.nn.Module] = {
            "dit": WanDiT(config.model, geometry.t_stride),
            "vae": NanoVAE(config.vae),
        }
    meta = torch.device("meta")
    buffers = SinkWindowCache(config.model, cache, batch=1, grid=grid, device=meta, dtype=compute.dtype)
    parameters = {name: sum(t.numel() for t in model.state_dict().values()) for name, model in models.items()}
    memory = {
        "weights": WEIGHT_BYTES * sum(parameters.values()),
        "cache": buffers.nbytes,
        "activations": _activation_bytes(config, compute.dtype),
    }
    frames = [geometry.frame_span(k * cache.chunk_frames, (k + 1) * cache.chunk_frames) for k in (0, 1)]
    return {
        "size": [geometry.width, geometry.height],
        "fps": geometry.fps,
        "latent": [config.model.latent_channels, geometry.latent_height, geometry.latent_width],
        "tokens_per_latent_frame": geometry.tokens_per_frame,
        "dit": {"dim": config.model.dim, "layers": config.model.num_layers, "heads": config.model.num_heads},
        "cache": cache.tag,
        "chunk_frames": [stop - start for start, stop in frames],
        "steps": len(config.sample.student_sigmas),
        "parameters": parameters,
        "memory": {**memory, "total": sum(memory.values())},
    }


def _activation_bytes(config: PresetConfig, dtype: torch.dtype) -> int:
    """Estimate: the larger of a DiT block (residual, qkv, modulated copies, hidden layer) and the VAE's last stage."""
    geometry, model, vae = config.geometry, config.model, config.vae
    tokens = config.cache.chunk_frames * geometry.tokens_per_frame
    block = tokens * (4 * 3 * model.dim + dtype.itemsize * (5 * model.dim + 2 * model.ffn_dim))
    frames = config.cache.chunk_frames * geometry.t_stride
    cells = frames * geometry.latent_height * geometry.latent_width
    half = 4 * cells  # at twice the latent resolution
    decoder = half * vae.width_out * (4 + 4 * dtype.itemsize) + cells * vae.stride**2 * 3 * 4 * 3
    return max(block, decoder)


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
        f"parameters  DiT {_count(parameters['dit'])}, VAE {_count(parameters['vae'])}",
        f"memory      about {memory['total']} to stream, beside torch itself (weights {memory['weights']}, "
        f"cache {memory['cache']}, the rest an estimate)",
    ]


def _count(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.1f} k"


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number < 2**30 else f"{number / 2**30:.2f} GiB"
