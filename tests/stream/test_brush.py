"""A brush that is set on a thing takes the thing, and leaves alone what it covers beside it."""

import dataclasses
import json

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from motionstream.presets import nano
from motionstream.stream.brush import on_thing, snapped, thing_under
from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, GestureBoard, Motion
from motionstream.stream.points import WHOLE_PICTURE, Point
from motionstream.stream.pushes import resample_pushes
from motionstream.stream.take import Take
from motionstream.stream.track_buffer import TrackBuffer
from motionstream.tracks.strokes import brush_offsets

PRESET = nano()
H, W = PRESET.geometry.height, PRESET.geometry.width
MIDDLE = (90.0, 70.0)
CELL = 8.0


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red ellipse on rough green ground, and where it is."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:H, :W] + 0.5
    thing = ((columns - MIDDLE[0]) / 34) ** 2 + ((rows - MIDDLE[1]) / 16) ** 2 <= 1
    picture = np.where(thing[..., None], (190, 50, 40), (60, 120, 50)) + rng.integers(-25, 26, (H, W, 3))
    return picture.astype(np.uint8), thing


def brush(radius: float = 34.0, spacing: float = 9.0) -> np.ndarray:
    return np.array(MIDDLE) + brush_offsets(radius, spacing)


@pytest.mark.parametrize("radius", [30.0, 34.0, 45.0])
def test_the_thing_is_found_in_the_brush(scene, radius):
    picture, thing = scene
    found = thing_under(picture, brush(radius), CELL)
    within = np.hypot(*(np.mgrid[:H, :W][::-1] + 0.5 - np.array(MIDDLE)[:, None, None])) <= radius
    assert (found & thing).sum() / ((found | thing) & within).sum() > 0.9


def test_a_finer_picture_gives_the_same_thing(scene):
    picture, thing = scene
    fine = picture.repeat(3, axis=0).repeat(3, axis=1)
    found = thing_under(fine, 3 * brush(), 3 * CELL)[1::3, 1::3]
    assert (found & thing).sum() / (found | thing).sum() > 0.9


@pytest.fixture(scope="module")
def flower(scene) -> tuple[np.ndarray, np.ndarray]:
    """A yellow disc with a red middle on rough dark ground, and where it is."""
    rows, columns = np.mgrid[:H, :W] + 0.5
    away = np.hypot(columns - MIDDLE[0], rows - MIDDLE[1])
    colours = np.where(
        (away <= 14)[..., None], (200, 60, 50), np.where((away <= 36)[..., None], (230, 190, 80), (30, 60, 60))
    )
    return (colours + np.random.default_rng(1).integers(-15, 16, (H, W, 3))).astype(np.uint8), away <= 36


@pytest.mark.parametrize(("radius", "spacing"), [(22.0, 6.0), (27.0, 9.0), (36.0, 12.0), (42.0, 9.0)])
def test_a_brush_on_the_middle_of_a_thing_takes_all_of_it(flower, radius, spacing):
    """And not the part of it whose rim lies in the brush."""
    picture, thing = flower
    found = thing_under(picture, brush(radius, spacing), CELL)
    assert (found & thing).sum() / (found | thing).sum() > 0.95


def test_the_larger_thing_must_be_the_clearer_one(flower):
    """A red ball before a hill that is hardly another colour than the sky: the brush is on the ball, not on the hill."""
    _, hill = flower
    rows, columns = np.mgrid[:H, :W] + 0.5
    ball = np.hypot(columns - MIDDLE[0], rows - MIDDLE[1]) <= 14
    picture = np.where(ball[..., None], (200, 60, 50), np.where(hill[..., None], (100, 130, 140), (90, 120, 130)))
    picture = (picture + np.random.default_rng(1).integers(-8, 9, (H, W, 3))).astype(np.uint8)
    found = thing_under(picture, brush(20.0, 6.0), CELL)
    assert (found & ball).sum() / (found | ball).sum() > 0.9


def test_nothing_is_told_where_nothing_can_be(scene):
    picture, _ = scene
    assert thing_under(picture, brush()[:4], CELL) is None, "few points"
    assert thing_under(picture, brush(6.0, 3.0), CELL) is None, "narrow"
    assert thing_under(picture, brush() + 1000, CELL) is None, "outside"
    for step in (8, 9):  # without and with a rim that is left
        whole = np.stack(np.meshgrid(np.arange(4, W, step), np.arange(4, H, step)), -1).reshape(-1, 2).astype(float)
        assert thing_under(picture, whole, CELL) is None, "all of the picture"
    rows, columns = np.mgrid[:H, :W] + 0.5
    spot = np.hypot(columns - MIDDLE[0], rows - MIDDLE[1]) <= 14
    assert thing_under(np.where(spot[..., None], (190, 50, 40), picture[:1]).astype(np.uint8), brush(), CELL) is None, (
        "a spot"
    )


