"""A visitor: a place in line, at most one take, and what waits to be sent; outlives a lost connection for a while."""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from motionstream.serve import protocol
from motionstream.serve.binary import MotionFrame
from motionstream.serve.events import Begun, LiveTake, Made
from motionstream.serve.outbox import FEWEST_WAITING, FramePacket, Outbox
from motionstream.serve.protocol import (
    DepthUsed,
    Ended,
    Error,
    Followed,
    Held,
    Latency,
    MotionEnded,
    ProtocolError,
    Queued,
    Ready,
    Started,
    State,
    Stats,
    Stilled,
    Welcome,
)
from motionstream.serve.sources import Sources
from motionstream.stream.live_input import LiveInput

if TYPE_CHECKING:
    from motionstream.serve.connection import Connection
    from motionstream.serve.studio import Studio

LATENCIES_KEPT = 256
LOST = "the connection was lost"


class Visitor:
    """Used on the event loop only; `hear` may be called from any thread. ``session``: the secret to come back with."""

    def __init__(self, studio: Studio, session: str) -> None:
        self.studio, self.session = studio, session
        self.outbox = Outbox()
        self.lost_at: float | None = None
        self.num_heard = 0  # texts of this session after hello: what the page said beyond them, it says again
        self.idle_since: float | None = None
        self._connection: Connection | None = None
        self._take: LiveTake | None = None
        self._state: protocol.PlayState | None = None
        self._wants_play = True  # what was asked for last; the take says so up to a chunk later
        self._interrupted = False  # a lost connection paused the take
        self._began: Started | None = None
        self._depth: DepthUsed | None = None
        self._live: LiveInput | None = None
        self._gestures: set[int] = set()
        self._grabs: set[int] = set()
        self._sources: Sources | None = None
        self._next = (0, 0)  # chunk, frame
        self._prompt, self._recorded = "", 0  # chunks of recorded input, 0 once they are over
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)

    # ---- the connection ----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def attach(self, connection: Connection, have: int | None = None, tells: bool = False) -> bool:
        """Speak through ``connection`` from now on; False when there is no place in line.

        ``have``: the newest frame that the page has; those that were lost on their way to it are sent again.
        ``tells``: it will say what it has shown.
        """
        before, self._connection, self.lost_at = self._connection, connection, None
        if before is not None:  # another tab, or this one has noticed first that the old socket is dead
            before.end(protocol.TAKEN_OVER, "another tab took this session")
            self._let_go()
        connection.reader = self.outbox.reconnect(have, tells)
        settings = self.studio.settings
        preset = self.studio.worker.loaded or settings.presets[0].name
        self.say(Welcome(session=self.session, preset=preset, limits=settings.limits.public(), heard=self.num_heard))
        playing = self.studio.line.active is self
        if not self.studio.line.join(self):
            self._connection = None
            self.studio.forget(self)
            return False
        if playing:  # otherwise the line has said what there is to say
            self._welcome_back()
        self.outbox.go_on()
        return True

    def speaks_through(self, connection: Connection) -> bool:
        """Whether no other connection has taken over."""
        return connection is self._connection

    def detach(self, connection: Connection, *, left: bool) -> None:
        """The connection has ended; ``left``: the page said goodbye."""
        if connection is not self._connection:
            return
        self._connection, self.lost_at = None, time.monotonic()
        waiting = self.studio.line.active is not self
        if left or (self._take is None and not waiting):
            self.part("the page was closed")
            return
        if self._take is not None:
            self._let_go()
            self._interrupted = self._wants_play
            self.studio.worker.pause(self._take, LOST)

    def part(self, reason: str) -> None:
        """Leave for good: end the take, give up the place."""
        if self._take is not None:
            self.studio.worker.end(self._take, reason)
            self._take = None
        if self._connection is not None:
            self._connection.end(protocol.DONE, reason)
        self.studio.forget(self)
        self.studio.line.leave(self)

    def say(self, message: Any) -> None:
        """Send a message of the protocol."""
        self.outbox.put(message.text())

    # ---- the line ----------------------------------------------------------------------------------------------------

    def place(self, position: int) -> None:
        """See `motionstream.serve.line.InLine`."""
        self.say(Queued(position=position))

    def turn(self) -> None:
        """See `motionstream.serve.line.InLine`."""
        self.idle_since = time.monotonic()
        self.say(Ready())

    def _welcome_back(self) -> None:
        """Say where everything stands, after another connection took over."""
        if self._take is None:
            self.say(Ready())
            return
        if self._began is not None:  # otherwise that is still to come
            chunk, frame = self._next
            first = self.outbox.first_frame
            frame = frame if first is None else min(first, frame)
            active = tuple(sorted(self._gestures))
            now = {"resumed": True, "frame": frame, "chunk": chunk, "active": active, "prompt": self._prompt}
            self.say(self._began.model_copy(update={**now, "recorded": self._recorded}))
        if self._depth is not None:
            self.say(self._depth)
        if self._interrupted:
            self._interrupted, self._wants_play = False, True
            self.studio.worker.go_on(self._take)
        elif not self._wants_play:
            self.studio.worker.pause(self._take)  # it says so, after what it may still say of before
        elif self._state is not None:
            self.say(State(state=self._state))

    def lose_turn(self) -> None:
        """Others waited long enough."""
        if self._take is not None:
            self.studio.worker.end(self._take)
            self._take = self._live = None
            self._drop_sources()
            self.say(State(state="ended", reason="others were waiting, and nothing was played for a while"))
        self.studio.line.pass_on()

    # ---- what the page says ------------------------------------------------------------------------------------------

    async def take_up(self, message: Any) -> None:
        """Do what a message of the page asks for.

        Raises:
            ProtocolError: it cannot be done; nothing has changed.
        """
        try:
            await getattr(self, f"_on_{message.kind}")(message)
        except ProtocolError:
            raise
        except ValueError as error:
            raise ProtocolError(str(error)) from error

    async def _on_hello(self, message: protocol.Hello) -> None:
        raise ProtocolError("hello was said already")

    async def _on_start(self, message: protocol.Start) -> None:
        self._check_turn()
        await self._begin(await self.studio.prepare(message, self.hear))

    async def _on_open(self, message: protocol.Open) -> None:
        self._check_turn()
        await self._begin(await self.studio.reopen(message.take, self.hear))

    async def _on_pause(self, message: protocol.Pause) -> None:
        self.studio.worker.pause(self._playing())
        self._wants_play = False

    async def _on_resume(self, message: protocol.Resume) -> None:
        self.studio.worker.go_on(self._playing())
        self._wants_play = True

    async def _on_stop(self, message: protocol.Stop) -> None:
        self.studio.worker.end(self._playing())

    async def _on_branch(self, message: protocol.Branch) -> None:
        self.studio.worker.branch(self._playing(), message.chunk)

    async def _on_prompt(self, message: protocol.ChangePrompt) -> None:
        self._input().prompt(message.text)
        self._prompt = message.text

    async def _on_grab(self, message: protocol.Grab) -> None:
        self._input().grab(message.id, message.points, message.seen, message.t, message.snap)
        self._gestures.add(message.id)
        self._grabs.add(message.id)

    async def _on_move(self, message: protocol.Move) -> None:
        self._input().move(message.id, message.pose, message.t)

    async def _on_release(self, message: protocol.Release) -> None:
        self._input().release(message.id, message.t)
        self._grabs.discard(message.id)

    async def _on_pin(self, message: protocol.Pin) -> None:
        self._input().pin(message.id, message.points, message.seen, message.t)
        self._gestures.add(message.id)

    async def _on_path(self, message: protocol.Path) -> None:
        m = message
        self._input().path(m.id, m.points, m.path, m.seconds, m.ease, m.mode, m.seen, m.t, m.snap)
        self._gestures.add(m.id)

    async def _on_camera(self, message: protocol.Camera) -> None:
        self._others().steer(message)

    async def _on_depth(self, message: protocol.ChooseDepth) -> None:
        self._others().choose_depth(message)

    async def _on_motion(self, message: protocol.BorrowMotion) -> None:
        self._others().borrow(message)

    async def _on_motion_end(self, message: protocol.EndMotion) -> None:
        self._others().motion.end()

    def see(self, content: bytes) -> None:
        """A binary message of the page.

        Raises:
            ProtocolError: it is no frame of a clip. One that comes after the end of a take is passed over.
        """
        if self._sources is not None:
            self._sources.see(content)
        else:
            MotionFrame.unpack(content)

    async def _on_remove(self, message: protocol.Remove) -> None:
        self._input().remove(message.id)
        self._grabs.discard(message.id)

    async def _on_shown(self, message: protocol.Shown) -> None:
        self._latencies.extend(message.latency)
        self.outbox.shown(message.frame)

    def _check_turn(self) -> None:
        if self.studio.line.active is not self:
            raise ProtocolError("somebody else is playing: wait for your turn", "busy")

    def _playing(self) -> LiveTake:
        if self._take is None:
            raise ProtocolError("no take is playing: start one", "not_started")
        return self._take

    def _input(self) -> LiveInput:
        self._playing()
        if self._live is None:
            raise ProtocolError("the take has not begun yet", "not_started")
        return self._live

    def _others(self) -> Sources:
        self._input()
        assert self._sources is not None, "they come with the input"
        return self._sources

    async def _begin(self, take: LiveTake) -> None:
        try:
            self._check_turn()  # it may have passed while the picture was read
        except ProtocolError:
            await self.studio.desk(self.studio.store.drop, take.folder)
            raise
        if self._take is not None:
            self._take.replaced = True
        self.idle_since = None  # a model that has to be loaded first is no idling
        self._take, self._state, self._began, self._live = take, None, None, None
        self._depth = None
        self._gestures, self._grabs = set(), set()
        self._drop_sources()
        self._wants_play, self._interrupted = True, False
        self._next = (0, 0)
        self._latencies.clear()
        self.studio.worker.begin(take)

    def _drop_sources(self) -> None:
        if self._sources is not None:
            self._sources.close()
        self._sources = None

    def _let_go(self) -> None:
        """No hand is there any more: what it held stays where it is, and the camera stands still."""
        grabs, self._grabs = self._grabs, set()
        if self._live is None or self._sources is None:
            return
        try:
            for key in grabs:
                self._live.release(key, 0)
            self._sources.let_go()
        except ValueError:
            pass  # recorded input plays, and has no hand

    # ---- what the take says ------------------------------------------------------------------------------------------

    def hear(self, take: LiveTake, event: object) -> None:
        """An event of a take; from any thread, its end from one that may wait for the disk."""
        if isinstance(event, State) and event.state == "ended":
            self.studio.tidy(take)
        self.studio.call_soon(functools.partial(self._heard, take, event))

    def _heard(self, take: LiveTake, event: object) -> None:
        if take is not self._take:
            return  # of a take that another one has replaced
        if isinstance(event, FramePacket):
            self.outbox.put_frame(event)
        elif isinstance(event, Made):
            self._next = (event.chunk + 1, event.next_frame)
            self._say_stats(event)
        elif isinstance(event, Begun):
            self._began, self._live = event.started, event.live
            self._prompt, self._recorded = event.started.prompt, event.started.recorded
            take.folder.fps = event.started.fps
            self._sources = Sources(self.studio, take, event.live, functools.partial(self.hear, take))
            frames = max(2 * event.started.chunk_frames, FEWEST_WAITING)
            self.outbox.begin(frames, math.ceil(self.studio.limits.seconds_ahead * event.started.fps))
            self.say(event.started)
        elif isinstance(event, protocol.Branched):
            self._next, self._prompt, self._recorded = (event.chunk, event.frame), event.prompt, 0
            self.outbox.void(event.frame)
            self.say(event)
            for key in sorted(self._gestures - set(event.active)):
                self.say(Ended(id=key))
            self._gestures = set(event.active)
            self._grabs &= self._gestures
        elif isinstance(event, protocol.Live):
            self._prompt, self._recorded = event.prompt, 0
            self._gestures.update(event.active)
            self.say(event)
        elif isinstance(event, Ended):
            self._gestures.discard(event.id)
            self.say(event)
        elif isinstance(event, State):
            self._state = event.state
            self.idle_since = None if event.state == "playing" else self.idle_since or time.monotonic()
            if event.state == "paused" and event.reason == LOST:
                return  # nobody is there to hear it; or somebody is again, and it goes on
            if event.state == "paused" and event.reason is not None:
                self._wants_play = False  # the server's own pause: a full disk, the longest take
            self.say(event)
            if event.state == "ended":
                self._take = self._live = None
                self._drop_sources()
                if not self.connected:
                    self.part("the take has ended")
        elif isinstance(event, Followed):
            self.outbox.put_newest(event.text())
        elif isinstance(event, (Error, DepthUsed, Held, MotionEnded, Stilled)):
            if isinstance(event, DepthUsed):
                self._depth = event
            elif isinstance(event, Error) and event.id is not None:  # it has not begun after all
                self._gestures.discard(event.id)
                self._grabs.discard(event.id)
            self.say(event)

    def _say_stats(self, made: Made) -> None:
        latency = None
        if self._latencies:
            ordered = sorted(self._latencies)
            p50, p95 = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95))
            latency = Latency(p50=round(p50, 1), p95=round(p95, 1))
        self.say(
            Stats(
                chunk=made.chunk,
                chunk_ms=made.chunk_ms,
                stages=made.stages,
                fps_possible=made.fps_possible,
                frames_made=made.next_frame,
                frames_dropped=self.outbox.dropped,
                input_latency_ms=latency,
            )
        )
