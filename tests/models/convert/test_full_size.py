"""``benchmarks/convert.py``: a small one always, a full-size 1.3B checkpoint among the slow tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "convert.py"


def measured(name: str, folder: Path) -> dict:
    command = [sys.executable, str(SCRIPT), "--preset", name, "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert list(folder.iterdir()) == [], "the temporary folder is gone"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_13b_checkpoint_converts_and_loads_in_bounded_memory(tmp_path):
    found = measured("wan2.1-1.3b-t2v", tmp_path)
    assert found["checkpoint_gb"] == 2.838
    assert found["convert"]["peak_ratio"] < 0.5
    assert found["load"]["peak_ratio"] < 1.3


@pytest.mark.slow
def test_the_benchmark_runs_on_a_small_preset(tmp_path):
    found = measured("nano", tmp_path)
    assert found["preset"] == "nano"
    assert found["convert"]["s"] > 0
    assert found["load"]["s"] > 0
