"""Strokes that a stream is given with their tracks are gestures, as in the studio."""

from dataclasses import replace

import numpy as np
import pytest

from motionstream.stream.engine import generate
from motionstream.stream.points import Point, ReadyPoints
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


def test_a_hand_that_leaves_the_picture_holds_on():
    stroke = drag(points=[(0.0, 40.0, 16.0), (0.5, 60.0, 16.0)], hold=False)
    tracks = tracks_of([stroke])
    with_strokes = [len(frame) for frame in ReadyPoints(tracks, [stroke]).frames(0, 13)]
    without = [len(frame) for frame in ReadyPoints(tracks).frames(0, 13)]
    inside = int(tracks.visible[0, 0].sum())
    assert with_strokes == [inside] * 9 + [0] * 4, "to the stroke's end, with all that it had taken hold of"
    assert without[0] == inside > without[4] > without[8] == 0
    held = ReadyPoints(tracks, [drag(points=[(0.25, 40.0, 16.0), (0.5, 60.0, 16.0)])]).frames(0, 20)
    assert [len(frame) for frame in held] == [0] * 4 + [inside] * 9 + [0] * 7, "nothing past the end of the tracks"


def test_points_that_begin_beyond_the_edge_take_hold_when_they_are_seen():
    stroke = drag(points=[(0.0, -9.0, 16.0), (0.5, 20.0, 16.0)])
    counts = [len(frame) for frame in ReadyPoints(tracks_of([stroke]), [stroke]).frames(0, 13)]
    assert counts[0] < counts[8] == counts[12]
    assert counts == sorted(counts)


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
