"""Guidance as one batch equals its evaluations one by one, with all conditions a model may have."""

from dataclasses import replace

import pytest
import torch

from motionstream.config import TrackConfig
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition
from motionstream.models.guided import guided_predictor

FORMS = [
    {"first_frame": "repeat", "prediction": "x0"},
    {"first_frame": "concat", "after_picture": "grey", "image_dim": 6},
    {"first_frame": "clean"},
]


@pytest.fixture
def scene(condition_for):
    def make(model, batch: int = 2) -> tuple[Condition, torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(4)
        condition = condition_for(model, 3, batch=batch)
        rows = torch.randn(batch, 5, 6, generator=generator)
        latents = torch.randn(batch, 3, 4, 2, 4, generator=generator)
        image = model.embed_image(rows) if model.config.image_dim else None
        first = None if model.config.first_frame == "none" else condition.first_latent
        condition = replace(condition, image=image, picture_latents=latents, first_latent=first)
        noisy = torch.randn(batch, 3, 4, 2, 4, generator=generator)
        return condition, noisy, torch.full((batch, 3), 0.6), torch.randn(1, 3, 8, generator=generator)

    return make


@torch.no_grad()
@pytest.mark.parametrize("settings", FORMS)
def test_joint_guidance_is_three_evaluations(make_model, scene, settings):
    model = make_model(**settings)
    condition, noisy, sigma, empty = scene(model)
    dropped = [(k.expand(2, -1, -1, -1), v.expand(2, -1, -1, -1)) for k, v in model.embed_text(empty)]
    full = predict(model, noisy, sigma, condition).velocity
    no_text = predict(model, noisy, sigma, replace(condition, text=dropped)).velocity
    no_motion = predict(model, noisy, sigma, condition.without_motion()).velocity
    wanted = (2 / 3) * no_text + (1 / 3) * no_motion + 3.0 * (full - no_text) + 1.5 * (full - no_motion)
    got = guided_predictor(model, condition, empty, 3.0, 1.5)(noisy, sigma)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert (got - full).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("settings", [{"first_frame": "none"}, {"first_frame": "clean"}])
def test_without_tracks_it_is_classifier_free_guidance(make_model, scene, settings):
    """Self-Forcing's real score is ``cond + 3 (cond - uncond)``: a scale of 4 here."""
    model = make_model(tracks=TrackConfig(channels=0), **settings)
    condition, noisy, sigma, empty = scene(model)
    dropped = [(k.expand(2, -1, -1, -1), v.expand(2, -1, -1, -1)) for k, v in model.embed_text(empty)]
    full = predict(model, noisy, sigma, condition).velocity
    no_text = predict(model, noisy, sigma, replace(condition, text=dropped)).velocity
    got = guided_predictor(model, condition, empty, 4.0, 0.0)(noisy, sigma)
    torch.testing.assert_close(got, full + 3.0 * (full - no_text), atol=1e-4, rtol=1e-4)
    assert (got - full).abs().max() > 1e-3
