"""The loop that every training stage shares: progress, metrics, sample sheets, atomic checkpoints, exact resume.

A stage draws all randomness of step ``n`` from ``(seed, n)``, so a run that is killed and resumed gives the same weights
as one that was not.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from motionstream.config import to_dict

CHECKPOINT = "checkpoint.pt"


class Stage(Protocol):
    """What the loop needs of a training stage."""

    name: str

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
        steps: total updates. minutes: stop (resumably) after this long; 0 is no limit.
        checkpoint_minutes: between checkpoints. sheet_steps: between sample sheets; 0 is none.
        log_steps: updates per line of ``metrics.jsonl`` (averages).
    """

    steps: int
    minutes: float = 0.0
    checkpoint_minutes: float = 3.0
    sheet_steps: int = 500
    log_steps: int = 20


def run(stage: Stage, loop: LoopConfig, folder: Path, *, config: Any, resume: bool) -> bool:
    """Train ``stage`` in ``folder`` until ``loop.steps``; returns whether the run is complete.

    Raises:
        ValueError: when ``folder`` holds another run and ``resume`` is off, or the saved configuration differs.
        FloatingPointError: when a metric is not finite; the last good checkpoint is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = _prepare(stage, folder, config, resume)
    if start >= loop.steps:
        stage.export(folder)
        return True
    deadline = time.monotonic() + loop.minutes * 60 if loop.minutes else math.inf
    saved_at, window, stopping = time.monotonic(), _Window(), _StopRequest()
    bar = tqdm(range(start, loop.steps), initial=start, total=loop.steps, desc=stage.name, mininterval=2)
    step = start
    with stopping:
        for step in bar:
            metrics = stage.train_step(step)
            bad = [key for key, value in metrics.items() if not math.isfinite(value)]
            if bad:
                raise FloatingPointError(
                    f"{stage.name}: {bad[0]} became {metrics[bad[0]]} at step {step}; the checkpoint in {folder} is from "
                    "before that: resume with a lower learning rate"
                )
            window.add(metrics)
            done = step + 1
            if done % loop.log_steps == 0 or done == loop.steps:
                means = window.flush()
                bar.set_postfix({k: f"{v:.4g}" for k, v in list(means.items())[:3]})
                _append(folder / "metrics.jsonl", {"step": done, **means})
            if loop.sheet_steps and done % loop.sheet_steps == 0:
                stage.sheet(folder / f"sheet_{done:06d}.png")
            now = time.monotonic()
            if done == loop.steps or now > deadline or stopping.asked or now - saved_at > loop.checkpoint_minutes * 60:
                save_checkpoint(folder, {"step": done, "stage": stage.state_dict()})
                stage.export(folder)
                saved_at = now
                if now > deadline or stopping.asked:
                    break
    return step + 1 >= loop.steps


def _prepare(stage: Stage, folder: Path, config: Any, resume: bool) -> int:
    config_path, checkpoint = folder / "train_config.json", folder / CHECKPOINT
    wanted = json.loads(json.dumps(to_dict(config)))
    if checkpoint.exists():
        if not resume:
            raise ValueError(f"{folder} already holds a run: pass --resume to go on with it, or another --out folder")
        saved = json.loads(config_path.read_text())
        changed = [key for key in wanted if saved.get(key) != wanted[key] and key not in ("loop", "steps")]
        if changed:
            key = changed[0]
            raise ValueError(
                f"{folder} was trained with {key}={saved.get(key)!r}, not {wanted[key]!r}: resume with the same"
            )
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        stage.load_state_dict(state["stage"])
        _truncate_metrics(folder / "metrics.jsonl", int(state["step"]))
        config_path.write_text(json.dumps(wanted, indent=2) + "\n")
        return int(state["step"])
    config_path.write_text(json.dumps(wanted, indent=2) + "\n")
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    return 0


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Atomic: a kill at any moment leaves the old checkpoint or the new one."""
    partial = folder / (CHECKPOINT + ".partial")
    torch.save(state, partial)
    os.replace(partial, folder / CHECKPOINT)


def _append(path: Path, row: dict[str, float]) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def _truncate_metrics(path: Path, step: int) -> None:
    """Drop rows after the checkpoint: they are about to be made again."""
    if path.exists():
        rows = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        path.write_text("".join(row + "\n" for row in rows))


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
        self.asked = False

    def _handle(self, signum: int, frame: object) -> None:
        if self.asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

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
