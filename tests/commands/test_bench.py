"""The verb ``bench`` from the outside: last line JSON, plain refusals."""

import json

import pytest

from motionstream.cli import main
from motionstream.stream.session import StreamSession

TINY = ["--preset", "tiny-debug", "--device", "cpu", "--dtype", "float32"]


def report_of(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_last_line_is_the_report_and_the_file_too(tmp_path, capsys):
    out = tmp_path / "deep" / "bench.json"
    assert main(["bench", *TINY, "--chunks", "6", "--out", str(out)]) == 0
    assert report_of(capsys) == json.loads(out.read_text())


def test_against_the_naive_engine(capsys):
    assert main(["bench", *TINY, "--chunks", "4", "--vs", "naive", "--rounds", "1", "--json"]) == 0
    captured = capsys.readouterr().out
    assert len(captured.splitlines()) == 1
    assert json.loads(captured)["vs"]["name"] == "naive"


def test_a_horizon_has_windows_and_a_plot(tmp_path, capsys):
    out = tmp_path / "far.json"
    assert main(["bench", *TINY, "--horizon", "300", "--out", str(out)]) == 0
    report = report_of(capsys)
    assert report["chunks"] == 300
    early, late = report["windows"][1], report["windows"][-1]
    assert report["late_over_early"] == pytest.approx(late["p50_ms"] / early["p50_ms"], abs=1e-4)
    assert abs(report["memory_growth_mib"]) < 100
    assert len(report["windows"]) == 6
    pytest.importorskip("matplotlib")
    assert (tmp_path / "far.png").is_file()


def test_a_horizon_that_is_stopped_early_still_reports(tmp_path, capsys, monkeypatch):
    step, made = StreamSession.launch, []

    def interrupted(session):
        made.append(1)
        if len(made) == 40:
            raise KeyboardInterrupt
        return step(session)

    monkeypatch.setattr(StreamSession, "launch", interrupted)
    assert main(["bench", *TINY, "--horizon", "300", "--out", str(tmp_path / "far.json")]) == 0
    report = report_of(capsys)
    assert report["interrupted"] is True
    assert report["chunks"] < 40


def test_the_reference_can_be_measured_too(capsys):
    assert main(["bench", *TINY, "--chunks", "4", "--reference", "--json"]) == 0
    assert report_of(capsys)["path"].startswith("the reference")


def test_few_layers_of_a_random_model(capsys):
    assert main(["bench", *TINY, "--chunks", "4", "--random-weights", "--layers", "1", "--json"]) == 0
    report = report_of(capsys)
    assert report["layers"] == 1
    assert report["random_weights"] is True


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--chunks", "3"], "--chunks 3 is too few to measure"),
        (["--vs", "magic"], "invalid choice: 'magic'"),
        (["--horizon", "10"], "'10' must be a whole number from 300"),
        (["--reference", "--attention", "math"], "--attention is of the fast path, and --reference takes the slow one"),
        (["--reference", "--rows", "plain"], "--rows is of the fast path"),
        (["--reference", "--cross", "kernel"], "--cross is of the fast path"),
        (["--layers", "1"], "--layers 1 cuts a network that was trained whole: add --random-weights"),
        (["--attention", "magic"], "attention 'magic' is unknown: use one of auto, sdpa"),
        (["--cross", "magic"], "cross 'magic' is unknown: use one of auto, sdpa"),
        (["--horizon", "300", "--chunks", "40"], "--horizon 300 and --chunks 40 both say how many chunks: give one of them"),
        (["--fp8"], "--fp8 is for Wan presets, and tiny-debug is none: leave --fp8 out"),
        (["--fp8", "all"], "--fp8 is for Wan presets, and tiny-debug is none: leave --fp8 out"),
        (["--fp8", "late"], "'late' is no form of it: write --fp8 early or --fp8 all before what follows"),
        (["--reference", "--fp8"], "--fp8 is of the fast path"),
        (["--rounds", "0"], "'0' must be a whole number from 1"),
    ],
)
def test_mistakes_are_one_sentence(capsys, more, words):
    assert main(["bench", *TINY, *more]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_an_attention_that_is_not_here_falls_back(capsys):
    assert main(["bench", *TINY, "--chunks", "4", "--attention", "fa3", "--json"]) == 0
    said = capsys.readouterr()
    assert "attention 'fa3' cannot be used here" in said.err
    assert "'fa3' was asked for" in json.loads(said.out)["attention"]


@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_an_attention_to_text_that_is_not_here_is_said(capsys):
    assert main(["bench", *TINY, "--chunks", "4", "--cross", "kernel", "--json"]) == 0
    said = capsys.readouterr()
    assert "cross 'kernel' cannot be used here" in said.err
    assert json.loads(said.out)["cross"].startswith("sdpa: ")


def test_an_output_that_cannot_be_written_is_said_before_measuring(tmp_path, capsys, monkeypatch):
    (tmp_path / "taken.json").mkdir()
    monkeypatch.setattr("motionstream.bench.stream.load_timed", lambda *a, **k: pytest.fail("too late"))
    (tmp_path / "file").touch()
    bad = (
        ("taken.json", "is a folder; name a file in it"),
        ("report.txt", "must end in .json"),
        ("file/x.json", "is a file; choose"),
    )
    for name, words in bad:
        assert main(["bench", *TINY, "--chunks", "4", "--out", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
