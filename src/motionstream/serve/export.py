"""The frames of a take as an MP4, clean or with the tracks drawn."""

from __future__ import annotations

from collections.abc import Callable
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


class ExportStopped(Exception):
    """It is not wanted any more: nobody waits for it, or a branch took frames back."""


def write_take_video(
    frames: FrameFile, path: Path, fps: float, *, tracks: bool, stopped: Callable[[], bool] = lambda: False
) -> int:
    """Write the frames kept so far; returns how many. Of a video that does not come to its end nothing is left.

    Args:
        path: the ``.mp4``. fps: frames per second. tracks: draw where held points were.
        stopped: asked before each frame; True gives up.

    Raises:
        ValueError: nothing was kept yet, or the file cannot be written (a full disk).
        ExportStopped: see ``stopped``.
    """
    count = frames.num_frames
    try:
        first, _ = frames.read(0)
    except IndexError:
        raise ValueError("this take has no frames yet") from None
    height, width, _ = frame_of_jpeg(first).shape
    scale = enlargement(height)
    video = VideoWriter(path, fps, (height * scale, width * scale))
    try:
        with video:
            for number in range(count):
                if stopped():
                    raise ExportStopped
                try:
                    packed, marks = frames.read(number)
                except IndexError:  # a branch took the rest back while this was written
                    break
                frame = enlarge(frame_of_jpeg(packed)[None], scale)[0]
                video.write(draw_marks(frame, unpack_marks(marks), scale) if tracks else frame)
    except BaseException:
        if video.kept is not None:
            video.kept.unlink(missing_ok=True)
        raise
    return video.num_frames
