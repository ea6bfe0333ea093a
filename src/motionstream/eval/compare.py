"""Two runs side by side: differences sample by sample, so that what both find hard does not count as noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from motionstream.errors import UserError
from motionstream.eval.intervals import interval
from motionstream.eval.report import metric_of
from motionstream.eval.rows import REPORT, ROWS, RUN, SAMPLE, SHOWN, Key, Row, drawn_by, key_of, read_rows

# What may differ between runs that are compared: the thing that is measured; and so may its settings of sampling.
FREE = ("weights", "preset", "settings_of_model", *SHOWN)


def read_run(path: Path) -> tuple[dict[str, Any], dict[Key, Row]]:
    """What was measured, and its rows: a result folder, or a file in one.

    Raises:
        UserError: not a result folder, or one without rows.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UserError(f"the result {str(path)!r} does not exist: give a folder that motionstream eval --out made")
    if path.is_file() and path.name not in (RUN, ROWS, REPORT):
        raise UserError(f"{path} is not a result: give a folder that motionstream eval --out made, or its {REPORT}")
    if not (folder / RUN).is_file():
        raise UserError(f"{folder} holds no {RUN}: give a folder that motionstream eval --out made")
    try:
        identity = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / RUN} is not valid JSON ({error}): measure again") from error
    rows = {key_of(row): row for row in read_rows(folder / ROWS)}
    if not rows:
        raise UserError(f"{folder / ROWS} has no row: measure first")
    return identity, rows


def compare_runs(a: Path, b: Path) -> dict[str, Any]:
    """Paired differences (B minus A) with intervals, for each condition and metric.

    Raises:
        UserError: the runs measured different things, or different samples: a difference would mean nothing.
    """
    (first, ours), (second, theirs) = read_run(a), read_run(b)
    for name in sorted(first.keys() | second.keys()):
        if name not in FREE and not name.startswith(SAMPLE) and first.get(name) != second.get(name):
            raise UserError(
                f"{a} and {b} are not paired: {name} is {first.get(name)!r} in one and {second.get(name)!r} in the other; "
                "measure both in the same way"
            )
    conditions = {condition for _, condition, _ in ours} & {condition for _, condition, _ in theirs}
    if not conditions:
        raise UserError(f"{a} and {b} have no condition in common: there is nothing to compare")
    keys = sorted(key for key in ours if key[1] in conditions)
    others = {key for key in theirs if key[1] in conditions}
    lonely = sorted(set(keys) ^ others)
    if lonely:
        sample, condition, seed = lonely[0]
        where = a if lonely[0] in ours else b
        raise UserError(
            f"{a} and {b} are not paired: {len(lonely)} rows are in one only (sample {sample}, {condition}, seed {seed} in "
            f"{where}); measure the same samples and seeds in both"
        )
    found: dict[str, Any] = {}
    for condition in sorted(conditions):
        metrics: dict[str, Any] = {}
        mine = [key for key in keys if key[1] == condition]
        for name in dict.fromkeys(name for key in mine for name in ours[key]):
            if metric_of(name) is None:
                continue
            pairs = [(drawn_by(first["suite"], ours[key]), ours[key].get(name), theirs[key].get(name)) for key in mine]
            known = [(unit, x, y) for unit, x, y in pairs if x is not None and y is not None]
            if not known:
                continue
            difference = interval((unit, y - x) for unit, x, y in known)
            metrics[name] = {
                "a": interval((unit, x) for unit, x, _ in known).as_dict()["mean"],
                "b": interval((unit, y) for unit, _, y in known).as_dict()["mean"],
                "difference": difference.as_dict(),
                "clear": difference.low is not None and (difference.low > 0 or (difference.high or 0.0) < 0),
            }
        found[condition] = metrics
    units = "clips" if any("clip" in row for row in ours.values()) or first["suite"] == "transfer" else "samples"
    return {"suite": first["suite"], "drawn_by": units, "a": str(a), "b": str(b), "conditions": found}


def comparison_lines(report: dict[str, Any]) -> list[str]:
    """The comparison as text for a terminal."""
    lines = [
        f"{report['suite']}: B - A, paired by sample; * where the 95 % interval (over {report['drawn_by']}) leaves out 0"
    ]
    for condition, metrics in report["conditions"].items():
        lines.append(condition)
        for name, value in metrics.items():
            metric = metric_of(name)
            assert metric is not None
            d, digits = value["difference"], metric.digits + 1
            spread = "" if d["low"] is None else f"  [{d['low']:+.{digits}f}, {d['high']:+.{digits}f}]"
            mark = "*" if value["clear"] else " "
            pair = f"{value['a']:>10.{digits}f}{value['b']:>10.{digits}f}"
            lines.append(f"  {metric.label:<40}{pair}{d['mean']:>+10.{digits}f}{mark}{spread}")
    return lines
