"""The frame around the verbs: help, errors as sentences, exit codes; and the public names."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.tracks.io import load_tracks

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def check_sentence(capsys: pytest.CaptureFixture[str], complaint: str) -> None:
    captured = capsys.readouterr()
    assert captured.err.startswith("motionstream: ")
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_help_is_instant_and_heavy_imports_wait():
    code = (
        "import sys, motionstream, motionstream.cli as cli\n"
        "for words in (['--help'], ['--version'], ['generate', '--help'], ['tracks', '--help'], ['info', '-h']):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'av', 'PIL', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(verb in shown for verb in cli.VERBS)
    assert f"motionstream {ms.__version__}" in shown


def test_the_frame_around_a_verb(monkeypatch: pytest.MonkeyPatch, capsys):
    def run_with(error: BaseException) -> int:
        def run(_: object) -> int:
            raise error

        verb = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(cli, "_load_verb", lambda *_: verb)
        return cli.main(["info"])

    for error, complaint in (
        (ValueError("two\n lines"), "two lines"),
        (FileNotFoundError(2, "No such file", "a.txt"), "a.txt: No such file"),
        (PermissionError(13, "Permission denied", "b.txt"), "b.txt: Permission denied"),
        (ModuleNotFoundError("No module named 'fastapi'", name="fastapi"), "pip install 'motionstream[serve]'"),
        (ModuleNotFoundError("No module named 'foo'", name="foo.bar"), "the package foo is not installed"),
        (MemoryError(), "out of memory"),
    ):
        assert run_with(error) == 2
        check_sentence(capsys, complaint)
    assert run_with(KeyboardInterrupt()) == 130
    with pytest.raises(AssertionError):
        run_with(AssertionError("ours"))
    monkeypatch.setenv("MOTIONSTREAM_DEBUG", "1")
    with pytest.raises(ValueError, match="shown"):
        run_with(ValueError("shown"))


def test_without_stderr_a_verb_still_runs(monkeypatch: pytest.MonkeyPatch, capsys):
    def run(_: object) -> int:
        sys.stderr.write("a progress bar")
        print("done")
        return 0

    monkeypatch.setattr(cli, "_load_verb", lambda *_: SimpleNamespace(add_arguments=lambda parser: None, run=run))
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["info"]) == 0
    sys.stderr.close()
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize(
    ("own", "spins"), [({}, "5000"), ({"GOMP_SPINCOUNT": "70"}, "70"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_of_torch_sleep_soon_unless_the_user_says_otherwise(own: dict[str, str], spins: str | None):
    """OpenMP itself says what it has read: the variable is set before torch is loaded."""
    clean = {name: value for name, value in os.environ.items() if name not in cli.WAITING}
    command = [sys.executable, "-m", "motionstream", "info", "nano"]
    told = subprocess.run(
        command, env={**clean, **own, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, check=True
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", told.stderr)
    if found is None:
        pytest.skip("torch does not use GNU OpenMP here")
    assert found[1] == spins or (spins is None and int(found[1]) > 5000)


def test_what_measures_and_trains_needs_neither_pyav_nor_opencv():
    """The scripts of runs/gpu go to machines that have little more than torch."""
    modules = ("eval.suites", "eval.drag_suite", "bench.stream", "train.distill", "train.teacher")
    code = "import sys\nsys.modules.update(av=None, cv2=None)\n" + "".join(f"import motionstream.{m}\n" for m in modules)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_and_missing_verbs(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(cli.VERBS, "fly", ("motionstream.commands.fly", "not there"))
    for argv, complaint in (
        ([], "required: VERB"),
        (["walk"], "invalid choice: 'walk'"),
        (["fly"], "not part of this release"),
    ):
        assert cli.main(argv) == 2
        check_sentence(capsys, complaint)


def test_the_public_names():
    assert set(ms.__all__) <= set(dir(ms))
    assert all(getattr(ms, name) is not None for name in ms.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        _ = ms.fly


def test_the_demo_fits_its_picture():
    tracks = load_tracks(EXAMPLES / "demo_drag.json")
    with Image.open(EXAMPLES / "demo.jpg") as picture:
        assert (tracks.size, tracks.fps) == ((picture.height, picture.width), 16)
    assert tracks.visible.all()
