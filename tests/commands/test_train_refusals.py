"""What `train` refuses at once, before anything is prepared."""

from pathlib import Path

import pytest

from motionstream.cli import main


@pytest.fixture(autouse=True)
def nothing_is_prepared(monkeypatch):
    def prepared(*_):
        raise AssertionError("a stage was prepared")

    monkeypatch.setattr("motionstream.commands.train._stage", prepared)


def refused(capsys, *argv: str) -> str:
    assert main(["train", *argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("stage", ["vae", "teacher", "ode-pairs", "recall"])
def test_models_of_another_autoencoder(tmp_path: Path, capsys, stage):
    said = refused(capsys, stage, "--preset", "wan2.1-1.3b", "--out", str(tmp_path / "run"), "--device", "cpu")
    assert said == (
        f"motionstream: train {stage} makes models of nano's autoencoder alone, and wan2.1-1.3b has that of wan2.1: "
        "use --preset nano, or tiny-debug, to try it"
    )
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    said = refused(capsys, "vae", "--preset", "tiny-debug", "--out", str(tmp_path / "file" / "run"), "--device", "cpu")
    assert said == f"motionstream: cannot write {tmp_path / 'file' / 'run'}: Not a directory; choose another place"


def test_a_folder_that_another_process_trains_in(tmp_path: Path, capsys, monkeypatch):
    def held(*_):
        raise BlockingIOError

    monkeypatch.setattr("motionstream.files.fcntl.flock", held)
    said = refused(capsys, "vae", "--preset", "tiny-debug", "--out", str(tmp_path), "--device", "cpu")
    assert f"{tmp_path} is being trained by another process: wait for it" in said
