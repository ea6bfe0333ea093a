"""Points that cover a stream for ever: replaced where lost, never more than the cells can hold, ids used once."""

import numpy as np
import pytest

from motionstream.tracking import make_tracker
from motionstream.tracking.live import MAX_POINTS_PER_CELL, PATIENCE_FRAMES, LivePoints, LiveSeen, at_rate


def test_new_points_cover_what_comes_into_view(moving):
    frames = moving(lambda x, y, t: (x - 2 * t, y), num_frames=32)
    live = LivePoints(16)
    first = live.feed(frames[0])
    assert len(first.ids) == 6 * 8
    assert np.array_equal(first.xy, first.born)
    for frame in frames[1:]:
        seen = live.feed(frame)
        assert len(seen.ids) <= 6 * 8 * (MAX_POINTS_PER_CELL + 1)
        assert len(set(seen.ids.tolist())) == len(seen.ids)
    visible = seen.xy[seen.visible]
    covered = {(int(y) // 16, int(x) // 16) for x, y in visible}
    assert len(covered) >= 44
    assert live.reseeded > 20
    assert seen.ids.max() >= 48 + live.reseeded - 1
    old = seen.visible & (seen.ids < 48)
    assert old.sum() > 10
    assert np.abs(seen.xy[old] - seen.born[old] - [62, 0]).max() < 1


def test_a_still_picture_needs_no_new_points(moving):
    frames = moving(lambda x, y, t: (x, y), num_frames=6)
    live = LivePoints(16)
    ids = [live.feed(frame).ids.tolist() for frame in frames]
    assert ids == [ids[0]] * 6
    assert live.reseeded == 0


def test_nothing_is_put_where_there_is_no_texture(moving):
    frames = moving(lambda x, y, t: (x, y), num_frames=2)
    frames[:, :, :64] = 70
    seen = LivePoints(16).feed(frames[0])
    assert seen.xy[:, 0].min() > 56
    assert len(LivePoints(16).feed(np.zeros_like(frames[0])).ids) == 0


def test_a_mask_is_covered_and_its_holes_are_filled(moving):
    frames = moving(lambda x, y, t: (x - t, y), num_frames=40)
    mask = np.zeros((96, 128), bool)
    mask[16:80, 16:80] = True
    live = LivePoints(8, mask=mask)
    first = live.feed(frames[0])
    assert 50 <= len(first.ids) <= 64
    assert mask[first.xy[:, 1].astype(int), first.xy[:, 0].astype(int)].all()
    for frame in frames[1:]:
        seen = live.feed(frame)
    x = seen.xy[seen.visible, 0]
    assert x.min() > 16 + 39 - 8  # it went along and did not grow
    assert len(seen.ids) < 110


def test_hidden_points_give_up_their_place(moving):
    frames = moving(lambda x, y, t: (x, y), num_frames=PATIENCE_FRAMES + 6)
    other = moving(lambda x, y, t: (x, y), num_frames=1, seed=5)[0]
    live = LivePoints(16)
    ids = live.feed(frames[0]).ids
    for _ in range(PATIENCE_FRAMES + 4):  # a cut to another picture
        seen = live.feed(other)
    assert not set(ids.tolist()) & set(seen.ids[seen.visible].tolist())
    assert seen.visible.sum() > 30
    assert len(seen.ids) < 60


def test_bad_live_points(moving):
    with pytest.raises(ValueError, match="too dense"):
        LivePoints(2)
    with pytest.raises(ValueError, match="the mask is 3x4 pixels"):
        LivePoints(16, mask=np.ones((4, 3), bool)).feed(moving(lambda x, y, t: (x, y), num_frames=1)[0])

    tracker = make_tracker("lk")
    tracker.growing = False
    with pytest.raises(ValueError, match="takes points only at its start"):
        LivePoints(16, tracker=tracker)


def seen_at(t: float, ids: list[int], visible: list[bool] | None = None) -> LiveSeen:
    xy = np.array([[10 * i + t, 2 * t] for i in ids], np.float32).reshape(-1, 2)
    return LiveSeen(np.array(ids, np.int64), xy, np.array(visible or [True] * len(ids)), xy * 0)


@pytest.mark.parametrize(("fps", "wanted", "count"), [(12.5, 16, 13), (30, 16, 6), (16, 16, 11), (10, 40, 41)])
def test_points_are_read_at_another_rate(fps: float, wanted: float, count: int):
    found = list(at_rate((seen_at(t, [1, 2]) for t in range(11)), fps, wanted))
    assert len(found) == count
    for k, seen in enumerate(found):
        assert np.allclose(seen.xy, seen_at(k * fps / wanted, [1, 2]).xy, atol=1e-4)


def test_points_come_go_and_hide_between_frames():
    stream = [seen_at(0, [5, 1]), seen_at(1, [1, 7], [True, True]), seen_at(2, [1, 7], [False, True])]
    found = list(at_rate(stream, 1, 2))
    assert [seen.ids.tolist() for seen in found] == [[5, 1], [5, 1], [1, 7], [1, 7], [1, 7]]
    assert np.allclose(found[1].xy, [[50, 0], [10.5, 1]])  # 5 is not there any more: it waits
    assert np.allclose(found[3].xy, [[11, 2], [71.5, 3]])  # 1 is hidden in the next frame
    assert found[4].visible.tolist() == [False, True]
    with pytest.raises(ValueError, match="must be positive"):
        list(at_rate(stream, 0, 2))
