"""``benchmarks/kernels.py`` as a script."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kernels.py"


def test_the_script_does_not_stand_for_the_package_of_its_name(monkeypatch, capsys):
    """FlashAttention 3 comes by a package called kernels, and a script's folder is the first that Python looks into."""
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "forms" in capsys.readouterr().out
    found = importlib.util.find_spec("kernels")
    assert found is None or Path(str(found.origin)) != SCRIPT
