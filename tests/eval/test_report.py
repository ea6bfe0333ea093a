"""Reports say what was measured, with the floor beside every end-point error, and never call a part the whole."""

import json

import pytest

from motionstream.errors import UserError
from motionstream.eval.compare import compare_runs, comparison_lines
from motionstream.eval.page import write_page
from motionstream.eval.report import build_report, metric_of, summarize, table_lines
from motionstream.eval.rows import RowFile

IDENTITY = {"suite": "camera", "preset": "nano", "weights": "a", "frames": 33}


def row(sample: str, condition: str, epe: float, seed: int = 0, **more: object) -> dict:
    return {"sample": sample, "condition": condition, "seed": seed, "epe_px": epe, **more}


QUALITY = (("a", 0, 1.0, 20.0), ("a", 1, 3.0, 22.0), ("b", 0, 4.0, 24.0), ("b", 1, 4.0, 26.0))
ROWS = [row("a", "truth", 0.2), row("b", "truth", 0.4)]
ROWS += [row(sample, "student", epe, seed, psnr_db=psnr, lpips=None) for sample, seed, epe, psnr in QUALITY]


def report(rows=ROWS, expected=2, **more):
    return build_report(
        suite="camera", rows=rows, samples=["a", "b"], expected=expected, seeds=[0, 1], settings={"frames": 33}, notes=[],
        lpips_missing="no weights", extra={}, environment={"preset": "nano", "weights": "abc"}, **more,
    )  # fmt: skip


def test_means_and_floor():
    found = summarize(ROWS, "camera")
    assert found["student"]["epe_px"]["mean"] == 3.0
    assert found["student"]["floor_epe_px"]["mean"] == pytest.approx(0.3)
    assert "floor_epe_px" not in found["truth"]
    assert found["student"]["psnr_db"]["n"] == 2
    assert "lpips" not in found["student"], "null is not a number"


def test_partial_runs_say_so():
    whole, part = report(), report(expected=30)
    assert not whole["partial"]
    assert part["partial"]
    assert part["notes"][0].startswith("Partial: 2 of 30")
    assert "(partial)" in table_lines(part)[0]
    assert whole["missing"] == {"lpips": "no weights"}
    assert "lpips is not measured: no weights" in table_lines(whole)


def test_metrics_at_a_time():
    assert metric_of("epe_px@25x").label == "EPE, px, at 25x"
    assert metric_of("curve") is None
    assert metric_of("size_px@5x") is None


def folder(path, rows, **identity):
    file = RowFile(path, IDENTITY | identity)
    for each in rows:
        file.add(each)
    return path


def test_paired_differences(tmp_path):
    """Samples differ a lot, the pairs hardly: the difference is clear although the means' intervals overlap."""
    hard = [2.0, 10.0, 30.0, 5.0, 50.0, 7.0]
    a = folder(tmp_path / "a", [row(f"s{k}", "student", v) for k, v in enumerate(hard)])
    b = folder(tmp_path / "b", [row(f"s{k}", "student", v - 1 - 0.1 * k) for k, v in enumerate(hard)], weights="b")
    found = compare_runs(a, b)["conditions"]["student"]["epe_px"]
    assert found["difference"]["mean"] == pytest.approx(-1.25)
    assert found["difference"]["high"] < 0
    assert found["clear"]
    assert found["a"] - found["b"] == pytest.approx(1.25, abs=1e-3)
    assert any("*" in line for line in comparison_lines(compare_runs(a, b))[1:])
    same = compare_runs(a, a)["conditions"]["student"]["epe_px"]
    assert same["difference"]["mean"] == 0
    assert not same["clear"]


@pytest.mark.parametrize(("suite", "field"), [("transfer", "kind"), ("clips", "clip")])
def test_samples_of_one_clip_are_drawn_as_one(tmp_path, suite, field):
    """Five clips, each four times: one that differs from the rest is a fifth of what is known, however often it is shown."""
    by_clip = [1.0, 1.0, 1.0, 1.0, -0.9]

    def rows(more):
        return [row(f"s{k}-{j}", "student", 5 + more * by_clip[k], **{field: f"c{k}"}) for k in range(5) for j in range(4)]

    a, b = (folder(tmp_path / name, rows(more), suite=suite) for name, more in (("a", 0), ("b", 1)))
    report = compare_runs(a, b)
    found = report["conditions"]["student"]["epe_px"]
    assert found["difference"]["n"] == 5
    assert found["difference"]["mean"] == pytest.approx(0.62)
    assert not found["clear"]
    assert "interval (over clips)" in comparison_lines(report)[0]


def test_runs_of_other_sampling_are_compared(tmp_path):
    """So are those of an earlier release, which do not say theirs."""
    settings = ({"sample.late_codes": True, "smooth_seams": True, "recall": True}, {"sample.late_codes": False}, {})
    new, other, old = (folder(tmp_path / str(k), ROWS, **each) for k, each in enumerate(settings))
    for one, two in ((new, other), (old, new), (new, old)):
        assert compare_runs(one, two)["conditions"]["student"]["epe_px"]["difference"]["mean"] == 0


def test_unpaired_runs_are_refused(tmp_path):
    a = folder(tmp_path / "a", ROWS)
    with pytest.raises(UserError, match="not paired: frames is 33 in one and 81"):
        compare_runs(a, folder(tmp_path / "b", ROWS, frames=81))
    with pytest.raises(UserError, match="1 rows are in one only"):
        compare_runs(a, folder(tmp_path / "c", ROWS[:-1], weights="b"))
    with pytest.raises(UserError, match="no condition in common"):
        compare_runs(a, folder(tmp_path / "d", [row("a", "teacher", 1.0)]))
    with pytest.raises(UserError, match=r"holds no run\.json"):
        compare_runs(a, tmp_path)
    (tmp_path / "note.txt").write_text("x")
    with pytest.raises(UserError, match="is not a result"):
        compare_runs(a, tmp_path / "note.txt")


def test_a_page_that_needs_only_its_folder(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for sample in "ab":
        for condition in ("truth", "student"):
            (media / f"{sample}--{condition}.mp4").write_bytes(b"")
    points = [{"mean": 1.0, "low": 0.5, "high": 2.0, "n": 2}, None, {"mean": 3.0, "low": None, "high": None, "n": 1}]
    made = report() | {"curves": {"student": {"epe_px": points}}, "window_frames": 33}
    made["notes"] = ["<script>alert(1)</script>"]
    page = write_page(tmp_path, json.loads(json.dumps(made)), ROWS, main_metric="epe_px", less_is_better=True).read_text()
    assert page.count("<video") == 4
    assert 'src="media/a--student.mp4"' in page
    assert "a--student.mp4" in page
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert "http" not in page, "nothing is loaded from elsewhere"
    assert page.count("<svg") >= 2
    assert "3.00" in page
