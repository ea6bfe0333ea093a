"""causal/reference.py against the mathematics, written out once more in float64 with complex rotations."""

import math

import pytest
import torch
from torch import Tensor

from motionstream.causal.reference import reference_keys, reference_output
from motionstream.config import CacheConfig
from motionstream.models.dit import Condition, WanDiT


def rotated(x: Tensor, frames: list[int], rows: int, columns: int, theta: float) -> Tensor:
    """Complex rotary positions, one token at a time; x ``(L, A, E)``."""
    E = x.shape[-1]
    side = 2 * (E // 6)
    out = []
    for token, (f, r, c) in enumerate((f, r, c) for f in frames for r in range(rows) for c in range(columns)):
        angle = [
            position * theta ** (-2 * i / width)
            for position, width in ((f, E - 2 * side), (r, side), (c, side))
            for i in range(width // 2)
        ]
        turn = torch.polar(torch.ones(E // 2, dtype=torch.float64), torch.tensor(angle, dtype=torch.float64))
        out.append(
            torch.view_as_real(torch.view_as_complex(x[token].unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
        )
    return torch.stack(out)


def norm(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("lae,sae->als", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("als,sae->lae", scores.softmax(-1), v).flatten(1)


def written_out(
    model: WanDiT, x: Tensor, timestep: float, text: Tensor, past: list[list[tuple[Tensor, Tensor]]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """One forward of batch 1: x ``(F, channels, h, w)``, text ``(rows, text_dim)``; past holds the visible chunks only."""
    w = {name: value.detach().double() for name, value in model.state_dict().items()}
    config = model.config
    F, _, h, width = x.shape
    A = config.num_heads

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ w[name + ".weight"].T + w[name + ".bias"]

    def mlp(name: str, y: Tensor, act) -> Tensor:
        return linear(f"{name}.2", act(linear(f"{name}.0", y)))

    def gelu(y: Tensor) -> Tensor:
        return torch.nn.functional.gelu(y, approximate="tanh")

    silu = torch.nn.functional.silu
    half = config.freq_dim // 2
    angle = torch.tensor([timestep * 10_000 ** (-i / half) for i in range(half)], dtype=torch.float64)
    time = mlp("time_embedding", torch.cat([angle.cos(), angle.sin()]), silu)
    time6 = linear("time_projection.1", silu(time)).reshape(6, -1)
    rows = mlp("text_embedding", text.double(), gelu)
    tokens = x.double().permute(0, 2, 3, 1).reshape(F * h * width, -1)
    tokens = tokens @ w["patch_embedding.weight"].flatten(1).T + w["patch_embedding.bias"]
    slots = [range(n * F, (n + 1) * F) for n in range(len(past) + 1)]
    written = []
    for n in range(config.num_layers):
        b = f"blocks.{n}"
        shift, scale, gate, shift_ffn, scale_ffn, gate_ffn = w[f"{b}.modulation"][0] + time6
        y = norm(tokens, config.eps) * (1 + scale) + shift
        q = rms(linear(f"{b}.self_attn.q", y), w[f"{b}.self_attn.norm_q.weight"], config.eps).unflatten(-1, (A, -1))
        k = rms(linear(f"{b}.self_attn.k", y), w[f"{b}.self_attn.norm_k.weight"], config.eps).unflatten(-1, (A, -1))
        v = linear(f"{b}.self_attn.v", y).unflatten(-1, (A, -1))
        written.append((k, v))
        seen = [*(chunk[n] for chunk in past), (k, v)]
        keys = torch.cat(
            [rotated(key, list(s), h, width, config.rope_theta) for (key, _), s in zip(seen, slots, strict=True)]
        )
        values = torch.cat([value for _, value in seen])
        out = attend(rotated(q, list(slots[-1]), h, width, config.rope_theta), keys, values)
        tokens = tokens + linear(f"{b}.self_attn.o", out) * gate
        y = norm(tokens, config.eps) * w[f"{b}.norm3.weight"] + w[f"{b}.norm3.bias"]
        c = f"{b}.cross_attn"
        q = rms(linear(f"{c}.q", y), w[f"{c}.norm_q.weight"], config.eps).unflatten(-1, (A, -1))
        k = rms(linear(f"{c}.k", rows), w[f"{c}.norm_k.weight"], config.eps).unflatten(-1, (A, -1))
        tokens = tokens + linear(f"{c}.o", attend(q, k, linear(f"{c}.v", rows).unflatten(-1, (A, -1))))
        y = norm(tokens, config.eps) * (1 + scale_ffn) + shift_ffn
        tokens = tokens + mlp(f"{b}.ffn", y, gelu) * gate_ffn
    shift, scale = w["head.modulation"][0] + time
    out = linear("head.head", norm(tokens, config.eps) * (1 + scale) + shift)
    return out.reshape(F, h, width, -1).permute(0, 3, 1, 2), written


@pytest.mark.parametrize(("c", "s", "w"), [(1, 0, 0), (2, 1, 1), (1, 2, 1), (1, 0, 2)])
def test_reference_is_the_mathematics(model, condition_for, c, s, w):
    cache = CacheConfig(chunk_frames=c, sink_chunks=s, window_chunks=w)
    chunks = 6
    condition = condition_for(chunks * c)
    generator = torch.Generator().manual_seed(5)
    text = torch.randn(3, 8, generator=generator)
    condition = Condition(condition.first_latent, condition.track_latents, model.embed_text(text[None]))
    past, past64 = [], []
    with torch.no_grad():
        for chunk in range(chunks):
            visible = [past64[i] for i in range(chunk) if i < s or i >= chunk - w]
            part = condition.frames(chunk * c, (chunk + 1) * c)
            noisy, clean = torch.randn(2, 1, c, 4, 2, 3, generator=generator)
            got = reference_output(model, noisy, 0.7, past, condition, cache)
            wanted, _ = written_out(model, model.assemble(noisy, part, chunk * c)[0], 700.0, text, visible)
            torch.testing.assert_close(got[0].double(), wanted, atol=2e-5, rtol=0)
            past.append(reference_keys(model, clean, past, condition, cache))
            past64.append(written_out(model, model.assemble(clean, part, chunk * c)[0], 0.0, text, visible)[1])
    assert wanted.std() > 0.05  # a network that answers nothing would pass too
