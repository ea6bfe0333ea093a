import math

import pytest
import torch

from motionstream.nn.attention import attention, attention_products, attention_reference


def qkv(B=2, L=5, S=7, A=3, E=8):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(B, n, A, E, generator=generator) for n in (L, S, S))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_its_definition(masked):
    q, k, v = qkv()
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[:, 2] = True  # no row may be empty
    mask = mask if masked else None
    got = attention(q, k, v, mask)
    assert got.shape == (2, 5, 3, 8)
    torch.testing.assert_close(got, attention_reference(q, k, v, mask), atol=1e-6, rtol=0)


def test_products_equal_the_definition():
    q, k, v = qkv()
    got = attention_products(q, k, v)
    assert got.shape == (2, 5, 3, 8)
    torch.testing.assert_close(got, attention_reference(q, k, v), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("sharpness", "most"), [(1.0, 5e-3), (4.0, 6e-3), (16.0, 9.5e-3)])
def test_products_stay_exact_in_bfloat16_where_attention_is_sharp(sharpness, most):
    """Rounded scores would be wrong by up to a third of a weight here; with their level taken off most are near 0. Keys at
    random are the worst of cases: those of which one in 8 is asked say nothing about the others."""
    q, k, v = (part.bfloat16() for part in qkv(B=1, L=64, S=256, A=2, E=64))
    q = q * sharpness
    wanted = attention_reference(q.double(), k.double(), v.double())

    def error(out):
        return float((out.double() - wanted).norm() / wanted.norm())

    assert error(attention_products(q, k, v)) < most
    rounded = torch.einsum("blae,bsae->bals", q * 64**-0.5, k).softmax(-1)
    plain = torch.einsum("bals,bsae->blae", rounded, v)
    assert error(attention_products(q, k, v)) < 0.7 * error(plain) or sharpness == 1.0


def test_products_do_not_overflow():
    q, k, v = (part * 300 for part in qkv())
    torch.testing.assert_close(attention_products(q, k, v), attention_reference(q, k, v), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_products_are_right_where_one_key_outdoes_all_that_are_asked(dtype):
    """Its power of 2 is larger than any number: left to the fused way."""
    q, k, v = (part.to(dtype) for part in qkv(B=1, L=4, S=64, A=2, E=16))
    k[:, 5] = 40 * q[:, 1]  # not one that is asked
    got = attention_products(q, k, v)
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got.double(), attention_reference(q.double(), k.double(), v.double()), atol=2e-2, rtol=2e-2)


def test_the_definition_is_softmax_over_keys():
    q, k, v = qkv(B=1, L=2, S=3, A=1, E=4)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    wanted = torch.zeros(2, 4, dtype=torch.float64)
    for i in range(2):
        weights = [math.exp(float(q[0, i, 0].double() @ k[0, j, 0].double()) / 2) * mask[i, j].item() for j in range(3)]
        wanted[i] = sum(w * v[0, j, 0].double() for j, w in enumerate(weights)) / sum(weights)
    for function in (attention, attention_reference):
        torch.testing.assert_close(function(q, k, v, mask)[0, :, 0].double(), wanted, atol=1e-6, rtol=0)


def test_the_order_of_keys_does_not_matter():
    q, k, v = qkv()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(attention(q, k[:, order], v[:, order]), attention(q, k, v), atol=1e-6, rtol=0)


def test_what_the_mask_hides_has_no_effect():
    q, k, v = qkv()
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[:, 4] = False
    hidden = attention(q, k, v, mask)
    v2, k2 = v.clone(), k.clone()
    v2[:, 4], k2[:, 4] = 1e6, 1e3
    torch.testing.assert_close(attention(q, k2, v2, mask), hidden)


def test_result_has_the_dtype_of_the_query():
    q, k, v = qkv()
    assert attention(q.bfloat16(), k, v).dtype == torch.bfloat16
