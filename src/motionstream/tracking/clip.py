"""A video file, one frame after the other: never more than one of them in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from motionstream.media.images import PictureFit

DAMAGED_SHARE = 0.9
"""Files that only state a duration are a little off; what has fewer frames than this share of the stated ones is damaged."""


class Clip:
    """A video file that can be read from its start, any number of times.

    Args:
        path: any file that FFmpeg reads. size: (H, W) to scale frames to, in pixels; None keeps the file's own.
        window: cut this part out of the upright frames and scale it to ``window.size``; not together with ``size``.

    Attributes:
        source: (H, W) of the upright frames in the file. size: (H, W) of those given out.
        fps: frames per second. expected_frames: their number as the file claims, or 0 where it does not say.

    Raises:
        ValueError: one sentence: missing, unreadable, or without a video.
    """

    def __init__(self, path: str | Path, size: tuple[int, int] | None = None) -> None:
        self.path = Path(path)
        self.window: PictureFit | None = None
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "does not exist"
            raise ValueError(f"video {str(path)!r} {what}; check the path")
        with self._opened() as (container, stream):
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            seconds = float(container.duration or 0) / av.time_base
            self.expected_frames = int(stream.frames or round(seconds * self.fps))
            first = next(iter(container.decode(stream)), None)
        if first is None or self.fps <= 0:
            raise ValueError(f"video {str(path)!r} has no readable frame; check or convert the file")
        shape = _upright(first).shape
        self.source = shape[0], shape[1]
        self.size = self.source if size is None else size

    def within(self, window: PictureFit) -> Clip:
        """The same file, seen through a window that is scaled to ``window.size``."""
        clip = Clip(self.path)
        clip.window, clip.size = window, window.size
        return clip

    def frames(self, step: int = 1) -> Iterator[np.ndarray]:
        """Every ``step``-th frame, (H, W, 3) uint8 RGB."""
        with self._opened() as (container, stream):
            count = 0
            for index, frame in enumerate(container.decode(stream)):
                count += 1
                if index % step == 0:
                    yield self._fitted(_upright(frame))
        if count < DAMAGED_SHARE * self.expected_frames:
            warnings.warn(
                f"video {str(self.path)!r} says that it has {self.expected_frames} frames, but only {count} can be read: "
                "it seems cut off or damaged",
                stacklevel=2,
            )

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
        if self.window is not None:
            window = self.window
            frame = frame[window.top : window.top + window.height, window.left : window.left + window.width]
        H, W = self.size
        if frame.shape[:2] == (H, W):
            return np.ascontiguousarray(frame)
        smaller = H * W < frame.shape[0] * frame.shape[1]
        # both keep edges on edges: x in the result is x in the file times the ratio of widths
        return cv2.resize(frame, (W, H), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)

    def _opened(self) -> _Opened:
        return _Opened(self.path)


class _Opened:
    """An open container and its first video stream; errors of FFmpeg become sentences."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tuple[Any, Any]:
        try:
            self.container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            raise ValueError(self._say(error)) from error
        if not self.container.streams.video:
            self.container.close()
            raise ValueError(f"{str(self.path)!r} holds no video; give an MP4, MOV, WebM or MKV file")
        stream = self.container.streams.video[0]
        stream.thread_type = "AUTO"
        return self.container, stream

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.container.close()
        if isinstance(error, (av.FFmpegError, OSError)):
            raise ValueError(self._say(error)) from error

    def _say(self, error: BaseException) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"cannot read video {str(self.path)!r}: {reason}; check or convert the file"


def _upright(frame: av.VideoFrame) -> np.ndarray:
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4  # counterclockwise; PyAV 13 does not tell
    return np.rot90(frame.to_ndarray(format="rgb24"), quarters)
