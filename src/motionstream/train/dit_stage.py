"""What the stages that train a DiT share: their state, the average that people use, and its export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from motionstream.config import CacheConfig, PresetConfig
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.load import save_config, save_weights
from motionstream.models.tensor_files import read_settings
from motionstream.models.vae import NanoVAE
from motionstream.train.ema import EMA


class DiTStage:
    """A stage (see :class:`motionstream.train.loop.Stage`) without its steps; ``parts`` names what a checkpoint holds."""

    parts: tuple[str, ...] = ("model", "optimizer", "ema")
    exports = "student.safetensors"
    ema: EMA

    def __init__(self, preset: PresetConfig, steps: int, vae: NanoVAE, compute: Compute) -> None:
        self.preset, self.steps, self.compute = preset, steps, compute
        self.vae = vae.to(compute.device).eval()

    def state_dict(self) -> dict[str, Any]:
        return {part: getattr(self, part).state_dict() for part in self.parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part in self.parts:
            getattr(self, part).load_state_dict(state[part])

    def averaged(self) -> WanDiT:
        model = WanDiT(self.preset.model, self.preset.geometry.t_stride).to(self.compute.device).eval()
        self.ema.copy_to(model)
        return model

    def export(self, folder: Path) -> None:
        export_weights(folder / self.exports, self.averaged(), self.preset)


def export_weights(path: Path, model: WanDiT, preset: PresetConfig) -> None:
    """Write a model as people use it: float16, with ``config.json`` beside it."""
    save_config(path.parent, preset)  # before the weights: a run that has these is not exported again
    save_weights(path, model, dtype=torch.float16)


def with_levels(preset: PresetConfig, sigmas: tuple[float, ...]) -> PresetConfig:
    """``preset`` with these noise levels of the student; () leaves its own.

    Raises:
        ValueError: levels that do not descend within (0, 1].
    """
    return replace(preset, sample=replace(preset.sample, student_sigmas=sigmas)) if sigmas else preset


def with_late_codes(preset: PresetConfig, *students: Path, p_late_tracks: float = 0.0) -> PresetConfig:
    """``preset`` of a student with codes for what frame 0 does not show only where it learnt such: from tracks that begin
    late, or before, when all ``students`` (files) that it is made of did. What never learnt them draws coloured blocks.

    Raises:
        ValueError: a damaged ``config.json`` beside one of them.
    """
    learnt = p_late_tracks > 0 or (bool(students) and all(_knows_late_codes(student.parent) for student in students))
    return replace(preset, sample=replace(preset.sample, late_codes=learnt))


def _knows_late_codes(folder: Path) -> bool:
    """What ``config.json`` says; one without the setting is from before any student learnt them."""
    path = folder / "config.json"
    sample = read_settings(path).get("sample") if path.is_file() else None
    return isinstance(sample, dict) and sample.get("late_codes") is True


def with_cache(preset: PresetConfig, tag: str) -> PresetConfig:
    """The preset with cache setting ``tag`` ("c3s1w1"), or as it is for "".

    Raises:
        UserError: a tag of another form.
    """
    return replace(preset, cache=CacheConfig.parse(tag)) if tag else preset


def clip_latents(preset: PresetConfig, num_frames: int) -> int:
    """Latent frames of a clip of ``num_frames`` pixel frames.

    Raises:
        ValueError: a length that does not fit, or the picture alone, of which there is nothing to learn.
    """
    latents = preset.geometry.latent_frames(num_frames)
    if latents < 2:
        raise ValueError(f"num_frames={num_frames} is the picture alone: use at least {preset.geometry.pixel_frames(2)}")
    return latents


def whole_chunks(preset: PresetConfig, num_frames: int) -> int:
    """How many chunks a clip of ``num_frames`` pixel frames has.

    Raises:
        ValueError: when it ends within one, or is the picture alone.
    """
    size, geometry = preset.cache.chunk_frames, preset.geometry
    chunks, rest = divmod(clip_latents(preset, num_frames), size)
    if rest:
        raise ValueError(
            f"num_frames={num_frames} is not a whole number of chunks of {size} latent frames; use "
            f"{geometry.pixel_frames(size * max(1, chunks))}"
        )
    return chunks
