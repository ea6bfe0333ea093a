import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.tracks.strokes import (
    Stroke,
    assign_ids,
    brush_offsets,
    kinds_by_id,
    stroke_from_json,
    stroke_to_json,
    tracks_from_strokes,
)

SIZE = (48, 64)


def sampled(stroke: Stroke, num_frames: int = 9, fps: float = 4):
    return tracks_from_strokes([stroke], num_frames=num_frames, fps=fps, size=SIZE)


def xs_of(stroke: Stroke, **how) -> list[float | None]:
    tracks = sampled(stroke, **how)
    shown = zip(tracks.xy[0, :, 0, 0].tolist(), tracks.visible[0, :, 0].tolist(), strict=True)
    return [x if seen else None for x, seen in shown]


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 50), st.floats(2, 60))
def test_brush_is_a_disc_with_its_centre_first(radius, spacing):
    offsets = brush_offsets(radius, spacing)
    assert offsets[0].tolist() == [0, 0]
    assert (np.hypot(*offsets.T) <= radius + 1e-6).all()
    assert len({tuple(offset) for offset in offsets.tolist()}) == len(offsets)
    assert sorted(map(tuple, (-offsets).tolist())) == sorted(map(tuple, offsets.tolist()))


def test_brush_sizes():
    assert [len(brush_offsets(radius, 8)) for radius in (0, 7.9, 8, 12, 16)] == [1, 1, 5, 9, 13]
    assert len(brush_offsets(0.3, 0.1)) == 29, "0.3 / 0.1 is below 3"
    for radius, spacing in ((-1, 8), (8, 0)):
        with pytest.raises(ValueError, match="a brush needs"):
            brush_offsets(radius, spacing)
    assert len(brush_offsets(36, 1)) == 4053
    for radius, spacing in ((37, 1), (1e6, 1), (20, 1e-300)):
        with pytest.raises(ValueError, match="raise spacing_px"):
            brush_offsets(radius, spacing)


def test_begins_late_pauses_and_holds_or_releases():
    points = [(0.5, 10, 5), (1.0, 20, 5), (1.5, 20, 5), (1.75, 30, 5)]
    assert xs_of(Stroke(points=points)) == [None, None, 10, 15, 20, 20, 20, 30, 30]
    assert xs_of(Stroke(points=points, hold=False)) == [None, None, 10, 15, 20, 20, 20, 30, None]


def test_irregular_and_duplicate_times():
    points = [(0.0, 0, 5), (0.1, 4, 5), (0.1, 10, 5), (0.4, 40, 5), (0.4, 10, 5)]
    assert xs_of(Stroke(points=points), num_frames=5, fps=10) == pytest.approx([0, 10, 20, 30, 10])
    assert xs_of(Stroke(points=[(0.25, 1, 1), (0.25, 7, 1)]), num_frames=3) == [None, 7, 7]


def test_a_time_stamp_that_means_a_frame_meets_it():
    """In binary 3 * 0.1 is later than 0.3, and 7 / 10 earlier than 0.7000000001."""
    begun = Stroke(points=[(0.1 + 0.2, 7, 1), (0.6, 7, 1)], hold=False)
    assert xs_of(begun, num_frames=9, fps=10) == [None] * 3 + [7] * 4 + [None] * 2
    late = Stroke(points=[(0.3 + 1e-9, 7, 1), (0.6 - 1e-9, 7, 1)], hold=False)
    assert xs_of(late, num_frames=9, fps=10) == [None] * 3 + [7] * 4 + [None] * 2


def test_a_click_between_two_frames_shows_in_the_next_one():
    assert xs_of(Stroke(points=[(0.3, 7, 1)], hold=False), num_frames=4) == [None, None, 7, None]
    assert xs_of(Stroke(points=[(9.0, 7, 1)], hold=False), num_frames=4) == [None] * 4


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 60), st.integers(1, 40))
def test_uniform_motion_is_sampled_exactly_at_any_rate(fps, num_frames):
    tracks = sampled(Stroke(points=[(0, 2, 3), (100, 62, 33)]), num_frames=num_frames, fps=fps)
    times_s = np.arange(num_frames) / fps
    np.testing.assert_allclose(tracks.xy[0, :, 0, 0].numpy(), 2 + 0.6 * times_s, rtol=1e-5)
    np.testing.assert_allclose(tracks.xy[0, :, 0, 1].numpy(), 3 + 0.3 * times_s, rtol=1e-5)


