"""Cursor events between two chunks become points of every frame."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.stream.points import Point
from motionstream.stream.pushes import merge_pairs, resample_pushes, taken_hold


def positions(frames: list[list[Point]], name: int) -> list[tuple[float, float] | None]:
    return [next(((p.x, p.y) for p in frame if p.id == name), None) for frame in frames]


def test_a_held_point_stays_where_it_is():
    frames, held = resample_pushes({1: Point(1, 3.0, 4.0)}, [], 4)
    assert positions(frames, 1) == [(3.0, 4.0)] * 4
    assert held == {1: Point(1, 3.0, 4.0)}


def test_one_event_is_reached_in_the_last_frame():
    frames, held = resample_pushes({1: Point(1, 0.0, 0.0)}, [(9.0, [Point(1, 8.0, 4.0)])], 4)
    assert positions(frames, 1) == [(2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (8.0, 4.0)]
    assert held[1].x == 8.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 60), st.floats(0, 30)), min_size=1, max_size=30),
    st.integers(1, 12),
)
def test_the_latest_event_wins(events, num_frames):
    time, pushes = 0.0, []
    for gap, x, y in events:
        time += gap
        pushes.append((time, [Point(1, x, y)]))
    frames, held = resample_pushes({}, pushes, num_frames)
    assert len(frames) == num_frames
    assert positions(frames, 1)[-1] == pytest.approx(events[-1][1:])
    assert (held[1].x, held[1].y) == events[-1][1:]
    xs = [x for _, x, _ in events]
    assert all(min(xs) - 1e-6 <= p[0] <= max(xs) + 1e-6 for p in positions(frames, 1) if p)


def test_release_and_grab_again():
    gone = [(0.0, [Point(1, 5.0, 5.0)]), (1.0, [Point(1, 6.0, 5.0, False)])]
    frames, held = resample_pushes({1: Point(1, 4.0, 5.0)}, gone, 4)
    assert held == {}
    assert positions(frames, 1)[-1] is None
    assert positions(frames, 1)[0] is not None
    back = [*gone, (2.0, [Point(1, 30.0, 9.0)])]
    frames, held = resample_pushes({1: Point(1, 4.0, 5.0)}, back, 8)
    path = positions(frames, 1)
    assert path[-1] == (30.0, 9.0)
    assert None in path, "let go in between"
    assert all(p is None or p[0] <= 6 or p == (30.0, 9.0) for p in path), "nothing slides from one grab to the next"
    assert resample_pushes({}, [(0.0, [Point(5, 1.0, 1.0, False)])], 3) == ([[], [], []], {})


def test_let_go_and_grabbed_again_at_once_is_seen_as_two():
    """Between two frames: what was held would be dragged to where the point is next."""
    held = {1: Point(1, 10, 10)}
    gone, back = [Point(1, 11, 10, False)], [Point(1, 90, 90)]
    events = [(0.0, [Point(1, 11, 10)]), (0.14, gone), (0.141, back), (0.3, [Point(1, 92, 90)])]
    frames, after = resample_pushes(held, events, 12)
    seen = [[point.x for point in frame] for frame in frames]
    let_go = seen.index([])
    assert all(x < 20 for frame in seen[:let_go] for x in frame)
    assert all(x > 80 for frame in seen[let_go + 1 :] for x in frame)
    assert (after[1].x, after[1].y) == (92, 90)
    frames, after = resample_pushes(held, events[:3], 12)  # the last event of all: it is held from the next chunk on
    assert (frames[-1], after[1].x) == ([], 90)


def test_merged_events_keep_that_a_point_was_let_go():
    events = [(0.1 * t, [Point(1, float(t), 5.0, visible=t != 6)]) for t in range(20)]
    merged = merge_pairs(events)
    assert len(events) > len(merged) >= 10
    assert [point.visible for _, points in merged for point in points].count(False) == 1
    flickering = [(0.1 * t, [Point(1, float(t), 5.0, visible=bool(t % 2))]) for t in range(20)]
    flickering[3][1].append(Point(2, 5.0, 5.0, visible=False))
    merged = merge_pairs(flickering)
    assert len(merged) == 11  # or they would become more and more
    assert Point(2, 5.0, 5.0, visible=False) in merged[0][1]


def test_before_the_first_frame_a_point_takes_hold_where_it_was_pushed_first():
    grab, far, other = Point(1, 40.0, 40.0), Point(1, 48.0, 40.0), Point(2, 5.0, 5.0)
    now, later = taken_hold([(0.0, [grab]), (0.1, [far, other])])
    assert now == [(0.0, [grab]), (0.1, [other])]
    assert later == [(0.1, [far])]
    frames, held = resample_pushes({}, now, 1)
    assert frames == [[grab, other]]
    frames, _ = resample_pushes(held, later, 4)
    assert [point.x for point in frames[-1]] == [48.0, 5.0]
