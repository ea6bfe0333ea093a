"""Joint text and motion guidance (paper equation 2): three velocities in, one out."""

from __future__ import annotations

from torch import Tensor


def joint_guidance(
    v_full: Tensor, v_no_text: Tensor, v_no_motion: Tensor, *, text_guidance: float, motion_guidance: float
) -> Tensor:
    """``v_base + w_t (v_full - v_no_text) + w_m (v_full - v_no_motion)``.

    ``v_base = a v_no_text + (1 - a) v_no_motion`` with ``a = w_t / (w_t + w_m)``. Weights (1, 0) and (0, 1) both give
    ``v_full``.

    Args:
        v_full, v_no_text, v_no_motion: velocities (or clean estimates: the formula is linear) of one shape.

    Raises:
        ValueError: when the weights do not sum to more than 0: the mix ``w_t / (w_t + w_m)`` is then undefined.
    """
    total = text_guidance + motion_guidance
    if not (total > 0 and text_guidance >= 0 and motion_guidance >= 0):  # NaN is neither
        raise ValueError(
            f"text_guidance={text_guidance} and motion_guidance={motion_guidance} must be >= 0 with a sum above 0: the "
            "mix w_t / (w_t + w_m) is undefined otherwise; use 1 and 0 for no guidance"
        )
    mix = text_guidance / total
    base = mix * v_no_text + (1 - mix) * v_no_motion
    return base + text_guidance * (v_full - v_no_text) + motion_guidance * (v_full - v_no_motion)
