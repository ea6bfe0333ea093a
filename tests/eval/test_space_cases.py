"""Suite camera3d: tracks of the camera path against what the ray caster draws, and the ray caster against homographies."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from motionstream.camera.keyframes import poses_of
from motionstream.camera.moves import MOVES, PresetPath
from motionstream.camera.pose import Pinhole, Pose
from motionstream.camera.reproject import camera_tracks
from motionstream.eval import space_cases
from motionstream.eval.following import measure_following
from motionstream.eval.panels import Panel, PanelSpace, Rectangle
from motionstream.eval.space_cases import PRESETS, SpaceCases, path_of, space_of
from motionstream.presets import nano

FRAMES = 5


@pytest.fixture(scope="module")
def source() -> SpaceCases:
    return SpaceCases(nano().geometry, FRAMES, (12, 16))


def near_an_edge(space: PanelSpace, xy: np.ndarray, pose: Pose, reach: float) -> np.ndarray:
    """Which pixels (N, 2) have another part, or the frame's border, within ``reach`` pixels."""
    H, W = space.pinhole.size
    _, part, _ = space.look(xy, pose)
    edge = np.abs(np.minimum(xy, [W, H] - xy).min(axis=1)) < reach
    for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        for share in (0.5, 1.0):
            offset = reach * share * np.array([np.cos(angle), np.sin(angle)])
            edge |= space.look(xy + offset, pose)[1] != part
    return edge


@pytest.mark.parametrize("index", range(len(PRESETS)))
def test_tracks_are_where_the_renderer_draws_the_same_place(source, index):
    """A track lies on the place on which it began, to 0.1 pixels, and is visible just where the renderer shows that."""
    case, geometry = source.case(index), source.geometry
    space = space_of(index, (geometry.height, geometry.width))
    path = path_of(index, FRAMES, geometry.fps)
    unit = space.depth_map(2).reference
    poses = [pose.scaled(unit) for pose in poses_of(path, num_frames=FRAMES, fps=geometry.fps)]
    xy, visible = case.wanted.xy[0].double().numpy(), case.wanted.visible[0].numpy()
    assert len(xy[0]) == 12 * 16
    assert visible[0].all()
    alone = camera_tracks(  # without new points nobody has to make room
        space.depth_map(2), path, space.pinhole, num_frames=FRAMES, fps=geometry.fps, grid=(12, 16), reseed=False
    )
    assert np.abs(alone.xy[0].numpy() - xy).max() < 1e-4
    seen = alone.visible[0].numpy()
    assert not (visible & ~seen).any()
    _, part, place = space.look(xy[0], Pose())
    sure_start = ~near_an_edge(space, xy[0], Pose(), 0.6)
    compared = hidden = 0
    for t, pose in enumerate(poses):
        there, part_there, place_there = space.look(np.nan_to_num(xy[t]), pose)
        # On the same part, a place that is off by one pixel differs by about depth / focal length, seen straight on.
        off_px = np.linalg.norm(place_there - place, axis=1) * space.pinhole.focal_px * pose.zoom / there
        inside = ((xy[t] >= 0) & (xy[t] < [geometry.width, geometry.height])).all(axis=1)
        shown = inside & (part_there == part) & (off_px < 0.5)
        sure = sure_start & ~near_an_edge(space, xy[t], pose, 1.5)
        assert off_px[seen[t] & sure].max() < 0.1
        assert (seen[t] == shown)[sure].all()
        hidden += int((~shown & sure).sum())
        compared += int((sure & shown).sum())
    assert compared > 100 * FRAMES
    if PRESETS[index] != "dolly-out":
        assert hidden > 0
    way = np.linalg.norm(xy[-1] - xy[0], axis=1)[visible[-1]]
    assert np.median(way) > 2.0


@pytest.mark.parametrize("index", [1, 3])
def test_the_true_video_follows_its_own_tracks(index):
    case = SpaceCases(nano().geometry, 9, (12, 16)).case(index)
    found = measure_following(case.truth, case.wanted)
    assert found["epe_seen_px"] < 1.0
    assert case.facts["preset"] == PRESETS[index]


