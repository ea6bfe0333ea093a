"""Rotary positions against complex float64 arithmetic, in Wan's layout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.nn.rope import axis_widths, rotary_table, rotate


def complex_reference(x: torch.Tensor, frames: list[int], rows: int, columns: int, theta: float) -> torch.Tensor:
    """Every adjacent pair of dims is a complex number, turned by position * theta^(-2 i / width)."""
    B, L, A, E = x.shape
    side = 2 * (E // 6)
    widths = (E - 2 * side, side, side)
    out = torch.empty(B, L, A, E // 2, dtype=torch.complex128)
    places = [(f, r, c) for f in frames for r in range(rows) for c in range(columns)]
    for token, place in enumerate(places):
        pair = 0
        for position, width in zip(place, widths, strict=True):
            for i in range(width // 2):
                turn = torch.polar(
                    torch.tensor(1.0, dtype=torch.float64),
                    torch.tensor(position * theta ** (-2 * i / width), dtype=torch.float64),
                )
                z = torch.complex(x[:, token, :, 2 * pair].double(), x[:, token, :, 2 * pair + 1].double())
                out[:, token, :, pair] = z * turn
                pair += 1
    return torch.view_as_real(out).flatten(-2)


@pytest.mark.parametrize(
    ("head_dim", "frames", "rows", "columns"),
    [(128, [0, 1, 2], 3, 2), (64, [7, 5], 2, 4), (12, [0, 3], 4, 5), (48, [20], 5, 1), (4, [0, 1, 2], 1, 1)],
)
def test_rotation_equals_the_complex_reference(head_dim, frames, rows, columns):
    x = torch.randn(2, len(frames) * rows * columns, 3, head_dim, generator=torch.Generator().manual_seed(0))
    got = rotate(x, rotary_table(torch.tensor(frames), rows, columns, head_dim))
    error = (got.double() - complex_reference(x, frames, rows, columns, 10_000.0)).abs().max()
    assert error < 1e-6


def test_theta_is_used():
    table, other = (rotary_table(torch.tensor([3]), 2, 2, 24, theta) for theta in (10_000.0, 100.0))
    assert not torch.allclose(table.cos, other.cos)
    x = torch.randn(1, 4, 1, 24)
    torch.testing.assert_close(rotate(x, other).double(), complex_reference(x, [3], 2, 2, 100.0), atol=1e-6, rtol=0)


def test_wan_splits_a_head_of_128_into_44_42_42():
    assert axis_widths(128) == (44, 42, 42)
    cos = rotary_table(torch.tensor([0, 1]), 2, 2, 128).cos.reshape(2, 2, 2, 64)
    moved = [(cos[0, 0, 0] != cos[index]) for index in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert moved[0][:22].any()
    assert not moved[0][22:].any()
    assert not moved[1][:22].any()
    assert not moved[1][43:].any()
    assert not moved[2][:43].any()


@given(st.integers(1, 128).map(lambda n: 2 * n))
def test_parts_are_even_and_fill_the_head(head_dim):
    widths = axis_widths(head_dim)
    assert sum(widths) == head_dim
    assert all(width % 2 == 0 and width >= 0 for width in widths)
    assert widths[0] >= widths[1] == widths[2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 30))
def test_scores_see_differences_of_frames_alone(shift, gap):
    generator = torch.Generator().manual_seed(shift)
    q, k = torch.randn(2, 1, 6, 2, 24, generator=generator)
    scores = []
    for start in (0, shift):
        query = rotate(q, rotary_table(torch.tensor([start + gap]), 2, 3, 24))
        key = rotate(k, rotary_table(torch.tensor([start]), 2, 3, 24))
        scores.append(torch.einsum("blae,bsae->bals", query, key))
    torch.testing.assert_close(scores[0], scores[1], atol=2e-5, rtol=0)
    if gap:
        still = torch.einsum("blae,bsae->bals", rotate(q, rotary_table(torch.tensor([0]), 2, 3, 24)), key)
        assert not torch.allclose(scores[0], still, atol=1e-3)


def test_there_is_no_table_to_run_off():
    x = torch.randn(1, 1, 1, 24, generator=torch.Generator().manual_seed(0))
    got = rotate(x, rotary_table(torch.tensor([1_000_000]), 1, 1, 24))
    torch.testing.assert_close(got.double(), complex_reference(x, [1_000_000], 1, 1, 10_000.0), atol=1e-6, rtol=0)


def test_dtype_is_kept_and_length_preserved():
    x = torch.randn(1, 4, 2, 12)
    table = rotary_table(torch.tensor([2]), 2, 2, 12)
    assert rotate(x.bfloat16(), table).dtype == torch.bfloat16
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))
