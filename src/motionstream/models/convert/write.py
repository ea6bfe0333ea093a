"""Writing safetensors tensor by tensor: the header first, then one value at a time, in shards with an index if asked.

``safetensors`` itself writes from a dictionary, so it needs the whole file in memory; the format does not.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motionstream.files import replacing
from motionstream.models.convert.source import INDEX

_CODES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}

Plan = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of every tensor to come, by name."""


def write_safetensors(
    folder: Path, stem: str, plan: Plan, values: Iterable[tuple[str, Tensor]], shard_bytes: int | None = None
) -> list[Path]:
    """Write ``stem.safetensors``, or shards of at most ``shard_bytes`` and their index.

    Args:
        plan: what will be written, in this order. values: the same names in the same order.

    Returns:
        The files written, the index last. They replace older ones only when all of them are complete.

    Raises:
        ValueError: the disk has too little room, or an older file there might be read in place of the new ones.
    """
    total = plan_bytes(plan)
    groups = _groups(plan, shard_bytes)
    _check_not_hidden(folder, stem, sharded=len(groups) > 1)
    _make_room(folder, total)
    names = (
        [f"{stem}.safetensors"]
        if len(groups) == 1
        else [f"{stem}-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
    )
    paths = [folder / name for name in names]
    source = iter(values)
    with contextlib.ExitStack() as all_of_them:  # at its end each takes its place
        for path, group in zip(paths, groups, strict=True):
            _write_file(all_of_them.enter_context(replacing(path, alone=True)), {name: plan[name] for name in group}, source)
    if len(groups) > 1:
        where = {name: file for group, file in zip(groups, names, strict=True) for name in group}
        paths.append(folder / (stem + INDEX))
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        replace_text(paths[-1], json.dumps(index, indent=2) + "\n")
    return paths


def write_pickle(path: Path, values: dict[str, Any], nbytes: int) -> None:
    """``torch.save`` of tensors of ``nbytes`` in all; an older file is replaced only when the new one is complete.

    Raises:
        ValueError: the disk has too little room.
    """
    _make_room(path.parent, nbytes)
    with replacing(path, alone=True) as partial:
        torch.save(values, partial)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, at once or not at all."""
    with replacing(path, alone=True) as partial:
        partial.write_text(text, encoding="utf-8")


def _make_room(folder: Path, nbytes: int) -> None:
    """The folder, on a disk that has ``nbytes`` free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise ValueError(
            f"{folder} needs {nbytes / 1e9:.2f} GB and has {free / 1e9:.2f} GB free: make room or choose another disk"
        )


def _check_not_hidden(folder: Path, stem: str, *, sharded: bool) -> None:
    """Readers take a file before an index, or an index before a file: only one of them may be there."""
    older = folder / (f"{stem}.safetensors" if sharded else stem + INDEX)
    if older.is_file():
        raise ValueError(
            f"{older} is there already, and readers take one of the two without asking: remove it, or choose another place"
        )


def plan_bytes(plan: Plan) -> int:
    """Bytes of all tensors of a plan."""
    return sum(_nbytes(*entry) for entry in plan.values())


def _nbytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return torch.Size(shape).numel() * dtype.itemsize


def _groups(plan: Plan, shard_bytes: int | None) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    filled = 0
    for name, entry in plan.items():
        size = _nbytes(*entry)
        if shard_bytes is not None and groups[-1] and filled + size > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _write_file(path: Path, plan: Plan, values: Iterator[tuple[str, Tensor]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, dtype) in plan.items():
        end = offset + _nbytes(shape, dtype)
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data start on a multiple of 8 bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, (shape, dtype) in plan.items():
            given, value = next(values)
            assert (given, tuple(value.shape), value.dtype) == (name, shape, dtype), f"{given} came in place of {name}"
            # As bytes: numpy has no bfloat16.
            file.write(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
