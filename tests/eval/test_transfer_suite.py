"""Suite transfer: the user's own path, controls that are what they say, runs that go on, and clips that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest

from motionstream import cli
from motionstream.errors import UserError
from motionstream.eval.report import table_lines
from motionstream.eval.rows import ROWS, RowFile, read_rows
from motionstream.eval.suites import EvalOptions, build_suite, run_suite
from motionstream.eval.tasks import Gallery, run_tasks
from motionstream.eval.transfer_cases import ASSETS, PICTURES, nothing_held, of_length, shuffled
from motionstream.eval.transfer_suite import NO_TRUTH, TransferSuite
from motionstream.media.video import write_video
from motionstream.stream.session import StreamSession

CONDITIONS = {"warped", "static", "clip", "tracks_dropped", "shuffled", "other_clip", "student"}


@pytest.fixture(scope="module")
def suite(engine) -> TransferSuite:
    return TransferSuite(engine, frames=33, scenes=1)


@pytest.fixture(scope="module")
def rows(suite) -> dict[str, dict]:
    return {row["condition"]: row for row in run_tasks(suite.tasks(Gallery()), RowFile(None, {}), "test")}


def test_conditions(rows, suite):
    assert set(rows) == CONDITIONS
    assert len({(row["kind"], row["picture"], row["frames"]) for row in rows.values()}) == 1
    assert rows["warped"]["epe_px"] < 0.6 * rows["static"]["epe_px"]
    assert rows["clip"]["epe_px"] < 0.6 * rows["static"]["epe_px"]
    assert not {"psnr_db", "ssim", "lpips"} & set(rows["student"])
    assert suite.expected == 5 * len(PICTURES)


def test_a_static_copy_misses_by_the_motion(rows, suite):
    tracks = suite._motion(suite.samples[0]).tracks
    xy, visible = tracks.xy[0].numpy(), tracks.visible[0].numpy()
    ways = []
    for n in range(tracks.num_tracks):
        shown = np.flatnonzero(visible[:, n])
        ways += [float(np.linalg.norm(xy[t, n] - xy[shown[0], n])) for t in shown[1:]]
    assert rows["static"]["epe_px"] == pytest.approx(np.mean(ways), rel=0.02)


def test_the_student_is_given_what_the_command_gives(engine, suite, tmp_path, monkeypatch):
    given: list[list] = []
    step = StreamSession.step_frames

    def noting(self, frames):
        given.extend(frames)
        return step(self, frames)

    monkeypatch.setattr(StreamSession, "step_frames", noting)
    (task,) = [task for task in suite.tasks(Gallery()) if task.condition == "student"]
    task.measure()
    ours, given[:] = list(given), []
    clip, picture = suite.pairs[suite.samples[0]]
    files = [str(ASSETS / "clips" / f"{clip}.webm"), str(ASSETS / "gallery" / f"{picture}.jpg")]
    command = ["transfer", *files, "-o", str(tmp_path / "out.mp4"), "--preset", "tiny-debug", "--frames", "33"]
    assert cli.main([*command, "--device", "cpu", "--dtype", "float32"]) == 0
    assert any(ours)
    assert ours == given


def test_controls(suite):
    motion = suite._motion(suite.samples[0])
    mixed = shuffled(motion)
    assert len(mixed) == len(motion.sights)
    starts = {}
    for seen in motion.sights:
        for name, xy in zip(seen.ids.tolist(), seen.xy, strict=True):
            starts.setdefault(name, xy)
    begun, same, far = set(), 0, 0
    H, W = motion.tracks.size
    for before, after in zip(motion.sights, mixed, strict=True):
        assert set(after.ids) <= set(before.ids)
        assert (after.xy >= 0).all()
        assert (after.xy < (W, H)).all()
        own = dict(zip(before.ids.tolist(), before.xy, strict=True))
        for name, xy in zip(after.ids.tolist(), after.xy, strict=True):
            if name not in begun:
                np.testing.assert_allclose(xy, starts[name], atol=1e-4)
                begun.add(name)
            same, far = same + 1, far + (np.linalg.norm(xy - own[name]) > 1)
    assert far > 0.2 * same
    assert not any(len(seen.ids) for seen in nothing_held(motion))
    held = of_length(motion.sights, len(motion.sights) + 2)
    assert [len(of_length(held, n)) for n in (3, len(held))] == [3, len(held)]
    assert held[-1] is motion.sights[-1]
    again = shuffled(motion)
    assert all((a.xy == b.xy).all() for a, b in zip(mixed, again, strict=True))


def test_the_other_clip_is_another_one(engine, suite, monkeypatch):
    given = []
    monkeypatch.setattr(
        "motionstream.eval.transfer_suite.driven",
        lambda engine, picture, sights, seed: given.append(sights) or np.repeat(picture.frame[None], len(sights), axis=0),
    )
    tasks = {task.condition: task for task in suite.tasks(Gallery())}
    for condition in ("student", "other_clip", "tracks_dropped"):
        tasks[condition].measure()
    assert [len(given[0]), len(given[1])] == [len(given[0])] * 2
    assert given[0] is suite._motion(suite.samples[0]).sights
    following = suite._motion(suite.samples[0], ahead=1).sights
    assert all(a is b for a, b in zip(given[1], following, strict=False))
    assert not any(len(seen.ids) for seen in given[2])


def test_a_partial_run_goes_on(engine, tmp_path):
    def run(scenes, frames=9):
        options = EvalOptions(suite="transfer", scenes=scenes, frames=frames, quick=True)
        made = build_suite(engine, "tiny-debug", options, None)
        model = {"setting": "c3s1w1", "sigmas": [1.0], "dtype": "float32"}
        environment = {"preset": "tiny-debug", "size": "48x32", "sample": {}, **model}
        return run_suite(made, out=tmp_path, preset="tiny-debug", environment=environment, lpips_missing="")

    run(1)
    before = (tmp_path / ROWS).read_text()
    report = run(2)
    assert (tmp_path / ROWS).read_text().startswith(before)
    assert len(read_rows(tmp_path / ROWS)) == 6
    assert (report["partial"], report["samples"], report["expected_samples"]) == (True, 2, 20)
    assert report["notes"][0].startswith("Partial: 2 of 20")
    assert NO_TRUTH in report["notes"]
    assert report["missing"] == {}
    floors = [report["conditions"][name]["floor_epe_px"]["mean"] for name in ("student", "static")]
    assert floors == [report["conditions"]["warped"]["epe_px"]["mean"]] * 2
    assert set(report["by_kind"]) == {"rabbit", "bunny"}
    assert report["paired"]["static"]["epe_px"]["n"] == 2
    difference = [report["conditions"][name]["epe_px"]["mean"] for name in ("student", "static")]
    assert report["paired"]["static"]["epe_px"]["mean"] == pytest.approx(difference[0] - difference[1], abs=2e-4)
    assert any("student less static" in line for line in table_lines(report))
    assert "floor_epe_px" not in report["conditions"]["warped"]
    page = (tmp_path / "index.html").read_text()
    assert all(f"media/{path.name}" in page for path in (tmp_path / "media").iterdir())
    with pytest.raises(UserError, match="frames: 9 there, 10 now"):
        run(2, frames=10)


def test_clips_of_the_user(engine, tmp_path, pan, capsys):
    frames, _ = pan
    write_video(tmp_path / "a.mp4", frames, fps=engine.preset.geometry.fps)
    write_video(tmp_path / "b.mp4", np.full((9, 64, 96, 3), 30, np.uint8), fps=16)
    write_video(tmp_path / "c.mp4", frames[:3], fps=16)
    (tmp_path / "d.mp4").write_bytes(b"no video")
    suite = TransferSuite(engine, frames=9, scenes=4, clips=tmp_path)
    assert suite.samples == [f"{name}-on-cat" for name in "abcd"]
    assert any(note.startswith("Clip c ends after") for note in suite.notes)
    left_out: dict[str, str] = {}
    rows = run_tasks(suite.tasks(Gallery()), RowFile(None, {}), "test", left_out)
    assert {row["sample"] for row in rows} == {"a-on-cat"}
    assert {row["condition"] for row in rows} == CONDITIONS - {"other_clip"}, "the next clip is flat"
    assert set(left_out) == {"b-on-cat", "c-on-cat", "d-on-cat"}
    assert "flat or dark" in left_out["b-on-cat"]
    assert "at least 5 are needed" in left_out["c-on-cat"]
    assert "cannot read video" in left_out["d-on-cat"]


def test_bad_input(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for arguments, complaint in (
        (["--data", str(tmp_path / "nowhere")], "does not exist"),
        (["--data", str(tmp_path / "empty")], "holds no video"),
        (["--grid", "4x6"], "leave --grid out"),
        (["--frames", "4"], "--frames 4 is too short"),
        (["--tracker", "magic"], "magic"),
    ):
        assert cli.main(["eval", "--suite", "transfer", "--preset", "tiny-debug", *arguments]) == 2
        captured = capsys.readouterr()
        assert complaint in captured.err.splitlines()[-1]
        assert captured.out == ""


def test_the_command(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["eval", "--suite", "transfer", "--preset", "tiny-debug", "--scenes", "1", "--frames", "9", "--quick"]
    assert cli.main([*command, "--out", str(out), "--no-videos"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["suite"] == "transfer"
    assert report["settings"]["frames"] == 9
    assert not Path(out / "media").exists()
    assert cli.main(["eval", "--compare", str(out), str(out)]) == 0
    assert "transfer: B - A" in capsys.readouterr().out
