"""Wan's three forms at small widths: presets, networks random in every weight, and diffusers' class for comparison."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from motionstream.config import ModelConfig, PresetConfig, TrackConfig, VAEConfig
from motionstream.models.dit import WanDiT
from motionstream.shapes import VideoGeometry

FORMS: dict[str, dict[str, Any]] = {
    "t2v": {"first_frame": "none"},
    "i2v": {"first_frame": "concat", "after_picture": "grey", "image_dim": 20},
    "ti2v": {"first_frame": "clean", "latent_channels": 6},
}


def small_preset(form: str = "t2v", *, tracks: int = 0, **model: Any) -> PresetConfig:
    """A preset of one of Wan's forms, by default of two heads of width 16."""
    values: dict[str, Any] = {
        "latent_channels": 4, "dim": 32, "ffn_dim": 48, "num_heads": 2, "num_layers": 2, "patch": 2, "freq_dim": 32,
        "text_dim": 12, "text_len": 512, "time_precision": "float32", "tracks": TrackConfig(code_dim=4, channels=tracks),
    }  # fmt: skip
    config = ModelConfig(**(values | FORMS[form] | model))
    stride = 16 if form == "ti2v" else 8
    return PresetConfig(
        name=f"small-{form}{'-tracks' if tracks else ''}",
        geometry=VideoGeometry(height=4 * stride, width=6 * stride, stride=stride, patch=2),
        model=config,
        vae=VAEConfig(latent_channels=config.latent_channels, stride=stride),
        vae_kind="wan2.2" if form == "ti2v" else "wan2.1",
        text_kind="umt5",
        clip_frames=9,
    )


@pytest.fixture
def make_preset() -> Callable[..., PresetConfig]:
    return small_preset


@torch.no_grad()
def randomize(module: torch.nn.Module, seed: int) -> None:
    """Random in every weight and bias: what an initialisation zeroes would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(module.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim == 1 or "table" in name or "modulation" in name:
            weight.copy_(1 + 0.2 * noise if "norm" in name and name.endswith("weight") else 0.3 * noise)
        else:
            weight.copy_(noise * weight[0].numel() ** -0.5)


@pytest.fixture
def make_model() -> Callable[..., WanDiT]:
    def make(preset: PresetConfig, seed: int = 0) -> WanDiT:
        model = WanDiT(preset.model, preset.geometry.t_stride).eval()
        randomize(model, seed)
        return model

    return make


@pytest.fixture(scope="session")
def wan_transformer() -> Any:
    """diffusers' ``WanTransformer3DModel``; installed by the extras ``wan`` and ``dev``."""
    return pytest.importorskip("diffusers", reason="diffusers is not installed (extra wan)").WanTransformer3DModel


@pytest.fixture
def make_reference(wan_transformer: Any) -> Callable[..., Any]:
    """diffusers' network of a preset, random in every weight."""

    def make(preset: PresetConfig, seed: int = 0) -> Any:
        model = preset.model
        made = wan_transformer(
            patch_size=(1, model.patch, model.patch),
            num_attention_heads=model.num_heads,
            attention_head_dim=model.head_dim,
            in_channels=model.in_channels,
            out_channels=model.latent_channels,
            text_dim=model.text_dim,
            freq_dim=model.freq_dim,
            ffn_dim=model.ffn_dim,
            num_layers=model.num_layers,
            image_dim=model.image_dim or None,
            added_kv_proj_dim=model.dim if model.image_dim else None,
        ).eval()
        randomize(made, seed)
        return made

    return make


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value wanted."""
    return float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max())


@pytest.fixture
def error_of() -> Callable[[Tensor, Tensor], float]:
    return relative_error
