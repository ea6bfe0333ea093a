"""Both caches give attention the same keys, at the positions the paper names; nothing tentative survives."""

import pytest
import torch
from torch import Tensor

from motionstream.config import CacheConfig, ModelConfig
from motionstream.nn.attention import attention_reference
from motionstream.nn.kv_cache import HistoryCache, SinkWindowCache
from motionstream.nn.masks import visible_chunks
from motionstream.nn.rope import rotary_table, rotate

GRID = (2, 2)
MODEL = ModelConfig(dim=24, num_heads=2, num_layers=2, ffn_dim=8)
PLANS = [(c, s, w) for c in (1, 2) for s in (0, 1, 2) for w in (0, 1, 3)]


def plan(c: int, s: int, w: int) -> CacheConfig:
    return CacheConfig(chunk_frames=c, sink_chunks=s, window_chunks=w)


def ring(cache: CacheConfig, batch: int = 1) -> SinkWindowCache:
    return SinkWindowCache(MODEL, cache, batch=batch, grid=GRID)


def pair(cache: CacheConfig, generator: torch.Generator, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Random keys and values of one chunk."""
    return tuple(torch.randn(2, batch, cache.chunk_frames * 4, 2, 12, generator=generator))


def fill(store: SinkWindowCache | HistoryCache, chunks: list[list[tuple[Tensor, Tensor]]]) -> None:
    for layers in chunks:
        store.begin_chunk()
        for layer, (k, v) in enumerate(layers):
            store.extend(layer, k, v)
        store.commit()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state_of(store: SinkWindowCache) -> list[Tensor]:
    return [torch.tensor(store.chunk), store.keys, store.raw_keys, store.values]


@pytest.mark.parametrize(("c", "s", "w"), PLANS)
def test_ring_history_and_definition_agree_for_30_chunks(c, s, w):
    cache, generator = plan(c, s, w), seeded()
    store, history = ring(cache), HistoryCache(MODEL, cache, grid=GRID)
    raw = []
    for chunk in range(30):
        store.begin_chunk()
        history.begin_chunk()
        for _ in range(2):  # a tentative pass and the final one
            layers = [pair(cache, generator) for _ in range(MODEL.num_layers)]
            for layer, (k, v) in enumerate(layers):
                q = torch.randn(1, 4 * c, 2, 12, generator=generator)
                ours = attention_reference(rotate(q, store.table), *store.extend(layer, k, v))
                kept = attention_reference(rotate(q, history.table), *history.extend(layer, k, v))
                seen = [i for i in range(chunk) if i < s or i >= chunk - w]
                tables = [rotary_table(torch.arange(n * c, (n + 1) * c), *GRID, 12) for n in range(len(seen) + 1)]
                keys = [rotate(x, t) for x, t in zip([*(raw[i][layer][0] for i in seen), k], tables, strict=True)]
                values = [*(raw[i][layer][1] for i in seen), v]
                wanted = attention_reference(rotate(q, tables[-1]), torch.cat(keys, 1), torch.cat(values, 1))
                torch.testing.assert_close(ours, wanted, atol=1e-6, rtol=0)
                torch.testing.assert_close(kept, wanted, atol=1e-6, rtol=0)
        raw.append(layers)
        store.commit()
        history.commit()


@pytest.mark.parametrize(("c", "s", "w"), PLANS)
def test_every_visible_chunk_lies_in_the_ring_once_at_its_slot(c, s, w):
    cache, generator = plan(c, s, w), seeded(1)
    store = ring(cache)
    chunks = [[pair(cache, generator) for _ in range(MODEL.num_layers)] for _ in range(12)]
    for chunk, layers in enumerate(chunks):
        store.begin_chunk()
        seen = visible_chunks(chunk, cache)
        for layer, (k, v) in enumerate(layers):
            keys, values = store.extend(layer, k, v)
            assert keys.shape[1] == values.shape[1] == len(seen) * 4 * c
            found = values.unflatten(1, (len(seen), -1))[0]
            for slot, index in enumerate(seen):
                place = [n for n in range(len(seen)) if torch.equal(found[n], chunks[index][layer][1][0])]
                assert len(place) == 1, f"chunk {index} in chunk {chunk}"
                table = rotary_table(torch.arange(slot * c, (slot + 1) * c), *GRID, 12)
                torch.testing.assert_close(
                    keys.unflatten(1, (len(seen), -1))[:, place[0]], rotate(chunks[index][layer][0], table)
                )
        store.commit()


def test_peeking_leaves_no_trace():
    cache = plan(2, 1, 2)
    generator = seeded(2)
    chunks = [[pair(cache, generator) for _ in range(2)] for _ in range(8)]
    plain, peeked = ring(cache), ring(cache)
    for chunk in chunks:
        plain.begin_chunk()
        peeked.begin_chunk()
        for layer in (0, 1, 0, 1):  # two tentative passes with other contents
            peeked.extend(layer, *pair(cache, generator))
        for layer, (k, v) in enumerate(chunk):
            wanted = plain.extend(layer, k, v)
            got = peeked.extend(layer, k, v)
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        plain.commit()
        peeked.commit()
    assert all(torch.equal(a, b) for a, b in zip(state_of(plain), state_of(peeked), strict=True))


def test_an_abandoned_chunk_can_be_begun_again():
    cache, generator = plan(1, 1, 1), seeded(3)
    chunks = [[pair(cache, generator) for _ in range(2)] for _ in range(6)]
    plain, retried = ring(cache), ring(cache)
    fill(plain, chunks)
    for chunk in chunks:
        retried.begin_chunk()
        retried.extend(0, *pair(cache, generator))  # interrupted in the middle of a forward
        fill(retried, [chunk])
    assert all(torch.equal(a, b) for a, b in zip(state_of(plain), state_of(retried), strict=True))


def test_the_sink_stays_for_ever():
    cache, generator = plan(1, 2, 1), seeded(4)
    chunks = [[pair(cache, generator) for _ in range(2)] for _ in range(50)]
    store = ring(cache)
    fill(store, chunks[:3])
    keys, values = store.keys[:, :, :8].clone(), store.values[:, :, :8].clone()
    fill(store, chunks[3:])
    assert torch.equal(store.keys[:, :, :8], keys)
    assert torch.equal(store.values[:, :, :8], values)
    assert torch.equal(values[0, 0, 4:], chunks[1][0][1][0])


def test_reset_forgets_and_keeps_buffers():
    cache, generator = plan(1, 1, 1), seeded(5)
    chunks = [[pair(cache, generator) for _ in range(2)] for _ in range(5)]
    store, fresh = ring(cache), ring(cache)
    place, nbytes = store.keys.data_ptr(), store.nbytes
    fill(store, chunks)
    store.begin_chunk()
    store.reset()
    assert (store.chunk, store.keys.data_ptr(), store.nbytes) == (0, place, nbytes)
    for chunk in chunks:
        for each in (store, fresh):
            each.begin_chunk()
        for layer, (k, v) in enumerate(chunk):
            got, wanted = store.extend(layer, k, v), fresh.extend(layer, k, v)
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        store.commit()
        fresh.commit()


@pytest.mark.parametrize(("c", "s", "w"), PLANS)
@pytest.mark.parametrize("at", [0, 1, 2, 3, 6])
def test_restore_goes_back_to_the_snapshot(c, s, w, at):
    cache, generator = plan(c, s, w), seeded(6)
    chunks = [[pair(cache, generator) for _ in range(2)] for _ in range(11)]
    store, straight = ring(cache), ring(cache)
    fill(store, chunks[:at])
    fill(straight, chunks[:at])
    saved = store.snapshot()
    fill(store, [[pair(cache, generator) for _ in range(2)] for _ in range(4)])  # another branch
    store.restore(saved)
    assert store.chunk == at
    for chunk in chunks[at:]:
        store.begin_chunk()
        straight.begin_chunk()
        for layer, (k, v) in enumerate(chunk):
            got, wanted = store.extend(layer, k, v), straight.extend(layer, k, v)
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        store.commit()
        straight.commit()


def test_snapshots_of_a_stream_share_the_sink():
    cache, generator = plan(2, 1, 1), seeded(6)
    store = ring(cache)
    fill(store, [[pair(cache, generator) for _ in range(2)] for _ in range(4)])
    early = store.snapshot()
    fill(store, [[pair(cache, generator) for _ in range(2)]])
    late = store.snapshot(early)
    assert late.pages[0] is early.pages[0]
    assert sorted(late.pages) == [0, 4]
    assert late.pages[4] is not early.pages.get(4)


def test_nbytes_counts_what_is_held():
    cache = plan(3, 1, 2)
    store = SinkWindowCache(MODEL, cache, batch=2, grid=GRID, dtype=torch.bfloat16)
    tokens = 4 * 3 * 4
    assert cache.slots * 4 == tokens
    assert store.nbytes == 3 * 2 * (MODEL.num_layers * 2 * tokens * MODEL.dim)


def test_misuse_is_caught():
    cache = plan(1, 1, 1)
    store, history = ring(cache), HistoryCache(MODEL, cache, grid=GRID)
    with pytest.raises(AssertionError, match="begin_chunk"):
        store.extend(0, *pair(cache, seeded()))
    with pytest.raises(AssertionError, match="begin_chunk"):
        store.commit()
    history.begin_chunk()
    history.extend(0, *pair(cache, seeded()))
    with pytest.raises(AssertionError, match="every layer"):
        history.commit()


@pytest.mark.parametrize("end", ["commit", "drop_chunk", "reset", "restore"])
def test_each_chunk_must_be_begun(end):
    store, state = ring(plan(1, 1, 1)), ring(plan(1, 1, 1)).snapshot()
    store.begin_chunk()
    with pytest.raises(AssertionError, match="snapshot"):
        store.snapshot()
    getattr(store, end)(*[state] * (end == "restore"))
    for call in (store.commit, lambda: store.slots(0), lambda: store.extend(0, *pair(plan(1, 1, 1), seeded()))):
        with pytest.raises(AssertionError, match="begin_chunk"):
            call()
    store.snapshot()


@pytest.mark.parametrize("detach", [True, False])
def test_history_cuts_gradients_unless_told_not_to(detach):
    cache = plan(1, 1, 1)
    history = HistoryCache(MODEL, cache, grid=GRID, detach=detach)
    past, now = (tuple(x.requires_grad_() for x in pair(cache, seeded(n))) for n in range(2))
    fill(history, [[past, past]])
    history.begin_chunk()
    keys, values = history.extend(0, *now)
    (keys.sum() + values.sum()).backward()
    assert all(x.grad is not None for x in now)
    assert all((x.grad is None) == detach for x in past)
