import shutil
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from motionstream.bench import machine, stream
from motionstream.bench.contestants import PROMPT, Ours
from motionstream.bench.stream import bench_stream, measure_stream, rows_attended, share_of_ceiling, summary
from motionstream.models.text import HashedWords, prompt_rows
from motionstream.presets import wan2_1_1_3b
from motionstream.stream.chunk import ChunkStats


def test_a_report_adds_up(engine):
    report = measure_stream(engine, 12)
    assert report["chunks"] == 12
    assert report["frames_per_chunk"] == 12
    split, total = report["split_ms"], report["chunk_ms"]
    assert split.keys() == {"tracks", "denoise", "decode", "transfer", "commit"}
    assert min(split.values()) >= 0 < split["denoise"]
    assert total["p50"] <= total["p95"] <= total["p99"]
    assert 0 < report["latency_ms"]["p50"] <= total["p50"]  # the same, rounded, where medians are of different chunks
    assert report["fps"] > 0 < report["share_of_ceiling"]
    assert report["ttff_s"] >= report["start_s"] > 0
    assert report["text_rows"] == engine.preset.model.text_len
    assert report["peak_memory_mib"] > 0
    assert "reserved_memory_mib" not in report, "of CUDA alone"


def test_how_the_figures_of_a_report_hang_together(engine):
    """On given times, so that company on the machine has no say."""
    rows = [ChunkStats(10, 2, 30, 8 + late, 1) for late in (0, 0, 0, 4)]
    report = summary(engine, rows, wall_s=sum(row.total_ms for row in rows) / 1000)
    split, total = report["split_ms"], report["chunk_ms"]
    assert split == {"tracks": 2, "denoise": 30, "decode": 8, "transfer": 1, "commit": 10}
    assert sum(split.values()) == total["p50"] == 51
    assert report["latency_ms"]["p50"] == total["p50"] - split["commit"]
    assert total["p50"] < total["p95"] < total["p99"] < 55
    assert report["fps"] == pytest.approx(12_000 / 52, abs=0.01)  # by the mean, not the median
    share = share_of_ceiling(engine, rows, {"flop_per_s": 1e12, "size": 1024})
    assert share["share_of_ceiling"] == round(share["model_tflop_per_chunk"] / 0.04, 3)


def test_frames_a_second_are_by_the_clock_on_the_wall(engine, monkeypatch):
    """Time between chunks, which no stage holds, counts too."""
    chunk = Ours.chunk

    def late(self):
        time.sleep(0.2)
        return chunk(self)

    monkeypatch.setattr(Ours, "chunk", late)
    report = measure_stream(engine, 4)
    assert report["fps"] < 12 / 0.2
    assert 12_000 / report["fps"] > 190 + report["chunk_ms"]["p50"] / 2


def test_environment_says_how_and_where(engine):
    report = bench_stream("tiny-debug", 4, device="cpu", dtype="float32")
    assert report["device"] == "cpu"
    assert report["path"].startswith("fused")
    assert report["attention"].startswith("sdpa")
    assert "you asked for it" in report["why"]
    assert {"torch", "python", "commit", "command", "clocks", "threads", "warmup_s", "load_s"} <= report.keys()


def test_the_prompt_is_as_long_as_those_of_people(engine):
    text = HashedWords(8, 512)
    rows = prompt_rows(text([PROMPT]))
    assert 90 <= rows <= 130
    assert rows_attended(engine) == engine.preset.model.text_len
    told = SimpleNamespace(preset=wan2_1_1_3b(), fused=SimpleNamespace(cross_name="kernel"), text=text)
    assert rows_attended(told) == rows + 1, "the empty ones are one"
    told.text = HashedWords(8, 20)
    told.preset = replace(told.preset, model=replace(told.preset.model, text_len=20))
    assert rows_attended(told) == 20, "none is empty"


def test_a_copy_without_history_is_told_its_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("MOTIONSTREAM_COMMIT", " 1234abc\n")
    assert machine.commit() == "1234abc"
    monkeypatch.delenv("MOTIONSTREAM_COMMIT")
    copy = tmp_path / "machine.py"
    copy.touch()
    monkeypatch.setattr(machine, "__file__", str(copy))
    assert machine.commit() == "unknown"
    if shutil.which("git"):
        as_someone = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        for command in (["init", "-q"], [*as_someone, "commit", "-q", "--allow-empty", "-m", "not ours"]):
            subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
        assert machine.commit() == "unknown", "a repository that does not hold the code has not its commit"


@pytest.mark.parametrize("chunks", [-1, 0, 3])
def test_too_few_chunks_are_refused_before_loading(chunks, monkeypatch):
    monkeypatch.setattr(stream, "load_engine", None)
    with pytest.raises(ValueError, match=f"--chunks {chunks} is too few"):
        bench_stream("nano", chunks)


def test_ctrl_c_reports_what_was_measured(engine, monkeypatch):
    chunk = Ours.chunk

    def interrupted(self):
        if self.index == 10:
            raise KeyboardInterrupt
        return chunk(self)

    monkeypatch.setattr(Ours, "chunk", interrupted)
    report = measure_stream(engine, 1000)
    assert report["interrupted"] is True
    assert report["chunks"] == 10
    monkeypatch.setattr(Ours, "chunk", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        measure_stream(engine, 1000)
