"""Shares of a known thing: truth reads 1, 0 and 1, a static copy the opposite, a half-transparent one a half."""

from types import SimpleNamespace

import pytest
import torch

from motionstream.eval.drags import DragCase, drag_case, drag_shares, rest_measures
from motionstream.eval.presence import change_inside, psnr_beside, share_at, smooth_fill
from motionstream.presets import preset


@pytest.fixture(scope="module")
def cases() -> list[DragCase]:
    geometry = SimpleNamespace(preset=preset("nano"))  # no model is needed
    return [drag_case(geometry, index) for index in range(6)]


def shown(case: DragCase, new: float, old: float, ground: torch.Tensor | None = None) -> torch.Tensor:
    """The last frame with so much of the object at its old place, and in front of it so much at its new one."""
    frame = case.background if ground is None else ground
    frame = frame + old * case.old_alpha * (case.old_colour - frame)
    return frame + new * case.alpha * (case.colour - frame)


def test_the_synthetic_frames_are_those_of_the_renderer(cases):
    for case in cases:
        assert torch.allclose(shown(case, 1, 0), case.video[-1], atol=1e-3)
        assert torch.allclose(shown(case, 0, 1), case.video[0], atol=1e-3)


@pytest.mark.parametrize(("new", "old"), [(1, 0), (0, 1), (1, 1), (0, 0), (0.5, 0), (0, 0.5), (0.5, 0.25)])
def test_shares_after_a_drag(cases, new: float, old: float):
    """Where the two places overlap neither is asked, so each reads what was drawn whatever the other does."""
    for case in cases:
        found = drag_shares(shown(case, new, old), case)
        assert found["kept_share"] == pytest.approx(new, abs=1e-3)
        assert found["left_behind"] == pytest.approx(old, abs=1e-3)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_shares_at_rest(cases, share: float):
    for case in cases:
        found = rest_measures(shown(case, 0, share), case)
        assert found["rest_share"] == pytest.approx(share, abs=1e-3)
        if share == 1:
            assert found["rest_error"] < 0.1
            assert found["rest_psnr_gap_db"] == pytest.approx(0, abs=0.1)
        else:
            assert found["rest_error"] > 5
            assert found["rest_psnr_gap_db"] < -1


def test_a_smooth_fill_of_the_hole_is_no_trace_of_the_object(cases):
    """The ground behind the object was never seen. Filled from what is around, it must not read as a ghost."""
    filled, plain = [], []
    for case in cases:
        frame = shown(case, 1, 0, smooth_fill(case.background, case.old_alpha))
        filled.append(drag_shares(frame, case)["left_behind"])
        plain.append(share_at(frame, case.background, case.old_colour, case.old_alpha, not_where=case.alpha))
        assert drag_shares(frame, case)["kept_share"] == pytest.approx(1, abs=0.02)
    assert max(filled) < 0.05
    assert sum(plain) > 3 * sum(filled), "what the fill is taken out for"


def test_where_shares_misread(cases):
    """What docs/evaluation.md warns of: read as left behind though nothing is, and as gone though the thing is there."""
    late, invented, soft = [], [], []
    for k, case in enumerate(cases):
        way = [int(value) for value in (0.5 * (centre(case.old_alpha) - centre(case.alpha))).round()]
        colour, alpha = (torch.roll(picture, way[::-1], (-2, -1)) for picture in (case.colour, case.alpha))
        late.append(drag_shares(case.background + alpha * (colour - case.background), case))
        other = cases[(k + 1) % len(cases)].background
        ground = case.background + case.old_alpha * (other - case.background)
        invented.append(drag_shares(shown(case, 1, 0, ground), case))
        soft.append(drag_shares(torch.nn.functional.avg_pool2d(shown(case, 1, 0), 9, 1, 4, count_include_pad=False), case))
    assert max(row["left_behind"] for row in late) > 0.2, "it only covers its old place still"
    assert max(row["left_behind"] for row in invented) > 0.3
    assert all(row["kept_share"] == pytest.approx(1, abs=1e-3) for row in invented)
    assert min(row["kept_share"] for row in soft) < 0.9


def centre(alpha: torch.Tensor) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in alpha.shape[-2:]), indexing="ij")
    return torch.stack([(alpha[0] * x).sum(), (alpha[0] * y).sum()]) / alpha.sum()


def test_noise_moves_a_share_little(cases):
    generator = torch.Generator().manual_seed(0)
    for case in cases:
        frame = shown(case, 0.8, 0.3)
        noisy = frame + 0.05 * torch.randn(frame.shape, generator=generator)
        assert drag_shares(noisy, case)["kept_share"] == pytest.approx(0.8, abs=0.05)
        assert drag_shares(noisy, case)["left_behind"] == pytest.approx(0.3, abs=0.05)


def test_what_cannot_be_told_is_none(cases):
    case = cases[0]
    everywhere = torch.ones_like(case.alpha)
    assert share_at(case.video[-1], case.background, case.colour, case.alpha, not_where=everywhere) is None
    assert share_at(case.video[-1], case.background, case.background, case.alpha) is None, "no contrast"
    fill = smooth_fill(case.background, case.alpha)
    assert share_at(case.video[-1], case.background, fill, case.alpha, hidden=True) is None, "it looks like its ground"


def test_shares_stay_between_0_and_1(cases):
    case = cases[0]
    for frame in (shown(case, 1.7, 0), shown(case, -0.5, 0)):
        assert 0 <= share_at(frame, case.background, case.colour, case.alpha) <= 1


def test_change_inside_has_known_values():
    picture, alpha = torch.full((3, 8, 8), 0.5), torch.zeros(1, 8, 8)
    alpha[:, :4, :4] = 1
    frame = picture.clone()
    frame[:, :4, :4] += 0.1
    levels, gap = change_inside(frame, picture, alpha)
    assert levels == pytest.approx(25.5, abs=1e-3)
    assert gap == pytest.approx(-6.02, abs=0.01), "a quarter of the picture has all of the error"
    assert change_inside(picture, picture, alpha) == (0, 0)


def test_what_lies_beside_a_thing_counts_and_the_thing_does_not(cases):
    for case in cases:
        truth, places = case.video[-1], (case.alpha, case.old_alpha)
        assert psnr_beside(truth, truth, *places) == 60, "equal, as much as eight bits can tell"
        thing = torch.maximum(*places) > 0.01
        assert psnr_beside(torch.where(thing, 1 - truth, truth), truth, *places) == 60
        far = torch.nn.functional.max_pool2d(thing.float(), 45, 1, 22) > 0
        assert psnr_beside(torch.where(far, truth, 1 - truth), truth, *places) == 60, "only the neighbourhood"
        wiped = torch.where(thing, truth, truth + 0.1)
        assert psnr_beside(wiped, truth, *places) == pytest.approx(20, abs=0.01)


def test_where_nothing_lies_beside_a_thing_there_is_no_figure():
    picture = torch.zeros(3, 8, 8)
    assert psnr_beside(picture, picture, torch.ones(1, 8, 8)) is None
