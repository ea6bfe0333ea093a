"""Files that appear complete or not at all, and folders that one process writes at a time."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motionstream.errors import sentence_of
from motionstream.files import alone_in, check_folder, replacing, said_if_unwritable


@pytest.mark.parametrize("alone", [False, True])
def test_a_file_takes_its_place_when_it_is_complete(tmp_path: Path, alone: bool):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path, alone=alone) as unfinished:
        assert unfinished.parent == tmp_path
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write():
        with replacing(path) as unfinished:
            unfinished.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_behind_is_written_over(tmp_path: Path):
    path = tmp_path / "checkpoint.pt"
    (tmp_path / "checkpoint.pt.partial").write_text("of a run that was killed")
    with replacing(path, alone=True) as unfinished:
        unfinished.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("checkpoint.pt", "new")]


def test_a_sentence_where_nothing_can_be_written(tmp_path: Path):
    path = tmp_path / "nowhere" / "a.json"
    with pytest.raises(ValueError, match=r"cannot write .*a\.json: No such file or directory; choose another place"):
        with said_if_unwritable(path), replacing(path) as unfinished:
            unfinished.write_text("x")


def test_a_full_disk_names_the_file(tmp_path: Path):
    """The system names no file there, and the unfinished one would say nothing."""
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "a.png"):
        raise OSError(errno.ENOSPC, "No space left on device")
    sentence = sentence_of(error.value)
    assert sentence == f"{tmp_path / 'a.png'}: No space left on device; make room or choose another place"


@pytest.mark.parametrize(
    "said",
    ["[enforce fail at inline_container.cc:672] . unexpected pos 13696 vs 13584", "I/O error: File too large (os error 27)"],
)
def test_libraries_that_find_the_disk_full_say_so_of_the_file(tmp_path: Path, said: str):
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "a.safetensors"):
        raise RuntimeError(said)
    assert (
        sentence_of(error.value)
        == f"{tmp_path / 'a.safetensors'}: No space left on device; make room or choose another place"
    )
    with pytest.raises(RuntimeError, match="a bug"), replacing(tmp_path / "a.safetensors"):
        raise RuntimeError("a bug")


@contextlib.contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """One that is in the folder until it is killed."""
    script = (
        "import pathlib, sys, time\n"
        "from motionstream.files import alone_in\n"
        "with alone_in(pathlib.Path(sys.argv[1]), 'being trained'):\n"
        "    print('in', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            yield process
        finally:
            process.kill()


def test_one_process_is_in_a_folder_at_a_time_and_a_kill_leaves_nothing_in_the_way(tmp_path: Path):
    with another_process(tmp_path) as process:
        with (
            pytest.raises(ValueError, match=r"is being trained by another process: wait for it, or choose another folder"),
            alone_in(tmp_path, "being trained"),
        ):
            raise AssertionError("both are in")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / ".lock").exists()
    for _ in range(2):
        with alone_in(tmp_path, "being trained"):
            pass
        assert not list(tmp_path.iterdir())


def test_where_nobody_can_be_kept_out_work_goes_on(tmp_path: Path, monkeypatch):
    def without_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("motionstream.files.fcntl.flock", without_locks)
    with alone_in(tmp_path, "being trained"):
        pass
    monkeypatch.setattr("motionstream.files.fcntl", None)  # Windows
    with alone_in(tmp_path, "being trained"):
        pass


def test_whether_a_folder_could_be_made_is_tried_and_leaves_nothing(tmp_path: Path, monkeypatch):
    check_folder(tmp_path / "deep" / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*/file/run: Not a directory; choose another place"):
        check_folder(tmp_path / "file" / "run")

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(ValueError, match=r"cannot write .*/run: Read-only file system"):
        check_folder(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
