"""Plot metrics of training runs: python tools/learning_curve.py RUN [RUN ...] -o FILE.png (needs the `eval` extra).

Runs are drawn one after the other, as stages that continue each other.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("runs", type=Path, nargs="+")
parser.add_argument("-o", "--output", type=Path, required=True)
args = parser.parse_args()

figure, axes = plt.subplots(1, 2, figsize=(9, 3), constrained_layout=True)
offset = 0
for run in args.runs:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for axis, key in zip(axes, ("loss", "gap_pct"), strict=True):
        points = [(offset + row["step"], row[key]) for row in rows if key in row]
        if points:
            axis.plot(*zip(*points, strict=True), label=run.name)
    offset += rows[-1]["step"]
axes[0].set(title="training loss", xlabel="step", yscale="log")
axes[1].set(title="counterfactual gap, moving cells, %", xlabel="step")
for axis in axes:
    axis.grid(alpha=0.3)
    axis.legend()
args.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(args.output, dpi=110)
