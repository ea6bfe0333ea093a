"""Out of memory in mid-stream: what was made is kept, the session ends with advice, the engine makes the next one."""

import gc
import weakref

import numpy as np
import pytest
import torch

from motionstream.errors import sentence_of
from motionstream.presets import nano, wan2_1_1_3b
from motionstream.stream.exhaustion import OutOfMemory, advice, guarded, is_out_of_memory
from motionstream.stream.lane import Lane
from motionstream.stream.performance import Performance
from motionstream.stream.points import Point

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.fixture
def exhausted(monkeypatch):
    """``exhausted(stage, chunk, error)``: that stage of that chunk of the next stream runs out of memory, once."""

    def arrange(stage: str, chunk: int, error: Exception) -> None:
        work, calls = getattr(Lane, stage), []

        def run(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == chunk + 1:
                raise error
            return work(self, *args, **kwargs)

        monkeypatch.setattr(Lane, stage, run)

    return arrange


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("stage", ["denoise", "decode", "commit"])
def test_a_session_ends_with_advice_and_the_next_one_streams(engine, picture, exhausted, stage, error):
    with engine.start(picture, seed=4) as session:
        wanted = [session.step().frames for _ in range(5)]
    exhausted(stage, 2, error)
    session, made = engine.start(picture, seed=4), []
    with pytest.raises(OutOfMemory, match=r"out of memory on cpu at chunk \d: .*is kept; try another device or close"):
        made.extend(session.step().frames for _ in range(5))
    assert len(made) in (2, 3)
    assert all(np.array_equal(one, other) for one, other in zip(made, wanted, strict=False))
    with pytest.raises(ValueError, match="session is closed"):
        session.step()
    with engine.start(picture, seed=4) as after:
        assert all(np.array_equal(after.step().frames, frames) for frames in wanted)


def test_a_performance_keeps_its_take_and_it_can_be_played_again(engine, picture, exhausted):
    exhausted("denoise", 3, ERRORS[0])
    show, made = Performance(engine, picture, "a cup", 0), []
    with pytest.raises(OutOfMemory):
        made.extend(show.step().frames for _ in range(6))
    assert show.take.num_chunks == len(made) == 3
    show.close()
    with Performance.of_take(engine, show.take) as again:
        assert all(np.array_equal(again.step().frames, frames) for frames in made)


def test_nothing_of_the_failed_chunk_stays_alive(engine, picture, monkeypatch):
    kept = []

    def fail(self, *args, **kwargs):
        large = torch.zeros(1000)
        kept.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Lane, "denoise", fail)
    session = engine.start(picture)
    cache = weakref.ref(session.cache)
    with pytest.raises(OutOfMemory) as caught:
        session.step()
    assert caught.value.__context__ is None
    gc.collect()
    assert kept[0]() is None
    assert cache() is None


def test_the_sentence_is_what_people_see(engine, picture, monkeypatch):
    monkeypatch.setattr(Lane, "denoise", lambda *a: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(OutOfMemory) as caught:
        engine.start(picture).step()
    assert sentence_of(caught.value) == str(caught.value)
    assert "begin another" in str(caught.value)


def test_other_errors_are_not_taken_for_it(engine, picture, monkeypatch):
    monkeypatch.setattr(Lane, "denoise", lambda *a: (_ for _ in ()).throw(RuntimeError("a bug")))
    with engine.start(picture) as session:
        with pytest.raises(RuntimeError, match="a bug"):
            session.step()
        monkeypatch.undo()
        session.push([Point(1, 5.0, 5.0)])
        assert len(session.step().frames) == 9, "the session lives on"
    assert not is_out_of_memory(RuntimeError("a bug"))
    with pytest.raises(KeyError):
        guarded(lambda: {}["absent"], lambda: "never said")


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_cuda_and_its_libraries_run_out_in_other_words(said):
    """Pinned memory, a graph that is uploaded, a handle: none of it comes from torch's allocator."""
    assert is_out_of_memory(torch.AcceleratorError(said))
    assert not is_out_of_memory(ValueError(said))


def test_advice_names_what_can_be_given_up():
    wan = advice(wan2_1_1_3b(), torch.device("cuda"), 7, "full")
    assert "chunk 7" in wan
    assert "try the tiny decoder or a smaller size than 832x480 or close" in wan
    assert "decoder" not in advice(wan2_1_1_3b(), torch.device("cuda"), 7, "tiny")
    assert "another device" in advice(nano(), torch.device("cpu"), 0, "nano")
