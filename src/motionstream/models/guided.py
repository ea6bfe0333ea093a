"""A teacher under joint text and motion guidance: three evaluations a step, run as one batch (paper equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.flow.guidance import joint_guidance
from motionstream.flow.sample import VelocityFn
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT


def guided_predictor(
    model: WanDiT, condition: Condition, empty_text: Tensor, text_guidance: float, motion_guidance: float
) -> VelocityFn:
    """``(noisy, sigma) -> velocity`` under joint guidance: three evaluations, batched as one (paper equation 2).

    Args:
        empty_text: ``(1, text_len, text_dim)`` of the dropped prompt.
    """
    no_text = model.embed_text(empty_text)
    batch = condition.text[0][0].shape[0]
    text = [
        tuple(torch.cat([full, none.expand(batch, -1, -1, -1), full]) for full, none in zip(pair, dropped, strict=True))
        for pair, dropped in zip(condition.text, no_text, strict=True)
    ]
    assert condition.track_latents is not None
    assert condition.first_latent is not None
    tracks = condition.track_latents
    tripled = Condition(
        first_latent=condition.first_latent.repeat(3, 1, 1, 1, 1),
        track_latents=torch.cat([tracks, tracks, torch.zeros_like(tracks)]),
        text=text,  # type: ignore[arg-type]
    )

    def velocity(noisy: Tensor, sigma: Tensor) -> Tensor:
        out = predict(model, noisy.repeat(3, 1, 1, 1, 1), sigma.repeat(3, 1), tripled).velocity
        v_full, v_no_text, v_no_motion = out.chunk(3)
        return joint_guidance(v_full, v_no_text, v_no_motion, text_guidance=text_guidance, motion_guidance=motion_guidance)

    return velocity
