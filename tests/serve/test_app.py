"""What is asked for over HTTP, and the whole chain with a real engine."""

import dataclasses
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from motionstream.media.video import read_video
from motionstream.serve.images import jpeg
from motionstream.serve.store import Store
from motionstream.stream.engine import load_engine
from motionstream.stream.performance import Performance
from motionstream.stream.take import Take


def test_what_there_is_to_choose(serve):
    server = serve(presets=("tiny-debug", "nano"))
    http = server.http
    server.wait(lambda: http.get("/health").json()["status"] == "ok")
    health = http.get("/health").json()
    assert (health["preset"], health["device"], health["busy"], health["waiting"]) == ("tiny-debug", "cpu", False, 0)
    rows = http.get("/api/presets").json()
    assert rows[1] == {
        "name": "nano", "width": 192, "height": 144, "fps": 200.0,
        "first_chunk_frames": 1, "chunk_frames": 4, "dab_px": 15.0, "loaded": False,
    }  # fmt: skip
    assert rows[0]["loaded"]
    gallery = http.get("/api/gallery").json()
    assert len(gallery) >= 8
    assert {"name", "caption", "prompt", "url", "object", "size", "credit"} == set(gallery[0])
    with Image.open(io.BytesIO(http.get(f"/{gallery[0]['url']}").content)) as image:
        assert list(image.size) == gallery[0]["size"]
    limits = http.get("/api/limits").json()
    assert (limits["points_per_gesture"], limits["upload_bytes"]) == (256, 20_000_000)


def test_health_while_the_model_is_loaded(serve):
    def load(name: str):
        time.sleep(0.3)
        return server.engine.load(name)

    server = serve(load=load)
    assert server.http.get("/health").json()["status"] == "loading"
    with server.visit() as client:
        client.until("ready")
        client.start()  # waits for it
        assert server.http.get("/health").json()["status"] == "ok"


