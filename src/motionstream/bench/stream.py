"""A stream of one engine: speed by stage, first frame, memory, and the share of the machine's best that is used."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from motionstream.bench.contestants import PROMPT, Ours
from motionstream.bench.counts import chunk_counts, matmul_ceiling
from motionstream.bench.horizon import flatness
from motionstream.bench.machine import environment, resident_bytes
from motionstream.device import peak_memory_bytes, peak_reserved_bytes
from motionstream.models.text import prompt_rows
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.session import ChunkStats

STAGES = ("tracks", "denoise", "decode", "transfer", "commit")
TIMED = "live points -> track map -> denoising -> decoding -> uint8 frames on the host, and the clean pass"
NOT_TIMED = "loading, showing, encoding"


def bench_stream(
    name_or_path: str | Path,
    chunks: int,
    *,
    device: str | None = None,
    dtype: str | None = None,
    **options: Any,
) -> dict:
    """Load an engine and stream ``chunks`` chunks with a moving brush of 24 points: see :func:`measure_stream`.

    Args:
        options: more arguments of ``load_engine``.

    Raises:
        ValueError: fewer than 4 chunks.
    """
    check_chunks(chunks)
    engine, loading = load_timed(name_or_path, device=device, dtype=dtype, **options)
    return measure_stream(engine, chunks) | loading | environment(engine)


def check_chunks(chunks: int) -> None:
    if chunks < 4:
        raise ValueError(f"--chunks {chunks} is too few to measure: use at least 4")


def load_timed(name_or_path: str | Path, **options: Any) -> tuple[StreamEngine, dict[str, Any]]:
    """The engine, loaded and warmed up with another stream, and how long both took."""
    begun = time.perf_counter()
    engine = load_engine(name_or_path, **options)
    engine.gives_way = False  # stages one after the other, and nothing tried in between
    loaded = time.perf_counter()
    with tqdm(desc="warm-up", unit="chunk", mininterval=1) as bar:

        def note(made: int, total: int) -> None:
            bar.total = total
            bar.update(made - bar.n)

        engine.warmup(note=note)
        made = bar.n
    warmed = time.perf_counter()
    return engine, {"load_s": round(loaded - begun, 2), "warmup_s": round(warmed - loaded, 2), "warmup_chunks": made}


def measure_stream(engine: StreamEngine, chunks: int) -> dict[str, Any]:
    """Stream ``chunks`` chunks on a warm engine; the first ones, until sink and window are full, do not count.

    ``ttff_s`` is the first chunk of a fresh session, its picture encoded in it (``start_s`` of it until the first step).
    Ctrl-C ends the stream early and what was measured is reported, with ``interrupted``.
    """
    if engine.compute.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(engine.compute.device)
    ceiling = matmul_ceiling(engine.compute)
    begun = time.perf_counter()
    ours = Ours(engine)
    engine.synchronize()
    started, cache_bytes = time.perf_counter(), ours.session.cache.nbytes
    rows, memory, ends, interrupted = [], [], [], False
    try:
        for _ in tqdm(range(chunks), desc="chunks", mininterval=2):
            rows.append(ours.chunk())
            ends.append(time.perf_counter())
            memory.append(resident_bytes())
    except KeyboardInterrupt:
        if len(rows) < 8:
            raise
        interrupted = True
    ours.close()
    preset = engine.preset
    report: dict[str, Any] = {
        "preset": preset.name,
        "setting": preset.cache.tag,
        "size": f"{preset.geometry.width}x{preset.geometry.height}",
        "layers": preset.model.num_layers,
        "steps": len(preset.sample.student_sigmas),
        "chunks": len(rows),
        "frames_per_chunk": preset.geometry.t_stride * preset.cache.chunk_frames,
        "timed": TIMED,
        "not_timed": NOT_TIMED,
    }
    filling = preset.cache.sink_chunks + preset.cache.window_chunks + 1
    cold = min(filling, len(rows) // 4)
    steady = rows[cold:]
    report |= summary(engine, steady, ends[-1] - ends[cold - 1]) | share_of_ceiling(engine, steady, ceiling)
    report |= {
        "ttff_s": round(ends[0] - begun, 3),
        "start_s": round(started - begun, 3),
        "decoder": engine.decoder,
        "decoder_compiled": engine.decoder_compiled,
        "parameters": engine.num_parameters(),
        "cache_mib": round(cache_bytes / 2**20, 2),
        "peak_memory_mib": round(peak_memory_bytes(engine.compute.device) / 2**20, 1),
    }
    if (reserved := peak_reserved_bytes(engine.compute.device)) is not None:
        report["reserved_memory_mib"] = round(reserved / 2**20, 1)
    if interrupted:
        report["interrupted"] = True
    if engine.random_weights:
        report["random_weights"] = True
        if engine.decoder == "tiny" and engine.takes_picture:
            report["picture_encoder"] = "a tiny one, not Wan's: start_s and ttff_s are too short"
    return report | flatness([row.total_ms for row in rows], memory)


def rows_attended(engine: StreamEngine) -> int:
    """Rows of the prompt that a pass attends to: all there are, or by our kernel the prompt's and one for the empty ones."""
    text_len = engine.preset.model.text_len
    if engine.fused is None or engine.fused.cross_name != "kernel":
        return text_len
    return min(prompt_rows(engine.text([PROMPT])) + 1, text_len)


def summary(engine: StreamEngine, rows: Sequence[ChunkStats], wall_s: float) -> dict[str, Any]:
    """Frames a second, time of a chunk (p50, p95, p99; ``latency`` without the clean pass) and its stages' medians.

    Args:
        wall_s: what these chunks took by the clock on the wall. On CUDA the clean pass runs beside decoding, so it may be
            less than the sum of the stages.
    """
    frames = engine.preset.geometry.t_stride * engine.preset.cache.chunk_frames
    totals, latencies = [row.total_ms for row in rows], [row.latency_ms for row in rows]
    return {
        "fps": round(frames * len(rows) / wall_s, 2),
        "chunk_ms": _percentiles(totals),
        "latency_ms": _percentiles(latencies),
        "split_ms": {stage: round(statistics.median(getattr(row, f"{stage}_ms") for row in rows), 2) for stage in STAGES},
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cut = np.percentile(values, [50, 95, 99]).tolist()
    return {name: round(value, 1) for name, value in zip(("p50", "p95", "p99"), cut, strict=True)}


def share_of_ceiling(engine: StreamEngine, rows: Sequence[ChunkStats], ceiling: dict[str, float | int]) -> dict[str, Any]:
    """Counted products of the transformer over its time, against the best measured rate of a plain matrix product."""
    steps, text_rows = len(engine.preset.sample.student_sigmas), rows_attended(engine)
    counts = chunk_counts(engine.preset, steps, engine.compute.dtype.itemsize, text_rows=text_rows)
    spent = statistics.median(row.denoise_ms + row.commit_ms for row in rows) / 1000
    rate = counts.flop / max(spent, 1e-9)
    return {
        "text_rows": text_rows,
        "model_tflop_per_chunk": float(f"{counts.flop / 1e12:.4g}"),
        "model_tflop_per_s": float(f"{rate / 1e12:.4g}"),
        "ceiling_tflop_per_s": float(f"{ceiling['flop_per_s'] / 1e12:.4g}"),
        "ceiling_of": f"{ceiling['size']}x{ceiling['size']} product, {str(engine.compute.dtype).removeprefix('torch.')}",
        "share_of_ceiling": round(rate / ceiling["flop_per_s"], 3),
        "least_traffic_mib": round((counts.weight_bytes + counts.cache_bytes) / 2**20, 1),
    }
