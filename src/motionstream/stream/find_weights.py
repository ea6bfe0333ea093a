"""Which weights are meant: a preset's name or a folder -> the configuration and the folder. Nothing large is read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from motionstream.config import PresetConfig, from_dict
from motionstream.models.tensor_files import read_settings
from motionstream.presets import PRESETS
from motionstream.presets import preset as named_preset
from motionstream.stream import wan_parts


def find_config(
    name_or_path: str | Path,
    *,
    preset: str | None = None,
    size: Sequence[int] | None = None,
    random_weights: bool = False,
) -> tuple[PresetConfig, Path | None]:
    """The configuration that ``load_engine`` would use, and the folder.

    Raises:
        ValueError: no such weights, a ``config.json`` of another preset, or a size that does not fit.
    """
    name = str(name_or_path)
    if random_weights and name_or_path in PRESETS:
        config, folder = named_preset(name), None
    else:
        folder = weights_folder(name_or_path)
        config = named_preset(name) if folder is None else read_config(folder)
    if preset is not None:
        _check_agrees(config, named_preset(preset), name if folder is None else str(folder / "config.json"))
    if size is None:
        return config, folder
    if not (isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, (int, np.integer)) for side in size)):
        raise ValueError(f"size={size!r} must be (height, width) in pixels")
    size = (int(size[0]), int(size[1]))
    if size == (config.geometry.height, config.geometry.width):
        return config, folder
    if config.vae_kind == "nano" and size not in config.more_sizes:
        known = [(config.geometry.height, config.geometry.width), *config.more_sizes]
        *first, last = (f"{width}x{height}" for height, width in known)
        sizes = f"{', '.join(first)} or {last}" if first else last
        raise ValueError(f"{config.name} makes {sizes} pixels, not {size[1]}x{size[0]}: take such a size, or give none")
    return config.sized(*size), folder


def _check_agrees(config: PresetConfig, wanted: PresetConfig, where: str) -> None:
    """Weights fit a preset when the network and its latents are the same; size, cache and sampling may differ."""

    def facts(one: PresetConfig) -> dict[str, object]:
        geometry = {f"geometry.{key}": getattr(one.geometry, key) for key in ("stride", "t_stride", "patch")}
        kinds = {"vae_kind": one.vae_kind, "text_kind": one.text_kind}
        return {f"model.{key}": value for key, value in vars(one.model).items()} | geometry | kinds

    found = facts(config)
    for key, value in facts(wanted).items():
        if found[key] != value:
            raise ValueError(
                f"{where} is of {config.name}, which is not {wanted.name} ({key} is {found[key]!r}, not {value!r}): "
                f"leave the preset (--preset) out, or convert the weights to {wanted.name}"
            )


def weights_folder(name_or_path: str | Path) -> Path | None:
    """Where the weights are; None for a preset that has none by design. A ``Path`` is a folder, whatever its name."""
    name = str(name_or_path)
    if name_or_path in PRESETS:
        bundled = Path(str(resources.files("motionstream"))) / "weights" / name
        if bundled.is_dir():
            return bundled
        if name == "tiny-debug":
            return None
        if (config := named_preset(name)).vae_kind != "nano":
            raise ValueError(
                f"preset {name!r} has no weights here: {wan_parts.how_to_get(config)}; random weights "
                "(random_weights=True, --random-weights) only measure speed"
            )
        raise ValueError(f"preset {name!r} has no bundled weights here: train it (runs/nano_cpu.sh) and pass the folder")
    if Path(name).is_dir():
        return Path(name)
    raise ValueError(f"{name!r} is neither a preset ({', '.join(PRESETS)}) nor a folder with weights")


def read_config(folder: Path) -> PresetConfig:
    """``config.json`` of a weights folder."""
    path = folder / "config.json"
    values = read_settings(path) if path.is_file() else None
    published = any((folder / name).exists() for name in ("model_index.json", "transformer"))
    if values is None and not published:
        raise ValueError(f"{folder} has no config.json: it is not a folder of motionstream weights")
    if values is None or "_class_name" in values:
        raise ValueError(
            f"{folder} holds weights as others publish them: run motionstream convert {folder} DIR --role student, then "
            f"load DIR (--weights) with {folder} for its encoders (encoders, --encoders)"
        )
    try:
        return from_dict(PresetConfig, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