def test_another_thing_beside_is_not_part_of_it(scene):
    picture, thing = scene
    other = np.s_[90:100, 84:96]  # within reach of the brush, and of the same colour
    twin = picture.copy()
    twin[other] = picture[64:74, 84:96]
    found = thing_under(twin, brush(), CELL)
    assert found[70, 90]
    assert found[other].mean() < 0.1


def test_the_same_brush_has_the_same_answer():
    """GrabCut begins with k-means, which draws."""
    import cv2

    picture = np.random.default_rng(1).integers(0, 256, (H, W, 3)).astype(np.uint8)
    found = []
    for seed in (1, 15, 22):
        cv2.setRNGSeed(seed)
        found.append(thing_under(cv2.GaussianBlur(picture, (0, 0), 5), brush(), CELL))
    assert found[0] is not None
    assert all((one == found[0]).all() for one in found)


def test_brushes_of_one_moment_are_looked_at_one_by_one(scene):
    """And one as small as a dab takes what it touches."""
    offsets = {1: brush(), 2: brush(24.0, 6.0) + (0, 12), 3: np.array(MIDDLE) + (0, 10) + brush_offsets(10, 5)}
    points = [Point(100 * n + k, x, y, group=n, snap=True) for n in offsets for k, (x, y) in enumerate(offsets[n])]
    held = {point.id: point for point in points}

    def asked(*groups: int) -> set[int]:
        new = [key for key in held if held[key].group in groups]
        nowhere = torch.zeros(0, 2)
        return snapped(scene[0], new, held, lambda places: places, nowhere, nowhere, CELL).beside

    assert asked(1)
    assert asked(2)
    assert asked(1, 2) == asked(1) | asked(2)
    assert not asked(3)
    assert asked(1, 3) == asked(1)


def test_points_that_the_picture_does_not_have_count_as_on_it(scene):
    _, thing = scene
    points = torch.from_numpy(brush()).float()
    points[-1] = torch.nan
    on = on_thing(thing, points)
    assert on[-1]
    assert (on[:-1].numpy() == thing[points[:-1, 1].long(), points[:-1, 0].long()]).all()


def taken(scene: tuple[np.ndarray, np.ndarray], snap: bool, kind: str = "drag") -> tuple[TrackBuffer, GestureBoard, Begin]:
    """A board with one gesture that begins in the second chunk."""
    buffer = TrackBuffer(PRESET.geometry, PRESET.model.tracks, 0, hold_moved=True, picture=scene[0])
    board = GestureBoard(PRESET.geometry, buffer, PRESET.sample.hand_px)
    way = {"path": ((90.0, 70.0), (120.0, 70.0)), "seconds": 1.0} if kind == "path" else {}
    begin = Begin(kind, 1, tuple(map(tuple, brush())), 0, snap=snap, **way)
    buffer.chunk(board.frames(ChunkInput(), 1).held, first=True)
    buffer.chunk(board.frames(ChunkInput(begins=(begin,)), 4).held, first=False)
    return buffer, board, begin


@pytest.mark.parametrize("kind", ["drag", "path"])
def test_only_the_thing_is_held_and_told(scene, kind):
    _, thing = scene
    cells = {snap: np.array(taken(scene, snap, kind)[1].took(taken(scene, snap, kind)[2])) for snap in (False, True)}
    beside = {snap: (~thing[cells[snap][:, 1].astype(int), cells[snap][:, 0].astype(int)]).sum() for snap in cells}
    assert beside[True] <= 0.35 * beside[False], "a cell is held that is on the thing in part"
    on = {snap: len(cells[snap]) - beside[snap] for snap in cells}
    assert on[True] >= 0.9 * on[False]


