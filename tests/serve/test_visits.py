"""A take from start to end over the socket: frames, input, pause, branch, loss, line, errors of the engine."""

import contextlib
import json
import threading
import time

import pytest

from motionstream.serve import studio
from motionstream.serve.images import frame_of_jpeg


def greys(client) -> dict[int, int]:
    return {header.frame: int(frame_of_jpeg(jpeg).mean().round()) for header, jpeg in client.frames}


def test_frames_come_in_order_and_carry_what_they_show(server):
    with server.player(seed=5) as client:
        assert {key: client.started[key] for key in ("width", "height", "fps", "first_chunk_frames", "chunk_frames")} == {
            "width": 48, "height": 32, "fps": 200.0, "first_chunk_frames": 9, "chunk_frames": 12,
        }  # fmt: skip
        client.until("state", state="playing")
        client.until_frame(0)
        client.say("grab", id=1, points=[[20, 15], [22, 15]], seen=0, t=1234)
        client.until_frame(80)
        headers = [header for header, _ in client.frames]
        assert [header.frame for header in headers] == list(range(len(headers)))
        assert [header.chunk for header in headers] == [0] * 9 + [1 + n // 12 for n in range(len(headers) - 9)]
        assert [header.frame for header in headers if header.last_of_chunk][:3] == [8, 20, 32]
        echoed = [header for header in headers if header.echo_t]
        assert {header.echo_t for header in echoed} == {1234}
        assert len({header.chunk for header in echoed}) == 1
        show = server.engine.performances[0]
        assert show.take.seed == 5
        assert greys(client)[0] == pytest.approx(45, abs=3)
        stats = [message for message in client.messages if message["kind"] == "stats"]
        assert [row["chunk"] for row in stats[:3]] == [0, 1, 2]
        assert stats[1]["stages"].keys() == {"commit", "tracks", "denoise", "decode"}
        assert stats[2]["frames_made"] == 33
        assert stats[2]["fps_possible"] > 1000
        assert server.engine.settled >= 3


def test_the_pace_is_that_of_the_video(server):
    with server.player() as client:
        began, chunk = time.monotonic(), server.engine.performances[0].chunk
        time.sleep(0.6)
        made = server.engine.performances[0].chunk - chunk
        expected = 200 * (time.monotonic() - began) / 12
        assert expected / 2 < made < expected + 3  # never ahead of the video; a busy machine may be behind
        client.sync()


def test_pause_and_resume(server):
    with server.player() as client:
        client.until_frame(20)
        client.say("pause")
        client.until("state", state="paused")
        client.sync()
        show = server.engine.performances[0]
        made = show.chunk
        client.say("grab", id=1, points=[[20, 15]], seen=3, t=7)  # drawing goes on
        time.sleep(0.2)
        assert show.chunk == made
        client.say("resume")
        client.until("state", state="playing")
        client.until_frame(show.frame)
        assert show.take.inputs[made].begins[0].id == 1


def test_paused_before_the_first_chunk(server):
    server.engine.chunk_s = 0.05
    with server.visit() as client:
        client.until("ready")
        client.say("start", picture="dog", prompt="a dog", seed=1)
        client.say("pause")
        client.until("state", state="paused")
        client.say("pin", id=4, points=[[1, 1]], seen=0, t=1)
        client.sync()
        made = server.engine.performances[0].chunk
        client.say("resume")
        client.until("stats", chunk=made)
        assert server.engine.performances[0].take.inputs[made].begins[0].kind == "pin"


def test_what_is_not_started_cannot_be_played(server):
    with server.visit() as client:
        client.until("ready")
        for kind, fields in (("pause", {}), ("stop", {}), ("prompt", {"text": "a"}), ("branch", {"chunk": 0})):
            client.say(kind, **fields)
            assert client.error()["code"] == "not_started"
        client.say("shown", frame=3)
        client.sync()


def test_stop_keeps_the_take_and_another_can_begin(server):
    with server.player() as client:
        client.until_frame(20)
        client.say("stop")
        client.until("state", state="ended")
        key = client.started["take"]
        assert json.loads(server.http.get(f"/api/takes/{key}.json").content)["num_chunks"] >= 2
        assert server.engine.performances[0].closed
        second = client.start(picture="dog")
        assert second["take"] != key
        third = client.start(picture="fig")  # ends the second
        client.until_frame(20)
        assert server.engine.performances[1].closed
        assert server.http.get(f"/api/takes/{second['take']}.json").status_code == 200
        assert third["take"] != second["take"]


def test_a_new_prompt(server):
    with server.player() as client:
        client.until_frame(9)
        client.say("prompt", text="a dog")
        show = server.engine.performances[0]
        server.wait(lambda: show.prompt == "a dog")
        client.say("branch", chunk=0)
        client.until("state", state="branching")
        assert client.until("branched")["frame"] == 0


def test_branch_voids_frames_and_gestures(server):
    with server.player() as client:
        client.say("pin", id=7, points=[[5, 5]], seen=0, t=1)
        client.until_frame(60)
        client.say("pause")
        client.until("state", state="paused")
        client.say("grab", id=9, points=[[9, 9]], seen=0, t=1)  # pending: no chunk has it yet
        client.sync()
        pinned = next(k for k, made in enumerate(server.engine.performances[0].take.inputs) if made.begins)
        client.say("branch", chunk=pinned + 1)
        client.until("state", state="branching")
        branched = client.until("branched")
        assert (branched["chunk"], branched["frame"]) == (pinned + 1, 9 + 12 * pinned)
        assert branched["active"] == [7]
        assert branched["prompt"] == "a cat"
        assert client.until("ended")["id"] == 9
        client.until("state", state="paused")
        folder = server.studio.store.take(client.started["take"])
        assert folder.frames.num_frames == branched["frame"]
        seen = len(client.frames)
        client.say("resume")
        client.until_frame(branched["frame"] + 12)
        assert client.frames[seen][0].frame == branched["frame"]
        assert client.frames[seen][0].chunk == branched["chunk"]
        client.say("branch", chunk=pinned)
        client.until("ended", id=7)


def test_a_slow_page_sees_fewer_frames_not_older_ones(serve):
    server = serve(seconds_ahead=0.2)  # 40 frames
    with server.player() as client:
        client.until_frame(8)
        client.say("shown", frame=8)
        show = server.engine.performances[0]
        chunk, began = show.chunk, time.monotonic()
        client.until("stats", chunk=chunk + 15)
        assert show.chunk - chunk > 200 * (time.monotonic() - began) / 12 / 2  # it was not slowed
        client.sync()
        last = client.frames[-1][0].frame
        assert last <= 8 + 40 + 24
        assert client.until("stats")["frames_dropped"] > 100
        assert server.studio.line.active.outbox.num_frames <= 24
        client.say("shown", frame=last, latency=[120.0, 80.0, 400.0])
        client.until_frame(last + 1)
        assert client.frames[-1][0].frame > show.frame - 5 * 12 > last + 60
        assert client.until("stats")["input_latency_ms"] == {"p50": 120.0, "p95": 400.0}


# ---- line ------------------------------------------------------------------------------------------------------------


def test_a_second_visitor_waits_for_a_turn(serve):
    server = serve(visitors_waiting=2)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(server.player())
        second = stack.enter_context(server.visit())
        assert second.until("queued")["position"] == 1
        second.say("start", picture="cat", prompt="", seed=1)
        assert second.error()["code"] == "busy"
        third = stack.enter_context(server.visit())
        assert third.until("queued")["position"] == 2
        assert server.http.get("/health").json() | {"waiting": 2, "busy": True} == server.http.get("/health").json()
        with server.visit() as fourth:
            assert fourth.until_closed() == 1000
            assert fourth.messages[-1]["code"] == "busy"
        first.socket.close(1000)
        second.until("ready")
        assert third.until("queued")["position"] == 1
        second.start()
        second.until_frame(9)
        assert server.engine.performances[0].closed
        third.lose()


def test_nobody_waits_for_ever_behind_somebody_who_does_nothing(serve):
    server = serve(idle_turn_seconds=0.1)
    with server.player() as first, server.visit() as second:
        second.until("queued")
        first.until_frame(80)  # who plays keeps the turn
        first.say("pause")
        first.until("state", state="paused")
        assert "others were waiting" in first.until("state", state="ended")["reason"]
        first.until("queued", position=1)
        second.until("ready")
        second.start()
        second.until_frame(9)
        assert first.started["take"] != second.messages[-1]


def test_who_has_lost_the_turn_lets_the_camera_and_the_clip_go(serve):
    server = serve(idle_turn_seconds=0.1)
    with server.player() as first, server.visit() as second:
        second.until("queued")
        visitor = server.studio.line.active
        first.say("motion", region=[0, 0, 48, 32])
        first.sync()
        motion = visitor._sources.motion
        assert motion.on
        first.say("pause")
        first.until("state", state="ended")
        assert not motion.on
        first.say("camera", pan=[1, 0], zoom=0, roll=0, t=1)
        assert first.error()["code"] == "not_started"


def test_a_start_that_is_replaced_or_fails_leaves_no_take(server, monkeypatch):
    def fail(*given, **more):
        raise ValueError("no such steps")

    with server.player() as client:
        client.until_frame(12)
        client.say("stop")
        client.until("state", state="ended")
        busy = threading.Event()
        server.studio.worker._commands.put(lambda: busy.wait(5))
        for _ in range(4):
            client.say("start", picture="cat", prompt="", seed=1)
        client.sync()
        busy.set()
        second = client.until("started")
        client.until_frame(12)
        monkeypatch.setattr(server.studio.worker, "_performance", fail)
        client.say("start", picture="cat", prompt="", seed=1)
        assert client.error()["fatal"]
        client.until("state", state="ended")
        kept = server.studio.store.folder / "takes"
        assert len(server.engine.performances) == 2, "what was replaced did not even begin"
        assert {path.name for path in kept.iterdir()} == {client.started["take"], second["take"]}
        client.say("stop")
        assert client.error()["code"] == "not_started"


def test_a_turn_outlasts_the_loading_of_a_model(serve, engine):
    loaded = threading.Event()

    def load(name: str):
        loaded.wait(5)
        return engine.load(name)

    server = serve(engine=engine, load=load, idle_turn_seconds=0.3)
    with server.visit() as first, server.visit() as second:
        first.until("ready")
        second.until("queued")
        first.say("start", picture="cat", prompt="", seed=1)
        time.sleep(1)
        loaded.set()
        first.until("started")
        first.until_frame(9)


def test_a_start_that_comes_after_its_turn_ends_nobodys_take(serve, monkeypatch):
    server, real, held, seen = serve(idle_turn_seconds=0.3), studio.first_frame, threading.Event(), []

    def slow(*given):
        seen.append(1)
        if len(seen) == 1:
            held.wait(5)
        return real(*given)

    monkeypatch.setattr(studio, "first_frame", slow)
    with server.visit() as first, server.visit() as second:
        first.until("ready")
        second.until("queued")
        first.say("start", picture="cat", prompt="", seed=1)
        first.until("queued")
        second.until("ready")
        second.start()
        second.until_frame(12)
        held.set()
        assert first.error()["code"] == "busy"
        second.until_frame(60)
        assert len(list((server.studio.store.folder / "takes").iterdir())) == 1, "nothing is left of the start"


# ---- the engine ------------------------------------------------------------------------------------------------------


def test_an_error_of_the_engine_ends_the_take_only(server):
    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    server.engine.fail_at, server.engine.fail = 2, fail
    with server.player() as client:
        error = client.error()
        assert (error["code"], error["fatal"]) == ("internal", True)
        assert "RuntimeError" in error["message"]
        client.until("state", state="ended")
        assert server.http.get(f"/api/takes/{client.started['take']}.json").json()["num_chunks"] == 2
        server.engine.fail_at = -1
        client.start()
        client.until_frame(40)


def test_other_presets_are_loaded_when_asked_for(serve):
    server = serve(presets=("tiny-debug", "nano"))
    with server.player(preset="nano") as client:
        assert (client.started["preset"], client.started["width"]) == ("nano", 192)
        client.until_frame(9)
        assert frame_of_jpeg(client.frames[0][1]).shape == (144, 192, 3)
        assert [row["loaded"] for row in server.http.get("/api/presets").json()] == [False, True]
    assert server.engine.loads == ["tiny-debug", "nano"]


def test_a_model_that_cannot_be_loaded_is_said(serve):
    def load(name: str) -> None:
        raise ValueError("the weights are gone: train it again")

    server = serve(load=load)
    server.wait(lambda: server.http.get("/health").json()["status"] == "failed")
    with pytest.raises(ValueError, match="weights are gone"):
        server.studio.worker.ready.result(1)
    with server.visit() as client:
        client.until("ready")
        client.say("start", picture="cat", prompt="", seed=1)
        assert "weights are gone" in client.error()["message"]


def test_a_take_has_a_longest_length(serve):
    server = serve(take_minutes=0.01)  # 120 frames
    with server.player() as client:
        assert "0.01 minutes long" in client.until("state", state="paused")["reason"]
        assert server.engine.performances[0].frame == 129
        client.say("resume")
        client.until("state", state="playing")
        client.until("state", state="paused")
