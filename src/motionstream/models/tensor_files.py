"""Tensors and settings from files that people already have: safetensors, pickles of nothing but tensors, ``config.json``."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

PICKLES = (".pth", ".pt", ".ckpt", ".bin")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a ``config.json``.

    Raises:
        ValueError: not JSON, or not a dictionary of settings; one sentence.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of bytes that are no text
        raise ValueError(f"{path} is not valid JSON ({error}): restore it from where it came") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no settings but a {type(settings).__name__}: restore it from where it came")
    return settings


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file, or of a flat ``.pth`` dictionary, on the CPU.

    Pickles are opened with ``weights_only=True``: a file that would run code is refused, not run.

    Raises:
        ValueError: missing, damaged or foreign file; one sentence.
    """
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"weights file {path} is damaged ({error}): download it again") from None
    if path.suffix not in PICKLES:
        raise ValueError(f"{path} is neither .safetensors nor one of {', '.join(PICKLES)}: give a file of tensors")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds more than tensors, or is damaged: it was not opened, convert it to safetensors"
        ) from None
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"weights file {path} is damaged ({reason}): download it again") from None
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"{path} is not a flat dictionary of tensors: give the file of the model's weights itself")
    return loaded


def check_tensors(path: Path, found: dict[str, Tensor], model: nn.Module, what: str) -> None:
    """Refuse ``found`` unless it has just the names and shapes of ``model`` (which may lie on the meta device).

    Raises:
        ValueError: names the first few tensors that are missing, unexpected or of another shape.
    """
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    if missing or unexpected:
        listed = ", ".join(["-" + name for name in missing[:3]] + ["+" + name for name in unexpected[:3]])
        raise ValueError(
            f"{path} is not {what}: {len(missing)} tensors missing, {len(unexpected)} unexpected ({listed}); "
            "give the file that belongs to this model"
        )
    for name, value in found.items():
        if value.shape != own[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(value.shape)}, {what} needs {tuple(own[name].shape)}; "
                "give the file that belongs to this model"
            )
