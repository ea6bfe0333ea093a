"""Folders as people have them for Wan, at the smallest sizes: every file is real and random, only small."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from motionstream.config import CacheConfig, PresetConfig, SampleConfig, to_json
from motionstream.models.dit import WanDiT
from motionstream.models.load import save_weights
from motionstream.models.tiny_vae import TinyVAE
from motionstream.models.wan_vae import LATENT_MEAN_21, LATENT_MEAN_22, LATENT_STD_21, LATENT_STD_22
from motionstream.presets import preset
from motionstream.shapes import VideoGeometry

WORDS = ["<pad>", "</s>", "<unk>", "a", "cup", "ball", "moves", "left", "right", "red"]
FORMS = ("wan2.1-1.3b", "wan2.1-1.3b-i2v", "wan2.1-1.3b-t2v", "wan2.2-5b", "wan2.2-5b-ti2v")
VAE_FORMS = {
    "wan2.1": {"base_dim": 4, "z_dim": 16, "num_res_blocks": 1,
               "latents_mean": list(LATENT_MEAN_21), "latents_std": list(LATENT_STD_21)},
    "wan2.2": {"base_dim": 4, "decoder_base_dim": 8, "z_dim": 48, "num_res_blocks": 1, "is_residual": True,
               "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
               "latents_mean": list(LATENT_MEAN_22), "latents_std": list(LATENT_STD_22)},
}  # fmt: skip


def small(name: str) -> PresetConfig:
    """A Wan preset with its own form and strides, and hardly any width: 4x4 or 2x4 tokens a latent frame."""
    made = preset(name)
    stride = made.geometry.stride
    tracks = replace(made.model.tracks, code_dim=8, channels=4) if made.model.tracks.channels else made.model.tracks
    return replace(
        made,
        geometry=VideoGeometry(height=64, width=64 if stride == 8 else 128, stride=stride, patch=2, fps=made.geometry.fps),
        model=replace(
            made.model, dim=32, ffn_dim=48, num_heads=2, num_layers=2, freq_dim=16, text_dim=16, text_len=6,
            image_dim=16 if made.model.image_dim else 0, tracks=tracks,
        ),
        cache=CacheConfig(chunk_frames=3),
        sample=SampleConfig(student_sigmas=(1.0, 0.8, 0.5)),
        clip_frames=13,
    )  # fmt: skip


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every weight matters: zeros would hide what is dropped."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            scale = 0.3 if weight.ndim == 1 or "modulation" in name else weight[0].numel() ** -0.5
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if "norm" in name and weight.ndim == 1 else noise * scale)
    return module


def write_weights(folder: Path, name: str) -> PresetConfig:
    """``config.json`` and ``student.safetensors``, as ``motionstream convert`` writes them."""
    config = small(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(to_json(config))
    save_weights(folder / "student.safetensors", randomise(WanDiT(config.model, config.geometry.t_stride)))
    return config


def write_vae(folder: Path, kind: str) -> None:
    """``vae/`` as diffusers writes it."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    vae = AutoencoderKLWan(**VAE_FORMS[kind])
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if "gamma" not in name:  # widths this small need larger weights for the output to move at all
                weight.mul_(1.5)
    vae.save_pretrained(folder / "vae")


def write_tiny(folder: Path, kind: str) -> None:
    """A TAEHV file under its public name."""
    vae = randomise(TinyVAE(16, 1) if kind == "wan2.1" else TinyVAE(48, 2), seed=1)
    save_file(dict(vae.state_dict()), folder / f"tae{kind.replace('wan', 'w').replace('.', '_')}.safetensors")


def write_text(folder: Path) -> None:
    """``text_encoder/`` and ``tokenizer/``."""
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    config = transformers.UMT5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    transformers.UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")


def write_clip(folder: Path) -> None:
    """``image_encoder/``."""
    import transformers

    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, projection_dim=8, num_hidden_layers=3, num_attention_heads=2,
        image_size=28, patch_size=14, hidden_act="gelu",
    )  # fmt: skip
    tower = randomise(transformers.CLIPVisionModel(config), seed=2)
    tower.save_pretrained(folder / "image_encoder")  # type: ignore[operator]


def write_all(folder: Path, name: str, *, skip: tuple[str, ...] = ()) -> PresetConfig:
    """A whole folder; ``skip`` leaves out "vae", "tiny", "text" or "clip"."""
    config = write_weights(folder, name)
    parts: dict[str, Callable[[], None]] = {
        "vae": lambda: write_vae(folder, config.vae_kind),
        "tiny": lambda: write_tiny(folder, config.vae_kind),
        "text": lambda: write_text(folder),
        "clip": lambda: write_clip(folder),
    }
    for part, write in parts.items():
        if part not in skip and (part != "clip" or config.model.image_dim):
            write()
    return config
