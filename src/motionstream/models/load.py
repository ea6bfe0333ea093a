"""Weights on disk: safetensors only, shapes checked, one sentence when a file does not fit.

Small models are built and then filled (:func:`load_weights`). Large ones are filled while they are built
(:func:`load_model`), so that memory holds the weights once and one more tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from motionstream.config import PresetConfig, to_json
from motionstream.files import replacing
from motionstream.models.convert.source import INDEX, open_checkpoint
from motionstream.models.dit import WanDiT

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types of weights that say what they are; 8-bit floats and integers need a scale that is kept elsewhere."""


def save_weights(path: Path, module: nn.Module, *, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write ``module``'s state as safetensors, atomically; the same state and note give the same bytes, in any process.

    Args:
        dtype: floating tensors are stored in this type (float16 halves the file); None keeps theirs.
        note: what the file says of itself, in place of the format that other packages' loaders ask for.
    """
    tensors = {}
    for name, value in module.state_dict().items():
        kept = value.to(dtype) if dtype is not None and value.is_floating_point() else value
        tensors[name] = kept.detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, alone=True) as partial:
        # One key: safetensors writes several in an order of chance, and resumed runs know files by their bytes (marks.py).
        save_file(tensors, partial, metadata={"note": note} if note else {"format": "pt"})
        partial.chmod(0o644)


def save_config(folder: Path, preset: PresetConfig) -> None:
    """Write the ``config.json`` that weights in ``folder`` are read with, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.json", alone=True) as partial:
        partial.write_text(to_json(preset), encoding="utf-8")


def load_weights(path: Path, module: nn.Module, *, skip: Callable[[str], bool] = lambda name: False) -> None:
    """Fill ``module`` from a safetensors file; parameters keep the module's dtype.

    Args:
        skip: tensors whose names it accepts stay as they are, whatever the file holds of them.

    Raises:
        ValueError: missing or damaged file, or tensors that are missing, unexpected, of another shape or quantised.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is not a .safetensors file: other formats can run code when loaded, convert it first")
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist: put it there, or make it with train or convert")
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
                if skip(name):
                    continue
                value = stored.get_tensor(name)
                if value.shape != target.shape:
                    raise ValueError(
                        f"{path}: {name} has shape {tuple(value.shape)}, the model needs {tuple(target.shape)}; "
                        "use the config.json it was saved with"
                    )
                if target.is_floating_point() and value.dtype not in FLOATS:
                    raise _no_floats(path, name, str(value.dtype).removeprefix("torch."))
                target.copy_(value)
    except SafetensorError as error:
        raise ValueError(f"weights file {path} is damaged ({error}): download or train it again") from None


def load_model(
    preset: PresetConfig, path: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> WanDiT:
    """The transformer of ``preset`` with the weights of ``path``, without a second copy in memory.

    Args:
        path: ``NAME.safetensors``; shards are found by ``NAME.safetensors.index.json`` beside it.
        dtype: of the weights; None keeps the stored ones. Types other than the compute type need autocast.

    Raises:
        ValueError: missing or damaged file, or tensors that are missing, unexpected, of another shape or quantised.
    """
    index = path.with_name(path.stem + INDEX)
    checkpoint = open_checkpoint(index if index.is_file() and not path.is_file() else path)
    with torch.device("meta"):
        model = WanDiT(preset.model, preset.geometry.t_stride)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    stored = {name: entry.shape for name, entry in checkpoint.entries.items()}
    wrong = sorted(name for name in shapes.keys() | stored.keys() if shapes.get(name) != stored.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{path} does not fit {preset.name}: {len(wrong)} tensors differ ({name}: {stored.get(name, 'none')} there, "
            f"{shapes.get(name, 'none')} needed); use its own config.json, or motionstream convert"
        )
    for name, entry in checkpoint.entries.items():
        if entry.dtype is None:
            raise _no_floats(path, name, entry.stored_as)
    return _filled(model, checkpoint.read, dtype, device)


def _no_floats(path: Path, name: str, stored_as: str) -> ValueError:
    return ValueError(
        f"{path}: {name} is stored as {stored_as}, which means nothing without its scale: give float16, bfloat16 or float32 "
        "weights"
    )


def _filled(model: WanDiT, read: Callable[[str], Tensor], dtype: torch.dtype | None, device: torch.device | str) -> WanDiT:
    """Replace every parameter of a model on the meta device, one after the other."""
    for name, _ in list(model.named_parameters()):
        module, _, leaf = name.rpartition(".")
        value = read(name).to(device=device, dtype=dtype)
        setattr(model.get_submodule(module), leaf, nn.Parameter(value, requires_grad=False))
    return model.eval()
