"""A source that is asked chunk by chunk: its end falls anywhere, and what was held is held to the end of the chunk."""

from types import SimpleNamespace

import numpy as np
import pytest

from motionstream.stream.follow import follow


class Session:
    """Chunks of 3, then 4 frames; notes the points of every frame."""

    def __init__(self):
        self.index, self.given = 0, []

    def frames_in_chunk(self, index):
        return 3 if index == 0 else 4

    def step_frames(self, frames):
        assert len(frames) == self.frames_in_chunk(self.index)
        self.given += frames
        self.index += 1
        return SimpleNamespace(index=self.index - 1)


def sights(count):
    return [SimpleNamespace(ids=np.array([5]), xy=np.array([[float(t), 2.0]], np.float32)) for t in range(count)]


@pytest.mark.parametrize(("count", "seen"), [(0, []), (2, [2]), (3, [3]), (5, [3, 2]), (7, [3, 4]), (8, [3, 4, 1])])
def test_the_source_ends_anywhere(count, seen):
    session, rest = Session(), iter(sights(count))
    made = list(follow(session, lambda n: [now for _, now in zip(range(n), rest, strict=False)]))
    assert [len(part) for _, part in made] == seen
    assert [chunk.index for chunk, _ in made] == list(range(len(seen)))
    given = [frame[0].x for frame in session.given]
    assert given == [min(t, count - 1) for t in range(len(given))]
    assert all((frame[0].id, frame[0].y) == (5, 2.0) for frame in session.given)
