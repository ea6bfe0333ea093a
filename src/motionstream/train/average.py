"""A mean of two students' weights, or what one training gained added to another student: with less of what it spoiled.

motionstream train average --student runs/work/student --out runs/work/mixed --set other=runs/work/distilled share=0.7
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from motionstream.config import PresetConfig
from motionstream.models.dit import WanDiT
from motionstream.models.load import load_weights
from motionstream.train.dit_stage import export_weights, with_late_codes


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """Args: ``other``: folder with the second ``student.safetensors``, trained from the first; ``share``: its weight in
    the mean, in [0, 1]; ``base``: folder of the student that the second was trained from, where that is not the first but an
    earlier one: ``share`` of what the second gained over it is added to the first; ``cache`` and ``sigmas``: the setting and
    the noise levels that the result is for, where the two were made for different ones."""

    other: str = ""
    base: str = ""
    share: float = 0.5
    cache: str = ""
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share} must lie in [0, 1]: it is the weight of the other student")


@torch.no_grad()
def average_students(preset: PresetConfig, config: AverageConfig, student: Path, folder: Path) -> None:
    """Write ``student + share * (other - base)`` to ``folder/student.safetensors``, with ``config.json``. Without a base
    that is the student itself: ``(1 - share) * student + share * other``.

    Raises:
        ValueError: no ``other``, a file that is missing, damaged or of another architecture than ``preset``, or a student in
            ``folder`` already.
    """
    if not config.other:
        raise ValueError("train average needs a second student: --set other=DIR with student.safetensors")
    path = folder / "student.safetensors"
    if path.exists():
        raise ValueError(f"{folder} already holds student.safetensors: choose another --out folder")
    model, other, base = (WanDiT(preset.model, preset.geometry.t_stride) for _ in range(3))
    second = Path(config.other) / "student.safetensors"
    load_weights(student, model)
    load_weights(second, other)
    load_weights(Path(config.base) / "student.safetensors" if config.base else student, base)
    for mine, its, before in zip(model.parameters(), other.parameters(), base.parameters(), strict=True):
        mine.add_(its - before, alpha=config.share)
    mixed = (student,) if config.base else (student, second)  # a mean knows what both know; a gain takes nothing away
    export_weights(path, model, with_late_codes(preset, *mixed))
