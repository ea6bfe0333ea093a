"""`train recall` from the command line, and `--no-recall` where frames are measured."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from motionstream.cli import main
from motionstream.config import CacheConfig, to_json
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.find_weights import read_config
from motionstream.stream.random_parts import random_planes
from motionstream.train.recall import RecallStage

ON_CPU = ("--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of tiny-debug with ids that say where a track begins, and what `train recall` made of it."""
    folder, preset = tmp_path_factory.mktemp("weights"), tiny_debug()
    preset = replace(preset, model=replace(preset.model, tracks=replace(preset.model.tracks, code="origin", code_dim=22)))
    torch.manual_seed(0)
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    vae.fit_linear(random_planes(preset, 500))
    (folder / "config.json").write_text(to_json(preset))
    save_weights(folder / "student.safetensors", model, dtype=torch.float16)
    save_weights(folder / "vae.safetensors", vae, dtype=torch.float16)
    run = folder / "run"
    given = ["--vae", str(folder), "--student", str(folder), "--out", str(run), *ON_CPU]
    settings = ["batch=1", "num_frames=9", "frames_per_clip=2", "p_student=0.5", "loop.sheet_steps=2"]
    assert main(["train", "recall", "--preset", str(folder), *given, "--steps", "2", "--set", *settings]) == 0
    assert (run / "sheet_000002.png").is_file()
    shutil.copy(run / "recall.safetensors", folder)
    return folder


def test_a_run_is_gone_on_with(weights, capsys):
    run = weights / "run"
    argv = ["train", "recall", "--preset", str(weights), "--vae", str(weights), "--student", str(weights), *ON_CPU]
    settings = ["--set", "batch=1", "num_frames=9", "frames_per_clip=2", "p_student=0.5"]
    assert main([*argv, "--out", str(run), "--resume", "--steps", "3", *settings]) == 0
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 3
    assert main([*argv, "--out", str(weights / "more"), "--steps", "1", *settings, f"init={run}"]) == 0


def test_the_student_streams_as_it_was_made_for(weights, tmp_path, monkeypatch, capsys):
    """Whatever chunks and noise levels the preset has."""
    preset = read_config(weights)
    other = replace(preset, cache=CacheConfig.parse("c1s1w2"), sample=replace(preset.sample, student_sigmas=(1.0,)))
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text(to_json(other))
    seen = []
    streamed = RecallStage.streamed

    def spied(self, batch, seed):
        seen.append((self.preset.cache, self.preset.sample.student_sigmas))
        return streamed(self, batch, seed)

    monkeypatch.setattr(RecallStage, "streamed", spied)
    student = tmp_path / "student"
    student.mkdir()
    for name in ("student.safetensors", "config.json"):
        shutil.copy(weights / name, student)
    argv = ["train", "recall", "--preset", str(tmp_path / "preset"), "--vae", str(weights), "--student", str(student)]
    argv += ["--out", str(tmp_path / "run"), *ON_CPU, "--steps", "1"]
    settings = ["--set", "batch=1", "num_frames=9", "frames_per_clip=2", "p_student=1"]
    assert main([*argv, *settings]) == 0
    assert seen == [(preset.cache, preset.sample.student_sigmas)]
    (student / "config.json").write_text(to_json(other))
    assert main([*argv, *settings, "--resume"]) == 2
    assert "another --student's setting (mark c3s1w1 [1,0.9,0.7], now c1s1w2 [1])" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--no-recall"]])
def test_frames_are_measured_with_it_unless_one_says_no(weights, more, tmp_path, capsys):
    argv = ["eval", "--preset", str(weights), "--suite", "drags", "--quick", "--scenes", "2", "--no-teacher", *ON_CPU]
    assert main([*argv, "--no-videos", "--json", "--out", str(tmp_path / "out"), *more]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["environment"]["recall"] == (not more)
    assert json.loads((tmp_path / "out" / "run.json").read_text()).get("recall", False) == (not more)
    assert main(["bench", "--preset", str(weights), "--chunks", "4", "--json", *ON_CPU, *more]) == 0


def test_a_preset_whose_ids_say_nothing_is_refused(weights, tmp_path, capsys):
    argv = ["train", "recall", "--preset", "tiny-debug", "--vae", str(weights), "--student", str(weights), *ON_CPU]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "code='gaussian'" in said[-1]
    assert not (tmp_path / "run").exists()
    assert main(["train", "recall", "--preset", str(weights), "--vae", str(weights), "--out", str(tmp_path / "run")]) == 2
    assert "train recall needs --student DIR with student.safetensors" in capsys.readouterr().err
