"""The LLFF protocol on a scene that is drawn here: a textured wall with COLMAP's files written by hand."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motionstream.camera.pose import Pinhole, Pose, quaternion_of, turn
from motionstream.errors import UserError
from motionstream.eval.colmap import read_colmap
from motionstream.eval.datasets import TREES
from motionstream.eval.llff_cases import METRIC_SIZE, LLFFCases
from motionstream.shapes import VideoGeometry

GEOMETRY = VideoGeometry(height=48, width=64)
SIZE, FOCAL, WALL, UNIT = (96, 128), 120.0, 4.0, 2.5
"""COLMAP's world is larger than the depth map's unit by UNIT."""


def camera_of(k: int) -> Pose:
    return Pose(position=(0.3 * k * UNIT, 0.1 * k * UNIT, 0.0), rotation=turn(pan_deg=1.0 * k))


def write_scene(folder: Path, texture: np.ndarray, views: int = 3) -> None:
    """Pictures of a wall at depth WALL, and the model that COLMAP would make of them, in its own unit."""
    (folder / "images").mkdir(parents=True)
    (folder / "sparse" / "0").mkdir(parents=True)
    (folder / "depth").mkdir()
    H, W = SIZE
    pinhole = Pinhole(size=SIZE, focal_px=FOCAL, centre=(W / 2, H / 2))
    x, y = np.meshgrid(np.linspace(-1.5, 2.0, 7), np.linspace(-1.2, 1.4, 5))
    wall = np.stack([x.ravel(), y.ravel(), np.full(x.size, WALL)], axis=1) * UNIT
    images = struct.pack("<Q", views)
    for k in reversed(range(views)):  # COLMAP does not sort
        pose = camera_of(k)
        xy, depth = pinhole.project(pose.to_camera(wall))
        turned = pose.matrix.T  # world to camera
        place = -turned @ np.array(pose.position)
        images += struct.pack("<i4d3di", k + 1, *quaternion_of(turned), *place, 1) + f"v{k}.png".encode() + b"\0"
        images += struct.pack("<Q", len(wall) + 1) + struct.pack("<ddq", 1.0, 1.0, -1)
        images += b"".join(struct.pack("<ddq", *point, n + 1) for n, point in enumerate(xy.tolist()))
        Image.fromarray(texture[8 * k : 8 * k + H, 4 * k : 4 * k + W]).resize((W, H)).save(folder / "images" / f"v{k}.png")
    model = folder / "sparse" / "0"
    (model / "images.bin").write_bytes(images)
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, 2, W, H, FOCAL, W / 2, H / 2, 0.01))
    points = struct.pack("<Q", len(wall))
    for n, point in enumerate(wall.tolist()):
        points += struct.pack("<Q3d3BdQ", n + 1, *point, 1, 2, 3, 0.5, 1) + struct.pack("<ii", 1, n)
    (model / "points3D.bin").write_bytes(points)
    np.save(folder / "depth" / "v0.npy", np.full((24, 32), WALL))


@pytest.fixture
def data(tmp_path, texture) -> Path:
    write_scene(tmp_path / "fern", np.tile(texture, (2, 1, 1)))
    return tmp_path


def test_colmap_is_read(data):
    views = read_colmap(data / "fern" / "sparse" / "0")
    assert [view.name for view in views] == ["v0.png", "v1.png", "v2.png"]
    assert views[2].camera.focal_px == FOCAL
    assert views[2].camera.size == SIZE
    assert np.allclose(views[2].pose.position, camera_of(2).position)
    assert np.allclose(views[2].pose.matrix, camera_of(2).matrix)
    assert len(views[0].xy) == 35
    assert np.allclose(views[0].depth, WALL * UNIT)


def test_tracks_follow_the_wall(data):
    source = LLFFCases(data, GEOMETRY, 9, (4, 5))
    assert source.names == ["fern"]
    assert source.expected == 8
    assert any("7 scenes are missing" in note for note in source.notes)
    case = source.case(0)
    assert case.facts["depth_scale"] == pytest.approx(UNIT)
    assert case.scored == (4, 8)
    assert case.reference.shape == (2, *METRIC_SIZE, 3)
    frame = Pinhole(size=(48, 64), focal_px=FOCAL / 2, centre=(32, 24))
    start = case.tracks.xy[0, 0].numpy().astype(float)
    wall = frame.unproject(start, np.full(len(start), WALL * UNIT))
    for t, k in ((4, 1), (8, 2)):
        xy, _ = frame.project(camera_of(k).to_camera(wall))
        shown = case.tracks.visible[0, t].numpy()
        assert shown.sum() > 8
        assert np.abs(case.tracks.xy[0, t].numpy() - xy)[shown].max() < 0.05


def test_what_is_missing_is_named(data, tmp_path):
    with pytest.raises(UserError, match="nerf_llff_data") as caught:
        LLFFCases(tmp_path / "nowhere", GEOMETRY, 9, (4, 5))
    assert TREES["llff"].splitlines()[1].strip() in str(caught.value)
    (data / "fern" / "depth" / "v0.npy").unlink()
    with pytest.raises(UserError, match="--depth-model"):
        LLFFCases(data, GEOMETRY, 9, (4, 5)).case(0)
    model = data / "fern" / "sparse" / "0"
    (model / "images.bin").write_bytes((model / "images.bin").read_bytes()[:-7])
    with pytest.raises(UserError, match="not a readable COLMAP model"):
        read_colmap(model)
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, 5, 4, 4, 1, 1, 1, 0))
    with pytest.raises(UserError, match="undistort"):
        read_colmap(model)
