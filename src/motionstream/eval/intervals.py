"""Means with bootstrap intervals: how far a number might be off because other samples could have been drawn.

Samples are drawn with replacement, whole: seeds of one sample belong together and are averaged first. Of a single sample the
seeds are drawn instead: the interval then says nothing about other samples. Of a few samples a plain bootstrap is far too
narrow (of 4 it would call one difference in five clear that is none), so it is widened to what Student's t asks for.

>>> interval([("a", 1.0), ("a", 3.0), ("b", 4.0)]).mean
3.0
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
             2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
"""97.5 % quantiles for 1, 2, ... degrees of freedom; from 31 on 1.96 and 2.4 over the degrees is close enough."""


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


def interval(values: Iterable[tuple[str, float]], *, resamples: int = RESAMPLES) -> Interval:
    """95 % percentile bootstrap over samples, expanded for small numbers of them (Hesterberg 2015, section 5.3).

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
    mean, factor = units.mean(), widening(len(units))
    low, high = mean + factor * (np.quantile(drawn, [0.025, 0.975]) - mean)
    return Interval(float(means.mean()), float(np.median(means)), float(low), float(high), len(means))


def widening(n: int) -> float:
    """By how much the bootstrap interval of the mean of ``n`` numbers is too narrow; at least 2 of them."""
    t = STUDENT_T[n - 2] if n - 2 < len(STUDENT_T) else 1.96 + 2.4 / (n - 1)
    return t / 1.96 * math.sqrt(n / (n - 1))


def share_interval(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``n`` samples (Wilson 1927).

    >>> [round(end, 3) for end in share_interval(63 / 64, 64)]
    [0.917, 0.997]
    """
    z = 1.96
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
