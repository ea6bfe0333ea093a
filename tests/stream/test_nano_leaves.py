"""What is dragged or panned out of nano's picture stays out of it."""

import numpy as np
import pytest

from motionstream.media.images import load_first_frame
from motionstream.serve.gallery import Gallery
from motionstream.stream.engine import load_engine
from motionstream.stream.gestures import CameraSpeed, ChunkInput, GestureBoard
from motionstream.stream.points import Point
from motionstream.tracks.strokes import brush_offsets


@pytest.mark.parametrize("kept", [True, False])
def test_a_balloon_that_has_flown_away_does_not_come_back(kept):
    """While it is held beyond the edge, and when it was let go there."""
    engine, gallery = load_engine("nano", device="cpu", size=(96, 128)), Gallery()
    entry = next(entry for entry in gallery.entries() if entry["name"] == "balloon")
    picture = load_first_frame(gallery.path("balloon"), 128, 96)
    box = np.array(entry["object"]) * np.tile([128 / entry["size"][0], 96 / entry["size"][1]], 2)
    middle = (box[:2] + box[2:]) / 2
    points = middle + brush_offsets(0.3 * float((box[2:] - box[:2]).sum()), 6.0)
    points = points[((points >= 0) & (points < (128, 96))).all(axis=1)]
    with engine.start(picture, entry["caption"]) as session:
        for chunk in range(24):
            way = [6.0 * max(0, 4 * (chunk - 1) + t) for t in range(session.frames_in_chunk(chunk))]
            held = [[Point(n, x + w, y, group=1, snap=True) for n, (x, y) in enumerate(points.tolist())] for w in way]
            frames = session.step_frames(held if kept or chunk < 8 else [[] for _ in way]).frames
    x, y = middle.astype(int)
    core = np.s_[y - 5 : y + 6, x - 5 : x + 6]
    before, after = (frame[core].astype(float).mean(axis=(0, 1)) for frame in (np.asarray(picture), frames[-1]))
    assert before[0] - before[1] > 80, "the balloon is red"
    assert after[0] - after[1] < 20, "and what is seen now is sky"


def test_a_flower_that_a_camera_has_left_behind_does_not_come_back_when_it_stops():
    """Panned by .73 of the width, and at rest for two seconds (nano before 2026-12-01 drew the flower again)."""
    engine, gallery = load_engine("nano", device="cpu"), Gallery()
    entry = next(entry for entry in gallery.entries() if entry["name"] == "dahlia")
    picture = np.asarray(load_first_frame(gallery.path("dahlia"), 192, 144))
    turns = {1: ChunkInput(camera=CameraSpeed(pan=(60.0, 0.0))), 15: ChunkInput(camera=CameraSpeed())}
    with engine.start(picture, entry["caption"]) as session:
        board = GestureBoard(engine.preset.geometry, session.buffer, engine.preset.sample.hand_px)
        for chunk in range(27):
            told = board.frames(turns.get(chunk, ChunkInput()), session.frames_in_chunk(chunk))
            frames = session.step_frames(told.held, drift=told.drift).frames
    x, y = np.array(entry["object"]).reshape(2, 2).mean(0) * (192 / entry["size"][0], 144 / entry["size"][1])
    core = np.s_[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12]
    before, after = (frame[core].astype(float).mean(axis=(0, 1)) for frame in (picture, frames[-1]))
    assert before[0] - before[2] > 100, "the flower is orange"
    assert after[0] - after[2] < 20, "and what is seen now is leaves"
