import math

import torch

from motionstream.nn.layers import LayerNorm, RMSNorm, modulate, timestep_embedding


def test_rms_norm_is_over_the_whole_width_in_float32():
    norm = RMSNorm(6, eps=1e-6)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 7.0))
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0)) * 100
    wanted = x.double() / (x.double().pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * torch.arange(1.0, 7.0)
    torch.testing.assert_close(norm(x).double(), wanted, atol=1e-5, rtol=0)
    assert RMSNorm(6, 1e-6).bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    # Squares of 1e4 overflow float16: the norm must not.
    assert torch.isfinite(RMSNorm(6, 1e-6).half()(torch.full((1, 6), 1e4, dtype=torch.float16))).all()


def test_layer_norm_computes_in_float32_and_keeps_the_dtype():
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)) + 50
    wanted = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(LayerNorm(8, eps=1e-6, elementwise_affine=False)(x), wanted, atol=1e-4, rtol=0)
    assert LayerNorm(8, eps=1e-6).bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_modulation_at_zero_changes_nothing():
    x = torch.randn(1, 2, 3, 4)
    zero = torch.zeros(1, 2, 1, 4)
    assert torch.equal(modulate(x, zero, zero), x)
    assert torch.equal(modulate(x, zero + 2, zero - 1), torch.full_like(x, 2))


def test_timestep_embedding_is_cosines_then_sines():
    steps = torch.tensor([[0.0, 937.5, 1000.0]])
    got = timestep_embedding(steps, 8)
    assert got.shape == (1, 3, 8)
    for place, step in enumerate(steps[0].tolist()):
        for i in range(4):
            angle = step * 10_000 ** (-i / 4)
            assert abs(got[0, place, i].item() - math.cos(angle)) < 1e-6
            assert abs(got[0, place, 4 + i].item() - math.sin(angle)) < 1e-6
