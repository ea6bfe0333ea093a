"""Lucas-Kanade and dense flow on motion that is known: sub-pixel, zoom, occlusion, light, borders, and bad input."""

import numpy as np
import pytest

from motionstream.tracking import grid_queries, make_tracker, track_points
from motionstream.tracking.flow_tracker import FlowTracker
from motionstream.tracking.motion import LucasKanade

NAMES = ("lk", "dis")
LIMIT_PX = {"lk": 0.1, "dis": 0.5}  # over 7 steps; dense flow falls short by about 0.04 px a step


@pytest.mark.parametrize("name", NAMES)
def test_a_sub_pixel_shift_is_found(moving, name: str):
    frames = moving(lambda x, y, t: (x - 0.37 * t, y + 0.21 * t))
    queries = grid_queries((96, 128), 5)
    tracks = track_points(frames, queries, tracker=name)
    error = tracks.xy[0, -1].numpy() - (queries[:, 1:] + np.array([0.37 * 7, -0.21 * 7]))
    assert tracks.visible.all()
    assert np.abs(error).max() < LIMIT_PX[name]
    assert name == "dis" or np.abs(error.mean(axis=0)).max() < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_pixel_centres_are_at_a_half(moving, name: str):
    """Under a zoom about the corner of the picture, reading half a pixel off would end half the growth off: 0.2 px here."""
    growth = np.linspace(1, 1.4, 12)
    frames = moving(lambda x, y, t: (x / growth[t], y / growth[t]), num_frames=12)
    places = grid_queries((96, 128), 24)[:, 1:]
    places = places[(places * 1.4 < np.array([120, 88])).all(axis=1)]
    queries = np.concatenate([np.zeros((len(places), 1)), places], axis=1)
    tracks = track_points(frames, queries, tracker=name)
    offset = (tracks.xy[0, -1].numpy() - 1.4 * places)[tracks.visible[0, -1].numpy()]
    assert len(offset) > 150
    assert np.abs(np.median(offset, axis=0)).max() < LIMIT_PX[name] / 4


def covered(moving, seed: int = 0) -> np.ndarray:
    """A texture that moves right by 1 px a frame; a grey bar stands at x = 56..75, in front of it."""
    frames = moving(lambda x, y, t: (x - t, y), num_frames=40, seed=seed)
    frames[:, :, 56:76] = 128
    return frames


@pytest.mark.parametrize("name", NAMES)
def test_a_point_is_hidden_and_found_again(moving, name: str):
    frames = covered(moving)
    rows = np.arange(12, 90, 8) + 0.5
    carried = np.stack([np.full_like(rows, 46.5), rows], axis=1)  # pass behind the bar in frames 9 to 29
    beside = np.stack([np.full_like(rows, 20.5), rows], axis=1)  # stay visible and carry the others along
    places = np.concatenate([carried, beside])
    tracks = track_points(frames, np.concatenate([np.zeros((20, 1)), places], axis=1), tracker=name)
    visible, xy = tracks.visible[0].numpy(), tracks.xy[0].numpy()
    assert visible[:6].all()
    assert visible[15:25, :10].mean() < 0.1
    assert visible[36:, :10].mean() > 0.7
    back = visible[39, :10]
    assert np.abs(xy[39, :10][back] - (carried[back] + np.array([39, 0]))).max() < 1.0
    assert visible[25, 10:].mean() > 0.9


def test_a_hidden_point_is_given_up_in_time(moving):
    frames = covered(moving)
    query = [[0, 46.5, 40.5]] + [[0, 20.5, y + 0.5] for y in range(20, 80, 8)]
    tracks = track_points(frames, query, max_hidden_frames=5)
    assert not tracks.visible[0, 14:, 0].any()


