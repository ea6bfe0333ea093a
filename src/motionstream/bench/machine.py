"""What a number needs next to it: hardware, clocks, versions, commit, command; and what memory is held now."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from motionstream.stream.engine import StreamEngine


def environment(engine: StreamEngine) -> dict[str, Any]:
    """Hardware, clocks where they can be read, threads, types, versions, commit and command."""
    device = engine.compute.device
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": str(device),
        "hardware": hardware,
        "clocks": clocks(device),
        "load_average": load_average(),
        "threads": torch.get_num_threads(),
        "dtype": str(engine.compute.dtype).removeprefix("torch."),
        "why": engine.compute.reason,
        **engine.describe_path(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "command": " ".join(["motionstream", *sys.argv[1:]]),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or "unknown processor"
    return f"{name}, {os.cpu_count()} cores"


def clocks(device: torch.device) -> str:
    """Clock now and at most; "unknown" where nothing tells."""
    if device.type == "cuda" and shutil.which("nvidia-smi"):
        fields = "clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,temperature.gpu"
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", str(device.index or 0)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f"{fields}: {done.stdout.strip()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    rates = [float(line.split(":", 1)[1]) for line in lines if line.startswith("cpu MHz")]
    return f"{min(rates):.0f}-{max(rates):.0f} MHz" if rates else "unknown"


def load_average() -> float | None:
    """Processes that ran or waited in the last minute, ours included: more than ``threads`` means company."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def resident_bytes() -> int:
    """Resident set of this process now; 0 where /proc is absent."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def commit() -> str:
    """What MOTIONSTREAM_COMMIT says, for a copy without a history; else the short hash of the checkout that this file lies
    in, with "+" where files were changed; "unknown" without git."""
    if told := os.environ.get("MOTIONSTREAM_COMMIT", "").strip():
        return told
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode:
        return "unknown"
    known = subprocess.run(
        [*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, text=True, check=False
    )
    if known.returncode:  # a repository around a copy, or around an environment that this is installed in: not ours
        return "unknown"
    dirty = subprocess.run([*git, "status", "--porcelain", "-uno", "."], capture_output=True, text=True, check=False)
    return done.stdout.strip() + ("+" if dirty.stdout.strip() else "")
