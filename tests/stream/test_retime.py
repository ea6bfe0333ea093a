"""A take's input in chunks of another length: everything keeps its frame where it can."""

import json
from dataclasses import replace

import numpy as np
import pytest

from motionstream.config import CacheConfig
from motionstream.presets import preset
from motionstream.shapes import VideoGeometry
from motionstream.stream.engine import load_engine
from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, GestureBoard, Motion
from motionstream.stream.performance import Performance
from motionstream.stream.retime import chunk_at, chunk_span, in_chunks
from motionstream.stream.swarm import Swarm
from motionstream.stream.take import Take
from motionstream.stream.track_buffer import TrackBuffer

LONG, SHORT = (9, 12), (1, 4)


def swarm(ids: list[int], frames: int, shift: float = 0.0) -> Swarm:
    xy = np.stack([[(8.0 * n + 10 + shift + t, 20.0) for n in range(len(ids))] for t in range(frames)])
    visible = np.ones(xy.shape[:2], bool)
    visible[0, 0] = False
    made = Swarm.of("motion", ids, xy, visible, (128, 96))
    assert made is not None
    return made


def drag(chunk: int, start: int, count: int) -> ChunkInput:
    return ChunkInput(motions=(Motion(1, start, tuple((float(chunk), float(n), 0.0, 1.0) for n in range(count))),))


INPUTS = [
    ChunkInput(camera=CameraSpeed(zoom=0.5)),
    replace(drag(1, 3, 9), begins=(Begin("drag", 1, ((30.0, 30.0),), 8),), swarms=(swarm([1, 2], 12),)),
    replace(drag(2, 0, 5), swarms=(swarm([2, 3], 12, 12.0),), prompt="now a dog"),
    ChunkInput(ends=((1, 7),), camera=CameraSpeed()),
    ChunkInput(),
]


def test_spans_and_frames_agree():
    for frames in (LONG, SHORT, (5, 8)):
        for chunk in range(6):
            start, stop = chunk_span(chunk, frames)
            assert [chunk_at(frame, frames) for frame in range(start, stop)] == [chunk] * (stop - start)
            assert chunk_span(chunk + 1, frames)[0] == stop


def board() -> GestureBoard:
    geometry: VideoGeometry = preset("nano").geometry
    return GestureBoard(geometry, TrackBuffer(geometry, preset("nano").model.tracks, seed=0), hand_px=2.0)


def played(inputs: list[ChunkInput], frames: tuple[int, int]) -> list[list[tuple]]:
    """Where the board holds points, frame by frame, as marks (x, y, kind)."""
    found = []
    with_board = board()
    for chunk, made in enumerate(inputs):
        start, stop = chunk_span(chunk, frames)
        points, marks, *_ = with_board.frames(made, stop - start)
        with_board.buffer.chunk(points, first=chunk == 0)
        found += [[(round(mark.x, 4), round(mark.y, 4), mark.kind) for mark in row] for row in marks]
    return found


def test_in_shorter_chunks_every_frame_is_the_same():
    short = in_chunks(INPUTS, LONG, SHORT)
    assert len(short) == 1 + 56 // 4
    plain = played(INPUTS, LONG)
    assert any(plain)
    assert played(short, SHORT) == plain


def test_there_and_back_is_the_same_input():
    back = in_chunks(in_chunks(INPUTS, LONG, SHORT), SHORT, LONG)
    assert played(back, LONG) == played(INPUTS, LONG)
    assert [made.begins for made in back] == [made.begins for made in INPUTS]
    assert [made.ends for made in back] == [made.ends for made in INPUTS]
    assert [made.prompt for made in back] == [made.prompt for made in INPUTS]


def test_in_longer_chunks_what_begins_comes_with_the_chunk_that_holds_it():
    begin = Begin("pin", 3, ((5.0, 5.0),), 0)
    inputs = [ChunkInput(), ChunkInput(), ChunkInput(), replace(drag(3, 1, 3), begins=(begin,)), ChunkInput(ends=((3, 2),))]
    long = in_chunks(inputs, SHORT, LONG)  # frames 9-12 and 13-16, so chunk 1 at 0 and 4
    assert len(long) == 2
    assert long[0].empty
    assert long[1].begins == (begin,)
    assert long[1].motions == (Motion(1, 1, ((3.0, 0.0, 0.0, 1.0), (3.0, 1.0, 0.0, 1.0), (3.0, 2.0, 0.0, 1.0))),)
    assert long[1].ends == ((3, 6),)


def test_an_end_at_the_very_end_stays():
    inputs = [ChunkInput(), ChunkInput(ends=((1, 12),))]
    assert in_chunks(inputs, LONG, SHORT)[-1].ends == ((1, 4),)


def held_x(inputs: list[ChunkInput], frames: tuple[int, int], key_place: float) -> int:
    """Frames in which a drag that began at this row of the picture holds something."""
    return sum(any(abs(y - key_place) < 1 for _, y, _ in row) for row in played(inputs, frames))


