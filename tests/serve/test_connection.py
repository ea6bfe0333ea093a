"""What a socket may and may not do: hello, token, nonsense, floods, silence. The engine lives on after each."""

import json
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from motionstream.serve.protocol import VERSION

GRAB = {"id": 1, "points": [[20, 15]], "seen": 0, "t": 5}


def test_a_visitor_is_greeted_and_gets_a_turn(server):
    with server.visit() as client:
        hello = client.until("hello")
        assert (hello["v"], hello["preset"]) == (VERSION, "tiny-debug")
        assert hello["limits"]["points_per_gesture"] == 256
        client.until("ready")
        client.say("ping", t=9)
        assert client.until("pong") == {"kind": "pong", "t": 9}


@pytest.mark.parametrize(
    ("hello", "code", "error"),
    [
        ({"kind": "hello", "v": 1, "colour": "new"}, 4000, None),
        ({"kind": "hello", "v": 0}, 4000, None),
        ({"kind": "hello"}, 1008, "bad_message"),
        ({"kind": "hello", "v": "2"}, 1008, "bad_message"),
        ({"kind": "pause"}, 1008, "not_started"),
        ({"kind": "ping", "t": 1}, 1008, "not_started"),
    ],
)
def test_who_does_not_greet_is_sent_away(server, hello: dict[str, Any], code: int, error: str | None):
    with server.http.websocket_connect("ws://localhost/ws") as socket:
        socket.send_text(json.dumps(hello))
        if error is not None:
            said = socket.receive_json()
            assert (said["kind"], said["code"], said["fatal"]) == ("error", error, True)
        assert socket.receive()["code"] == code
    with server.player() as client:
        client.until_frame(9)


def test_a_token_is_asked_for(serve):
    server = serve(token="long enough", hosts=None)
    for hello, path, headers in (
        ({"token": "long enough"}, "/ws", {}),
        ({}, "/ws?token=long%20enough", {}),
        ({}, "/ws", {"Authorization": "Bearer long enough"}),
    ):
        with server.visit(hello, path, headers=headers) as client:
            client.until("hello")
    for hello, path in (({}, "/ws"), ({"token": "wrong"}, "/ws"), ({}, "/ws?token=wrong")):
        with server.visit(hello, path) as client:
            assert client.until_closed() == 1008
            assert "token" in client.messages[0]["message"]


def test_other_sites_are_refused(server):
    for headers in ({"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Host": "elsewhere.example"}):
        with pytest.raises(WebSocketDisconnect), server.visit(headers=headers):
            pass
    with server.visit(headers={"Origin": "http://localhost"}) as client:
        client.until("ready")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "bad_json"),
        ('{"kind": "fly"}', "bad_message"),
        ('{"kind": "move", "id": 1, "pose": [NaN, 0, 0, 1], "t": 1}', "bad_message"),
        (json.dumps({"kind": "grab", **GRAB, "points": [[1, 2]] * 6_000}), "bad_message"),
        (json.dumps({"kind": "grab", **GRAB, "points": [[9_999, 2]]}), "bad_message"),
        (json.dumps({"kind": "prompt", "text": "x" * 50_000}), "bad_message"),
        (json.dumps({"kind": "move", "id": 9, "pose": [0, 0, 0, 1], "t": 1}), "bad_message"),
        (json.dumps({"kind": "branch", "chunk": 10_000}), "bad_message"),
        (json.dumps({"kind": "hello", "v": VERSION}), "bad_message"),
        (json.dumps({"kind": "open", "take": "../../etc"}), "bad_take"),
        (json.dumps({"kind": "start", "picture": "../cat", "prompt": "", "seed": 1}), "bad_picture"),
        (json.dumps({"kind": "start", "picture": "cat", "prompt": "", "seed": 1, "crop": [0, 0, 5, 5]}), "bad_picture"),
        (json.dumps({"kind": "start", "picture": "cat", "prompt": "", "seed": 1, "preset": "huge"}), "bad_message"),
    ],
)
def test_nonsense_is_answered_and_changes_nothing(server, text: str, code: str):
    with server.player() as client:
        client.socket.send_text(text)
        error = client.error()
        assert (error["code"], error["fatal"]) == (code, False)
        assert error["message"]
        client.until_frame(client.frames[-1][0].frame + 20 if client.frames else 20)


def test_binary_messages_mean_nothing(server):
    with server.player() as client:
        client.socket.send_bytes(b"\1\2\3")
        assert client.error()["code"] == "bad_message"
        client.until_frame(9)


def test_steps_that_no_engine_takes_are_refused(server):
    with server.visit() as client:
        client.until("ready")
        client.say("start", picture="cat", prompt="", seed=0, steps=9)
        assert "steps" in client.error()["message"]
        client.start()
        client.until_frame(9)


def test_a_take_that_cannot_begin_ends_alone(server, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("seed=0 is not for this engine")

    with server.visit() as client:
        client.until("ready")
        with monkeypatch.context() as patch:
            patch.setattr(server.studio.worker, "_performance", refuse)
            client.say("start", picture="cat", prompt="", seed=0)
            assert client.error()["fatal"]
            client.until("state", state="ended")
        client.start()
        client.until_frame(9)


@pytest.mark.parametrize("size", [70_000, 100_000])
def test_oversize_messages_close_the_socket(server, size: int):
    with server.player() as client:
        client.say("prompt", text="x" * size)
        assert client.until_closed() == 1009
    with server.visit({"resume": client.messages[0]["session"]}) as client:
        assert client.until("started")["resumed"]


def test_floods(serve):
    server = serve(messages_per_second=20)
    with server.player() as client:
        for n in range(60):
            client.say("ping", t=n)
        assert client.error()["code"] == "too_fast"
        client.until_frame(client.frames[-1][0].frame + 20 if client.frames else 20)
        for n in range(500):
            client.say("ping", t=n)
        assert client.until_closed() == 1008
        assert sum(message["kind"] == "error" for message in client.messages) < 10
    with server.visit({"resume": client.messages[0]["session"]}) as client:
        client.until("started", resumed=True)


def test_silence_closes_the_socket_and_the_take_waits(serve):
    server = serve(heartbeat_seconds=0.15)
    with server.player() as client:
        client.say("shown", frame=0)
        assert client.until_closed() == 4001
        session = client.messages[0]["session"]
    show = server.engine.performances[0]
    server.wait(lambda: not server.studio.line.active.connected)
    made = show.chunk
    with server.visit({"resume": session}) as client:
        started = client.until("started")
        assert started["resumed"]
        assert started["chunk"] >= made
        client.until("state", state="playing")
    assert len(server.engine.performances) == 1


def test_who_never_says_hello_is_let_go(serve):
    server = serve(heartbeat_seconds=0.1)
    with server.http.websocket_connect("ws://localhost/ws") as socket:
        assert socket.receive()["code"] == 4001
