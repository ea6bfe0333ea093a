"""Attention as everything calls it; a streaming form may be given a faster way (nn/attention_choice.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries ``(B, L, A, E)``, keys and values ``(B, S, A, E)`` -> ``(B, L, A, E)``; nothing is masked."""
SAMPLED = 8
"""Every so many keys, :func:`attention_products` asks one how large scores get (docs/LOG.md)."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention.

    Args:
        q: ``(B, L, A, E)``. k, v: ``(B, S, A, E)``.
        mask: bool ``(L, S)``, True = may attend; None = everything.

    Returns:
        ``(B, L, A, E)`` in q's dtype.
    """
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.to(q.dtype).transpose(1, 2), v.to(q.dtype).transpose(1, 2), attn_mask=mask
    )
    return out.transpose(1, 2)


def attention_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """:func:`attention` without a mask, as plain matrix products, which some processors do far better.

    Every 8th key says about how large the scores of each query get, and so much is taken off *inside* the product of all,
    whose sums are float32: so the scores that count are near zero when they are rounded, and the result is about as exact in
    bfloat16 as a fused kernel's (in the worst of cases, where one key outdoes all of those by far, as exact as scores in
    bfloat16 are). The scores of as many heads as there are threads are held at once.

    Args, Returns: as in :func:`attention`.
    """
    B, _, A, E = q.shape
    queries, keys, values = (x.to(q.dtype).transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    queries = queries * (E**-0.5 / math.log(2))  # powers of 2 are quicker than of e
    level = torch.bmm(keys[:, ::SAMPLED], queries.transpose(1, 2)).amax(1)[..., None]
    queries = torch.cat([queries, -level], dim=-1)
    keys = torch.cat([keys, keys.new_ones(*keys.shape[:2], 1)], dim=-1).transpose(1, 2)
    made, sums = [], []
    at_once = torch.get_num_threads()  # fewer scores stay nearer to the processor
    for some, seen, said in zip(queries.split(at_once), keys.split(at_once), values.split(at_once), strict=True):
        weights = torch.bmm(some, seen).exp2_()
        sums.append(weights.sum(-1, keepdim=True))
        made.append(torch.bmm(weights, said) / sums[-1])
        del weights  # its memory is the next ones'
    if not math.isfinite(float(torch.cat(sums).sum())):  # a score so far above the level that its power of 2 is too large
        return attention(q, k, v)
    return torch.cat(made).unflatten(0, (B, A)).transpose(1, 2)


def attention_reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The definition of :func:`attention` in float64; slow, for tests."""
    scores = torch.einsum("blae,bsae->bals", q.double(), k.double()) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bals,bsae->blae", scores.softmax(-1), v.double()).to(q.dtype)
