"""Streaming speed and memory, measured the same way by ``motionstream bench`` and ``benchmarks/stream.py``."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from motionstream.device import peak_memory_bytes
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.track_buffer import Point


def bench_stream(
    name_or_path: str | Path,
    chunks: int,
    *,
    device: str | None = None,
    dtype: str | None = None,
    warmup: int = 3,
    **options: Any,
) -> dict:
    """Stream ``chunks`` chunks with a moving brush of 24 points, after ``warmup`` unmeasured ones.

    Args:
        options: more arguments of ``load_engine``. Models without tracks or picture are measured without them.

    Timed: live points -> track map -> denoising -> decoding -> uint8 frames on the host, and the clean pass. Not timed:
    loading (given apart), showing, encoding. ``ttff_s`` is the first chunk of a fresh session after warm-up, its picture
    encoded in it (``start_s`` of it until the first step).

    Raises:
        ValueError: fewer than 4 chunks.
    """
    if chunks < 4:
        raise ValueError(f"--chunks {chunks} is too few to measure: use at least 4")
    begun = time.perf_counter()
    engine = load_engine(name_or_path, device=device, dtype=dtype, **options)
    loaded = time.perf_counter()
    engine.warmup(warmup)
    warmed = time.perf_counter()
    geometry = engine.preset.geometry
    picture = None
    if engine.takes_picture:
        picture = np.random.default_rng(0).integers(0, 255, (geometry.height, geometry.width, 3), np.uint8)
    start = time.perf_counter()
    session = engine.start(picture, "a brush moves")
    engine.synchronize()
    started, cache_bytes = time.perf_counter(), session.cache.nbytes
    rows, memory, first = [], [], 0.0
    for index in tqdm(range(chunks), desc="chunks", mininterval=2):
        if engine.takes_tracks:
            session.push(_brush(engine, index))
        chunk = session.step()
        if index == 0:
            first = time.perf_counter() - start
        rows.append(chunk.stats)
        memory.append(_resident_bytes())
    session.close()
    steady = rows[min(warmup, chunks // 4) :]
    totals = [row.total_ms for row in steady]
    frames = geometry.t_stride * engine.preset.cache.chunk_frames
    cut = [float(value) for value in np.percentile(totals, [50, 95, 99])]
    report = {
        "preset": engine.preset.name,
        "setting": engine.preset.cache.tag,
        "size": f"{geometry.width}x{geometry.height}",
        "steps": len(engine.preset.sample.student_sigmas),
        "chunks": chunks,
        "frames_per_chunk": frames,
        "fps": round(1000 * frames / statistics.fmean(totals), 2),
        "chunk_ms": {"p50": round(cut[0], 1), "p95": round(cut[1], 1), "p99": round(cut[2], 1)},
        "split_ms": {
            stage: round(statistics.median(getattr(row, f"{stage}_ms") for row in steady), 2)
            for stage in ("commit", "tracks", "denoise", "decode")
        },
        "ttff_s": round(first, 3),
        "start_s": round(started - start, 3),
        "decoder": engine.decoder,
        "parameters": engine.num_parameters(),
        "load_s": round(loaded - begun, 2),
        "warmup_s": round(warmed - loaded, 2),
        "warmup_chunks": warmup,
        "cache_mib": round(cache_bytes / 2**20, 2),
        "peak_memory_mib": round(peak_memory_bytes(engine.compute.device) / 2**20, 1),
    }
    if engine.random_weights:
        report["random_weights"] = True
        if engine.decoder == "tiny" and engine.takes_picture:
            report["picture_encoder"] = "a tiny one, not Wan's: start_s and ttff_s are too short"
    if chunks >= 300:
        early, late = rows[100:200], rows[-100:]
        report["late_over_early"] = round(
            statistics.median(r.total_ms for r in late) / statistics.median(r.total_ms for r in early), 4
        )
        report["memory_growth_mib"] = round((memory[-1] - memory[100]) / 2**20, 2)
    return report | environment(engine)


def _brush(engine: StreamEngine, index: int) -> list[Point]:
    geometry = engine.preset.geometry
    phase = 2 * np.pi * index / 9
    x, y = geometry.width * (0.5 + 0.2 * np.cos(phase)), geometry.height * (0.5 + 0.2 * np.sin(phase))
    return [Point(n, float(x + 4 * (n % 6) - 10), float(y + 4 * (n // 6) - 6)) for n in range(24)]


def _resident_bytes() -> int:
    """Resident set of this process now; 0 where /proc is absent."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def environment(engine: StreamEngine) -> dict:
    """Hardware and versions that a number needs next to it."""
    device = engine.compute.device
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "device": str(device),
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "dtype": str(engine.compute.dtype).removeprefix("torch."),
        "why": engine.compute.reason,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "command": " ".join(["motionstream", *sys.argv[1:]]),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or "unknown processor"
    return f"{name}, {os.cpu_count()} cores"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
