import pytest
import torch

from motionstream.flow.path import x0_from_velocity
from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas
from motionstream.models.denoise import predict


def noisy_for(model, F, batch=1):
    return torch.randn(batch, F, model.config.latent_channels, 2, 4, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [{"prediction": "x0"}, {"prediction": "velocity"}, {"prediction": "velocity", "first_frame": "concat"}],
)
@pytest.mark.parametrize("start", [0, 3])
def test_x0_and_velocity_belong_together(make_model, condition_for, settings, start):
    model = make_model(**settings)
    noisy, condition = noisy_for(model, 3, 2), condition_for(model, 3, batch=2)
    sigma = torch.tensor([[0.2, 0.5, 1.0], [0.9, 0.9, 0.3]])
    made = predict(model, noisy, sigma, condition, start=start)
    torch.testing.assert_close(x0_from_velocity(noisy, made.velocity, sigma), made.x0, atol=1e-5, rtol=0)
    raw = model(model.assemble(noisy, condition, start), 1000 * sigma, condition.text)
    known = start == 0 and model.config.first_frame == "repeat"
    frames = slice(1 if known else 0, None)
    if settings["prediction"] == "velocity":
        torch.testing.assert_close(made.velocity[:, frames], raw[:, frames], atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(made.x0[:, frames], (condition.first_latent + raw)[:, frames])
    assert torch.equal(made.x0[:, :1], condition.first_latent) == known


@torch.no_grad()
def test_sigma_reaches_the_network_as_a_timestep_of_1000(make_model, condition_for):
    model, seen = make_model(prediction="x0"), []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    predict(model, noisy_for(model, 2), torch.tensor([[0.25, 1.0]]), condition_for(model, 2))
    assert seen[0].tolist() == [[250.0, 1000.0]]


@torch.no_grad()
def test_clean_models_see_the_picture_in_place_of_noise(make_model, condition_for):
    model, seen = make_model(first_frame="clean"), []
    condition, noisy, sigma = condition_for(model, 3), noisy_for(model, 3), torch.full((1, 3), 0.8)
    hook = model.register_forward_pre_hook(lambda module, args: seen.append(args[:2]))
    predict(model, noisy, sigma, condition)
    predict(model, noisy, sigma, condition, start=3)
    hook.remove()
    assert torch.equal(seen[0][0][:, :1, :4], condition.first_latent)
    assert torch.equal(seen[0][0][:, 1:, :4], noisy[:, 1:])
    assert seen[0][1].tolist() == [[0.0, 800.0, 800.0]]
    assert torch.equal(seen[1][0][:, :, :4], noisy)
    assert seen[1][1].tolist() == [[800.0] * 3]


@torch.no_grad()
@pytest.mark.parametrize("first_frame", ["repeat", "clean"])
@pytest.mark.parametrize("steps", [1, 5])
def test_sampling_ends_on_the_picture(make_model, condition_for, first_frame, steps):
    model = make_model(first_frame=first_frame)
    condition, sigmas = condition_for(model, 3), euler_sigmas(steps, 3.0)
    made = sample_euler(lambda x, s: predict(model, x, s, condition).velocity, noisy_for(model, 3), sigmas)
    torch.testing.assert_close(made[:, :1], condition.first_latent, atol=1e-5, rtol=0)
