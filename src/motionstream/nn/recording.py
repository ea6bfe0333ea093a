"""Work recorded as a CUDA graph, in such a way that work which cannot be recorded leaves torch as it was."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

Made = TypeVar("Made")


def record_cuda_graph(
    work: Callable[[], Made], pool: Any = None, stream: torch.cuda.Stream | None = None
) -> tuple[Made, torch.cuda.CUDAGraph]:
    """What ``work`` returned, to be filled by every replay, and the graph; nothing is run.

    Torch alone does not get over work that breaks a recording. It stays in its recording stream; and its allocator, which up
    to 2.11 still waits for the end, refuses every later recording and never frees what two streams used
    (pytorch/pytorch#180395). And a graph that Python's collector happens to free meanwhile breaks the recording
    (pytorch/pytorch#161037), so nothing is collected while it lasts.

    Args:
        pool: memory to share with other graphs (``graph.pool()``); None = its own.
        stream: where to record; None = where torch records. The end of any graph of a stream may take the workspace of the
            others' products (pytorch/pytorch#193402), so graphs that stay have a stream of their own.

    Raises:
        Exception: what ``work`` raised, rather than what torch says of the recording that broke by it.
    """
    caller, device, graph = torch.cuda.current_stream(), torch.cuda.current_device(), torch.cuda.CUDAGraph()
    pool = pool or torch.cuda.graph_pool_handle()
    failed: list[Exception] = []
    try:
        with _nothing_collected(), torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            try:
                return work(), graph
            except Exception as error:
                failed.append(error)
                raise
    except Exception as error:
        failed.append(error)
    torch.cuda.set_stream(caller)
    with contextlib.suppress(RuntimeError):  # refused where torch has ended it
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
    try:
        raise failed[0]
    finally:
        failed.clear()  # an error keeps this frame alive, and must not be kept alive by it


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
