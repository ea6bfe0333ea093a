"""`motionstream demo` as people run it: its own process, a real port, Ctrl-C at the end."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from motionstream import cli
from motionstream.commands import demo
from motionstream.serve.binary import unpack_frame
from motionstream.serve.launch import listen
from motionstream.serve.protocol import VERSION


def test_the_demo_serves_until_ctrl_c(tmp_path: Path):
    words = ["demo", "--preset", "tiny-debug", "--port", "0", "--no-browser", "--device", "cpu", "--takes", "kept"]
    command = [sys.executable, "-m", "motionstream", *words]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            while not (found := re.search(r"http://(127\.0\.0\.1:\d+)/", lines[-1] if lines else "")):
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            assert any("loading tiny-debug" in line for line in lines)
            with urllib.request.urlopen(f"http://{found[1]}/health") as answer:
                assert json.load(answer)["status"] == "ok"
            with connect(f"ws://{found[1]}/ws", compression="deflate") as socket:
                socket.send(json.dumps({"kind": "hello", "v": VERSION}))
                socket.send('{"kind": "start", "picture": "cat", "prompt": "a cat", "seed": 1}')
                while not isinstance(message := socket.recv(timeout=20), bytes):
                    assert json.loads(message)["kind"] != "error"
                assert unpack_frame(message)[0].frame == 0
                assert not socket.protocol.extensions  # JPEGs are not compressed once more
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        socket.recv(timeout=20)
            rest = process.stderr.read()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert "stopped; the takes are in" in rest
    assert "Traceback" not in rest
    take = next((tmp_path / "kept" / "takes").iterdir())
    assert json.loads((take / "take.json").read_text())["num_chunks"] >= 1


def test_a_users_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        for words, said in (
            (["--port", port], f"port {port} on 127.0.0.1 is in use: try --port"),
            (["--port", "70000"], "'70000' must be a whole number"),
            (["--preset", "huge"], "'huge' is neither a preset"),
            (["--weights", "nowhere"], "'nowhere' is neither a preset"),
            (["--weights", "."], "no config.json"),
            (["--host", "no such host"], "--host 'no such host' is not known"),
            (["--takes", "file"], "--takes 'file' cannot be used"),
            (["--token", "short"], "a token of 5 characters"),
        ):
            assert cli.main(["demo", "--no-browser", *words]) == 2, words
            captured = capsys.readouterr()
            assert said in captured.err
            assert captured.err.count("\n") == 1


def test_the_address_is_printed_and_a_browser_opened_where_there_is_one(monkeypatch: pytest.MonkeyPatch, capsys):
    opened = []
    monkeypatch.setattr(demo, "has_display", lambda: True)
    monkeypatch.setattr(demo.webbrowser, "open", lambda url: opened.append(url) or len(opened) > 1)
    urls = ["http://127.0.0.1:1/?token=t", "http://name:1/?token=t"]
    demo._announce(urls, no_browser=True)
    assert opened == []
    demo._announce(urls, no_browser=False)
    assert "no browser was found" in capsys.readouterr().err
    demo._announce(urls, no_browser=False)
    said = capsys.readouterr().err
    assert opened == [urls[0]] * 2
    assert all(url in said for url in urls)
    assert "no browser" not in said
    monkeypatch.undo()
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not demo.has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert demo.has_display()
