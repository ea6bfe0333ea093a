"""Attention to a prompt and to a picture's rows in one pass over the queries (Triton): two calls of it and their sum.

The rows behind a prompt's end are all alike, for they are one embedded zero, so a single one of them stands for all with the
logarithm of their number added to its score: of 512 rows a prompt of 40 words needs some 50. How many there are is read on
the device, so a recorded graph does for every prompt. Only where Triton is: nn/cross_choice.py asks first.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

Keys = tuple[Tensor, Tensor]
"""Keys and values, ``(1, S, A, E)`` each."""
QUERIES, ROWS, WARPS, STAGES = 128, 64, 8, 2
"""Of a block at 128 numbers a head: 96 KiB of a Hopper's 228 KiB, and no register spilled; other shapes spill."""
WIDTHS = (16, 32, 64, 128)


def attend_to_both(q: Tensor, text: Keys, prompt_rows: Tensor, image: Keys | None = None) -> Tensor:
    """``attention(q, *text) + attention(q, *image)`` for one stream.

    Args:
        q: ``(1, L, A, E)``, E of `WIDTHS`. text: rows from ``prompt_rows`` on are equal.
        prompt_rows: int32 ``(1,)`` on the device, 0 to S.
        image: None = the first sum alone.
    """
    _, L, heads, width = q.shape
    assert all(len(part) == 1 and part.is_contiguous() for part in (q, *text, *(image or ())))
    out = torch.empty_like(q)
    keys, values = image or text
    _cross_kernel[triton.cdiv(L, QUERIES), heads](
        q, *text, prompt_rows, keys, values, out, L, text[0].shape[1], keys.shape[1], width**-0.5,
        heads, width, QUERIES, ROWS, image is not None, num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out


@triton.jit
def _attended(
    q, k_at, v_at, head, count, last_bias, scale,
    HEADS: tl.constexpr, E: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Attention of a block of queries to rows [0, count); ``last_bias`` (of base 2) is added to the last one's scores."""
    e, row = tl.arange(0, E), tl.arange(0, ROWS)
    largest = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    out = tl.zeros([BLOCK, E], tl.float32)
    for start in tl.range(0, count, ROWS):
        at = start + row
        inside = at < count
        k = tl.load(k_at + (at[None, :] * HEADS + head) * E + e[:, None], mask=inside[None, :], other=0.0).to(q.dtype)
        scores = tl.dot(q, k, input_precision="ieee") * (scale * 1.4426950408889634)  # of base 2
        bias = tl.where(at == count - 1, last_bias, 0.0)
        scores = tl.where(inside[None, :], scores + bias[None, :], float("-inf"))
        now = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - now[:, None])
        before = tl.exp2(largest - now)
        total = total * before + tl.sum(weights, 1)
        v = tl.load(v_at + (at[:, None] * HEADS + head) * E + e[None, :], mask=inside[:, None], other=0.0).to(q.dtype)
        out = tl.dot(weights.to(q.dtype), v, out * before[:, None], input_precision="ieee")
        largest = now
    return out / total[:, None]


@triton.jit
def _cross_kernel(
    q_at, text_k, text_v, rows_at, image_k, image_v, out_at, queries, text_rows, image_rows, scale,
    HEADS: tl.constexpr, E: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, IMAGE: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    rows, e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, E)
    at, inside = (rows[:, None] * HEADS + head) * E + e[None, :], rows[:, None] < queries
    q = tl.load(q_at + at, mask=inside, other=0.0)
    prompt = tl.load(rows_at)
    alike = tl.maximum(text_rows - prompt, 1)  # where none is left over, the last row counts once as the others do
    count = tl.minimum(prompt + 1, text_rows)
    bias = tl.log2(alike.to(tl.float32))
    out = _attended(q, text_k, text_v, head, count, bias, scale, HEADS, E, BLOCK, ROWS)
    if IMAGE:
        out += _attended(q, image_k, image_v, head, image_rows, 0.0, scale, HEADS, E, BLOCK, ROWS)
    tl.store(out_at + at, out.to(q.dtype), mask=inside)
