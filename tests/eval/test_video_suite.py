"""Rows of video suites: controls read what they must, tracks reach the model, runs go on where they stopped."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from motionstream.config import to_dict
from motionstream.errors import UserError
from motionstream.eval.camera_cases import CameraCases
from motionstream.eval.rows import ROWS, RowFile, read_rows
from motionstream.eval.speed import SpeedSuite
from motionstream.eval.suites import EvalOptions, build_suite, cell_grid, run_suite, weights_mark
from motionstream.eval.tasks import Gallery, run_tasks
from motionstream.eval.video_suite import VideoSuite
from motionstream.files import alone_in
from motionstream.media.video import write_video
from motionstream.presets import tiny_debug

SAMPLE = to_dict(tiny_debug().sample)
ENVIRONMENT = {
    "preset": "tiny-debug", "size": "48x32", "setting": "c3s1w1", "sigmas": [1.0, 0.7], "dtype": "float32", "sample": SAMPLE,
}  # fmt: skip


@pytest.fixture(scope="module")
def suite(engine) -> VideoSuite:
    return VideoSuite(engine, CameraCases(engine.preset.geometry, 9, (3, 4), count=2))


@pytest.fixture(scope="module")
def rows(suite) -> dict[tuple[str, str], dict]:
    measured = run_tasks(suite.tasks(Gallery()), RowFile(None, {}), "test")
    return {(row["sample"], row["condition"]): row for row in measured}


def test_conditions(rows, suite):
    conditions = {"truth", "truth_through_vae", "static", "tracks_dropped", "other_tracks", "student"}
    assert {condition for _, condition in rows} == conditions
    for sample in suite.samples:
        assert "psnr_db" not in rows[sample, "truth"], "the truth compared with itself says nothing"
        assert rows[sample, "truth"]["epe_px"] < rows[sample, "static"]["epe_px"]
        assert rows[sample, "student"]["lpips"] is None
        assert rows[sample, "student"]["kind"] in sample
        assert rows[sample, "other_tracks"]["epe_own_px"] > 0


def test_a_static_copy_misses_by_the_motion(rows, suite):
    case = suite.source.case(0)
    visible = case.wanted.visible[0, 1:].numpy()
    way = np.linalg.norm((case.wanted.xy[0, 1:] - case.wanted.xy[0, :1]).numpy(), axis=-1)
    assert rows[suite.samples[0], "static"]["epe_px"] == pytest.approx(way[visible].mean(), rel=0.02)


def test_the_model_is_given_the_right_tracks(monkeypatch, suite):
    given = {}

    def fake(engine, first_frame, prompt, tracks, *, num_frames, seed):
        given[seed] = tracks
        return np.repeat(first_frame[None], num_frames, axis=0)

    monkeypatch.setattr("motionstream.eval.subjects.generate", fake)
    tasks = {task.condition: task for task in suite.tasks(Gallery()) if task.sample == suite.samples[0]}
    cases = [suite.source.case(k) for k in range(2)]
    tasks["student"].measure()
    assert given[0].allclose(cases[0].tracks)
    tasks["other_tracks"].measure()
    assert given[0].allclose(cases[1].tracks)
    tasks["tracks_dropped"].measure()
    assert given[0].num_tracks == 0


def test_a_run_is_kept_and_goes_on(engine, tmp_path, monkeypatch):
    def make(scenes):
        return VideoSuite(engine, CameraCases(engine.preset.geometry, 5, (3, 4), count=2), scenes=scenes, quick=True)

    def run(suite, **more):
        told = ENVIRONMENT | more
        return run_suite(suite, out=tmp_path, preset="tiny-debug", environment=told, lpips_missing="none here")

    with alone_in(tmp_path, "held"), pytest.raises(ValueError, match="is being measured into by another process"):
        run(make(1))
    assert not list(tmp_path.iterdir())
    first = run(make(1))
    assert first["samples"] == 1
    before = (tmp_path / ROWS).read_text()
    report = run(make(2))
    assert (tmp_path / ROWS).read_text().startswith(before)
    assert report["samples"] == 2
    assert report["partial"]
    assert report["missing"] == {"lpips": "none here"}
    assert len(read_rows(tmp_path / ROWS)) == 6
    names = {path.name for path in (tmp_path / "media").iterdir()}
    assert len(names) == 6
    page = (tmp_path / "index.html").read_text()
    assert all(f"media/{name}" in page for name in names)
    assert "Random weights" in page
    other = VideoSuite(engine, CameraCases(engine.preset.geometry, 9, (3, 4), count=2), quick=True)
    with pytest.raises(UserError, match="frames: 5 there, 9 now"):
        run(other)
    for name, value in {"setting": "c1s1w2", "sigmas": [1.0], "dtype": "bfloat16"}.items():
        with pytest.raises(UserError, match=rf"settings_of_model: .*{name}"):
            run(make(2), **{name: value})
    for name, value in {"late_codes": False, "hold_moved": True, "hand_px": 3.0, "shift": 3.0, "teacher_steps": 20}.items():
        with pytest.raises(UserError, match=rf"sample\.{name}: .* there, {value!r} now"):
            run(make(2), sample=SAMPLE | {name: value})
    assert run(make(2))["environment"]["sample"] == SAMPLE
    for name in ("smooth_seams", "recall"):
        with pytest.raises(UserError, match=f"{name}: None there, True now"):
            run(make(2), **{name: True})


def test_a_sample_is_given_the_tracks_of_the_next_however_many_are_measured(engine, monkeypatch):
    given = []

    def fake(engine, first_frame, prompt, tracks, *, num_frames, seed):
        given.append(tracks)
        return np.repeat(first_frame[None], num_frames, axis=0)

    monkeypatch.setattr("motionstream.eval.subjects.generate", fake)
    source = CameraCases(engine.preset.geometry, 9, (3, 4), count=3)
    for scenes in (1, 2, 3):
        suite = VideoSuite(engine, source, scenes=scenes)
        tasks = {(task.sample, task.condition): task for task in suite.tasks(Gallery())}
        tasks[source.names[scenes - 1], "other_tracks"].measure()
        assert given[-1].allclose(source.case(scenes % 3).tracks)


def test_clips_of_another_folder_are_other_clips(engine, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write_video(folder / "one.mp4", np.full((9, 48, 64, 3), 99, np.uint8), 12)
    for suite in ("clips", "transfer"):
        options = [EvalOptions(suite=suite, data=folder, frames=33) for folder in folders]
        assert [build_suite(engine, "tiny-debug", one, None).settings["data"] for one in options] == ["a", "b"]
        assert "data" not in build_suite(engine, "tiny-debug", EvalOptions(suite=suite), None).settings


def test_suites_are_built_by_name(engine):
    camera = build_suite(engine, "tiny-debug", EvalOptions(suite="camera"), None)
    assert camera.settings["frames"] == engine.preset.clip_frames
    assert camera.settings["grid"] == [4, 6]
    assert len(camera.samples) == camera.expected == 32
    horizon = build_suite(engine, "tiny-debug", EvalOptions(suite="horizon", scenes=1), None)
    assert horizon.num_frames == 25 * engine.preset.clip_frames
    assert horizon.seeds == [0, 1, 2]
    with pytest.raises(ValueError, match="do not fit the latent grid"):
        build_suite(engine, "tiny-debug", EvalOptions(suite="camera", frames=10), None)
    with pytest.raises(UserError, match="does not exist"):
        build_suite(engine, "tiny-debug", EvalOptions(suite="clips", data=Path("nowhere")), None)
    assert cell_grid(engine) == (4, 6)
    assert weights_mark("tiny-debug") == "random"


def test_speed_rows():
    reports = iter(
        [{"fps": 10.0, "chunk_ms": {"p50": 50.0}, "ttff_s": 0.2}, {"fps": 20.0, "chunk_ms": {"p50": 40.0}, "ttff_s": 0.1}]
    )
    suite = SpeedSuite(lambda: next(reports), chunks=4, repeats=(0, 1))
    rows = run_tasks(suite.tasks(Gallery()), RowFile(None, {}), "test")
    assert [row["fps"] for row in rows] == [10.0, 20.0]
    assert rows[0]["latency_s"] == 0.05
    assert suite.extra(rows) == {"bench": rows[1]["bench"]}


def test_teacher_clips_are_measured(engine, suite, monkeypatch):
    """A teacher that knows the truth has the error floor and the truth's likeness."""
    case = suite.source.case(0)
    teacher = SimpleNamespace(video=None)
    monkeypatch.setattr("motionstream.eval.video_suite.teacher_video", lambda teacher, case, seed: case.truth)
    knowing = VideoSuite(engine, suite.source, scenes=1, teacher=teacher)
    (task,) = [task for task in knowing.tasks(Gallery()) if task.condition == "teacher"]
    row = task.measure()
    assert row["ssim"] == pytest.approx(1)
    floor = next(task for task in knowing.tasks(Gallery()) if task.condition == "truth").measure()
    assert row["epe_px"] == floor["epe_px"]
    assert case.name == task.sample
