"""What a Wan model needs beside its transformer, found in the user's folders and loaded: autoencoders and encoders.

A weights folder is a ``config.json`` and a ``student.safetensors`` (``motionstream convert`` writes both) with the parts
beside them as they are downloaded: ``vae/`` or the original ``.pth``, a TAEHV file, ``text_encoder/`` and ``tokenizer/``,
``image_encoder/`` (docs/wan.md). A second folder may hold what is not there: a diffusers folder of Wan, for example.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from motionstream.config import PresetConfig
from motionstream.models.clip_vision import ClipVision
from motionstream.models.tiny_vae import TinyVAE, load_tiny_vae
from motionstream.models.vae import DecoderState, NanoVAE
from motionstream.models.wan_text import WanText
from motionstream.models.wan_vae import WanVAE
from motionstream.models.wan_vae_load import load_wan_vae

VAEChoice = Literal["auto", "tiny", "full"]
VAE_CHOICES: tuple[str, ...] = get_args(VAEChoice)
SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True)
class _Source:
    """File names of a family's parts, and where the public ones are."""

    tiny: str
    original_vae: str
    diffusers: str
    transformer: str


SOURCES = {
    "wan2.1": _Source("taew2_1", "Wan2.1_VAE", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "alibaba-pai/Wan2.1-Fun-1.3B-InP"),
    "wan2.2": _Source("taew2_2", "Wan2.2_VAE", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
}
T2V_TRANSFORMER = "gdhe17/Self-Forcing (checkpoints/self_forcing_dmd.pt)"
CLIP_SOURCE = "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"


class PairedVAE(nn.Module):
    """Two autoencoders of the same latents: one reads the picture, the other decodes.

    Wan's own encoder is the one that the DiT knows; the tiny decoder is many times cheaper than Wan's.
    """

    def __init__(self, encoder: WanVAE, decoder: TinyVAE) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, video: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` in [0, 1], ``T = 4 k + 1`` -> normalised latents ``(B, k + 1, C, h, w)``."""
        return self.encoder.encode(video)

    def decode(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Latents ``(B, F, C, h, w)`` -> video ``(B, T, 3, H, W)`` in [0, 1] and the state to continue with."""
        return self.decoder.decode(latents, state)


StreamVAE = NanoVAE | WanVAE | TinyVAE | PairedVAE
"""What an engine encodes its picture with and decodes with."""


@dataclass(frozen=True)
class WanPaths:
    """Where the parts are; None for what this model does not need.

    Attributes:
        transformer: ``ROLE.safetensors``, which may stand for shards with an index. decoder: "tiny" or "full".
        vae: a folder or a file for ``load_wan_vae``. tiny: for ``load_tiny_vae``.
        text: a folder with ``text_encoder`` and ``tokenizer``. image: one with ``image_encoder``.
    """

    transformer: Path
    decoder: Literal["tiny", "full"]
    vae: Path | None
    tiny: Path | None
    text: Path
    image: Path | None

    def encoder_bytes(self) -> int:
        """Bytes in memory of the larger of text and picture encoder, which are never there together.

        Files may hold float32 (Wan 2.1's text encoder, 22.7 GB); the text encoder runs in bfloat16 everywhere, the picture
        encoder in float32 on a processor.
        """
        text = torch.bfloat16.itemsize * _numbers_in(self.text / "text_encoder")
        image = torch.float32.itemsize * _numbers_in(self.image / "image_encoder") if self.image else 0
        return max(text, image)


def _numbers_in(folder: Path) -> int:
    """Weights in the safetensors files of a folder; of a damaged one nothing is counted (loading it says so)."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with contextlib.suppress(SafetensorError), safe_open(file, framework="pt") as stored:
            total += sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())
    return total


def check_vae_choice(config: PresetConfig, vae: str) -> None:
    """Refuse a decoder that there is not."""
    if vae not in VAE_CHOICES:
        raise ValueError(f"vae={vae!r} is unknown: use {', '.join(VAE_CHOICES)}")
    if config.vae_kind == "nano" and vae != "auto":
        raise ValueError(f"{config.name} has only the decoder that it was trained with: leave vae at 'auto' (no --full-vae)")


def how_to_get(config: PresetConfig) -> str:
    """What to download, and what to do with it, to have weights of a Wan preset; half a sentence."""
    source = SOURCES[config.vae_kind]
    transformer = T2V_TRANSFORMER if config.model.first_frame == "none" else source.transformer
    parts = f"vae, text_encoder and tokenizer of {source.diffusers}"
    if config.model.image_dim:
        parts += f", image_encoder of {CLIP_SOURCE}"
    return (
        f"download {transformer}, run `motionstream convert FILES DIR --preset {config.name} --role student`, put {parts} "
        f"and, for speed, {source.tiny}.pth of github.com/madebyollin/taehv into DIR, and load DIR (--weights)"
    )


def find_wan(config: PresetConfig, folder: Path, role: str, encoders: Path | None, vae: str) -> WanPaths:
    """Look for every part before anything is loaded.

    Args:
        folder: the weights folder. role: "student" or "teacher". encoders: where parts are that are not in ``folder``.
        vae: "tiny" or "full" to decode with; "auto" = tiny where its file is there.

    Raises:
        ValueError: a part is missing; the sentence says what to download and where to put it.
    """
    check_vae_choice(config, vae)
    if encoders is not None and not encoders.is_dir():
        raise ValueError(f"encoders {str(encoders)!r} is not a folder: give one with text_encoder, tokenizer and vae")
    places = [folder, *([encoders] if encoders is not None else [])]
    source, where = SOURCES[config.vae_kind], " or ".join(map(str, places))
    transformer = folder / f"{role}.safetensors"
    if not transformer.is_file() and not transformer.with_name(f"{role}.safetensors.index.json").is_file():
        raise ValueError(
            f"{folder} has no {role}.safetensors: make it from a checkpoint with "
            f"`motionstream convert FILES {folder} --preset {config.name} --role {role}`"
        )
    tiny = _first_file(places, ("tiny_vae", source.tiny))
    if vae == "tiny" and tiny is None:
        raise ValueError(
            f"{where} has no tiny decoder: download {source.tiny}.pth from github.com/madebyollin/taehv into {folder}"
        )
    decoder: Literal["tiny", "full"] = "full" if vae == "full" or tiny is None else "tiny"
    wan = next((place / "vae" for place in places if (place / "vae" / "config.json").is_file()), None)
    wan = wan or _first_file(places, (source.original_vae,))
    needed = decoder == "full" or config.model.first_frame != "none"
    if needed and wan is None:
        reason = "decodes" if decoder == "full" else "reads the picture (a tiny one's latents are shifted in time)"
        raise ValueError(
            f"{where} has no vae folder and no {source.original_vae}.pth, and Wan's autoencoder {reason}: "
            f"download vae of {source.diffusers} into {folder}"
        )
    return WanPaths(
        transformer=transformer,
        decoder=decoder,
        vae=wan if needed else None,
        tiny=tiny if decoder == "tiny" else None,
        text=_text_folder(places, folder, source),
        image=_image_folder(places, folder) if config.model.image_dim else None,
    )


def _text_folder(places: list[Path], folder: Path, source: _Source) -> Path:
    for place in places:
        if (place / "text_encoder" / "config.json").is_file() and (place / "tokenizer").is_dir():
            return place
    half = next((place for place in places if (place / "text_encoder" / "config.json").is_file()), None)
    lacks = "text_encoder" if half is None else "tokenizer beside text_encoder"
    raise ValueError(
        f"{half or ' or '.join(map(str, places))} has no {lacks}: download text_encoder and tokenizer of {source.diffusers} "
        f"(UMT5-XXL, 11 to 23 GB) into {half or folder}, or say where they are (encoders, --encoders)"
    )


def _image_folder(places: list[Path], folder: Path) -> Path:
    for place in places:
        if (place / "image_encoder" / "config.json").is_file():
            return place
    raise ValueError(
        f"{' or '.join(map(str, places))} has no image_encoder, which shows this model the picture: "
        f"download image_encoder of {CLIP_SOURCE} (CLIP ViT-H, 1.3 GB) into {folder}"
    )


def _first_file(places: list[Path], stems: tuple[str, ...]) -> Path | None:
    files = (place / f"{stem}{suffix}" for place in places for stem in stems for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def load_stream_vae(config: PresetConfig, paths: WanPaths, dtype: torch.dtype) -> StreamVAE:
    """The autoencoders on the processor, in ``dtype``, without the halves that a stream never uses.

    Raises:
        ValueError: damaged or foreign files, latents of another family, or diffusers is not installed.
    """
    tiny = None
    if paths.tiny is not None:
        tiny = load_tiny_vae(paths.tiny, dtype)
        _check_latents(config, paths.tiny, tiny)
        if paths.vae is None:
            return tiny
    assert paths.vae is not None
    wan = load_wan_vae(paths.vae, dtype)
    _check_latents(config, paths.vae, wan)
    if tiny is not None:
        wan.autoencoder.decoder = wan.autoencoder.post_quant_conv = None
        return PairedVAE(wan, tiny).eval()
    if config.model.first_frame == "none":
        wan.autoencoder.encoder = wan.autoencoder.quant_conv = None
    return wan


def _check_latents(config: PresetConfig, path: Path, vae: WanVAE | TinyVAE) -> None:
    found, wanted = (vae.latent_channels, vae.stride), (config.model.latent_channels, config.geometry.stride)
    if found != wanted:
        raise ValueError(
            f"{path} makes latents of {found[0]} channels for {found[1]}x{found[1]} pixels, {config.name} reads {wanted[0]} "
            f"for {wanted[1]}x{wanted[1]}: take the autoencoder of {config.vae_kind}"
        )


def load_text(config: PresetConfig, paths: WanPaths, device: torch.device) -> WanText:
    """The text encoder; nothing large is loaded until a prompt that is not remembered.

    Raises:
        ValueError: another model than UMT5, or of another width.
    """
    text = WanText(paths.text, text_len=config.model.text_len, device=device)
    if text.text_dim != config.model.text_dim:
        raise ValueError(
            f"{paths.text / 'text_encoder'} gives rows of {text.text_dim} numbers, {config.name} reads "
            f"{config.model.text_dim}: take UMT5-XXL of {SOURCES[config.vae_kind].diffusers}"
        )
    return text


def load_picture_rows(config: PresetConfig, paths: WanPaths, device: torch.device) -> ClipVision | None:
    """The picture encoder, None for a model without one; nothing large is loaded until a picture comes.

    Raises:
        ValueError: another model than CLIP's vision tower, or of another width.
    """
    if paths.image is None:
        return None
    clip = ClipVision(paths.image, device=device, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32)
    if clip.dim != config.model.image_dim:
        raise ValueError(
            f"{clip.folder} gives rows of {clip.dim} numbers, {config.name} reads {config.model.image_dim}: "
            f"take image_encoder of {CLIP_SOURCE}"
        )
    return clip
