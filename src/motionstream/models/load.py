"""Weights on disk: safetensors only, shapes checked, one sentence when a file does not fit."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn


def save_weights(path: Path, module: nn.Module, *, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write ``module``'s state as safetensors, atomically.

    Args:
        dtype: floating tensors are stored in this type (float16 halves the file); None keeps theirs.
    """
    tensors = {}
    for name, value in module.state_dict().items():
        kept = value.to(dtype) if dtype is not None and value.is_floating_point() else value
        tensors[name] = kept.detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"format": "pt", "note": note})
    partial.chmod(0o644)
    os.replace(partial, path)


def load_weights(path: Path, module: nn.Module) -> None:
    """Fill ``module`` from a safetensors file; parameters keep the module's dtype.

    Raises:
        ValueError: missing or damaged file, or tensors that are missing, unexpected or of another shape.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is not a .safetensors file: other formats can run code when loaded, convert it first")
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist")
    own = module.state_dict()
    try:
        with safe_open(path, framework="pt") as stored:
            names = set(stored.keys())
            missing, unexpected = sorted(own.keys() - names), sorted(names - own.keys())
            if missing or unexpected:
                listed = ", ".join((["-" + n for n in missing] + ["+" + n for n in unexpected])[:6])
                raise ValueError(
                    f"{path} holds another architecture: {len(missing)} tensors missing, {len(unexpected)} unexpected "
                    f"({listed}); use the config.json it was saved with"
                )
            for name, target in own.items():
                value = stored.get_tensor(name)
                if value.shape != target.shape:
                    raise ValueError(
                        f"{path}: {name} has shape {tuple(value.shape)}, the model needs {tuple(target.shape)}; "
                        "use the config.json it was saved with"
                    )
                target.copy_(value)
    except SafetensorError as error:
        raise ValueError(f"weights file {path} is damaged ({error}): download or train it again") from None
