"""Distribution matching against the one case with closed forms: Gaussians."""

import pytest
import torch

from motionstream.train.dmd import dmd_gradient, dmd_loss


def clips(n: int, seed: int = 0, batch: int = 3) -> list[torch.Tensor]:
    return list(torch.randn(n, batch, 2, 4, 3, 3, generator=torch.Generator().manual_seed(seed)))


def posterior_mean(noisy: torch.Tensor, sigma: float, mean: float, std: float) -> torch.Tensor:
    """E[x0 | noisy] for x0 ~ N(mean, std^2) on the straight path."""
    keep, variance = 1 - sigma, ((1 - sigma) * std) ** 2 + sigma**2
    return mean + keep * std**2 / variance * (noisy - keep * mean)


def score(noisy: torch.Tensor, sigma: float, mean: float, std: float) -> torch.Tensor:
    keep = 1 - sigma
    return -(noisy - keep * mean) / ((keep * std) ** 2 + sigma**2)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9])
def test_gradient_is_the_score_difference_of_two_gaussians(sigma):
    x, noise = (c.double() for c in clips(2, batch=4))
    real, fake = (0.7, 0.5), (-0.3, 1.2)
    noisy = (1 - sigma) * x + sigma * noise
    real_x0, fake_x0 = posterior_mean(noisy, sigma, *real), posterior_mean(noisy, sigma, *fake)
    # Tweedie: x0 = (noisy + sigma^2 score) / (1 - sigma), so the difference of x0 is that of scores, scaled.
    wanted = sigma**2 / (1 - sigma) * (score(noisy, sigma, *fake) - score(noisy, sigma, *real))
    normaliser = (x - real_x0).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
    torch.testing.assert_close(dmd_gradient(x, real_x0, fake_x0), wanted / normaliser)


def test_descent_turns_the_fake_gaussian_into_the_real_one():
    """A generator with a mean and a scale follows -gradient with exact scores until it has the target's."""
    generator = torch.Generator().manual_seed(1)
    mean, log_std = torch.tensor(-2.0, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_std], lr=0.05)
    for _ in range(400):
        x = mean + log_std.exp() * torch.randn(64, 1, 1, 4, 4, generator=generator)
        sigma = 0.02 + 0.96 * torch.rand((), generator=generator).item()
        noisy = (1 - sigma) * x.detach() + sigma * torch.randn(x.shape, generator=generator)
        real = posterior_mean(noisy, sigma, 1.0, 0.5)
        fake = posterior_mean(noisy, sigma, mean.item(), log_std.exp().item())
        optimizer.zero_grad()
        dmd_loss(x, dmd_gradient(x.detach(), real, fake)).backward()
        optimizer.step()
    assert mean.item() == pytest.approx(1.0, abs=0.1)
    assert log_std.exp().item() == pytest.approx(0.5, abs=0.1)


def test_loss_has_the_gradient_over_numel():
    x, gradient = clips(2)
    x.requires_grad_()
    dmd_loss(x, gradient).backward()
    torch.testing.assert_close(x.grad, gradient / x.numel(), atol=1e-9, rtol=1e-4)


def test_loss_does_not_reach_into_the_gradient():
    x, gradient = (c.requires_grad_() for c in clips(2))
    dmd_loss(x, gradient * 2).backward()
    assert gradient.grad is None
    torch.testing.assert_close(dmd_loss(x, gradient * 2), 0.5 * (2 * gradient).square().mean())


def test_the_normaliser_is_per_sample():
    x, real, fake = clips(3)
    plain = dmd_gradient(x, real, fake)
    changed = real.clone()
    changed[1] += 5
    moved = dmd_gradient(x, changed, fake)
    assert torch.equal(plain[[0, 2]], moved[[0, 2]])
    assert not torch.allclose(plain[1], moved[1])
    # Same direction whatever the scale of a sample's values.
    torch.testing.assert_close(dmd_gradient(10 * x, 10 * real, 10 * fake), plain)


def test_equal_scores_give_no_gradient():
    x, real = clips(2)
    assert dmd_gradient(x, real, real).abs().max() == 0
    same = dmd_gradient(x, x, x)
    assert torch.equal(same, torch.zeros_like(x)), "a perfect sample must not divide by zero"


def test_broken_values_become_zero_in_their_own_sample_alone():
    x, real, fake = clips(3)
    plain = dmd_gradient(x, real, fake)
    fake[0, 0, 0, 0, 0], real[1, 0, 0, 0, 0] = torch.nan, torch.inf
    got = dmd_gradient(x, real, fake)
    assert got.isfinite().all()
    assert got[0, 0, 0, 0, 0] == 0
    assert torch.equal(got[0, 1:], plain[0, 1:])
    assert torch.equal(got[2], plain[2])
