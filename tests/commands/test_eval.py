"""``motionstream eval``: folders that go on, one JSON line, comparisons, and mistakes in one sentence."""

import json

import numpy as np
import pytest

from motionstream.cli import main
from motionstream.media.video import write_video

DRAGS = ["eval", "--preset", "tiny-debug", "--suite", "drags", "--scenes", "2", "--quick", "--device", "cpu"]


@pytest.fixture
def result(tmp_path, capsys):
    """A small run of suite drags: its folder and the report that was printed."""
    out = tmp_path / "drags"
    assert main([*DRAGS, "--out", str(out)]) == 0
    return out, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_folder_with_rows_report_and_page(result, capsys):
    out, report = result
    assert json.loads((out / "report.json").read_text()) == report
    assert report["student"]["brush"]["n"] == 2
    assert report["partial"]
    assert report["environment"]["weights"] == "random"
    assert (out / "index.html").is_file()
    assert len((out / "rows.jsonl").read_text().splitlines()) == 16
    assert report["static"]["kept_share"] < 0.01
    assert report["static"]["left_behind"] == 1.0
    assert report["student"]["rest"].keys() >= {"share", "error_levels", "psnr_gap_db", "n"}
    assert "left behind" in (out / "index.html").read_text()
    before = (out / "rows.jsonl").stat().st_mtime_ns, (out / "rows.jsonl").read_text()
    assert main([*DRAGS, "--out", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["student"] == report["student"]
    assert (out / "rows.jsonl").read_text() == before[1], "nothing was measured twice"
    told = json.loads((out / "run.json").read_text())
    assert told["sample.teacher_steps"] == 2
    (out / "run.json").write_text(json.dumps(told | {"sample.late_codes": False}))
    assert main([*DRAGS, "--out", str(out), "--json"]) == 2
    assert "sample.late_codes: False there, True now" in capsys.readouterr().err


def test_comparison(result, tmp_path, capsys):
    out, _ = result
    assert main(["eval", "--compare", str(out), str(out / "report.json")]) == 0
    compared = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert compared["conditions"]["brush"]["error_pct"]["difference"]["mean"] == 0
    assert main(["eval", "--compare", str(out), str(tmp_path)]) == 2
    assert "holds no run.json" in capsys.readouterr().err


def test_a_json_file_alone(tmp_path, capsys):
    path = tmp_path / "deep" / "report.json"
    assert main([*DRAGS, "--json", "--out", str(path)]) == 0
    assert json.loads(path.read_text()) == json.loads(capsys.readouterr().out)
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_clips_that_cannot_be_used_are_left_out_and_the_report_is_partial(tmp_path, capsys):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    (clips / "broken.mp4").write_bytes(b"no video at all")
    pixels = np.random.default_rng(0).integers(0, 255, (12, 40, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    moving = np.stack([pixels[:64, 2 * t : 2 * t + 96] for t in range(9)])
    write_video(clips / "short.mp4", moving[:2], fps=16)
    write_video(clips / "flat.mp4", np.full((9, 64, 96, 3), 128, np.uint8), fps=16)
    argv = ["eval", "--preset", "tiny-debug", "--suite", "clips", "--data", str(clips), "--quick", "--device", "cpu"]
    assert main([*argv, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "none of the samples can be used" in said.err.splitlines()[-1]
    assert said.out == ""
    write_video(clips / "moving.mp4", moving, fps=16)
    assert main([*argv, "--out", str(out)]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out.splitlines()[-1])
    assert (report["samples"], report["expected_samples"], report["partial"]) == (1, 4, True)
    assert report["notes"][0].startswith("Partial: 1 of 4 samples.")
    for name, why in (("broken", "cannot read video"), ("short", "has 2 frames"), ("flat", "no point that can be followed")):
        assert any(note.startswith(f"Left out {name}: ") and why in note for note in report["notes"])
        assert f"left out {name}: " in said.err
    assert "Left out broken" in (out / "index.html").read_text()


def test_an_output_that_cannot_be_written_is_said_before_measuring(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.json").mkdir()
    monkeypatch.setattr("motionstream.stream.engine.load_engine", lambda *a, **k: pytest.fail("too late"))
    for out, complaint in (("file/report.json", "file"), ("taken.json", "is a folder; name a file in it")):
        assert main([*DRAGS, "--out", str(tmp_path / out)]) == 2
        assert complaint in capsys.readouterr().err
    assert main(["eval", "--compare", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "does not exist: give a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--suite", "davis"], "ImageSets/2017/val.txt"),
        (["--suite", "sora", "--data", "nowhere"], "NAME.mp4"),
        (["--suite", "llff", "--data", "nowhere"], "fern"),
        (["--suite", "clips", "--data", "nowhere"], "folder of videos"),
        (["--suite", "camera", "--frames", "10"], "do not fit the latent grid"),
        (["--suite", "camera", "--lpips-weights", "nowhere.safetensors"], "do not exist"),
        (["--suite", "horizon", "--settings", "c3"], "must look like c3s1w1"),
        (["--suite", "drags", "--scenes", "1"], "at least 2"),
        (["--seeds", "0,0"], "different whole numbers"),
        (["--grid", "4"], "ROWSxCOLUMNS"),
        (["--scenes", "0"], "whole number"),
        (["--weights", "nowhere"], "both name a model"),
        (["--suite", "nothing"], "invalid choice"),
    ],
)
def test_mistakes(argv, complaint, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOTIONSTREAM_LPIPS", raising=False)
    assert main(["eval", "--preset", "tiny-debug", *argv]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err.splitlines()[-1]
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_there_is_said_before_a_folder_is_begun(tmp_path, capsys, monkeypatch):
    argv = ["eval", "--preset", "tiny-debug", "--suite", "camera", "--scenes", "1", "--quick", "--device", "cpu"]
    monkeypatch.setattr("motionstream.stream.engine.load_engine", lambda *a, **k: pytest.fail("too late"))
    out = tmp_path / "out"
    assert main([*argv, "--tracker", "cotracker", "--out", str(out)]) == 2
    assert "CoTracker" in capsys.readouterr().err
    assert main([*argv, "--tracker-weights", "x.pt", "--out", str(out)]) == 2
    assert "--tracker lk needs no weights" in capsys.readouterr().err
    assert not out.exists()


def test_weights_of_a_tracker_reach_every_use_of_it(tmp_path, capsys, monkeypatch):
    from motionstream.tracking import tracker as trackers

    given = []

    def made(**options):
        given.append(options)
        return lucas_kanade()

    lucas_kanade = trackers.TRACKERS["lk"]
    monkeypatch.setitem(trackers.TRACKERS, "cotracker", made)
    monkeypatch.setattr(trackers, "USUAL_OPTIONS", {})
    argv = ["eval", "--preset", "tiny-debug", "--suite", "camera", "--scenes", "1", "--quick", "--device", "cpu", "--frames"]
    weights = ["--tracker", "cotracker", "--tracker-weights", "mine.pth"]
    assert main([*argv, "5", *weights, "--json"]) == 0
    assert len(given) > 2
    assert all(options == {"weights": "mine.pth", "device": None} for options in given)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["settings"]["tracker"] == "cotracker"
