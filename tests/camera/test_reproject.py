"""Tracks of a moving camera against an analytic world: positions, visibility, new points, leaving the scene."""

import numpy as np
import pytest

from motionstream.camera import reproject
from motionstream.camera.depth import flat_depth, ground_depth
from motionstream.camera.keyframes import KeyframePath, poses_of
from motionstream.camera.moves import MOVES, PresetPath
from motionstream.camera.pose import Pinhole, Pose, turn
from motionstream.camera.reproject import CameraTracker, camera_tracks
from motionstream.camera.surface import Surface

MOVED = [
    "pan-left",
    "tilt-up",
    "roll-right",
    "zoom-in",
    "zoom-out",
    "dolly-in",
    "dolly-out",
    "truck-right",
    "orbit-left",
    "arc-right",
]
FPS = 4.0


def path_of(name: str) -> PresetPath:
    return PresetPath(preset=name, duration_s=1.0)


def on_smooth_ground(world, xy: np.ndarray) -> np.ndarray:
    """Which pixels (N, 2) have no depth edge within a pixel."""
    near = [world.depth_at(xy + np.array([dx, dy]), Pose()) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    return np.max(near, axis=0) < 1.1 * np.min(near, axis=0)


@pytest.mark.parametrize(
    ("scene", "name"), [*(("world", name) for name in MOVED), ("large_world", "dolly-in"), ("large_world", "orbit-left")]
)
def test_positions_and_visibility_are_the_truth(request: pytest.FixtureRequest, scene: str, name: str):
    world = request.getfixturevalue(scene)
    H, W = world.pinhole.size
    depth, path, grid = world.depth_map(), path_of(name), (H // 6, W // 6)
    tracks = camera_tracks(depth, path, world.pinhole, num_frames=5, fps=FPS, grid=grid, reseed=False)
    start = tracks.xy[0, 0].double().numpy()
    smooth = on_smooth_ground(world, start)
    assert smooth.mean() > 0.85
    points = world.pinhole.unproject(start, world.depth_at(start, Pose()))
    compared = hidden = 0
    for t, pose in enumerate(poses_of(path, num_frames=5, fps=FPS)):
        pose = pose.scaled(depth.reference)
        truth, _ = world.project(points, pose)
        visible, sure = world.sees(points, pose)
        ours = tracks.visible[0, t].numpy()
        error = np.abs(tracks.xy[0, t].numpy() - truth).max(axis=1)
        assert error[smooth & ours].max() < 1e-3  # asked for are 0.1
        assert (ours == visible)[smooth & sure].all()
        assert (ours == visible)[smooth].mean() > 0.97
        compared += int((smooth & sure).sum())
        hidden += int((smooth & sure & ~visible).sum())
    assert compared > 3 * len(points)
    if name not in ("roll-right", "zoom-out", "dolly-out"):
        assert hidden > 10  # there was something to get wrong


def test_points_behind_others_are_hidden(world):
    """A truck to the right moves the near panel over the wall to its left, and nothing else can hide points there."""
    depth = world.depth_map()
    path = KeyframePath(times_s=(0.0, 1.0), poses=(Pose(), Pose(position=(0.8, 0.0, 0.0))), unit="depth")
    tracks = camera_tracks(depth, path, world.pinhole, num_frames=2, fps=1.0, grid=(24, 32), reseed=False)
    start, end = tracks.xy[0, 0].numpy(), tracks.xy[0, 1].numpy()
    wall = world.depth_at(start, Pose()) > 5.9
    sides = np.array([[-0.9, -0.55], [-0.1, 0.35]])  # the near panel's edges in the world
    panel = [world.project(np.array([[*corner, 2.5]]), Pose(position=(0.8, 0, 0)))[0][0] for corner in sides]
    behind = wall & (end > panel[0] + 2).all(axis=1) & (end < panel[1] - 2).all(axis=1)
    assert behind.sum() > 5
    assert not tracks.visible[0, 1].numpy()[behind].any()


def every_place_has_a_track(tracks, grid: tuple[int, int]) -> bool:
    (H, W), (rows, columns) = tracks.size, grid
    x, y = np.meshgrid((np.arange(columns) + 0.5) * W / columns, (np.arange(rows) + 0.5) * H / rows)
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    for t in range(tracks.num_frames):
        xy = tracks.xy[0, t][tracks.visible[0, t]].numpy()
        distance = np.abs(centres[:, None] - xy[None]).max(axis=2).min(axis=1)
        if distance.max() > max(H / rows, W / columns):
            return False
    return True


@pytest.mark.parametrize("name", ["pan-right", "dolly-out", "zoom-in", "zoom-out", "truck-left", "roll-left", "orbit-up"])
def test_the_whole_frame_always_carries_tracks(world, name: str):
    grid = (12, 16)
    path = PresetPath(preset=name, duration_s=2.0)
    tracks = camera_tracks(world.depth_map(), path, world.pinhole, num_frames=9, fps=FPS, grid=grid)
    assert every_place_has_a_track(tracks, grid)
    assert tracks.visible[0].sum(dim=-1).max() <= 2 * 12 * 16
    assert tracks.visible[0, 0].sum() == 12 * 16  # frame 0 is the grid, in the middle of its cells
    assert tracks.xy[0, 0, :2].tolist() == [[4.0, 4.0], [12.0, 4.0]]
    without = camera_tracks(world.depth_map(), path, world.pinhole, num_frames=9, fps=FPS, grid=grid, reseed=False)
    assert without.num_tracks == 12 * 16
    if name in ("pan-right", "dolly-out", "zoom-out", "truck-left"):
        assert not every_place_has_a_track(without, grid)


def test_new_points_have_new_ids_and_move_as_the_camera_says(world):
    """A turn moves every point alike whatever its depth, so the truth is known beyond the picture too."""
    path = PresetPath(preset="pan-right", amount=20.0, duration_s=2.0)
    tracks = camera_tracks(world.depth_map(), path, world.pinhole, num_frames=9, fps=FPS, grid=(12, 16))
    poses = poses_of(path, num_frames=9, fps=FPS)
    new = range(192, tracks.num_tracks)
    assert len(new) > 24
    for n in new:
        seen = tracks.visible[0, :, n].nonzero()[:, 0].tolist()
        assert not tracks.visible[0, 0, n]
        first = seen[0]
        ray = poses[first].to_world(world.pinhole.unproject(tracks.xy[0, first, n].double().numpy(), np.array(1.0)))
        for t in seen:
            assert tracks.xy[0, t, n].numpy() == pytest.approx(world.project(ray[None], poses[t])[0][0], abs=0.1)


def test_what_a_near_thing_uncovers_lies_behind_it(world):
    """New points where the near panel stood must move as the wall and the floor do, not as the panel."""
    positions = [Pose(position=(0.8 * t, 0.0, 0.0)) for t in (0, 1, 1.2)]
    path = KeyframePath(times_s=(0.0, 1.0, 1.2), poses=tuple(positions), unit="depth", interpolation="linear")
    tracks = camera_tracks(world.depth_map(), path, world.pinhole, num_frames=13, fps=10.0, grid=(24, 32))
    new = tracks.visible[0, 10] & tracks.visible[0, 12] & ~tracks.visible[0, 0]
    xy = tracks.xy[0, 10].numpy()
    there = world.depth_at(xy, positions[1])
    beside = new.numpy() & (xy[:, 0] < 100) & (xy[:, 1] < 60) & (there > 5.9)  # where only the wall is behind
    shift = (tracks.xy[0, 10, :, 0] - tracks.xy[0, 12, :, 0]).numpy()
    assert beside.sum() >= 5
    wall, panel = (world.pinhole.focal_px * 0.16 / z for z in (6.0, 2.5))
    assert np.median(np.abs(shift[beside] - wall)) < 0.2
    assert (np.abs(shift[beside] - panel) > np.abs(shift[beside] - wall)).mean() > 0.8


def test_crowded_cells_lose_the_newest(world):
    path = PresetPath(preset="zoom-out", amount=1.5, duration_s=1.0)
    tracks = camera_tracks(world.depth_map(), path, world.pinhole, num_frames=9, fps=8.0, grid=(12, 16))
    assert tracks.visible[0, :, 0].all()  # the oldest
    H, W = world.pinhole.size
    cell = (tracks.xy[0, ..., 1] * (12 / H)).long() * 16 + (tracks.xy[0, ..., 0] * (16 / W)).long()
    for places, seen in zip(cell, tracks.visible[0], strict=True):
        assert places[seen].bincount().max() <= 2
    gone = tracks.visible[0, 0] & ~tracks.visible[0, -1]
    assert gone.sum() > 50
    for n in gone.nonzero()[:, 0].tolist():  # for good
        shown = tracks.visible[0, :, n].int()
        assert (shown[1:] <= shown[:-1]).all()


def test_the_tracker_is_the_offline_tracks(world):
    """The live form: view by view, with reset."""
    depth, path = world.depth_map(), PresetPath(preset="orbit-right", duration_s=1.0)
    tracks = camera_tracks(depth, path, world.pinhole, num_frames=5, fps=FPS, grid=(12, 16))
    tracker = CameraTracker(depth, world.pinhole, (12, 16))
    for _ in range(2):
        for t, pose in enumerate(poses_of(path, num_frames=5, fps=FPS)):
            view = tracker.look(pose.scaled(depth.reference))
            n = len(view.ids)
            assert view.ids.tolist() == list(range(n))
            assert (tracks.visible[0, t, :n].numpy() == view.visible).all()
            assert np.allclose(tracks.xy[0, t, :n].numpy()[view.visible], view.xy[view.visible], atol=1e-3)
            assert not tracks.visible[0, t, n:].any()
        tracker.reset()


@pytest.mark.parametrize("name", ["pan-left", "zoom-in", "roll-left"])
def test_a_plane_moves_as_a_photograph(name: str):
    """On the planar fallback all moves are homographies; for a pan that is the turn itself."""
    pinhole = Pinhole.from_fov((96, 128), 60.0)
    path = PresetPath(preset=name, duration_s=1.0)
    tracks = camera_tracks(flat_depth((10, 10)), path, pinhole, num_frames=2, fps=1.0, grid=(12, 16), reseed=False)
    deeper = camera_tracks(ground_depth((96, 128)), path, pinhole, num_frames=2, fps=1.0, grid=(12, 16), reseed=False)
    assert tracks.allclose(deeper, atol=1e-3)  # turns and zooms know no parallax
    start, end = tracks.xy[0].double().numpy() - [64.0, 48.0]
    if name == "zoom-in":
        assert np.allclose(end, start * 2**0.5, atol=1e-3)
    if name == "roll-left":  # the camera turns counterclockwise, so the picture turns clockwise
        cos, sin = np.cos(np.radians(15)), np.sin(np.radians(15))
        assert np.allclose(end, start @ np.array([[cos, sin], [-sin, cos]]), atol=1e-3)
    if name == "pan-left":
        assert (end[:, 0] > start[:, 0] + 15).all()


def test_points_behind_the_camera_are_not_visible(world):
    half_turn = KeyframePath(times_s=(0.0, 1.0), poses=(Pose(), Pose(rotation=turn(pan_deg=179))))
    tracks = camera_tracks(
        world.depth_map(), half_turn, world.pinhole, num_frames=2, fps=1.0, grid=(6, 8), reseed=False, min_overlap=0.0
    )
    assert tracks.visible[0, 0].all()
    assert not tracks.visible[0, 1].any()
    behind = CameraTracker(world.depth_map(), world.pinhole, (6, 8), reseed=False).look(Pose(rotation=turn(pan_deg=179)))
    assert not behind.visible.any()
    assert np.isfinite(behind.xy).all()
    away = camera_tracks(world.depth_map(), half_turn, world.pinhole, num_frames=2, fps=1.0, grid=(6, 8), min_overlap=0.0)
    assert every_place_has_a_track(away, (6, 8))  # even where the picture knows nothing


@pytest.mark.parametrize(
    ("path", "frame"),
    [
        (PresetPath(preset="pan-right", amount=90.0, duration_s=2.0, easing="linear"), 5),
        (PresetPath(preset="dolly-in", amount=4.0, duration_s=2.0, easing="linear"), 2),
        (KeyframePath(times_s=(0.0, 2.0), poses=(Pose(), Pose(position=(30.0, 0.0, 0.0)))), 1),
    ],
)
def test_paths_that_leave_the_scene(world, path, frame: int):
    with pytest.raises(ValueError, match=r"the camera leaves the scene: in frame \d .* shorten the path or lower") as raised:
        camera_tracks(flat_depth((8, 8)), path, world.pinhole, num_frames=9, fps=FPS, grid=(6, 8))
    assert f"in frame {frame} " in str(raised.value)


@pytest.mark.parametrize("pose", [Pose(zoom=40.0), Pose(position=(0.0, 0.0, 0.97))])
def test_a_picture_that_fills_the_view_has_no_holes(pose: Pose):
    """However close: a pixel of it may then be wider than any patch is elsewhere."""
    pinhole = Pinhole.from_fov((96, 128), 60)
    assert Surface(flat_depth((96, 128)), pinhole).seen_from(pose).covered == 1


def test_bad_values(world):
    depth, path = world.depth_map(), PresetPath(preset="pan-right")
    with pytest.raises(ValueError, match="at least 1 row"):
        camera_tracks(depth, path, world.pinhole, num_frames=2, fps=1.0, grid=(0, 4))
    with pytest.raises(ValueError, match="min_overlap must be 0 to 1, got nan"):
        camera_tracks(depth, path, world.pinhole, num_frames=2, fps=1.0, grid=(4, 4), min_overlap=float("nan"))
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        camera_tracks(depth, path, world.pinhole, num_frames=0, fps=1.0, grid=(4, 4))


def test_every_move_runs(world):
    for name in MOVES:
        tracks = camera_tracks(
            world.depth_map(), PresetPath(preset=name, duration_s=1.0), world.pinhole, num_frames=2, fps=1.0, grid=(6, 8)
        )
        assert every_place_has_a_track(tracks, (6, 8))


def test_depths_of_unknown_places_in_blocks(world, monkeypatch):
    """The pairs of places and points are gone through some at a time, to the same tracks."""
    path = PresetPath(preset="pan-right", amount=30.0, duration_s=1.0)
    how = {"num_frames": 5, "fps": FPS, "grid": (12, 16)}
    at_once = camera_tracks(world.depth_map(), path, world.pinhole, **how)
    monkeypatch.setattr(reproject, "PAIRS", 500)
    assert camera_tracks(world.depth_map(), path, world.pinhole, **how).allclose(at_once, atol=0.0)


def test_an_unknown_place_within_the_picture_lies_behind_and_one_beside_it_as_near_as_its_neighbour(world):
    tracker = CameraTracker(world.depth_map(), world.pinhole, (12, 16))
    H, W = world.pinhole.size
    for x, y, inside in ((W - 2, 2, True), (2, H - 2, True), (W + 2, 2, False), (2, H + 2, False), (-2, 2, False)):
        beside = np.array([[x, y]]) + np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [5.0, 0.0]])
        z = np.array([2.0, 3.0, 5.0, 4.0, 9.0])
        guess = tracker._depth_around(np.array([[x, y]], dtype=float), world.pinhole, Pose(), beside, z)
        assert guess.tolist() == [5.0 if inside else 2.0], (x, y)
