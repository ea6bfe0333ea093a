"""`motionstream replay`: the same bits again, other canvases, and a user's mistakes."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import motionstream as ms
from motionstream import cli
from motionstream.commands.replay import _makes
from motionstream.config import to_json
from motionstream.models.load import save_weights
from motionstream.presets import preset
from motionstream.stream.compute_path import ComputePath
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.performance import Performance
from motionstream.stream.take import ComputedWith, Take


@pytest.fixture
def small() -> StreamEngine:
    return load_engine("tiny-debug", device="cpu", dtype="float32")


@pytest.fixture
def recorded(small: StreamEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A take with a drag, in take.json; the hash of its frames."""
    monkeypatch.chdir(tmp_path)
    picture = np.linspace(0, 255, 32 * 48 * 3).astype(np.uint8).reshape(32, 48, 3)
    digest = hashlib.sha256()
    with Performance(small, picture, "a ball", 3) as show:
        for n in range(3):
            if n == 1:
                show.live.grab(1, [(20.0, 15.0)], seen=0, t=1)
                show.live.move(1, (6.0, 2.0, 0.3, 1.1), t=2)
            digest.update(show.step().frames.tobytes())
        Path("take.json").write_text(show.take.to_json())
    return digest.hexdigest()


def replay(*more: str) -> int:
    return cli.main(["replay", "take.json", "-o", "out.mp4", "--device", "cpu", "--dtype", "float32", *more])


def test_a_take_is_made_again_bit_for_bit(recorded: str, last_json: Callable[[], dict[str, Any]]):
    assert replay("--draw-tracks") == 0
    result = last_json()
    assert result["frames_sha256"] == recorded
    assert (result["frames"], result["chunks"], result["preset"], result["seed"]) == (33, 3, "tiny-debug", 3)
    assert result["fps"] > 0
    frames, fps = ms.read_video("out.mp4")
    assert frames.shape == (33, 384, 576, 3)
    assert fps == 16
    green = (frames[..., 1].astype(int) - frames[..., 0]) > 80
    assert not green[:9].any()
    assert green[20, 150:250, 200:400].any()
    assert replay("--scale", "1") == 0
    assert last_json()["frames_sha256"] == recorded
    assert ms.read_video("out.mp4")[0].shape == (33, 32, 48, 3)


def test_dtype_and_attention_are_those_of_the_recording(recorded: str, last_json, monkeypatch, capsys):
    take = Take.from_json(Path("take.json").read_text())
    assert take.computed_with == ("cpu", "float32", "sdpa", "sdpa", "plain", "outlines")
    assert cli.main(["replay", "take.json", "-o", "out.mp4", "--device", "cpu"]) == 0
    assert last_json()["frames_sha256"] == recorded  # wherever bfloat16 would have been chosen, too
    path = ComputePath(attention="products")
    engine = load_engine("tiny-debug", device="cpu", dtype="float32", path=path)
    with Performance(engine, take.picture, "a ball", 3) as show:
        frames = [show.step().frames.tobytes() for _ in range(3)]
    Path("take.json").write_text(show.take.to_json())
    used = []
    load = load_engine
    monkeypatch.setattr("motionstream.stream.engine.load_engine", lambda *a, **k: used.append(load(*a, **k)) or used[-1])
    assert replay() == 0
    assert used[0].computed_with == ("cpu", "float32", "products", "sdpa", "plain", "outlines")
    assert last_json()["frames_sha256"] == hashlib.sha256(b"".join(frames)).hexdigest()
    capsys.readouterr()
    Path("take.json").write_text(json.dumps({**json.loads(show.take.to_json()), "computed_with": None}))
    assert replay() == 0
    assert used[1].computed_with.attention == "sdpa"  # so few scores, and nobody asked for another
    assert "last bit" not in capsys.readouterr().err


def test_the_slow_reference_is_replayed_by_the_slow_reference(recorded: str, monkeypatch):
    take = Take.from_json(Path("take.json").read_text())
    take.computed_with = ComputedWith("cpu", "float32", "sdpa", "sdpa", "reference")
    Path("take.json").write_text(take.to_json())
    used, load = [], load_engine
    monkeypatch.setattr("motionstream.stream.engine.load_engine", lambda *a, **k: used.append(load(*a, **k)) or used[-1])
    assert replay() == 0
    assert used[0].fused is None


def test_what_an_older_take_does_not_say_is_no_difference(recorded: str, capsys):
    document = json.loads(Path("take.json").read_text())
    document["computed_with"] = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}
    Path("take.json").write_text(json.dumps(document))
    assert replay() == 0
    assert "last bit" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "numbers",
    [
        ("cuda", "bfloat16", "fa3"),
        ("cpu", "float16", "sdpa"),
        ("cpu", "float32", "gone"),
        ("cpu", "float32", "sdpa", "cudnn"),
    ],
)
def test_it_is_said_where_the_last_bits_may_differ(recorded: str, capsys, numbers: tuple[str, str, str]):
    take = Take.from_json(Path("take.json").read_text())
    take.computed_with = ComputedWith(*numbers)
    Path("take.json").write_text(take.to_json())
    assert replay() == 0
    assert f"computed with {', '.join(numbers)}, this is cpu, float32, sdpa" in capsys.readouterr().err


