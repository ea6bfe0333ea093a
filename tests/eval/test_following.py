"""End-point error: 0 on the truth, the shift on shifted truth, and honest about what was lost."""

import numpy as np
import pytest
import torch

from motionstream.eval.following import end_point_error, measure_following, with_queries
from motionstream.tracks.tracks import Tracks


def moved(tracks: Tracks, dx: float, dy: float) -> Tracks:
    return Tracks(
        xy=tracks.xy + torch.tensor([dx, dy]), visible=tracks.visible, ids=tracks.ids, size=tracks.size, fps=tracks.fps
    )


def test_truth_has_no_error_and_a_shift_is_the_shift(pan):
    _, tracks = pan
    assert end_point_error(tracks, tracks).epe_px == 0
    assert end_point_error(tracks, moved(tracks, 3.0, -4.0)).epe_px == pytest.approx(5, abs=1e-5)


def test_the_queries_frame_does_not_count(pan):
    _, tracks = pan
    result = end_point_error(tracks, tracks)
    assert result.num_points == tracks.num_tracks * (tracks.num_frames - 1)


def test_points_that_were_lost_still_count(pan):
    _, tracks = pan
    unseen = tracks.visible.clone()
    unseen[:, 4:] = False
    found = moved(tracks, 2.0, 0.0)
    found = Tracks(xy=found.xy, visible=unseen, ids=found.ids, size=found.size, fps=found.fps)
    result = end_point_error(tracks, found)
    assert result.epe_px == pytest.approx(2, abs=1e-5)
    assert result.seen_share == pytest.approx(3 / 8)
    assert result.epe_seen_px == pytest.approx(2, abs=1e-5)
    nothing = Tracks(xy=found.xy, visible=unseen & False, ids=found.ids, size=found.size, fps=found.fps)
    assert end_point_error(tracks, nothing).epe_seen_px is None


def test_hidden_input_does_not_count(pan):
    _, tracks = pan
    wrong = tracks.xy.clone()
    wrong[:, 3, 0] += 50
    hidden = tracks.visible.clone()
    hidden[:, 3, 0] = False
    given = Tracks(xy=tracks.xy, visible=hidden, ids=tracks.ids, size=tracks.size, fps=tracks.fps)
    found = Tracks(xy=wrong, visible=tracks.visible, ids=tracks.ids, size=tracks.size, fps=tracks.fps)
    assert end_point_error(given, found).epe_px == 0


def test_retracking_the_truth_reads_its_floor(pan):
    frames, tracks = pan
    found = measure_following(frames, tracks)
    assert found["epe_px"] < 0.25
    assert found["seen_share"] > 0.95


def test_retracking_shifted_truth_reads_the_shift(pan):
    """The picture moves twice as fast as it was told: after frame t it is 2 t pixels off."""
    frames, tracks = pan
    slow = np.concatenate([frames[:1].repeat(2, 0), frames[1:5].repeat(2, 0)])[: len(frames)]
    told = 2.0 * np.arange(1, 9)
    shown = 2.0 * np.array([0, 1, 1, 2, 2, 3, 3, 4])
    assert measure_following(slow, tracks)["epe_px"] == pytest.approx(np.abs(told - shown).mean(), abs=0.3)


def test_a_track_that_begins_late_is_looked_for_from_there(pan):
    frames, tracks = pan
    late = tracks.visible.clone()
    late[:, :4, 0] = False
    given = Tracks(xy=tracks.xy, visible=late, ids=tracks.ids, size=tracks.size, fps=tracks.fps)
    kept, queries = with_queries(given)
    assert queries[0].tolist() == [4.0, *kept.xy[0, 4, 0].tolist()]
    assert measure_following(frames, given)["epe_px"] < 0.25


def test_what_cannot_be_measured(pan):
    frames, tracks = pan
    never = Tracks(xy=tracks.xy, visible=tracks.visible & False, ids=tracks.ids, size=tracks.size, fps=tracks.fps)
    with pytest.raises(ValueError, match="ever visible"):
        measure_following(frames, never)
    once = tracks.visible.clone()
    once[:, 1:] = False
    first = Tracks(xy=tracks.xy, visible=once, ids=tracks.ids, size=tracks.size, fps=tracks.fps)
    with pytest.raises(ValueError, match="after its first frame"):
        end_point_error(first, first)
    with pytest.raises(ValueError, match="do not fit"):
        measure_following(frames[:5], tracks)
    with pytest.raises(ValueError, match="cannot be compared"):
        end_point_error(tracks, tracks.slice_frames(0, 5))
