"""A recording that breaks leaves torch able to make the next one: torch's own context manager over a CUDA that is played."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch

from motionstream.causal.graphs import CudaRecorder
from motionstream.device import choose_compute
from motionstream.nn import attention_choice
from motionstream.nn.attention import attention
from motionstream.nn.recording import record_cuda_graph


class Played:
    """What a recording touches of CUDA. As in torch 2.11 the allocator waits for the end that a broken one never has."""

    def __init__(self) -> None:
        self.stream, self.underway, self.released = "main", [], []
        self.broken = False
        self.replayed = 0

    def refuse(self) -> None:
        self.broken = True
        raise RuntimeError("operation not permitted when stream is capturing")

    def empty_cache(self) -> None:
        if self.underway:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    def end_allocate(self, device: int, pool: tuple[int, int]) -> None:
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.underway.remove(pool)


@pytest.fixture
def cuda(monkeypatch) -> Played:
    played, handles = Played(), iter(range(1, 100))

    class Graph:
        def capture_begin(self, pool, **options):
            self.made_in, played.broken = pool, False
            played.underway.append(pool)

        def capture_end(self):
            if played.broken:
                raise torch.AcceleratorError("operation failed due to a previous error during capture")
            played.end_allocate(0, self.made_in)

        def pool(self):
            return self.made_in

        def replay(self):
            played.replayed += 1

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self):
            self.before, played.stream = played.stream, self.name

        def __exit__(self, *error):
            played.stream = self.before

    for name, fake in {
        "CUDAGraph": Graph,
        "Stream": lambda: "recording",
        "stream": Stream,
        "device": lambda device: Stream(played.stream),
        "synchronize": lambda *device: None,
        "empty_cache": played.empty_cache,
        "current_stream": lambda: played.stream,
        "current_device": lambda: 0,
        "set_stream": lambda stream: setattr(played, "stream", stream),
        "graph_pool_handle": lambda: (0, next(handles)),
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda.graph, "default_capture_stream", None)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", played.end_allocate, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda device, pool: played.released.append(pool), raising=False)
    return played


def test_what_is_recorded_is_returned_and_shares_its_pool(cuda):
    recorder = CudaRecorder()
    for number in range(2):
        out, replay = recorder(lambda number=number: torch.full((2,), number))
        replay()
        assert out.tolist() == [number] * 2
    assert recorder.pool == (0, 1)
    assert (cuda.stream, cuda.underway, cuda.released, cuda.replayed) == ("main", [], [], 2)


def test_a_broken_recording_is_ended_and_the_next_one_succeeds(cuda):
    made = []

    def work():
        large = torch.zeros(1000)
        made.append(weakref.ref(large))
        cuda.refuse()

    try:
        record_cuda_graph(work)
    except RuntimeError as error:
        said, error.__traceback__ = str(error), None
    assert "operation not permitted" in said, "why, and not that it could not be ended"
    assert made[0]() is None, "nothing of it stays alive"
    assert (cuda.stream, cuda.underway, cuda.released) == ("main", [], [(0, 1)])
    assert record_cuda_graph(lambda: 3)[0] == 3


def test_where_only_python_fails_torch_ends_it_itself(cuda):
    with pytest.raises(ZeroDivisionError):
        record_cuda_graph(lambda: 1 // 0)
    assert (cuda.stream, cuda.underway, cuda.released) == ("main", [], [])


def test_an_attention_that_cannot_be_recorded_leaves_the_others_to_be(cuda):
    """It is timed as it is; each of the others by one replay of several calls."""
    calls = []

    def waits(q, k, v):
        if cuda.stream == "recording":
            cuda.refuse()
        return attention(q, k, v)

    def counted(q, k, v):
        calls.append(cuda.stream)
        return attention(q, k, v)

    compute = choose_compute("cpu", "float32")
    inputs = attention_choice._inputs(12, 36, 2, 16, compute)
    assert attention_choice.milliseconds(waits, inputs, torch.device("cuda")) > 0
    assert cuda.replayed == 0
    attention_choice.milliseconds(counted, inputs, torch.device("cuda"))
    assert calls == ["main"] + ["recording"] * attention_choice.CALLS
    assert cuda.replayed == attention_choice.RUNS + 2


ON_A_GPU = """
import torch
from motionstream.nn.recording import record_cuda_graph
x, stream = torch.ones(4, device="cuda"), torch.cuda.current_stream()
try:
    record_cuda_graph(lambda: x.sum().item())
except RuntimeError as error:
    print("broken:", str(error).splitlines()[0])
try:
    record_cuda_graph(lambda: torch.empty(2**50, dtype=torch.uint8, device="cuda"))
except torch.OutOfMemoryError:
    print("full")
assert torch.cuda.current_stream() == stream
out, graph = record_cuda_graph(lambda: x + 1)
graph.replay()
print(out.tolist())
"""


@pytest.mark.gpu
def test_on_a_gpu_too():
    """In a process of its own: where it fails no test after it could record anything."""
    done = subprocess.run([sys.executable, "-c", ON_A_GPU], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    broken, full, made = done.stdout.splitlines()
    assert broken.startswith("broken:")
    assert "captur" in broken
    assert full == "full"
    assert made == "[2.0, 2.0, 2.0, 2.0]"


def test_nothing_is_collected_while_it_lasts(cuda):
    """A graph that the collector ends in the middle would break it."""
    assert gc.isenabled()
    assert record_cuda_graph(gc.isenabled)[0] is False
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="capturing"):
        record_cuda_graph(cuda.refuse)
    assert gc.isenabled()


def test_a_recorder_has_a_stream_of_its_own_and_forgets_its_pool(cuda, monkeypatch):
    """The end of a graph may take the workspace of all that were recorded in its stream; a pool ends with its graphs."""
    streams = iter(["first", "second"])
    monkeypatch.setattr(torch.cuda, "Stream", lambda: next(streams))
    first, second = CudaRecorder(), CudaRecorder()
    assert [first(lambda: cuda.stream)[0] for _ in range(2)] == ["first"] * 2
    assert second(lambda: cuda.stream)[0] == "second"
    assert first.pool is not None
    first.forget()
    assert first.pool is None
