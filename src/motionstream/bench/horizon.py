"""The flat line: time and memory of a long stream in windows, early against late, as numbers and as a picture."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WINDOWS = 50
"""A long stream is reported in about so many windows."""
FLAT_CHUNKS = 300
"""From so many chunks on early and late can be compared."""


def flatness(totals_ms: Sequence[float], resident: Sequence[int]) -> dict[str, Any]:
    """Late against early: the last window against the second, a stream's first chunks being shorter and cold.

    Args:
        totals_ms: of every chunk. resident: bytes held by the process after each.

    Returns:
        Nothing for fewer than ``FLAT_CHUNKS`` chunks; else ``late_over_early`` (medians), ``memory_growth_mib`` between
        the ends of these windows, and ``windows`` with p50 and p95 of their chunks and the memory at their ends.
    """
    total = len(totals_ms)
    if total < FLAT_CHUNKS:
        return {}
    size = max(total // WINDOWS, 50)
    cuts = [(start, start + size) for start in range(0, total - size + 1, size)]
    windows: list[dict[str, Any]] = []
    for start, stop in cuts:
        part = sorted(totals_ms[start:stop])
        windows.append(
            {
                "chunks": [start, stop],
                "p50_ms": round(statistics.median(part), 2),
                "p95_ms": round(part[int(0.95 * (len(part) - 1))], 2),
                "resident_mib": round(resident[stop - 1] / 2**20, 1),
            }
        )
    early, late = windows[1], windows[-1]
    return {
        "late_over_early": round(late["p50_ms"] / early["p50_ms"], 4),
        "memory_growth_mib": round(late["resident_mib"] - early["resident_mib"], 1),
        "windows": windows,
    }


def draw(report: dict[str, Any], path: Path) -> Path | None:
    """Write the windows as a PNG; None where matplotlib is not installed (:func:`text_plot` needs nothing)."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    windows = report["windows"]
    at = [sum(window["chunks"]) / 2 for window in windows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(at, [window["p50_ms"] for window in windows], label="p50")
    above.plot(at, [window["p95_ms"] for window in windows], label="p95", alpha=0.6)
    above.set_ylabel("ms a chunk")
    above.set_ylim(bottom=0)
    above.legend(loc="lower right")
    below.plot(at, [window["resident_mib"] for window in windows], color="tab:green")
    below.set_ylabel("resident, MiB")
    below.set_ylim(bottom=0)
    below.set_xlabel("chunk")
    above.set_title(f"{report['preset']} {report['setting']}, {report['chunks']} chunks on {report['hardware']}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def text_plot(windows: Sequence[dict[str, Any]], width: int = 40) -> str:
    """One line a window: chunks, p50, memory, and a bar as long as p50 is.

    >>> print(text_plot([{"chunks": [0, 50], "p50_ms": 20.0, "p95_ms": 21.0, "resident_mib": 300.0}], width=4))
        0-50       20.0 ms   300.0 MiB ####
    """
    longest = max(window["p50_ms"] for window in windows)
    lines = []
    for window in windows:
        start, stop = window["chunks"]
        bar = "#" * round(width * window["p50_ms"] / longest)
        lines.append(f"{start:>5}-{stop:<6}{window['p50_ms']:>8.1f} ms{window['resident_mib']:>8.1f} MiB {bar}")
    return "\n".join(lines)
