"""LoRA files: pairs of low-rank matrices found by their names, merged as ``W += (alpha / r) B A``.

Differences that ComfyUI's files hold beside them, of biases (``.diff_b``) and of norms (``.diff``), are added as they are.

PEFT (LongLive), diffusers and ComfyUI names, and the flattened ones of kohya-style trainers. kohya keeps alpha as a tensor
of each module; PEFT in ``adapter_config.json`` beside its file, diffusers in the file's metadata.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from motionstream.models.convert.keys import from_diffusers, from_wan, to_diffusers, unwrapped
from motionstream.models.convert.source import Checkpoint
from motionstream.models.tensor_files import read_settings

_PAIR = re.compile(r"(.+)\.(lora_A|lora_B|lora_down|lora_up)(?:\.default)?\.weight")
_DIFFERENCE = re.compile(r"(.+)\.(diff_b|diff)")
_PREFIX = re.compile(r"^(base_model\.model\.|generator\.|transformer\.|diffusion_model\.|model\.)+")
_FLAT = "lora_unet_"
_PEFT_STEM = "adapter_model"
_SCALED = ("use_rslora", "use_dora", "alpha_pattern")


@dataclass(frozen=True)
class Pair:
    """Names of ``A (r, in)``, ``B (out, r)`` and, where the file has it, of the scalar alpha."""

    down: str
    up: str
    alpha: str | None


@dataclass(frozen=True)
class Lora:
    """Pairs by our module name, to be merged into ``<module>.weight``, and differences by our parameter's name."""

    checkpoint: Checkpoint
    pairs: dict[str, Pair]
    differences: dict[str, str]
    alpha: float | None

    def applied(self, name: str, value: Tensor) -> Tensor:
        """What becomes of a parameter of the base."""
        if name.removesuffix(".weight") in self.pairs:
            value = self.merged(name.removesuffix(".weight"), value)
        if name in self.differences:
            value = (value.float() + self.checkpoint.read(self.differences[name]).float()).to(value.dtype)
        return value

    def merged(self, module: str, weight: Tensor) -> Tensor:
        """``weight + (alpha / r) B A``, computed in float32, in the weight's type."""
        pair = self.pairs[module]
        down, up = self.checkpoint.read(pair.down).float(), self.checkpoint.read(pair.up).float()
        rank = down.shape[0]
        stored = None if pair.alpha is None else float(self.checkpoint.read(pair.alpha))
        scale = (stored if stored is not None else self.alpha if self.alpha is not None else rank) / rank
        return torch.addmm(weight.float(), up, down, alpha=scale).to(weight.dtype)


def read_lora(checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]], alpha: float | None = None) -> Lora:
    """Find the pairs of ``checkpoint`` and check them against the base.

    Args:
        shapes: shapes of the base's parameters by our names.
        alpha: used where none is stored; None = the rank, a scale of 1.

    Raises:
        ValueError: no LoRA, half pairs, kinds that are not merged (DoRA, other scales), or a LoRA of another base.
    """
    path, flat = checkpoint.path, _flat_names(shapes)
    sides: dict[str, dict[str, str]] = {}
    alphas: dict[str, str] = {}
    differences: dict[str, str] = {}
    rest = []
    for name in checkpoint.entries:
        bare = unwrapped(name)
        if pair := _PAIR.fullmatch(bare):
            sides.setdefault(_module(pair[1], flat), {})["down" if pair[2] in ("lora_A", "lora_down") else "up"] = name
        elif bare.endswith(".alpha"):
            alphas[_module(bare.removesuffix(".alpha"), flat)] = name
        elif moved := _DIFFERENCE.fullmatch(bare):
            differences[f"{_module(moved[1], flat)}.{'bias' if moved[2] == 'diff_b' else 'weight'}"] = name
        else:
            rest.append(name)
    if not sides:
        raise ValueError(f"{path} holds no LoRA matrices (lora_A and lora_B, or lora_down and lora_up): give a LoRA file")
    if rest:
        raise ValueError(
            f"{path} holds {len(rest)} tensors besides LoRA matrices ({', '.join(rest[:3])}) that are not merged here: "
            "merge it where it came from"
        )
    if half := [module for module, pair in sides.items() if len(pair) < 2]:
        raise ValueError(f"{path} lacks a half of {len(half)} LoRA pairs ({', '.join(half[:3])}): download it again")
    pairs = {module: Pair(pair["down"], pair["up"], alphas.get(module)) for module, pair in sides.items()}
    if hollow := [pair.down for pair in pairs.values() if 0 in checkpoint.entries[pair.down].shape]:
        raise ValueError(f"{path}: {hollow[0]} has no rows, a LoRA of rank 0: download it again")
    _check_base(checkpoint, pairs, shapes)
    for parameter, name in differences.items():
        if shapes.get(parameter) != checkpoint.entries[name].shape:
            raise ValueError(
                f"{path} is a LoRA of another base: {name} has {checkpoint.entries[name].shape}, the base's {parameter} is "
                f"{shapes.get(parameter, 'none')}"
            )
    stored = _trained_alpha(path)
    return Lora(checkpoint, pairs, differences, alpha if stored is None else stored)


