"""A recorder for a CPU that behaves as CUDA graphs do: the same operations on the same memory, values of the host frozen."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class Replayer:
    """Recording runs the work once; a replay writes every result into the memory that it was recorded in."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.forgotten = 0

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        self.recorded += 1
        with _Tape() as tape:
            out = work()

        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, kept in tape.calls:
                new = func(*args, **kwargs)
                for old, fresh in zip(tree_leaves(kept), tree_leaves(new), strict=True):
                    # Views and results of in-place operations lie in memory that is up to date already.
                    if isinstance(old, Tensor) and old.data_ptr() != fresh.data_ptr():
                        old.copy_(fresh)

        return out, replay

    def forget(self) -> None:
        self.forgotten += 1


class Broken:
    """A recorder that cannot, the first so many ``times``."""

    def __init__(self, kind: type[Exception] = RuntimeError, times: float = math.inf) -> None:
        self.kind, self.times, self.tried, self.then = kind, times, 0, Replayer()

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        self.tried += 1
        if self.tried > self.times:
            return self.then(work)
        raise self.kind("operation not permitted when stream is capturing")

    def forget(self) -> None:
        """Nothing was recorded."""
