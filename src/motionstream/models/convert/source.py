"""Opening a checkpoint: names, shapes and types at once, values one at a time.

safetensors are opened anew for each tensor, so nothing of a shard stays in memory; pickles are mapped, never run
(``weights_only=True``).
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

INDEX = ".safetensors.index.json"
PICKLES = (".pt", ".pth", ".ckpt", ".bin")
PARTS = ("generator_ema", "generator", "model", "state_dict", "generator_lora", "params")
"""What is taken from a dictionary of dictionaries, in this order of preference: the averaged generator first."""

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Entry:
    """Shape and type of a stored tensor; ``dtype`` is None for a type that is not a plain float (fp8, packed integers)."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    stored_as: str

    @property
    def nbytes(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count * (self.dtype.itemsize if self.dtype is not None else 1)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint.

    Attributes:
        path: what was opened. part: which dictionary of a pickle was taken, "" where there is just one.
        entries: by name as stored. read: name -> tensor on the CPU.
    """

    path: Path
    part: str
    entries: dict[str, Entry]
    read: Callable[[str], Tensor]

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries.values())


def open_checkpoint(path: Path, *, part: str | None = None, stems: tuple[str, ...] = ()) -> Checkpoint:
    """Open a file, or a folder that holds one model.

    Args:
        path: ``.safetensors`` (also one of several shards), an ``.index.json``, a pickle of tensors, or a folder.
        part: which dictionary to take from a pickle that holds several; None prefers :data:`PARTS`.
        stems: files to prefer in a folder, without ``.safetensors``, in this order.

    Raises:
        ValueError: nothing there, several candidates, a missing or truncated shard, a pickle with more than tensors, GGUF.
    """
    if path.is_dir():
        path = _file_of(path, stems)
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give a checkpoint file or a folder with one")
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"GGUF":
        raise ValueError(f"{path} is a GGUF file, which is not read: give the bfloat16 or float16 safetensors of this model")
    if path.name.endswith(".json"):
        return _open_safetensors(path, _shards_of_index(path), part)
    if path.suffix == ".safetensors":
        return _open_safetensors(path, _all_shards(path), part)
    if path.suffix in PICKLES:
        return _open_pickle(path, part)
    raise ValueError(f"{path} is neither .safetensors nor one of {', '.join(PICKLES)}: give a checkpoint file")


def stem_of(path: Path) -> str:
    """The name that a file, its index and each of its shards have in common.

    >>> stem_of(Path("student.safetensors.index.json")), stem_of(Path("student-00001-of-00002.safetensors"))
    ('student', 'student')
    """
    shard = _SHARD.fullmatch(path.name)
    return shard[1] if shard else path.stem if path.suffix != ".json" else path.name.removesuffix(INDEX)


def _file_of(folder: Path, stems: tuple[str, ...]) -> Path:
    """The one model of a folder: an index, a single file, or a set of shards."""
    for stem in stems:  # before a transformer/ that was downloaded beside our own files
        for name in (f"{stem}.safetensors", stem + INDEX):
            if (folder / name).is_file():
                return folder / name
    if (folder / "transformer").is_dir():  # a diffusers pipeline
        folder = folder / "transformer"
    indices = sorted(folder.glob("*" + INDEX))
    found = indices or sorted(folder.glob("*.safetensors")) or sorted(p for p in folder.iterdir() if p.suffix in PICKLES)
    sets = {_SHARD.fullmatch(p.name)[1] if _SHARD.fullmatch(p.name) else p.name: p for p in found}  # type: ignore[index]
    if not sets:
        raise ValueError(f"{folder} holds no checkpoint (.safetensors, {', '.join(PICKLES)}): give the folder of the model")
    if len(sets) > 1:
        names = ", ".join(sorted(p.name for p in sets.values())[:4])
        raise ValueError(f"{folder} holds several checkpoints ({names}): give the file itself")
    return next(iter(sets.values()))


def _all_shards(path: Path) -> list[Path]:
    """The file itself, or all files of the set that it is a shard of."""
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return [path]
    count = int(shard[3])
    files = [path.with_name(f"{shard[1]}-{i:05d}-of-{count:05d}.safetensors") for i in range(1, count + 1)]
    _check_present(path, files)
    return files


def _shards_of_index(path: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
        files = [path.parent / name for name in names]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{path} is not an index of safetensors shards: download it again") from None
    if any(file.parent != path.parent for file in files):
        raise ValueError(f"{path} names files outside its folder: give an index whose shards lie beside it")
    _check_present(path, files)
    return files


def _check_present(path: Path, files: list[Path]) -> None:
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of {len(files)} shards are missing ({', '.join(missing[:3])}): download them"
        )


def _open_safetensors(path: Path, files: list[Path], part: str | None) -> Checkpoint:
    if part is not None:
        raise ValueError(f"{path} is safetensors and has no parts: leave part={part!r} out")
    entries: dict[str, Entry] = {}
    holder: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                for name in stored.keys():
                    view = stored.get_slice(name)
                    entries[name] = Entry(tuple(view.get_shape()), _TYPES.get(view.get_dtype()), view.get_dtype())
                    holder[name] = file
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged or cut short ({error}): download it again") from None
    if path.name.endswith(".json"):
        listed = json.loads(path.read_text())["weight_map"]
        absent = sorted(name for name in listed if holder.get(name) != path.parent / listed[name])
        if absent:
            raise ValueError(
                f"{path}: {len(absent)} tensors are not in the shards it names ({', '.join(absent[:3])}): index and "
                "shards are of different versions, download them together"
            )

    def read(name: str) -> Tensor:
        with safe_open(holder[name], framework="pt") as stored:
            return stored.get_tensor(name)

    return Checkpoint(path, "", entries, read)


def _open_pickle(path: Path, part: str | None) -> Checkpoint:
    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            loaded = torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds more than tensors, or is damaged: it was not opened, give a file of tensors"
        ) from None
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or cut short ({reason}): download it again") from None
    chosen, tensors = _choose_part(path, loaded, part)
    entries = {name: _entry_of(value) for name, value in tensors.items()}
    return Checkpoint(path, chosen, entries, tensors.__getitem__)


def _entry_of(value: Tensor) -> Entry:
    plain = value.dtype in _TYPES.values()
    return Entry(tuple(value.shape), value.dtype if plain else None, str(value.dtype).removeprefix("torch."))


def _choose_part(path: Path, loaded: Any, part: str | None) -> tuple[str, dict[str, Tensor]]:
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a dictionary of tensors: give a model's state")
    parts = {key: tensors for key, value in loaded.items() if isinstance(value, dict) and (tensors := _tensors(value))}
    if part is not None:
        if part not in parts:
            raise ValueError(f"{path} has no part {part!r}: it holds {', '.join(map(str, parts)) or 'no parts'}")
        return part, parts[part]
    for name in PARTS:
        if name in parts:
            return name, parts[name]
    if flat := _tensors(loaded):
        return "", flat
    if parts:
        raise ValueError(f"{path} holds the parts {', '.join(map(str, parts))}: say which is the model (--part)")
    raise ValueError(f"{path} holds no tensors: give a model's state")


def _tensors(values: dict[Any, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in values.items() if isinstance(key, str) and isinstance(value, Tensor)}
