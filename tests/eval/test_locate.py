"""The measuring stick itself: a known object is found where it was put, and the controls read as they must."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from motionstream.config import CacheConfig
from motionstream.eval.drag_suite import rest_summary, summary
from motionstream.eval.drags import DragCase, drag_case, drag_error_pct, points_per_frame, stream_frames
from motionstream.eval.horizon import with_cache
from motionstream.eval.locate import locate
from motionstream.presets import preset


def scene(shift: tuple[int, int], noise: float = 0.0) -> tuple[torch.Tensor, ...]:
    """A textured square of 12 pixels on a textured ground, drawn ``shift`` away from where it is looked for."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.rand(3, 48, 64, generator=generator) * 0.5
    paint = torch.rand(3, 12, 12, generator=generator)
    colour, alpha = torch.zeros(3, 48, 64), torch.zeros(1, 48, 64)
    colour[:, 18:30, 26:38], alpha[:, 18:30, 26:38] = paint, 1
    frame = ground.clone()
    x, y = shift
    frame[:, 18 + y : 30 + y, 26 + x : 38 + x] = paint
    return frame + noise * torch.randn(frame.shape, generator=generator), ground, colour, alpha


@pytest.mark.parametrize("shift", [(0, 0), (9, -7), (-20, 12), (20, 15)])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_an_object_is_found_where_it_is(shift, noise):
    assert locate(*scene(shift, noise)).tolist() == list(shift)


def test_an_object_that_touches_the_border_is_found():
    frame, ground, colour, alpha = scene((0, 0))
    moved = ground.clone()
    moved[:, 18:30, 56:64] = frame[:, 18:30, 26:34]  # two thirds of it, the rest is off screen
    assert locate(moved, ground, colour, alpha).tolist() == [30, 0]


def test_an_invisible_object_is_refused():
    frame, ground, colour, alpha = scene((0, 0))
    with pytest.raises(ValueError, match="no visible pixel"):
        locate(frame, ground, colour, torch.zeros_like(alpha))


@pytest.fixture(scope="module")
def cases() -> list[DragCase]:
    sizes = SimpleNamespace(preset=preset("nano"))  # scenes need the geometry of a model, not the model
    return [*(drag_case(sizes, index) for index in range(3)), drag_case(sizes, 0, grab_chunk=2)]


def test_truth_has_no_error_and_a_static_copy_has_all_of_it(cases):
    for case in cases[:3]:
        width = case.video.shape[3]
        assert drag_error_pct(case.video[-1], case) < 100 * 1.5 / width
        assert case.shift_px > 0.1 * width


def test_cases_are_held_out_drags_of_one_thing(cases):
    again = drag_case(SimpleNamespace(preset=preset("nano")), 0)
    assert torch.equal(again.video, cases[0].video), "the same scenes every time"
    for case in cases:
        moved = (case.points[-1] - case.points[0]).norm(dim=-1)
        assert torch.allclose(moved, moved.mean().expand_as(moved), atol=1e-3), "one rigid thing"
        assert "moves" in case.caption


@pytest.mark.parametrize("setting", ["c1s1w2", "c2s1w1"])
def test_cases_do_not_depend_on_the_cache_setting(cases, setting):
    other = SimpleNamespace(preset=replace(preset("nano"), cache=CacheConfig.parse(setting)))
    assert torch.equal(drag_case(other, 0).video, cases[0].video)
    assert torch.equal(drag_case(other, 0, grab_chunk=2).points, cases[3].points)


def test_a_stream_of_chunks_that_overshoot_ends_with_the_case(engine):
    engine = with_cache(engine, CacheConfig.parse("c2s1w1"))  # chunks of 5, 8, 8, ... frames
    small = drag_case(engine, 0)
    frames = points_per_frame(small, 4, 0)
    assert stream_frames(engine, small, frames[:9]).shape[0] == 9
    whole = stream_frames(engine, small, frames[:9] + [frames[8]] * 4)
    assert torch.equal(whole[:9], stream_frames(engine, small, frames[:9]))


def test_a_late_grab_rests_until_its_chunk(cases):
    late = cases[3]
    travel = (late.points - late.points[:1]).norm(dim=-1).amax(dim=1)
    assert travel[:21].max() < 1e-3, "chunks 0 and 1 hold 21 frames"
    assert travel[-1] > 1
    frames = points_per_frame(late, 4, 21)
    assert [len(f) for f in frames[:22]] == [0] * 21 + [4]


def test_summary_counts():
    rows = [
        {"error_pct": 1.0, "kept_share": 0.5},
        {"error_pct": 3.0, "kept_share": None},
        {"error_pct": 8.0, "kept_share": 1.0},
    ]
    found = summary(rows)
    assert (found["median_pct"], found["mean_pct"], found["share_under_4pct"], found["n"]) == (3.0, 4.0, 0.667, 3)
    assert (found["kept_share"], found["left_behind"]) == (0.75, None), "over what is known"
    rests = rest_summary([{"rest_share": share, "rest_error": 2.0} for share in (0.2, *[1.0] * 9, 0.4)])
    assert (rests["share"], rests["share_of_worst_tenth"], rests["error_levels"], rests["n"]) == (0.873, 0.3, 2.0, 11)
