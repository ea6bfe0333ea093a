"""Camera scenes: only the camera moves, tracks are those of the picture, and kinds are what they are called."""

import numpy as np
import pytest
import torch

from motionstream.eval.camera_cases import KINDS, CameraCases, camera_scene
from motionstream.eval.following import measure_following
from motionstream.presets import nano


@pytest.fixture(scope="module")
def source() -> CameraCases:
    return CameraCases(nano().geometry, 17, (6, 8), count=4)


@pytest.mark.parametrize("index", range(4))
def test_true_tracks_are_found_again(source, index):
    case = source.case(index)
    assert case.facts == {"kind": KINDS[index]}
    assert case.truth.shape == (17, *case.tracks.size, 3)
    found = measure_following(case.truth, case.wanted)
    assert found["epe_seen_px"] < 0.008 * case.tracks.size[1]
    way = (case.tracks.xy[0, -1] - case.tracks.xy[0, 0]).norm(dim=-1)
    assert way.median() > 0.03 * case.tracks.size[1]


def test_a_pan_shifts_the_background_and_a_zoom_keeps_the_middle():
    geometry = nano().geometry
    pan = camera_scene(geometry, 9, 0, "pan")
    assert pan.zoom.unique().tolist() == [1.0]
    assert 0.09 * geometry.width <= pan.pan[0, -1].norm() <= 0.2 * geometry.width
    zoom = camera_scene(geometry, 9, 1, "zoom")
    assert zoom.pan.abs().max() == 0
    assert abs(float(zoom.zoom[0, -1].log())) >= 0.12
    for scene in (pan, zoom):
        assert torch.equal(scene.centre, scene.centre[:, :, :1].expand_as(scene.centre))


def test_the_same_scene_every_time(source):
    one, other = source.case(2), source.case(2)
    assert np.array_equal(one.truth, other.truth)
    assert torch.equal(one.tracks.xy, other.tracks.xy)
