"""A picture bent along tracks is where the tracks say, exactly at their points."""

import numpy as np
import pytest

from motionstream.eval.transfer_suite import following
from motionstream.eval.warp import warp_along
from motionstream.tracks.tracks import Tracks


def test_a_common_motion_shifts_the_picture(texture):
    points = np.array([[30.0, 30.0], [100.0, 40.0], [60.0, 70.0]]) + np.arange(5)[:, None, None] * np.array([3.0, -2.0])
    frames = warp_along(texture, Tracks.from_points(points, size=(96, 160), fps=16))
    assert (frames[0] == texture).all()
    moved = np.abs(frames[4, :-8, 12:].astype(int) - texture[8:, :-12].astype(int))
    assert moved.max() <= 2


def test_points_carry_what_they_had(texture):
    """Different ways at once, one point that comes late and one that goes: each shows the colour it began with."""
    t = np.arange(9)[:, None]
    points = np.stack(
        [
            np.concatenate([40.5 + 2 * t, 30.5 + 0 * t], axis=1),
            np.concatenate([110.5 + 0 * t, 60.5 - 1 * t], axis=1),
            np.concatenate([60.5 - 1 * t, 75.5 + 1 * t], axis=1),
        ],
        axis=1,
    ).astype(np.float32)
    visible = np.ones((9, 3), bool)
    visible[:4, 1] = False
    visible[6:, 2] = False
    frames = warp_along(texture, Tracks.from_points(points, visible=visible, size=(96, 160), fps=16))
    for n in range(3):
        shown = np.flatnonzero(visible[:, n])
        colours = [frames[k, int(points[k, n, 1]), int(points[k, n, 0])].astype(int) for k in shown]
        assert np.abs(np.array(colours) - colours[0]).max() <= 6


def begins_late(tracks):
    visible = tracks.visible[0].numpy().copy()
    visible[:2] = False
    visible[:, 1] = True
    points = tracks.xy[0].numpy()
    return Tracks.from_points(points, visible=visible, size=tracks.size, fps=tracks.fps)


def test_what_moves_is_told_apart(texture):
    points = np.zeros((9, 2, 2), np.float32)
    points[:, 0] = (40.5, 30.5)
    points[:, 1] = (100.5, 60.5)
    points[:, 0, 0] += 2 * np.arange(9)
    tracks = Tracks.from_points(points, size=(96, 160), fps=16)
    still = following(np.repeat(texture[None], 9, axis=0), tracks, "lk", 8)
    assert still["moving"] == 1
    assert still["epe_moving_px"] == pytest.approx(9, abs=0.1)  # mean of 2, 4, ... 16
    assert still["epe_px"] == pytest.approx(4.5, abs=0.1)
    assert still["epe_late_px"] is None
    late = following(np.repeat(texture[None], 9, axis=0), begins_late(tracks), "lk", 8)
    assert late["epe_late_px"] == late["epe_moving_px"] == pytest.approx(7, abs=0.1)  # mean of 2, 4, ... 12
    assert following(warp_along(texture, tracks), tracks, "lk", 8)["epe_moving_px"] < 1
    assert following(np.repeat(texture[None], 9, axis=0), tracks, "lk", 17)["epe_moving_px"] is None
