"""Attention in parts: what is visible is cut, each part attended to alone, and the results joined by their weights.

A GPU attends in blocks of queries, a few hundred of them at our shapes, and the last round of blocks leaves most of the chip
idle: 1.3B at 832x480 has 444 for 132 multiprocessors, 3.4 rounds that take 4. In parts there are more and shorter blocks:
of all queries, or of those alone that would be left for the last round.

The parts are another entry of the batch for torch's own kernels that also give the logarithm of the softmax's sum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from motionstream.nn.attention import Attention, attention

PartKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""q ``(n, A, L, E)``, k, v ``(n, A, S, E)`` -> ``(n, A, L, E)`` and the log of the sum of exponents, ``(n, A, L)``."""
BLOCK = 128
"""Queries that a GPU's kernels take at once."""


def in_parts(num_parts: int, kernel: PartKernel, whole: Attention = attention, *, compiled: bool = False) -> Attention:
    """Attention with ``num_parts`` parts, for one stream (B = 1); other inputs are left to ``whole``.

    Args:
        compiled: join the parts through ``torch.compile``.
    """
    joined = torch.compile(join, dynamic=False) if compiled else join

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if len(q) != 1 or k.shape[1] % num_parts:
            return whole(q, k, v)
        return joined(*kernel(*_parts(q, k, v, num_parts)))

    return attend


def last_round_in_parts(
    at_once: int, num_parts: int, kernel: PartKernel, whole: Attention = attention, *, compiled: bool = False
) -> Attention:
    """Attention in which only the queries of the last, unfilled round have their keys cut; for one stream (B = 1).

    Args:
        at_once: blocks of queries that the device works on at once: its multiprocessors.
        num_parts: parts of the keys for the last queries. kernel: of these; ``whole`` is for all others, and other inputs.
        compiled: join through ``torch.compile``.
    """
    both = torch.compile(_followed_by, dynamic=False) if compiled else _followed_by

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        before = queries_of_full_rounds(q.shape[1], q.shape[2], at_once)
        if len(q) != 1 or k.shape[1] % num_parts or not 0 < before < q.shape[1]:
            return whole(q, k, v)
        return both(whole(q[:, :before], k, v), *kernel(*_parts(q[:, before:], k, v, num_parts)))

    return attend


def queries_of_full_rounds(queries: int, heads: int, at_once: int) -> int:
    """How many of the queries fill whole rounds of ``at_once`` blocks.

    >>> queries_of_full_rounds(4680, 12, 132)  # 1.3B at 832x480: 3 rounds of 132 blocks are 33 of each head
    4224
    """
    blocks = heads * -(-queries // BLOCK)
    return min(queries, blocks // at_once * at_once // heads * BLOCK)


def _parts(q: Tensor, k: Tensor, v: Tensor, num_parts: int) -> tuple[Tensor, Tensor, Tensor]:
    """One stream's q, k, v as a :data:`PartKernel` takes them, its keys cut."""
    keys, values = (t[0].unflatten(0, (num_parts, -1)).to(q.dtype).transpose(1, 2) for t in (k, v))
    return q.transpose(1, 2).expand(num_parts, -1, -1, -1), keys, values


def _followed_by(before: Tensor, out: Tensor, log_sum: Tensor) -> Tensor:
    return torch.cat([before, join(out, log_sum)], dim=1)


def join(out: Tensor, log_sum: Tensor) -> Tensor:
    """Results of parts, ``(n, A, L, E)`` and ``(n, A, L)``, in one: ``(1, L, A, E)`` in out's dtype."""
    weight = log_sum.float().softmax(0)[..., None]
    return (out.float() * weight).sum(0, keepdim=True).to(out.dtype).transpose(1, 2).contiguous()


def cudnn_part(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A :data:`PartKernel` of cuDNN."""
    found = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return found[0], found[1].reshape(q.shape[:3])
