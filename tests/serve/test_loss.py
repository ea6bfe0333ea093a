"""A connection is lost, or another one takes over: what waits, what is let go, what is said again."""

import threading
import time

import pytest


def test_a_lost_take_waits_and_is_resumed(serve):
    server = serve()
    with server.player() as client:
        session = client.messages[0]["session"]
        client.say("grab", id=1, points=[[20, 15]], seen=0, t=1)
        client.say("camera", pan=[5, 0], zoom=0, roll=0, t=2)
        client.until_frame(30)
        client.lose()
        show = server.engine.performances[0]
        server.wait(lambda: server.studio.line.active.lost_at is not None)
        time.sleep(0.1)
        made = show.chunk
        time.sleep(0.2)
        assert show.chunk == made
    with server.visit({"resume": session}) as client:
        hello = client.until("hello")
        assert hello["session"] == session
        started = client.until("started")
        assert (started["resumed"], started["chunk"]) == (True, made)
        client.until("state", state="playing")
        client.until_frame(show.frame)
        assert client.frames[0][0].frame == started["frame"]
        assert len(server.engine.performances) == 1
        assert show.take.inputs[made].ends[0][0] == 1  # no hand is there any more
        assert show.take.inputs[made].camera.still


@pytest.mark.parametrize("frames_have", [5, 0])
def test_frames_lost_on_their_way_come_again(server, frames_have):
    with server.player() as client:
        session = client.messages[0]["session"]
        client.until_frame(12)
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
    with server.visit({"resume": session, "have": frames_have}) as client:
        assert client.until("started")["frame"] == frames_have + 1
        client.until_frame(20)
        numbers = [header.frame for header, _ in client.frames]
        assert numbers == list(range(frames_have + 1, numbers[-1] + 1))


def test_a_pause_outlives_a_lost_connection(server):
    with server.player() as client:
        session = client.messages[0]["session"]
        client.say("pause")
        client.until("state", state="paused")
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
    with server.visit({"resume": session}) as client:
        client.until("started", resumed=True)
        client.until("state", state="paused")


def test_a_pause_that_was_not_answered_before_the_loss_outlives_it(server):
    with server.player() as client:
        session = client.messages[0]["session"]
        client.until_frame(20)
        server.engine.stepping.clear()  # in the middle of a chunk
        time.sleep(0.1)
        client.say("pause")
        client.sync()
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
    with server.visit({"resume": session}) as client:
        client.until("started", resumed=True)
        server.engine.stepping.set()
        client.until("state", state="paused")
        show = server.engine.performances[0]
        made = show.chunk
        time.sleep(0.2)
        client.sync()
        assert show.chunk == made
        told = [(m["state"], m.get("reason")) for m in client.messages if m["kind"] == "state"]
        assert set(told) == {("paused", None)}
        client.say("resume")
        client.until_frame(show.frame + 12)


def test_a_resume_that_was_not_answered_before_the_loss_waits_for_the_page(server):
    with server.player() as client:
        session = client.messages[0]["session"]
        client.until_frame(20)
        client.say("pause")
        client.until("state", state="paused")
        busy = threading.Event()
        server.studio.worker._commands.put(lambda: busy.wait(5))
        client.say("resume")
        client.sync()
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
        busy.set()
        show = server.engine.performances[0]
        made = show.chunk
        time.sleep(0.3)
        assert show.chunk <= made + 1, "nothing is made for nobody"
        made = show.chunk
    with server.visit({"resume": session}) as client:
        client.until("started", resumed=True)
        client.until("state", state="playing")
        client.until("stats", chunk=made)
        assert "paused" not in [m.get("state") for m in client.messages]


def test_a_take_lost_for_too_long_ends_and_stays(serve):
    server = serve(resume_seconds=0.1)
    with server.player() as client:
        session, key = client.messages[0]["session"], client.started["take"]
        client.until_frame(9)
        client.lose()
        server.wait(lambda: server.studio.line.active is None)
    with server.visit({"resume": session}) as client:
        assert client.until("hello")["session"] != session
        client.until("ready")
    assert server.http.get(f"/api/takes/{key}.json").json()["num_chunks"] >= 1
    assert server.http.get(f"/api/takes/{key}/frames/0.jpg").status_code == 200


def test_another_tab_takes_a_session_over(server):
    with server.player() as first:
        with server.visit({"resume": first.messages[0]["session"]}) as second:
            assert first.until_closed() == 4002
            second.until("started", resumed=True)
            second.until("state", state="playing")
            second.until_frame(40)


def test_who_comes_back_before_the_server_has_noticed_holds_nothing_either(server):
    with server.player() as old:
        session = old.messages[0]["session"]
        old.say("grab", id=1, points=[[20, 15]], seen=0, t=1)
        old.say("pin", id=2, points=[[40, 20]], seen=0, t=1)
        old.say("camera", pan=[5, 0], zoom=0, roll=0, t=2)
        old.until_frame(30)
        show = server.engine.performances[0]
        with server.visit({"resume": session, "have": 30}) as client:
            started = client.until("started")
            assert {2} <= set(started["active"]) <= {1, 2}
            client.until_frame(show.frame + 40)
            assert 1 in [key for made in show.take.inputs for key, _ in made.ends]
            assert [made.camera for made in show.take.inputs if made.camera][-1].still
            assert show.active == (2,)


def test_who_comes_back_is_told_what_was_heard_and_what_is_in_use(server):
    with server.player() as client:
        session = client.messages[0]["session"]
        assert client.messages[0]["heard"] == 0
        client.say("pin", id=1, points=[[40, 20]], seen=0, t=1)
        client.say("prompt", text="snow")
        client.say("ping", t=1)
        client.until("pong")
        client.until_frame(30)
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
    with server.visit({"resume": session}) as client:
        assert client.until("hello")["heard"] == 4  # with the start
        started = client.until("started", resumed=True)
        assert (started["active"], started["prompt"]) == ([1], "snow")


def test_an_error_about_a_gesture_names_it(server):
    with server.player() as client:
        client.say("path", id=7, points=[[20, 15]], path=[[0, 0], [99999, 0]], seconds=1, seen=0, t=1)
        assert client.error()["id"] == 7
        client.say("branch", chunk=90000)
        assert "id" not in client.error()
        client.say("grab", id=8, points=[[20, 15]], seen=0, t=1)
        client.say("move", id=8, pose=[0, 0, 0, 5000], t=2)
        assert "id" not in client.error(), "the grab itself is held"


def test_a_gesture_for_which_there_was_no_room_ends_nothing_but_itself(server):
    server.engine.refuses = {3}
    with server.player() as client:
        client.say("pin", id=2, points=[[20, 15]], seen=0, t=1)
        client.say("pin", id=3, points=[[20, 15]], seen=0, t=1)
        error = client.error()
        assert (error["id"], error["fatal"]) == (3, False)
        assert "let something go" in error["message"]
        client.until_frame(client.frames[-1][0].frame + 20)
        client.say("branch", chunk=1)
        assert 3 not in client.until("branched")["active"]