def test_without_opencv_things_are_found_otherwise_and_that_is_said(recorded: str, capsys, monkeypatch):
    monkeypatch.setattr("motionstream.stream.compute_path.can_outline", lambda: False)
    assert replay() == 0
    assert "plain, outlines, this is cpu, float32, sdpa, sdpa, plain, discs" in capsys.readouterr().err


def test_wan_is_replayed_in_any_size_that_it_can_make(recorded: str):
    take = dataclasses.replace(Take.from_json(Path("take.json").read_text()), preset="wan2.1-1.3b")
    for width, height, made in ((480, 320, True), (481, 320, False)):
        assert _makes(preset("wan2.1-1.3b"), dataclasses.replace(take, width=width, height=height)) is made
    assert not _makes(preset("wan2.2-5b"), dataclasses.replace(take, width=480, height=320))
    assert _makes(preset("nano"), dataclasses.replace(take, width=128, height=96))


def test_another_canvas_gets_scaled_lengths(recorded: str, small: StreamEngine, monkeypatch: pytest.MonkeyPatch, capsys):
    geometry = dataclasses.replace(small.preset.geometry, width=64, height=48, fps=8.0)
    small.preset = dataclasses.replace(small.preset, name="wider", geometry=geometry)
    monkeypatch.setattr("motionstream.stream.engine.load_engine", lambda *_, **__: small)
    taken = []
    of_take = Performance.of_take
    monkeypatch.setattr(Performance, "of_take", lambda engine, take, **k: taken.append(take) or of_take(engine, take, **k))
    assert replay() == 0
    said = capsys.readouterr().err
    assert "scaled from 48x32 to 64x48" in said
    assert "recorded with tiny-debug" in said
    assert "recorded at 16 frames per second, the video has 8" in said
    assert taken[0].inputs[1].begins[0].points[0] == pytest.approx((20 * 64 / 48, 15 * 48 / 32))
    assert ms.read_video("out.mp4")[0].shape == (33, 384, 512, 3)


def test_a_take_of_another_size_that_the_model_knows_is_made_in_it(recorded: str, small: StreamEngine, capsys):
    known = dataclasses.replace(small.preset, more_sizes=((48, 64),))
    Path("model").mkdir()
    (Path("model") / "config.json").write_text(to_json(known))
    save_weights(Path("model") / "student.safetensors", small.model)
    save_weights(Path("model") / "vae.safetensors", small.vae)
    take = Take.from_json(Path("take.json").read_text())
    Path("take.json").write_text(take.scaled(64, 48).to_json())
    assert replay("--weights", "model") == 0
    assert "scaled" not in capsys.readouterr().err
    assert ms.read_video("out.mp4")[0].shape == (33, 384, 512, 3)
    assert replay("--weights", "model", "--size", "48x32") == 0
    assert "scaled from 64x48 to 48x32" in capsys.readouterr().err


def test_another_model_and_its_full_decoder(recorded: str, small: StreamEngine, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def load(name: str, **options: Any) -> StreamEngine:
        asked.append((name, options))
        return small

    monkeypatch.setattr("motionstream.stream.engine.load_engine", load)
    other = dataclasses.replace(small.preset, name="other")
    monkeypatch.setattr("motionstream.stream.find_weights.find_config", lambda *_, **__: (other, None))
    words = ["--preset", "wan2.1-1.3b", "--weights", "W", "--full-vae", "--encoders", "E", "--size", "480x320"]
    assert replay(*words) == 0
    assert replay("--preset", "nano") == 0
    assert replay("--weights", "W") == 0
    here = {"device": "cpu", "dtype": "float32"}
    assert asked == [
        ("W", {**here, "preset": "wan2.1-1.3b", "vae": "full", "encoders": "E", "size": (320, 480)}),
        ("nano", here),
        ("W", here),
    ]


def test_fp8_is_not_for_a_small_model(recorded: str, capsys):
    assert replay("--fp8") == 2
    assert "--fp8 is for Wan presets, and tiny-debug is none" in capsys.readouterr().err


def test_a_users_mistakes(recorded: str, capsys):
    take = json.loads(Path("take.json").read_text())
    Path("short.json").write_text("{")
    Path("binary.json").write_bytes(b"\xff\xfe\x00")
    Path("empty.json").write_text(json.dumps({**take, "num_chunks": 0, "inputs": []}))
    Path("big.json").write_text(Take.from_json(json.dumps(take)).scaled(64, 48).to_json().replace("tiny-debug", "gone"))
    for words, said in (
        (["short.json", "-o", "out.mp4"], "not valid JSON"),
        (["binary.json", "-o", "out.mp4"], "UTF-8"),
        (["empty.json", "-o", "out.mp4"], "nothing to replay"),
        (["missing.json", "-o", "out.mp4"], "missing.json"),
        (["take.json", "-o", "out.avi"], "must end in .mp4"),
        (["take.json", "-o", "out.mp4", "--preset", "huge"], "unknown preset 'huge'"),
        (["big.json", "-o", "out.mp4"], "'gone' is neither a preset"),
        (["take.json", "-o", "out.mp4", "--full-vae"], "full"),
    ):
        assert cli.main(["replay", *words]) == 2, words
        captured = capsys.readouterr()
        assert said in captured.err.splitlines()[-1]
        assert captured.err.startswith("motionstream: ")
        assert captured.out == ""
    assert not Path("out.mp4").exists()
