import pytest
import torch
import torch.nn.functional as F

from motionstream.nn import products
from motionstream.nn.products import Product, onednn_joins


def given(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in ((2, 7, 24), (40, 24), (40,)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("plain", [False, True])
def test_products_are_linear_and_gelu(dtype, tolerance, plain):
    x, weight, bias = given(dtype)
    product = Product.of(weight, bias, plain=plain)
    exact = F.linear(x.double(), weight.double(), bias.double())
    for got, wanted in ((product(x), exact), (product.gelu(x), F.gelu(exact, approximate="tanh"))):
        assert got.dtype == dtype
        assert got.shape == (2, 7, 40)
        assert float((got.double() - wanted).norm() / wanted.norm()) < tolerance


def test_only_bfloat16_on_a_cpu_is_joined():
    for dtype in (torch.float32, torch.float16):
        _, weight, bias = given(dtype)
        assert not Product.of(weight, bias).joined
    _, weight, bias = given(torch.bfloat16)
    assert Product.of(weight, bias).joined == onednn_joins()
    assert not Product.of(weight, bias, plain=True).joined


@pytest.mark.parametrize("fault", ["absent", "wrong"])
def test_a_call_that_is_absent_or_wrong_is_not_used(monkeypatch, fault):
    def broken(x, weight, bias, activation):
        if fault == "absent":
            raise AttributeError("no attribute _linear_pointwise")
        return F.linear(x, weight)

    monkeypatch.setattr(products, "_joined", broken)
    onednn_joins.cache_clear()
    try:
        _, weight, bias = given(torch.bfloat16)
        assert not Product.of(weight, bias).joined
    finally:
        onednn_joins.cache_clear()
