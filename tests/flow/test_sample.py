import pytest
import torch

from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas


def clip(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_euler_is_exact_on_a_straight_path(steps):
    data, noise = clip(0), clip(1)
    got = sample_euler(lambda x, sigma: noise - data, noise, euler_sigmas(steps, 5.0).double())
    torch.testing.assert_close(got, data)


def test_euler_converges_on_a_curved_path():
    """dx / dsigma = x has the solution x(0) = x(1) / e."""
    noise = clip(1)
    errors = [
        (sample_euler(lambda x, sigma: x, noise, euler_sigmas(steps, 1.0).double()) - noise / torch.e).abs().max()
        for steps in (10, 20, 40)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_levels_reach_the_model_per_frame_and_states_can_be_kept():
    sigmas, noise, seen = euler_sigmas(4, 3.0), clip(2).float(), []

    def velocity(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        assert sigma.shape == (2, 3)
        seen.append((sigma[0, 0].item(), x))
        return x * 0.5

    end = sample_euler(velocity, noise, sigmas)
    assert [level for level, _ in seen] == sigmas[:-1].tolist()
    states = [x for _, x in seen]
    kept = sample_euler(lambda x, sigma: x * 0.5, noise, sigmas, keep=[0, 2, 4])
    assert kept.shape == (2, 3, 3, 4, 2, 2)
    for got, wanted in zip(kept.unbind(1), (noise, states[2], end), strict=True):
        torch.testing.assert_close(got, wanted)
