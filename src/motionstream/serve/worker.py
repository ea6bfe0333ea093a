"""The compute thread: owns the engine, plays one take at a time, and never runs on the event loop.

Commands come through a queue and are answered between two chunks; what a hand does goes straight to the performance's
thread-safe input. The next chunk is begun as late as possible (`motionstream.serve.pacing`), the clean pass over the last
one is done while its frames are shown.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from motionstream.errors import sentence_of
from motionstream.serve.events import Begun, LiveTake, Made
from motionstream.serve.limits import Settings
from motionstream.serve.pacing import PlayClock
from motionstream.serve.protocol import Branched, Error, Live, Stages, Started, State
from motionstream.serve.publisher import Publisher
from motionstream.stream.exhaustion import release
from motionstream.stream.performance import Performance, PerformedChunk

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
SAVE_CHUNKS = 16
"""While a take plays, its JSON is kept this often if there is time between two chunks, and whenever it has doubled."""


@dataclass
class _Playing:
    take: LiveTake
    show: Any  # a Performance, or what stands for it in a test
    clock: PlayClock
    paused: bool = False
    settle_ms: float = 0.0
    saved_chunk: int = 0
    save_s: float = 0.0


class Worker:
    """Commands may be given from any thread; what comes of them is told to the take's listener.

    Args:
        load: makes the engine of a preset, by name.
        make_room: removes old takes from the disk, False when there is no room left.
        performance: the class that plays an engine. note: hears about loading, for people.
    """

    def __init__(
        self,
        load: Callable[[str], Any],
        settings: Settings,
        make_room: Callable[[], bool],
        *,
        performance: type = Performance,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.ready: Future[None] = Future()
        self.status: Literal["loading", "ok", "failed"] = "loading"
        self.loaded: str | None = None
        self.device = ""
        self._load, self._performance, self._note = load, performance, note or (lambda text: None)
        self._engine: Any = None
        self._playing: _Playing | None = None
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._publisher = Publisher(settings.jpeg_quality, make_room, self.pause)
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Begin to load the first preset."""
        self._publisher.start()
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the take that plays, keep it, and end the threads."""
        self._commands.put(None)
        self._thread.join(timeout_s)
        self._publisher.stop(timeout_s)

    @property
    def busy(self) -> bool:
        """Whether a take plays or is paused."""
        return self._playing is not None

    # ---- commands ----------------------------------------------------------------------------------------------------

    def begin(self, take: LiveTake) -> None:
        """Play ``take``; the one that plays is ended."""
        self._commands.put(lambda: self._begin(take))

    def pause(self, take: LiveTake, reason: str | None = None) -> None:
        """Make no more chunks until `go_on`."""
        self._about(take, lambda playing: self._pause(playing, reason))

    def go_on(self, take: LiveTake) -> None:
        """Go on after a pause."""
        self._about(take, self._go_on)

    def branch(self, take: LiveTake, chunk: int) -> None:
        """The next chunk is ``chunk``; what was made from there on is void."""
        self._about(take, lambda playing: self._branch(playing, chunk))

    def end(self, take: LiveTake, reason: str | None = None) -> None:
        """End the take; it stays on disk."""
        self._about(take, lambda playing: self._end(reason))

    def recording(self, folder: Any) -> Future[str | None]:
        """JSON of the take that plays into ``folder``, up to now; None when that has ended."""

        def answer() -> str | None:
            playing = self._playing
            return playing.show.take.to_json() if playing is not None and playing.take.folder is folder else None

        return self._ask(answer)

    def _ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        future: Future[Answer] = Future()

        def run() -> None:
            try:
                future.set_result(question())
            except Exception as error:
                future.set_exception(error)

        self._commands.put(run)
        return future

    def _about(self, take: LiveTake, command: Callable[[_Playing], None]) -> None:
        def run() -> None:
            if self._playing is not None and self._playing.take is take:
                command(self._playing)

        self._commands.put(run)

    # ---- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._engine_of(self.settings.presets[0].name)
        except Exception as error:
            self.status = "failed"
            self.ready.set_exception(error)
        else:
            self.ready.set_result(None)
        while True:
            try:
                command = self._commands.get(timeout=self._wait_s())
            except queue.Empty:
                command = self._make
            if command is None:
                break
            try:
                command()
            except Exception as error:
                self._fail(error)
        self._end("the server was stopped")

    def _wait_s(self) -> float | None:
        """Seconds until the next chunk is to be begun; None when nothing plays."""
        playing = self._playing
        if playing is None or playing.paused:
            return None
        return playing.clock.wait_s(time.monotonic())

    def _engine_of(self, name: str) -> Any:
        if self._engine is None or self.loaded != name:
            if self._engine is not None:  # the old one goes first: both may not fit into memory
                device, self._engine, self.loaded = self._engine.compute.device, None, None
                if device.type == "cuda":
                    release(device)
            self.status = "loading"
            self._note(f"loading {name}")
            try:
                engine = self._load(name)
                self._note(f"compute: {engine.compute.reason}")
                engine.warmup()
            except BaseException:
                self.status = "failed"
                raise
            self._engine, self.loaded, self.status = engine, name, "ok"
            self.device = str(engine.compute.device)
        return self._engine

    def _begin(self, take: LiveTake) -> None:
        self._end(None)
        if take.replaced:
            self._publisher.tell(take, State(state="ended"))
            return
        try:
            engine = self._engine_of(take.preset)
            show = take.perform(self._performance, engine, self.settings.snapshot_bytes)
        except Exception as error:
            if not isinstance(error, ValueError):
                log.exception("a take could not be begun")
            code: Any = "internal" if not isinstance(error, ValueError) else "bad_take" if take.script else "bad_message"
            self._publisher.tell(take, Error(code=code, message=_sentence(error), fatal=True))
            self._publisher.tell(take, State(state="ended"))
            return
        geometry = engine.preset.geometry
        clock = PlayClock(geometry.fps, self.settings.margin_ms / 1000)
        self._playing = _Playing(take, show, clock)
        take.folder.live = True
        first, later = engine.preset.frames_of_chunks
        started = Started(
            take=take.folder.id,
            width=geometry.width,
            height=geometry.height,
            fps=geometry.fps,
            first_chunk_frames=first,
            chunk_frames=later,
            prompt=show.prompt,
            seed=show.take.seed,
            preset=engine.preset.name,
            cell=geometry.stride,
            recorded=show.recorded,
            first_id=1 + max(take.script.gesture_ids() if take.script else (), default=0),
        )
        self._publisher.tell(take, Begun(started, show.live))
        self._publisher.tell(take, State(state="playing"))

    def _make(self) -> None:
        playing = self._playing
        assert playing is not None
        take, show, limits = playing.take, playing.show, self.settings.limits
        if show.frame >= 60 * limits.take_minutes * playing.clock.fps:
            self._pause(playing, f"this take is {limits.take_minutes:g} minutes long, the most there may be; begin another")
            return
        begun, scripted = time.perf_counter(), show.scripted
        chunk: PerformedChunk = show.step()
        cost_s = time.perf_counter() - begun
        playing.clock.made(num_frames=len(chunk.frames), cost_s=cost_s, now=time.monotonic())
        stats = chunk.stats
        chunk_ms = stats.total_ms + playing.settle_ms
        made = Made(
            chunk=chunk.index,
            next_frame=chunk.first_frame + len(chunk.frames),
            chunk_ms=round(chunk_ms, 2),
            stages=Stages(
                commit=round(stats.commit_ms + playing.settle_ms, 2),
                tracks=round(stats.tracks_ms, 2),
                denoise=round(stats.denoise_ms, 2),
                decode=round(stats.decode_ms, 2),
            ),
            fps_possible=round(1000 * len(chunk.frames) / max(chunk_ms, 1e-3), 2),
        )
        self._publisher.chunk(take, chunk, made)
        if scripted and not show.scripted:  # a page knows of none of what the record holds at its end
            went = Live(chunk=show.chunk, frame=show.frame, prompt=show.prompt, active=tuple(show.active))
            self._publisher.tell(take, went)
        begun = time.perf_counter()
        show.settle()
        playing.settle_ms = 1000 * (time.perf_counter() - begun)
        if self._worth_saving(playing):
            self._save(playing)

    def _pause(self, playing: _Playing, reason: str | None) -> None:
        if not playing.paused:
            playing.paused = True
            playing.clock.stop(time.monotonic())
            self._save(playing)
        self._publisher.tell(playing.take, State(state="paused", reason=reason))

    def _go_on(self, playing: _Playing) -> None:
        if playing.paused:
            playing.paused = False
            playing.clock.go_on(time.monotonic())
            self._publisher.retry(playing.take)
        self._publisher.tell(playing.take, State(state="playing"))

    def _branch(self, playing: _Playing, chunk: int) -> None:
        take, show = playing.take, playing.show
        self._publisher.tell(take, State(state="branching"))
        try:
            show.branch(chunk)
        except ValueError as error:
            if not show.session.open:  # memory ran out: the take ends, with all of its input
                raise
            self._publisher.tell(take, Error(code="bad_message", message=_sentence(error)))
        else:
            playing.clock.restart()
            self._publisher.cut(take, show.frame)
            went = Branched(chunk=show.chunk, frame=show.frame, prompt=show.prompt, active=tuple(show.active))
            self._publisher.tell(take, went)
            self._save(playing)
        self._publisher.tell(take, State(state="paused" if playing.paused else "playing"))

    def _end(self, reason: str | None) -> None:
        playing, self._playing = self._playing, None
        if playing is None:
            return
        self._publisher.retry(playing.take)
        self._save(playing)
        playing.show.close()
        playing.take.folder.live = False
        self._publisher.tell(playing.take, State(state="ended", reason=reason))

    def _worth_saving(self, playing: _Playing) -> bool:
        """Whether to keep the JSON now. Writing a long take takes a while, which must not make the picture stand still."""
        since = playing.show.chunk - playing.saved_chunk
        if since < SAVE_CHUNKS:
            return False
        return since >= playing.saved_chunk or playing.clock.wait_s(time.monotonic()) > 1.5 * playing.save_s

    def _save(self, playing: _Playing) -> None:
        begun = time.perf_counter()
        self._publisher.save(playing.take, playing.show.take.to_json())
        playing.save_s, playing.saved_chunk = time.perf_counter() - begun, playing.show.chunk

    def _fail(self, error: Exception) -> None:
        """An error of ours, or of the machine: fatal for the take that plays, and for nothing else."""
        log.error("the compute thread met an error", exc_info=error)
        playing = self._playing
        if playing is None:
            return
        sentence = _sentence(error)
        self._publisher.tell(playing.take, Error(code="internal", message=sentence, fatal=True))
        try:
            self._end(sentence)
        except Exception:  # what is broken may not even close; the engine lives on
            log.exception("a broken take did not close")
            playing.take.folder.live = False
            self._publisher.tell(playing.take, State(state="ended", reason=sentence))


def _sentence(error: Exception) -> str:
    return sentence_of(error) or f"something went wrong in the engine ({type(error).__name__}); begin another take"
