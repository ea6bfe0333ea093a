"""Camera with depth, and borrowed motion, through the protocol: what comes of it, and what is refused."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motionstream.presets import preset
from motionstream.serve.binary import MotionFrame
from motionstream.serve.motion import BorrowedMotion
from motionstream.serve.protocol import Followed, MotionEnded
from motionstream.serve.rig import STILL, CameraRig, RigSpeed
from motionstream.stream.swarm import Swarm
from motionstream.stream.take import Take
from motionstream.tracking.live import LiveSeen

NANO = preset("nano")
CAMERA = {"pan": [0, 0], "zoom": 0, "roll": 0, "t": 1}


def scene(dx: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Grey noise with a patch of other noise that has moved by ``dx`` pixels."""
    back = np.random.default_rng(0).integers(0, 90, (12, 16)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    thing = np.random.default_rng(1).integers(120, 255, (8, 8)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    back[32:64, 30 + dx : 62 + dx] = thing
    return np.repeat(back[..., None], 3, -1)


def packed(picture: np.ndarray, t: int = 1, cut: bool = False) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    return MotionFrame(t, cut, file.getvalue()).pack()


def borrowed() -> tuple[BorrowedMotion, list[Any]]:
    """One whose tracker's thread is the caller's."""
    told: list[Any] = []
    return BorrowedMotion(NANO, 307_200, lambda work: work(), told.append), told


def test_points_of_a_clip_follow_its_thing_no_faster_than_a_hand() -> None:
    motion, told = borrowed()
    motion.borrow((0, 0, 128, 96))
    for n in range(13):
        motion.offer(MotionFrame.unpack(packed(scene(2 * n), t=n + 1)))
    assert isinstance(told[-1], Followed)
    moved = [(x, y) for x, y, flag in told[-1].points if flag]
    assert moved
    assert np.mean([44 <= x <= 90 and 28 <= y <= 68 for x, y in moved]) > 0.6, "the thing has moved"
    first, echo = motion.points(0, 9)
    assert echo[-1] == 13
    second, _ = motion.points(1, 12)
    assert first is not None
    assert second is not None
    steps = [
        np.hypot(x - a, y - b)
        for t in range(11)
        for name, x, y in second.at(t + 1)
        for other, a, b in second.at(t)
        if other == name
    ]
    assert max(steps) <= NANO.sample.hand_px + 0.1
    motion.end()
    assert motion.points(2, 12) == (None, (0,) * 12)


def test_what_has_just_begun_to_move_is_taken_where_it_came_from() -> None:
    """In short chunks a point counts as moving only when it is a cell away: it must not take hold of what lies there."""
    motion, _ = borrowed()
    places = np.array([[53.0, 40.0], [100.0, 60.0]])  # 13 px from where it began, and far: known long before it is shown
    seen = LiveSeen(np.array([1, 2]), places, np.ones(2, bool), np.array([[40.0, 40.0], [60.0, 60.0]]))
    swarm = motion._swarm([seen] * 6)
    assert swarm is not None
    ways = [[round(x) for _, x, _ in sorted(swarm.at(t))] for t in range(6)]
    assert ways == [[43, 100], [46, 100], [49, 100], [52, 100], [53, 100], [53, 100]], "three pixels a frame"
    motion._placed = {}  # out of sight for a moment: what was held stays where it is
    again = motion._swarm([seen])
    assert again is not None
    assert [round(x) for _, x, _ in sorted(again.at(0))] == [53, 100]


def test_frames_that_cannot_be_read_end_the_motion() -> None:
    motion, told = borrowed()
    motion.borrow((0, 0, 128, 96))
    for _ in range(24):
        motion.offer(MotionFrame(1, False, b"no picture"))
    assert "JPEG" in told[0]
    assert isinstance(told[-1], MotionEnded)
    assert len(told) == 2, "said once, then the end"
    assert not motion.on


@pytest.mark.parametrize("size", [(32, 32), (1024, 512)])
def test_frames_of_other_sizes_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    motion, told = borrowed()
    motion.borrow((0, 0, 128, 96))
    motion.offer(MotionFrame.unpack(packed(np.zeros((*size, 3), np.uint8))))
    assert "pixels" in told[0]


def test_a_dolly_on_a_flat_picture_moves_points_outwards_and_a_branch_goes_back() -> None:
    rig = CameraRig(NANO.geometry, lambda reason: None)
    assert rig.steer(RigSpeed(pan=(5.0, 0.0))), "the lattice does that"
    assert rig.points(0, 9)[0] is None
    assert not rig.steer(RigSpeed(dolly=0.3))
    swarm = rig.points(1, 12)[0]
    assert swarm is not None
    begun = {name: (x, y) for name, x, y in swarm.at(0)}
    for name, x, _y in swarm.at(11):
        if name in begun and abs(begun[name][0] - 64) > 16:
            assert abs(x - 64) > abs(begun[name][0] - 64)
    again = rig.points(1, 12)[0]
    assert again is not None
    assert [row[1:] for row in again.at(11)] == [row[1:] for row in swarm.at(11)]
    rig.steer(STILL)
    assert rig.points(2, 12)[0] is None


def covered(places: np.ndarray, width: int, height: int) -> int:
    """In how many of 12 equal parts of a canvas there is a point."""
    return int((np.histogram2d(places[:, 0], places[:, 1], bins=(4, 3), range=((0, width), (0, height)))[0] > 0).sum())


@pytest.mark.parametrize("name", ["nano", "wan2.1-1.3b", "wan2.2-5b"])
def test_a_dolly_moves_the_whole_of_any_canvas(name: str) -> None:
    geometry = preset(name).geometry
    rig = CameraRig(geometry, lambda reason: None)
    rig.steer(RigSpeed(dolly=0.2))
    for chunk, frames in enumerate((1, 12, 12)):
        swarm = rig.points(chunk, frames)[0]
        assert swarm is not None
        places = np.array([row[1:] for row in swarm.at(frames - 1)])
        assert covered(places, geometry.width, geometry.height) == 12


@pytest.mark.parametrize("name", ["nano", "wan2.1-1.3b"])
def test_motion_of_a_whole_frame_is_borrowed_all_over_any_canvas(name: str) -> None:
    config, told = preset(name), []
    geometry = config.geometry
    motion = BorrowedMotion(config, 307_200, lambda work: work(), told.append)
    motion.borrow((0, 0, geometry.width, geometry.height))
    texture = np.random.default_rng(0).integers(0, 255, (30, 60)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
    for n in range(12):
        picture = np.repeat(texture[:360, 3 * n : 3 * n + 600, None], 3, -1)
        motion.offer(MotionFrame.unpack(packed(picture, t=n + 1)))
    swarm, _ = motion.points(0, 9)
    assert swarm is not None
    assert covered(np.array([row[1:] for row in swarm.at(8)]), geometry.width, geometry.height) == 12


def test_a_camera_that_leaves_the_picture_stops_with_a_sentence() -> None:
    said: list[str] = []
    rig = CameraRig(NANO.geometry, said.append)
    rig.steer(RigSpeed(tilt=90.0))
    for chunk in range(4):
        rig.points(chunk, 12)
    assert len(said) == 1
    assert rig.speed == STILL


def test_a_take_keeps_swarms_bit_for_bit() -> None:
    xy = np.random.default_rng(0).uniform(-10, 140, (12, 5, 2))
    swarm = Swarm.of("motion", list(range(5)), xy, np.ones((12, 5), bool), (128, 96))
    assert swarm is not None
    from motionstream.stream.gestures import ChunkInput

    take = Take("nano", 128, 96, 24.0, "", 0, None, np.zeros((96, 128, 3), np.uint8), [ChunkInput(swarms=(swarm,))])
    assert Take.from_json(take.to_json()).inputs == take.inputs
    for change, word in (({"places": "AAAA"}, "frames"), ({"ids": [1, 1, 2, 3, 4]}, "differ"), ({"kind": "x"}, "kind")):
        row = json.loads(take.to_json())
        row["inputs"][0]["swarms"][0] |= change
        with pytest.raises(ValueError, match=word):
            Take.from_json(json.dumps(row))


def test_motion_through_a_socket(server) -> None:
    with server.player() as client:
        client.say("motion", region=[0, 0, 48, 32])
        client.socket.send_bytes(packed(scene(0), t=5))
        assert client.until("motion", t=5)["points"]
        client.socket.send_bytes(b"\x07garbage")
        assert client.error()["code"] == "bad_message"
        client.say("motion", region=[10, 10, 5, 5])
        assert "region" in client.error()["message"]
        client.say("motion_end")
        client.sync()


def cut_off() -> bytes:
    """The beginning of a grey PNG."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (64, 64)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()[:-400]


def test_depth_is_uploaded_used_and_refused(server, tmp_path: Path, png: Callable[..., bytes]) -> None:
    def upload(content: bytes) -> Any:
        return server.http.post("/api/depths", content=content)

    holes = np.ones((8, 8), np.float32)
    holes[:, :5] = np.nan
    file = io.BytesIO()
    np.save(file, holes)
    for content, word in (
        (b"", "empty"),
        (b"xx", "PNG"),
        (png(), "colour"),
        (cut_off(), "damaged"),
        (file.getvalue(), "no depth"),
    ):
        answer = upload(content)
        assert answer.status_code == 415
        assert word in answer.json()["error"]
    file = io.BytesIO()
    np.save(file, np.linspace(1, 3, 64, dtype=np.float32).reshape(8, 8))
    made = upload(file.getvalue()).json()
    assert (made["width"], made["height"]) == (8, 8)
    assert [row["id"] for row in server.http.get("/api/depths").json()] == ["plane", "ground"]
    with server.player() as client:
        client.say("depth", depth=made["id"])
        assert "resized" in client.until("depth")["words"]
        client.say("camera", **{**CAMERA, "pan": [4, 0]})
        # While the visitor is there: without one the take pauses, and stats may be of a chunk from before the move.
        take = server.engine.performances[-1].take
        server.wait(lambda: any(made.swarms for made in take.inputs))
        client.say("depth", depth="0" * 16)
        assert client.error()["code"] == "bad_depth"
        client.say("depth", depth="estimate")
        assert "--depth-model" in client.error()["message"]
        client.say("camera", **{**CAMERA, "dolly": 9})
        assert "dolly" in client.error()["message"]


def test_a_camera_that_is_refused_stands_still(server: Any) -> None:
    with server.player() as client:
        client.until_frame(40)
        client.say("stop")
        client.until("state", state="ended")
        client.say("open", take=client.started["take"])
        recorded = client.until("started")["recorded"]
        client.say("camera", **{**CAMERA, "dolly": 1.0})
        assert "recorded input" in client.error()["message"]
        client.until("stats", chunk=recorded + 2)
        assert not any(made.swarms for made in server.engine.performances[-1].take.inputs)
