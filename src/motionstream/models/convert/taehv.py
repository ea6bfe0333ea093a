"""TAEHV's small autoencoder: recognised by its keys; every form of it has the same names, so only the container changes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch

from motionstream.models.convert.source import Checkpoint
from motionstream.models.convert.write import Plan, plan_bytes, write_pickle, write_safetensors

_NAME = re.compile(r"(encoder|decoder)\.\d+\.(conv\.(\d\.)?)?(weight|bias)")
STEM = "tiny_vae"


def is_taehv(checkpoint: Checkpoint) -> bool:
    """Whether names and shapes are those of an encoder and decoder in TAEHV's form."""
    entries = checkpoint.entries
    if "decoder.1.weight" not in entries or len(entries["decoder.1.weight"].shape) != 4:
        return False
    return all(_NAME.fullmatch(name) for name in entries)


def taehv_sizes(checkpoint: Checkpoint) -> tuple[int, int]:
    """Latent channels and pixel patch: (16, 1) for Wan 2.1, (48, 2) for Wan 2.2."""
    channels = checkpoint.entries["decoder.1.weight"].shape[1]
    last = max((n for n in checkpoint.entries if re.fullmatch(r"decoder\.\d+\.bias", n)), key=lambda n: int(n.split(".")[1]))
    return channels, math.isqrt(checkpoint.entries[last].shape[0] // 3)


def plan_taehv(checkpoint: Checkpoint, dtype: torch.dtype | None) -> Plan:
    """Shape and type of every tensor to write, under its own name; None keeps the types."""
    entries = checkpoint.entries
    if packed := [name for name, entry in entries.items() if entry.dtype is None]:
        raise ValueError(f"{checkpoint.path} holds {entries[packed[0]].stored_as} tensors: give the float16 or float32 file")
    return {name: (entry.shape, dtype or entry.dtype or torch.float32) for name, entry in entries.items()}


def write_taehv(checkpoint: Checkpoint, target: Path, plan: Plan) -> list[Path]:
    """Write all tensors of ``plan``: ``.pth`` as TAEHV's own files, else safetensors (a folder gets ``tiny_vae``)."""
    values = ((name, checkpoint.read(name).to(dtype)) for name, (_, dtype) in plan.items())
    if target.suffix in (".pt", ".pth"):
        write_pickle(target, dict(values), plan_bytes(plan))
        return [target]
    folder, stem = (target.parent, target.stem) if target.suffix == ".safetensors" else (target, STEM)
    return write_safetensors(folder, stem, plan, values)