def test_all_of_the_thing_goes_with_a_brush_on_its_middle(flower):
    """Each of its anchors with the nearest point; turned, they turn with it. What was torn from it before stays."""
    picture, thing = flower
    buffer = TrackBuffer(PRESET.geometry, PRESET.model.tracks, 0, hold_moved=True, picture=picture)
    buffer.chunk([[]], first=True)
    homes = buffer.home.long().numpy()
    petals = thing[homes[:, 1], homes[:, 0]]
    torn = int(np.flatnonzero(petals)[0])
    buffer.place[torn] += 60
    points = brush(27.0, 9.0)
    held = [Point(n, x, y, group=1, snap=True) for n, (x, y) in enumerate(points.tolist())]
    buffer.chunk([held] * 4, first=False)
    slots = torch.cat([grip.slots for grip in buffer.grips.values()]).numpy()
    assert len(set(slots)) == len(slots)
    assert set(np.flatnonzero(petals)) - set(slots) == {torn}
    assert thing[homes[slots, 1], homes[slots, 0]].mean() > 0.9
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = (points - MIDDLE) @ turn.T + MIDDLE
    before = buffer.place[slots].numpy()
    buffer.chunk([[Point(n, x, y, group=1, snap=True) for n, (x, y) in enumerate(turned.tolist())]] * 4, first=False)
    assert np.allclose(buffer.place[slots].numpy(), (before - MIDDLE) @ turn.T + MIDDLE, atol=0.01)


def test_a_brush_as_it_was_holds_all_that_it_covers(scene):
    buffer, board, begin = taken(scene, False)
    assert all(len(buffer.grips[key].slots) for key in buffer.grips)
    assert len(buffer.grips) == len(begin.points) == len(board.active[1].points)


def test_codes_of_points_beside_are_free_again(scene):
    """In the first frame every point is given one."""
    buffer = TrackBuffer(PRESET.geometry, PRESET.model.tracks, 0, picture=scene[0])
    free = len(buffer._free)
    points = [Point(n, x, y, group=1, snap=True) for n, (x, y) in enumerate(brush().tolist())]
    _, visible, _ = buffer.chunk([points], first=True)
    told = [key for key, grip in buffer.grips.items() if len(grip.slots)]
    assert 0 < len(told) < len(points) == len(buffer.grips)
    assert free - len(buffer._free) == len(told)
    assert int(visible.sum()) == buffer.num_anchors + len(told)
    buffer.chunk([[]], first=False)
    assert len(buffer._free) == free


def moved_and_let_go(scene: tuple[np.ndarray, np.ndarray], way: tuple[float, float]) -> tuple[TrackBuffer, GestureBoard]:
    buffer, board, _ = taken(scene, True)
    poses = tuple((way[0] * share, way[1] * share, 0.0, 1.0) for share in (0.25, 0.5, 0.75, 1.0))
    buffer.chunk(board.frames(ChunkInput(motions=(Motion(1, 0, poses),), ends=((1, 4),)), 4).held, first=False)
    for _ in range(12):  # until what was let go has arrived
        buffer.chunk(board.frames(ChunkInput(), 4).held, first=False)
    assert not board.active
    return buffer, board


@pytest.mark.parametrize("way", [(40.0, 0.0), (44.0, 4.0), (37.0, 20.0), (30.0, -20.0)])
def test_after_the_thing_has_moved_it_is_still_found(scene, way):
    """Also where it lies between the anchors of the ground that it covers now."""
    _, thing = scene
    buffer, board = moved_and_let_go(scene, way)
    points = tuple((x + way[0], y + way[1]) for x, y in brush().tolist())
    again = Begin("drag", 2, points, buffer.frame - 1, snap=True)
    buffer.chunk(board.frames(ChunkInput(begins=(again,)), 4).held, first=False)
    x, y = brush().astype(int).T
    beside = {key for key, on in zip(sorted(buffer.grips), thing[y, x].tolist(), strict=True) if not on}
    held = {key for key, grip in buffer.grips.items() if len(grip.slots)}
    assert len(held & beside) <= 0.1 * len(beside)
    slots = torch.cat([grip.slots for grip in buffer.grips.values()]).tolist()
    of_thing = [n for n, (u, v) in enumerate(buffer.home.long().tolist()) if thing[v, u]]
    assert len(set(of_thing) & set(slots)) >= 0.9 * len(of_thing)


