"""A teacher under joint text and motion guidance: three evaluations a step, run as one batch (paper equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from motionstream.flow.guidance import joint_guidance
from motionstream.flow.sample import VelocityFn
from motionstream.models.blocks import TextKeys
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT


def guided_predictor(
    model: WanDiT, condition: Condition, empty_text: Tensor, text_guidance: float, motion_guidance: float
) -> VelocityFn:
    """``(noisy, sigma) -> velocity`` under joint guidance: three evaluations, batched as one (paper equation 2).

    Without tracks there is no motion to drop: two evaluations, and ``text_guidance`` is the usual classifier-free scale
    ``v_no_text + text_guidance (v_full - v_no_text)``. (Self-Forcing counts from the conditional side: its 3.0 is 4.0 here.)

    Args:
        empty_text: ``(1, text_len, text_dim)`` of the dropped prompt: zeros for nano, Wan's negative prompt for Wan.
    """
    no_text = model.embed_text(empty_text)
    batch = condition.text[0][0].shape[0]
    tracks = condition.track_latents
    copies = 2 if tracks is None else 3
    text: list[TextKeys] = []
    for (k, v), (k_none, v_none) in zip(condition.text, no_text, strict=True):
        k_none, v_none = k_none.expand(batch, -1, -1, -1), v_none.expand(batch, -1, -1, -1)
        text.append((torch.cat([k, k_none, k][:copies]), torch.cat([v, v_none, v][:copies])))
    image = condition.image
    stacked = Condition(
        first_latent=_repeat(condition.first_latent, copies),
        track_latents=None if tracks is None else torch.cat([tracks, tracks, torch.zeros_like(tracks)]),
        text=text,
        image=None if image is None else [(k.repeat(copies, 1, 1, 1), v.repeat(copies, 1, 1, 1)) for k, v in image],
        picture_latents=_repeat(condition.picture_latents, copies),
    )

    def velocity(noisy: Tensor, sigma: Tensor) -> Tensor:
        out = predict(model, noisy.repeat(copies, 1, 1, 1, 1), sigma.repeat(copies, 1), stacked).velocity
        if copies == 2:
            v_full, v_no_text = out.chunk(2)
            return v_no_text + text_guidance * (v_full - v_no_text)
        v_full, v_no_text, v_no_motion = out.chunk(3)
        return joint_guidance(v_full, v_no_text, v_no_motion, text_guidance=text_guidance, motion_guidance=motion_guidance)

    return velocity


def _repeat(latents: Tensor | None, copies: int) -> Tensor | None:
    return None if latents is None else latents.repeat(copies, 1, 1, 1, 1)
