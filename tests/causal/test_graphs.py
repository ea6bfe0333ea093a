"""Recorded chunks are the chunks: what changes between them reaches a replay, and what cannot be recorded runs anyway."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from recording import Broken, Replayer

from motionstream.causal.graphs import ChunkGraphs, streams_to_record
from motionstream.causal.rollout import SeededNoise, commit_chunk, denoise_chunk
from motionstream.config import CacheConfig
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.kv_cache import SinkWindowCache

GRID, SIGMAS, CHUNKS = (2, 3), (1.0, 0.6), 12
CACHE = CacheConfig(chunk_frames=2, sink_chunks=1, window_chunks=2)


def parts(model: WanDiT, recorder) -> tuple[SinkWindowCache, ChunkGraphs]:
    ring = SinkWindowCache(model.config, CACHE, batch=1, grid=GRID)
    return ring, ChunkGraphs(FusedDiT(model, torch.float32), ring, recorder)


def noise_of(model: WanDiT, seed: int = 0) -> SeededNoise:
    return SeededNoise(seed, (1, CACHE.chunk_frames, model.config.latent_channels, *GRID), torch.device("cpu"))


def prompts_of(model: WanDiT, condition: Condition) -> Condition:
    other = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(5))
    return replace(condition, text=model.embed_text(other))


@torch.inference_mode()
def test_replays_give_the_latents_of_plain_runs_for_three_streams(model, condition_for):
    recorder = Replayer()
    ring, graphs = parts(model, recorder)
    for seed in range(3):
        ring.reset()
        condition, noise = condition_for(CHUNKS * 2, seed=seed), noise_of(model, seed)
        plain = SinkWindowCache(model.config, CACHE, batch=1, grid=GRID)
        for chunk in range(CHUNKS):
            if chunk == 7:  # the prompt changes in mid-stream
                condition = prompts_of(model, condition)
            part = condition.frames(chunk * 2, chunk * 2 + 2)
            wanted = denoise_chunk(model, plain, part, noise, SIGMAS)
            commit_chunk(model, plain, wanted, part)
            got = graphs.denoise(part, noise, SIGMAS)
            graphs.commit(got, part)
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0, msg=f"stream {seed}, chunk {chunk}")
    # 1 to 4 chunks visible for the first time, then the three places of the ring; each for denoising and the clean pass.
    assert graphs.num_graphs == recorder.recorded == 2 * (4 + 3)
    assert recorder.replayed > 2 * recorder.recorded


@pytest.mark.parametrize("cache", ["c3s1w1", "c2s1w2", "c1s2w4"])
@pytest.mark.parametrize("known", [1, 2, 21])
@torch.inference_mode()
def test_after_the_streams_of_a_warmup_every_chunk_is_a_replay(model, condition_for, cache, known):
    """``known``: latents of the picture that Wan 2.1 is given; each chunk among them has a layout of its own."""
    plan, recorder = CacheConfig.parse(cache), Replayer()
    ring = SinkWindowCache(model.config, plan, batch=1, grid=GRID)
    graphs = ChunkGraphs(FusedDiT(model, torch.float32), ring, recorder)
    size, counts = plan.chunk_frames, []
    noise = SeededNoise(0, (1, size, model.config.latent_channels, *GRID), torch.device("cpu"))
    whole = condition_for(40 * size)
    pictures = None if known == 1 else torch.zeros(1, known, model.config.latent_channels, *GRID)
    for length in (*streams_to_record(plan, known), 30):
        counts.append((recorder.recorded, graphs.num_graphs, recorder.replayed))
        ring.reset()
        for chunk in range(length):
            part = replace(whole.frames(chunk * size, (chunk + 1) * size), picture_latents=pictures)
            graphs.commit(graphs.denoise(part, noise, SIGMAS), part)
    assert counts[-1][0] > counts[-2][0] > 0, "the second stream of the warm-up was needed"
    assert recorder.recorded == counts[-1][0], "nothing was left to record"
    assert recorder.replayed - counts[-1][2] == 2 * 30, "every chunk, twice"


@torch.inference_mode()
def test_latents_are_not_overwritten_by_later_chunks(model, condition_for):
    ring, graphs = parts(model, Replayer())
    condition, noise, kept = condition_for(CHUNKS * 2), noise_of(model), []
    for chunk in range(CHUNKS):
        part = condition.frames(chunk * 2, chunk * 2 + 2)
        latents = graphs.denoise(part, noise, SIGMAS)
        kept.append((latents, latents.clone()))
        graphs.commit(latents, part)
    assert all(torch.equal(now, then) for now, then in kept)


@torch.inference_mode()
def test_another_number_of_steps_is_recorded_anew(model, condition_for):
    ring, graphs = parts(model, Replayer())
    condition = condition_for(CHUNKS * 2)
    for sigmas in ((1.0,), (1.0, 0.6), (1.0, 0.8, 0.3), (1.0,)):
        ring.reset()
        plain, noise = SinkWindowCache(model.config, CACHE, batch=1, grid=GRID), noise_of(model)
        for chunk in range(CHUNKS):
            part = condition.frames(chunk * 2, chunk * 2 + 2)
            wanted = denoise_chunk(model, plain, part, noise, sigmas)
            commit_chunk(model, plain, wanted, part)
            got = graphs.denoise(part, noise, sigmas)
            graphs.commit(got, part)
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0, msg=f"{sigmas}, chunk {chunk}")


@pytest.mark.parametrize("kind", [RuntimeError, LookupError])  # of torch, and of a compiler, say
@torch.inference_mode()
def test_what_cannot_be_recorded_runs_and_says_so(model, condition_for, kind):
    ring, graphs = parts(model, Broken(kind))
    condition, noise = condition_for(CHUNKS * 2), noise_of(model)
    plain, wanted, got = SinkWindowCache(model.config, CACHE, batch=1, grid=GRID), [], []
    for chunk in range(CHUNKS):
        part = condition.frames(chunk * 2, chunk * 2 + 2)
        wanted.append(denoise_chunk(model, plain, part, noise, SIGMAS))
        commit_chunk(model, plain, wanted[-1], part)

    def stream() -> None:
        for chunk in range(CHUNKS):
            part = condition.frames(chunk * 2, chunk * 2 + 2)
            got.append(graphs.denoise(part, noise, SIGMAS))
            graphs.commit(got[-1], part)

    with pytest.warns(RuntimeWarning, match="not as a recorded graph .operation not permitted") as warned:
        stream()
    torch.testing.assert_close(torch.stack(got), torch.stack(wanted), atol=1e-5, rtol=0)
    assert len(warned) == 1
    assert graphs.num_graphs == 0
    assert graphs.reason.startswith("not recorded: operation")


@torch.inference_mode()
def test_one_recording_that_fails_is_tried_again(model, condition_for):
    """A graph that ends meanwhile breaks a recording, and the next one not."""
    recorder = Broken(times=1)
    ring, graphs = parts(model, recorder)
    condition, noise = condition_for(CHUNKS * 2), noise_of(model)
    for chunk in range(CHUNKS):
        part = condition.frames(chunk * 2, chunk * 2 + 2)
        graphs.commit(graphs.denoise(part, noise, SIGMAS), part)
    assert graphs.num_graphs == recorder.then.recorded > 0
    assert recorder.tried == 1 + recorder.then.recorded
    assert graphs.reason == "recorded per layout"


@torch.inference_mode()
def test_without_a_recorder_nothing_is_recorded(model, condition_for):
    ring, graphs = parts(model, None)
    condition, noise = condition_for(8), noise_of(model)
    for chunk in range(4):
        part = condition.frames(chunk * 2, chunk * 2 + 2)
        graphs.commit(graphs.denoise(part, noise, SIGMAS), part)
    assert graphs.num_graphs == 0
    assert ring.chunk == 4
