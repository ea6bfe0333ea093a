"""Points that were grabbed together: what they hold turns and grows with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from motionstream.stream.points import Point

Dab = dict[int, tuple[float, float]]
"""Ids of the points, and where each of them was when it was grabbed."""


def turned(offsets: Tensor, owners: Tensor, dabs: list[Dab | None], held: Mapping[int, Point]) -> Tensor:
    """Offsets ``(n, 2)`` of slots, those of a dab turned and scaled as its points have been since they were grabbed.

    The similarity is that of least squares, in complex numbers; with fewer than two points of the dab left it is none.
    """
    factors = [1.0 + 0j] * len(dabs)
    known: dict[int, complex] = {}
    for row, dab in enumerate(dabs):
        if dab is None:
            continue
        if id(dab) not in known:
            there = [key for key in dab if key in held]
            before, now = (
                np.array([complex(*place) for place in places])
                for places in ([dab[key] for key in there], [(held[key].x, held[key].y) for key in there])
            )
            before, now = before - before.mean(), now - now.mean()
            size = float((np.abs(before) ** 2).sum())
            known[id(dab)] = complex((before.conj() * now).sum() / size) if size else 1.0
        factors[row] = known[id(dab)]
    turned = torch.view_as_complex(offsets.contiguous()) * torch.tensor(factors, dtype=torch.complex64)[owners]
    return torch.view_as_real(turned)
