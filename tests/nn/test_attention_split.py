"""Parts joined by their weights are the whole."""

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.nn.attention import attention, attention_reference
from motionstream.nn.attention_choice import choose_attention
from motionstream.nn.attention_split import cudnn_part, in_parts, last_round_in_parts


def flash_part(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A second `PartKernel`, torch's FlashAttention: on an H200 it is half as fast as cuDNN's, but it runs on a CPU too."""
    if q.device.type == "cpu":
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    else:
        found = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)
    return found[0], found[1].reshape(q.shape[:3])


def inputs(keys: int = 36, scale: float = 1.0, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, n, 2, 16, generator=generator) for n in (12, keys, keys))
    return (q * scale).to(dtype), k.to(dtype), v.to(dtype)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["even", "sharp"])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_it_is_the_definition(parts, scale, dtype, limit):
    q, k, v = inputs(scale=scale, dtype=dtype)
    got, wanted = in_parts(parts, flash_part)(q, k, v), attention_reference(q.double(), k, v)
    assert got.dtype == dtype
    assert got.is_contiguous()
    assert float((got.double() - wanted).norm() / wanted.norm()) < limit


def test_a_part_that_hardly_counts_changes_little():
    """Keys of the second half point away from every query: the first half alone is the answer."""
    q, k, v = inputs()
    q = q.abs() * 10
    k[:, :18], k[:, 18:] = k[:, :18].abs(), -k[:, 18:].abs()
    torch.testing.assert_close(in_parts(2, flash_part)(q, k, v), attention(q, k[:, :18], v[:, :18]), atol=1e-5, rtol=1e-5)


def test_it_reads_a_cache_as_it_lies():
    """Views of a larger buffer, as the cache gives them."""
    q, k, v = inputs()
    keys, values = torch.zeros(1, 48, 2, 16), torch.zeros(1, 48, 2, 16)
    keys[:, :36], values[:, :36] = k, v
    assert torch.equal(in_parts(3, flash_part)(q, keys[:, :36], values[:, :36]), in_parts(3, flash_part)(q, k, v))


@pytest.mark.parametrize("case", ["a batch", "a remainder"])
def test_what_does_not_divide_is_left_whole(case):
    q, k, v = inputs(keys=35) if case == "a remainder" else (t.expand(2, -1, -1, -1) for t in inputs())
    asked = []

    def whole(*given):
        asked.append(given)
        return attention(*given)

    torch.testing.assert_close(in_parts(2, flash_part, whole)(q, k, v), attention(q, k, v))
    assert len(asked) == 1


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_the_last_round_alone_in_parts_is_the_definition(dtype, limit):
    """300 queries of 2 heads are 6 blocks; with 4 at once the first round has 2 of each head, 256 queries."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, n, 2, 16, generator=generator).to(dtype) for n in (300, 36, 36))
    asked = []

    def whole(*given):
        asked.append(given[0].shape[1])
        return attention(*given)

    def part(*given):
        asked.append(given[0].shape[::2])
        return flash_part(*given)

    got, wanted = last_round_in_parts(4, 3, part, whole)(q, k, v), attention_reference(q.double(), k, v)
    assert asked == [256, (3, 44)]
    assert got.shape == q.shape
    assert got.dtype == dtype
    assert float((got.double() - wanted).norm() / wanted.norm()) < limit
    for at_once in (3, 7):  # a whole number of rounds, or not even one: nothing is left over
        asked.clear()
        last_round_in_parts(at_once, 3, part, whole)(q, k, v)
        assert asked == [300]


@pytest.mark.gpu
@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("part", [cudnn_part, flash_part])
def test_on_a_gpu_too(parts, part):
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (torch.randn(1, n, 12, 128, generator=generator, device="cuda").bfloat16() for n in (4680, 14040, 14040))
    got, wanted = in_parts(parts, part, compiled=True)(q, k, v), attention_reference(q[:, :64].double(), k, v)
    assert float((got[:, :64].double() - wanted).norm() / wanted.norm()) < 1e-2


@pytest.mark.gpu
def test_a_gpu_tries_parts():
    compute = choose_compute("cuda", "bfloat16")
    choice = choose_attention("auto", queries=4680, keys=14040, heads=12, head_dim=128, compute=compute)
    assert "cudnn-2" in choice.found


@pytest.mark.gpu
def test_the_last_round_on_a_gpu_too():
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (torch.randn(1, n, 12, 128, generator=generator, device="cuda").bfloat16() for n in (4680, 14040, 14040))
    got = last_round_in_parts(132, 5, cudnn_part, compiled=True)(q, k, v)
    few = torch.cat([got[:, :64], got[:, -64:]], 1)
    wanted = attention_reference(torch.cat([q[:, :64], q[:, -64:]], 1).double(), k, v)
    assert float((few.double() - wanted).norm() / wanted.norm()) < 1e-2
