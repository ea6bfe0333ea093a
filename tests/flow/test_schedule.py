import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motionstream.flow.schedule import draw_sigma, euler_sigmas, few_step_sigmas, shift_sigma


@given(st.floats(0, 1), st.floats(0.1, 20))
def test_shift_has_its_closed_form_and_keeps_the_ends(sigma, shift):
    got = shift_sigma(torch.tensor(sigma, dtype=torch.float64), shift).item()
    assert got == pytest.approx(shift * sigma / (1 + (shift - 1) * sigma))
    assert 0 <= got <= 1 + 1e-12
    assert (got - sigma) * (shift - 1) >= -1e-12
    # Shifts compose by multiplication; 1 / k undoes k.
    assert shift_sigma(torch.tensor(got, dtype=torch.float64), 1 / shift).item() == pytest.approx(sigma, abs=1e-9)


def test_warped_steps_of_self_forcing():
    """Published lists of timesteps, shift 5."""
    four = shift_sigma(torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64), 5.0)
    assert (1000 * four).tolist() == pytest.approx([1000, 937.5, 833.3333333, 625.0])
    five = shift_sigma(torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2], dtype=torch.float64), 5.0)
    assert (1000 * five).tolist() == pytest.approx([1000, 952.381, 882.353, 769.231, 555.556], abs=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("shift", [1.0, 6.0])
def test_euler_levels_descend_from_one_to_zero(steps, shift):
    sigmas = euler_sigmas(steps, shift)
    assert sigmas.shape == (steps + 1,)
    assert (sigmas[0], sigmas[-1]) == (1, 0)
    assert (sigmas[1:] < sigmas[:-1]).all()


@pytest.mark.parametrize("levels", [(1.0, 0.9, 0.7), (1.0,)])
def test_few_steps(levels):
    assert few_step_sigmas(levels) == few_step_sigmas(levels, len(levels)) == levels
    assert few_step_sigmas(levels, 1) == (1.0,)
    for steps in range(2, 9):
        got = few_step_sigmas(levels, steps)
        assert len(got) == steps
        assert (got[0], got[-1]) == (1.0, pytest.approx(0.7))
        assert all(a > b for a, b in itertools.pairwise(got))


@pytest.mark.parametrize("steps", [0, -1, 9, 1000])
def test_bad_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match=f"steps={steps} must be between 1 and 8"):
        few_step_sigmas((1.0, 0.5), steps)


def test_bad_shift_and_grid_are_refused():
    with pytest.raises(ValueError, match="shift=0"):
        shift_sigma(torch.tensor(0.5), 0)
    with pytest.raises(ValueError, match="shift=nan"):
        shift_sigma(torch.tensor(0.5), float("nan"))
    with pytest.raises(ValueError, match="steps=0"):
        euler_sigmas(0, 1.0)


def test_drawn_levels_are_logistic_normal():
    sigma = draw_sigma((4000, 3), torch.Generator().manual_seed(0), mean=1.2, std=0.8)
    assert sigma.shape == (4000, 3)
    assert sigma.min() > 0
    assert sigma.max() < 1
    logit = torch.logit(sigma.double())
    assert logit.mean().item() == pytest.approx(1.2, abs=0.03)
    assert logit.std().item() == pytest.approx(0.8, abs=0.03)
    assert torch.equal(sigma, draw_sigma((4000, 3), torch.Generator().manual_seed(0), mean=1.2, std=0.8))