@pytest.mark.parametrize("spacing", [4.5, 6.0, 9.0])
def test_close_points_of_a_late_brush_hold_no_ground_either(scene, spacing):
    """Of points on one anchor only one gets it; those on the ground must not come by what the others gave back."""
    _, thing = scene
    buffer, board, _ = taken(scene, True)
    buffer.reset()
    board.reset()
    buffer.chunk(board.frames(ChunkInput(), 1).held, first=True)
    begin = Begin("drag", 1, tuple(map(tuple, brush(30.0, spacing).tolist())), 0, snap=True)
    buffer.chunk(board.frames(ChunkInput(begins=(begin,)), 4).held, first=False)
    slots = torch.cat([grip.slots for grip in buffer.grips.values()])
    homes = buffer.home[slots].long().numpy()
    assert thing[homes[:, 1], homes[:, 0]].mean() > 0.7


def test_points_beside_are_nobodys_fellows(scene):
    """What a pin beside takes does not depend on whether a brush covered the place and took nothing there."""
    taken_by_pin = []
    for points in (brush(), np.array([p for p in brush() if scene[1][int(p[1]), int(p[0])]])):
        buffer, board, _ = taken(scene, True)
        buffer.reset()
        board.reset()
        buffer.chunk(board.frames(ChunkInput(), 1).held, first=True)
        begin = Begin("drag", 1, tuple(map(tuple, points.tolist())), 0, snap=len(points) == len(brush()))
        buffer.chunk(board.frames(ChunkInput(begins=(begin,)), 4).held, first=False)
        pin = Begin("pin", 2, ((90.0, 98.0),), 0)
        buffer.chunk(board.frames(ChunkInput(begins=(pin,)), 4).held, first=False)
        taken_by_pin.append(len(board.took(pin)))
    assert taken_by_pin[0] == pytest.approx(taken_by_pin[1], abs=1)
    assert taken_by_pin[0] >= 4


def test_a_camera_takes_the_ground_beside_a_brushs_thing(scene):
    filmed = []
    for snap in (False, True):
        buffer, board, _ = taken(scene, snap)
        pan = ChunkInput(camera=CameraSpeed((30.0, 0.0), 0.0, 0.0))
        buffer.chunk(board.frames(pan, 4).held, first=False)
        held = board.frames(ChunkInput(), 4).held[-1]
        film = np.array([(point.x, point.y) for point in held if point.group == WHOLE_PICTURE])
        filmed.append(int((np.linalg.norm(film - MIDDLE, axis=1) < 45).sum()))
    assert filmed[1] > filmed[0]


def test_a_take_says_it(scene):
    begin = Begin("drag", 1, ((1.0, 2.0),), 0, snap=True)
    path = Begin("path", 2, ((1.0, 2.0),), 0, ((1.0, 2.0), (3.0, 4.0)), 1.0, snap=True)
    plain = dataclasses.replace(begin, id=3, snap=False)
    take = Take("nano", W, H, 24.0, "", 0, None, scene[0], [ChunkInput(begins=(begin, path, plain))], (1, 4))
    text = take.to_json()
    assert Take.from_json(text).inputs == take.inputs
    assert text.count('"snap"') == 2
    assert all(one.snap for one in take.scaled(2 * W, 2 * H).inputs[0].begins[:2])
    values = json.loads(text)
    values["inputs"][0]["begins"][0]["snap"] = 1
    with pytest.raises(ValueError, match=r"begins\[0\]: snap=1 must be true or false"):
        Take.from_json(json.dumps(values))


def test_pushed_points_snap_too(scene):
    """What a hand pushes is spread over the frames of a chunk, as what it was."""
    points = [Point(n, x, y, group=1, snap=True) for n, (x, y) in enumerate(brush().tolist())]
    moved = [dataclasses.replace(point, x=point.x + 8) for point in points]
    frames, _ = resample_pushes({}, [(0.0, points), (1.0, moved)], 4)
    assert all(point.snap and point.group == 1 for frame in frames for point in frame)
    assert frames[-1][0].x == moved[0].x


def test_a_large_picture_is_not_looked_at_in_full(scene, monkeypatch):
    """Half a second at Wan's size, in which no frame is made."""
    import cv2

    looked_at = []
    grab_cut = cv2.grabCut
    monkeypatch.setattr(cv2, "grabCut", lambda part, *more: (looked_at.append(part.shape[:2]), grab_cut(part, *more)))
    for scale in (1, 4):
        picture = scene[0].repeat(scale, axis=0).repeat(scale, axis=1)
        assert thing_under(picture, scale * brush(), scale * CELL) is not None
    assert len(looked_at) == 4, "two readings of each"
    assert np.allclose(looked_at[:2], looked_at[2:], atol=2)
