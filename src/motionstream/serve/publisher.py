"""The thread behind the compute thread: encodes frames, hands them over at once, then keeps them on disk.

Everything that a visitor hears about a take goes through here, so that it is heard in the order in which it happened.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable

from motionstream.serve.events import LiveTake, Made
from motionstream.serve.images import jpeg
from motionstream.serve.marks import pack_marks
from motionstream.serve.outbox import FramePacket
from motionstream.serve.protocol import MAX_T, Ended, Error, Held
from motionstream.stream.performance import PerformedChunk
from motionstream.stream.points import MAX_POINTS

log = logging.getLogger(__name__)
WAITING_JOBS = 16
"""Jobs that may wait; beyond that the compute thread waits for the disk."""

TOO_MANY = f"more than {MAX_POINTS} points would be held at once: let something go first"


class Publisher:
    """One per compute thread.

    Args:
        quality: of the JPEGs. make_room: removes old takes, False when there is no room left.
        halt: pauses a take with a reason; may be called from any thread.
    """

    def __init__(self, quality: int, make_room: Callable[[], bool], halt: Callable[[LiveTake, str], None]) -> None:
        self._quality, self._make_room, self._halt = quality, make_room, halt
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING_JOBS)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what waits."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    # ---- what the compute thread asks for ----------------------------------------------------------------------------

    def tell(self, take: LiveTake, event: object) -> None:
        """Pass an event on."""
        self._jobs.put(lambda: take.listener(take, event))

    def chunk(self, take: LiveTake, chunk: PerformedChunk, made: Made) -> None:
        """Encode, hand over and keep a chunk."""
        self._jobs.put(lambda: self._publish(take, chunk, made))

    def save(self, take: LiveTake, text: str) -> None:
        """Keep the take's JSON, which can be read at once."""
        take.folder.hold(text)
        self._jobs.put(lambda: self._save(take, text))

    def cut(self, take: LiveTake, frame: int) -> None:
        """Forget the frames from ``frame`` on."""
        self._jobs.put(lambda: self._cut(take, frame))

    def retry(self, take: LiveTake) -> None:
        """Try again to keep what a full disk did not take."""
        self._jobs.put(lambda: self._keep(take, []))

    # ---- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("a frame could not be handed over")

    def _publish(self, take: LiveTake, chunk: PerformedChunk, made: Made) -> None:
        take.listener(take, made)
        for key, cells in chunk.took.items():
            take.listener(take, Held(id=key, points=tuple((round(x, 2), round(y, 2)) for x, y in cells)))
        rows, last = [], len(chunk.frames) - 1
        handed_over = time.monotonic()
        for n, frame in enumerate(chunk.frames):
            packed = jpeg(frame, self._quality)
            if n == 0:
                handed_over = time.monotonic()
            echo_t = chunk.echo[n] & MAX_T
            packet = FramePacket(chunk.index, chunk.first_frame + n, echo_t, n == last, handed_over, packed)
            take.listener(take, packet)
            rows.append((packed, pack_marks(chunk.marks[n])))
        for key in chunk.refused:
            take.listener(take, Error(code="bad_message", message=TOO_MANY, id=key))
        for key in chunk.ended:
            take.listener(take, Ended(id=key))
        self._keep(take, rows)

    def _keep(self, take: LiveTake, rows: list[tuple[bytes, bytes]]) -> None:
        take.unsaved += rows
        if not take.unsaved:
            return
        try:
            take.folder.frames.append(take.unsaved)
        except OSError as error:
            self._say_full(take, error)
            return
        take.unsaved = []
        if not self._make_room():
            self._halt(take, "the space for takes is used up: end this take, and begin another")

    def _cut(self, take: LiveTake, frame: int) -> None:
        kept = take.folder.frames.num_frames
        take.unsaved = take.unsaved[: max(0, frame - kept)]
        take.folder.frames.cut(frame)

    def _save(self, take: LiveTake, text: str) -> None:
        try:
            take.folder.save(text)
        except OSError as error:
            self._say_full(take, error)

    def _say_full(self, take: LiveTake, error: OSError) -> None:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"cannot write: {error.strerror}"
        sentence = f"{what}: make room on the server's disk, then resume; nothing made so far is lost"
        take.listener(take, Error(code="disk_full", message=sentence))
        self._halt(take, sentence)
