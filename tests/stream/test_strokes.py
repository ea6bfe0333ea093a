"""Strokes that a stream is given with their tracks are gestures, as in the studio."""

from dataclasses import replace

import numpy as np
import pytest

from motionstream.stream.engine import generate
from motionstream.stream.points import Point, ReadyPoints
from motionstream.tracks.io import load_tracks, save_tracks
from motionstream.tracks.strokes import Stroke
from motionstream.tracks.tracks import Tracks

SIZE, FPS = (32, 48), 16.0


def tracks_of(strokes: list[Stroke], num_frames: int = 13) -> Tracks:
    return Tracks.from_strokes(strokes, num_frames=num_frames, size=SIZE, fps=FPS)


def drag(**changes: object) -> Stroke:
    return Stroke(**{"points": [(0.0, 20.0, 16.0), (0.5, 28.0, 16.0)], "radius_px": 9.0, "spacing_px": 4.0, **changes})


def test_a_stroke_is_one_gesture_and_snaps_unless_told_not_to():
    strokes = [drag(), drag(snap=False), drag(kind="path"), drag(kind="pin")]
    points = ReadyPoints(tracks_of(strokes), strokes).frames(0, 1)[0]
    each = len(points) // 4
    assert [point.group for point in points] == [group for group in (1, 2, 3, 4) for _ in range(each)]
    assert [point.snap for point in points[::each]] == [True, False, True, False]
    alone = ReadyPoints(tracks_of(strokes)).frames(0, 1)[0]
    assert {(point.group, point.snap) for point in alone} == {(None, False)}
    assert [(p.id, p.x, p.y) for p in alone] == [(p.id, p.x, p.y) for p in points]


def counts(tracks: Tracks, strokes: list[Stroke] | None, num_frames: int = 13) -> list[int]:
    return [len(frame) for frame in ReadyPoints(tracks, strokes).frames(0, num_frames)]


def test_a_hand_that_leaves_the_picture_holds_on():
    stroke = drag(points=[(0.0, 40.0, 16.0), (0.5, 60.0, 16.0)], hold=False)
    tracks = tracks_of([stroke])
    every = tracks.num_tracks
    assert counts(tracks, [stroke]) == [every] * 9 + [0] * 4, "to the stroke's end, with all that it is set on"
    without = counts(tracks, None)
    assert every > without[0] > without[4] > without[8] == 0
    late = drag(points=[(0.25, 40.0, 16.0), (0.5, 60.0, 16.0)])
    assert counts(tracks_of([late]), [late], 20) == [0] * 4 + [every] * 9 + [0] * 7, "nothing past the end of the tracks"


def test_a_brush_takes_hold_as_one_when_it_comes_over_the_picture():
    stroke = drag(points=[(0.0, -30.0, 16.0), (0.5, 20.0, 16.0)])
    held = counts(tracks_of([stroke]), [stroke])
    assert set(held) == {0, tracks_of([stroke]).num_tracks}
    assert held == sorted(held)


def test_where_a_file_has_lost_a_place_the_point_is_let_go(tmp_path):
    """A JSON keeps no place of what is not seen: it must not be taken for the corner."""
    stroke = drag(points=[(0.0, 40.0, 16.0), (0.5, 70.0, 16.0)])
    save_tracks(tmp_path / "t.json", tracks_of([stroke]))
    points = ReadyPoints(load_tracks(tmp_path / "t.json"), [stroke]).frames(0, 13)
    assert points[0]
    assert not points[-1]
    assert min(point.x for frame in points for point in frame) > 20


def test_points_that_are_hidden_in_the_tracks_hold_nothing():
    stroke = drag()
    tracks = tracks_of([stroke])
    visible = tracks.visible.clone()
    visible[:, 4:6] = False
    assert counts(replace(tracks, visible=visible), [stroke])[3:7] == [tracks.num_tracks, 0, 0, tracks.num_tracks]


def test_later_strokes_of_a_session_have_ids_of_their_own(engine, picture):
    one, other = drag(), drag(points=[(0.0, 10.0, 8.0), (0.5, 14.0, 8.0)])
    later = Tracks.from_strokes([other], num_frames=13, size=SIZE, fps=FPS, first_id=100)
    with engine.start(picture, "") as session:
        for tracks, stroke, first in ((tracks_of([one]), one, 0), (later, other, 100)):
            next(session.stream(tracks, strokes=[stroke]))
            assert min(session.buffer.grips) == first
    with pytest.raises(ValueError, match="a list, such as"):
        ReadyPoints(later, other)


def test_other_strokes_than_those_of_the_tracks_are_refused(engine, picture):
    with engine.start(picture, "") as session, pytest.raises(ValueError, match="stroke 2 has no track 900"):
        next(session.stream(tracks_of([drag()]), strokes=[drag(), drag(id=900)]))


@pytest.fixture
def holding(engine):
    """What is let go stays, as with nano."""
    before = engine.preset
    engine.preset = replace(before, sample=replace(before.sample, hold_moved=True))
    yield engine
    engine.preset = before


@pytest.fixture
def disc() -> np.ndarray:
    """A bright disc on rough ground."""
    rows, columns = np.mgrid[:32, :48] + 0.5
    thing = np.hypot(columns - 20, rows - 16) <= 9
    return (
        np.where(thing[..., None], (230, 220, 60), (40, 70, 90)) + np.random.default_rng(0).integers(-9, 10, (32, 48, 3))
    ).astype(np.uint8)


def test_the_stream_of_strokes_is_that_of_a_hand(holding, disc):
    pytest.importorskip("cv2")
    videos = []
    for snap in (True, False):
        strokes = [drag(radius_px=13.0, hold=False, snap=snap)]
        tracks = tracks_of(strokes, 33)
        videos.append(generate(holding, disc, "a ball", tracks, seed=3, strokes=strokes))
        made: list[np.ndarray] = []
        with holding.start(disc, "a ball", seed=3) as session:
            while (start := sum(map(len, made))) < 33:
                stop = start + session.frames_in_chunk(session.index)
                hand = [[Point(n, x, y, group=1, snap=snap) for n, (x, y) in enumerate(xy)] for xy in tracks.xy[0].tolist()]
                made.append(session.step_frames([hand[t] if t <= 8 else [] for t in range(start, stop)]).frames)
        assert np.array_equal(videos[-1], np.concatenate(made)[:33])
    without = generate(holding, disc, "a ball", tracks, seed=3)
    assert not np.array_equal(videos[0], videos[1]), "the brush covers ground, too"
    assert not np.array_equal(videos[1], without), "it stays where it was left"
