"""`runs/gpu/60-wan-speed.sh` with a small model on the processor: it writes what it promises, and skips what it has."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    settings = {"PYTHON": sys.executable, "OUT": str(out), "CHUNKS": "4", "ARGS": "--device cpu", **settings}
    return subprocess.run(
        [str(ROOT / "runs/gpu/60-wan-speed.sh")], env={**os.environ, **settings}, capture_output=True, text=True
    )


def test_a_part_is_measured_once(tmp_path: Path):
    first = run(tmp_path, PARTS="1.3b", PRESET_13="tiny-debug")
    assert first.returncode == 0, first.stderr
    report = json.loads((tmp_path / "wan_speed_1.3b.json").read_text())
    assert report["preset"] == "tiny-debug"
    assert report["random_weights"]
    assert report["fps"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["wan_speed_1.3b.json"]
    assert "measured before" in run(tmp_path, PARTS="1.3b", PRESET_13="tiny-debug").stdout


def test_a_part_that_fails_leaves_no_file_and_says_so(tmp_path: Path):
    done = run(tmp_path, PARTS="1.3b", PRESET_13="nonesuch")
    assert done.returncode == 1
    assert "1.3b: failed" in done.stderr
    assert not list(tmp_path.glob("wan_speed*"))
    assert run(tmp_path, PARTS="7b").returncode == 2
