"""The loop that every training stage shares: progress, metrics, sample sheets, atomic checkpoints, exact resume.

A stage draws all randomness of step ``n`` from ``(seed, n)``, so a run that is killed and resumed gives the same weights
as one that was not.
"""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from motionstream.config import to_dict
from motionstream.files import alone_in, replacing
from motionstream.train.plan import StepPlan

CHECKPOINT = "checkpoint.pt"
MAY_CHANGE = ("loop", "steps", "lr", "lr_student", "lr_critic")
"""Settings that a resumed run may have otherwise than it began with."""


IN_USE = "being trained"
"""What another process does in a folder that this one may not use."""
FILES = ("init", "pairs", "lpips")
"""Settings that say where files are: one that is set may name another place, where marks tell that they are the same."""


class Stage(Protocol):
    """What the loop needs of a training stage."""

    name: str
    exports: str
    """Name of the file of weights that :meth:`export` writes."""
    steps: int
    """Planned total, over which a stage lays its schedules; the loop sets it before every step."""

    def train_step(self, step: int) -> dict[str, float]:
        """One update; returns metrics, ``loss`` among them."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to go on exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def sheet(self, path: Path) -> None:
        """Write a PNG that shows a person how far training is."""

    def export(self, folder: Path) -> None:
        """Write the weights people use (safetensors and config)."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Cadence of a run.

    Args:
        steps: total updates. minutes: stop this call (resumably) after this long; 0 is no limit.
        fit_minutes: train for this long, all calls together, with as many steps as fit: the total follows the measured
            speed, so that schedules end with the time (train/plan.py), and ``steps`` is only the first guess; 0 is off.
            Such a run depends on the clock and cannot be repeated exactly.
        checkpoint_minutes: between checkpoints. sheet_steps: between sample sheets; 0 is none.
        log_steps: updates per line of ``metrics.jsonl`` (averages).
    """

    steps: int
    minutes: float = 0.0
    fit_minutes: float = 0.0
    checkpoint_minutes: float = 3.0
    sheet_steps: int = 500
    log_steps: int = 20

    def __post_init__(self) -> None:
        for name in ("minutes", "fit_minutes", "checkpoint_minutes"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}={value} must be a number of minutes, 0 or more")
        for name, low in (("steps", 1), ("log_steps", 1), ("sheet_steps", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {low}")


def run(
    stage: Stage, loop: LoopConfig, folder: Path, *, config: Any, resume: bool, given: dict[str, str] | None = None
) -> bool:
    """Train ``stage`` in ``folder`` until the planned steps are done; returns whether the run is complete.

    ``given`` says what the run starts from besides ``config``, as name -> mark (marks.py), which a resumed run must share.

    Ctrl-C and SIGTERM finish the step and save; then they do what they would have done without this loop.

    Raises:
        KeyboardInterrupt: after Ctrl-C, where nobody handles it otherwise.
        ValueError: when ``folder`` holds another run and ``resume`` is off, or what is saved was made of another
            configuration or from other files, or another process trains in it.
        FloatingPointError: when a metric is not finite; the last good checkpoint is kept, where there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, IN_USE):
        return _run(stage, loop, folder, config, resume, given or {})


def _run(stage: Stage, loop: LoopConfig, folder: Path, config: Any, resume: bool, given: dict[str, str]) -> bool:
    saved = _prepare(stage, folder, config, given, resume)
    done = int(saved.pop("step", 0))
    plan = StepPlan(loop.steps, loop.fit_minutes, done=done, **saved)
    _write_config(folder, config, given, max(plan.steps, done))  # a shorter plan takes no step back
    if done >= plan.steps:
        if not _exported(stage, folder):
            stage.export(folder)
        return True
    deadline = time.monotonic() + loop.minutes * 60 if loop.minutes else math.inf
    saved_at, window, stopping = time.monotonic(), _Window(), _StopRequest()
    with stopping, tqdm(initial=done, total=plan.steps, desc=stage.name, mininterval=2) as bar:
        while done < plan.steps:
            stage.steps = plan.steps
            metrics = stage.train_step(done)
            bad = [key for key, value in metrics.items() if not math.isfinite(value)]
            if bad:
                kept = (folder / CHECKPOINT).exists()
                there = f"the checkpoint in {folder} is from before that: resume" if kept else "nothing was saved yet: begin"
                raise FloatingPointError(
                    f"{stage.name}: {bad[0]} became {metrics[bad[0]]} at step {done}; {there} with a lower learning rate "
                    "(--set lr=..., of distill lr_student and lr_critic)"
                )
            window.add(metrics)
            done += 1
            plan.update(done)
            bar.total = plan.steps
            bar.update()
            if done % loop.log_steps == 0 or done == plan.steps:
                means = window.flush()
                bar.set_postfix({k: f"{v:.4g}" for k, v in list(means.items())[:3]})
                fit = {"planned_steps": plan.steps} if loop.fit_minutes else {}
                _append(folder / "metrics.jsonl", {"step": done, **means, **fit})
            if loop.sheet_steps and done % loop.sheet_steps == 0:
                stage.sheet(folder / f"sheet_{done:06d}.png")
            now = time.monotonic()
            stop = now > deadline or stopping.asked is not None
            if done == plan.steps or stop or now - saved_at > loop.checkpoint_minutes * 60:
                state = {"step": done, "planned": plan.steps, "trained_s": plan.trained_s, "stage": stage.state_dict()}
                save_checkpoint(folder, state)
                _write_config(folder, config, given, plan.steps)
                stage.export(folder)
                saved_at = now
            if stop:
                break
    if stopping.asked is not None:
        signal.raise_signal(stopping.asked)  # all is saved: whoever called, a script of several stages say, must not go on
    return done >= plan.steps


