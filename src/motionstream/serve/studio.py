"""The studio behind the routes: the compute thread, the store, the line of visitors, and what happens on a timer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from motionstream.camera.depth import DepthMap, Kind
from motionstream.media.images import fit_window
from motionstream.serve.depths import depth_of
from motionstream.serve.events import LiveTake
from motionstream.serve.exports import Exports
from motionstream.serve.gallery import Gallery
from motionstream.serve.images import first_frame, read_upload
from motionstream.serve.limits import Settings
from motionstream.serve.line import Line
from motionstream.serve.protocol import ProtocolError, Start
from motionstream.serve.store import Store, TakeFolder
from motionstream.serve.visitor import LOST, Visitor
from motionstream.serve.worker import Worker
from motionstream.stream.performance import Performance
from motionstream.stream.take import Take

TICK_SECONDS = 0.2
Listener = Callable[[LiveTake, object], None]
P = ParamSpec("P")
Result = TypeVar("Result")


class Studio:
    """One per server; lives on the event loop.

    Args:
        load: makes the engine of a preset, by name; called on the compute thread.
        performance: the class that plays an engine. note: hears about loading, for people.
    """

    def __init__(
        self,
        load: Callable[[str], Any],
        settings: Settings,
        *,
        performance: type = Performance,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.settings, self.limits = settings, settings.limits
        self.gallery = Gallery()
        self.store = Store(settings.folder, settings.limits)
        self.worker = Worker(load, settings, self.store.make_room, performance=performance, note=note)
        self.line = Line(settings.limits.visitors_waiting)
        self._visitors: dict[str, Visitor] = {}
        self._desk = ThreadPoolExecutor(2, thread_name_prefix="desk")
        self.tracker = ThreadPoolExecutor(1, thread_name_prefix="tracker")
        self.exports = Exports()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load the engine, and start the timer."""
        self._loop = asyncio.get_running_loop()
        self._timer = asyncio.create_task(self._tick())
        self.worker.start()

    async def stop(self) -> None:
        """End and keep the take that plays; end all threads."""
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
        await asyncio.to_thread(self.exports.close)
        await asyncio.to_thread(self.worker.stop)
        self._desk.shutdown(wait=True, cancel_futures=True)
        self.tracker.shutdown(wait=True, cancel_futures=True)
        await asyncio.to_thread(self.store.close)
        self._loop = None

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the event loop; from any thread, and of no effect once the server has stopped."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(call)

    async def desk(self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Do what may block on the disk or takes a while, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._desk, functools.partial(work, *args, **kwargs))

    # ---- visitors ----------------------------------------------------------------------------------------------------

    def meet(self, session: str | None) -> Visitor:
        """The visitor of that session, or a new one."""
        known = self._visitors.get(session) if session is not None else None
        if known is not None:
            return known
        visitor = Visitor(self, secrets.token_urlsafe(18))
        self._visitors[visitor.session] = visitor
        return visitor

    def forget(self, visitor: Visitor) -> None:
        """This session cannot be resumed any more."""
        self._visitors.pop(visitor.session, None)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for visitor in list(self._visitors.values()):
                if visitor.lost_at is not None and now - visitor.lost_at > self.limits.resume_seconds:
                    visitor.part(LOST)
            active = self.line.active
            if isinstance(active, Visitor) and active.connected and self.line.wanted and active.idle_since is not None:
                if now - active.idle_since > self.limits.idle_turn_seconds:
                    active.lose_turn()

    # ---- takes -------------------------------------------------------------------------------------------------------

    async def prepare(self, start: Start, listener: Listener) -> LiveTake:
        """A take from a picture.

        Raises:
            ProtocolError: no such picture or preset, a bad crop, a full disk.
        """
        preset = self.settings.preset(start.preset)
        path = self.gallery.path(start.picture) or self.store.picture(start.picture)
        if path is None:
            raise ProtocolError(f"there is no picture {start.picture[:40]!r}: choose or upload one", "bad_picture")

        def read() -> Any:
            picture = read_upload(path.read_bytes(), self.limits.picture_pixels)
            return first_frame(picture, start.crop, preset.geometry.width, preset.geometry.height)

        try:
            picture, placed = await self.desk(read)
        except ValueError as error:
            raise ProtocolError(str(error), "bad_picture") from error
        except OSError as error:
            raise ProtocolError("the picture is gone: upload it again", "bad_picture") from error
        return LiveTake(
            folder=await self._new_take(),
            preset=preset.name,
            listener=listener,
            picture=picture,
            placed=placed,
            original=path,
            prompt=start.prompt,
            seed=start.seed,
            steps=start.steps,
        )

    def tidy(self, take: LiveTake) -> None:
        """A take that has ended: one that never got a frame leaves nothing. May block on the disk."""
        frames = take.folder.frames
        if not frames.num_frames and not frames.cuts and not take.unsaved:
            self.store.drop(take.folder)

    async def depth(self, take: LiveTake, which: str, kind: Kind | None) -> DepthMap:
        """Depth of the picture of a take.

        Raises:
            ProtocolError: none can be had; one sentence.
        """
        frame = take.picture if take.script is None else take.script.picture
        assert frame is not None, "a take has a picture or a script"
        placed = take.placed or fit_window(frame.shape[:2], frame.shape[:2])
        uploaded = self.store.depth(which)
        try:
            return await self.desk(
                depth_of,
                which,
                kind,
                frame=frame,
                placed=placed,
                picture=take.original,
                uploaded=uploaded,
                settings=self.settings,
            )
        except ValueError as error:
            raise ProtocolError(str(error), "bad_depth") from error

    async def reopen(self, key: str, listener: Listener) -> LiveTake:
        """A take that plays a recorded one first.

        Raises:
            ProtocolError: no such take, or one that cannot be read; a full disk.
        """
        text = await self.recording(key)
        if text is None:
            raise ProtocolError(f"there is no take {key[:40]!r}: upload it again", "bad_take")
        try:
            script = await self.desk(Take.from_json, text)
        except ValueError as error:
            raise ProtocolError(str(error), "bad_take") from error
        names = [preset.name for preset in self.settings.presets]
        preset = script.preset if script.preset in names else self.worker.loaded or names[0]
        return LiveTake(folder=await self._new_take(), preset=preset, listener=listener, script=script)

    async def recording(self, key: str) -> str | None:
        """JSON of a take, up to now if it plays; None for an id that is not known."""
        folder = self.store.take(key)
        if folder is None:
            return None
        if folder.live:
            playing = await asyncio.wrap_future(self.worker.recording(folder))
            if playing is not None:
                return playing
        return await self.desk(folder.read)

    async def _new_take(self) -> TakeFolder:
        try:
            return await self.desk(self.store.new_take)
        except OSError as error:
            raise ProtocolError(f"no take can be kept: {error.strerror or error}", "disk_full") from error
