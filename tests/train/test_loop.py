"""The shared loop on a stage of one matrix: exact resume, also after kill -9, and nothing good is overwritten."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from motionstream.train.ema import EMA
from motionstream.train.loop import CHECKPOINT, LoopConfig, run
from motionstream.train.optim import adamw, lr_scale


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=40))
    lr: float = 0.01
    levels: tuple[float, ...] = ()


class ToyStage:
    """Regresses a matrix on data drawn from the step's number; ``pause`` makes it slow enough to be killed."""

    name, exports = "toy", "toy.safetensors"

    def __init__(self, config: ToyConfig, *, broken_at: int | None = None, pause: float = 0.0) -> None:
        torch.manual_seed(0)
        self.config, self.broken_at, self.pause, self.steps = config, broken_at, pause, config.loop.steps
        self.model = torch.nn.Linear(6, 6)
        self.optimizer, self.ema = adamw(self.model, config.lr), EMA(self.model, 0.9)
        self.exported = 0

    def train_step(self, step: int) -> dict[str, float]:
        time.sleep(self.pause)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=generator)
        loss = (self.model(x) - x.flip(1)).square().mean()
        if step == self.broken_at:
            return {"loss": math.nan, "other": 1.0}
        loss.backward()
        norm = self.optimizer.step(lr_scale(step, self.steps, 5, 0.5), 1.0)
        self.ema.update(self.model)
        return {"loss": loss.item(), "norm": norm}

    def state_dict(self):
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def sheet(self, path: Path) -> None:
        path.write_text("a picture")

    def export(self, folder: Path) -> None:
        self.exported += 1
        (folder / self.exports).write_text(str(self.exported))


def config_of(**loop) -> ToyConfig:
    return ToyConfig(loop=LoopConfig(**({"steps": 40, "log_steps": 5, "sheet_steps": 0} | loop)))


def train(folder: Path, config: ToyConfig, *, resume: bool = False, given=None, **kwargs) -> ToyStage:
    stage = ToyStage(config, **kwargs)
    stage.complete = run(stage, config.loop, folder, config=config, resume=resume, given=given)
    return stage


def same(one: ToyStage, other: ToyStage) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    weights = all(torch.equal(ours["model"][k], v) for k, v in theirs["model"].items())
    return weights and all(torch.equal(ours["ema"]["shadow"][k], v) for k, v in theirs["ema"]["shadow"].items())


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_metrics_sheets_config_and_checkpoint(tmp_path):
    stage = train(tmp_path / "run", config_of(sheet_steps=20))
    assert stage.complete
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == [
        CHECKPOINT,
        "metrics.jsonl",
        "sheet_000020.png",
        "sheet_000040.png",
        "toy.safetensors",
        "train_config.json",
    ]
    made = rows(tmp_path / "run")
    assert [row["step"] for row in made] == list(range(5, 41, 5))
    assert made[-1]["loss"] < made[0]["loss"]
    assert json.loads((tmp_path / "run" / "train_config.json").read_text())["lr"] == 0.01


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    whole = train(tmp_path / "whole", config_of())
    # minutes so small that every call stops after one step, with a checkpoint
    part, calls = train(tmp_path / "parts", config_of(minutes=1e-9)), 1
    assert not part.complete
    while not part.complete and calls < 99:
        part, calls = train(tmp_path / "parts", config_of(minutes=1e-9), resume=True), calls + 1
    assert calls == 40
    assert same(part, whole)


def test_resuming_a_finished_run_changes_nothing_and_exports_where_a_kill_came_before(tmp_path):
    whole = train(tmp_path, config_of())
    before, weights = (tmp_path / CHECKPOINT).read_bytes(), tmp_path / ToyStage.exports
    saved = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    for made_at, exports in ((saved + 10**9, 0), (saved - 10**9, 1), (None, 1)):
        os.utime(weights, ns=(made_at, made_at)) if made_at else weights.unlink()
        again = train(tmp_path, config_of(), resume=True)
        assert again.complete
        assert again.exported == exports
        assert same(whole, again)
        assert weights.is_file()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_longer_run_continues_a_shorter_one(tmp_path):
    train(tmp_path, config_of(steps=10))
    assert train(tmp_path, config_of(steps=20), resume=True).complete
    assert [row["step"] for row in rows(tmp_path)] == [5, 10, 15, 20]


def test_a_plan_of_fewer_steps_than_were_made_is_those(tmp_path):
    train(tmp_path, config_of(steps=10))
    assert train(tmp_path, config_of(steps=5), resume=True).complete
    assert json.loads((tmp_path / "train_config.json").read_text())["loop"]["steps"] == 10


def test_metrics_after_the_checkpoint_are_made_again(tmp_path):
    train(tmp_path, config_of(steps=10))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        for step in (15, 20):
            stream.write(json.dumps({"step": step, "loss": -1.0}) + "\n")
    train(tmp_path, config_of(steps=20), resume=True)
    assert [row["step"] for row in rows(tmp_path)] == [5, 10, 15, 20]
    assert all(row["loss"] > 0 for row in rows(tmp_path))


def test_a_run_from_before_there_was_a_setting_goes_on_with_what_is_usual(tmp_path):
    train(tmp_path, config_of(steps=4))
    path = tmp_path / "train_config.json"
    saved = json.loads(path.read_text())
    del saved["lr"], saved["levels"], saved["given"]
    path.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"levels="):
        train(tmp_path, ToyConfig(loop=config_of(steps=9).loop, levels=(0.5,)), resume=True)
    assert train(tmp_path, config_of(steps=9), resume=True).complete


