"""What is kept of a take: while it plays, when the disk is full, and after the server has stopped."""

import json

import numpy as np
import pytest

from motionstream.serve.frames import FrameFile
from motionstream.serve.images import frame_of_jpeg
from motionstream.serve.store import TakeFolder


def test_a_full_disk_pauses_the_take_and_loses_nothing(server, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with server.player() as client:
        client.until_frame(30)
        with monkeypatch.context() as patch:
            patch.setattr(FrameFile, "_write", staticmethod(full))
            error = client.error()
            assert (error["code"], error["fatal"]) == ("disk_full", False)
            assert "disk is full" in client.until("state", state="paused")["reason"]
            client.sync()
        key = client.started["take"]
        client.say("resume")
        client.until("state", state="playing")
        number = client.until_frame(client.frames[-1][0].frame + 13).frame
        server.wait(lambda: server.studio.store.take(key).frames.num_frames > number)
        for header, jpeg in client.frames:
            assert server.http.get(f"/api/takes/{key}/frames/{header.frame}.jpg").content == jpeg


def test_too_little_room_pauses_the_take(serve):
    server = serve(disk_bytes=30_000)
    with server.player() as client:
        assert "used up" in client.until("state", state="paused")["reason"]
        assert server.http.get(f"/api/takes/{client.started['take']}.mp4").status_code == 200


def test_an_uploaded_take_that_does_not_fit_leaves_nothing(server, monkeypatch: pytest.MonkeyPatch):
    with server.player() as client:
        client.until_frame(9)
        text = server.http.get(f"/api/takes/{client.started['take']}.json").text

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = list((server.studio.store.folder / "takes").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(TakeFolder, "save", full)
        assert server.http.post("/api/takes", content=text).status_code == 507
    assert list((server.studio.store.folder / "takes").iterdir()) == before


def test_what_was_made_is_kept_when_the_server_stops(serve, tmp_path):
    server = serve()
    with server.player() as client:
        client.until_frame(30)
        key = client.started["take"]
        server.studio.worker.stop()
    kept = json.loads((tmp_path / "kept" / "takes" / key / "take.json").read_text())
    assert kept["num_chunks"] >= 3
    again = serve()
    assert again.http.get(f"/api/takes/{key}.json").json() == kept
    np.testing.assert_array_equal(
        frame_of_jpeg(again.http.get(f"/api/takes/{key}/frames/8.jpg").content), frame_of_jpeg(client.frames[8][1])
    )


def test_a_take_is_kept_while_it_plays(server):
    with server.player() as client:
        folder = server.studio.store.take(client.started["take"])
        assert folder.read() is None
        client.until_frame(9 + 12 * 18)
        server.wait(lambda: folder.read() is not None)
        kept = json.loads(folder.read())["num_chunks"]
        assert 16 <= kept <= server.engine.performances[0].chunk
        server.wait(lambda: json.loads(folder.read())["num_chunks"] >= kept + 16)
