"""Attention in parts: what is visible is cut, each part attended to alone, and the results joined by their weights.

A GPU attends in blocks of queries, a few hundred of them at our shapes, and the last round of blocks leaves most of the chip
idle: 1.3B at 832x480 has 444 for 132 multiprocessors, 3.4 rounds that take 4. In parts there are more and shorter blocks.

The parts are another entry of the batch for torch's own kernels that also give the logarithm of the softmax's sum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from motionstream.nn.attention import Attention, attention

PartKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""q ``(n, A, L, E)``, k, v ``(n, A, S, E)`` -> ``(n, A, L, E)`` and the log of the sum of exponents, ``(n, A, L)``."""


def in_parts(num_parts: int, kernel: PartKernel, whole: Attention = attention, *, compiled: bool = False) -> Attention:
    """Attention with ``num_parts`` parts, for one stream (B = 1); other inputs are left to ``whole``.

    Args:
        compiled: join the parts through ``torch.compile``.
    """
    joined = torch.compile(join, dynamic=False) if compiled else join

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if len(q) != 1 or k.shape[1] % num_parts:
            return whole(q, k, v)
        queries = q.transpose(1, 2).expand(num_parts, -1, -1, -1)
        parts = [t[0].unflatten(0, (num_parts, -1)).to(q.dtype).transpose(1, 2) for t in (k, v)]
        return joined(*kernel(queries, *parts))

    return attend


def join(out: Tensor, log_sum: Tensor) -> Tensor:
    """Results of parts, ``(n, A, L, E)`` and ``(n, A, L)``, in one: ``(1, L, A, E)`` in out's dtype."""
    weight = log_sum.float().softmax(0)[..., None]
    return (out.float() * weight).sum(0, keepdim=True).to(out.dtype).transpose(1, 2).contiguous()


def cudnn_part(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A :data:`PartKernel` of cuDNN."""
    found = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return found[0], found[1].reshape(q.shape[:3])
