"""`runs/gpu/60-wan-speed.sh` with a small model on the processor: it writes what it promises, and skips what it has; and
what `parts.sh` and `packed.sh` do around such scripts, with a Python that measures nothing."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    settings = {"PYTHON": sys.executable, "OUT": str(out), "CHUNKS": "4", "ARGS": "--device cpu", "TAG": "", **settings}
    return subprocess.run(
        [str(ROOT / "runs/gpu/60-wan-speed.sh")], env={**os.environ, **settings}, capture_output=True, text=True
    )


def test_a_part_is_measured_once(tmp_path: Path):
    first = run(tmp_path, PARTS="1.3b", PRESET_13="tiny-debug")
    assert first.returncode == 0, first.stderr
    report = json.loads((tmp_path / "wan_speed_1.3b.json").read_text())
    assert report["preset"] == "tiny-debug"
    assert report["random_weights"]
    assert report["fps"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["wan_speed_1.3b.json"]
    assert "measured before" in run(tmp_path, PARTS="1.3b", PRESET_13="tiny-debug").stdout


def test_a_part_that_fails_leaves_no_file_and_says_so(tmp_path: Path):
    done = run(tmp_path, PARTS="1.3b", PRESET_13="nonesuch")
    assert done.returncode == 1
    assert "1.3b: failed" in done.stderr
    assert not list(tmp_path.glob("wan_speed*"))
    assert run(tmp_path, PARTS="7b").returncode == 2


@pytest.fixture
def pretend(tmp_path: Path) -> str:
    """A Python whose benchmark takes no time and says that it ran as PRETEND has it."""
    python = tmp_path / "python"
    python.write_text(f"""#!/usr/bin/env bash
[ "$1" = -m ] || exec {sys.executable} "$@"
echo "$*" >> {tmp_path}/asked
while [ "$1" != --out ]; do shift; done
echo "{{\\"path\\": \\"$PRETEND\\"}}" > "$2"
""")
    python.chmod(0o755)
    return str(python)


def test_other_arguments_are_another_measurement(tmp_path: Path, pretend: str):
    out = tmp_path / "out"
    settings = {"PARTS": "1.3b", "PYTHON": pretend, "PRETEND": "fused"}
    unset = {name: value for name, value in os.environ.items() if name not in ("TAG", "ARGS")}

    def names(**more: str) -> set[str]:
        given = unset | {"OUT": str(out)} | settings | more
        done = subprocess.run([str(ROOT / "runs/gpu/60-wan-speed.sh")], env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {path.name for path in out.iterdir()}

    first = {"wan_speed_1.3b.json"}
    assert names() == first
    second = first | {"wan_speed_1.3b_attention-cudnn-2.json"}
    assert names(ARGS="--attention cudnn-2") == names(ARGS=" --attention  cudnn-2 ") == second
    assert names(ARGS="--attention cudnn-2", TAG="again/../x") == second | {"wan_speed_1.3b_again-..-x.json"}
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("part", "asked", "right", "wrong"),
    [
        (
            "1.3b-fp8",
            "--fp8 early",
            "fused, Triton kernels, products in FP8 in all steps but the last, no CUDA graphs",
            "fused",
        ),
        ("1.3b-fp8-all", "--fp8 all", "fused, products in FP8 in all passes", "products in FP8 in all steps but the last"),
        (
            "1.3b-compiled",
            "--rows compiled",
            "fused, compiled, 8 CUDA graphs",
            "fused, not compiled, for torch.compile failed",
        ),
    ],
)
def test_what_did_not_run_as_it_was_asked_is_not_measured(tmp_path: Path, pretend: str, part, asked, right, wrong):
    out = tmp_path / "out"
    done = run(out, PARTS=f"{part} t2v", PYTHON=pretend, PRETEND=wrong)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith(f"{part}: not kept, for it did not run with ")]
    assert len(said) == 1
    assert said[0].endswith(f"(but: {wrong})")
    assert [path.name for path in out.iterdir()] == ["wan_speed_t2v.json"], "the others have their turn"
    assert asked in (tmp_path / "asked").read_text()
    assert run(out, PARTS=part, PYTHON=pretend, PRETEND=right).returncode == 0
    assert (out / f"wan_speed_{part}.json").is_file()


def packed(tmp_path: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"WORK": str(tmp_path / "work"), "OUT": str(tmp_path / "back"), **more}
    script = str(ROOT / "runs/gpu/packed.sh")
    return subprocess.run([script, *command], env=os.environ | settings, capture_output=True, text=True)


def test_results_come_back_as_one_file_also_where_something_failed(tmp_path: Path):
    done = packed(tmp_path, "9", "bash", "-c", 'echo "$MINUTES" > "$OUT/one"; echo told >&2; exit 3')
    assert done.returncode == 3
    assert "told" in done.stdout
    assert packed(tmp_path, "0.02", "bash", "-c", 'ls "$OUT" > "$OUT/two"; sleep 60').returncode == 124
    (back,) = (tmp_path / "back").iterdir()
    with tarfile.open(back) as archive:
        held = {Path(name).name: archive.extractfile(name).read().decode() for name in archive.getnames() if name != "out"}
    assert sorted(held) == ["one", "said_1.log", "said_2.log", "two"]
    assert held["one"] == "8.5\n"
    assert "one" in held["two"].split(), "a later call finds what an earlier one made"
    assert held["said_1.log"] == "told\n"


@pytest.mark.parametrize(
    ("command", "more", "words"),
    [
        (["nine", "true"], {}, "MINUTES COMMAND"),
        (["9"], {}, "MINUTES COMMAND"),
        (["9", "true"], {"OUT": ""}, "OUT is not set"),
        (["9", "true"], {"WORK": "{out}", "OUT": "{out}/out"}, "is where results are collected"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, command, more, words):
    done = packed(tmp_path, *command, **{name: value.format(out=tmp_path) for name, value in more.items()})
    assert done.returncode == 2
    assert words in done.stderr
