import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.flow.guidance import joint_guidance


def velocities() -> list[torch.Tensor]:
    return list(torch.randn(3, 1, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_unit_weights_give_the_conditional_velocity(weights):
    full, no_text, no_motion = velocities()
    got = joint_guidance(full, no_text, no_motion, text_guidance=weights[0], motion_guidance=weights[1])
    torch.testing.assert_close(got, full)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 10), st.floats(0.01, 10))
def test_equation_two_of_the_paper(w_t, w_m):
    full, no_text, no_motion = velocities()
    a = w_t / (w_t + w_m)
    wanted = a * no_text + (1 - a) * no_motion + w_t * (full - no_text) + w_m * (full - no_motion)
    got = joint_guidance(full, no_text, no_motion, text_guidance=w_t, motion_guidance=w_m)
    torch.testing.assert_close(got, wanted)
    # Coefficients sum to 1: three equal velocities come back, whatever the weights.
    torch.testing.assert_close(joint_guidance(full, full, full, text_guidance=w_t, motion_guidance=w_m), full)


def test_one_weight_alone_is_the_usual_guidance():
    full, no_text, no_motion = velocities()
    text = joint_guidance(full, no_text, no_motion, text_guidance=3.0, motion_guidance=0.0)
    torch.testing.assert_close(text, no_text + 3.0 * (full - no_text))
    motion = joint_guidance(full, no_text, no_motion, text_guidance=0.0, motion_guidance=1.5)
    torch.testing.assert_close(motion, no_motion + 1.5 * (full - no_motion))


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 2.0), (2.0, -1.0), (float("nan"), 1.0)])
def test_undefined_mixes_are_refused_with_a_reason(weights):
    with pytest.raises(ValueError, match="undefined"):
        joint_guidance(*velocities(), text_guidance=weights[0], motion_guidance=weights[1])
