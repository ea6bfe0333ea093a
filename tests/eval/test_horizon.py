"""Long streams: stretches of a scene fit together, settings are what their names say, windows are of the training length."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from motionstream.config import CacheConfig
from motionstream.data.render import render
from motionstream.errors import UserError
from motionstream.eval.horizon import CURVE, HorizonSuite, with_cache
from motionstream.eval.horizon_scene import HorizonScene
from motionstream.eval.rows import RowFile
from motionstream.eval.tasks import Gallery, run_tasks
from motionstream.presets import nano


@pytest.fixture(scope="module")
def scene() -> HorizonScene:
    return HorizonScene(nano().geometry, 0, 40, (4, 5))


def test_stretches_are_parts_of_the_whole(scene):
    whole = render(scene.scenes, grid=(4, 5), point_seed=0)
    part = scene.stretch(17, 23)
    assert torch.equal(part.video, whole.video[0, 17:23])
    assert torch.allclose(part.tracks.xy[0], whole.xy[0, 17:23])
    assert torch.equal(part.tracks.visible[0], whole.visible[0, 17:23])


def test_the_object_is_found_in_the_truth(scene):
    for t in (0, 20, 39):
        assert scene.object_error_pct(scene.stretch(t, t + 1).video[0], t) <= 1.2


def test_an_object_left_behind_is_found_where_it_is():
    alone = HorizonScene(nano().geometry, 0, 40, (4, 5))
    active = torch.zeros_like(alone.scenes.active)
    active[:, alone.top] = True
    alone.scenes = replace(alone.scenes, active=active)
    way = (alone.scenes.centre[0, alone.top, 39] - alone.scenes.centre[0, alone.top, 0]).norm()
    assert way > 5
    moved = alone.object_error_pct(alone.stretch(0, 1).video[0], 39)
    assert moved == pytest.approx(100 * float(way) / nano().geometry.width, abs=1.5)


def test_settings(engine):
    cache = CacheConfig.parse("c1s0w6")
    assert (cache.chunk_frames, cache.sink_chunks, cache.window_chunks) == (1, 0, 6)
    variant = with_cache(engine, cache)
    assert variant.preset.cache.tag == "c1s0w6"
    assert engine.preset.cache.tag == "c3s1w1", "the engine itself is left alone"
    assert variant.model is engine.model
    for wrong in ("c3s1", "c0s1w1", "3-1-1"):
        with pytest.raises(ValueError, match=r"must look like|invalid"):
            CacheConfig.parse(wrong)


def test_rows_of_a_stream(engine):
    suite = HorizonSuite(engine, num_frames=40, settings=["c1s1w1"], scenes=1, seeds=[0], grid=(8, 12))
    rows = run_tasks(suite.tasks(Gallery()), RowFile(None, {}), "test")
    truth, static, student = rows
    assert truth["condition"] == "truth"
    assert truth["object_error_pct"] < 5
    assert truth["epe_moving_px"] < 3
    assert static["epe_moving_px"] > 3 * truth["epe_moving_px"], "what does not move at all does not pass for moving"
    assert static["object_error_pct"] > truth["object_error_pct"]
    assert truth["psnr_db"] is None
    assert student["frames_made"] == 40
    for name in CURVE:
        assert len(student["curve"][name]) == 2, "40 frames are two windows of 33"
    assert student["psnr_db@1x"] == student["curve"]["psnr_db"][0]
    assert "psnr_db@5x" not in student
    assert student["fps"] > 0
    assert np.isfinite(student["latency_s"])
    curves = suite.extra(rows)["curves"]
    assert curves["c1s1w1"]["psnr_db"][1]["n"] == 1
    assert "psnr_db" not in curves["truth"]


def test_a_stream_shorter_than_training_is_refused(engine):
    with pytest.raises(UserError, match="shorter than the training length"):
        HorizonSuite(engine, num_frames=20)
