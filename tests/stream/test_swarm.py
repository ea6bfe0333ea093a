"""Points that no hand moves: of too many, some all over the picture are kept, and the same ones in the next chunk."""

import numpy as np

from motionstream.stream.swarm import POINTS_PER_SWARM, Swarm

SIZE = (832, 480)


def grid(names: np.ndarray, across: int = 40) -> np.ndarray:
    """(2, N, 2): names count up row by row, as those of every source do."""
    row, column = names // across, names % across
    return np.stack([np.stack([column * 20.0 + 10, row * 20.0 + 10], -1)] * 2)


def test_few_points_are_all_kept():
    names = np.arange(POINTS_PER_SWARM)
    swarm = Swarm.of("motion", names.tolist(), grid(names), np.ones((2, len(names)), bool), SIZE)
    assert swarm.ids == tuple(names.tolist())


def test_of_too_many_points_some_are_kept_all_over_the_picture():
    names = np.arange(920)
    swarm = Swarm.of("camera", names.tolist(), grid(names), np.ones((2, len(names)), bool), SIZE)
    assert len(swarm.ids) == POINTS_PER_SWARM
    places = np.array([row[1:] for row in swarm.at(0)])
    counts, _, _ = np.histogram2d(places[:, 0], places[:, 1], bins=(4, 4), range=((0, 800), (0, 460)))
    assert counts.min() > 0.5 * POINTS_PER_SWARM / 16
    assert list(swarm.ids) == sorted(swarm.ids)


def test_a_point_that_was_kept_is_kept_again_while_others_come_and_go():
    before = np.arange(920)
    after = np.arange(100, 1000)
    kept = [
        set(Swarm.of("motion", names.tolist(), grid(names), np.ones((2, len(names)), bool), SIZE).ids)
        for names in (before, after)
    ]
    still = {name for name in kept[0] if name >= 100}
    assert len(still & kept[1]) > 0.85 * len(still)


def test_joined_parts_keep_the_same_points():
    names = np.arange(500)
    parts = [
        Swarm.of("motion", some.tolist(), grid(some), np.ones((2, len(some)), bool), SIZE)
        for some in (names[:300], names[200:])
    ]
    joined = Swarm.joined("motion", [(0, parts[0]), (2, parts[1])], 4)
    assert len(joined.ids) == POINTS_PER_SWARM
    assert joined.num_frames == 4
    shown = [{name for name, _, _ in joined.at(t)} for t in (0, 3)]
    assert shown[0] <= set(parts[0].ids)
    assert shown[1] <= set(parts[1].ids)
