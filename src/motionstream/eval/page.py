"""The report as one page to open in a browser: tables, plots, and what was made, side by side. It needs its folder only."""

from __future__ import annotations

import statistics
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from motionstream.eval.plots import Band, interval_plot, line_plot, palette
from motionstream.eval.report import METRICS, metric_of
from motionstream.eval.rows import Row
from motionstream.eval.tasks import MEDIA

PAGE = "index.html"
SHOWN = 3
ORDER = ("truth", "clip", "warped", "student", "brush", "tracks_24", "teacher", "single", "rest", "c3s1w1")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:right}th:first-child,td:first-child{text-align:left}
.wide{overflow-x:auto}small{color:#666;white-space:nowrap}
.row{display:flex;flex-wrap:wrap;gap:.6rem;margin:.4rem 0 1.6rem}figure{margin:0}
figure video,figure img{width:256px;display:block;background:#eee}figcaption{font-size:.8rem;color:#555;max-width:256px}
.warn{background:#fff4d6;padding:.6rem 1rem;border-left:4px solid #e0a800}pre{white-space:pre-wrap;font-size:.8rem}
"""
SCRIPT = """
document.querySelectorAll('.row').forEach(row=>{
  const videos=[...row.querySelectorAll('video')];
  const seen=new IntersectionObserver(entries=>entries.forEach(e=>{
    videos.forEach(v=>{if(e.isIntersecting){v.currentTime=0;v.play()}else{v.pause()}})}));
  if(videos.length){seen.observe(row);videos.forEach(v=>v.addEventListener('ended',()=>{
    if(videos.every(w=>w.ended))videos.forEach(w=>{w.currentTime=0;w.play()})}))}
});
"""


def write_page(folder: Path, report: dict[str, Any], rows: list[Row], *, main_metric: str, less_is_better: bool) -> Path:
    """Write ``index.html`` into a result folder; pictures and videos are those in its ``media``."""
    parts = [f"<h1>Suite {escape(report['suite'])}</h1>", _head(report)]
    parts += [_table(report), *_plots(report, main_metric), _curves(report)]
    parts.append(_samples(folder, rows, main_metric, less_is_better))
    parts.append(_environment(report))
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(report['suite'])}</title><style>{STYLE}</style><body>{''.join(parts)}<script>{SCRIPT}</script>"
    )
    path = folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def _head(report: dict[str, Any]) -> str:
    words = (
        f"<p>{report['samples']} of {report['expected_samples']} samples, seeds {report['seeds']}. Means over samples, with "
    )
    words += "95 % bootstrap intervals in brackets.</p>"
    if report["environment"].get("weights") == "random":
        words += '<p class="warn">Random weights: these numbers test the measuring, they say nothing about a model.</p>'
    for note in report["notes"]:
        words += f'<p class="warn">{escape(note)}</p>'
    for name, why in report["missing"].items():
        words += f'<p class="warn">{escape(name)} is not measured: {escape(why)}</p>'
    return words


def _cell(value: dict[str, Any] | None, digits: int) -> str:
    if value is None:
        return "<td>–</td>"
    spread = "" if value["low"] is None else f"<br><small>[{value['low']:.{digits}f}, {value['high']:.{digits}f}]</small>"
    return f"<td>{value['mean']:.{digits}f}{spread}</td>"


def _table(report: dict[str, Any]) -> str:
    conditions = report["conditions"]
    found = {name for metrics in conditions.values() for name in metrics}
    html = "<h2>Means</h2>" + _table_of(conditions, [name for name in METRICS if name in found])
    for multiple in report.get("multiples", []):
        names = [f"{name}@{multiple}x" for name in METRICS if f"{name}@{multiple}x" in found]
        html += f"<h3>At {multiple}x the training length</h3>" + _table_of(conditions, names)
    if report.get("paired"):
        paired, found = report["paired"], {name for part in report["paired"].values() for name in part}
        html += f"<h3>Student less each control, sample by sample; intervals over {escape(report['paired_by'])}</h3>"
        html += _table_of(paired, [name for name in METRICS if name in found])
    if "by_kind" in report:
        kinds = report["by_kind"]
        head = "".join(f"<th>{escape(name)}</th>" for name in dict.fromkeys(n for part in kinds.values() for n in part))
        body = "".join(
            f"<tr><td>{escape(kind)}</td>{''.join(f'<td>{value}</td>' for value in part.values())}</tr>"
            for kind, part in kinds.items()
        )
        html += f"<h3>Student, by kind of movement</h3><table><tr><th></th>{head}</tr>{body}</table>"
    return html


def _table_of(conditions: dict[str, Any], names: list[str]) -> str:
    known = [(name, metric) for name in names if (metric := metric_of(name)) is not None]
    labels = [(metric.label.partition(", at ")[0], "↓" if metric.less_is_better else "↑") for _, metric in known]
    head = "".join(f"<th>{escape(label)} {arrow}</th>" for label, arrow in labels)
    body = ""
    for condition, metrics in conditions.items():
        if any(name in metrics for name in names):
            cells = "".join(_cell(metrics.get(name), metric.digits) for name, metric in known)
            body += f"<tr><td>{escape(condition)}</td>{cells}</tr>"
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{body}</table></div>'


def _band(value: dict[str, Any]) -> Band:
    mean = value["mean"]
    return mean, mean if value["low"] is None else value["low"], mean if value["high"] is None else value["high"]


def _plots(report: dict[str, Any], main_metric: str) -> list[str]:
    parts = []
    for name in dict.fromkeys((main_metric, "kept_share", "left_behind", "beside_psnr_db", "psnr_db", "ssim", "lpips")):
        metric = metric_of(name)
        found = [(condition, _band(m[name])) for condition, m in report["conditions"].items() if name in m]
        if metric is not None and len(found) > 1:
            parts.append(interval_plot(metric.label, found, metric.digits, palette(list(report["conditions"]))))
    return parts


def _curves(report: dict[str, Any]) -> str:
    curves = report.get("curves")
    if not curves:
        return ""
    parts = ["<h2>Against time</h2>"]
    for name in dict.fromkeys(name for found in curves.values() for name in found):
        metric = metric_of(name)
        lines = {
            condition: [None if point is None else _band(point) for point in found[name]]
            for condition, found in curves.items()
            if name in found
        }
        count = max(len(line) for line in lines.values())
        if metric is not None and count > 1:
            xs = [(k + 1) * report["window_frames"] for k in range(count)]
            parts.append(line_plot(metric.label, "frames", xs, lines, metric.digits, palette(list(report["conditions"]))))
    return "".join(parts)


def _samples(folder: Path, rows: list[Row], main_metric: str, less_is_better: bool) -> str:
    """Best and worst first, then all, each with everything that was kept of it."""
    files: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / MEDIA).glob("*--*.*")):
        sample, _, condition = path.stem.partition("--")
        files.setdefault(sample, {})[condition] = path
    if not files:
        return ""
    subject = next((name for name in ("student", "brush", "c3s1w1") if any(r["condition"] == name for r in rows)), None)
    score: dict[str, float] = {}
    for sample in files:
        values = [
            row[main_metric]
            for row in rows
            if row["sample"] == sample and row["condition"] == subject and row.get(main_metric) is not None
        ]
        if values:
            score[sample] = statistics.fmean(values)
    ranked = sorted(score, key=lambda sample: score[sample] if less_is_better else -score[sample])
    metric = metric_of(main_metric)
    parts = []
    if len(ranked) > 2 * SHOWN and metric is not None:
        for title, chosen in (("Best", ranked[:SHOWN]), ("Worst", ranked[::-1][:SHOWN])):
            parts.append(f"<h2>{title} of {escape(str(subject))} by {escape(metric.label)}</h2>")
            parts += [_row_of_media(sample, files[sample], rows, main_metric) for sample in chosen]
    parts.append("<h2>All samples</h2>")
    parts += [_row_of_media(sample, found, rows, main_metric) for sample, found in files.items()]
    return "".join(parts)


def _row_of_media(sample: str, files: dict[str, Path], rows: list[Row], main_metric: str) -> str:
    found = {row["condition"]: row for row in reversed(rows) if row["sample"] == sample}
    figures = ""
    for condition in sorted(files, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        path = files[condition]
        address = f"{MEDIA}/{quote(path.name)}"
        shown = f'<img src="{address}" loading="lazy" alt="">'
        if path.suffix == ".mp4":
            shown = f'<video src="{address}" muted playsinline preload="metadata"></video>'
        said = ", ".join(_said_of(found.get(condition, {}), main_metric))
        words = f"{condition}: {said}" if said else condition
        figures += f"<figure>{shown}<figcaption>{escape(words)}</figcaption></figure>"
    return f'<h3>{escape(sample)}</h3><div class="row">{figures}</div>'


def _said_of(row: Row, main_metric: str) -> list[str]:
    """A row in a few words."""
    words = {main_metric: "{}", "kept_share": "{} kept", "left_behind": "{} left behind", "rest_share": "{} left at rest"}
    shown = {name: metric_of(name) for name in words if row.get(name) is not None}
    return [words[name].format(f"{row[name]:.{metric.digits}f}") for name, metric in shown.items() if metric is not None]


def _environment(report: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in {**report["settings"], **report["environment"]}.items()]
    return f"<h2>How it was measured</h2><pre>{escape(chr(10).join(lines))}</pre>"
