"""Whatever hands do, in any order: what was seen is what the take replays, bit for bit, and points stay numbers."""

import contextlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.stream.performance import Performance
from motionstream.stream.take import Take

ACTIONS = {
    "step": 8, "grab": 4, "pin": 2, "path": 3, "move": 6, "release": 3, "remove": 2, "camera": 2, "prompt": 1, "branch": 2,
    "settle": 1, "open": 0.5,
}  # fmt: skip
SNAPSHOT_BYTES = (1, 200_000, 10**9)  # few ways back, some, all


class Hands:
    """Random input to a performance, and what came of it."""

    def __init__(self, engine, picture: np.ndarray, seed: int, snapshot_bytes: int) -> None:
        self.engine, self.snapshot_bytes = engine, snapshot_bytes
        self.random = random.Random(seed)
        geometry = engine.preset.geometry
        self.width, self.height = geometry.width, geometry.height
        self.show = Performance(engine, picture, "a cup", seed=seed % 5, snapshot_bytes=snapshot_bytes)
        self.seen: list[np.ndarray] = []  # the frames of each chunk of the take
        self.last_id = 0

    def act(self) -> None:
        name = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        with contextlib.suppress(ValueError):  # of what cannot be done now
            getattr(self, name)()

    def place(self) -> tuple[float, float]:
        beyond = 2.0 if self.random.random() < 0.1 else 0.0
        x, y = (self.random.uniform(-beyond * side, (1 + beyond) * side) for side in (self.width, self.height))
        return x, y

    def some_id(self) -> int:
        return self.random.randint(1, max(self.last_id, 1))

    def step(self) -> None:
        chunk = self.show.step()
        assert chunk.index == len(self.seen)
        assert all(np.isfinite((mark.x, mark.y)).all() for frame in chunk.marks for mark in frame)
        self.seen.append(chunk.frames)

    def begin(self) -> tuple[int, list[tuple[float, float]], int]:
        self.last_id += 1
        (x, y), count = self.place(), self.random.choice([1, 1, 3, 8, 30])
        points = [(x + self.random.uniform(-5, 5), y + self.random.uniform(-5, 5)) for _ in range(count)]
        return self.last_id, points, self.random.randint(0, self.show.frame + 3)

    def grab(self) -> None:
        self.show.live.grab(*self.begin(), t=1, snap=self.random.random() < 0.5)

    def pin(self) -> None:
        self.show.live.pin(*self.begin(), t=1)

    def path(self) -> None:
        key, points, seen = self.begin()
        way = [self.place() for _ in range(self.random.choice([2, 3, 9]))]
        ease, mode = self.random.choice(["linear", "smooth"]), self.random.choice(["once", "loop", "swing"])
        self.show.live.path(key, points, way, self.random.choice([0.05, 0.3, 3.0]), ease, mode, seen, t=1, snap=True)

    def move(self) -> None:
        dx, dy, angle = (self.random.uniform(-far, far) for far in (40, 40, 7))
        self.show.live.move(self.some_id(), (dx, dy, angle, self.random.choice([1.0, 1.3, 0.05, 20.0])), t=1)

    def release(self) -> None:
        self.show.live.release(self.some_id(), t=1)

    def remove(self) -> None:
        self.show.live.remove(self.some_id(), t=1)

    def camera(self) -> None:
        pan = self.random.choice([(0.0, 0.0), (50.0, -20.0), (-200.0, 9.0)])
        self.show.live.camera(pan, self.random.choice([0.0, 0.0, 1.0, -4.0]), self.random.choice([0.0, 0.0, 6.0]), t=1)

    def prompt(self) -> None:
        self.show.live.prompt(self.random.choice(["", "a cup", "other words"]))

    def branch(self) -> None:
        chunk = self.random.randint(0, self.show.chunk + 1)
        self.show.branch(chunk)
        self.seen = self.seen[:chunk]

    def settle(self) -> None:
        self.show.settle()

    def open(self) -> None:
        """The take is saved and opened again, in part: from there on the hands are live."""
        take = Take.from_json(self.show.take.to_json())
        self.show.close()
        self.show = Performance.of_take(self.engine, take, snapshot_bytes=self.snapshot_bytes)
        played = self.random.randint(0, take.num_chunks)
        assert all(np.array_equal(self.show.step().frames, frames) for frames in self.seen[:played])
        self.show.branch(played)
        self.seen = self.seen[:played]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), snapshot_bytes=st.sampled_from(SNAPSHOT_BYTES), actions=st.integers(8, 30))
def test_the_take_says_what_was_seen(engine, seed, snapshot_bytes, actions):
    geometry = engine.preset.geometry
    picture = np.random.default_rng(0).integers(0, 256, (geometry.height, geometry.width, 3), dtype=np.uint8)
    hands = Hands(engine, picture, seed, snapshot_bytes)
    for _ in range(actions):
        hands.act()
    take = Take.from_json(hands.show.take.to_json())
    assert take.inputs == hands.show.take.inputs
    assert take.num_chunks == len(hands.seen)
    hands.show.close()
    with Performance.of_take(engine, take) as again:
        for index, frames in enumerate(hands.seen):
            assert np.array_equal(again.step().frames, frames), f"chunk {index} of {take.num_chunks}"
    with pytest.raises(ValueError, match="closed"):
        again.step()
