"""Counted arithmetic is what torch counts in the model itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from motionstream.bench.counts import chunk_counts, forward_flop, matmul_ceiling
from motionstream.config import CacheConfig
from motionstream.device import choose_compute
from motionstream.models.memory_rehearsal import blank_condition, denoise_step, full_cache
from motionstream.presets import nano, wan2_1_1_3b, wan2_1_1_3b_t2v, wan2_2_5b


def counted(preset, count) -> int:
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            count()
    return counter.get_total_flops()


def test_one_pass_is_what_torch_counts():
    from motionstream.models.dit import WanDiT

    preset = nano()
    model = WanDiT(preset.model, preset.geometry.t_stride)
    cache = full_cache(preset, torch.float32, torch.device("cpu"))
    condition = blank_condition(model, preset, 1, preset.cache.chunk_frames)
    found = counted(preset, lambda: denoise_step(model, preset, cache, condition))
    frame = preset.geometry.tokens_per_frame
    wanted = forward_flop(preset.model, frame, 4 * frame)  # sink, two of the window, itself
    assert wanted == pytest.approx(found, rel=0.005)  # torch also counts the timestep's small projections


def test_a_pass_for_keys_alone_leaves_out_the_last_layers_rest():
    model = nano().model
    whole, keys = (forward_flop(model, 576, 1728, keys_only=only) for only in (False, True))
    assert 0.8 < keys / whole < 0.9  # one of six layers


@pytest.mark.parametrize(("slots", "tflop"), [(6, 20.2), (9, 24.3), (12, 28.3), (21, 40.4)], ids=lambda value: str(value))
def test_1_3b_at_480p_by_attended_frames(slots, tflop):
    """Published sizes of the field: c3s1w1 is 9 frames, Self-Forcing's full window 21."""
    model = wan2_1_1_3b_t2v().model
    assert forward_flop(model, 3 * 1560, slots * 1560) / 1e12 == pytest.approx(tflop, rel=0.01)


def test_a_chunk_is_its_steps_and_the_clean_pass():
    for preset, low, high in ((wan2_1_1_3b(), 95, 100), (wan2_2_5b(), 115, 130)):
        counts = chunk_counts(preset, 3, 2)
        assert low < counts.flop / 1e12 < high
        assert counts.denoise_flop > 2.9 * counts.clean_flop
    small = chunk_counts(nano(), 3, 2)
    assert chunk_counts(nano(), 3, 4).weight_bytes == 2 * small.weight_bytes
    one, two = (chunk_counts(nano(), steps, 2) for steps in (1, 2))
    assert two.denoise_flop == 2 * one.denoise_flop
    assert two.clean_flop == one.clean_flop
    assert two.cache_bytes == 1.5 * one.cache_bytes


def test_rows_of_a_prompt_that_nobody_attends_to_are_not_counted():
    preset, layers = wan2_1_1_3b(), wan2_1_1_3b().model.num_layers
    whole, few = (chunk_counts(preset, 3, 2, text_rows=rows) for rows in (None, 101))
    assert chunk_counts(preset, 3, 2, text_rows=512) == whole
    assert whole.denoise_flop - few.denoise_flop == 3 * layers * 4 * 4680 * 1536 * (512 - 101)
    assert whole.clean_flop - few.clean_flop == (layers - 1) * 4 * 4680 * 1536 * (512 - 101)


def test_the_ceiling_is_a_rate_of_this_machine():
    for dtype in ("float32", "bfloat16"):
        found = matmul_ceiling(choose_compute("cpu", dtype), seconds=0.02)
        assert 1e8 < found["flop_per_s"] < 1e15
        assert found["size"] in (1024, 2048)


def test_the_default_cache_is_the_papers():
    assert CacheConfig().slots == 9
