"""`runs/gpu/start.sh` and what 30 makes of it, with a Python that trains nothing and writes down what it was asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from motionstream.config import to_json
from motionstream.presets import tiny_debug

ROOT = Path(__file__).parents[2]


@pytest.fixture
def env(tmp_path) -> dict[str, str]:
    """Variables of the scripts: results of an earlier run as IN, an empty work folder, and the Python."""
    python = tmp_path / "python"
    python.write_text(f"""#!/usr/bin/env bash
[ "$1" = -m ] || exec {sys.executable} "$@"
echo "$*" >> {tmp_path}/asked
""")
    python.chmod(0o755)
    results = tmp_path / "results"
    results.mkdir()
    for name in ("vae", "teacher", "student", "distilled", "mixed"):
        (results / f"{name}.safetensors").write_text(name)
    (results / "config.json").write_text(to_json(tiny_debug()))
    places = {"IN": str(results), "WORK": str(tmp_path / "work"), "OUT": str(tmp_path / "out")}
    return {**os.environ, "PYTHON": str(python), "PRESET": "tiny-debug", **places}


def bash(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_student_of_before_keeps_its_own_config(env, tmp_path):
    (tmp_path / "results/distilled_config.json").write_text("its own")
    bash(["bash", "-euo", "pipefail", "-c", "source runs/gpu/start.sh; begin"], env)
    start = tmp_path / "work/start"
    assert (start / "distilled/config.json").read_text() == "its own"
    assert (start / "mixed/config.json").read_text() == to_json(tiny_debug()), "from before they had one"
    assert (start / "distilled/student.safetensors").read_text() == "distilled"


def test_distillation_is_not_longer_than_what_its_teacher_knows(env, tmp_path):
    work = tmp_path / "work"
    (work / "distilled").mkdir(parents=True)  # what the run would leave
    (work / "distilled/config.json").write_text(to_json(tiny_debug()))

    def frames(**more: str) -> str:
        (tmp_path / "asked").unlink(missing_ok=True)
        bash(["runs/gpu/30-nano-distill.sh"], env | more)
        (asked,) = [line for line in (tmp_path / "asked").read_text().splitlines() if "train distill" in line]
        return next(word for word in asked.split() if word.startswith("num_frames="))

    assert frames() == "num_frames=33"
    (work / "teacher").mkdir()
    (work / "teacher/teacher.safetensors").touch()
    assert frames() == "num_frames=57"
    assert frames(NUM_FRAMES="21") == "num_frames=21"


def test_an_evaluation_is_made_once_and_within_its_time(env, tmp_path):
    python = Path(env["PYTHON"])
    python.write_text(python.read_text() + 'while [ "$1" != --out ]; do shift; done\necho "{}" > "$2"\n')
    asked, out = tmp_path / "asked", tmp_path / "out"
    bash(["runs/gpu/40-nano-eval.sh"], env | {"MINUTES": "1"})
    assert not asked.exists(), "less time than one may take"
    bash(["runs/gpu/40-nano-eval.sh"], env)
    made = {"eval_student.json", "eval_distilled.json", "eval_mixed.json"}
    assert {path.name for path in out.iterdir()} == made
    bash(["runs/gpu/40-nano-eval.sh"], env)
    assert len(asked.read_text().splitlines()) == 3
    bash(["runs/gpu/40-nano-eval.sh"], env | {"TAG": "again"})
    assert {path.name for path in out.iterdir()} == made | {name.replace(".json", "_again.json") for name in made}


def test_an_evaluation_that_fails_leaves_no_file(env, tmp_path):
    python = Path(env["PYTHON"])
    python.write_text(python.read_text() + "exit 1\n")
    done = subprocess.run(["runs/gpu/40-nano-eval.sh"], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "student: failed" in done.stderr
    assert "mixed: failed" in done.stderr
    assert not list((tmp_path / "out").iterdir())
