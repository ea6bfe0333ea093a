"""The forms that a transformer can be written in: names, files and the config beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from motionstream.config import PresetConfig, to_json
from motionstream.models.convert.keys import to_diffusers
from motionstream.models.convert.write import Plan, write_pickle, write_safetensors

FOREIGN_STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Form:
    """How our tensors are named elsewhere, and what is written beside them.

    Attributes:
        rename: our name -> theirs. config: text of ``config.json``, or None. stem: file name where DST is a folder.
        pickled: a ``.pt`` dictionary with ``generator``, as Self-Forcing reads it, in place of safetensors.
    """

    rename: Callable[[str], str]
    config: Callable[[PresetConfig], str] | None = None
    stem: str = FOREIGN_STEM
    pickled: bool = False

    @property
    def suffix(self) -> str:
        return ".pt" if self.pickled else ".safetensors"

    def is_file(self, target: Path) -> bool:
        """Whether ``target`` names a file of this form; a folder otherwise."""
        return target.suffix == self.suffix

    def config_path(self, target: Path) -> Path | None:
        return None if self.config is None or self.is_file(target) else target / "config.json"


def _diffusers_name(name: str) -> str:
    theirs = to_diffusers(name)
    assert theirs is not None, name
    return theirs


def wan_config(preset: PresetConfig) -> dict[str, Any]:
    """``config.json`` of the original Wan's ``WanModel``."""
    model = preset.model
    kind = {"none": "t2v", "concat": "i2v", "clean": "ti2v"}.get(model.first_frame, model.first_frame)
    return {
        "_class_name": "WanModel",
        "model_type": kind,
        "dim": model.dim,
        "ffn_dim": model.ffn_dim,
        "freq_dim": model.freq_dim,
        "in_dim": model.in_channels,
        "out_dim": model.latent_channels,
        "num_heads": model.num_heads,
        "num_layers": model.num_layers,
        "text_len": model.text_len,
        "eps": model.eps,
    }


def diffusers_config(preset: PresetConfig) -> dict[str, Any]:
    """Arguments of diffusers' ``WanTransformer3DModel``."""
    model = preset.model
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": [1, model.patch, model.patch],
        "num_attention_heads": model.num_heads,
        "attention_head_dim": model.head_dim,
        "in_channels": model.in_channels,
        "out_channels": model.latent_channels,
        "text_dim": model.text_dim,
        "freq_dim": model.freq_dim,
        "ffn_dim": model.ffn_dim,
        "num_layers": model.num_layers,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "eps": model.eps,
        "image_dim": model.image_dim or None,
        "added_kv_proj_dim": model.dim if model.image_dim else None,
    }


def _json(make: Callable[[PresetConfig], dict[str, Any]]) -> Callable[[PresetConfig], str]:
    return lambda preset: json.dumps(make(preset), indent=2) + "\n"


FORMS: dict[str, Form] = {
    "ours": Form(rename=str, config=to_json, stem="student"),
    "wan": Form(rename=str, config=_json(wan_config)),
    "diffusers": Form(rename=_diffusers_name, config=_json(diffusers_config)),
    "comfy": Form(rename=lambda name: f"model.diffusion_model.{name}"),
    "self-forcing": Form(rename=lambda name: f"model.{name}", pickled=True, stem="model"),
}


def write_form(
    form: Form, target: Path, stem: str, plan: Plan, values: Iterable[tuple[str, Tensor]], shard_bytes: int | None
) -> list[Path]:
    """Write tensors (by our names) in a form; the target is a folder, or a file of the form's suffix.

    A ``.pt`` is written by torch and needs the whole model in memory; safetensors need one tensor at a time.
    """
    folder, stem = (target.parent, target.stem) if form.is_file(target) else (target, stem)
    if form.pickled:
        path = folder / f"{stem}.pt"
        state = {form.rename(name): value.clone() for name, value in values}
        write_pickle(path, {"generator": state}, sum(value.nbytes for value in state.values()))
        return [path]
    renamed = {form.rename(name): entry for name, entry in plan.items()}
    named = ((form.rename(name), value) for name, value in values)
    return write_safetensors(folder, stem, renamed, named, shard_bytes)
