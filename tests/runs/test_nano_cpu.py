"""`runs/nano_cpu.sh` with a command that trains nothing and writes down what it was asked for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from motionstream.config import with_overrides
from motionstream.train.rechunk import RechunkConfig

SCRIPT = Path(__file__).parents[2] / "runs/nano_cpu.sh"
COMMAND = f"""#!{sys.executable}
import json, pathlib, sys
with open("asked.jsonl", "a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "train":
    made = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    made.mkdir(parents=True)
    for name in ("vae.safetensors", "teacher.safetensors", "student.safetensors", "recall.safetensors", "config.json"):
        (made / name).touch()
"""


@pytest.fixture
def asked(tmp_path) -> dict[str, list[str]]:
    """The settings of every training, by its folder, in order."""
    (tmp_path / "runs").mkdir()
    command = tmp_path / ".venv/bin/motionstream"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND)
    command.chmod(0o755)
    done = subprocess.run([shutil.copy(SCRIPT, tmp_path / "runs"), "work"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    trained = [call for call in calls if call[0] == "train"]
    return {
        Path(call[call.index("--out") + 1]).name: call[call.index("--set") + 1 :] if "--set" in call else []
        for call in trained
    }


def test_the_student_that_comes_out_is_told_tracks_that_begin_late(asked):
    """The preset streams with codes on new picture, and what never learnt them draws coloured blocks there."""
    last = with_overrides(RechunkConfig(), asked["large"])
    assert list(asked)[-2:] == ["large", "recall"]
    assert (last.p_late_tracks, last.p_camera) == (0.7, 0.5)
    assert with_overrides(RechunkConfig(), asked["short"]).p_late_tracks == 0
