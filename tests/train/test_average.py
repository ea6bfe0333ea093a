"""The mean of two students: its arithmetic, and what it refuses, as the command line says it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from motionstream.cli import main
from motionstream.config import CacheConfig, to_json, with_overrides
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.presets import tiny_debug


def student(folder: Path, seed: int, *overrides: str) -> Path:
    preset = with_overrides(tiny_debug(), list(overrides))
    model = WanDiT(preset.model, preset.geometry.t_stride)
    init_from_scratch(model, seed)
    save_weights(folder / "student.safetensors", model, dtype=torch.float16)
    return folder


def average(tmp_path: Path, *more: str, settings: tuple[str, ...] = ()) -> int:
    first = tmp_path / "first"
    argv = ["train", "average", "--preset", "tiny-debug", "--student", str(first), "--out", str(tmp_path / "mean"), *more]
    return main([*argv, *(["--set", *settings] if settings else [])])


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    return student(tmp_path / "first", 1), student(tmp_path / "other", 2)


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_weights_are_the_weighted_mean(pair, tmp_path, share, capsys):
    assert average(tmp_path, settings=(f"other={pair[1]}", f"share={share}")) == 0
    first, other, mean = (load_file(tmp_path / name / "student.safetensors") for name in ("first", "other", "mean"))
    assert mean.keys() == first.keys()
    for name, value in mean.items():
        wanted = (1 - share) * first[name].double() + share * other[name].double()
        torch.testing.assert_close(value.double(), wanted, atol=1e-7, rtol=1e-3)
        assert value.dtype == torch.float16
    assert any(not torch.equal(first[name], other[name]) for name in first)
    unsaid = with_overrides(tiny_debug(), ["sample.late_codes=false"])  # nothing beside them says that they know such
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(unsaid)
    assert f"{share:g} of {pair[1]}" in capsys.readouterr().out


def test_what_another_training_gained_is_added(pair, tmp_path, capsys):
    base = student(tmp_path / "base", 3)
    assert average(tmp_path, settings=(f"other={pair[1]}", f"base={base}", "share=0.5")) == 0
    first, other, before, made = (
        load_file(tmp_path / name / "student.safetensors") for name in ("first", "other", "base", "mean")
    )
    for name, value in made.items():
        wanted = first[name].double() + 0.5 * (other[name].double() - before[name].double())
        torch.testing.assert_close(value.double(), wanted, atol=2e-6, rtol=2e-3)
    assert f"0.5 of what {pair[1]} gained over {base}" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "mean")
    assert average(tmp_path, settings=(f"other={pair[1]}", f"base={tmp_path / 'nowhere'}")) == 2
    assert "does not exist" in refused(capsys)


def test_the_mean_has_the_size_of_both(pair, tmp_path):
    large = tiny_debug().sized(48, 64)
    for folder in pair:
        (folder / "config.json").write_text(to_json(large))
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(large)


def test_means_of_two_sizes_are_made_for_the_one_that_is_said(pair, tmp_path, capsys):
    large = tiny_debug().sized(48, 64)
    (pair[0] / "config.json").write_text(to_json(tiny_debug()))
    (pair[1] / "config.json").write_text(to_json(large))
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 2
    assert "made for 48x32 pixels and" in (said := refused(capsys))
    assert said.endswith("as with --size 64x48")
    assert average(tmp_path, "--size", "64x48", settings=(f"other={pair[1]}",)) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(large)


def test_the_mean_is_made_for_the_setting_of_both(pair, tmp_path, capsys):
    short = replace(tiny_debug(), cache=CacheConfig.parse("c1s1w2"))
    for folder in pair:
        (folder / "config.json").write_text(to_json(short))
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(short)
    (pair[1] / "config.json").write_text(to_json(tiny_debug()))
    shutil.rmtree(tmp_path / "mean")
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 2
    assert "for c1s1w2 and" in refused(capsys)
    assert average(tmp_path, settings=(f"other={pair[1]}", "cache=c1s1w2")) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(short)


def test_the_mean_is_made_for_the_noise_levels_of_both(pair, tmp_path, capsys):
    two = with_overrides(tiny_debug(), ["sample.student_sigmas=[1,0.7]"])
    for folder in pair:
        (folder / "config.json").write_text(to_json(two))
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(two)
    (pair[0] / "config.json").write_text(to_json(tiny_debug()))
    shutil.rmtree(tmp_path / "mean")
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 2
    assert 'say what the mean is for, as with "sigmas=[1,0.7]"' in refused(capsys)
    assert average(tmp_path, settings=(f"other={pair[1]}", "sigmas=[1,0.7]")) == 0
    assert (tmp_path / "mean" / "config.json").read_text() == to_json(two)


def refused(capsys) -> str:
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    return error.splitlines()[-1]


@pytest.mark.parametrize("share", ["-0.1", "1.5", "NaN"])
def test_a_share_outside_is_refused(pair, tmp_path, share, capsys):
    assert average(tmp_path, settings=(f"other={pair[1]}", f"share={share}")) == 2
    assert "must lie in [0, 1]" in refused(capsys)


def test_what_is_missing_or_of_another_kind_is_refused(pair, tmp_path, capsys):
    assert average(tmp_path) == 2
    assert "--set other=DIR" in refused(capsys)
    assert average(tmp_path, settings=(f"other={tmp_path / 'nowhere'}",)) == 2
    assert "does not exist" in refused(capsys)
    deeper = student(tmp_path / "deeper", 3, "model.num_layers=3")
    assert average(tmp_path, settings=(f"other={deeper}",)) == 2
    assert "another architecture" in refused(capsys)
    assert average(tmp_path, "--steps", "5", settings=(f"other={pair[1]}",)) == 2
    assert "no --steps" in refused(capsys)
    assert not (tmp_path / "mean").exists()


def test_a_student_that_is_there_is_kept(pair, tmp_path, capsys):
    kept = student(tmp_path / "mean", 4) / "student.safetensors"
    before = kept.read_bytes()
    assert average(tmp_path, settings=(f"other={pair[1]}",)) == 2
    assert "already holds student.safetensors" in refused(capsys)
    assert kept.read_bytes() == before
