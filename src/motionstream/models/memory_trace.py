"""How much memory a piece of code holds: live and peak bytes of the tensors that it makes.

:func:`rehearsal` runs the program's own code on tensors that have shapes but no numbers, so a model of any size is
rehearsed in a second on a laptop. :class:`MemoryTrace` alone watches real tensors, which is how the rehearsal is checked.

What it cannot see: workspaces inside kernels, the allocator's rounding, the CUDA context.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class MemoryTrace(TorchDispatchMode):
    """Counts the storages that operations make while it is active.

    Attributes:
        live, peak: bytes held now, and at most since the start or :meth:`restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def ignore(self, *known: nn.Module | Tensor) -> None:
        """Do not count these weights and tensors: they were there before, and views of them would look new."""
        for thing in known:
            for tensor in (thing,) if isinstance(thing, Tensor) else (*thing.parameters(), *thing.buffers()):
                self._note(tensor, counted=False)

    def restart(self) -> int:
        """Forget the peak; returns the live bytes, from which the next peak is to be counted."""
        self.peak = self.live
        return self.live

    def _note(self, tensor: Tensor, *, counted: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if counted else 0
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self._note(value, counted=True)
        return out


@contextlib.contextmanager
def rehearsal() -> Iterator[MemoryTrace]:
    """Everything inside runs on tensors without numbers; models must be made inside (:func:`made_in`)."""
    with FakeTensorMode(allow_non_fake_inputs=True), MemoryTrace() as trace:
        yield trace


def made_in(dtype: torch.dtype, make: Callable[[], nn.Module]) -> Any:
    """``make()`` with weights in ``dtype`` (tensors without numbers cannot be converted afterwards)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)


def products_in(dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Autocast as `motionstream.device.Compute.autocast` does it, on the rehearsal's (processor) tensors."""
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype=dtype)
