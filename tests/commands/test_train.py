"""Every training verb on the smallest preset, in order, through the command line; then resume, evaluation and speed."""

import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from motionstream.cli import main
from motionstream.commands.train import _given
from motionstream.device import choose_compute
from motionstream.marks import mark_of
from motionstream.models.load import load_weights, save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.train.loop import LoopConfig
from motionstream.train.rechunk import RechunkConfig
from motionstream.train.teacher import TeacherStage, TeacherTrainConfig
from motionstream.train.vae import VAEStage

SMALL = ["--preset", "tiny-debug", "--device", "cpu", "--dtype", "float32"]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Runs of all stages, two to four steps each, and a folder of weights made of them."""
    root = tmp_path_factory.mktemp("work")

    def train(stage: str, out: str, *more: str) -> None:
        assert main(["train", stage, *SMALL, "--out", str(root / out), *more]) == 0

    vae, teacher = ["--vae", str(root / "vae")], ["--teacher", str(root / "teacher")]
    train("vae", "vae", "--steps", "3", "--set", "batch=2", "fit_clips=8", "num_frames=9", "loop.sheet_steps=3")
    train("teacher", "teacher", *vae, "--steps", "3", "--set", "batch=2", "compile=false", "loop.sheet_steps=3")
    train("ode-pairs", "pairs", *vae, *teacher, "--set", "clips=4", "batch=2", "steps=4")
    train("causal-init", "student", *vae, *teacher, "--steps", "2", "--set", "batch=2", "num_frames=33")
    ode = ["method=ode", f"pairs={root / 'pairs'}"]
    train("causal-init", "ode", *vae, *teacher, "--steps", "2", "--set", "batch=2", *ode)
    student = ["--student", str(root / "student")]
    train("distill", "distilled", *vae, *teacher, *student, "--steps", "5", "--set", "batch=1", "loop.sheet_steps=5")
    train(
        "rechunk",
        "short",
        *vae,
        *student,
        "--steps",
        "3",
        "--set",
        "batch=1",
        "cache=c1s1w1",
        "num_frames=21",
        "loop.sheet_steps=3",
    )
    nano = root / "weights"
    nano.mkdir()
    for source in ("vae/vae.safetensors", "vae/config.json", "teacher/teacher.safetensors", "student/student.safetensors"):
        (nano / Path(source).name).write_bytes((root / source).read_bytes())
    return root


@pytest.mark.parametrize("run", ["vae", "teacher", "student", "ode", "distilled", "short"])
def test_each_run_leaves_config_metrics_and_weights(work, run):
    folder = work / run
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == json.loads((folder / "train_config.json").read_text())["loop"]["steps"]
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in rows)
    assert list(folder.glob("*.safetensors"))
    if run in ("vae", "teacher", "distilled", "short"):
        assert list(folder.glob("sheet_*.png"))


def test_training_changed_the_student(work):
    names = ("teacher/teacher", "student/student", "distilled/student", "ode/student", "short/student")
    files = [(work / f"{name}.safetensors").read_bytes() for name in names]
    assert len(set(files)) == len(files)


def test_a_rechunked_student_streams_in_its_own_chunks_and_is_known_by_them(work, tmp_path, capsys):
    weights = tmp_path / "weights"
    shutil.copytree(work / "weights", weights)
    for name in ("student.safetensors", "config.json"):
        shutil.copy(work / "short" / name, weights)
    assert main(["bench", "--preset", str(weights), "--chunks", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["setting"] == "c1s1w1"
    argv = [
        "train",
        "rechunk",
        *SMALL,
        "--vae",
        str(work / "vae"),
        "--student",
        str(weights),
        "--out",
        str(tmp_path / "run"),
    ]
    said = refused(capsys, *argv, "--set", "cache=c5s1w1", "num_frames=45")
    assert "num_frames=45 must be a whole number of chunks of 1 (c1s1w1) and of 5 (c5s1w1) latent frames: use 37" in said


def test_status(work, capsys):
    assert main(["train", "status", "--out", str(work / "teacher")]) == 0
    assert "step 3 of 3" in capsys.readouterr().out


def test_status_of_a_run_that_is_not_whole(tmp_path, capsys):
    status = ["train", "status", "--out", str(tmp_path)]
    (tmp_path / "train_config.json").write_text('{"clips": 4}')
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 20, "loss": 0.25, "psnr": null, "stage": "vae"}\n[1]\n{"step": 30, "lo'
    )
    assert main(status) == 0
    assert capsys.readouterr().out == f"{tmp_path}: step 20\n  loss 0.25\n"
    (tmp_path / "metrics.jsonl").write_text("")
    assert main(status) == 0
    (tmp_path / "train_config.json").write_text('{"loop": {"st')
    assert "train_config.json is not valid JSON" in refused(capsys, *status)


def test_evaluation_and_speed_end_in_json(work, capsys):
    weights = str(work / "weights")
    assert main(["eval", "--suite", "drags", "--preset", weights, "--scenes", "2", "--quick", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part in (report["student"]["brush"], report["student"]["single"], report["teacher"]["tracks_24"], report["static"]):
        assert part["n"] == 2
        assert part["median_pct"] >= 0
    assert report["tracks_dropped"]["median_pct"] > 0
    assert main(["bench", "--preset", weights, "--chunks", "5", "--json"]) == 0
    speed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert speed["fps"] > 0
    assert speed["setting"] == "c3s1w1"
    assert set(speed["split_ms"]) == {"commit", "tracks", "denoise", "decode", "transfer"}


def refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    text = capsys.readouterr().err.strip()
    assert "Traceback" not in text
    return text.splitlines()[-1]


def test_weights_whose_sizes_no_preset_has_are_gone_on_with_as_their_folder_says(work, tmp_path, capsys):
    folder = tmp_path / "weights"
    folder.mkdir()
    config = json.loads((work / "student" / "config.json").read_text())
    config["model"]["tracks"]["code_scale"] = 3.0
    (folder / "config.json").write_text(json.dumps(config))
    begun = ["--vae", str(work / "vae"), "--teacher", str(work / "teacher"), "--steps", "1", "--set", "batch=1"]
    given = ["train", "causal-init", "--preset", str(folder), *begun, "num_frames=33", "--out", str(tmp_path / "run")]
    assert main(given) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["tracks"]["code_scale"] == 3.0
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(capsys, *given[:-1], str(tmp_path / "other"))
    assert "unknown preset 'nanno'" in refused(capsys, "train", "teacher", "--preset", "nanno", "--out", str(tmp_path / "x"))


def test_bad_input_is_one_sentence(work, tmp_path, capsys):
    out, vae = str(tmp_path / "run"), ["--vae", str(work / "vae")]
    assert "--vae" in refused(capsys, "train", "teacher", *SMALL, "--out", out)
    assert "bacth" in refused(capsys, "train", "teacher", *SMALL, *vae, "--out", out, "--set", "bacth=2")
    assert "already holds a run" in refused(
        capsys, "train", "vae", *SMALL, "--out", str(work / "vae"), "--set", "fit_clips=8"
    )
    assert "33" in refused(
        capsys,
        "train",
        "causal-init",
        *SMALL,
        *vae,
        "--teacher",
        str(work / "teacher"),
        "--out",
        out,
        "--set",
        "num_frames=41",
    )
    assert "unknown preset" in refused(capsys, "train", "vae", "--preset", "huge", "--out", out)
    assert "--steps 0" in refused(capsys, "train", "vae", *SMALL, "--out", out, "--steps", "0")
    both = ["--steps", "5", "--set", "loop.fit_minutes=1"]
    assert "both set the length" in refused(capsys, "train", "vae", *SMALL, "--out", out, *both)
    assert "at least 4" in refused(capsys, "bench", "--preset", "tiny-debug", "--chunks", "2")
    assert "neither a preset" in refused(capsys, "eval", "--preset", str(tmp_path / "nowhere"))


def test_a_run_is_not_resumed_from_other_weights_or_sizes(work, tmp_path, capsys):
    for name in ("vae", "teacher"):
        shutil.copytree(work / name, tmp_path / name)
    begun = ["train", "causal-init", *SMALL, "--out", str(tmp_path / "run"), "--set", "batch=2", "num_frames=33"]
    given = ["--vae", str(tmp_path / "vae"), "--teacher", str(tmp_path / "teacher")]
    assert main([*begun, *given, "--steps", "1"]) == 0
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "vae", moved)
    assert main([*begun, *given[2:], "--vae", str(moved), "--steps", "1", "--resume"]) == 0, "the same file elsewhere"
    vae = NanoVAE(tiny_debug().vae)
    save_weights(moved / "vae.safetensors", vae, dtype=torch.float16)
    said = refused(capsys, *begun, *given[2:], "--vae", str(moved), "--steps", "2", "--resume")
    assert "was trained with another --vae" in said
    (tmp_path / "teacher" / "teacher.safetensors").write_bytes((work / "student" / "student.safetensors").read_bytes())
    assert "another --teacher" in refused(capsys, *begun, *given, "--steps", "2", "--resume")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_a_chain_of_stages_can_be_called_again(tmp_path, capsys):
    """As a script of several stages is after a kill: a finished stage leaves the file that the next one began with."""
    vae = ["train", "vae", *SMALL, "--out", str(tmp_path / "vae"), "--steps", "1", "--resume"]
    vae += ["--set", "batch=1", "fit_clips=8", "num_frames=5"]
    teacher = ["train", "teacher", *SMALL, "--vae", str(tmp_path / "vae"), "--out", str(tmp_path / "teacher"), "--resume"]
    teacher += ["--steps", "1", "--set", "batch=1", "compile=false", "num_frames=9", "long_frames=9", "gap_steps=0"]
    for _ in range(3):
        assert main(vae) == 0
        assert main(teacher) == 0, capsys.readouterr().err
        os.utime(tmp_path / "vae" / "vae.safetensors", ns=(0, 0))  # as if the kill had come before the export


def test_with_a_student_to_go_on_from_the_teacher_may_be_a_newer_one(work, tmp_path, capsys):
    """It is not read then, and a script finds another one in its second call (runs/gpu/15-nano-pair.sh)."""
    shutil.copytree(work / "teacher", tmp_path / "teacher")
    begun = ["train", "causal-init", *SMALL, "--vae", str(work / "vae"), "--teacher", str(tmp_path / "teacher")]
    begun += ["--out", str(tmp_path / "run"), "--resume", "--set", "batch=1", "num_frames=33", f"init={work / 'student'}"]
    assert main([*begun, "--steps", "1"]) == 0
    (tmp_path / "teacher" / "teacher.safetensors").write_bytes(b"of another training, and not even whole")
    assert main([*begun, "--steps", "2"]) == 0
    assert "complete" in capsys.readouterr().out
    shutil.copytree(work / "student", tmp_path / "moved")
    assert main([*begun[:-1], f"init={tmp_path / 'moved'}", "--steps", "2"]) == 0, "the same file elsewhere"
    without = [argument for argument in begun if argument not in ("--teacher", str(tmp_path / "teacher"))]
    assert main([*without, "--steps", "3"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main([*without[:-1], "--steps", "3"]) == 2
    assert "--teacher" in capsys.readouterr().err


def test_lpips_weights_have_a_mark(tmp_path):
    for name in ("vae", "student", "lpips"):
        (tmp_path / f"{name}.safetensors").write_text(name)
    args = SimpleNamespace(stage="rechunk", vae=tmp_path, student=tmp_path)
    marks = []
    for weight in (0.0, 1.0, 2.0):
        config = RechunkConfig(lpips=str(tmp_path / "lpips.safetensors"), lpips_weight=weight)
        marks.append(_given(args, config, tiny_debug()).get("lpips"))
    assert marks[0] is None
    assert marks[1] == marks[2] == mark_of([tmp_path / "lpips.safetensors"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_fails_so_that_no_later_stage_begins(tmp_path, capsys, monkeypatch, number, code):
    step_of = VAEStage.train_step

    def interrupted(self, step):
        os.kill(os.getpid(), number)
        return step_of(self, step)

    command = ["train", "vae", *SMALL, "--out", str(tmp_path), "--steps", "3", "--set", "batch=2", "fit_clips=8"]
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs behind without it
    with monkeypatch.context() as patch:
        patch.setattr(VAEStage, "train_step", interrupted)
        try:
            ended = main(command)
        except SystemExit as leave:
            ended = leave.code
        finally:
            signal.signal(signal.SIGINT, usual)
    assert ended == code
    assert "stopped early, --resume goes on" in capsys.readouterr().out
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1
    assert main([*command, "--resume"]) == 0
    assert "complete" in capsys.readouterr().out


def test_a_real_stage_goes_on_exactly(work):
    """Two steps, state saved and loaded into a fresh stage, two more: the weights of four uninterrupted ones."""
    preset = tiny_debug()
    vae = NanoVAE(preset.vae)
    load_weights(work / "vae" / "vae.safetensors", vae)
    config = TeacherTrainConfig(loop=LoopConfig(steps=4), batch=2, compile=False)

    def stage() -> TeacherStage:
        return TeacherStage(preset, config, vae, choose_compute("cpu", "float32"))

    whole = stage()
    for step in range(4):
        whole.train_step(step)
    first, second = stage(), stage()
    for step in (0, 1):
        first.train_step(step)
    second.load_state_dict(first.state_dict())
    for step in (2, 3):
        second.train_step(step)
    for name, value in whole.state_dict()["model"].items():
        assert torch.equal(value, second.state_dict()["model"][name]), name
    for name, value in whole.ema.shadow.items():
        assert torch.equal(value, second.ema.shadow[name]), name


def test_a_resumed_run_has_the_length_that_it_began_with(work, tmp_path, capsys):
    out, vae = tmp_path / "run", ["--vae", str(work / "vae")]
    common = ["train", "teacher", *SMALL, *vae, "--out", str(out)]
    settings = ["--set", "batch=2", "compile=false", "num_frames=9", "long_frames=9"]
    assert main([*common, "--steps", "2", *settings]) == 0
    made = load_file(out / "teacher.safetensors")
    assert main([*common, "--resume", *settings]) == 0
    assert "complete" in capsys.readouterr().out
    again = load_file(out / "teacher.safetensors")
    assert all(torch.equal(again[name], value) for name, value in made.items())
    assert main([*common, "--resume", "--steps", "3", *settings]) == 0
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 3
    capsys.readouterr()
    assert main(["train", "teacher", *SMALL[:-1], "bfloat16", *vae, "--out", str(out), "--resume", *settings]) == 2
    assert "another --dtype (mark float32, now bfloat16)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "settings", "said"),
    [
        ("teacher", ["long_frames=14"], "frame"),
        ("teacher", ["tracks_per_object=[0,8]"], "tracks_per_object=[0,8] must be two whole numbers from 1 on"),
        ("causal-init", ["pairs=nowhere"], "pairs=nowhere is read by method=ode alone"),
        ("distill", ["critic_warmup=4"], "4 steps would train the critic alone"),
        ("ode-pairs", ["clips=4", "batch=2", "steps=4", "text_guidance=9"], "trajectories of text_guidance=3.0, not 9.0"),
    ],
)
def test_what_could_not_work_is_said_before_any_step(work, tmp_path, capsys, stage, settings, said):
    out = work / "pairs" if stage == "ode-pairs" else tmp_path / "run"
    given = [word for name in ("vae", "teacher", "student") for word in (f"--{name}", str(work / name))]
    steps = [] if stage == "ode-pairs" else ["--steps", "4"]
    assert main(["train", stage, *SMALL, *given, "--out", str(out), *steps, "--set", *settings]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_trajectories_of_another_teacher_are_not_mixed(work, capsys):
    given = ["--vae", str(work / "vae"), "--teacher", str(work / "other")]
    (work / "other").mkdir()
    tensors = load_file(work / "teacher" / "teacher.safetensors")
    save_file({name: 2 * value for name, value in tensors.items()}, work / "other" / "teacher.safetensors")
    more = ["--set", "clips=6", "batch=2", "steps=4"]
    assert main(["train", "ode-pairs", *SMALL, *given, "--out", str(work / "pairs"), *more]) == 2
    assert "holds trajectories of given=" in capsys.readouterr().err
    given[-1] = str(work / "teacher")
    assert main(["train", "ode-pairs", *SMALL, *given, "--out", str(work / "pairs"), *more]) == 0
    assert len(list((work / "pairs").glob("pairs_*.safetensors"))) == 3


def test_a_run_on_trajectories_goes_on_with_as_many(work, tmp_path, capsys):
    """With more of them the same seed draws others."""
    pairs = tmp_path / "pairs"
    shutil.copytree(work / "pairs", pairs)
    given = [word for name in ("vae", "teacher") for word in (f"--{name}", str(work / name))]
    more = ["--out", str(tmp_path / "run"), "--set", "batch=2", "method=ode", f"pairs={pairs}"]
    assert main(["train", "causal-init", *SMALL, *given, "--steps", "1", *more]) == 0
    moved = pairs.rename(tmp_path / "moved")
    more[-1] = f"pairs={moved}"
    assert main(["train", "causal-init", *SMALL, *given, "--steps", "1", "--resume", *more]) == 0, "the same files elsewhere"
    shutil.copy(next(moved.glob("pairs_*.safetensors")), moved / "pairs_0099.safetensors")
    capsys.readouterr()
    assert main(["train", "causal-init", *SMALL, *given, "--steps", "2", "--resume", *more]) == 2
    assert "was trained with another pairs" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["rechunk", "distill"])
def test_a_student_of_other_noise_levels_is_not_trained_on_unsaid(work, tmp_path, capsys, stage):
    folder = tmp_path / "student"
    shutil.copytree(work / "student", folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["sample"]["student_sigmas"] == [1.0, 0.9, 0.7]
    config["sample"]["student_sigmas"] = [1.0]
    (folder / "config.json").write_text(json.dumps(config))
    given = [word for name in ("vae", "teacher") for word in (f"--{name}", str(work / name))]
    command = ["train", stage, *SMALL, *given, "--student", str(folder), "--out", str(tmp_path / "run"), "--steps", "5"]
    settings = ["--set", "batch=1", "num_frames=9" if stage == "rechunk" else "num_frames=21"]
    settings += ["cache=c1s1w1", "truth=true"] if stage == "rechunk" else []
    assert main([*command, *settings]) == 2
    assert 'noise levels [1], and tiny-debug has [1,0.9,0.7]: say which to train, as with --set "sigmas=[1]"' in (
        capsys.readouterr().err
    )
    assert main([*command, *settings, "sigmas=[1]"]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["sample"]["student_sigmas"] == [1.0]


@pytest.mark.parametrize(
    ("name", "content"), [("checkpoint.pt", b""), ("checkpoint.pt", b"PK0"), ("train_config.json", b"{")]
)
def test_a_damaged_run_is_named(work, tmp_path, capsys, name, content):
    out = tmp_path / "run"
    command = ["train", "vae", *SMALL, "--out", str(out), "--set", "batch=1", "fit_clips=4", "num_frames=5"]
    assert main([*command, "--steps", "1"]) == 0
    (out / name).write_bytes(content)
    assert main([*command, "--steps", "2", "--resume"]) == 2
    assert f"{out / name} cannot be read" in capsys.readouterr().err
    assert (out / name).read_bytes() == content
