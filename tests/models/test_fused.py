"""The streaming form of the DiT is the reference: same latents, same cache, same weights."""

from collections.abc import Callable

import pytest
import torch

from motionstream.causal.rollout import SeededNoise, commit_chunk, denoise_chunk, rollout
from motionstream.config import CacheConfig, ModelConfig, TrackConfig
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import SinkWindowCache

GRID, SIGMAS, CHUNKS = (4, 6), (1.0, 0.7, 0.3), 6
FORMS = {
    "nano": {"first_frame": "repeat", "prediction": "x0", "patch": 1},
    "wan2.1": {"first_frame": "concat", "prediction": "velocity", "patch": 2, "image_dim": 12, "time_precision": "float32"},
    "wan2.1-grey": {"first_frame": "concat", "prediction": "velocity", "patch": 2, "after_picture": "grey"},
    "wan2.2": {"first_frame": "clean", "prediction": "velocity", "patch": 2, "time_precision": "float32"},
    "text": {"first_frame": "none", "prediction": "velocity", "patch": 1, "tracks": TrackConfig(channels=0)},
}


def made(form: str, seed: int = 0) -> WanDiT:
    """Random in all weights, norms and biases included."""
    small = {"latent_channels": 4, "dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 3, "freq_dim": 16}
    config = ModelConfig(
        **{**small, "text_dim": 8, "text_len": 3, "tracks": TrackConfig(code_dim=4, channels=4)} | FORMS[form]
    )
    model, generator = WanDiT(config).eval().requires_grad_(False), torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        flat = weight.ndim == 1 or "modulation" in name
        weight.copy_(
            1 + 0.2 * noise if "norm" in name and "weight" in name else noise * (0.3 if flat else weight[0].numel() ** -0.5)
        )
    return model


def condition_of(model: WanDiT, num_frames: int, seed: int = 1) -> Condition:
    generator, config = torch.Generator().manual_seed(seed), model.config

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    first = None if config.first_frame == "none" else random(1, 1, 4, *GRID)
    grey = random(1, 7, 4, *GRID) if config.after_picture == "grey" else None
    tracks = random(1, num_frames, 4, *GRID) if config.tracks.channels else None
    image = model.embed_image(random(1, 5, config.image_dim)) if config.image_dim else None
    return Condition(first, tracks, model.embed_text(random(1, 3, 8)), image, grey)


def streamed(model: WanDiT | FusedDiT, condition: Condition, cache: CacheConfig, dtype=torch.float32) -> torch.Tensor:
    patch = model.config.patch
    grid = (GRID[0] // patch, GRID[1] // patch)
    ring = SinkWindowCache(model.config, cache, batch=1, grid=grid, dtype=dtype)
    noise = SeededNoise(0, (1, cache.chunk_frames, 4, *GRID), torch.device("cpu"))
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        return torch.cat(list(rollout(model, ring, condition, noise, SIGMAS, CHUNKS)), 1)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", FORMS)
def test_latents_are_the_references(form: str, compiled: bool):
    model, cache = made(form), CacheConfig(chunk_frames=2)
    condition = condition_of(model, CHUNKS * 2)
    wanted = streamed(model, condition, cache)
    got = streamed(FusedDiT(model, torch.float32, compiled=compiled), condition, cache)
    assert wanted.std() > 0.3
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_stays_near_the_reference(form: str):
    """Relative RMS over 6 chunks, against float32: no more than the reference's own under autocast by half again."""
    model, cache = made(form), CacheConfig(chunk_frames=2)
    condition = condition_of(model, CHUNKS * 2)
    exact = streamed(model, condition, cache)

    def error(of: torch.Tensor) -> float:
        return float((of - exact).norm() / exact.norm())

    reference = error(streamed(model, condition, cache, torch.bfloat16))
    fused = error(streamed(FusedDiT(model, torch.bfloat16), condition, cache, torch.bfloat16))
    assert 1e-5 < fused <= max(1.5 * reference, 0.02), (fused, reference)


def test_the_cache_after_a_commit_is_the_references():
    model, cache = made("nano"), CacheConfig(chunk_frames=2)
    condition, fused, rings = condition_of(model, 2), FusedDiT(made("nano"), torch.float32), []
    noise = SeededNoise(0, (1, 2, 4, *GRID), torch.device("cpu"))
    for one in (model, fused):
        ring = SinkWindowCache(model.config, cache, batch=1, grid=GRID)
        with torch.inference_mode():
            latents = denoise_chunk(one, ring, condition, noise, SIGMAS)
            commit_chunk(one, ring, latents, condition)
        rings.append(ring)
    for name in ("keys", "raw_keys", "values"):
        one, other = (getattr(ring, name) for ring in rings)
        assert one[:, :, : rings[0].chunk_tokens].abs().min(-1).values.max() > 0, "every token was written"
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5, msg=name)


def test_joined_weights_are_views_and_leave_the_reference_as_it_was():
    model, untouched = made("wan2.1"), made("wan2.1")
    fused = FusedDiT(model, torch.float32)
    joined = fused.blocks[0].qkv.weight
    assert model.blocks[0].self_attn.k.weight.untyped_storage().data_ptr() == joined.untyped_storage().data_ptr()
    for (name, ours), theirs in zip(model.state_dict().items(), untouched.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_modulation_is_made_once_a_level():
    fused = FusedDiT(made("wan2.2"), torch.float32)
    assert fused.times(0.7, 2) is fused.times(0.7, 2)
    clean, noisy = fused.times(0.7, 2, first_clean=True), fused.times(0.7, 2)
    for one, other, zero in zip(clean.blocks[0], noisy.blocks[0], fused.times(0.0, 2).blocks[0], strict=True):
        assert other.shape == zero.shape == (48,)
        torch.testing.assert_close(one[0, 1, 0], other)
        torch.testing.assert_close(one[0, 0, 0], zero)
        assert not torch.allclose(one[0, 0, 0], other)


def test_steps_allocate_no_cache_and_leave_buffers_in_place():
    model, cache = made("nano"), CacheConfig(chunk_frames=2)
    condition, fused = condition_of(model, 2), FusedDiT(model, torch.float32)
    ring = SinkWindowCache(model.config, cache, batch=1, grid=GRID)
    noise = SeededNoise(0, (1, 2, 4, *GRID), torch.device("cpu"))
    places: Callable[[], list[int]] = lambda: [t.data_ptr() for t in (ring.keys, ring.raw_keys, ring.values)]  # noqa: E731
    before = places()
    with torch.inference_mode():
        for _ in range(5):
            commit_chunk(fused, ring, denoise_chunk(fused, ring, condition, noise, SIGMAS), condition)
    assert places() == before
