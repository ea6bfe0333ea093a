"""What a caller gave, as numbers: arrays of any kind become tensors, and what would change on the way is refused.

>>> as_tensor("ids", [3, 4], torch.int64).tolist()
[3, 4]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_whole(name: str, value: Any, least: int | None = 1) -> int:
    """Return a whole number, also one of NumPy's, as int.

    Raises:
        ValueError: something else, or a number below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} must be a whole number, got {value!r:.60}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def numbers(name: str, values: Any) -> Tensor:
    """Take a tensor as it is, and copy anything else: what the caller does to an array later changes no tracks."""
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must be an array or nested list of numbers, all rows of the same length, got {values!r:.60}"
        )
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be below 2^63, got {array.max()}")
    plain = {"f": np.float64 if array.itemsize > 4 else np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    # A new array in C order: torch takes neither steps backwards, as in points[..., ::-1], nor foreign byte orders.
    return torch.from_numpy(array.astype(plain[array.dtype.kind], order="C"))


def as_tensor(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    """`numbers` of a type, where none of them changes by it (ValueError; on the CPU only, as elsewhere)."""
    given = numbers(name, values)
    tensor = given.to(dtype)
    # A share of visibility would become True and half an id another one.
    if dtype != torch.float32 and given.device.type == "cpu" and not (tensor.to(given.dtype) == given).all():
        wrong = given[tensor.to(given.dtype) != given][0].item()
        rule = "True or False (compare shares with a threshold)" if dtype == torch.bool else "whole numbers"
        raise ValueError(f"{name} must be {rule}, got {wrong}")
    return tensor


def is_size(size: Any) -> bool:
    """Tell whether something is (height, width) in whole pixels, at least 1."""
    try:
        H, W = size
        return all(int(edge) == edge and 1 <= edge < 2**31 for edge in (H, W))
    except (TypeError, ValueError, OverflowError):  # no pair, or none of numbers
        return False
