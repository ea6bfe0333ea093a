"""Optional libraries of the ``wan`` extra, imported only where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType


def wan_library(name: str) -> ModuleType:
    """Import ``name`` ("diffusers" or "transformers").

    Raises:
        ValueError: it is not installed; the sentence says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != name:
            raise
        raise ValueError(f"the package {name} is not installed: pip install 'motionstream[wan]'") from None
