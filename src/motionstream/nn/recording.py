"""Work recorded as a CUDA graph, in such a way that work which cannot be recorded leaves torch as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Made = TypeVar("Made")


def record_cuda_graph(work: Callable[[], Made], pool: Any = None) -> tuple[Made, torch.cuda.CUDAGraph]:
    """What ``work`` returned, to be filled by every replay, and the graph; nothing is run.

    Torch alone does not get over work that breaks a recording. It stays in its recording stream; and its allocator, which up
    to 2.11 still waits for the end, refuses every later recording and never frees what two streams used
    (pytorch/pytorch#180395).

    Args:
        pool: memory to share with other graphs (``graph.pool()``); None = its own.

    Raises:
        Exception: what ``work`` raised, rather than what torch says of the recording that broke by it.
    """
    stream, device, graph = torch.cuda.current_stream(), torch.cuda.current_device(), torch.cuda.CUDAGraph()
    pool = pool or torch.cuda.graph_pool_handle()
    failed: list[Exception] = []
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            try:
                return work(), graph
            except Exception as error:
                failed.append(error)
                raise
    except Exception as error:
        failed.append(error)
    torch.cuda.set_stream(stream)
    with contextlib.suppress(RuntimeError):  # refused where torch has ended it
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
    try:
        raise failed[0]
    finally:
        failed.clear()  # an error keeps this frame alive, and must not be kept alive by it
