"""What a checkpoint is, found from its keys and shapes alone: style, prefix and sizes, or what else it seems to be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from motionstream.config import ModelConfig, PresetConfig
from motionstream.models.convert.keys import PREFIXES, from_diffusers, from_wan, unwrapped
from motionstream.models.convert.source import Checkpoint
from motionstream.presets import PRESETS, preset

Style = Literal["wan", "diffusers"]
_READERS: dict[Style, Callable[[str], str | None]] = {"wan": from_wan, "diffusers": from_diffusers}

_OTHERS = (
    (r"\.lora_(A|B|down|up)\b", "a LoRA: give its base as the source and this file with --lora"),
    (r"^(double_blocks|single_blocks)\.", "a FLUX or Hunyuan transformer"),
    (r"(^|\.)transformer_blocks\.0\.", "a transformer of another family"),
    (r"(^|\.)input_blocks\.0\.", "a Stable Diffusion U-Net"),
    (r"^(encoder|decoder)\.(conv1|conv_in|mid|down|up|middle|quant)", "an image or video autoencoder"),
    (r"(token_embedding|shared)\.weight$|^(encoder\.)?blocks?\.0\.(attn|layer)\.", "a text encoder"),
    (r"^(visual|vision_model|image_encoder)\.", "a CLIP image encoder"),
    (r"^(model\.)?layers\.0\.", "a language model"),
)


@dataclass(frozen=True)
class Sizes:
    """What shapes say about a Wan-style transformer; zero where the tensor that says it is not there."""

    dim: int
    ffn_dim: int
    num_layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    image_dim: int

    def __str__(self) -> str:
        image = f", image rows of {self.image_dim}" if self.image_dim else ""
        return f"dim {self.dim}, {self.num_layers} layers, {self.in_channels} input channels{image}"


@dataclass(frozen=True)
class Found:
    """A Wan-style transformer in a checkpoint.

    Attributes:
        style: whose names. prefix: what stands before all of them.
        names: our name -> name as stored.
        foreign: names as stored that this style does not have.
    """

    style: Style
    prefix: str
    names: dict[str, str]
    foreign: list[str]
    sizes: Sizes


def probe(checkpoint: Checkpoint) -> Found:
    """Recognise a Wan-style transformer.

    Raises:
        ValueError: another family of models, fp8 or packed weights, or two styles of names in one checkpoint.
    """
    path = checkpoint.path
    if scaled := [name for name in checkpoint.entries if re.search(r"(scale_weight|weight_scale|scaled_fp8)(_\w+)?$", name)]:
        raise ValueError(f"{path} holds scales of quantised weights ({scaled[0]}): give the bfloat16 or float16 file")
    bare = {unwrapped(name): name for name in checkpoint.entries}
    candidates = [(style, prefix, _names(bare, style, prefix)) for style in _READERS for prefix in PREFIXES]
    style, prefix, names = max(candidates, key=lambda candidate: len(candidate[2]))
    if not any(name.startswith("blocks.") for name in names):
        raise ValueError(
            f"{path} is not a Wan transformer{_guess(bare)}: give Wan 2.1 1.3B, Wan 2.2 5B, or one made from them"
        )
    for other, _, more in candidates:
        if other != style and (odd := {bare[k] for k in _keys(more)} - {bare[k] for k in _keys(names)}):
            raise ValueError(
                f"{path} mixes two styles of names: {len(names)} of {style} and {len(odd)} of {other} ({min(odd)}): "
                "give a checkpoint that was saved whole"
            )
    stored = {ours: bare[theirs] for ours, theirs in names.items()}
    if packed := [name for name in stored.values() if checkpoint.entries[name].dtype is None]:
        kind = checkpoint.entries[packed[0]].stored_as
        raise ValueError(
            f"{path} holds {len(packed)} tensors of type {kind} ({packed[0]}): fp8 and other packed weights are not read, "
            "give the bfloat16 or float16 file"
        )
    foreign = sorted(set(checkpoint.entries) - set(stored.values()))
    return Found(style, prefix, stored, foreign, _sizes(checkpoint, stored))


def _keys(names: dict[str, str]) -> set[str]:
    return set(names.values())


def _names(bare: dict[str, str], style: Style, prefix: str) -> dict[str, str]:
    """Our names -> unwrapped names, of the names that start with ``prefix`` and are of this style."""
    reader = _READERS[style]
    found = ((reader(name.removeprefix(prefix)), name) for name in bare if name.startswith(prefix))
    return {ours: name for ours, name in found if ours is not None}


def _guess(bare: dict[str, str]) -> str:
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in bare):
            return f", it looks like {what}"
    listed = ", ".join(sorted(bare)[:3])
    return f" (its tensors: {listed})" if listed else " (it is empty)"


def _sizes(checkpoint: Checkpoint, names: dict[str, str]) -> Sizes:
    def size(name: str, axis: int) -> int:
        shape = checkpoint.entries[names[name]].shape if name in names else ()
        return shape[axis] if axis < len(shape) else 0

    layers = {int(name.split(".")[1]) for name in names if name.startswith("blocks.")}
    patch = checkpoint.entries[names["patch_embedding.weight"]].shape[2:] if "patch_embedding.weight" in names else (1,)
    cells = 1
    for edge in patch:
        cells *= edge
    return Sizes(
        dim=size("patch_embedding.weight", 0) or size("blocks.0.self_attn.q.weight", 0),
        ffn_dim=size("blocks.0.ffn.0.weight", 0),
        num_layers=max(layers, default=-1) + 1,
        in_channels=size("patch_embedding.weight", 1),
        out_channels=size("head.head.weight", 0) // cells,
        text_dim=size("text_embedding.0.weight", 1),
        image_dim=size("img_emb.proj.1.weight", 1),
    )


def sizes_of(model: ModelConfig) -> Sizes:
    """The same sizes of a configuration."""
    return Sizes(
        dim=model.dim,
        ffn_dim=model.ffn_dim,
        num_layers=model.num_layers,
        in_channels=model.in_channels,
        out_channels=model.latent_channels,
        text_dim=model.text_dim,
        image_dim=model.image_dim,
    )


def matching_preset(checkpoint: Checkpoint, found: Found) -> PresetConfig:
    """The preset whose sizes these are.

    Raises:
        ValueError: no preset has them; says what was found and what would fit.
    """
    presets = [preset(name) for name in PRESETS]
    for made in presets:
        if sizes_of(made.model) == found.sizes:
            return made
    near = [made for made in presets if (made.model.dim, made.model.num_layers) == (found.sizes.dim, found.sizes.num_layers)]
    fits = "; ".join(f"{made.name}: {sizes_of(made.model)}" for made in near or presets if made.vae_kind != "nano" or near)
    raise ValueError(
        f"{checkpoint.path} is a Wan-style transformer of {found.sizes}, which is no preset's form ({fits}): "
        "name the preset to bring it to (--preset)"
    )
