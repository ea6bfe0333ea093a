"""What a student is exported with: codes of what frame 0 does not show only where it learnt such."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motionstream.config import to_json
from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.find_weights import read_config
from motionstream.stream.random_parts import random_planes
from motionstream.train.average import AverageConfig, average_students
from motionstream.train.causal_init import CausalInitConfig, CausalInitStage
from motionstream.train.distill import DistillConfig, DistillStage
from motionstream.train.rechunk import RechunkConfig, RechunkStage

PRESET = tiny_debug()  # as every preset, it asks for such codes
CPU = choose_compute("cpu", "float32")


@pytest.fixture
def vae() -> NanoVAE:
    made = NanoVAE(PRESET.vae)
    made.fit_linear(random_planes(PRESET, 500))
    return made


def folder(path: Path, late_codes: bool | None) -> Path:
    """A student, with ``config.json`` beside it unless ``late_codes`` is None; the same file stands for a teacher."""
    model = WanDiT(PRESET.model, PRESET.geometry.t_stride)
    init_from_scratch(model)
    for name in ("student", "teacher"):
        save_weights(path / f"{name}.safetensors", model, dtype=torch.float16)
    if late_codes is not None:
        sample = replace(PRESET.sample, late_codes=late_codes)
        (path / "config.json").write_text(to_json(replace(PRESET, sample=sample)))
    return path


def exported(stage, path: Path) -> bool:
    path.mkdir()
    stage.export(path)
    return read_config(path).sample.late_codes


@pytest.mark.parametrize("before", [True, False, None])
def test_what_goes_on_from_a_student_knows_what_that_one_knew(vae, tmp_path, before):
    student = folder(tmp_path / "before", before)
    files = student / "teacher.safetensors", student / "student.safetensors"
    init = CausalInitConfig(batch=1, num_frames=33, init=str(student))
    stages = {
        "init": CausalInitStage(PRESET, init, vae, files[0], CPU),
        "distilled": DistillStage(PRESET, DistillConfig(batch=1, num_frames=33), vae, *files, CPU),
        "short": RechunkStage(PRESET, RechunkConfig(num_frames=33), vae, files[1], PRESET.cache, CPU),
    }
    for name, stage in stages.items():
        assert exported(stage, tmp_path / name) is (before is True), name


def test_a_student_of_a_teacher_has_learnt_none(vae, tmp_path):
    path = folder(tmp_path / "teacher", True) / "teacher.safetensors"
    assert not exported(CausalInitStage(PRESET, CausalInitConfig(num_frames=33), vae, path, CPU), tmp_path / "student")


def test_tracks_that_begin_late_teach_them(vae, tmp_path):
    path = folder(tmp_path / "before", False) / "student.safetensors"
    config = RechunkConfig(num_frames=33, p_late_tracks=0.7)
    assert exported(RechunkStage(PRESET, config, vae, path, PRESET.cache, CPU), tmp_path / "late")


def test_a_student_gone_on_with_counts_and_not_its_guide(vae, tmp_path):
    guide, begun = (folder(tmp_path / name, name == "guide") for name in ("guide", "begun"))
    config = RechunkConfig(num_frames=33, init=str(begun))
    stage = RechunkStage(PRESET, config, vae, guide / "student.safetensors", PRESET.cache, CPU)
    assert not exported(stage, tmp_path / "made")


@pytest.mark.parametrize(("first", "second", "base", "knows"), [
    (True, True, False, True), (True, False, False, False), (False, True, False, False),
    (True, False, True, True), (False, True, True, False),
])  # fmt: skip
def test_a_mean_knows_what_both_know_and_a_gain_changes_nothing(tmp_path, first, second, base, knows):
    one, other = folder(tmp_path / "one", first), folder(tmp_path / "other", second)
    config = AverageConfig(other=str(other), base=str(folder(tmp_path / "base", False)) if base else "")
    average_students(PRESET, config, one / "student.safetensors", tmp_path / "made")
    assert read_config(tmp_path / "made").sample.late_codes is knows


def test_a_damaged_config_beside_a_student_is_named(vae, tmp_path):
    student = folder(tmp_path / "before", True)
    (student / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        CausalInitStage(
            PRESET, CausalInitConfig(num_frames=33, init=str(student)), vae, student / "teacher.safetensors", CPU
        )
