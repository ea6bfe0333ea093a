"""Rehearsed bytes against the same steps on real tensors; on a GPU against what its allocator reports."""

from dataclasses import replace

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.memory_measure import measure_denoise, measure_teacher, measured
from motionstream.models.memory_plan import MemoryOptions
from motionstream.models.memory_rehearsal import rehearse_denoise, rehearse_teacher
from motionstream.presets import preset


@pytest.mark.parametrize(("dtype", "weights"), [("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")])
def test_rehearsal_equals_real_tensors(dtype: str, weights: str):
    config, compute = preset("tiny-debug"), choose_compute("cpu", dtype)
    options = MemoryOptions(compute=dtype, weights=weights)
    predicted = rehearse_denoise(config, getattr(torch, weights), compute.dtype)
    assert measure_denoise(config, options, compute) == predicted.peak > 0
    if weights == "float32":
        predicted = rehearse_teacher(config, 9, 2, compute.dtype, False)
        assert measure_teacher(config, replace(options, batch=2), 9, compute) == predicted.peak > 0


def test_measured_counts_only_the_block():
    before = torch.zeros(1000)
    with measured(torch.device("cpu"), before) as found:
        before.add_(1)
        torch.ones(500)
    assert found.peak == 2000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "layers", "frames"), [("nano", 6, 33), ("wan2.1-1.3b", 2, 9)])
def test_rehearsal_on_a_gpu(name: str, layers: int, frames: int):
    config, compute = preset(name), choose_compute("cuda", "bfloat16")
    config = replace(config, model=replace(config.model, num_layers=layers))
    predicted = rehearse_denoise(config, torch.bfloat16, compute.dtype).peak
    found = measure_denoise(config, MemoryOptions(weights="bfloat16"), compute)
    assert found == pytest.approx(predicted, rel=0.15, abs=16 * 2**20)
    predicted = rehearse_teacher(config, frames, 1, compute.dtype, False).peak
    assert measure_teacher(config, MemoryOptions(), frames, compute) == pytest.approx(predicted, rel=0.15, abs=16 * 2**20)
