import math

import numpy as np
import pytest

from motionstream.tracks.paths import (
    EASINGS,
    MotionPath,
    circle_path,
    ease,
    follow_path,
    line_path,
    move_mask,
    move_points,
    orbit_path,
    points_in_mask,
    walk,
    wave_path,
)

PHASE = np.linspace(0.0, 1.0, 101)


@pytest.mark.parametrize("name", EASINGS)
def test_easings_begin_at_0_end_at_1_and_never_go_back(name: str):
    assert ease(name, [0.0, 1.0]).tolist() == [0.0, 1.0]
    assert ease(name, [-3.0, 7.0]).tolist() == [0.0, 1.0]
    assert (np.diff(ease(name, PHASE)) > 0).all()
    slopes = np.diff(ease(name, [0.0, 1e-3, 1 - 1e-3, 1.0]))[[0, 2]] * 1e3
    slow = {"linear": (1, 1), "ease-in": (0, 2), "ease-out": (2, 0), "ease-in-out": (0, 0)}[name]
    assert slopes == pytest.approx(slow, abs=0.01)


def test_unknown_easing():
    with pytest.raises(ValueError, match="unknown easing 'bounce'; use one of linear, ease-in, ease-out, ease-in-out"):
        ease("bounce", 0.5)


def test_lines_and_polylines_are_walked_at_constant_speed():
    assert line_path((1, 2), (5, 2)).at([0.0, 0.25, 1.0]).tolist() == [[1, 2], [2, 2], [5, 2]]
    corner = follow_path([(0, 0), (30, 0), (30, 10)])
    assert corner.length_px == 40
    assert corner.at([0.0, 0.75, 0.875, 1.0]).tolist() == [[0, 0], [30, 0], [30, 5], [30, 10]]
    repeated = follow_path([(0, 0), (0, 0), (4, 0), (4, 0)])
    assert repeated.at([0.0, 0.5, 1.0]).tolist() == [[0, 0], [2, 0], [4, 0]]
    assert follow_path([(3, 4)]).at([0.0, 1.0]).tolist() == [[3, 4], [3, 4]]


def test_waves_swing_around_the_line():
    wave = wave_path((0, 50), (100, 50), amplitude_px=10, cycles=2)
    xy = wave.at(np.linspace(0, 1, 2000))
    assert xy[0] == pytest.approx([0, 50])
    assert xy[-1] == pytest.approx([100, 50])
    assert xy[:, 1] == pytest.approx(50 - 10 * np.sin(4 * math.pi * xy[:, 0] / 100), abs=0.01)  # its left is up
    steps = np.hypot(*np.diff(xy, axis=0).T)
    assert steps == pytest.approx(steps.mean(), rel=0.01)


@pytest.mark.parametrize("turns", [1.0, -1.0, 0.25, 2.5])
def test_circles_keep_their_radius(turns: float):
    circle = circle_path((70, 50), (50, 50), turns=turns)
    xy = circle.at(PHASE)
    assert np.hypot(*(xy - 50).T) == pytest.approx(20, abs=1e-3)
    angle = 2 * math.pi * turns * PHASE
    assert xy == pytest.approx(50 + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1), abs=1e-2)  # y down: clockwise
    assert circle.length_px == pytest.approx(2 * math.pi * 20 * abs(turns), rel=1e-4)
    assert circle.scale_at(PHASE) == pytest.approx(1)


def test_orbits_are_larger_in_front():
    orbit = orbit_path((80, 40), (50, 40), turns=1.0, flatten=0.5, depth=0.3)
    xy, scale = orbit.at(PHASE), orbit.scale_at(PHASE)
    assert ((xy[:, 0] - 50) / 30) ** 2 + ((xy[:, 1] - 40) / 15) ** 2 == pytest.approx(1, abs=1e-3)
    front, back = xy[:, 1].argmax(), xy[:, 1].argmin()
    assert scale[front] == pytest.approx(1 / 0.7, abs=0.01)
    assert scale[back] == pytest.approx(1 / 1.3, abs=0.01)
    assert scale[[0, -1]] == pytest.approx(1)
    behind = orbit_path((50, 25), (50, 40), turns=0.5, flatten=0.5, depth=0.3)  # begins at the back
    assert behind.scale_at(0.0) == pytest.approx(1)
    assert behind.scale_at(1.0) == pytest.approx(1.3 / 0.7)


