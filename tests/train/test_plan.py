"""``fit_minutes``: the loop plans its steps from the measured speed, on a clock that the stage itself moves."""

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from motionstream.train.loop import CHECKPOINT, LoopConfig, run
from motionstream.train.optim import lr_scale


@dataclass(frozen=True, kw_only=True)
class Config:
    loop: LoopConfig


class Clock:
    """Stands for the ``time`` module."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        for module in ("loop", "plan"):
            monkeypatch.setattr(f"motionstream.train.{module}.time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


class Timed:
    """Does nothing but take ``seconds[step]`` (the last one from there on), and remembers rates and plans."""

    name, exports = "timed", "timed.safetensors"

    def __init__(self, clock: Clock, seconds: list[float], compile_s: float = 0.0) -> None:
        self.clock, self.seconds, self.compile_s = clock, seconds, compile_s
        self.steps = 0
        self.rates: list[float] = []
        self.plans: list[int] = []

    def train_step(self, step: int) -> dict[str, float]:
        self.clock.now += self.seconds[min(step, len(self.seconds) - 1)] + self.compile_s
        self.compile_s = 0.0
        self.plans.append(self.steps)
        self.rates.append(lr_scale(step, self.steps, 1, 0.5))
        return {"loss": 1.0}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass

    def sheet(self, path: Path) -> None:
        pass

    def export(self, folder: Path) -> None:
        pass


def train(folder: Path, stage: Timed, resume: bool = False, **loop: float) -> bool:
    config = Config(loop=LoopConfig(**({"steps": 100_000, "sheet_steps": 0, "log_steps": 10} | loop)))
    return run(stage, config.loop, folder, config=config, resume=resume)


def last_row(folder: Path) -> dict:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_steps_fit_the_time_and_the_rate_falls_to_its_end(clock, tmp_path):
    stage, begun = Timed(clock, [2.0], compile_s=100.0), clock.now
    assert train(tmp_path, stage, fit_minutes=10)
    assert clock.now - begun == pytest.approx(600, abs=2)
    done = len(stage.rates)
    assert done == (600 - 100) / 2, "compilation costs its time once, and no more"
    assert stage.rates[done // 4] == 1.0
    assert stage.rates[-25] == pytest.approx(25 / (done / 2))
    assert stage.rates[-1] == 0.02
    assert set(stage.plans[4:]) == {done}, "the first step, however long, does not enter the speed"
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert (state["step"], state["planned"], state["trained_s"]) == (done, done, pytest.approx(600, abs=2))
    assert json.loads((tmp_path / "train_config.json").read_text())["loop"]["steps"] == done
    assert last_row(tmp_path)["step"] == last_row(tmp_path)["planned_steps"] == done


def test_a_run_that_becomes_slower_still_ends_in_time(clock, tmp_path):
    stage, begun = Timed(clock, [1.0] * 300 + [3.0]), clock.now
    assert train(tmp_path, stage, fit_minutes=10)
    assert clock.now - begun == pytest.approx(600, abs=3)
    assert len(stage.rates) == pytest.approx(300 + 300 / 3, abs=1)
    assert max(stage.rates[-5:]) < 0.05
    assert max(abs(a - b) for a, b in itertools.pairwise(stage.plans[5:])) < 15, "the plan moves smoothly"


def test_a_resumed_call_goes_on_with_the_time_that_is_left(clock, tmp_path):
    stage, begun = Timed(clock, [2.0], compile_s=50.0), clock.now
    assert not train(tmp_path, stage, fit_minutes=10, minutes=4)
    planned = stage.plans[-1]
    clock.now += 5000  # nobody trains
    later = Timed(clock, [2.0], compile_s=50.0)
    assert train(tmp_path, later, resume=True, fit_minutes=10, minutes=20)
    assert clock.now - begun - 5000 == pytest.approx(600, abs=4)
    assert later.plans[:3] == [planned] * 3, "until the speed is known the saved plan holds"
    assert later.rates[-1] < 0.05
    assert last_row(tmp_path)["step"] == len(stage.rates) + len(later.rates)


def test_a_finished_run_stays_finished_and_goes_on_with_more_time(clock, tmp_path):
    train(tmp_path, first := Timed(clock, [2.0]), fit_minutes=5)
    before = (tmp_path / CHECKPOINT).read_bytes()
    assert train(tmp_path, again := Timed(clock, [2.0]), resume=True, fit_minutes=5)
    assert again.rates == []
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert train(tmp_path, more := Timed(clock, [2.0]), resume=True, fit_minutes=10)
    assert (len(first.rates), len(more.rates)) == (150, 150)
    assert more.plans[0] == pytest.approx(300, abs=1)
    assert more.rates[0] == pytest.approx(1.0, abs=0.02)


def test_time_too_short_for_a_plan_ends_the_run(clock, tmp_path):
    stage = Timed(clock, [10.0])
    assert train(tmp_path, stage, fit_minutes=0.25, steps=1)
    assert len(stage.rates) == 2, "a small first guess does not end a run that has time"


def test_without_it_the_plan_is_the_number_of_steps(clock, tmp_path):
    stage = Timed(clock, [100.0])
    assert train(tmp_path, stage, steps=7)
    assert stage.plans == [7] * 7
    assert "planned_steps" not in last_row(tmp_path)


@pytest.mark.parametrize("name", ["fit_minutes", "minutes", "checkpoint_minutes"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_minutes_that_are_none_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be a number of minutes, 0 or more"):
        LoopConfig(steps=10, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("log_steps", 0), ("sheet_steps", -1)])
def test_counts_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be at least"):
        LoopConfig(**({"steps": 10} | {name: value}))
