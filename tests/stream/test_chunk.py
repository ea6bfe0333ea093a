"""Chunks and takes hold arrays, which have no equality: each is equal to itself alone."""

from dataclasses import replace

import numpy as np

from motionstream.stream.chunk import Chunk, ChunkStats
from motionstream.stream.take import Take


def test_chunks_and_takes_can_be_compared_and_kept_in_sets():
    chunk = Chunk(np.zeros((4, 2, 2, 3), np.uint8), 0, ChunkStats(0, 0, 0, 0))
    take = Take("nano", 2, 2, 24.0, "", 0, None, np.zeros((2, 2, 3), np.uint8))
    same = replace(chunk, frames=chunk.frames.copy()), replace(take, picture=take.picture.copy())
    for one, other in zip((chunk, take), same, strict=True):
        assert one == one
        assert one != other
        assert other not in [one]
        assert len({one, one, other}) == 2
