"""``benchmarks/stream.py`` and ``benchmarks/presence.py`` measure what they say they do."""

import runpy
import sys
from pathlib import Path

import pytest

from motionstream.eval import drags
from motionstream.eval.drag_suite import FIRST_SCENE

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ["--chunks", "1000"]),
        (["--out", "a.json"], ["--chunks", "1000", "--out", "a.json"]),
        (["--chunks", "40", "--json"], ["--chunks", "40", "--json"]),
        (["--chunks=40"], ["--chunks=40"]),
        (["--horizon", "10000"], ["--horizon", "10000"]),
    ],
)
def test_a_stream_is_a_thousand_chunks_unless_it_is_said(monkeypatch, given, passed):
    asked: list[str] = []
    monkeypatch.setattr("motionstream.cli.main", lambda: asked.extend(sys.argv))
    monkeypatch.setattr(sys, "argv", ["stream.py", *given])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPTS / "stream.py"), run_name="__main__")
    assert asked == ["motionstream", "bench", *passed]


def test_faults_are_made_from_the_scenes_that_the_suite_measures(monkeypatch, capsys):
    used = []

    def case(geometry, index):
        used.append(index)
        return made(geometry, index)

    made = drags.drag_case
    monkeypatch.setattr(drags, "drag_case", case)
    monkeypatch.setattr(drags, "drag_shares", lambda frame, case: {"kept_share": 1.0, "left_behind": 0.0})
    monkeypatch.setattr(sys, "argv", ["presence.py", "--scenes", "2"])
    runpy.run_path(str(SCRIPTS / "presence.py"), run_name="__main__")
    assert used == [FIRST_SCENE, FIRST_SCENE + 1]
    assert "| the truth | 1.00, 1.00 | 0.00, 0.00 |" in capsys.readouterr().out