def test_a_size_belongs_to_a_place_of_the_path():
    path = MotionPath(np.array([[0.0, 0], [10, 0], [40, 0]]), np.array([1.0, 2, 4]))
    assert path.scale_at([0.0, 0.25, 0.625, 1.0]).tolist() == [1, 2, 3, 4]


def test_walking_by_duration_and_speed():
    path = line_path((0, 0), (60, 0))
    assert walk(path, num_frames=5, fps=4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert walk(path, num_frames=5, fps=4, duration_s=0.5).tolist() == [0, 0.5, 1, 1, 1]
    assert walk(path, num_frames=5, fps=4, speed_px_s=120).tolist() == [0, 0.5, 1, 1, 1]
    assert walk(path, num_frames=5, fps=4, start_s=0.5).tolist() == [0, 0, 0, 0.5, 1]
    assert walk(path, num_frames=3, fps=2, easing="ease-in").tolist() == [0, 0.25, 1]
    still = follow_path([(3, 3)])
    assert walk(still, num_frames=3, fps=1, speed_px_s=5, start_s=1).tolist() == [0, 1, 1]


def test_points_in_a_mask():
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:40, 30:60] = True
    points = points_in_mask(mask, spacing_px=5.0)
    assert len(points) == 3 * 5 or len(points) == 4 * 6 or len(points) == 3 * 7  # a grid about the middle
    assert mask[np.floor(points[:, 1]).astype(int), np.floor(points[:, 0]).astype(int)].all()
    assert points.mean(axis=0) == pytest.approx([45, 30], abs=0.6)
    nearest = np.sort(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)), axis=1)[:, 1]
    assert nearest == pytest.approx(5)
    for most in (1, 7, 64):
        assert most / 3 <= len(points_in_mask(mask, max_points=most)) <= most
    ring = np.hypot(*(np.indices((41, 41)) - 20)) > 15
    ring &= np.hypot(*(np.indices((41, 41)) - 20)) < 18
    nearest_px = np.hypot(*(np.argwhere(ring) - 20).T).min()
    for spacing in (3.0, 1000.0):  # nothing in the middle to take hold of
        inside = points_in_mask(ring, spacing_px=spacing)
        assert len(inside) >= 1
        assert spacing < 1000 or np.hypot(*(inside[0] - 20.5)) == pytest.approx(nearest_px)
        assert ring[np.floor(inside[:, 1]).astype(int), np.floor(inside[:, 0]).astype(int)].all()


def test_points_in_a_mask_of_two_parts_lie_in_it():
    """Also where its middle is far from the canvas's, so that a grid around it reaches beyond."""
    mask = np.zeros((48, 64), dtype=bool)
    mask[2:30, :30] = mask[44:, 58:] = True
    for turned in (mask, mask[:, ::-1], mask[::-1], mask[::-1, ::-1]):
        points = points_in_mask(turned, spacing_px=3.0)
        assert ((points >= 0) & (points < (64, 48))).all()
        assert turned[points[:, 1].astype(int), points[:, 0].astype(int)].all()
        assert len(points) > 40
    dot = np.zeros((48, 64), dtype=bool)
    dot[7, 9] = True
    assert points_in_mask(dot).tolist() == [[9.5, 7.5]]


def test_a_thing_moves_rigidly():
    corners = np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]])
    path = line_path((0, 0), (40, 30))
    tracks = move_points(
        corners, path, np.array([0.0, 0.5, 1.0]), size=(100, 100), fps=8, rotate_deg=90, scale=2, first_id=5
    )
    assert tracks.ids.tolist() == [[5, 6, 7, 8]]
    assert tracks.xy[0, 0].numpy() == pytest.approx(corners)
    end = tracks.xy[0, 2].numpy()
    assert end.mean(axis=0) == pytest.approx([55, 45])
    assert end[0] == pytest.approx([55 + 10, 45 - 10])  # top left went to the top right, twice as far from the middle
    half = tracks.xy[0, 1].double().numpy()
    sides = np.hypot(*(np.roll(half, 1, axis=0) - half).T)
    assert sides == pytest.approx(10 * 2**0.5, abs=1e-4)
    pinned = move_points(corners, follow_path([(0, 0)]), np.array([0.0, 1.0]), size=(99, 99), fps=8, scale=3, pivot=(10, 10))
    assert pinned.xy[0, 1].tolist() == [[10, 10], [40, 10], [40, 40], [10, 40]]


