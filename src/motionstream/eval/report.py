"""Rows -> a report: means with intervals for each condition, the floor beside each end-point error, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from motionstream.eval.intervals import interval
from motionstream.eval.rows import Row, drawn_by

FLOOR = "truth"


@dataclass(frozen=True)
class Metric:
    """How a number is called, in what unit, to how many digits, and whether less of it is better."""

    label: str
    digits: int
    less_is_better: bool


METRICS: dict[str, Metric] = {
    "error_pct": Metric("error, % of width", 2, True),
    "object_error_pct": Metric("object off its place, % of width", 2, True),
    "kept_share": Metric("share at its new place", 3, False),
    "left_behind": Metric("share left at its old place", 3, True),
    "beside_psnr_db": Metric("PSNR beside its places, dB", 2, False),
    "rest_share": Metric("share of what nobody held", 3, False),
    "rest_error": Metric("change of what nobody held, levels", 1, True),
    "rest_psnr_gap_db": Metric("PSNR of it less the picture's, dB", 1, False),
    "epe_px": Metric("EPE, px", 2, True),
    "floor_epe_px": Metric("floor of EPE, px", 2, True),
    "epe_moving_px": Metric("EPE of what moves, px", 2, True),
    "epe_late_px": Metric("EPE of what moves and came later, px", 2, True),
    "epe_pct": Metric("EPE, % of width", 2, True),
    "epe_own_px": Metric("EPE to the picture's own tracks, px", 2, True),
    "epe_seen_px": Metric("EPE where seen, px", 2, True),
    "seen_share": Metric("points seen", 3, False),
    "psnr_db": Metric("PSNR, dB", 2, False),
    "ssim": Metric("SSIM", 3, False),
    "lpips": Metric("LPIPS", 3, True),
    "colour_shift": Metric("colour shift, levels", 2, True),
    "contrast_ratio": Metric("contrast kept", 3, False),
    "detail_ratio": Metric("detail kept", 3, False),
    "latency_s": Metric("latency of a chunk, s", 3, True),
    "fps": Metric("frames per second", 2, False),
    "first_frames_s": Metric("time to first frames, s", 3, True),
}


def metric_of(name: str) -> Metric | None:
    """The metric of a row's field, ``"epe_px@5x"`` included; None for fields that are not metrics."""
    base, _, multiple = name.partition("@")
    known = METRICS.get(base)
    if known is None or not multiple:
        return known
    return Metric(f"{known.label}, at {multiple}", known.digits, known.less_is_better)


def summarize(rows: list[Row], suite: str, floor: str = FLOOR) -> dict[str, dict[str, dict[str, Any]]]:
    """``{condition: {metric: {mean, median, low, high, n}}}``, in the order of the rows; ``n`` of what is independent.

    ``floor_epe_px`` of a condition is the error of the tracks found again where the truth is known, in condition ``floor``,
    over the same samples.
    """
    unit = {row["sample"]: drawn_by(suite, row) for row in rows}
    floors = {row["sample"]: row["epe_px"] for row in rows if row["condition"] == floor and row.get("epe_px") is not None}
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for condition in dict.fromkeys(row["condition"] for row in rows):
        part = [row for row in rows if row["condition"] == condition]
        found: dict[str, dict[str, Any]] = {}
        for name in dict.fromkeys(name for row in part for name in row):
            if metric_of(name) is None:
                continue
            values = [(row["sample"], float(row[name])) for row in part if row.get(name) is not None]
            if values:
                found[name] = interval((unit[sample], value) for sample, value in values).as_dict()
            if name == "epe_px" and condition != floor:
                under = [(sample, floors[sample]) for sample in dict.fromkeys(s for s, _ in values) if sample in floors]
                if under:
                    found["floor_epe_px"] = interval((unit[sample], value) for sample, value in under).as_dict()
        table[condition] = found
    return table


def build_report(
    *,
    suite: str,
    rows: list[Row],
    samples: list[str],
    expected: int,
    seeds: list[int],
    settings: dict[str, Any],
    notes: list[str],
    lpips_missing: str,
    extra: dict[str, Any],
    environment: dict[str, Any],
    floor: str = FLOOR,
) -> dict[str, Any]:
    """The JSON of a run. ``partial`` is true when fewer samples were measured than the full number needs."""
    measured = len({row["sample"] for row in rows})
    partial = measured < expected
    if partial:
        notes = [f"Partial: {measured} of {expected} samples. This is not the full number of the suite.", *notes]
    missing = {}
    if lpips_missing and not any(row.get("lpips") is not None for row in rows):
        missing["lpips"] = lpips_missing
    return {
        "suite": suite,
        "samples": measured,
        "expected_samples": expected,
        "partial": partial,
        "seeds": seeds,
        "settings": settings,
        "notes": notes,
        "missing": missing,
        "conditions": summarize(rows, suite, floor),
        **extra,
        "environment": environment,
    }


def table_lines(report: dict[str, Any]) -> list[str]:
    """The report as text for a terminal."""
    head = f"{report['suite']}: {report['samples']} of {report['expected_samples']} samples, seeds {report['seeds']}"
    lines = [head + (" (partial)" if report["partial"] else "")]
    for condition, metrics in report["conditions"].items():
        lines.append(condition)
        for name, value in metrics.items():
            metric = metric_of(name)
            assert metric is not None
            form = f".{metric.digits}f"
            spread = "" if value["low"] is None else f"  [{value['low']:{form}}, {value['high']:{form}}]"
            lines.append(f"  {metric.label:<40}{value['mean']:>10{form}}{spread}  median {value['median']:{form}}")
    for other, metrics in report.get("paired", {}).items():
        lines.append(f"student less {other}, sample by sample, intervals over {report['paired_by']}")
        for name, value in metrics.items():
            spread = "" if value["low"] is None else f"  [{value['low']:+.2f}, {value['high']:+.2f}]"
            lines.append(f"  {METRICS[name].label:<40}{value['mean']:>+10.2f}{spread}")
    lines += [f"note: {note}" for note in report["notes"]]
    lines += [f"{name} is not measured: {why}" for name, why in report["missing"].items()]
    return lines
