"""Rows survive a kill and are never mixed up with those of another run."""

import json

import pytest

from motionstream.errors import UserError
from motionstream.eval.rows import REPORT, ROWS, RUN, RowFile, read_rows, write_json
from motionstream.eval.tasks import LastMade, Task, UnusableSample, run_tasks

IDENTITY = {"suite": "test", "frames": 9, "grid": (2, 3)}


def row(sample: str, value: float = 1.0, seed: int = 0) -> dict:
    return {"sample": sample, "condition": "student", "seed": seed, "value": value}


def test_rows_are_kept(tmp_path):
    file = RowFile(tmp_path / "out", IDENTITY)
    file.add(row("a"))
    file.add(row("b", float("nan")))
    again = RowFile(tmp_path / "out", IDENTITY)
    assert again.kept == 2
    assert ("a", "student", 0) in again
    assert again.rows["b", "student", 0]["value"] is None, "JSON has no NaN"


def test_a_torn_last_line_is_measured_again(tmp_path):
    RowFile(tmp_path, IDENTITY).add(row("a"))
    with (tmp_path / ROWS).open("a") as stream:
        stream.write('{"sample": "b", "cond')
    again = RowFile(tmp_path, IDENTITY)
    assert list(again.rows) == [("a", "student", 0)]
    again.add(row("b"))
    assert [r["sample"] for r in read_rows(tmp_path / ROWS)] == ["a", "b"]


def test_a_damaged_line_is_named(tmp_path):
    RowFile(tmp_path, IDENTITY).add(row("a"))
    path = tmp_path / ROWS
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(UserError, match="line 1 is not a row"):
        RowFile(tmp_path, IDENTITY)


def test_other_runs_are_refused(tmp_path):
    RowFile(tmp_path, IDENTITY).add(row("a"))
    with pytest.raises(UserError, match="frames: 9 there, 17 now"):
        RowFile(tmp_path, IDENTITY | {"frames": 17})
    for damaged in ("{", "[1]"):
        (tmp_path / RUN).write_text(damaged)
        with pytest.raises(UserError, match=r"run\.json (is not valid JSON|does not say what its rows are)"):
            RowFile(tmp_path, IDENTITY)
    (tmp_path / RUN).unlink()
    with pytest.raises(UserError, match="says what they are"):
        RowFile(tmp_path, IDENTITY)


def test_rows_of_other_sampling_are_refused_where_a_folder_says_how_its_own_were_made(tmp_path):
    RowFile(tmp_path, IDENTITY).add(row("a"))  # of an earlier release
    file = RowFile(tmp_path, IDENTITY | {"sample.late_codes": True})
    assert file.kept == 1
    with pytest.raises(UserError, match=r"\(sample\.late_codes: True there, False now\)"):
        RowFile(tmp_path, IDENTITY | {"sample.late_codes": False})


def test_without_a_folder_rows_stay_in_memory():
    file = RowFile(None, IDENTITY)
    file.add(row("a"))
    assert file.select([("b", "student", 0), ("a", "student", 0)]) == [row("a")]


def test_tasks_go_on_where_they_stopped(tmp_path):
    done: list[str] = []

    def task(name: str) -> Task:
        def measure() -> dict:
            if name == "c" and len(done) < 3:
                done.append("killed")
                raise KeyboardInterrupt
            done.append(name)
            return {"value": 1.0}

        return Task(name, "student", 0, measure)

    tasks = [task(name) for name in "abcd"]
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, RowFile(tmp_path, IDENTITY), "test")
    rows = run_tasks(tasks, RowFile(tmp_path, IDENTITY), "test")
    assert done == ["a", "b", "killed", "c", "d"]
    assert [r["sample"] for r in rows] == list("abcd")
    assert rows[0] == row("a")


def test_a_sample_that_cannot_be_used_is_left_out(capsys):
    def task(sample: str, condition: str, bad: str | None) -> Task:
        def measure() -> dict:
            if bad is not None:
                raise UnusableSample(bad, "it is damaged")
            return {"value": 1.0}

        return Task(sample, condition, 0, measure)

    # The last task of "a" needs "b", and fails with it; "a" itself is measured.
    tasks = [task("a", "static", None), task("a", "other_tracks", "b"), task("b", "static", "b"), task("c", "static", None)]
    left_out: dict[str, str] = {}
    rows = run_tasks(tasks, RowFile(None, IDENTITY), "test", left_out)
    assert [(r["sample"], r["condition"]) for r in rows] == [("a", "static"), ("c", "static")]
    assert left_out == {"b": "it is damaged"}
    assert capsys.readouterr().err.count("left out b: it is damaged") == 1
    with pytest.raises(ValueError, match="none of the samples can be used; the first, b: it is damaged"):
        run_tasks(tasks[2:3], RowFile(None, IDENTITY), "test")


def test_last_made_makes_once():
    made: list[int] = []
    keep = LastMade(lambda index: made.append(index) or index * 10)
    assert [keep(k) for k in (0, 0, 1, 0, 2, 0)] == [0, 0, 10, 0, 20, 0]
    assert made == [0, 1, 2, 0]


def test_json_files_appear_complete(tmp_path):
    write_json(tmp_path / REPORT, {"a": 1})
    assert json.loads((tmp_path / REPORT).read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == [REPORT]
