"""The chunk loop, once: noise -> few steps -> clean estimate -> commit to the cache -> next chunk.

Streaming calls it with :class:`SinkWindowCache`, distillation with :class:`HistoryCache`; the latents are the same
(tests/causal/test_rollout.py). Paper section 3.3, following Self Forcing: between steps the clean estimate is noised
again with fresh noise, and one extra pass over the clean chunk at noise level 0 writes the keys that later chunks see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from motionstream.flow.path import add_noise
from motionstream.models.denoise import predict, write_keys
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import HistoryCache, SinkWindowCache

Cache = SinkWindowCache | HistoryCache
NoiseFn = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class SeededNoise:
    """Noise that depends only on (seed, chunk, step): any chunk can be made again without those before it.

    Attributes:
        shape: ``(B, chunk_frames, C, h, w)``.
    """

    seed: int
    shape: tuple[int, ...]
    device: torch.device

    def __call__(self, chunk: int, step: int) -> Tensor:
        generator = torch.Generator(self.device)
        generator.manual_seed((self.seed * 1_000_003 + chunk) * 31 + step)
        return torch.randn(self.shape, generator=generator, device=self.device, dtype=torch.float32)


def denoise_chunk(
    model: WanDiT | FusedDiT,
    cache: Cache,
    condition: Condition,
    noise: NoiseFn,
    sigmas: tuple[float, ...],
    *,
    exit_step: int | None = None,
    grad: bool = False,
    estimates: list[Tensor] | None = None,
) -> Tensor:
    """Clean latents ``(B, chunk_frames, C, h, w)`` of the cache's next chunk; nothing is committed.

    Args:
        condition: track latents of this chunk only.
        noise: ``noise(chunk, step)`` gives the noise before step ``step``.
        sigmas: descending noise levels, without the final 0.
        exit_step: stop after this step (training draws it at random); None runs all.
        grad: let gradients flow through the last step that runs, as in Self Forcing; earlier ones carry none.
        estimates: where given, the clean estimate of every step that runs is appended; with ``grad`` each carries its own
            gradient, and none flows from one step to the next.
    """
    chunk, start = cache.chunk, cache.chunk * cache.cache.chunk_frames
    last = len(sigmas) - 1 if exit_step is None else exit_step
    if not 0 <= last < len(sigmas):
        raise ValueError(f"exit_step={exit_step} must lie in [0, {len(sigmas) - 1}]")
    cache.begin_chunk()
    noisy = x0 = noise(chunk, 0)
    B, F = noisy.shape[:2]
    for step in range(last + 1):
        level = torch.full((B, F), sigmas[step], device=noisy.device, dtype=torch.float32)
        if step:
            noisy = add_noise(x0.detach(), noise(chunk, step), level)
        with torch.set_grad_enabled(grad and (step == last or estimates is not None)):
            early = step < last
            x0 = predict(model, noisy, level, condition, start=start, cache=cache, level=sigmas[step], early=early).x0
        if estimates is not None:
            estimates.append(x0)
    return x0


def commit_chunk(model: WanDiT | FusedDiT, cache: Cache, latents: Tensor, condition: Condition) -> None:
    """The pass over clean ``latents`` at noise level 0 that writes their keys; then the next chunk may begin."""
    with torch.no_grad():
        write_keys(model, latents.detach(), condition, start=cache.chunk * cache.cache.chunk_frames, cache=cache)
    cache.commit()


def rollout(
    model: WanDiT | FusedDiT,
    cache: Cache,
    condition: Condition,
    noise: NoiseFn,
    sigmas: tuple[float, ...],
    num_chunks: int,
    *,
    exit_step: int | None = None,
    grad: bool = False,
    estimates: list[Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the chunks of a video of ``num_chunks`` that the cache does not hold yet, each made from the model's own past.

    Args:
        condition: track latents of the whole video, ``num_chunks * chunk_frames`` latent frames.
        exit_step, grad, estimates: as in :func:`denoise_chunk`, for every chunk.
    """
    size = cache.cache.chunk_frames
    for index in range(cache.chunk, num_chunks):
        part = condition.frames(index * size, (index + 1) * size)
        latents = denoise_chunk(model, cache, part, noise, sigmas, exit_step=exit_step, grad=grad, estimates=estimates)
        commit_chunk(model, cache, latents, part)
        yield latents
