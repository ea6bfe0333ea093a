"""From a network's output to clean latents and velocity, whatever it predicts (paper equation 1).

noisy = (1 - sigma) * latents + sigma * noise,   velocity = noise - latents,   x0 = noisy - sigma * velocity
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motionstream.flow.path import velocity_from_x0, x0_from_velocity
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import ChunkCache, SinkWindowCache

KEEPS_PICTURE = ("repeat", "clean")
"""Of ``first_frame``: what latent frame 0 holds is known, and is no prediction."""


@dataclass(frozen=True)
class Prediction:
    """Clean estimate and velocity, both ``(B, F, C, h, w)`` float32."""

    x0: Tensor
    velocity: Tensor


def predict(
    model: WanDiT | FusedDiT,
    noisy: Tensor,
    sigma: Tensor,
    condition: Condition,
    *,
    start: int = 0,
    cache: ChunkCache | None = None,
    mask: Tensor | None = None,
    level: float | None = None,
    early: bool = False,
) -> Prediction:
    """One evaluation of ``model``.

    Args:
        noisy: ``(B, F, C, h, w)`` of latent frames ``start ..``. sigma: ``(B, F)`` in [0, 1].
        condition: track latents must cover just these frames.
        level: the number that all of ``sigma`` is, known to the host: the streaming form needs it, and a cache.
        early: another step comes after this one (:class:`~motionstream.models.fused.Times`).

    The picture's own latent is known: at latent frame 0 of "repeat" and "clean" models ``x0`` is set to it. "clean"
    models (Wan 2.2 TI2V) also see it there in place of noise, at timestep 0.
    """
    known = condition.first_latent if start == 0 and model.config.first_frame in KEEPS_PICTURE else None
    clean = known is not None and model.config.first_frame == "clean"
    x = model.assemble(_shown(model, noisy, condition, start), condition, start)
    if isinstance(model, FusedDiT):
        assert level is not None
        assert isinstance(cache, SinkWindowCache)
        out = model(x, model.times(level, noisy.shape[1], first_clean=clean, early=early), condition, cache)
    else:
        seen = torch.cat([torch.zeros_like(sigma[:, :1]), sigma[:, 1:]], dim=1) if clean else sigma
        out = model(x, 1000 * seen, condition.text, image=condition.image, cache=cache, mask=mask)
    if model.config.prediction == "velocity" and known is None:
        return Prediction(x0_from_velocity(noisy, out, sigma), out)
    if model.config.prediction == "velocity":
        x0 = x0_from_velocity(noisy, out, sigma)
    else:
        assert condition.first_latent is not None
        x0 = condition.first_latent.float() + out
    if known is not None:
        x0 = torch.cat([known.to(x0.dtype), x0[:, 1:]], dim=1)
    return Prediction(x0, velocity_from_x0(noisy, x0, sigma))


def write_keys(model: WanDiT | FusedDiT, latents: Tensor, condition: Condition, *, start: int, cache: ChunkCache) -> None:
    """The pass over clean ``latents`` at noise level 0, for what it leaves in ``cache``."""
    if not isinstance(model, FusedDiT):
        level = torch.zeros(latents.shape[:2], device=latents.device, dtype=torch.float32)
        predict(model, latents, level, condition, start=start, cache=cache)
        return
    assert isinstance(cache, SinkWindowCache)
    x = model.assemble(_shown(model, latents, condition, start), condition, start)
    model.write_keys(x, model.times(0.0, latents.shape[1]), condition, cache)


def _shown(model: WanDiT | FusedDiT, noisy: Tensor, condition: Condition, start: int) -> Tensor:
    """What the network sees: "clean" models the picture's own latent in place of noise at latent frame 0."""
    if start or model.config.first_frame != "clean" or condition.first_latent is None:
        return noisy
    return torch.cat([condition.first_latent.to(noisy.dtype), noisy[:, 1:]], dim=1)
