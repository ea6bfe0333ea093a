"""What a caller may push wrongly ends no stream."""

from typing import Any

import numpy as np
import pytest
import torch

import motionstream as ms
from motionstream.stream.session import Point


@pytest.mark.parametrize("name", ["cup", 1.5, None, 2**70, torch.tensor(3)])
def test_a_point_whose_id_is_no_whole_number_is_refused_before_it_is_held(engine, picture, name: Any):
    with engine.start(picture) as session:
        session.push([Point(1, 9.0, 9.0)])
        with pytest.raises(ValueError, match=r"a point's id must be a whole number below 2\^63, got "):
            session.push([Point(name, 9.0, 9.0)])
        assert len(session.step().frames) == 9
        session.push([Point(np.int64(1), np.float32(9.5), np.int32(9))])
        assert list(session._held) == [1]


def test_places_of_text_and_a_point_without_its_list_are_said(engine, picture):
    wrong: Any
    with engine.start(picture) as session:
        for wrong, said in (
            ([Point(1, "9", 9.0)], "point 1 has position .*: coordinates must be finite numbers"),  # type: ignore[arg-type]
            (Point(1, 9.0, 9.0), r"points must be a list, such as \[Point\(1, x, y\)\], got Point"),
            (None, "points must be a list, .*, got None"),
        ):
            with pytest.raises(ValueError, match=said):
                session.push(wrong)
        wrong = [Point(1, 9.0, 9.0)] * session.frames_in_chunk(0)
        with pytest.raises(ValueError, match="frames must be lists of points, one list for each frame, got Point"):
            session.step_frames(wrong)
        assert len(session.step().frames) == 9


def test_a_count_of_layers_is_whole():
    for layers in (1.5, "1"):
        with pytest.raises(ValueError, match=r"layers=.* must be a whole number"):
            ms.load("tiny-debug", random_weights=True, layers=layers)  # type: ignore[arg-type]


def test_half_a_frame_is_refused_before_any_is_made(engine, picture):
    height, width = engine.preset.geometry.height, engine.preset.geometry.width
    tracks = ms.Tracks.empty(num_frames=9, size=(height, width), fps=engine.preset.geometry.fps)
    with pytest.raises(ValueError, match=r"num_frames must be a whole number, got 8\.5"):
        ms.generate(engine, picture, "", tracks, num_frames=8.5)  # type: ignore[arg-type]
    two = ms.Tracks.empty(num_frames=9, size=(height, width), fps=engine.preset.geometry.fps, batch=2)
    with pytest.raises(ValueError, match="tracks are for 2 videos; a stream makes one"):
        ms.generate(engine, picture, "", two)


def test_a_size_of_numpy_is_a_size():
    size = (np.int64(96), np.int64(128))
    assert ms.load("nano", size=size).preset.geometry.height == 96