def test_another_run_is_not_overwritten(tmp_path):
    train(tmp_path, config_of(steps=5))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"already holds a run: pass --resume"):
        train(tmp_path, config_of(steps=5))
    with pytest.raises(ValueError, match=r"was trained with levels=\[\], not \[0.5\]"):
        train(tmp_path, ToyConfig(loop=config_of(steps=9).loop, levels=(0.5,)), resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_two_processes_do_not_train_in_one_folder(tmp_path, monkeypatch):
    def held(*_):
        raise BlockingIOError

    train(tmp_path, config_of(steps=5))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr("motionstream.files.fcntl.flock", held)
    with pytest.raises(ValueError, match="is being trained by another process"):
        train(tmp_path, config_of(steps=9), resume=True)
    (tmp_path / ".lock").unlink()  # the other's
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_weights_without_a_run_are_not_overwritten(tmp_path):
    (tmp_path / "toy.safetensors").write_text("a mean of two")
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"toy.safetensors is of no run that could be gone on with.*--out"):
            train(tmp_path, config_of(steps=5), resume=resume)
    assert (tmp_path / "toy.safetensors").read_text() == "a mean of two"


def test_a_run_goes_on_with_another_learning_rate(tmp_path):
    train(tmp_path, config_of(steps=5))
    loop = config_of(steps=9).loop
    stage = train(tmp_path, ToyConfig(loop=loop, lr=0.001), resume=True)
    assert [group["base_lr"] for group in stage.optimizer.groups()] == [0.001]
    assert json.loads((tmp_path / "train_config.json").read_text())["lr"] == 0.001
    assert not same(stage, train(tmp_path / "whole", config_of(steps=9)))


def test_a_run_goes_on_from_what_it_began_with_alone(tmp_path):
    train(tmp_path, config_of(steps=5), given={"--vae": "a1", "--preset": "b2"})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for other in ({"--vae": "c3", "--preset": "b2"}, {"--preset": "b2"}):
        with pytest.raises(ValueError, match=r"was trained with another --vae \(mark a1, now (c3|None)\): resume with"):
            train(tmp_path, config_of(steps=9), resume=True, given=other)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert train(tmp_path, config_of(steps=9), resume=True, given={"--vae": "a1", "--preset": "b2"}).complete


@dataclass(frozen=True, kw_only=True)
class BegunConfig(ToyConfig):
    init: str = ""


def test_what_a_run_began_with_may_lie_elsewhere_but_not_be_left_out(tmp_path):
    def begun(steps: int, init: str, **kwargs) -> ToyStage:
        return train(tmp_path / "run", BegunConfig(loop=config_of(steps=steps).loop, init=init), **kwargs)

    begun(2, "here", given={"init": "a1"})
    assert begun(4, "there", resume=True, given={"init": "a1"}).complete
    with pytest.raises(ValueError, match=r"was trained with another init \(mark a1, now b2\)"):
        begun(6, "there", resume=True, given={"init": "b2"})
    with pytest.raises(ValueError, match=r"was trained with init='there', not ''"):
        begun(6, "", resume=True)
    path = tmp_path / "run" / "train_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"given": {}}))  # a run from before there were marks
    with pytest.raises(ValueError, match=r"was trained with init='there', not 'here'"):
        begun(6, "here", resume=True, given={"init": "a1"})
    assert begun(6, "there", resume=True, given={"init": "a1"}).complete


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    train(tmp_path, config_of(steps=12))
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(FloatingPointError, match=r"toy: loss became nan at step 17; the checkpoint"):
        train(tmp_path, config_of(steps=30, checkpoint_minutes=100), resume=True, broken_at=17)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    with pytest.raises(FloatingPointError, match=r"at step 3; nothing was saved yet: begin with a lower learning rate"):
        train(tmp_path / "new", config_of(steps=30, checkpoint_minutes=100), broken_at=3)
    good = train(tmp_path, config_of(steps=30), resume=True)
    assert good.complete
    assert math.isfinite(rows(tmp_path)[-1]["loss"])


def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    class Interrupted(ToyStage):
        def train_step(self, step):
            if step == 7:
                os.kill(os.getpid(), signal.SIGINT)
            return super().train_step(step)

    config = config_of()
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs behind without it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(Interrupted(config), config.loop, tmp_path, config=config, resume=False)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 8
    resumed, whole = train(tmp_path, config, resume=True), train(tmp_path / "whole", config)
    assert same(resumed, whole)


def test_kill_9_and_resume_gives_the_same_weights(tmp_path):
    """A real process, really killed, mid-run; checkpoints are written at every step to be hit while writing, too."""
    script = (
        "import sys, runpy, pathlib\n"
        "toy = runpy.run_path(sys.argv[1], run_name='toy')\n"
        "config = toy['config_of'](checkpoint_minutes=0, log_steps=1)\n"
        "toy['train'](pathlib.Path(sys.argv[2]), config, resume=True, pause=0.02)\n"
    )
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", script, __file__, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for target in (3, 11):
        with (tmp_path / f"log{target}").open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not (folder / "metrics.jsonl").exists() or len((folder / "metrics.jsonl").read_text().splitlines()) < target:
            assert process.poll() is None, (tmp_path / f"log{target}").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert torch.load(folder / CHECKPOINT, weights_only=True)["step"] < 40
    config = config_of(checkpoint_minutes=0, log_steps=1)
    resumed, whole = train(folder, config, resume=True), train(tmp_path / "whole", config)
    assert resumed.complete
    assert same(resumed, whole)
    assert [row["step"] for row in rows(folder)] == list(range(1, 41))
