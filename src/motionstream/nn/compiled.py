"""``torch.compile`` that falls back to the function itself where it does not work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Compiled:
    """``function`` through ``torch.compile``, or as it is, with a warning, where that does not work."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.fast = function, torch.compile(function, dynamic=False)
        self.works = True

    def __call__(self, *inputs: Any) -> Any:
        if self.works:
            try:
                return self.fast(*inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # no compiler, an old driver, a bug of the compiler
                self.works = False
                said = " ".join(str(error).split())[:160] or type(error).__name__
                warnings.warn(f"torch.compile does not work here, this part runs uncompiled ({said})", RuntimeWarning)
        return self.function(*inputs)
