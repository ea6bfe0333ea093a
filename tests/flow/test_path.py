import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.flow.path import add_noise, velocity_from_x0, velocity_target, x0_from_velocity


def clips(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, 2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(seed)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.01, 1.0))
def test_velocity_and_x0_are_inverse(seed, level):
    latents, noise = clips(seed)
    sigma = torch.full((2, 3), level)
    noisy, velocity = add_noise(latents, noise, sigma), velocity_target(latents, noise)
    torch.testing.assert_close(x0_from_velocity(noisy, velocity, sigma), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity_from_x0(noisy, latents, sigma), velocity, atol=1e-3, rtol=1e-4)
    guess = torch.randn_like(latents)
    back = x0_from_velocity(noisy, velocity_from_x0(noisy, guess, sigma), sigma)
    torch.testing.assert_close(back, guess, atol=1e-5, rtol=0)


def test_the_ends_are_data_and_noise():
    latents, noise = clips()
    assert torch.equal(add_noise(latents, noise, torch.zeros(2, 3)), latents)
    assert torch.equal(add_noise(latents, noise, torch.ones(2, 3)), noise)
    at_zero = velocity_from_x0(latents, latents, torch.zeros(2, 3))
    assert torch.equal(at_zero, torch.zeros_like(latents))
    assert torch.isfinite(velocity_from_x0(latents, noise, torch.zeros(2, 3))).all()


def test_every_frame_has_its_own_level():
    latents, noise = clips()
    sigma = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.25, 0.0]])
    noisy = add_noise(latents, noise, sigma)
    for b in range(2):
        for f in range(3):
            s = sigma[b, f]
            torch.testing.assert_close(noisy[b, f], (1 - s) * latents[b, f] + s * noise[b, f])


def test_velocity_is_the_derivative_of_the_path():
    latents, noise = (x.double() for x in clips())
    sigma = torch.full((2, 3), 0.4, dtype=torch.float64)
    slope = (add_noise(latents, noise, sigma + 1e-6) - add_noise(latents, noise, sigma - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, velocity_target(latents, noise), atol=1e-6, rtol=0)
