"""How the things of suite drags are held: by a brush as a hand sets it down, or by points all over them."""

import numpy as np
import pytest

from motionstream.eval.drag_suite import FIRST_SCENE, DragSuite, summary
from motionstream.eval.drags import brush_points, drag_case, points_per_frame
from motionstream.eval.tasks import Gallery
from motionstream.stream.engine import load_engine


@pytest.fixture(scope="module")
def engine():
    return load_engine("tiny-debug", device="cpu", dtype="float32")


def test_a_brush_is_a_disc_on_the_middle_of_the_thing(engine):
    case = drag_case(engine, 3)
    frames = brush_points(case)
    assert len(frames) == len(case.points)
    ys, xs = case.old_alpha[0].gt(0.5).nonzero().unbind(1)
    middle = np.array([xs.float().mean() + 0.5, ys.float().mean() + 0.5])
    places = np.array([(point.x, point.y) for point in frames[0]])
    assert len(places) > 4
    assert np.linalg.norm(places - middle, axis=1).max() <= case.size_px / 2 + 1e-3
    assert np.abs(places - middle).min(axis=0) == pytest.approx([0, 0], abs=1e-3)
    moved = np.array([(point.x, point.y) for point in frames[-1]]) - places
    way = (case.points[-1, 0] - case.points[0, 0]).numpy()
    assert moved == pytest.approx(np.broadcast_to(way, moved.shape), abs=1e-3)
    assert [point.id for point in frames[-1]] == [point.id for point in frames[0]]


def test_a_brush_also_takes_what_lies_beside_and_points_all_over_do_not(engine):
    beside = all_over = 0
    for index in range(6):
        case = drag_case(engine, index)
        alpha = case.old_alpha[0].numpy()

        def off(points, alpha=alpha):
            return sum(alpha[int(point.y), int(point.x)] < 0.05 for point in points)

        beside += off(brush_points(case)[0])
        all_over += off(points_per_frame(case, 24, 0)[0])
    assert beside > 0
    assert all_over == 0


def test_a_brush_looks_for_its_thing_or_takes_all_that_it_covers(engine):
    case = drag_case(engine, 3)
    assert all(point.snap and point.group == 1 for point in brush_points(case)[0])
    assert not any(point.snap for point in brush_points(case, snap=False)[0])
    suite = DragSuite(engine, scenes=2, quick=True)
    assert {"brush", "brush_whole"} <= {task.condition for task in suite.tasks(Gallery())}


def test_scenes_for_choosing_are_not_measured(engine):
    suite = DragSuite(engine, scenes=2, quick=True)
    assert suite.samples == [f"scene-{FIRST_SCENE:03d}", f"scene-{FIRST_SCENE + 1:03d}"]
    assert suite.settings["first_scene"] == FIRST_SCENE == 64


def test_seeds_of_one_scene_make_a_share_no_surer():
    rows = [{"sample": f"scene-{k}", "error_pct": float(5 * (k % 2))} for k in range(8)]
    assert summary(3 * rows)["share_interval"] == summary(rows)["share_interval"]
    assert summary(3 * rows)["n"] == 24
