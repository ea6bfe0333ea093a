"""TAEHV's small autoencoder: recognised by its keys; every form of it has the same names, so only the container changes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch

from motionstream.models.convert.source import Checkpoint
from motionstream.models.convert.write import Plan, write_safetensors

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


def write_taehv(checkpoint: Checkpoint, target: Path, dtype: torch.dtype | None) -> list[Path]:
    """Write all tensors under their names: ``.pth`` as TAEHV's own files, else safetensors (a folder gets ``tiny_vae``)."""
    entries = checkpoint.entries
    if packed := [name for name, entry in entries.items() if entry.dtype is None]:
        raise ValueError(f"{checkpoint.path} holds {entries[packed[0]].stored_as} tensors: give the float16 or float32 file")
    types = {name: dtype or entry.dtype or torch.float32 for name, entry in entries.items()}
    if target.suffix in (".pt", ".pth"):
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: checkpoint.read(name).to(types[name]) for name in entries}, target)
        return [target]
    folder, stem = (target.parent, target.stem) if target.suffix == ".safetensors" else (target, STEM)
    plan: Plan = {name: (entry.shape, types[name]) for name, entry in entries.items()}
    return write_safetensors(folder, stem, plan, ((name, checkpoint.read(name).to(types[name])) for name in plan))
