"""Bootstrap intervals: known cases, coverage, and seeds of one sample belong together."""

import numpy as np
import pytest

from motionstream.eval.intervals import interval, share_interval


def test_known_cases():
    same = interval((str(k), 2.0) for k in range(5))
    assert (same.mean, same.low, same.high, same.n) == (2.0, 2.0, 2.0, 5)
    one = interval([("a", 3.0)])
    assert (one.mean, one.low, one.high, one.n) == (3.0, None, None, 1)
    with pytest.raises(ValueError, match="no value"):
        interval([])


def test_seeds_are_averaged_first():
    found = interval([("a", 0.0), ("a", 2.0), ("b", 5.0), ("b", 5.0), ("b", 5.0)])
    assert found.mean == 3.0
    assert found.n == 2


def test_of_one_sample_the_seeds_are_drawn():
    found = interval([("a", 0.0), ("a", 1.0), ("a", 2.0)])
    assert found.n == 1
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("n", [2, 3, 4, 9, 40])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(n):
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = generator.normal(10, 3, n)
        found = interval(((str(k), float(v)) for k, v in enumerate(values)), resamples=400)
        hits += found.low <= 10 <= found.high
    assert 178 <= hits <= 198


def test_shares():
    assert share_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert share_interval(63 / 64, 64) == pytest.approx((0.917, 0.997), abs=1e-3)
    low, high = share_interval(0.5, 10)
    assert (low, high) == pytest.approx((1 - high, 1 - low))


def test_the_same_values_give_the_same_interval():
    values = [(str(k), float(k % 7)) for k in range(30)]
    assert interval(values) == interval(values)
    assert interval(values).as_dict(1)["mean"] == 2.8
