import math

import numpy as np

from motionstream.tracking.choose import MovingPoints
from motionstream.tracking.live import LiveSeen


def seen(x: list[float], visible: list[bool] | None = None, ids: list[int] | None = None) -> LiveSeen:
    """Points born at (10 n, 0), now at x."""
    names = list(range(len(x))) if ids is None else ids
    xy = np.stack([np.array(x, np.float32), np.zeros(len(x), np.float32)], axis=1)
    born = np.array([[10 * n, 0] for n in names], np.float32)
    return LiveSeen(np.array(names), xy, np.array(visible or [True] * len(x)), born)


def shown(chosen: list[LiveSeen]) -> list[list[int]]:
    return [now.ids.tolist() for now in chosen]


def test_what_moves_is_shown_from_its_chunk_on_and_stays():
    chooser = MovingPoints(start_px=4, pin_spacing_px=0)
    assert shown(chooser.choose([seen([0, 10, 20]), seen([1, 13, 20])])) == [[], []]
    assert shown(chooser.choose([seen([2, 13, 20]), seen([2, 15, 20])])) == [[1], [1]]
    assert shown(chooser.choose([seen([0, 10, 20])])) == [[1]]  # back home, and held there
    assert shown(chooser.choose([seen([0, 10, 20], [True, False, True])])) == [[]]
    assert chooser.num_moving == 1
    assert shown(chooser.choose([seen([0, 20], ids=[0, 2])])) == [[]]  # it is gone
    assert shown(chooser.choose([seen([0, 10, 20])])) == [[]]  # and another of that place would begin anew


def test_resting_points_are_sprinkled():
    chooser = MovingPoints(start_px=4, pin_spacing_px=25)
    resting = [10.0 * n for n in range(8)]
    assert shown(chooser.choose([seen(resting)])) == [[0, 3, 6]]
    moved = [*resting[:3], 36.0, *resting[4:]]
    assert shown(chooser.choose([seen(resting), seen(moved)])) == [[0, 3, 6], [0, 3, 6]]  # 3 is shown because it moves now
    assert chooser.num_moving == 1
    assert shown(chooser.choose([seen(moved)])) == [[0, 3, 6]]


def test_all_points_or_none():
    everything = MovingPoints(start_px=math.inf, pin_spacing_px=1e-6)
    assert shown(everything.choose([seen([0, 10, 90])])) == [[0, 1, 2]]
    nothing = MovingPoints(start_px=math.inf, pin_spacing_px=0)
    assert shown(nothing.choose([seen([0, 10, 90])])) == [[]]


def test_what_will_move_is_shown_where_it_still_rests():
    chooser = MovingPoints(start_px=4, pin_spacing_px=0)
    ahead = [seen([1, 10, 20]), seen([5, 10, 20])]
    assert shown(chooser.choose([seen([0, 10, 20])], ahead)) == [[0]]
    assert shown(chooser.choose(ahead)) == [[0], [0]]
