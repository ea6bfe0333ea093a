"""Which number type a processor computes with, and that bad requests are refused."""

import pytest
import torch

from motionstream.device import Compute, choose_compute, peak_reserved_bytes


@pytest.mark.parametrize(
    ("amx", "avx", "dtype"), [(True, True, "bfloat16"), (False, True, "bfloat16"), (False, False, "float32")]
)
def test_a_processor_computes_in_what_it_multiplies_natively(monkeypatch, amx, avx, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    chosen = choose_compute("cpu")
    assert chosen.dtype == getattr(torch, dtype)
    assert dtype in chosen.reason
    assert choose_compute("cpu", "float32").dtype == torch.float32, "what was asked for stays"


def test_a_torch_that_cannot_tell_means_float32(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_compute("cpu").dtype == torch.float32


@pytest.mark.parametrize(
    ("device", "dtype", "said"), [("tpu9", None, "device 'tpu9'"), ("cpu", "int3", "dtype 'int3' is unknown")]
)
def test_bad_requests_are_refused(device, dtype, said):
    with pytest.raises(ValueError, match=said):
        choose_compute(device, dtype)


@pytest.mark.parametrize(("device", "made"), [("cuda:1", ["cuda:1"]), ("cuda", []), ("cpu", [])])
def test_a_numbered_gpu_becomes_the_threads_own(monkeypatch, device, made):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda asked: chosen.append(str(asked)))
    Compute(torch.device(device), torch.bfloat16, "").make_current()
    assert chosen == made


def test_what_is_reserved_is_known_on_cuda_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7 if device.index == 1 else 0)
    assert peak_reserved_bytes(torch.device("cuda:1")) == 7
    assert peak_reserved_bytes(torch.device("cpu")) is None
