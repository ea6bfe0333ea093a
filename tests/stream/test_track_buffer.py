"""Live points become tracks whose codes the sink knows, wherever their thing has gone meanwhile."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.config import TrackConfig
from motionstream.shapes import VideoGeometry
from motionstream.stream import patch
from motionstream.stream.points import MAX_POINTS, Point
from motionstream.stream.track_buffer import TrackBuffer
from motionstream.tracks.origin import origins, rasterize_origins

GEOMETRY = VideoGeometry(height=32, width=64)
Shown = dict[int, list[float]]


def buffer(seed: int = 0) -> TrackBuffer:
    return TrackBuffer(GEOMETRY, TrackConfig(), seed)


def started() -> TrackBuffer:
    made = buffer()
    made.chunk([[]] * 9, first=True)
    return made


def shown(tracks: tuple[torch.Tensor, torch.Tensor, torch.Tensor], t: int) -> Shown:
    """Visible ids and places in frame t."""
    xy, visible, ids = tracks
    return {int(ids[0, n]): xy[0, t, n].tolist() for n in range(ids.shape[1]) if visible[0, t, n]}


def id_of(home: tuple[float, float], made: TrackBuffer) -> int:
    """Id of the anchor that starts at ``home``."""
    return int(made.ids[0, (made.home - torch.tensor(home)).norm(dim=1).argmin()])


def test_anchors_cover_the_picture_in_frame_0_alone():
    made = buffer()
    tracks = made.chunk([[]] * 9, first=True)
    first = shown(tracks, 0)
    assert len(first) == 4 * 8
    assert sorted(first.values()) == sorted([8.0 * x + 4, 8.0 * y + 4] for x in range(8) for y in range(4))
    assert all(not shown(tracks, t) for t in range(1, 9))
    later = made.chunk([[]] * 12, first=False)
    assert later[0].shape == (1, 12, 0, 2)


@pytest.fixture(autouse=True)
def _small_patches(monkeypatch):
    """Patches of one size keep the numbers below easy to check; the test of lone points restores the real ones."""
    monkeypatch.setattr(patch, "PATCH_CELLS", (1.6, 1.6))


def test_a_lone_point_holds_a_larger_patch_than_one_of_several(monkeypatch):
    monkeypatch.setattr(patch, "PATCH_CELLS", (1.6, 3.0))
    lone = shown(started().chunk([[Point(1, 28.0, 12.0)]], first=False), 0)
    several = shown(started().chunk([[Point(1, 28.0, 12.0), Point(2, 34.0, 12.0)]], first=False), 0)
    reach = max(abs(x - 28) for x, _ in lone.values())
    assert reach == 24, "three cells"
    assert max(abs(x - 28) for x, _ in several.values()) < 24
    assert len(several) < len(lone)


def test_the_patches_of_a_brush_meet_and_hardly_stick_out(monkeypatch):
    """A brush of 3x3 points 8 pixels apart: all anchors under it move, of those around it only what half a gap reaches."""
    monkeypatch.setattr(patch, "PATCH_CELLS", (0.5, 3.0))
    for left, top in ((20.0, 12.0), (22.0, 11.0)):
        brush = [Point(3 * j + i, left + 8 * i, top + 8 * j) for j in range(3) for i in range(3)]
        held = shown(started().chunk([brush], first=False), 0)
        assert len(held) == 9, "one anchor for each point, none beside them"
        close = [Point(10 * j + i, left + 4 * i, top + 4 * j) for j in range(5) for i in range(5)]
        assert len(shown(started().chunk([close], first=False), 0)) == 9, "a closer brush over the same place moves the same"


def test_a_late_point_takes_the_nearest_anchor_even_where_they_were_drawn_apart(monkeypatch):
    """After a zoom anchors lie farther apart than a cell; past one that is held a point does not reach that far."""
    monkeypatch.setattr(patch, "PATCH_CELLS", (0.1, 0.1))
    made = started()
    made.place[: made.num_anchors] *= 1.6  # (12, 12) lies at (19.2, 19.2), (20, 12) at (32, 19.2)
    held = made.chunk([[Point(1, 25.0, 19.2)]], first=False)
    assert shown(held, 0)[id_of((12, 12), made)] == pytest.approx([19.2, 19.2]), "5.8 pixels away, and nobody's"
    both = made.chunk([[Point(1, 25.0, 19.2), Point(2, 25.5, 19.2)]], first=False)
    assert len(shown(both, 0)) == 1, "the next one is 6.5 pixels away"


def test_a_late_grab_takes_the_anchor_under_it_and_its_neighbours():
    made = started()
    tracks = made.chunk([[Point(7, 12.0, 20.0)], [Point(7, 30.0, 22.0)]], first=False)
    homes = [(x, y) for x in (4, 12, 20) for y in (12, 20, 28)]
    assert shown(tracks, 0) == {id_of(home, made): list(home) for home in homes}, "anchors within 1.5 cells, each at home"
    assert shown(tracks, 1) == {id_of(home, made): [home[0] + 18.0, home[1] + 2.0] for home in homes}
    # Beside the anchor: the anchor speaks for the point, at its own distance from it.
    made = started()
    tracks = made.chunk([[Point(7, 14.0, 19.0)], [Point(7, 34.0, 9.0)]], first=False)
    assert shown(tracks, 0)[id_of((12, 20), made)] == [12.0, 20.0]
    assert shown(tracks, 1)[id_of((12, 20), made)] == [32.0, 10.0]


def test_a_second_grab_after_the_thing_has_moved_takes_its_old_anchor():
    made = started()
    made.chunk([[Point(1, 12.0, 20.0)], [Point(1, 44.0, 12.0)]], first=False)
    made.chunk([[]], first=False)
    again = made.chunk([[Point(2, 44.0, 12.0)], [Point(2, 20.0, 12.0)]], first=False)
    assert shown(again, 0)[id_of((12, 20), made)] == [44.0, 12.0]
    assert shown(again, 1)[id_of((12, 20), made)] == [20.0, 12.0]
    # A neighbour travelled with it.
    made.chunk([[]], first=False)
    beside = made.chunk([[Point(3, 28.0, 12.0)]], first=False)
    assert shown(beside, 0)[id_of((20, 20), made)] == [28.0, 12.0]


def test_a_code_stays_while_a_point_is_held():
    made = started()
    path = [Point(1, 12.0 + n, 20.0 - n / 2) for n in range(30)]
    tracks = made.chunk([[point] for point in path], first=False)
    for t, point in enumerate(path):
        assert shown(tracks, t)[id_of((12, 20), made)] == [point.x, point.y]


def test_where_nothing_is_left_a_point_gets_a_code_of_its_own():
    made = started()
    made.chunk([[Point(1, 12.0, 20.0)], [Point(1, 60.0, 4.0)]], first=False)
    made.chunk([[]], first=False)
    # The anchors around (12, 20) are gone, and none is within reach of the very spot.
    tracks = made.chunk([[Point(2, 12.0, 20.0)], [Point(2, 15.0, 20.0)]], first=False)
    own = shown(tracks, 0).keys() - set(made.ids[0, : made.num_anchors].tolist())
    assert len(own) == 1
    assert [shown(tracks, t)[own.copy().pop()] for t in (0, 1)] == [[12.0, 20.0], [15.0, 20.0]]


def test_frame_0_points_have_own_codes_that_stay():
    made = buffer()
    anchors = set(made.ids[0, : made.num_anchors].tolist())
    tracks = made.chunk([[Point(1, 12.0, 20.0)]] * 9, first=True)
    own = shown(tracks, 8).keys() - anchors
    assert len(own) == 1
    assert len(shown(tracks, 0)) == made.num_anchors + 1
    later = shown(made.chunk([[Point(1, 40.0, 20.0)]], first=False), 0)
    assert later.keys() - anchors == own
    assert later[own.pop()] == [40.0, 20.0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 63), st.floats(0, 31)), min_size=2, max_size=8, unique=True), st.randoms())
def test_every_code_obeys_one_point_and_order_is_free(places, random):
    """Points near one another would fight for the anchors between them."""
    points = [Point(n, x, y) for n, (x, y) in enumerate(places)]
    moved = [Point(p.id, p.x / 2 + 3 * p.id, p.y / 2 + p.id) for p in points]
    shuffled = list(zip(points, moved, strict=True))
    random.shuffle(shuffled)
    one, other = started(), started()
    ours = one.chunk([points, moved], first=False)
    theirs = other.chunk([[p for p, _ in shuffled], [m for _, m in shuffled]], first=False)
    for t in (0, 1):
        assert shown(ours, t) == shown(theirs, t)
    slots = [int(slot) for grip in one.grips.values() for slot in grip.slots]
    assert len(slots) == len(set(slots))
    assert len(one.grips) == len(points)
    # Whoever it obeys, a code moves exactly as that point does.
    steps = [(m.x - p.x, m.y - p.y) for p, m in zip(points, moved, strict=True)]
    before, after = shown(ours, 0), shown(ours, 1)
    for name in before.keys() & after.keys():
        step = tuple(b - a for a, b in zip(before[name], after[name], strict=True))
        assert any(step == pytest.approx(wanted, abs=1e-3) for wanted in steps)


def test_points_beyond_the_edge_are_told_too():
    """Or what was dragged out of the picture would be taken to be where it was at first."""
    made = started()
    tracks = made.chunk([[Point(1, 60.0, 4.0)], [Point(1, 99.0, 4.0)], [Point(1, 62.0, 4.0)]], first=False)
    assert all(id_of((60, 4), made) in shown(tracks, t) for t in (0, 1, 2))


def test_a_hand_knows_nothing_of_tracks_that_are_gone():
    made = started()
    for points, remember in (([Point(1, 20.0, 20.0)], True), ([], True), ([Point(1, 44.0, 12.0)], False)):
        made.chunk([points] * 2, first=False, remember=remember)
    assert made.place[: made.num_anchors].equal(made.home)


def test_who_leaves_a_dab_turns_it_no_more():
    made = started()
    made.picture = np.zeros((GEOMETRY.height, GEOMETRY.width, 3), np.uint8)
    dab = [Point(1, 20.0, 14.0), Point(2, 24.0, 14.0), Point(3, 22.0, 17.0)]
    made.chunk([dab], first=False)
    assert made.grips[1].dab is not None
    made.chunk([dab[:2]], first=False)
    made.chunk([[*dab[:2], Point(3, 52.0, 26.0)]], first=False)  # another point by the name of one that left
    assert made.place[: made.num_anchors].numpy() == pytest.approx(made.home.numpy(), abs=1e-3)


def test_reset_is_a_new_buffer_and_the_seed_names_the_codes():
    made = started()
    before = made.chunk([[Point(1, 12.0, 20.0)], [Point(1, 44.0, 12.0)]], first=False)
    made.reset()
    assert made.frame == 0
    made.chunk([[]] * 9, first=True)
    after = made.chunk([[Point(1, 12.0, 20.0)], [Point(1, 44.0, 12.0)]], first=False)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(buffer(3).ids, buffer(3).ids)
    assert not torch.equal(buffer(3).ids, buffer(4).ids)


@pytest.mark.parametrize(("remember", "home"), [(True, (12, 20)), (False, (44, 12))])
def test_a_track_that_comes_back_holds_what_it_held_and_a_hand_what_is_there(remember, home):
    made = started()
    made.chunk([[Point(1, 12.0, 20.0)], []], first=False, remember=remember)
    back = made.chunk([[Point(1, 44.0, 12.0)]], first=False, remember=remember)
    assert shown(back, 0)[id_of(home, made)] == [44.0, 12.0]
    assert len(shown(back, 0)) == 9


def crowd_of(count: int, shift: float = 0.0) -> list[Point]:
    return [Point(n, (0.37 * n + shift) % 64, (0.11 * n) % 32) for n in range(count)]


def test_ready_made_tracks_may_be_as_many_as_the_papers_grid():
    made, plain = buffer(), buffer()
    tracks = made.chunk([crowd_of(2500)] * 9, first=True, remember=True)
    held = shown(tracks, 8)
    assert len(held) == 2500 + made.num_anchors, "every point of frame 0 has a code of its own, and holds its patch"
    assert torch.equal(made.ids[:, : plain.ids.shape[1]], plain.ids), "the codes of fewer points are what they were"
    size = len(made.place)
    for turn in range(4):
        later = made.chunk([crowd_of(2500, turn + t) for t in range(12)], first=False, remember=True)
        own = shown(later, 11).keys() - set(made.ids[0, : made.num_anchors].tolist())
        assert own < held.keys()
        assert len(own) == 2500
        assert len(made.place) == size == made.num_anchors + 2500
    assert shown(later, 11)[int(made.ids[0, made.grips[2].slots[0]])] == pytest.approx([0.74 + 3 + 11, 0.22])


def test_a_grown_buffer_starts_over_and_goes_back():
    made = buffer()
    before = made.snapshot()
    first = made.chunk([crowd_of(2500)] * 2, first=True)
    grown = made.snapshot()
    second = made.chunk([crowd_of(2500, 5.0)] * 2, first=False)
    made.restore(before)
    assert len(made.place) == len(made.ids[0]) == made.num_anchors + MAX_POINTS
    assert all(map(torch.equal, made.chunk([crowd_of(2500)] * 2, first=True), first))
    made.reset()
    made.restore(grown)
    assert all(map(torch.equal, made.chunk([crowd_of(2500, 5.0)] * 2, first=False), second))
    made.reset()
    assert all(map(torch.equal, made.chunk([crowd_of(9)], first=True), buffer().chunk([crowd_of(9)], first=True)))


def test_more_points_than_the_model_has_ids_for_are_refused():
    made = TrackBuffer(GEOMETRY, TrackConfig(id_range=1200), 0)
    made.chunk([crowd_of(1100)], first=True)
    with pytest.raises(ValueError, match="1300 points at once: this model tells at most 1168 apart"):
        made.chunk([crowd_of(1300)], first=False)


def test_codes_never_run_out_however_many_ready_made_tracks_come_and_go():
    wide = VideoGeometry(height=256, width=512)  # more picture than anchors can speak for
    made = TrackBuffer(wide, TrackConfig(), 0)
    made.home += 5000  # ... and no anchor is near
    made.reset()
    made.chunk([[]] * 9, first=True)
    for turn in range(8):
        points = [Point(1000 * turn + n, 1.0 + 16 * (n % 30), 1.0 + 16.0 * (n // 30)) for n in range(300)]
        _, visible, ids = made.chunk([points] * 2, first=False, remember=True)
        held = ids[0, visible[0, 0]]
        assert len(held) == len(set(held.tolist())) == 300


def test_a_crowd_of_points_holds_every_anchor_once_and_no_unknown_code():
    made = started()
    crowd = [Point(n, 10.0 + 2 * (n % 8), 8.0 + 2 * (n // 8)) for n in range(64)]
    tracks = made.chunk([crowd], first=False)
    known = set(made.ids[0, : made.num_anchors].tolist())
    held = shown(tracks, 0)
    assert held.keys() <= known
    assert sum(len(grip.slots) for grip in made.grips.values()) == len(held)
    for key, place in held.items():
        home = made.home[(made.ids[0, : made.num_anchors] == key).nonzero()[0, 0]]
        assert home.tolist() == pytest.approx(place)  # nothing has moved yet


def test_what_was_moved_and_let_go_is_held_where_it_was_left():
    free, kept = buffer(), TrackBuffer(GEOMETRY, TrackConfig(), 0, hold_moved=True)
    drag = [[Point(1, 20.0 + t, 20.0)] for t in range(9)]
    for made in (free, kept):
        made.chunk(drag, first=True)
    assert free.chunk([[]] * 12, first=False)[1].sum() == 0, "the model is told nothing"
    xy, visible, ids = kept.chunk([[]] * 12, first=False)
    assert visible.all()
    for place, name in zip(xy[0, 0], ids[0], strict=True):
        slot = int((kept.ids[0] == name).nonzero()[0])
        assert torch.equal(place, kept.place[slot])
        assert (kept.place[slot] - kept.home[slot]).tolist() == pytest.approx([8.0, 0.0])


def test_tracks_made_before_are_never_held_beyond_what_they_say():
    made = TrackBuffer(GEOMETRY, TrackConfig(), 0, hold_moved=True)
    made.chunk([[Point(1, 20.0 + t, 20.0)] for t in range(9)], first=True, remember=True)
    assert made.chunk([[]] * 12, first=False, remember=True)[1].sum() == 0


def test_a_grip_that_cannot_be_taken_up_again_gives_its_code_back():
    made, one, hand = buffer(), Point(1, 30.0, 12.0), Point(2, 30.0, 12.0)
    free = sorted(made._free)
    made.chunk([[one], []], first=True, remember=True)
    made.chunk([[hand], [one, hand], []], first=False)  # the hand has its patch when it comes back
    assert sorted(made._free) == free


PLACES = TrackConfig(code="origin", code_dim=22)


def test_what_is_beyond_the_edge_has_left_its_place():
    """The last channel of the codes that tell places says so; no cell is told that it is there."""
    made = TrackBuffer(GEOMETRY, PLACES, 0)
    made.chunk([[]], first=True)
    there = made.home[made.num_anchors // 2].tolist()
    xy, visible, ids = made.chunk([[Point(1, *there)], [Point(1, there[0] + 500, there[1])]], first=False)
    grid = GEOMETRY.latent_height, GEOMETRY.latent_width
    told = rasterize_origins(xy, visible, ids, grid=grid, stride=GEOMETRY.stride, config=PLACES)[0]
    column, row = int(there[0] // GEOMETRY.stride), int(there[1] // GEOMETRY.stride)
    assert told[0, -1].abs().sum() == 0
    assert told[1, -1, row, column] > 0
    assert told[0, :-1, row, column].abs().sum() > 0
    assert told[1, :-1].abs().sum() == 0


def beginnings(made: TrackBuffer, tracks: tuple[torch.Tensor, torch.Tensor, torch.Tensor], t: int) -> list:
    """Of visible tracks in frame t, by their place there: where they began and whether that was later than frame 0."""
    xy, visible, ids = tracks
    place, late = origins(ids[0])
    seen = visible[0, t].nonzero()[:, 0].tolist()
    return sorted((xy[0, t, n].tolist(), place[n].tolist(), bool(late[n])) for n in seen)


def test_ids_of_places_say_where_anchors_and_points_begin():
    made = TrackBuffer(GEOMETRY, PLACES, 0)
    first = made.chunk([[Point(7, 30.0, 13.0)]] * 9, first=True)
    assert ([30.0, 13.0], [30.0, 13.0], False) in beginnings(made, first, 0)
    assert all(place == home and not late for place, home, late in beginnings(made, first, 0))
    later = made.chunk([[Point(7, 46.0, 13.0)]], first=False)
    told = beginnings(made, later, 0)
    assert ([46.0, 13.0], [30.0, 13.0], False) in told
    assert all(place[0] - home[0] == 16 and place[1] == home[1] for place, home, _ in told)


def test_a_hand_that_comes_late_moves_what_has_its_beginning_in_frame_0():
    made = TrackBuffer(GEOMETRY, PLACES, 0)
    made.chunk([[]] * 9, first=True)
    made.chunk([[Point(1, 20.0, 12.0)]], first=False)
    told = beginnings(made, made.chunk([[Point(1, 25.0, 12.0)]], first=False), 0)
    assert told
    assert all(home == [place[0] - 5, place[1]] and not late for place, home, late in told)


def test_a_point_on_new_picture_begins_where_it_is_first_seen():
    made = TrackBuffer(GEOMETRY, PLACES, 0)
    made.chunk([[]] * 9, first=True)
    made.place[: made.num_anchors] += 1000  # the camera has gone on: no anchor came with what is here
    before = made.snapshot()
    first = beginnings(made, made.chunk([[Point(1, 20.0, 12.0)]], first=False), 0)
    assert first == [([20.0, 12.0], [20.0, 12.0], True)]
    assert beginnings(made, made.chunk([[Point(1, 28.0, 13.0)]], first=False), 0) == [([28.0, 13.0], [20.0, 12.0], True)]
    made.restore(before)
    assert beginnings(made, made.chunk([[Point(2, 9.0, 5.0)]], first=False), 0) == [([9.0, 5.0], [9.0, 5.0], True)]
    made.reset()
    assert made.ids.max() < 2**42, "nothing begins late any more"


def test_more_points_than_spare_slots_have_their_beginnings_too():
    made = TrackBuffer(GEOMETRY, PLACES, 0, spare=2)
    points = [Point(n, 3.0 + 5 * n, 9.0) for n in range(12)]
    first = beginnings(made, made.chunk([points], first=True), 0)
    for point in points:
        assert ([point.x, point.y], [point.x, point.y], False) in first
    again = made.chunk([[Point(p.id, p.x + 2, p.y) for p in points]], first=False)
    for point in points:
        assert ([point.x + 2, point.y], [point.x, point.y], False) in beginnings(made, again, 0)


def test_new_picture_has_codes_only_for_a_model_that_learnt_them():
    told = []
    for learnt in (True, False):
        made = TrackBuffer(GEOMETRY, PLACES, 0, late_codes=learnt)
        made.chunk([[]] * 9, first=True)
        panned = [Point(n, float(x) + 24, float(y)) for n, (x, y) in enumerate(made.home.tolist())]
        held = [Point(point.id, point.x - 24, point.y) for point in panned]
        made.chunk([held, panned], first=False)
        made.chunk([[*panned, Point(9999, 3.0, 12.0)]], first=False)
        told.append(
            [late for _, _, late in beginnings(made, made.chunk([[*panned, Point(9999, 3.0, 12.0)]], first=False), 0)]
        )
    assert sum(told[0]) == 1
    assert not any(told[1])
    assert len(told[1]) == len(told[0]) - 1
