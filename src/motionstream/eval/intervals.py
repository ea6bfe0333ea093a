"""Means with bootstrap intervals: how far a number might be off because other samples could have been drawn.

Samples are drawn with replacement, whole: seeds of one sample belong together and are averaged first. Of a single sample the
seeds are drawn instead: the interval then says nothing about other samples.

>>> interval([("a", 1.0), ("a", 3.0), ("b", 4.0)]).mean
3.0
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Interval:
    """Mean and median over samples, and the 95 % interval of the mean (None for a single value); ``n`` samples."""

    mean: float
    median: float
    low: float | None
    high: float | None
    n: int

    def as_dict(self, digits: int = 4) -> dict[str, float | int | None]:
        """Rounded, for JSON."""
        return {
            "mean": round(self.mean, digits),
            "median": round(self.median, digits),
            "low": None if self.low is None else round(self.low, digits),
            "high": None if self.high is None else round(self.high, digits),
            "n": self.n,
        }


def interval(values: Iterable[tuple[str, float]], *, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Percentile bootstrap over samples.

    Args:
        values: (sample, number), one for each seed of each sample.
        resamples: draws; the generator is seeded, so the same values give the same interval.

    Raises:
        ValueError: no value.
    """
    groups: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        groups[name].append(value)
    if not groups:
        raise ValueError("no value to average")
    means = np.array([statistics.fmean(group) for group in groups.values()])
    units = means if len(means) > 1 else np.array(next(iter(groups.values())))
    if len(units) == 1:
        return Interval(float(means[0]), float(means[0]), None, None, 1)
    picks = np.random.default_rng(0).integers(0, len(units), (resamples, len(units)))
    drawn = units[picks].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(means.mean()), float(np.median(means)), float(low), float(high), len(means))
