"""Wan's presets on the command line: with weights in a folder, and with random ones that say so everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import motionstream as ms
from motionstream import cli
from motionstream.config import to_json
from motionstream.presets import PRESETS
from motionstream.tracks.io import save_tracks

from ..stream.wan_forms import small, write_all


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a photo, tracks, and folders named like presets with only a small config.json."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOTIONSTREAM_CACHE", str(tmp_path / "cache"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save("photo.png")
    save_tracks("tracks.json", ms.Tracks.from_points([[[20.0 + t, 30.0]] for t in range(9)], size=(60, 80), fps=16))
    for name in ("wan2.1-1.3b", "wan2.1-1.3b-t2v", "wan2.2-5b"):
        Path(name).mkdir()
        (Path(name) / "config.json").write_text(to_json(small(name)))
    return tmp_path


def generate(*more: str) -> int:
    return cli.main(["generate", "--prompt", "a cup", "--device", "cpu", "-o", "out.mp4", "--scale", "1", *more])


def test_weights_and_preset_together(place: Path, last_json, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    config = write_all(Path("full"), "wan2.1-1.3b")
    monkeypatch.setitem(PRESETS, "wan2.1-1.3b", lambda: config)
    shared = ["photo.png", "--tracks", "tracks.json", "--weights", "full"]
    assert generate(*shared, "--preset", "wan2.1-1.3b", "--size", "96x48", "--full-vae") == 0
    result = last_json()
    assert result["frames"] == 9
    assert "random_weights" not in result
    assert ms.read_video("out.mp4")[0].shape == (9, 48, 96, 3)
    assert generate(*shared) == 0
    assert ms.read_video("out.mp4")[0].shape == (9, 64, 64, 3)
    assert cli.main(["bench", "--weights", "full", "--chunks", "4", "--device", "cpu", "--json"]) == 0
    report = last_json()
    assert (report["decoder"], report["size"]) == ("tiny", "64x64")
    assert "random_weights" not in report


def test_random_weights_are_stamped_on_every_output(place: Path, capsys):
    assert generate("photo.png", "--weights", "wan2.1-1.3b", "--random-weights", "--frames", "9", "--contact-sheet") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["random_weights"] is True
    assert "warning: the weights are random" in captured.err
    from motionstream.stream.random_parts import stamp_mask

    mask = stamp_mask(64, 64)
    frames = ms.read_video("out.mp4")[0].astype(float)
    words, bar = mask[..., 0], mask[..., 1] & ~mask[..., 0]
    assert (frames[:, words].mean(axis=(1, 2)) - frames[:, bar].mean(axis=(1, 2)) > 80).all()
    with Image.open("out_sheet.png") as sheet:
        drawn = np.asarray(sheet.convert("L"))
    assert (drawn == 255).any()
    assert (drawn == 0).any()


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-1.3b-t2v", "wan2.2-5b"])
def test_bench_with_random_weights(place: Path, last_json, capsys, name: str):
    argv = ["bench", "--weights", name, "--random-weights", "--chunks", "4", "--device", "cpu", "--dtype", "bfloat16"]
    assert cli.main([*argv, "--json", "--out", "bench.json"]) == 0
    report = last_json()
    assert report["random_weights"] is True
    assert report == json.loads(Path("bench.json").read_text())
    assert (report["preset"], report["decoder"], report["frames_per_chunk"]) == (name, "tiny", 12)
    assert ("picture_encoder" in report) == (name != "wan2.1-1.3b-t2v")
    assert report["fps"] > 0
    assert report["ttff_s"] >= report["start_s"]
    assert report["split_ms"]["denoise"] > 0


def test_text_alone_needs_no_image(place: Path, last_json, check_sentence):
    assert generate("--weights", "wan2.1-1.3b-t2v", "--random-weights", "--frames", "9") == 0
    assert last_json()["frames"] == 9
    Path("out.mp4").unlink()
    assert generate("photo.png", "--weights", "wan2.1-1.3b-t2v", "--random-weights") == 2
    check_sentence("wan2.1-1.3b-t2v starts from text alone: leave 'photo.png' out")
    assert generate("--weights", "wan2.1-1.3b-t2v", "--random-weights", "--tracks", "tracks.json") == 2
    check_sentence("wan2.1-1.3b-t2v has no track channels: leave --tracks out")
    assert generate("--weights", "wan2.1-1.3b", "--random-weights") == 2
    check_sentence("wan2.1-1.3b starts from a picture: motionstream generate IMAGE")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--preset", "wan2.1-1.3b"], "preset 'wan2.1-1.3b' has no weights here: download alibaba-pai/Wan2.1-Fun-1.3B-InP"),
        (["--preset", "wan2.2-5b"], "preset 'wan2.2-5b' has no weights here: download Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
        (["--weights", "wan2.1-1.3b"], "wan2.1-1.3b has no student.safetensors: make it from a checkpoint"),
        (["--weights", "wan2.1-1.3b", "--preset", "wan2.2-5b"], "is of wan2.1-1.3b, which is not wan2.2-5b"),
        (["--weights", "wan2.1-1.3b", "--random-weights", "--size", "50x64"], "width=50 must be a positive multiple of 16"),
        (["--full-vae"], "nano has only the decoder that it was trained with"),
    ],
)
def test_a_users_mistakes(place: Path, check_sentence, options: list[str], complaint: str):
    assert generate("photo.png", *options) == 2
    check_sentence(complaint)


def test_the_studio_needs_tracks(place: Path, check_sentence):
    assert cli.main(["demo", "--weights", "wan2.1-1.3b-t2v", "--no-browser", "--port", "0"]) == 2
    check_sentence("wan2.1-1.3b-t2v has no track channels, which the studio needs")