def _prepare(stage: Stage, folder: Path, config: Any, given: dict[str, str], resume: bool) -> dict[str, Any]:
    """Loads the checkpoint where there is one; returns what it says besides the stage's state."""
    config_path, checkpoint = folder / "train_config.json", folder / CHECKPOINT
    wanted = json.loads(json.dumps(to_dict(config)))
    if checkpoint.exists():
        if not resume:
            raise ValueError(f"{folder} already holds a run: pass --resume to go on with it, or another --out folder")
        saved = _read_config(config_path)
        # a run from before there was a setting has what is usual today
        usual = {one.name: one.default for one in fields(config) if isinstance(one.default, str | int | float | tuple)}
        saved = json.loads(json.dumps(usual)) | saved
        marked = given.keys() & saved.get("given", {}).keys()
        free = {key for key in FILES if key in marked and saved.get(key) and wanted.get(key)} | set(MAY_CHANGE)
        changed = [key for key in wanted if saved.get(key) != wanted[key] and key not in free]
        if changed:
            key = changed[0]
            raise ValueError(
                f"{folder} was trained with {key}={saved.get(key)!r}, not {wanted[key]!r}: resume with the same"
            )
        before = given | saved.get("given", {})  # what a run from before it was kept began with is not known
        for name in sorted(before.keys()):
            if before.get(name) != given.get(name):
                raise ValueError(
                    f"{folder} was trained with another {name} (mark {before.get(name)}, now {given.get(name)}): resume "
                    "with what it began with, or choose another --out folder"
                )
        state = _read_checkpoint(checkpoint)
        stage.load_state_dict(state.pop("stage"))
        _truncate_metrics(folder / "metrics.jsonl", int(state["step"]))
        return state
    if (folder / stage.exports).exists():
        raise ValueError(
            f"{folder / stage.exports} is of no run that could be gone on with, and would be overwritten: choose another "
            "--out folder"
        )
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    return {}


def _exported(stage: Stage, folder: Path) -> bool:
    """Whether the weights are of the checkpoint: a kill between the two leaves older ones, or none."""
    weights = folder / stage.exports
    return weights.is_file() and weights.stat().st_mtime_ns > (folder / CHECKPOINT).stat().st_mtime_ns


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict) and {"stage", "step"} <= state.keys():
            return state
        said = "it is not one of ours"
    except Exception as error:  # torch raises nearly anything for a damaged archive
        said = " ".join(str(error).split())[:160] or type(error).__name__
    raise ValueError(f"{path} cannot be read ({said}): put back a copy, or begin anew in another --out folder")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text())
        if isinstance(saved, dict):
            return saved
        said = "it is no object"
    except (OSError, ValueError) as error:
        said = str(error)
    raise ValueError(f"{path} cannot be read ({said}): put back a copy, or begin anew in another --out folder")


def _write_config(folder: Path, config: Any, given: dict[str, str], steps: int) -> None:
    """``train_config.json``; its ``loop.steps`` is the planned total, ``given`` is as in :func:`run`."""
    values = to_dict(config)
    values["loop"]["steps"] = steps
    values["given"] = given
    with replacing(folder / "train_config.json", alone=True) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Atomic: a kill at any moment leaves the old checkpoint or the new one."""
    with replacing(folder / CHECKPOINT, alone=True) as partial:
        torch.save(state, partial)


def _append(path: Path, row: dict[str, float]) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def _truncate_metrics(path: Path, step: int) -> None:
    """Drop rows after the checkpoint: they are about to be made again."""
    if path.exists():
        rows = [line for line in path.read_text(errors="replace").splitlines() if _step_of(line) <= step]
        with replacing(path, alone=True) as partial:
            partial.write_text("".join(row + "\n" for row in rows))


def _step_of(line: str) -> float:
    """Step of a row; a line torn by a kill counts as after every checkpoint."""
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf


class _Window:
    """Means of the metrics since the last flush."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.since = time.monotonic()

    def add(self, metrics: dict[str, float]) -> None:
        self.rows.append(metrics)

    def flush(self) -> dict[str, float]:
        keys = dict.fromkeys(key for row in self.rows for key in row)
        means = {}
        for key in keys:
            values = [row[key] for row in self.rows if key in row]
            means[key] = sum(values) / len(values)
        means["steps_per_s"] = len(self.rows) / max(1e-9, time.monotonic() - self.since)
        self.rows, self.since = [], time.monotonic()
        return means


class _StopRequest:
    """SIGTERM and the first Ctrl-C finish the step and save; the second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self.asked: int | None = None  # the signal

    def _handle(self, signum: int, frame: object) -> None:
        if self.asked is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = signum

    def __enter__(self) -> None:
        self.previous = {}
        for signum in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[signum] = signal.signal(signum, self._handle)
            except ValueError:  # not the main thread: leave signals alone
                return

    def __exit__(self, *exc: object) -> None:
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)
