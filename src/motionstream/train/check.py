"""What settings of a stage may be, said before anything is made: a bad one would stop a step half way, or train nonsense."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from motionstream.data.conditions import check_counts

SHARES = ("long_from", "pairs_until", "dense_until", "decay_share")
"""In [0, 1], as are all chances ``p_...``."""
FROM_ZERO = ("warmup", "critic_warmup", "past_chunks", "gap_steps", "seed")
"""Whole numbers that may be 0; others begin with 1."""
ABOVE_ZERO = ("clip", "score_shift")
ANY_SIGN = ("sigma_mean",)
COUNTS = ("tracks_per_object", "camera_tracks")
MOST_SEED = 100_000
"""The seeds of noise are many times larger and must fit 64 bits."""
NOISE_SEEDS = 2_000_000_011
"""Added to a seed of noise, which is then not the one of the same step's scenes: of one seed both would be the same numbers.
(Odd and below 2^32: a generator on a CPU takes the lower 32 bits of a seed alone.)"""


def check_settings(config: Any) -> None:
    """Refuse numbers of a stage's configuration that mean nothing.

    Raises:
        ValueError: naming the setting, its value and what it may be.
    """
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in COUNTS:
            check_counts(name, value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and (wrong := _wrong(name, value)):
            raise ValueError(f"{name}={value} must {wrong}")


def _wrong(name: str, value: float) -> str:
    """What ``value`` should be, where it is not that; "" where it is."""
    if name.startswith("p_") or name in SHARES:
        return "" if 0 <= value <= 1 else "lie in [0, 1]"
    if name == "seed" and value > MOST_SEED:
        return f"be at most {MOST_SEED}"
    if name in ANY_SIGN:
        return "" if math.isfinite(value) else "be a finite number"
    if name in ABOVE_ZERO:
        return "" if 0 < value < math.inf else "be above 0"
    least = 1 if isinstance(value, int) and name not in FROM_ZERO else 0
    if value == math.inf:
        return "be finite"
    return "" if least <= value else f"be at least {least}"
