"""Named sizes. The only place with magic numbers; every preset is a function that returns a frozen configuration."""

from __future__ import annotations

from collections.abc import Callable

from motionstream.config import CacheConfig, ModelConfig, PresetConfig, SampleConfig, TrackConfig, VAEConfig
from motionstream.shapes import VideoGeometry

NANO_TRACKS = TrackConfig(
    code="gaussian", code_scale=1.0, splat="bilinear", channels=64, head_bias=False, first_pad="repeat"
)


def nano() -> PresetConfig:
    """128x96 pixels, 16 fps: small enough to train and to stream on two processor cores."""
    return PresetConfig(
        name="nano",
        geometry=VideoGeometry(height=96, width=128, stride=8, t_stride=4, patch=1, fps=16.0),
        model=ModelConfig(
            latent_channels=24,
            dim=256,
            ffn_dim=768,
            num_heads=4,
            num_layers=6,
            patch=1,
            text_dim=64,
            text_len=16,
            first_frame="repeat",
            prediction="x0",
            tracks=NANO_TRACKS,
        ),
        vae=VAEConfig(latent_channels=24),
        cache=CacheConfig(chunk_frames=3, sink_chunks=1, window_chunks=1),
        sample=SampleConfig(shift=3.0),
    )


def tiny_debug() -> PresetConfig:
    """nano's design at the smallest useful size, for tests: random weights, no meaning in its pictures."""
    return PresetConfig(
        name="tiny-debug",
        geometry=VideoGeometry(height=32, width=48, stride=8, t_stride=4, patch=1, fps=16.0),
        model=ModelConfig(
            latent_channels=4,
            dim=48,
            ffn_dim=96,
            num_heads=4,
            num_layers=2,
            freq_dim=32,
            text_dim=64,
            text_len=4,
            first_frame="repeat",
            prediction="x0",
            tracks=TrackConfig(code_dim=8, channels=8, code="gaussian", splat="bilinear", first_pad="repeat"),
        ),
        vae=VAEConfig(latent_channels=4, width=8, width_out=8, depth=1, depth_out=1),
        sample=SampleConfig(teacher_steps=2),
    )


PRESETS: dict[str, Callable[[], PresetConfig]] = {"nano": nano, "tiny-debug": tiny_debug}


def preset(name: str) -> PresetConfig:
    """Preset by its command-line name; ``ValueError`` lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]()