@pytest.mark.parametrize(
    "light",
    [
        np.linspace(1, 0.5, 30),
        np.linspace(0.5, 1, 30),
        np.repeat([1, 0.5], 15),
        np.repeat([0.5, 1], 15),
        np.linspace(1, 1.6, 30),
    ],
    ids=["slowly darker", "slowly brighter", "dark at once", "bright at once", "white at last"],
)
def test_a_camera_that_adapts_to_the_light_loses_nothing(moving, light: np.ndarray):
    frames = moving(lambda x, y, t: (x - 0.5 * t, y), num_frames=30).astype(np.float32)
    changing = (frames * light[:, None, None, None]).clip(0, 255)
    tracks = track_points(changing.round().astype(np.uint8), grid_queries((96, 128), 8))
    inside = tracks.xy[0, -1, :, 0] < 120
    assert tracks.visible[0, -1][inside].float().mean() > 0.8


def test_points_leave_the_picture(moving):
    frames = moving(lambda x, y, t: (x - 3 * t, y), num_frames=12)
    tracks = track_points(frames, [[0, 110.5, 48.5], [0, 40.5, 48.5]])
    assert tracks.visible[0, :5, 0].all()
    assert not tracks.visible[0, 8:, 0].any()
    assert tracks.visible[0, :, 1].all()


def test_flat_points_do_not_run_along_with_an_object_nearby():
    """What dense flow is there for: plain Lucas-Kanade sees nothing there, and they follow the one point that moves."""
    frames = np.full((16, 96, 128, 3), 90, np.uint8)
    block = np.random.default_rng(0).integers(0, 255, (24, 24, 3))
    for t in range(16):
        frames[t, 36:60, 20 + 2 * t : 44 + 2 * t] = block
    queries = np.array([[0, 110.5, y] for y in (10.5, 48.5, 85.5)] + [[0, 60.5, 48.5]])
    drift = {}
    for fill in (True, False):
        tracks = track_points(frames, queries, fill=fill)
        drift[fill] = np.linalg.norm(tracks.xy[0, -1].numpy() - queries[:, 1:], axis=1)[:3]
    assert drift[True].max() < 3
    assert drift[False].min() > 10


def test_points_come_and_go(moving):
    frames = moving(lambda x, y, t: (x - t, y), num_frames=6)
    tracker = make_tracker("lk")
    tracker.start(frames[0])
    tracker.add(np.array([[30.5, 30.5], [60.5, 60.5]]))
    (seen,) = tracker.feed(frames[1])
    assert seen.xy.shape == (2, 2)
    tracker.add(np.array([[20.5, 70.5]]))
    tracker.keep(np.array([False, True, True]))
    (seen,) = tracker.feed(frames[2])
    assert np.abs(seen.xy - [[62.5, 60.5], [21.5, 70.5]]).max() < 0.1
    tracker.keep(np.zeros(2, bool))
    (seen,) = tracker.feed(frames[3])
    assert (seen.xy.shape, seen.visible.shape) == ((0, 2), (0,))
    assert tracker.finish() == []
    with pytest.raises(ValueError, match="start the tracker"):
        tracker.feed(frames[4])


@pytest.mark.parametrize("size", [(32, 48), (97, 61), (400, 333)])
def test_any_size_of_at_least_32_pixels(moving, size: tuple[int, int]):
    frames = moving(lambda x, y, t: (x - t, y), num_frames=3, size=size)
    tracks = track_points(frames, [[0, 20.5, 16.5]])
    assert np.abs(tracks.xy[0, -1, 0].numpy() - [22.5, 16.5]).max() < 0.15


def test_bad_frames_and_points(moving):
    frames = moving(lambda x, y, t: (x, y), num_frames=2)
    tracker = make_tracker("lk")
    with pytest.raises(ValueError, match="must be uint8"):
        tracker.start(frames[0].astype(np.float32))
    with pytest.raises(ValueError, match="too small to track"):
        tracker.start(frames[0, :20])
    tracker.start(frames[0])
    for bad, complaint in (([[1, 2, 3]], r"shape \(N, 2\)"), ([[np.nan, 1]], "finite")):
        with pytest.raises(ValueError, match=complaint):
            tracker.add(np.array(bad))
    with pytest.raises(ValueError, match="must not change size: 128x96 and then 96x96"):
        tracker.feed(frames[1, :, :96])
    with pytest.raises(ValueError, match="unknown tracker 'raft': use one of lk, dis"):
        make_tracker("raft")
    with pytest.raises(TypeError):
        FlowTracker(LucasKanade(), patience=3)
