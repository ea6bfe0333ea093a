"""A fake engine with a real input and a real take, a server around it, and a client that speaks the protocol."""

import contextlib
import dataclasses
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from motionstream.config import PresetConfig
from motionstream.presets import preset
from motionstream.serve.app import create_app
from motionstream.serve.binary import FrameHeader, unpack_frame
from motionstream.serve.limits import Limits, Settings
from motionstream.serve.protocol import VERSION
from motionstream.stream.gestures import Mark
from motionstream.stream.live_input import LiveInput
from motionstream.stream.performance import PerformedChunk
from motionstream.stream.poses import AT_REST
from motionstream.stream.session import ChunkStats
from motionstream.stream.take import Take

FPS = 200.0  # so that a chunk is shown in 60 ms, and tests need not wait


def fast(name: str) -> PresetConfig:
    config = preset(name)
    return dataclasses.replace(config, geometry=dataclasses.replace(config.geometry, fps=FPS))


class FakePerformance:
    """Chunks of one grey each: what it is depends on the seed, the chunk and what was pushed for it."""

    def __init__(self, engine: "FakeEngine", picture: np.ndarray, prompt: str, seed: int, *, steps=None, snapshot_bytes=0):
        if steps is not None and steps > 8:
            raise ValueError(f"steps={steps}: use 1 to 8")
        self.engine, self.prompt = engine, prompt
        geometry = engine.preset.geometry
        self.size = geometry.height, geometry.width
        self.live = LiveInput(geometry.width, geometry.height, geometry.fps)
        self.take = Take(engine.preset.name, geometry.width, geometry.height, geometry.fps, prompt, seed, steps, picture)
        self._script: list[Any] = []
        self._active: dict[int, Any] = {}
        self.recorded, self.closed = 0, False
        self.session = SimpleNamespace(open=True)
        engine.performances.append(self)

    @classmethod
    def of_take(cls, engine: "FakeEngine", take: Take, *, snapshot_bytes: int = 0) -> "FakePerformance":
        show = cls(engine, take.picture, take.prompt, take.seed, steps=take.steps)
        show._script = list(take.inputs)
        show.recorded = len(show._script)
        show.live.refused = "recorded input is playing" if show._script else None
        return show

    @property
    def chunk(self) -> int:
        return self.take.num_chunks

    @property
    def frame(self) -> int:
        return 9 + 12 * (self.chunk - 1) if self.chunk else 0

    @property
    def active(self) -> tuple[int, ...]:
        return tuple(self._active)

    @property
    def scripted(self) -> bool:
        return self.chunk < len(self._script)

    def step(self) -> PerformedChunk:
        assert threading.current_thread().name == "compute"
        self.engine.stepping.wait(5)
        time.sleep(self.engine.chunk_s)
        if self.chunk == self.engine.fail_at:
            self.engine.fail()
        index, first, count = self.chunk, self.frame, 12 if self.chunk else 9
        if self.scripted:
            made, echo = self._script[index], (0,) * count
        else:
            made, echo = self.live.collect(count, time.monotonic())
        if not self.scripted:
            swarms, others = self.live.gather(index, count)
            made, echo = dataclasses.replace(made, swarms=swarms), tuple(map(max, echo, others))
        refused = tuple(begin.id for begin in made.begins if begin.id in self.engine.refuses)
        self._active |= {begin.id: begin for begin in made.begins if begin.id not in refused}
        ended = tuple(key for key, _ in made.ends)
        for key in ended:
            self._active.pop(key, None)
        self.live.forget((*ended, *refused))
        self.prompt = made.prompt or self.prompt
        self.take.inputs.append(made)
        if not self.scripted and self.live.refused:
            self._hand_over()
        frames = np.full((count, *self.size, 3), self.grey(index), np.uint8)
        took = {begin.id: tuple(begin.points) for begin in made.begins if begin.id not in refused}
        marks = [[Mark(*begin.points[0], begin.kind) for begin in self._active.values()] for _ in range(count)]
        return PerformedChunk(frames, index, first, echo, ChunkStats(0, 1, 2, 3), ended, marks, took, refused)

    def grey(self, index: int) -> int:
        return (40 + 20 * index + self.take.seed + 7 * len(self.take.inputs[index].begins)) % 256

    def settle(self) -> None:
        self.engine.settled += 1

    def branch(self, chunk: int) -> None:
        if not 0 <= chunk <= self.chunk:
            raise ValueError(f"chunk {chunk} cannot be branched from: {self.chunk} chunks were made")
        self.take.inputs = self.take.inputs[:chunk]
        begun = {begin.id: begin for made in self.take.inputs for begin in made.begins}
        self._active = {key: begun[key] for key in begun if key not in self.engine.refuses}
        self._script = []
        self._hand_over()

    def _hand_over(self) -> None:
        held = {key: (len(begin.points), AT_REST) for key, begin in self._active.items()}
        drags = {key for key, begin in self._active.items() if begin.kind == "drag"}
        self.live.clear(held, drags, self.take.gesture_ids(), time.monotonic())
        self.live.refused = None

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    def __init__(self, name: str = "tiny-debug") -> None:
        self.preset = fast(name)
        self.compute = SimpleNamespace(reason="a fake", device=torch.device("cpu"))
        self.chunk_s, self.settled, self.fail_at, self.fail = 0.0, 0, -1, lambda: None
        self.refuses: set[int] = set()  # gestures for which there is no room any more
        self.stepping = threading.Event()
        self.stepping.set()
        self.performances: list[FakePerformance] = []
        self.loads: list[str] = []

    def load(self, name: str) -> "FakeEngine":
        assert threading.current_thread().name == "compute"
        self.loads.append(name)
        self.preset = fast(name)
        return self

    def warmup(self) -> None:
        pass


