"""Few points hold the thing under them, many the picture between them."""

import math

import cv2
import numpy as np
import pytest
import torch

from motionstream.config import TrackConfig
from motionstream.shapes import VideoGeometry
from motionstream.stream.outline import outlines
from motionstream.stream.patch import FEW_POINTS, patches, reaches
from motionstream.stream.points import Point
from motionstream.stream.track_buffer import TrackBuffer

HEIGHT, WIDTH, CELL = 96, 128, 8
NEAR, FAR = np.array([20.0]), np.array([40.0])


def scene(disc: tuple[int, int, int] | None = (44, 40, 14)) -> np.ndarray:
    """A red disc (x, y, radius) and a yellow bar beside it on grainy green."""
    rng = np.random.default_rng(0)
    picture = np.clip(np.array([40, 110, 60]) + rng.normal(0, 12, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
    if disc is not None:
        cv2.circle(picture, disc[:2], disc[2], (200, 40, 40), -1)
    cv2.rectangle(picture, (64, 28), (76, 76), (220, 200, 60), -1)
    return picture


def inside(mask: np.ndarray) -> set[tuple[int, int]]:
    """Cells whose middle lies in the mask."""
    return {(x, y) for y in range(4, HEIGHT, 8) for x in range(4, WIDTH, 8) if mask[y, x]}


def disc_mask() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(x - 44, y - 40) <= 14


def buffer(picture: np.ndarray | None) -> TrackBuffer:
    return TrackBuffer(VideoGeometry(height=HEIGHT, width=WIDTH), TrackConfig(), 0, picture=picture)


def held(made: TrackBuffer, *points: Point, first: bool = False) -> set[tuple[float, float]]:
    """First places of the anchors that the points of one frame hold."""
    made.chunk([list(points)] * 12 if not first else [list(points)] * 9, first=first)
    slots = torch.cat([made.grips[point.id].slots for point in points])
    return {tuple(place) for place in made.home[slots[slots < made.num_anchors]].tolist()}


def started(picture: np.ndarray | None) -> TrackBuffer:
    made = buffer(picture)
    made.chunk([[]] * 9, first=True)
    return made


@pytest.mark.parametrize("at", [(44, 40), (38, 46), (52, 33)])
def test_a_point_on_a_thing_finds_its_outline(at):
    (found,) = outlines(scene(), np.array([at], float), NEAR, FAR, CELL)
    true = disc_mask()
    assert (found & true).sum() > 0.95 * true.sum()
    assert (found & ~true).sum() < 0.1 * true.sum()


def test_two_points_on_two_things_find_both():
    red, yellow = outlines(scene(), np.array([[44.0, 40.0], [70.0, 50.0]]), NEAR.repeat(2), FAR.repeat(2), CELL)
    assert (red & disc_mask()).sum() > 0.95 * disc_mask().sum()
    assert not red[50, 70]
    assert yellow[50, 70]
    assert not yellow[40, 44]


def test_the_same_question_has_the_same_answer_and_a_finer_picture_nearly():
    point = np.array([[44.0, 40.0]])
    (first,), (again,) = outlines(scene(), point, NEAR, FAR, CELL), outlines(scene(), point, NEAR, FAR, CELL)
    assert (first == again).all()
    large = cv2.resize(scene(), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    (found,) = outlines(large, point * 4, NEAR * 4, FAR * 4, CELL * 4)
    small = cv2.resize(found.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) > 0
    assert (small ^ first).sum() < 0.15 * first.sum()


def test_a_thing_far_from_the_corner_is_found_too(monkeypatch):
    """Of a large picture only the part around the points is looked at, and no finer than CELL_PX to a cell."""
    shape, away = (12 * HEIGHT // 4, 3 * WIDTH), np.array([200.0, 150.0])
    picture = np.full((*shape, 3), scene()[2, 2])
    picture[150 : 150 + HEIGHT, 200 : 200 + WIDTH] = scene()
    looked_at = []
    grab_cut = cv2.grabCut
    monkeypatch.setattr(cv2, "grabCut", lambda part, *more: (looked_at.append(part.shape[:2]), grab_cut(part, *more)))
    points = np.array([[-3.0, 5.0], away + (44.0, 40.0)])
    outside, found = outlines(picture, points, NEAR.repeat(2), FAR.repeat(2), CELL)
    assert not outside.any()
    assert (found[150 : 150 + HEIGHT, 200 : 200 + WIDTH] & disc_mask()).sum() > 0.95 * disc_mask().sum()
    assert found.sum() < 1.1 * disc_mask().sum()
    outlines(picture.repeat(2, axis=0).repeat(2, axis=1), 2 * points, 2 * NEAR.repeat(2), 2 * FAR.repeat(2), 2 * CELL)
    assert max(looked_at[0]) < 2 * (FAR[0] + 3 * CELL) + 2
    assert np.allclose(looked_at[0], looked_at[1], atol=1)


def test_an_outline_ends_where_it_was_told_to():
    (found,) = outlines(scene(), np.array([[70.0, 32.0]]), np.array([10.0]), np.array([20.0]), CELL)  # the bar's upper end
    y, x = found.nonzero()
    assert np.hypot(x + 0.5 - 70, y + 0.5 - 32).max() <= 20
    assert y.max() > 44


def test_nothing_is_found_outside_in_crowds_and_in_pictures_of_a_few_cells():
    outside = np.array([[-3.0, 5.0], [5.0, 96.0], [np.nan, np.nan]])
    assert not outlines(scene(), outside, NEAR.repeat(3), FAR.repeat(3), CELL).any()
    assert not outlines(scene()[:16, :16], np.array([[8.0, 8.0]]), NEAR, FAR, CELL).any()
    everywhere = np.stack(np.meshgrid(np.arange(8, WIDTH, 16.0), np.arange(8, HEIGHT, 16.0)), -1).reshape(-1, 2)
    assert not outlines(scene(), everywhere, NEAR.repeat(len(everywhere)), FAR.repeat(len(everywhere)), CELL).any()


@pytest.mark.parametrize("first", [True, False])
def test_a_lone_point_holds_its_thing_and_nothing_else(first):
    made = buffer(scene()) if first else started(scene())
    assert held(made, Point(1, 46.0, 42.0), first=first) == inside(disc_mask())
    plain = buffer(None) if first else started(None)
    assert len(held(plain, Point(1, 46.0, 42.0), first=first)) > 1.5 * len(inside(disc_mask())), "a disc of three cells"


def test_a_thing_that_has_moved_is_still_known():
    made = started(scene())
    way = [[Point(1, 44.0 + 3 * t, 40.0)] for t in range(12)]  # over the bar, to the other side of it
    made.chunk(way, first=False)
    made.chunk([[]] * 12, first=False)
    assert held(made, Point(2, 80.0, 44.0)) == inside(disc_mask())


def test_points_on_one_thing_share_it_and_can_turn_it():
    made = started(scene())
    assert held(made, Point(1, 36.0, 40.0), Point(2, 54.0, 40.0)) == inside(disc_mask())
    left, right = (made.home[made.grips[key].slots][:, 0].tolist() for key in (1, 2))
    assert max(left) <= min(right)
    assert min(len(left), len(right)) >= 2


def test_a_speck_is_held_as_a_disc_and_new_picture_too():
    speck = scene(disc=(44, 40, 3))
    assert len(held(started(speck), Point(1, 44.0, 40.0))) > 10
    made = started(scene())
    made.place[: made.num_anchors] += 60  # all went away to the lower right: nothing is known of what came in
    made.chunk([[Point(1, 10.0, 10.0)]] * 12, first=False)
    assert made.grips[1].slots.tolist() == [made.num_anchors]


def dab(x: float, y: float, turn: float = 0.0, scale: float = 1.0) -> list[Point]:
    """Five points as the studio's brush of 8 pixels has them, turned and scaled about (x, y)."""
    spots = [0j, 6 + 0j, -6 + 0j, 6j, -6j]
    turned = [spot * scale * complex(math.cos(turn), math.sin(turn)) for spot in spots]
    return [Point(n, x + spot.real, y + spot.imag) for n, spot in enumerate(turned)]


@pytest.mark.parametrize("spacing", [2.0, 6.0])
def test_a_dab_holds_its_thing_however_fine_it_is(spacing):
    steps = np.arange(-8 // spacing, 8 // spacing + 1) * spacing
    spots = [(x, y) for x in steps for y in steps if math.hypot(x, y) <= 8]
    points = [Point(n, 44 + x, 40 + y) for n, (x, y) in enumerate(spots)]
    found, true = held(started(scene()), *points), inside(disc_mask())
    assert found <= true
    assert len(true - found) <= 1


def test_a_larger_brush_holds_what_it_covers():
    spots = [(x, y) for x in range(-12, 13, 6) for y in range(-12, 13, 6)]
    brush = [Point(n, 70.0 + x, 66.0 + y) for n, (x, y) in enumerate(spots)]  # the lower end of the bar
    assert held(started(scene()), *brush) == held(started(None), *brush)


def test_what_a_dab_holds_turns_and_grows_with_it():
    made = started(scene())
    home = dict(enumerate(made.home.tolist()))
    tracks = made.chunk([dab(44, 40)] * 6 + [dab(60, 50, turn=math.pi / 2, scale=1.5)] * 6, first=False)
    for n, (x, y) in home.items():
        if any(n in grip.slots for grip in made.grips.values()):
            spot = complex(x - 44, y - 40) * 1.5j + complex(60, 50)
            assert made.place[n].tolist() == pytest.approx([spot.real, spot.imag], abs=1e-3)
    assert (tracks[0][0, -1, :, 0] < WIDTH).all()


def test_a_dab_of_which_points_are_let_go_is_held_by_the_rest():
    made = started(scene())
    rest = dab(44, 40)[:1]
    made.chunk([dab(44, 40)] * 6 + [rest] * 6, first=False)
    assert torch.isfinite(made.place).all()
    assert (made.place[: made.num_anchors] - made.home).norm(dim=-1).max() < 1e-3


def test_a_dab_goes_back_with_the_stream():
    made = started(scene())
    made.chunk([dab(44, 40)] * 12, first=False)
    saved = made.snapshot()
    turned = [[dab(44 + t, 40, turn=t / 12) for t in range(12)] for _ in range(2)]
    one = made.chunk(turned[0], first=False)
    made.restore(saved)
    two = made.chunk(turned[1], first=False)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_dab_in_a_crowd_is_part_of_the_crowd():
    """Points of ready-made tracks that come in between others, three at a time."""
    others = [Point(100 + n, 24.0 + 12 * (n % 4), 22.0 + 12 * (n // 4)) for n in range(16)]
    made, plain = started(scene()), started(None)
    for one in (made, plain):
        one.chunk([others] * 4 + [[*others, *dab(42, 40)]] * 8, first=False)
        assert all(one.grips[point.id].dab is None for point in dab(42, 40))
    assert torch.equal(made.place, plain.place)


def test_a_crowd_holds_discs():
    """Beyond FEW_POINTS what lies under them is not looked for: their number shows how far the thing reaches."""
    made = started(scene())
    crowd = [Point(n, 30.0 + 9 * (n % 4), 26.0 + 9 * (n // 4)) for n in range(FEW_POINTS + 1)]
    plain = started(None)
    assert held(made, *crowd) == held(plain, *crowd)


def test_close_points_hold_discs():
    """A disc of less than a cell says by itself how far the thing reaches."""
    pair = Point(1, 44.0, 40.0), Point(2, 51.0, 40.0)
    assert held(started(scene()), *pair) == held(started(None), *pair)
    apart = Point(1, 44.0, 40.0), Point(2, 53.0, 40.0)
    assert held(started(scene()), *apart) == inside(disc_mask())


def test_points_of_other_gestures_are_no_crowd():
    """A pin says what stays, not what its neighbour is."""
    around = [(50 + 38 * math.cos(n), 44 + 38 * math.sin(n)) for n in range(FEW_POINTS + 1)]
    places, anchors = torch.tensor([(50.0, 44.0), *around]), buffer(None).home
    seen = torch.cat([places[:1], anchors])
    alone = torch.arange(len(places)) == 0
    for mates, wanted in ((alone, inside(disc_mask())), (torch.ones_like(alone), None)):
        (mine,) = patches(places, torch.tensor([0]), anchors, CELL, mates=mates, picture=scene(), seen=seen)
        assert ({tuple(place) for place in anchors[mine].tolist()} == wanted) is (wanted is not None)


@pytest.mark.parametrize(("fellows", "reach"), [([], 24), ([12], 12), ([12, 20], 13), ([12, 20, 30], 15), ([4, 5, 6], 4)])
def test_how_far_a_disc_reaches(fellows, reach):
    places = torch.tensor([[float(x), 16.0] for x in [0, *fellows]])
    assert reaches(places, torch.tensor([0]), CELL).tolist() == [pytest.approx(reach)]


def test_nothing_farther_than_a_thing_may_reach_is_held():
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    anchors = buffer(None).home
    mine = patches(
        torch.tensor([[60.0, 50.0]]),
        torch.tensor([0]),
        anchors,
        CELL,
        picture=flat,
        seen=torch.cat([torch.tensor([[60.0, 50.0]]), anchors]),
    )
    assert (anchors[mine[0]] - torch.tensor([60.0, 50.0])).norm(dim=-1).max() <= FAR[0]
    assert mine.any()


def test_a_lone_point_holds_as_much_of_a_picture_of_any_size():
    """A disc of three cells of 8 pixels in 128, of 12 in 192; of 16 in what is larger."""
    for width, wanted in ((64, 24.0), (128, 24.0), (192, 36.0), (832, 48.0)):
        geometry = VideoGeometry(height=width * 3 // 4, width=width)
        made = TrackBuffer(geometry, TrackConfig(), 0)
        middle = geometry.width / 2 + 4, geometry.height // 16 * 8 + 4
        places = held(made, Point(0, *middle), first=True)
        reach = max(math.hypot(x - middle[0], y - middle[1]) for x, y in places)
        assert wanted - 8 < reach <= wanted, width
