"""The frames of a take as an MP4, clean or with the tracks drawn."""

from __future__ import annotations

from pathlib import Path

from motionstream.media.images import enlarge
from motionstream.media.video import VideoWriter
from motionstream.serve.frames import FrameFile
from motionstream.serve.images import frame_of_jpeg
from motionstream.serve.marks import draw_marks, unpack_marks

SMALL_HEIGHT_PX, SHOWN_HEIGHT_PX = 160, 384
"""Frames up to the first height are enlarged to at least the second, as `motionstream generate` does."""


def enlargement(height: int) -> int:
    """Whole factor by which frames of this height (pixels) are enlarged.

    >>> enlargement(96), enlargement(480)
    (4, 1)
    """
    return -(-SHOWN_HEIGHT_PX // height) if height <= SMALL_HEIGHT_PX else 1


def write_take_video(frames: FrameFile, path: Path, fps: float, *, tracks: bool) -> int:
    """Write the frames kept so far; returns how many.

    Args:
        path: the ``.mp4``. fps: frames per second. tracks: draw where held points were.

    Raises:
        ValueError: nothing was kept yet, or the file cannot be written (a full disk).
    """
    count = frames.num_frames
    if not count:
        raise ValueError("this take has no frames yet")
    height, width, _ = frame_of_jpeg(frames.read(0)[0]).shape
    scale = enlargement(height)
    with VideoWriter(path, fps, (height * scale, width * scale)) as video:
        for number in range(count):
            try:
                packed, marks = frames.read(number)
            except IndexError:  # a branch took the rest back while this was written
                break
            frame = enlarge(frame_of_jpeg(packed)[None], scale)[0]
            video.write(draw_marks(frame, unpack_marks(marks), scale) if tracks else frame)
    return video.num_frames