def test_rotation_and_scale_about_the_cursor():
    stroke = Stroke(points=[(0, 32, 24), (1, 32, 24)], radius_px=8, rotate_deg=90, scale=2.0)
    tracks = sampled(stroke, num_frames=6)
    right = brush_offsets(8, 8).tolist().index([8, 0])
    assert tracks.xy[0, 0, right].tolist() == [40, 24]
    halfway = 8 * np.sqrt(2)  # it grows by equal factors
    assert np.hypot(*(tracks.xy[0, 2, right].numpy() - (32, 24))) == pytest.approx(halfway)
    assert tracks.xy[0, 4, right].tolist() == pytest.approx([32, 40])  # clockwise on the screen: right goes down
    assert tracks.xy[0, 5].tolist() == tracks.xy[0, 4].tolist()
    assert tracks.xy[0, 4, 0].tolist() == [32, 24]


def test_brush_points_off_the_canvas_are_invisible():
    tracks = sampled(Stroke(points=[(0, 0.5, 20)], radius_px=8))
    assert tracks.visible[0, 0].sum() == 4


def test_ids_are_named_or_free():
    brush = {"radius_px": 8}
    strokes = [Stroke(points=[(0, 1, 1)]), Stroke(points=[(0, 9, 9)], id=1, kind="pin", **brush)]
    strokes.append(Stroke(points=[(0, 1, 1)], kind="path", radius_px=8))
    assert assign_ids(strokes) == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert assign_ids(strokes, first_id=4) == [[6], [1, 2, 3, 4, 5], [7, 8, 9, 10, 11]]
    assert tracks_from_strokes(strokes, 3, 16, SIZE).ids.tolist() == [list(range(11))]
    assert tracks_from_strokes(strokes, 3, 16, SIZE, first_id=4).ids[0, :2].tolist() == [6, 1]
    assert kinds_by_id(strokes)[0] == "drag"
    assert kinds_by_id(strokes)[5] == "pin"
    assert kinds_by_id(strokes)[6] == "path"
    assert kinds_by_id(strokes, first_id=4)[6] == "drag"
    with pytest.raises(ValueError, match="track id 5; a brush of M points"):
        assign_ids([strokes[1], Stroke(points=[(0, 1, 1)], id=5)])


def test_no_strokes_and_bad_lengths():
    assert tracks_from_strokes([], 3, 16, SIZE).num_tracks == 0
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        tracks_from_strokes([Stroke(points=[(0, 1, 1)])], 0, 16, SIZE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": []}, "1 to 1000000 points"),
        ({"points": [(0, 1)]}, r"must be \[seconds, x, y\]"),
        ({"points": [(0, 1, float("nan"))]}, "finite numbers"),
        ({"points": [(0, -1e10, 1)]}, "finite numbers"),
        ({"points": [(0, True, 1)]}, "finite numbers"),
        ({"points": [(-1, 1, 1)]}, "start at 0 or later"),
        ({"points": [(1, 1, 1), (0.5, 1, 1)]}, "never decrease, got 0.5"),
        ({"kind": "push"}, "one of drag, pin, path, got 'push'"),
        ({"id": -1}, "at least 0, got -1"),
        ({"id": 1.5}, "whole number"),
        ({"hold": "no"}, "hold must be true or false"),
        ({"snap": 1}, "snap must be true or false"),
        ({"id": True}, "whole number"),
        ({"radius_px": "3"}, "radius_px must be a finite number"),
        ({"radius_px": -1}, "a brush needs"),
        ({"scale": 0}, "above 0"),
    ],
)
def test_bad_strokes_say_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        Stroke(**{"points": [(0, 1, 1)], **changes})


@pytest.mark.parametrize(
    "points", [np.array([[0, 1, 1], [1, 2, 3]]), [np.float32([0, 1, 1]), (np.int64(1), np.float16(2), np.longdouble(3))]]
)
def test_numbers_of_numpy_are_numbers(points):
    more = {
        "id": np.int64(7),
        "radius_px": np.float32(4),
        "scale": np.int16(1),
        "hold": np.bool_(False),
        "kind": np.str_("pin"),
    }
    stroke = Stroke(points=points, **more)
    assert stroke == Stroke(points=[(0, 1, 1), (1, 2, 3)], id=7, radius_px=4.0, hold=False, kind="pin")
    form = {"id": 7, "kind": "pin", "radius_px": 4.0, "hold": False, "points": [[0, 1, 1], [1, 2, 3]]}
    assert json.loads(json.dumps(stroke_to_json(stroke))) == form
    for name, value in (("id", np.True_), ("radius_px", np.True_), ("radius_px", np.float32("nan")), ("scale", np.ones(2))):
        with pytest.raises(ValueError, match=f"a stroke's {name} must be"):
            Stroke(**{"points": points, name: value})


def test_json_form_keeps_only_what_differs():
    stroke = Stroke(points=[(0, 1, 1)], radius_px=4.0)
    assert stroke_to_json(stroke) == {"radius_px": 4.0, "points": [[0, 1, 1]]}
    assert stroke_from_json(stroke_to_json(stroke)) == stroke
    assert stroke_to_json(replace(stroke, snap=False)) == {"radius_px": 4.0, "snap": False, "points": [[0, 1, 1]]}
