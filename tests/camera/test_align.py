from pathlib import Path

import numpy as np
import pytest

from motionstream.camera.align import align_scale, load_known_points
from motionstream.camera.depth import DepthMap
from motionstream.camera.pose import Pose


def test_a_known_scale_is_recovered(world):
    """The LLFF protocol: a relative map, sparse true points of which some are wrong, one factor."""
    rng = np.random.default_rng(0)
    xy = rng.uniform([0, 0], [128, 96], size=(200, 2))
    known = world.depth_at(xy, Pose())
    relative = world.depth_map().scaled(1 / 3.7, metric=False)
    exact = align_scale(relative, xy, known, world.pinhole.size)
    assert exact.scale == pytest.approx(3.7, rel=1e-6)
    assert exact.spread == pytest.approx(0, abs=1e-6)
    assert exact.num_points == 200
    noisy = known * np.exp(rng.normal(0, 0.02, 200))
    noisy[:40] *= 5  # wrong matches
    found = align_scale(relative, xy, noisy, world.pinhole.size)
    assert found.scale == pytest.approx(3.7, rel=0.02)
    assert 0.005 < found.spread < 0.05


def test_points_that_cannot_be_used_are_left_out():
    depth = DepthMap(values=np.full((4, 4), 2.0), metric=False, source="it")
    xy = np.array([[1.0, 1.0], [9.0, 1.0], [np.nan, 1.0], [2.0, 2.0], [2.0, 2.0]])
    found = align_scale(depth, xy, np.array([6.0, 60.0, 60.0, -1.0, np.inf]), (4, 4))
    assert (found.scale, found.num_points) == (pytest.approx(3.0), 1)
    with pytest.raises(ValueError, match="none of the 2 known points lies within 4x4 pixels"):
        align_scale(depth, xy[1:3], np.array([1.0, 1.0]), (4, 4))
    with pytest.raises(ValueError, match="must be"):
        align_scale(depth, xy, np.ones(3), (4, 4))


def test_files_of_known_points(tmp_path: Path):
    path = tmp_path / "points.txt"
    path.write_text("# x y depth\n1 2 3.5\n\n4.5, 6, 7  # a corner\n")
    xy, depth = load_known_points(path)
    assert xy.tolist() == [[1, 2], [4.5, 6]]
    assert depth.tolist() == [3.5, 7]
    for text, complaint in (("1 2\n", "line 1: write 'x y depth'"), ("a b c", "line 1"), ("# none", "holds no known point")):
        path.write_text(text)
        with pytest.raises(ValueError, match=complaint):
            load_known_points(path)
    with pytest.raises(ValueError, match="check the path"):
        load_known_points(tmp_path / "nowhere.txt")
