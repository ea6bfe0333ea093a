"""The chunk loop: equal to its uncached definition, causal, reproducible, and with gradients only where they belong."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from motionstream.causal.reference import reference_keys, reference_output
from motionstream.causal.rollout import SeededNoise, commit_chunk, denoise_chunk, rollout
from motionstream.config import CacheConfig
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.nn.kv_cache import HistoryCache, SinkWindowCache
from motionstream.nn.masks import chunk_mask

GRID = (2, 3)
SIGMAS = (1.0, 0.6)
PLANS = [
    (1, 0, 0),
    (1, 0, 1),
    (1, 1, 0),
    (1, 1, 3),
    (2, 0, 3),
    (2, 1, 1),
    (2, 2, 1),
    (3, 1, 1),
    (1, 3, 0),
    (1, 3, 3),
    (2, 0, 0),
]


def plan(c: int, s: int, w: int) -> CacheConfig:
    return CacheConfig(chunk_frames=c, sink_chunks=s, window_chunks=w)


def ring(model: WanDiT, cache: CacheConfig, batch: int = 1) -> SinkWindowCache:
    return SinkWindowCache(model.config, cache, batch=batch, grid=GRID)


def history(model: WanDiT, cache: CacheConfig) -> HistoryCache:
    return HistoryCache(model.config, cache, grid=GRID)


def noise_for(model: WanDiT, cache: CacheConfig, seed: int = 0, batch: int = 1) -> SeededNoise:
    return SeededNoise(seed, (batch, cache.chunk_frames, model.config.latent_channels, *GRID), torch.device("cpu"))


def reference_rollout(
    model: WanDiT, cache: CacheConfig, condition: Condition, noise: Callable[[int, int], Tensor], chunks: int
) -> list[Tensor]:
    """The method on one page: each chunk from noise in few steps, seeing raw keys of the chunks it may see."""
    past, made = [], []
    for chunk in range(chunks):
        x = x0 = noise(chunk, 0)
        for step, sigma in enumerate(SIGMAS):
            if step:
                x = (1 - sigma) * x0 + sigma * noise(chunk, step)
            x0 = condition.first_latent + reference_output(model, x, sigma, past, condition, cache)
            if chunk == 0:
                x0 = torch.cat([condition.first_latent, x0[:, 1:]], 1)
        past.append(reference_keys(model, x0, past, condition, cache))
        made.append(x0)
    return made


@pytest.mark.parametrize(("c", "s", "w"), PLANS)
def test_cached_rollouts_equal_the_uncached_one_for_30_chunks(model, condition_for, c, s, w):
    cache, chunks = plan(c, s, w), 30
    condition, noise = condition_for(chunks * c), noise_for(model, cache)
    with torch.no_grad():
        wanted = torch.stack(reference_rollout(model, cache, condition, noise, chunks))
        streamed = torch.stack(list(rollout(model, ring(model, cache), condition, noise, SIGMAS, chunks)))
        trained = torch.stack(list(rollout(model, history(model, cache), condition, noise, SIGMAS, chunks)))
    torch.testing.assert_close(streamed, wanted, atol=2e-5, rtol=0)
    torch.testing.assert_close(trained, wanted, atol=2e-5, rtol=0)
    assert wanted[1:].std() > 0.3


def test_rollout_depends_on_sink_window_and_chunk_size(model, condition_for):
    """Otherwise the test above could not fail."""
    condition, made = condition_for(24), {}
    for c, s, w in [(1, 0, 1), (1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 1)]:
        cache = plan(c, s, w)
        noise = SeededNoise(0, (1, 1, 4, *GRID), torch.device("cpu"))

        def spread(chunk: int, step: int, c: int = c, noise: SeededNoise = noise) -> Tensor:
            return torch.cat([noise(chunk * c + i, step) for i in range(c)], 1)

        chunks = rollout(model, ring(model, cache), condition, spread, SIGMAS, 24 // c)
        made[cache.tag] = torch.cat(list(chunks), 1).detach()
    tags = list(made)
    for i, one in enumerate(tags):
        for other in tags[i + 1 :]:
            assert (made[one][:, -6:] - made[other][:, -6:]).abs().max() > 1e-3, (one, other)


def test_batches_do_not_mix(model, condition_for):
    cache = plan(2, 1, 1)
    condition, noise = condition_for(12, batch=2), noise_for(model, cache, batch=2)
    both = torch.cat(list(rollout(model, ring(model, cache, 2), condition, noise, SIGMAS, 6)), 1)
    text = [(k[1:], v[1:]) for k, v in condition.text]
    alone = Condition(condition.first_latent[1:], condition.track_latents[1:], text)
    one = torch.cat(list(rollout(model, ring(model, cache), alone, lambda c, s: noise(c, s)[1:], SIGMAS, 6)), 1)
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("c", "s", "w"), [(2, 1, 1), (1, 2, 1), (1, 0, 2), (2, 0, 1), (1, 1, 2)])
def test_masked_forward_equals_the_cache_until_slots_leave_absolute_time(model, condition_for, c, s, w):
    cache, chunks = plan(c, s, w), 7
    condition, store = condition_for(chunks * c), ring(model, cache)
    clean = torch.randn(1, chunks * c, 4, *GRID, generator=torch.Generator().manual_seed(1))
    for chunk in range(chunks):
        here = slice(chunk * c, (chunk + 1) * c)
        part = condition.frames(here.start, here.stop)
        store.begin_chunk()
        level = torch.full((1, c), 0.5)
        cached = predict(model, clean[:, here] + 1, level, part, start=here.start, cache=store).x0
        commit_chunk(model, store, clean[:, here], part)
        noisy, sigma = clean[:, : here.stop].clone(), torch.zeros(1, here.stop)
        noisy[:, here] += 1
        sigma[:, here] = 0.5
        mask = chunk_mask(here.stop, GRID[0] * GRID[1], cache)
        masked = predict(model, noisy, sigma, condition.frames(0, here.stop), mask=mask).x0[:, here]
        # With no sink, slots are absolute time less a shift, which rotary positions cannot see.
        if chunk <= s + w or s == 0:
            torch.testing.assert_close(cached, masked, atol=1e-5, rtol=0)
        else:
            assert (cached - masked).abs().max() > 1e-4


@pytest.mark.parametrize("make", [ring, history])
def test_the_future_never_changes_the_past(model, condition_for, make):
    cache, chunks, cut = plan(2, 1, 1), 6, 3
    condition, noise = condition_for(12), noise_for(model, cache)
    tracks = condition.track_latents.clone()
    tracks[:, cut * 2 :] += 1
    other = Condition(condition.first_latent, tracks, condition.text)

    def later(chunk: int, step: int) -> Tensor:
        return noise(chunk, step) + (chunk >= cut)

    plain = list(rollout(model, make(model, cache), condition, noise, SIGMAS, chunks))
    for changed in (
        list(rollout(model, make(model, cache), other, noise, SIGMAS, chunks)),
        list(rollout(model, make(model, cache), condition, later, SIGMAS, chunks)),
    ):
        for chunk in range(chunks):
            assert torch.equal(plain[chunk], changed[chunk]) == (chunk < cut), chunk


def test_gradients_flow_through_the_exit_step_alone(model, condition_for):
    cache, sigmas = plan(2, 1, 1), (1.0, 0.7, 0.4)
    condition = condition_for(6)
    leaves = {(k, s): torch.randn(1, 2, 4, *GRID, requires_grad=True) for k in range(3) for s in range(3)}
    tracks = condition.track_latents.clone().requires_grad_()
    condition = Condition(condition.first_latent, tracks, condition.text)
    args = (model, history(model, cache), condition, lambda k, s: leaves[k, s], sigmas, 3)
    made = list(rollout(*args, exit_step=1, grad=True))
    made[2].sum().backward()
    reached = {key for key, leaf in leaves.items() if leaf.grad is not None and leaf.grad.abs().max() > 0}
    assert reached == {(2, 1)}, "only the noise of chunk 2 before its exit step"
    assert tracks.grad[:, :4].abs().max() == 0, "nothing crosses chunks through the cache"
    assert tracks.grad[:, 4:].abs().max() > 0


def test_weight_gradient_is_that_of_the_exit_step_with_a_frozen_past(model, condition_for):
    cache, condition = plan(1, 1, 1), condition_for(4)
    noise = noise_for(model, cache)
    made = list(rollout(model, history(model, cache), condition, noise, SIGMAS, 4, exit_step=1, grad=True))
    made[3].square().sum().backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    past = []
    with torch.no_grad():
        for latents in made[:3]:
            past.append(reference_keys(model, latents, past, condition, cache))
        first = condition.first_latent + reference_output(model, noise(3, 0), SIGMAS[0], past, condition, cache)
        x = (1 - SIGMAS[1]) * first + SIGMAS[1] * noise(3, 1)
    out = condition.first_latent + reference_output(model, x, SIGMAS[1], past, condition, cache)
    out.square().sum().backward()
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert got.keys() == wanted.keys()
    for name, grad in wanted.items():
        torch.testing.assert_close(got[name], grad, atol=1e-4, rtol=1e-3, msg=name)


def test_every_estimate_carries_its_own_gradient_and_no_other(model, condition_for):
    cache, condition = plan(2, 1, 1), condition_for(4)
    leaves = {(k, s): torch.randn(1, 2, 4, *GRID, requires_grad=True) for k in range(2) for s in range(len(SIGMAS))}
    seen: list[Tensor] = []
    args = (model, history(model, cache), condition, lambda k, s: leaves[k, s], SIGMAS, 2)
    made = list(rollout(*args, grad=True, estimates=seen))
    assert len(seen) == 2 * len(SIGMAS)
    for chunk, latents in enumerate(made):
        assert torch.equal(seen[(chunk + 1) * len(SIGMAS) - 1], latents), "the last estimate is the chunk"
    for place, estimate in enumerate(seen):
        grads = torch.autograd.grad(estimate.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
        reached = {key for key, grad in zip(leaves, grads, strict=True) if grad is not None and grad.abs().max() > 0}
        assert reached == {divmod(place, len(SIGMAS))}


def test_estimates_change_nothing(model, condition_for):
    cache, condition = plan(2, 1, 1), condition_for(4)
    noise, seen = noise_for(model, cache), []
    plain = list(rollout(model, ring(model, cache), condition, noise, SIGMAS, 2))
    kept = list(rollout(model, ring(model, cache), condition, noise, SIGMAS, 2, estimates=seen))
    assert all(torch.equal(a, b) for a, b in zip(plain, kept, strict=True))


def test_without_grad_nothing_is_recorded(model, condition_for):
    cache = plan(1, 1, 1)
    for latents in rollout(model, history(model, cache), condition_for(3), noise_for(model, cache), SIGMAS, 3):
        assert not latents.requires_grad


def test_a_half_precision_exit_step_keeps_the_gradients_of_products(model, condition_for):
    """The steps before it run without gradients, and autocast keeps the weights that it cast for them."""
    cache, condition = plan(1, 1, 1), condition_for(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        args = (condition, noise_for(model, cache), SIGMAS, 2)
        made = list(rollout(model, history(model, cache), *args, exit_step=1, grad=True))
    made[1].float().square().sum().backward()
    got = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    list(rollout(model, history(model, cache), *args, exit_step=1, grad=True))[1].square().sum().backward()
    wanted = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert wanted == {name for name, grad in got.items() if grad is not None}
    model.zero_grad()


def test_exit_step_takes_the_first_steps_and_is_checked(model, condition_for):
    cache, condition = plan(2, 1, 1), condition_for(2)
    noise = noise_for(model, cache)
    early = denoise_chunk(model, ring(model, cache), condition, noise, SIGMAS, exit_step=0)
    single = denoise_chunk(model, ring(model, cache), condition, noise, SIGMAS[:1])
    assert torch.equal(early, single)
    for step in (-1, 2):
        with pytest.raises(ValueError, match=f"exit_step={step}"):
            denoise_chunk(model, ring(model, cache), condition, noise, SIGMAS, exit_step=step)


def test_noise_depends_on_seed_chunk_and_step_alone(model):
    shape = (1, 2, 4, *GRID)
    noise = SeededNoise(3, shape, torch.device("cpu"))
    late = noise(7, 1)
    for other in (noise(7, 0), noise(6, 1), SeededNoise(4, shape, torch.device("cpu"))(7, 1)):
        assert not torch.allclose(late, other)
    torch.manual_seed(99)
    assert torch.equal(late, SeededNoise(3, shape, torch.device("cpu"))(7, 1))
    assert abs(torch.stack([noise(k, 0) for k in range(200)]).std() - 1) < 0.05


def test_no_two_chunks_of_any_seeds_share_their_noise():
    drawn = {
        float(SeededNoise(seed, (1,), torch.device("cpu"))(chunk, step))
        for seed in range(4)
        for chunk in range(6)
        for step in range(3)
    }
    assert len(drawn) == 4 * 6 * 3


def test_same_seed_same_video_other_seed_another(model, condition_for):
    cache, condition = plan(2, 1, 1), condition_for(8)
    one, same, other = (
        torch.cat(list(rollout(model, ring(model, cache), condition, noise_for(model, cache, seed), SIGMAS, 4)), 1)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert (one[:, 1:] - other[:, 1:]).abs().min(2).values.max() > 1e-3
    assert torch.equal(one[:, 0], condition.first_latent[:, 0]), "latent frame 0 is the picture"


@torch.no_grad()
@pytest.mark.parametrize("make", [ring, history])
def test_a_rollout_goes_on_from_what_the_cache_holds(model, condition_for, make):
    cache, condition = plan(2, 1, 1), condition_for(8)
    noise, store = noise_for(model, cache), make(model, cache)
    wanted = list(rollout(model, make(model, cache), condition, noise, SIGMAS, 4))
    first = list(rollout(model, store, condition, noise, SIGMAS, 1))
    rest = list(rollout(model, store, condition, noise, SIGMAS, 4))
    assert (len(first), len(rest)) == (1, 3)
    for one, other in zip(first + rest, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def live_bytes() -> int:
    gc.collect()
    return sum(t.numel() * t.element_size() for t in gc.get_objects() if type(t) is Tensor)


def test_200_chunks_in_constant_memory(model, condition_for):
    cache = plan(1, 1, 1)
    condition, store = condition_for(200), ring(model, cache)
    places, nbytes = [t.data_ptr() for t in (store.keys, store.raw_keys, store.values)], store.nbytes
    held = {}
    for index, latents in enumerate(rollout(model, store, condition, noise_for(model, cache), (1.0,), 200)):
        if index in (20, 199):
            held[index] = live_bytes()
            assert torch.isfinite(latents).all()
            assert latents.std() < 50
    assert held[20] == held[199]
    assert store.nbytes == nbytes
    assert places == [t.data_ptr() for t in (store.keys, store.raw_keys, store.values)]
