"""Rivals are what they say they are, and the report holds both sides."""

import pytest
import torch

from motionstream.bench.contestants import Ours
from motionstream.bench.naive import Naive
from motionstream.bench.versus import RIVALS, ROUND_CHUNKS, measure_versus
from motionstream.bench.whole import Whole


def test_naive_makes_our_latents_while_positions_agree(engine):
    """Up to chunk sink + window; from then on its sink is farther back in time than ours."""
    ours, naive = Ours(engine), Naive(engine)
    agree = engine.preset.cache.sink_chunks + engine.preset.cache.window_chunks
    for chunk in range(agree + 3):
        ours.chunk()
        naive.chunk()
        off = float((ours.latents - naive.latents).norm() / ours.latents.norm())
        assert (off < 1e-5) == (chunk <= agree), (chunk, off)
    ours.close()
    naive.close()


def test_naive_forgets_what_leaves_its_window(engine):
    naive = Naive(engine)
    for _ in range(6):
        naive.chunk()
    cache, tokens = naive.forward.caches[0], naive.tokens
    assert cache.k.shape[1] == 3 * tokens
    assert int(cache.held) == 3 * tokens
    assert int(cache.seen) == 6 * tokens
    sink = cache.k[:, :tokens].clone()
    naive.chunk()
    assert torch.equal(naive.forward.caches[0].k[:, :tokens], sink)
    naive.close()


def test_diffusers_sees_the_visible_chunks_again(engine, monkeypatch):
    pytest.importorskip("diffusers")
    whole, seen = Whole(engine), []
    run = whole.model.forward
    monkeypatch.setattr(whole.model, "forward", lambda x, t, *a, **k: seen.append((x.shape[2], t)) or run(x, t, *a, **k))
    for _ in range(4):
        stats = whole.chunk()
    steps, size = len(whole.given.sigmas), engine.preset.cache.chunk_frames
    assert [frames for frames, _ in seen] == [n for chunks in (1, 2, 3, 3) for n in [chunks * size] * steps]
    assert (seen[-1][1][0, : -size * whole.cells] == 0).all()
    assert (seen[-1][1][0, -size * whole.cells :] > 0).all()
    assert sorted(whole.past) == [0, 3]
    assert stats.commit_ms == 0
    assert torch.isfinite(whole.latents).all()
    whole.close()


@pytest.mark.parametrize("name", RIVALS)
def test_a_report_holds_both_sides_and_their_ratio(engine, name):
    if name == "diffusers":
        pytest.importorskip("diffusers")
    versus = measure_versus(engine, name, rounds=2)["vs"]
    assert versus["name"] == name
    assert versus["rounds"] == 2
    assert versus["chunks_per_round"] == ROUND_CHUNKS
    ours, theirs = versus["ours"], versus["theirs"]
    assert versus["ratio"] == pytest.approx(theirs["chunk_ms"]["p50"] / ours["chunk_ms"]["p50"], rel=0.05)
    low, high = versus["ratio_of_rounds"]
    assert low <= versus["ratio"] * 1.5
    assert high >= versus["ratio"] / 1.5


def test_unknown_rivals_are_refused(engine):
    with pytest.raises(ValueError, match="--vs magic is unknown: use one of naive, diffusers"):
        measure_versus(engine, "magic", rounds=1)
