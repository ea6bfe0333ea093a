"""What waits to be sent to one visitor: messages in order, and a few frames, the oldest dropped first.

A socket hides megabytes of buffers, which would be seconds of delay for a client that reads slowly. So at most ``ahead``
frames are on their way: sent, and not older than what the page has said to have shown. The rest waits here, where it can
be dropped. A client that neither says what it has shown nor that it will (``tells``) is sent everything.

What is on its way is kept, because a socket that breaks loses it: the page then says what it has, and is sent the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from motionstream.serve.binary import FrameHeader

MOST_MESSAGES = 512
FEWEST_WAITING = 24
"""Frames that may wait however short the chunks are: a page that is busy for half a second loses none."""


@dataclass(frozen=True)
class FramePacket:
    """One encoded frame. ``handed_over``: ``time.monotonic()`` of its chunk's first frame."""

    chunk: int
    frame: int
    echo_t: int
    last_of_chunk: bool
    handed_over: float
    jpeg: bytes

    def pack(self, now: float) -> bytes:
        """The binary message."""
        age_ms = round(1000 * (now - self.handed_over))
        return FrameHeader(self.chunk, self.frame, self.echo_t, age_ms, self.last_of_chunk).pack() + self.jpeg


class Outbox:
    """Used on the event loop only. ``capacity``: most frames that wait; ``ahead``: see the module docstring."""

    def __init__(self, capacity: int = FEWEST_WAITING, ahead: int = 64) -> None:
        self.capacity, self.ahead = capacity, ahead
        self.dropped = 0
        self._waiting: deque[str | FramePacket] = deque()
        self._newest: str | None = None
        self._num_frames = 0
        self._on_their_way: deque[FramePacket] = deque(maxlen=ahead)
        self._again: list[FramePacket] = []
        self._page_tells = False
        self._reader = 0
        self._changed = asyncio.Event()

    @property
    def num_frames(self) -> int:
        """Frames that wait."""
        return self._num_frames

    @property
    def overrun(self) -> bool:
        """Whether so many messages wait that nobody can be reading."""
        return len(self._waiting) - self._num_frames > MOST_MESSAGES

    @property
    def first_frame(self) -> int | None:
        """The oldest frame that waits."""
        return next((item.frame for item in (*self._again, *self._waiting) if isinstance(item, FramePacket)), None)

    def begin(self, capacity: int, ahead: int) -> None:
        """A new take: its frames count from 0."""
        self.capacity, self.ahead, self.dropped = capacity, ahead, 0
        self._on_their_way = deque(maxlen=ahead)
        self.void(0)

    def put(self, message: str) -> None:
        """Add a text message."""
        self._waiting.append(message)
        self._changed.set()

    def put_newest(self, message: str) -> None:
        """Add a text message that makes the last such one void if that still waits."""
        if self._newest is not None:
            self._waiting = deque(item for item in self._waiting if item is not self._newest)
        self._newest = message
        self.put(message)

    def put_frame(self, packet: FramePacket) -> None:
        """Add a frame; the oldest one is dropped when too many wait."""
        if self._num_frames >= self.capacity:
            oldest = next(n for n, item in enumerate(self._waiting) if isinstance(item, FramePacket))
            del self._waiting[oldest]
            self._num_frames -= 1
            self.dropped += 1
        self._waiting.append(packet)
        self._num_frames += 1
        self._changed.set()

    def void(self, frame: int) -> None:
        """Frames from ``frame`` on were taken back, and the next one made has that number."""
        kept = [item for item in self._waiting if isinstance(item, str) or item.frame < frame]
        self._waiting = deque(kept)
        self._num_frames = sum(isinstance(item, FramePacket) for item in kept)
        self._on_their_way = deque((sent for sent in self._on_their_way if sent.frame < frame), self.ahead)

    def reconnect(self, have: int | None = None, tells: bool = False) -> int:
        """Another socket takes over: messages to the old one are void, and nothing is known to have been shown.

        Frames wait until `go_on`, so that a greeting can come before them.

        Args:
            have: the newest frame that arrived over the old socket: those after it that were on their way are sent again.
                None: a page that begins anew, and does not want them.
            tells: the page has promised to say what it has shown.

        Returns:
            The number with which the new socket asks for the `next`; the old one gets nothing any more.
        """
        lost = [sent for sent in self._on_their_way if have is not None and sent.frame > have]
        self._again = lost + [item for item in self._waiting if isinstance(item, FramePacket)]
        self._waiting.clear()
        self._num_frames = 0
        self._on_their_way.clear()
        self._page_tells = tells
        self._reader += 1
        self._changed.set()
        return self._reader

    def go_on(self) -> None:
        """After `reconnect`: what was put since then has been the greeting; now come the frames that were kept."""
        self._waiting.extend(self._again)
        self._num_frames += len(self._again)
        self._again = []
        self._changed.set()

    def shown(self, frame: int) -> None:
        """The page has shown ``frame``. A number that is not on its way was sent before a branch took it back."""
        self._page_tells = True
        if self._on_their_way and frame <= self._on_their_way[-1].frame:
            while self._on_their_way and self._on_their_way[0].frame <= frame:
                self._on_their_way.popleft()
            self._changed.set()

    async def next(self, reader: int) -> str | bytes | None:
        """Wait for what can be sent next; None when another socket has taken over."""
        while reader == self._reader:
            for n, item in enumerate(self._waiting):
                if isinstance(item, str):
                    del self._waiting[n]
                    self._newest = None if item is self._newest else self._newest
                    return item
                if not self._page_tells or len(self._on_their_way) < self.ahead:
                    del self._waiting[n]
                    self._num_frames -= 1
                    self._on_their_way.append(item)
                    return item.pack(time.monotonic())
            self._changed.clear()
            await self._changed.wait()
        return None
