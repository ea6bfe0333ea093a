"""One attention function; every caller goes through it, so a faster backend is chosen in one place."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries ``(B, L, A, E)``, keys and values ``(B, S, A, E)`` -> ``(B, L, A, E)``; nothing is masked."""


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


def attention_reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The definition of :func:`attention` in float64; slow, for tests."""
    scores = torch.einsum("blae,bsae->bals", q.double(), k.double()) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bals,bsae->blae", scores.softmax(-1), v.double()).to(q.dtype)
