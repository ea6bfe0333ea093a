"""A video file, one frame after the other: never more than one of them in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from motionstream.media.decode import VideoFile
from motionstream.media.images import PictureFit


class Clip:
    """A video file that can be read from its start, any number of times.

    Args:
        path: any file that FFmpeg reads. size: (H, W) to scale frames to, in pixels; None keeps the file's own.
        window: cut this part out of the upright frames and scale it to ``window.size``; not together with ``size``.

    Attributes:
        source: (H, W) of the upright frames in the file, with square pixels. size: (H, W) of those given out.
        fps: frames per second; of a file whose rate varies, one over its median interval.
        expected_frames: their number as the file claims, or 0 where it does not say.

    Raises:
        ValueError: one sentence: missing, unreadable, or without a video.
    """

    def __init__(self, path: str | Path, size: tuple[int, int] | None = None) -> None:
        self.path = Path(path)
        self.window: PictureFit | None = None
        self._file = VideoFile(path)
        self.fps, self.expected_frames = self._file.fps, self._file.expected_frames
        shape = self._file.upright(next(self._file.frames())).shape
        self.source = shape[0], shape[1]
        self.size = self.source if size is None else size

    def within(self, window: PictureFit) -> Clip:
        """The same file, seen through a window that is scaled to ``window.size``."""
        clip = copy.copy(self)
        clip.window, clip.size = window, window.size
        return clip

    def frames(self, step: int = 1) -> Iterator[np.ndarray]:
        """Every ``step``-th frame, (H, W, 3) uint8 RGB."""
        shown: av.VideoFrame | None = None
        for index, frame in enumerate(self._file.frames()):
            if index % step:
                continue
            if frame is not shown:
                shown, picture = frame, self._fitted(self._file.upright(frame))
            yield picture

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
