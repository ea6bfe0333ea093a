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


def test_only_bfloat16_on_a_cpu_is_joined_by_onednn():
    for dtype in (torch.float32, torch.float16):
        _, weight, bias = given(dtype)
        assert Product.of(weight, bias).form == "plain"
    _, weight, bias = given(torch.bfloat16)
    assert Product.of(weight, bias).form == ("onednn" if onednn_joins() else "plain")
    assert Product.of(weight, bias, plain=True).form == "plain"


def test_the_call_of_cublas_goes_through_a_compiler_as_it_is():
    """On a CPU the operator has another GELU: here only whether it is kept whole, and of which shape."""
    x, weight, bias = given(torch.bfloat16)
    product = Product(weight, bias, "cublas")
    seen = []

    def backend(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph

    got = torch.compile(lambda x: product.gelu(x), backend=backend)(x)
    assert got.shape == (2, 7, 40)
    assert any("motionstream.linear_gelu" in name for name in seen)
    assert float((got.float() - product.gelu(x).float()).abs().max()) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 3, 1560, 1536), (4680, 1536)])
def test_cublas_on_a_gpu(shape):
    generator = torch.Generator("cuda").manual_seed(1)
    x, weight, bias = (torch.randn(s, generator=generator, device="cuda") for s in (shape, (8960, 1536), (8960,)))
    product = Product.of((weight / 40).bfloat16(), bias.bfloat16(), plain=True)
    assert product.form == "cublas"
    got = product.gelu(x.bfloat16())
    rows = slice(0, 64)
    exact = F.gelu(
        F.linear(x.bfloat16().flatten(0, -2)[rows].double(), product.weight.double(), product.bias.double()),
        approximate="tanh",
    )
    assert got.shape == (*shape[:-1], 8960)
    assert float((got.flatten(0, -2)[rows].double() - exact).norm() / exact.norm()) < 5e-3


@pytest.mark.parametrize("fault", ["absent", "wrong"])
def test_a_call_that_is_absent_or_wrong_is_not_used(monkeypatch, fault):
    def broken(x, weight, bias, activation):
        if fault == "absent":
            raise AttributeError("no attribute _linear_pointwise")
        return F.linear(x, weight)

    monkeypatch.setattr(products, "_onednn", broken)
    onednn_joins.cache_clear()
    try:
        _, weight, bias = given(torch.bfloat16)
        assert Product.of(weight, bias).form == "plain"
    finally:
        onednn_joins.cache_clear()