class Client:
    """One socket; reads until something is found, and keeps what passes by."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.frames: list[tuple[FrameHeader, bytes]] = []

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send_text(json.dumps({"kind": kind, **fields}))

    def receive(self) -> dict[str, Any]:
        async def soon() -> dict[str, Any]:
            with anyio.fail_after(5):
                return await self.socket._send_rx.receive()

        return self.socket.portal.call(soon)

    def read(self) -> dict[str, Any] | FrameHeader:
        message = self.receive()
        if message["type"] == "websocket.close":
            raise AssertionError(f"closed: {message}")
        if message.get("text") is not None:
            self.messages.append(json.loads(message["text"]))
            return self.messages[-1]
        self.frames.append(unpack_frame(message["bytes"]))
        return self.frames[-1][0]

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of that kind with those fields; an unexpected error is one of the test."""
        while True:
            message = self.read()
            if isinstance(message, dict):
                if message["kind"] == kind and all(message.get(key) == value for key, value in fields.items()):
                    return message
                assert message["kind"] != "error", message

    def until_frame(self, number: int) -> FrameHeader:
        while True:
            header = self.read()
            if isinstance(header, FrameHeader) and header.frame >= number:
                return header

    def until_closed(self) -> int:
        while True:
            message = self.receive()
            if message["type"] == "websocket.close":
                return message["code"]
            if message.get("text") is not None:
                self.messages.append(json.loads(message["text"]))

    def error(self) -> dict[str, Any]:
        """The next error."""
        while True:
            message = self.read()
            if isinstance(message, dict) and message["kind"] == "error":
                return message

    def lose(self) -> None:
        """The connection breaks."""
        self.socket.close(1006)

    def sync(self) -> None:
        """Everything said before has been dealt with."""
        self.say("ping", t=77)
        self.until("pong", t=77)

    def start(self, **fields: Any) -> dict[str, Any]:
        self.say("start", **{"picture": "cat", "prompt": "a cat", "seed": 3, **fields})
        return self.until("started")


class Server:
    """An application with a fake engine, and its HTTP client."""

    def __init__(self, http: TestClient, engine: FakeEngine) -> None:
        self.http, self.engine = http, engine
        self.studio = http.app.state.studio  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def visit(self, hello: dict[str, Any] | None = None, path: str = "/ws", **options: Any) -> Iterator[Client]:
        with self.http.websocket_connect(f"ws://localhost{path}", **options) as socket:
            client = Client(socket)
            client.say(**{"kind": "hello", "v": VERSION, **(hello or {})})
            yield client

    @contextlib.contextmanager
    def player(self, **start: Any) -> Iterator[Client]:
        """A visitor whose turn it is, with a take that plays."""
        with self.visit() as client:
            client.until("ready")
            client.started = client.start(**start)  # type: ignore[attr-defined]
            yield client

    def wait(self, condition: Callable[[], bool], seconds: float = 3.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.005)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Make servers: ``serve(token=..., messages_per_second=...)`` takes settings and limits."""
    with contextlib.ExitStack() as stack:

        def make(*, presets: tuple[str, ...] = ("tiny-debug",), base: str = "http://localhost", **changes: Any) -> Server:
            names = Limits.__dataclass_fields__
            limits = Limits(**{key: changes.pop(key) for key in list(changes) if key in names})
            engine = changes.pop("engine", None) or FakeEngine()
            options = {"performance": changes.pop("performance", FakePerformance)}
            load = changes.pop("load", engine.load)
            settings = Settings(presets=tuple(map(fast, presets)), limits=limits, **{"folder": tmp_path / "kept", **changes})
            app = create_app(load, settings, **options)
            return Server(stack.enter_context(TestClient(app, base_url=base)), engine)

        yield make


@pytest.fixture
def engine() -> FakeEngine:
    """For a server that is to be made with ``engine=``."""
    return FakeEngine()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Bytes of a picture file: ``png(width, height, form="PNG")``."""

    def make(width: int = 64, height: int = 48, form: str = "PNG", **options: Any) -> bytes:
        ramp = np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)
        packed = io.BytesIO()
        Image.fromarray(ramp).save(packed, form, **options)
        return packed.getvalue()

    return make