def test_a_camera_that_rests_sees_the_same_picture(source, monkeypatch):
    """No movement: the truth is its first frame, tracks rest, all are visible and none is added."""
    still = replace(MOVES["truck-right"], pose=lambda amount: Pose())
    monkeypatch.setitem(MOVES, "truck-right", still)
    monkeypatch.setattr(space_cases, "path_of", lambda *_: PresetPath(preset="truck-right"))
    case = source.case(0)
    assert (case.truth == case.first_frame).all()
    assert case.tracks.num_tracks == 12 * 16
    assert case.tracks.visible.all()
    assert (case.tracks.xy - case.tracks.xy[:, :1]).abs().max() < 1e-4


def test_the_same_sample_every_time_and_another_scene_each(source):
    one, again, other = source.case(0), source.case(0), source.case(8)
    assert (one.truth == again.truth).all()
    assert torch.equal(one.tracks.xy, again.tracks.xy)
    assert PRESETS[0] in one.name
    assert one.facts["kind"] == other.facts["kind"] == "dolly"
    assert (one.first_frame != other.first_frame).mean() > 0.5


POSE = Pose(position=(0.3, -0.1, 0.4), rotation=(0.98, 0.05, 0.15, 0.08), zoom=1.2)


def test_a_panel_is_seen_through_its_homography():
    """Places on a slanted rectangle are those of the homography of its four corners, found by another library."""
    pinhole = Pinhole.from_fov((96, 128), 60.0)
    shape = Rectangle((0.2, 0.1, 3.0), (0.9, 0.6), right=(0.8, 0.0, 0.6))
    corners = np.array([[-0.9, -0.6], [0.9, -0.6], [0.9, 0.6], [-0.9, 0.6]], dtype=np.float32)
    world = np.array(shape.middle) + corners[:, :1] * np.array(shape.right) + corners[:, 1:] * np.array(shape.down)
    seen, _ = pinhole.zoomed(POSE.zoom).project(POSE.to_camera(world))
    homography = cv2.getPerspectiveTransform(seen.astype(np.float32), corners)
    x, y = np.meshgrid(np.arange(128) + 0.5, np.arange(96) + 0.5)
    pixels = np.stack([x, y], axis=-1)
    wanted = cv2.perspectiveTransform(pixels.reshape(1, -1, 2), homography.astype(np.float64)).reshape(96, 128, 2)
    depth, _, place = PanelSpace(pinhole, (shape,)).look(pixels, POSE)
    inside = np.isfinite(depth)
    assert 0.1 < inside.mean() < 0.9
    assert place[inside] == pytest.approx(wanted[inside], abs=1e-4)


def test_pictures_are_drawn_straight_cut_out_and_in_order_of_depth():
    red, hole = np.array([1.0, 0, 0, 1]), np.array([0.0, 1, 0, 0])
    near = Panel(Rectangle((0.0, 0.0, 1.0), (0.5, 0.5)), np.array([[red, hole]]))  # its right half is not there
    line = np.linspace(0, 1, 64)
    far_picture = np.stack([np.zeros((64, 64)), *np.meshgrid(line, line), np.ones((64, 64))], axis=-1)
    far = Panel(Rectangle((0.0, 0.0, 2.0), (2.0, 2.0)), far_picture)
    pinhole = Pinhole(size=(64, 64), focal_px=32.0, centre=(32.0, 32.0))
    for parts in ((near, far), (far, near)):
        space = PanelSpace(pinhole, parts)
        picture = space.render(Pose()).astype(int)
        assert (picture[20:44, 20:30] == [255, 0, 0]).all()
        assert (np.abs(picture[4:60, 34:60, 1] - 255 * line[34:60]) <= 3).all()  # u to the right
        assert (np.abs(picture[4:60, 50:60, 2] - 255 * line[4:60, None]) <= 3).all()
        assert set(np.unique(space.depth_map().values)) == {1.0, 2.0}


def test_a_picture_repeats_in_mirror_image():
    stripes = np.ones((1, 4, 4))
    stripes[0, :, 0] = [0.0, 0.25, 0.5, 1.0]
    panel = Panel(Rectangle((0.0, 0.0, 1.0), (9.0, 9.0)), stripes, (1.0, 1.0))
    a = np.array([-0.75, -0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25])
    colour = panel.at(np.stack([a, np.zeros(9)], axis=1))[:, 0]
    assert colour.tolist() == [0.0, 0.25, 0.5, 1.0, 1.0, 0.5, 0.25, 0.0, 0.0]