def _trained_alpha(path: Path) -> float | None:
    """The alpha of all modules in what PEFT or diffusers keep of a training; None where nothing is kept."""
    kept, settings = path, {}
    try:
        if path.stem == _PEFT_STEM and (beside := path.with_name("adapter_config.json")).is_file():
            kept, settings = beside, read_settings(beside)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stored:
                raw = json.loads((stored.metadata() or {}).get("lora_adapter_metadata", "{}"))
            settings = {name.removeprefix("transformer."): value for name, value in raw.items()}
        return _alpha_of(kept, settings)
    except (json.JSONDecodeError, AttributeError, TypeError):
        raise ValueError(f"the LoRA settings in {kept} are damaged: download them again") from None


def _alpha_of(path: Path, settings: dict[str, Any]) -> float | None:
    if scaled := [name for name in _SCALED if settings.get(name)]:
        raise ValueError(f"{path} sets {', '.join(scaled)}, which is not merged here: merge this LoRA with PEFT")
    return float(settings["lora_alpha"]) if settings.get("lora_alpha") is not None else None


def _check_base(checkpoint: Checkpoint, pairs: dict[str, Pair], shapes: dict[str, tuple[int, ...]]) -> None:
    strange = [module for module in pairs if f"{module}.weight" not in shapes]
    if strange:
        raise ValueError(
            f"{checkpoint.path} is a LoRA of another base: {len(strange)} of its {len(pairs)} modules are not in this one "
            f"({', '.join(strange[:3])})"
        )
    for module, pair in pairs.items():
        down, up = checkpoint.entries[pair.down].shape, checkpoint.entries[pair.up].shape
        wanted = shapes[f"{module}.weight"]
        if len(down) != 2 or len(up) != 2 or down[0] != up[1] or (up[0], down[1]) != wanted:
            raise ValueError(
                f"{checkpoint.path} is a LoRA of another base: {module} has {down} and {up} there, "
                f"the base's weight is {wanted}"
            )


def _module(name: str, flat: dict[str, str]) -> str:
    """Our name of a module in whatever style the file has; the name itself where it is unknown."""
    if name.startswith(_FLAT):
        return flat.get(name.removeprefix(_FLAT), name)
    bare = _PREFIX.sub("", name)
    for reader in (from_wan, from_diffusers):
        if (found := reader(f"{bare}.weight")) is not None:
            return found.removesuffix(".weight")
    return bare


def _flat_names(shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """``blocks_0_self_attn_q`` -> ``blocks.0.self_attn.q``, for Wan's and diffusers' names."""
    flat = {}
    for name in shapes:
        if not name.endswith(".weight"):
            continue
        module = name.removesuffix(".weight")
        for style in (name, to_diffusers(name) or name):
            flat[style.removesuffix(".weight").replace(".", "_")] = module
    return flat
