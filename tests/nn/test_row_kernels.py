"""Triton kernels are their references. On a GPU, or anywhere with ``TRITON_INTERPRET=1`` where Triton is installed."""

import os
from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("triton")

from motionstream.nn import row_kernels, row_kernels_check
from motionstream.nn.fp8 import Fp8Product, fp8_works, rounded
from motionstream.nn.products import Product
from motionstream.nn.row_kernels_check import fp8_rows_work, norm_rows_reference, row_kernels_work

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [] if INTERPRETED else [pytest.mark.gpu]
SHAPES = [(48, 2), (256, 4), (1536, 12), (3072, 24)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("width", "heads"), SHAPES)
def test_every_kernel_is_its_reference(width, heads, dtype):
    assert row_kernels_work(DEVICE, dtype, width, heads) is None


@pytest.mark.parametrize("name", ["norm_rows", "write_qkv", "rms_rows"])
def test_a_kernel_that_is_wrong_is_found(monkeypatch, name):
    right = getattr(row_kernels, name)
    monkeypatch.setattr(row_kernels, name, lambda *given, **more: right(*given, **more) * 1.001)
    row_kernels_check.row_kernels_work.cache_clear()
    try:
        assert f"{name} is numerically wrong" in row_kernels_work(DEVICE, torch.float32, 48, 2)
    finally:
        row_kernels_check.row_kernels_work.cache_clear()


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("cells", [1, 3, 4, 6])
@pytest.mark.parametrize("adds", ["nothing", "y", "y, gated"])
@pytest.mark.parametrize("frames_differ", [False, True])
def test_programs_of_several_tokens_keep_to_their_frame(rows, cells, adds, frames_differ):
    """Whole, with a remainder, and where a frame has fewer than one program takes; nothing beside is written to."""
    generator, width = torch.Generator(DEVICE).manual_seed(0), 48

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=DEVICE)

    room = random(3, 3, cells, width)  # two samples, and what lies behind them
    y, parts = random(2, 3 * cells, width), [random(*((1, 3, 1, width) if frames_differ else (width,))) for _ in range(3)]
    more = {"nothing": (None, None), "y": (y, None), "y, gated": (y, parts[2])}[adds]
    wanted_room = room.clone()
    got = row_kernels.norm_rows(room[:2], *parts[:2], 1e-6, torch.float32, *more, rows=rows)
    wanted = norm_rows_reference(wanted_room[:2], *parts[:2], 1e-6, torch.float32, *more)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(room, wanted_room, atol=1e-6, rtol=1e-6)
    assert torch.equal(room[2], wanted_room[2])


def test_many_tokens_share_programs(monkeypatch):
    taken = []
    right = row_kernels._norm_kernel

    class Noted:
        def __getitem__(self, grid):
            taken.append(grid[0])
            return right[grid]

    monkeypatch.setattr(row_kernels, "_norm_kernel", Noted())
    monkeypatch.setattr(row_kernels, "MANY", 20)
    x, ones = torch.randn(1, 2, 10, 48, device=DEVICE), torch.ones(48, device=DEVICE)
    for few in (x, x[:, :1].contiguous()):
        got = row_kernels.norm_rows(few.clone(), ones, ones, 1e-6, torch.float32)
        torch.testing.assert_close(got, norm_rows_reference(few.clone(), ones, ones, 1e-6, torch.float32))
    assert taken == [2 * 3, 10]


@pytest.fixture
def fp8_limit(monkeypatch) -> Iterator[float]:
    """The interpreter cuts digits off where a GPU rounds."""
    monkeypatch.setattr(row_kernels_check, "FP8_LIMIT", 0.1 if INTERPRETED else row_kernels_check.FP8_LIMIT)
    fp8_rows_work.cache_clear()
    yield row_kernels_check.FP8_LIMIT
    fp8_rows_work.cache_clear()


@pytest.mark.parametrize(("width", "ffn_width"), [(48, 96), (1536, 8960), (3072, 14336)])
def test_kernels_in_fp8_are_their_references(fp8_limit, width, ffn_width):
    assert fp8_rows_work(DEVICE, width, ffn_width) is None


@pytest.mark.parametrize("name", ["norm_rows_fp8", "gelu_rows_fp8"])
def test_a_kernel_in_fp8_that_is_wrong_is_found(monkeypatch, fp8_limit, name):
    right = getattr(row_kernels, name)

    def wrong(*given, **more):
        rows, sizes = right(*given, **more)
        return rows, sizes * (1 + 1.5 * fp8_limit)

    monkeypatch.setattr(row_kernels, name, wrong)
    assert f"{name} is numerically wrong" in fp8_rows_work(DEVICE, 48, 96)


@pytest.mark.parametrize("width", [192, 1536])
def test_rows_in_fp8_are_rounded_to_a_size_of_their_own(fp8_limit, width):
    generator = torch.Generator(DEVICE).manual_seed(0)
    x, shift, scale = (torch.randn(s, generator=generator, device=DEVICE) for s in ((1, 2, 3, width), (width,), (width,)))
    rows, sizes = row_kernels.norm_rows_fp8(x, shift, scale, 1e-6)
    wanted = norm_rows_reference(x, shift, scale, 1e-6, torch.float32).flatten(0, 1)
    assert (rows.float().abs().amax(1) == 448).all(), "the largest number of a row is the largest there is"
    assert float((rows.float() * sizes - wanted).norm() / wanted.norm()) < fp8_limit
    y = torch.randn(1, 6, width, generator=generator, device=DEVICE).bfloat16()
    rows, sizes = row_kernels.gelu_rows_fp8(y)
    wanted = torch.nn.functional.gelu(y[0].float(), approximate="tanh")
    assert float((rows.float() * sizes - wanted).norm() / wanted.norm()) < fp8_limit


def test_a_product_in_fp8():
    assert fp8_works(DEVICE) is None
    generator = torch.Generator(DEVICE).manual_seed(0)
    x, weight, bias = (
        torch.randn(s, generator=generator, device=DEVICE).bfloat16() for s in ((96, 256), (128, 256), (128,))
    )
    got = Fp8Product.of(Product(weight, bias))(rounded(x), 2)
    wanted = torch.nn.functional.linear(x.float(), weight.float(), bias.float()).unflatten(0, (2, 48))
    assert got.shape == (2, 48, 128)
    assert got.dtype == torch.bfloat16
    assert 1e-3 < float((got.float() - wanted).norm() / wanted.norm()) < 0.05
