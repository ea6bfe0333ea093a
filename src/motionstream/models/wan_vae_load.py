"""Wan's autoencoder from what people have: a diffusers folder, or the original ``Wan2.1_VAE.pth`` / ``Wan2.2_VAE.pth``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch

from motionstream.models.extra import wan_library
from motionstream.models.tensor_files import check_tensors, read_settings, read_tensors
from motionstream.models.wan_vae import WAN21_FORM, WAN22_FORM, WanVAE


def load_wan_vae(path: Path, dtype: torch.dtype = torch.float32) -> WanVAE:
    """Load Wan's autoencoder.

    Args:
        path: a diffusers model folder (with ``vae/``), the ``vae`` folder itself, or an original ``.pth`` or
            ``.safetensors`` file. The form is read from config.json, or from the names of the tensors.
        dtype: of the weights. float32 is what Wan uses; bfloat16 halves memory at some loss.

    Raises:
        ValueError: nothing usable there, damaged or foreign files, or diffusers is not installed.
    """
    path = Path(path)
    autoencoder_class = wan_library("diffusers").AutoencoderKLWan
    if path.is_dir():
        folder = path / "vae" if (path / "vae").is_dir() else path
        form, file = _read_form(folder / "config.json", autoencoder_class), _only_safetensors(folder)
        tensors = read_tensors(file)
    else:
        file, tensors = path, read_tensors(path)
        if "conv2.weight" not in tensors and "encoder.conv_in.weight" not in tensors:
            raise ValueError(f"{path} is not a Wan autoencoder: give Wan2.1_VAE.pth, Wan2.2_VAE.pth or a diffusers folder")
        nested = re.compile(r"encoder\.(downsamples\.\d+\.downsamples|down_blocks\.\d+\.resnets)\.")  # only in the 2.2 form
        form = WAN22_FORM if any(nested.match(name) for name in tensors) else WAN21_FORM
        tensors = {to_diffusers_key(name): value for name, value in tensors.items()}
    with torch.device("meta"):
        autoencoder = autoencoder_class(**form)
    check_tensors(file, tensors, autoencoder, "this form of Wan's autoencoder")
    autoencoder.load_state_dict({name: value.to(dtype) for name, value in tensors.items()}, assign=True)
    return WanVAE(autoencoder).eval().requires_grad_(False)


def to_diffusers_key(name: str) -> str:
    """A tensor's name in the original checkpoints, either form, -> its name in diffusers; other names stay.

    >>> to_diffusers_key("decoder.upsamples.4.shortcut.weight")
    'decoder.up_blocks.1.resnets.0.conv_shortcut.weight'
    >>> to_diffusers_key("encoder.downsamples.1.downsamples.2.time_conv.bias")
    'encoder.down_blocks.1.downsampler.time_conv.bias'
    """
    for pattern, replacement in _OUTER:
        name, found = re.subn(pattern, replacement, name)
        if found:
            break
    if match := re.match(r"(encoder\.downsamples|decoder\.upsamples)\.(.*)", name):
        name = _stage_key(match[1], match[2])
    for pattern, replacement in _INNER:
        name = re.sub(pattern, replacement, name)
    return name


# Parts outside the resolution stages.
_OUTER = [
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
    (r"^(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
    (r"^(encoder|decoder)\.middle\.0\.", r"\1.mid_block.resnets.0."),
    (r"^(encoder|decoder)\.middle\.1\.", r"\1.mid_block.attentions.0."),
    (r"^(encoder|decoder)\.middle\.2\.", r"\1.mid_block.resnets.1."),
]
# Layers of a residual block.
_INNER = [
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2."),
    (r"\.shortcut\.", ".conv_shortcut."),
]
RESIDUAL_BLOCKS = 3  # of a decoder stage, before its resampling
UNUSED = ("clip_output",)
"""In the config.json of Wan 2.2's public folder, but never read by diffusers, which clamps the output in any case."""


def _stage_key(part: str, rest: str) -> str:
    """Names inside the resolution stages: a flat list in 2.1, a list of lists in 2.2."""
    index, _, tail = rest.partition(".")
    resampling = ".resample." in f".{tail}" or ".time_conv." in f".{tail}"
    if part == "encoder.downsamples":
        if not tail.startswith("downsamples."):
            return f"encoder.down_blocks.{rest}"  # 2.1: diffusers keeps the flat list
        inner, _, tail = tail.removeprefix("downsamples.").partition(".")
        return f"encoder.down_blocks.{index}." + (f"downsampler.{tail}" if resampling else f"resnets.{inner}.{tail}")
    if tail.startswith("upsamples."):
        inner, _, tail = tail.removeprefix("upsamples.").partition(".")
        return f"decoder.up_blocks.{index}." + (f"upsampler.{tail}" if resampling else f"resnets.{inner}.{tail}")
    stage, inner = divmod(int(index), RESIDUAL_BLOCKS + 1)  # type: ignore[assignment]
    return f"decoder.up_blocks.{stage}." + (f"upsamplers.0.{tail}" if resampling else f"resnets.{inner}.{tail}")


def _read_form(path: Path, autoencoder_class: Any) -> dict[str, Any]:
    """Arguments of the autoencoder from a diffusers ``config.json``; bookkeeping entries (``_class_name``) are dropped."""
    if not path.is_file():
        raise ValueError(f"{path.parent} has no config.json: give a diffusers folder with vae/config.json")
    values = read_settings(path)
    found = values.get("_class_name", "AutoencoderKLWan")
    if found != "AutoencoderKLWan":
        raise ValueError(f"{path} describes {found}: this model needs AutoencoderKLWan")
    form = {key: value for key, value in values.items() if not key.startswith("_") and key not in UNUSED}
    known = inspect.signature(autoencoder_class.__init__).parameters.keys()
    if unknown := sorted(form.keys() - known):
        raise ValueError(
            f"{path} has settings that the installed diffusers does not know ({', '.join(unknown)}): update diffusers"
        )
    return form


def _only_safetensors(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise ValueError(
            f"{folder} should hold one .safetensors file, found {found}: keep diffusion_pytorch_model.safetensors only"
        )
    return files[0]
