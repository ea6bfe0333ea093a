"""Binary messages of the studio (docs/protocol.md): frames of the video to the page, frames of a clip from it.

>>> MotionFrame.unpack(MotionFrame(t=7, cut=True, picture=b"...").pack())
MotionFrame(t=7, cut=True, picture=b'...')
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from motionstream.serve.protocol import MAX_T, ProtocolError

# ---- frames ----------------------------------------------------------------------------------------------------------

_HEADER = struct.Struct("<BBHIIII")
FRAME_KIND, LAST_OF_CHUNK = 1, 1


@dataclass(frozen=True)
class FrameHeader:
    """What precedes the JPEG in a binary message. ``age_ms``: since the chunk's first frame was handed over."""

    chunk: int
    frame: int
    echo_t: int
    age_ms: int
    last_of_chunk: bool

    def pack(self) -> bytes:
        """The 20 bytes of the header."""
        flags = LAST_OF_CHUNK if self.last_of_chunk else 0
        age = max(0, min(self.age_ms, MAX_T))
        return _HEADER.pack(FRAME_KIND, flags, 0, self.chunk, self.frame, self.echo_t & MAX_T, age)


def unpack_frame(message: bytes) -> tuple[FrameHeader, bytes]:
    """Header and JPEG of a binary message, as a client reads it.

    Raises:
        ValueError: too short, or another kind of message.
    """
    if len(message) <= _HEADER.size or message[0] != FRAME_KIND:
        raise ValueError(f"a binary message of {len(message)} bytes is not a frame")
    _, flags, _, chunk, frame, echo_t, age_ms = _HEADER.unpack_from(message)
    return FrameHeader(chunk, frame, echo_t, age_ms, bool(flags & LAST_OF_CHUNK)), message[_HEADER.size :]


# ---- frames of a clip or webcam, from the page -----------------------------------------------------------------------

_MOTION_HEADER = struct.Struct("<BBHI")
MOTION_KIND, CUT = 2, 1


@dataclass(frozen=True)
class MotionFrame:
    """A frame whose motion is borrowed. ``cut``: it does not follow from the one before. ``picture``: JPEG or WebP."""

    t: int
    cut: bool
    picture: bytes

    @classmethod
    def unpack(cls, message: bytes) -> MotionFrame:
        """Read a binary message of the page.

        Raises:
            ProtocolError: too short, or another kind of message.
        """
        if len(message) <= _MOTION_HEADER.size or message[0] != MOTION_KIND:
            raise ProtocolError(f"a binary message of {len(message)} bytes is no frame of a clip")
        _, flags, _, t = _MOTION_HEADER.unpack_from(message)
        return cls(t, bool(flags & CUT), message[_MOTION_HEADER.size :])

    def pack(self) -> bytes:
        """As the page sends it."""
        return _MOTION_HEADER.pack(MOTION_KIND, CUT if self.cut else 0, 0, self.t) + self.picture
