import itertools

import pytest
import torch

from motionstream.config import CacheConfig
from motionstream.nn.masks import chunk_mask, visible_chunks


@pytest.mark.parametrize(("c", "s", "w"), list(itertools.product((1, 2, 3), range(4), range(4))))
def test_mask_is_the_definition_and_agrees_with_visible_chunks(c, s, w):
    cache = CacheConfig(chunk_frames=c, sink_chunks=s, window_chunks=w)
    frames, tokens = 7 * c, 2
    mask = chunk_mask(frames, tokens, cache)
    assert mask.shape == (frames * tokens, frames * tokens)
    for query in range(frames * tokens):
        for key in range(frames * tokens):
            mine, other = query // tokens // c, key // tokens // c
            in_sink, in_window = other < s, mine - w <= other
            assert bool(mask[query, key]) == (other <= mine and (in_sink or in_window or other == mine))
            assert bool(mask[query, key]) == (other in visible_chunks(mine, cache))


@pytest.mark.parametrize(("s", "w"), list(itertools.product(range(4), range(4))))
def test_visible_chunks_are_ordered_and_bounded(s, w):
    cache = CacheConfig(sink_chunks=s, window_chunks=w)
    for chunk in range(20):
        seen = visible_chunks(chunk, cache)
        assert seen == sorted(set(seen))
        assert seen[-1] == chunk
        assert len(seen) == min(chunk, s + w) + 1


def test_a_last_chunk_may_be_incomplete():
    cache = CacheConfig(chunk_frames=3, sink_chunks=0, window_chunks=0)
    assert torch.equal(chunk_mask(4, 1, cache).sum(1), torch.tensor([3, 3, 3, 1]))