def test_openapi_describes_the_routes(server):
    described = server.http.get("/openapi.json").json()
    assert {"/health", "/api/presets", "/api/pictures", "/api/takes", "/api/takes/{key}.mp4"} <= set(described["paths"])
    assert server.http.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_the_page_may_load_nothing_from_elsewhere(serve, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<title>studio</title>")
    (tmp_path / "page" / "app.js").write_text("export {}")
    server = serve(static=tmp_path / "page")
    for path in ("/", "/static/app.js"):
        answer = server.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "javascript" in server.http.get("/static/app.js").headers["content-type"]
    assert server.http.get("/static/../index.html").status_code == 404
    assert "error" in server.http.get("/nowhere").json()


def test_pages_of_other_sites_and_other_names_are_refused(server):
    assert server.http.get("/health", headers={"Host": "elsewhere.example"}).status_code == 403
    assert server.http.get("/health", headers={"Host": "127.0.0.1:9999"}).status_code == 200  # as through a tunnel
    refused = server.http.post("/api/pictures", content=b"x", headers={"Origin": "https://elsewhere.example"})
    assert (refused.status_code, refused.json()) == (403, {"error": "a page of another site may not do this"})


def test_the_token_guards_what_is_below_api(serve):
    server = serve(token="long enough", hosts=None)
    http = server.http
    assert http.get("/health", headers={"Host": "a.example"}).status_code == 200
    assert http.get("/api/limits").status_code == 401
    assert http.get("/api/limits?token=wrong").status_code == 403
    assert http.get("/api/limits", params={"token": "long enough"}).status_code == 200
    assert http.get("/api/limits", headers={"Authorization": "Bearer long enough"}).status_code == 200
    assert http.get("/gallery/cat.jpg").status_code == 200


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_an_uploaded_picture_is_turned_kept_and_played(server, png):
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = server.http.post("/api/pictures", content=png(64, 48, "JPEG", exif=exif))
    assert answer.status_code == 200
    row = answer.json()
    assert (row["width"], row["height"]) == (48, 64)
    with Image.open(io.BytesIO(server.http.get(f"/{row['url']}").content)) as image:
        assert image.size == (48, 64)
    with server.player(picture=row["id"], crop=[0, 0, 48, 32]) as client:
        client.until_frame(9)
        assert server.engine.performances[0].take.picture.shape == (32, 48, 3)


def test_bad_uploads_are_answered_with_a_sentence(serve, png):
    server = serve(upload_bytes=20_000, picture_pixels=10_000)
    for content, status, said in (
        (b"", 415, "empty"),
        (b"hello", 415, "not a PNG"),
        (png(64, 48, "GIF"), 415, "not a PNG"),
        (png(64, 48)[:-100], 415, "damaged"),
        (png(8, 8), 415, "at least 16"),
        (png(200, 100, "WEBP"), 413, "megapixels"),
        (b"x" * 30_000, 413, "0.02 MB"),
        (b"x" * 300_000, 413, "0.02 MB"),
    ):
        answer = server.http.post("/api/pictures", content=content)
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.json()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    answer = server.http.post("/api/pictures", content=bomb.getvalue()[:20_000])
    assert (answer.status_code, answer.json()["error"].split("; ")[1]) == (413, "give one of at most 0.01 megapixels")
    assert server.http.get("/api/pictures/0123456789abcdef").status_code == 404
    assert server.http.post("/api/pictures", content=png(64, 48, "WEBP")).status_code == 200


def test_a_full_disk_is_said_when_uploading(server, png, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    text = a_take(server)
    monkeypatch.setattr(Store, "add_picture", full)
    monkeypatch.setattr(Store, "new_take", full)
    for path, content in (("/api/pictures", png()), ("/api/takes", text)):
        answer = server.http.post(path, content=content)
        assert (answer.status_code, "No space" in answer.json()["error"]) == (507, True)
    with server.visit() as client:
        client.until("ready")
        client.say("start", picture="cat", prompt="", seed=0)
        assert client.error()["code"] == "disk_full"


# ---- takes -----------------------------------------------------------------------------------------------------------


def a_take(server, frames: int = 30, **start: object) -> str:
    """JSON of a take that was played for a while, with a pin in it."""
    with server.player(**start) as client:
        client.say("pin", id=3, points=[[20, 15]], seen=0, t=1)
        client.until_frame(frames)
        client.say("stop")
        client.until("state", state="ended")
        return server.http.get(f"/api/takes/{client.started['take']}.json").text


def test_a_running_take_can_be_downloaded(server):
    with server.player(seed=9) as client:
        key = client.started["take"]
        assert server.http.get(f"/api/takes/{key}/frames/100000.jpg").status_code == 404
        client.say("grab", id=1, points=[[24, 16]], seen=0, t=1)
        client.until_frame(33)
        take = Take.from_json(server.http.get(f"/api/takes/{key}.json").text)
        assert (take.seed, take.prompt, take.num_chunks >= 3) == (9, "a cat", True)
        client.say("pause")
        client.until("state", state="paused")
        client.sync()
        assert server.http.get(f"/api/takes/{key}/frames/20.jpg").content == client.frames[20][1]
        server.wait(lambda: server.studio.store.take(key).frames.num_frames == server.engine.performances[0].frame)
        answer = server.http.get(f"/api/takes/{key}.mp4")
        assert answer.headers["content-type"] == "video/mp4"
        assert "attachment" in answer.headers["content-disposition"]
        clean, drawn = answer.content, server.http.get(f"/api/takes/{key}.mp4?tracks=1").content
    folder = server.studio.store.folder
    (folder / "drawn.mp4").write_bytes(drawn)
    (folder / "clean.mp4").write_bytes(clean)
    clean_frames, drawn_frames = (read_video(folder / name)[0].astype(int) for name in ("clean.mp4", "drawn.mp4"))
    assert clean_frames.shape == (server.engine.performances[0].frame, 384, 576, 3)
    greener = drawn_frames[..., 1] - drawn_frames[..., 0]
    assert greener[-1, 190, 287] > 100
    assert (clean_frames[..., 1] - clean_frames[..., 0]).max() < 20


def test_answers_about_takes_that_are_not_there(server):
    for path in ("0.json", "0.mp4", "0/frames/0.jpg", "..%2f..%2fsecret.json"):
        answer = server.http.get(f"/api/takes/{path}")
        assert (answer.status_code, "error" in answer.json()) == (404, True)
    assert server.http.get("/api/takes/0/frames/x.jpg").status_code == 422


def test_a_take_is_played_again_and_goes_on_live(server):
    text = a_take(server, seed=21, prompt="a dog", picture="dog")
    row = server.http.post("/api/takes", content=text).json()
    assert (row["prompt"], row["seed"], row["preset"], row["width"]) == ("a dog", 21, "tiny-debug", 48)
    empty = server.http.get(f"/api/takes/{row['id']}.mp4")
    assert (empty.status_code, empty.json()["error"]) == (404, "this take has no frames yet")
    server.engine.chunk_s = 0.05
    with server.visit() as client:
        client.until("ready")
        client.say("open", take=row["id"])
        started = client.until("started")
        assert (started["seed"], started["first_id"]) == (21, 1 + max(Take.from_json(text).gesture_ids()))
        client.say("pin", id=5, points=[[1, 1]], seen=0, t=1)
        assert "recorded" in client.error()["message"]
        show = server.engine.performances[-1]
        server.wait(lambda: not show.scripted)
        client.say("pin", id=5, points=[[1, 1]], seen=0, t=1)
        client.until_frame(show.frame + 12)
        again = show.take
    before = Take.from_json(text)
    assert again.inputs[: before.num_chunks] == before.inputs
    assert any(begin.id == 5 for made in again.inputs[before.num_chunks :] for begin in made.begins)


def opened(server, client) -> dict:
    """Play a take and open it again: it holds pin 3, changes the prompt and ends so."""
    client.say("pin", id=3, points=[[20, 15]], seen=0, t=1)
    client.say("prompt", text="snow")
    client.until_frame(130)
    client.say("stop")
    client.until("state", state="ended")
    client.say("open", take=client.started["take"])
    return client.until("started")


def test_what_a_record_holds_at_its_end_is_said_and_can_be_let_go(server):
    with server.player() as client:
        started = opened(server, client)
        assert started["prompt"] == "a cat"
        live = client.until("live")
        assert (live["chunk"], live["active"], live["prompt"]) == (started["recorded"], [3], "snow")
        assert live["frame"] == 9 + 12 * (live["chunk"] - 1)
        client.say("pin", id=started["first_id"], points=[[1, 1]], seen=0, t=1)
        client.say("remove", id=3)
        assert client.until("ended")["id"] == 3
        assert server.engine.performances[-1].active == (4,)


@pytest.mark.parametrize("how", ["its end", "a branch in it", "a branch after it"])
def test_who_comes_back_after_the_record_is_told_that_it_is_over(server, how):
    server.engine.chunk_s = 0.05
    with server.player() as client:
        session, started = client.messages[0]["session"], opened(server, client)
        show = server.engine.performances[-1]
        asked = 1 + next(k for k, made in enumerate(show._script) if made.prompt)  # the pin was said before that
        if how == "a branch in it":
            server.wait(lambda: show.chunk >= asked)
        else:
            client.until("live")
            asked = show.chunk
        if how != "its end":
            client.say("branch", chunk=asked)
            client.until("branched", chunk=asked)
        client.lose()
        server.wait(lambda: server.studio.line.active.lost_at is not None)
    with server.visit({"resume": session}) as client:
        again = client.until("started")
        assert (again["take"], again["recorded"], again["active"]) == (started["take"], 0, [3])
        assert again["prompt"] == "snow"
        client.say("pin", id=8, points=[[1, 1]], seen=0, t=1)
        client.sync()


def test_a_take_for_another_canvas_is_scaled(serve):
    text = a_take(serve(presets=("nano",)), picture="dog")
    server = serve(folder=None)
    row = server.http.post("/api/takes", content=text).json()
    assert (row["width"], row["preset"]) == (192, "nano")
    with server.visit() as client:
        client.until("ready")
        client.say("open", take=row["id"])
        assert client.until("started")["width"] == 48
        script = server.engine.performances[-1]._script
        pinned = next(made for made in script if made.begins)
        assert pinned.begins[0].points[0] == pytest.approx((20 * 48 / 192, 15 * 32 / 144))


def test_takes_edited_by_hand(server):
    text = a_take(server)
    whole = json.loads(text)
    for content, said in (
        (b"", "not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        (text[:-20].encode(), "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (json.dumps({**whole, "version": 9}).encode(), "version 9"),
        (json.dumps({**whole, "seed": -1}).encode(), "seed=-1"),
        (json.dumps({**whole, "width": 64}).encode(), "picture is"),
        (json.dumps({**whole, "picture": whole["picture"][:100]}).encode(), "picture"),
        (json.dumps({**whole, "num_chunks": 10**9}).encode(), "num_chunks"),
        (text.replace('"points": [[20.0', '"points": [[NaN').encode(), "NaN"),
        (json.dumps({**whole, "prompt": "x" * 2000}).encode(), "at most 1000"),
        (json.dumps({**whole, "sede": 3}).encode(), "unknown key 'sede'"),
        (text.replace('"begins"', '"begin"').encode(), "unknown key 'begin'"),
    ):
        answer = server.http.post("/api/takes", content=content)
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.json()
    assert server.http.post("/api/takes", content=text).status_code == 200


def test_what_a_brush_is_to_take_is_kept_in_the_take(server):
    with server.player() as client:
        brush = {"points": [[10, 10], [12, 10]], "seen": 0, "t": 1}
        client.say("grab", id=1, **brush, snap=True)
        client.say("grab", id=2, **brush)
        client.say("path", id=3, **brush, path=[[10, 10], [20, 10]], seconds=1, snap=True)
        client.sync()
        server.wait(lambda: len(server.engine.performances[0].take.gesture_ids()) == 3)
        take = server.http.get(f"/api/takes/{client.started['take']}.json").json()
    begins = [begin for row in take["inputs"] for begin in row.get("begins", ())]
    assert {begin["id"]: begin.get("snap", False) for begin in begins} == {1: True, 2: False, 3: True}


# ---- with a real engine ----------------------------------------------------------------------------------------------


def test_a_live_take_of_a_real_engine_replays_to_the_last_bit(serve):
    engine = load_engine("tiny-debug", device="cpu", dtype="float32")
    geometry = dataclasses.replace(engine.preset.geometry, fps=120.0)
    engine.preset = dataclasses.replace(engine.preset, geometry=geometry)
    server = serve(load=lambda name: engine, performance=Performance)
    with server.player(seed=4) as client:
        client.until_frame(0)
        client.say("grab", id=1, points=[[20, 15], [24, 15]], seen=0, t=10)
        for n in range(1, 6):
            client.say("move", id=1, pose=[2.0 * n, 0, 0, 1], t=10 + n)
        held = client.until("held", id=1)
        shown = [header for header, _ in client.frames if header.echo_t >= 10]
        assert not shown, "what it took is told before the first frame that shows it"
        assert any(np.hypot(x - 20, y - 15) <= client.started["cell"] for x, y in held["points"])
        client.until_frame(50)
        client.say("release", id=1, t=20)
        client.until("ended", id=1)
        client.say("pause")
        client.until("state", state="paused")
        client.sync()
        assert {header.echo_t for header, _ in client.frames} >= {0, 15, 20}
        take = Take.from_json(server.http.get(f"/api/takes/{client.started['take']}.json").text)
        client.say("branch", chunk=2)
        branched = client.until("branched")
        assert (branched["chunk"], branched["frame"]) == (2, 21)
        client.say("pin", id=2, points=[[8, 8]], seen=20, t=30)
        client.say("resume")
        client.until_frame(33)
        first = client.frames[-1]
        assert client.until("stats")["stages"]["commit"] > 0
    played = {}
    with Performance.of_take(engine, take) as show:
        while show.scripted:
            chunk = show.step()
            played |= {chunk.first_frame + n: jpeg(frame, 92) for n, frame in enumerate(chunk.frames)}
    received: dict[int, bytes] = {}
    for header, packed in client.frames:
        received.setdefault(header.frame, packed)
    assert len(played) >= 57
    assert all(received[number] == played[number] for number in played if number in received)
    assert first[1] != played[33]  # another input since the branch
    assert np.std([len(packed) for packed in played.values()]) > 0