def test_let_go_and_taken_again_in_one_long_chunk():
    """In chunks of four a hand lets go and takes something else; in chunks of twelve both are in one."""
    one, two = Begin("drag", 1, ((30.0, 30.0),), 8), Begin("drag", 2, ((30.0, 70.0),), 8)
    inputs = [
        ChunkInput(),
        ChunkInput(begins=(one,)),
        ChunkInput(),
        ChunkInput(ends=((1, 4),)),
        ChunkInput(begins=(two,)),
        *[ChunkInput()] * 6,
    ]
    long = in_chunks(inputs, SHORT, LONG)
    assert held_x(inputs, SHORT, 70.0) >= 24
    assert held_x(long, LONG, 70.0) >= 24
    assert held_x(long, LONG, 30.0) > 0


def test_an_end_stays_before_what_begins_next():
    one, two = Begin("drag", 1, ((30.0, 30.0),), 8), Begin("drag", 2, ((30.0, 70.0),), 8)
    far = Motion(1, 0, ((50.0, 0.0, 0.0, 1.0),) * 12)
    inputs = [
        ChunkInput(),
        ChunkInput(begins=(one,), motions=(far,), ends=((1, 12),)),
        ChunkInput(begins=(two,)),
        ChunkInput(),
    ]
    short = in_chunks(inputs, LONG, SHORT)
    ended, began = (
        next(n for n, made in enumerate(short) if found(made))
        for found in (lambda made: made.ends, lambda made: any(b.id == 2 for b in made.begins))
    )
    assert ended < began
    assert played(short, SHORT) == played(inputs, LONG)


def test_a_small_file_cannot_ask_for_endless_frames():
    picture = np.zeros((32, 48, 3), np.uint8)
    take = Take("nano", 48, 32, 24.0, "a ball", 3, None, picture, [ChunkInput()], LONG)
    values = json.loads(take.to_json()) | {"num_chunks": 100_000, "chunk_frames": [4096, 4096]}
    with pytest.raises(ValueError, match="100000 chunks of 4096 frames"):
        Take.from_json(json.dumps(values))


def test_poses_after_the_end_of_a_chunk_were_never_reached():
    inputs = [ChunkInput(), drag(1, 10, 6), ChunkInput()]
    poses = [
        (start, pose)
        for made in in_chunks(inputs, LONG, SHORT)
        for m in made.motions
        for start, pose in [(m.start, m.poses)]
    ]
    assert poses == [(2, ((1.0, 0.0, 0.0, 1.0), (1.0, 1.0, 0.0, 1.0)))]


def test_a_swarm_in_parts_and_joined_again():
    whole = swarm([4, 7], 12)
    parts = [(0, whole.part(0, 5)), (5, whole.part(5, 12))]
    again = Swarm.joined("motion", parts, 12)
    assert [sorted(again.at(t)) for t in range(12)] == [sorted(whole.at(t)) for t in range(12)]
    assert whole.part(0, 1).ids == (7,), "point 4 is not seen in frame 0"
    assert swarm([4], 2).part(0, 1) is None


def test_a_take_plays_on_a_model_with_other_chunks():
    short = load_engine("tiny-debug", device="cpu", dtype="float32")
    long = load_engine("tiny-debug", device="cpu", dtype="float32")
    short.preset = replace(short.preset, cache=CacheConfig.parse("c1s1w1"))
    picture = np.zeros((32, 48, 3), np.uint8)
    with Performance(long, picture, "a ball", 3) as show:
        show.step()
        show.live.grab(1, [(20.0, 15.0)], seen=0, t=1)
        show.live.move(1, (6.0, 2.0, 0.0, 1.0), t=2)
        chunks = [show.step() for _ in range(2)]
    marks = [row for chunk in chunks for row in chunk.marks]
    take = Take.from_json(show.take.to_json())
    assert take.chunk_frames == LONG
    with Performance.of_take(short, take) as other:
        assert other.recorded == 9
        again = [other.step() for _ in range(9)]
        assert other.take.chunk_frames == SHORT
        assert not other.scripted
    assert [row for chunk in again for row in chunk.marks][9:] == marks
    assert [chunk.first_frame for chunk in again[:4]] == [0, 1, 5, 9]


def test_takes_of_earlier_releases_had_chunks_of_twelve_frames():
    with Performance(
        load_engine("tiny-debug", device="cpu", dtype="float32"), np.zeros((32, 48, 3), np.uint8), "", 0
    ) as show:
        show.step()
        values = json.loads(show.take.to_json())
    assert values["chunk_frames"] == [9, 12]
    old = {key: value for key, value in values.items() if key != "chunk_frames"} | {"version": 2}
    assert Take.from_json(json.dumps(old)).chunk_frames == LONG


@pytest.mark.parametrize("wrong", [None, [9], [9, 0], [9, "12"], [1.5, 2], 12])
def test_wrong_lengths_are_refused(wrong):
    with Performance(
        load_engine("tiny-debug", device="cpu", dtype="float32"), np.zeros((32, 48, 3), np.uint8), "", 0
    ) as show:
        values = json.loads(show.take.to_json())
    with pytest.raises(ValueError, match="chunk_frames"):
        Take.from_json(json.dumps(values | {"chunk_frames": wrong}))
