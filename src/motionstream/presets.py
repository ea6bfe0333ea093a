"""Named sizes. The only place with magic numbers; every preset is a function that returns a frozen configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from motionstream.config import CacheConfig, ModelConfig, PresetConfig, SampleConfig, TrackConfig, VAEConfig
from motionstream.shapes import VideoGeometry

NANO_TRACKS = TrackConfig(
    code="origin", code_dim=22, code_scale=2.0, splat="bilinear", channels=64, head_bias=False, first_pad="repeat"
)


def nano() -> PresetConfig:
    """192x144 pixels, 24 fps: small enough to train and to stream on two processor cores.

    Chunks of one latent frame (four pixel frames): a hand is followed within a third of a second, and few tokens attend to
    few. One noise level: more changed nothing that was measured (docs/LOG.md, 2026-11-29), and what they cost pays for
    pictures of more than twice the pixels. From nothing its students are trained at 128x96, in the paper's chunks of three
    first (docs/training.md, "rechunk").
    """
    return PresetConfig(
        name="nano",
        geometry=VideoGeometry(height=144, width=192, stride=8, t_stride=4, patch=1, fps=24.0),
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
        vae=VAEConfig(latent_channels=24, smooth_seams=True),
        cache=CacheConfig(chunk_frames=1, sink_chunks=1, window_chunks=2),
        sample=SampleConfig(student_sigmas=(1.0,), shift=3.0, hand_px=3.0, hold_moved=True),
        more_sizes=((96, 128), (192, 256)),
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


WAN_TEXT_DIM, WAN_TEXT_LEN, WAN_FREQ_DIM, CLIP_DIM = 4096, 512, 256, 1280
NO_TRACKS = TrackConfig(channels=0)

# The paper trains a student for three steps and does not print them: evenly spaced timesteps, warped by Self-Forcing's
# shift of 5 (1000, 909.1, 714.3). Self-Forcing's own four are [1000, 750, 500, 250] warped the same way.
THREE_STEPS = (1.0, 10 / 11, 5 / 7)
SELF_FORCING_STEPS = (1.0, 0.9375, 5 / 6, 0.625)


def wan2_1_1_3b() -> PresetConfig:
    """Wan 2.1 1.3B at 832x480 and 16 fps, from a picture (Wan-Fun's inpainting form with CLIP rows) and tracks.

    16 noisy + 4 mask + 16 picture + 16 track channels. Guidance, shift, clip and cache are the paper's; its choices that
    are not printed are settings here: the student's steps, what follows the picture, the track head (TrackConfig).
    """
    return PresetConfig(
        name="wan2.1-1.3b",
        geometry=VideoGeometry(height=480, width=832, stride=8, t_stride=4, patch=2, fps=16.0),
        model=ModelConfig(
            latent_channels=16,
            dim=1536,
            ffn_dim=8960,
            num_heads=12,
            num_layers=30,
            patch=2,
            freq_dim=WAN_FREQ_DIM,
            text_dim=WAN_TEXT_DIM,
            text_len=WAN_TEXT_LEN,
            first_frame="concat",
            after_picture="grey",
            image_dim=CLIP_DIM,
            tracks=TrackConfig(),
            time_precision="float32",
        ),
        vae=VAEConfig(latent_channels=16, stride=8, t_stride=4),
        sample=SampleConfig(student_sigmas=THREE_STEPS, teacher_steps=50),
        vae_kind="wan2.1",
        text_kind="umt5",
        clip_frames=81,
    )


def wan2_1_1_3b_i2v() -> PresetConfig:
    """Wan 2.1 1.3B from a picture, without tracks: the public Wan-Fun inpainting weights as they are."""
    made = wan2_1_1_3b()
    return replace(
        made,
        name="wan2.1-1.3b-i2v",
        model=replace(made.model, tracks=NO_TRACKS),
        sample=replace(made.sample, student_sigmas=SELF_FORCING_STEPS, shift=3.0, text_guidance=5.0, motion_guidance=0.0),
    )


def wan2_1_1_3b_t2v() -> PresetConfig:
    """Wan 2.1 1.3B from text alone: fits public Wan weights, and those of the Self-Forcing family as the student."""
    made = wan2_1_1_3b()
    return replace(
        made,
        name="wan2.1-1.3b-t2v",
        model=replace(made.model, first_frame="none", after_picture="zero", image_dim=0, tracks=NO_TRACKS),
        sample=replace(made.sample, student_sigmas=SELF_FORCING_STEPS, shift=5.0, text_guidance=5.0, motion_guidance=0.0),
    )


def wan2_2_5b() -> PresetConfig:
    """Wan 2.2 5B at 1280x704 and 24 fps, from a picture given as the first clean latent (TI2V), and tracks."""
    return PresetConfig(
        name="wan2.2-5b",
        geometry=VideoGeometry(height=704, width=1280, stride=16, t_stride=4, patch=2, fps=24.0),
        model=ModelConfig(
            latent_channels=48,
            dim=3072,
            ffn_dim=14336,
            num_heads=24,
            num_layers=30,
            patch=2,
            freq_dim=WAN_FREQ_DIM,
            text_dim=WAN_TEXT_DIM,
            text_len=WAN_TEXT_LEN,
            first_frame="clean",
            tracks=TrackConfig(),
            time_precision="float32",
        ),
        vae=VAEConfig(latent_channels=48, stride=16, t_stride=4),
        sample=SampleConfig(student_sigmas=THREE_STEPS, teacher_steps=50),
        vae_kind="wan2.2",
        text_kind="umt5",
        clip_frames=121,
    )


def wan2_2_5b_ti2v() -> PresetConfig:
    """Wan 2.2 5B without tracks: the public TI2V weights as they are."""
    made = wan2_2_5b()
    return replace(
        made,
        name="wan2.2-5b-ti2v",
        model=replace(made.model, tracks=NO_TRACKS),
        sample=replace(made.sample, student_sigmas=SELF_FORCING_STEPS, shift=5.0, text_guidance=5.0, motion_guidance=0.0),
    )


PRESETS: dict[str, Callable[[], PresetConfig]] = {
    "nano": nano,
    "tiny-debug": tiny_debug,
    "wan2.1-1.3b": wan2_1_1_3b,
    "wan2.1-1.3b-i2v": wan2_1_1_3b_i2v,
    "wan2.1-1.3b-t2v": wan2_1_1_3b_t2v,
    "wan2.2-5b": wan2_2_5b,
    "wan2.2-5b-ti2v": wan2_2_5b_ti2v,
}


def preset(name: str) -> PresetConfig:
    """Preset by its command-line name; ``ValueError`` lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]()