def test_a_thing_goes_as_far_as_its_path_and_grows_as_that_says():
    corners = np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]])
    path = MotionPath(np.array([[50.0, 40], [70, 40]]), np.array([1.0, 2]))
    tracks = move_points(corners, path, np.array([0.0, 1.0]), size=(99, 99), fps=8)
    assert tracks.xy[0, 0].tolist() == corners.tolist()
    assert tracks.xy[0, 1].tolist() == [[25, 5], [45, 5], [45, 25], [25, 25]]


def test_a_mask_goes_there_and_may_leave_the_canvas():
    mask = np.zeros((48, 64), dtype=bool)
    mask[10:20, 10:20] = True
    path = line_path((15, 15), (15, 100))
    tracks = move_mask(mask, path, walk(path, num_frames=9, fps=8), fps=8, max_points=9, first_id=3)
    assert tracks.size == (48, 64)
    assert 4 <= tracks.num_tracks <= 9
    assert tracks.ids[0, 0] == 3
    assert tracks.visible[0, 0].all()
    assert not tracks.visible[0, -1].any()
    assert (tracks.xy[0, 1] - tracks.xy[0, 0]).numpy() == pytest.approx(
        np.tile([0, 85 / 8], (tracks.num_tracks, 1)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda: MotionPath(np.zeros((0, 2))), "points of the shape (M, 2) with M of at least 1"),
        (lambda: line_path((0, 0), (math.nan, 1)), "a path's points must be finite numbers"),
        (lambda: MotionPath(np.zeros((2, 2)), np.array([1.0, 0.0])), "as many scales above 0"),
        (lambda: wave_path((0, 0), (1, 1), math.inf), "amplitude_px must be a finite number, got inf"),
        (lambda: circle_path((0, 0), (1, 1), math.nan), "turns must be a finite number, got nan"),
        (lambda: orbit_path((0, 0), (1, 1), flatten=0.0), "flatten in (0, 1] and depth in [0, 1), got 0.0"),
        (lambda: walk(line_path((0, 0), (1, 0)), num_frames=2, fps=1, duration_s=1, speed_px_s=1), "give either"),
        (lambda: walk(line_path((0, 0), (1, 0)), num_frames=2, fps=1, speed_px_s=0), "speed_px_s must be a number above 0"),
        (lambda: walk(line_path((0, 0), (1, 0)), num_frames=0, fps=1), "num_frames must be at least 1"),
        (lambda: walk(line_path((0, 0), (1, 0)), num_frames=2, fps=1, start_s=-1), "start_s must be at least 0"),
        (lambda: points_in_mask(np.zeros((4, 6), dtype=bool)), "the mask of 6x4 pixels is empty; mark the object in it"),
        (lambda: points_in_mask(np.ones((4, 6))), "a mask must be (H, W) bool, got (4, 6) float64"),
        (lambda: points_in_mask(np.ones((4, 6), dtype=bool), max_points=0), "max_points must be 1 to 4096, got 0"),
        (lambda: points_in_mask(np.ones((4, 6), dtype=bool), spacing_px=0.0), "spacing_px must be a number above 0"),
        (lambda: move_points([[1, math.nan]], line_path((0, 0), (1, 1)), PHASE, size=(9, 9), fps=1), "finite numbers"),
        (
            lambda: move_points([[1, 1]], line_path((0, 0), (1, 1)), PHASE, size=(9, 9), fps=1, scale=0),
            "scale must be above 0",
        ),
    ],
)
def test_bad_values(broken, complaint: str):
    with pytest.raises(ValueError) as raised:
        broken()
    assert complaint in str(raised.value)
