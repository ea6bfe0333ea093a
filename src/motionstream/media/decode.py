"""The frames of a video file, one after the other, at one rate: by their own times where the file's rate varies.

    file = VideoFile("clip.mp4")
    for frame in file.frames():                # an av.VideoFrame; the same one again while it is held
        picture = file.upright(frame)

A browser's recordings, screen recordings and GIFs show each frame for as long as it says; `VideoFile` then gives what is
shown at every 1 / fps seconds. Files of a constant rate are given frame by frame, as they are.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from array import array
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

MAX_STATED_FPS = 240.0
"""Stated rates above this are a container's clock, not frames (WebM without durations: 1000); nor are clips resampled to
more."""
VARIES = 0.2
"""Intervals this share longer or shorter than their median make a varying rate."""
NOT_SHOWN = 0.1
"""Packets this share of an interval apart hold one frame that is shown: VP8 stores hidden ones beside others."""
EARLY = 0.25
"""A frame is shown this share of an interval before its time: containers round times, to milliseconds in WebM."""
MAX_HOLD_S = 60.0
"""A frame that would be held for longer is followed at the usual interval: a clock that was set anew, not a still."""
DAMAGED_SHARE = 0.9
"""Files that only state a duration are a little off; what has fewer frames than this share of the stated ones is damaged."""
MAX_PIXEL_ASPECT = 8
"""Stranger shapes of pixels than this to one are mistakes in the file, and are not followed."""


class VideoFile:
    """A video file that can be read from its start, any number of times.

    Args:
        path: any file that FFmpeg reads.

    Attributes:
        fps: frames per second of what `frames` gives. varying: whether the frames of the file are not evenly spaced.
        expected_frames: how many `frames` will give, as the file claims, or 0 where it does not say.

    Raises:
        ValueError: one sentence: missing, unreadable, or without a video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            found, folder = self.path.is_file(), self.path.is_dir()
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            raise ValueError(f"cannot read video {str(path)!r:.200}: {error.strerror}; check the path") from error
        if not found:
            raise ValueError(f"video {str(path)!r} {'is a folder' if folder else 'does not exist'}; check the path")
        self.varying, self._last_s = False, 0.0
        self._stored: tuple[int, int] | None = None  # (width, height) of the first frame
        with self._opened() as (container, stream):
            stated = float(stream.average_rate or stream.guessed_rate or 0)
            seconds = float(container.duration or 0) / av.time_base
            self._pixel_aspect = _pixel_aspect(stream)
            self.fps = stated if stream.average_rate and stated <= MAX_STATED_FPS else 0.0
            measured = self._measure(container, stream)
            if measured and not self.varying and measured < (1 - VARIES) * self.fps:
                self.fps = measured  # fewer than stated: the file says what a camera should give, its clock what it gave
            self.fps = self.fps or measured or min(stated, MAX_STATED_FPS)
            self._stored_frames = int(stream.frames or 0)
            if not self.varying:
                self.expected_frames = self._stored_frames or round(seconds * self.fps)
        if self.fps <= 0:
            raise ValueError(self.say_empty())

    def _measure(self, container: Any, stream: Any) -> float:
        """Read when each frame is shown, without decoding any; the frame rate by that, or 0 where nothing says so.

        Sets `varying`, and for such files `fps` and `expected_frames`.
        """
        times, last = array("q"), (0, 0)  # when, and the last with its duration, in ticks of the stream's clock
        with contextlib.suppress(av.FFmpegError, OSError):  # of a damaged file what comes before
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    times.append(packet.pts)
                    last = max(last, (packet.pts, packet.duration or 0))
        shown = np.unique(np.array(times, np.int64))
        if len(shown) < 2 or not stream.time_base:
            return 0.0
        gaps = np.diff(shown)
        gaps = np.diff(shown[np.concatenate([[True], gaps >= NOT_SHOWN * np.median(gaps)])])
        usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # one that occurs, also among two
        tick_s = float(stream.time_base)
        rounding = 1 if usual >= 3 else 0  # of a clock that is hardly finer than the frames every gap counts
        self.varying = bool((np.abs(gaps - usual) > VARIES * usual + rounding).any())
        if not self.varying:
            return len(gaps) / float(gaps.sum() * tick_s)  # the mean: times are rounded to milliseconds in WebM
        self.fps = min(1 / (usual * tick_s), MAX_STATED_FPS)
        self._last_s = min(max(last[1] * tick_s, 1 / self.fps), MAX_HOLD_S)
        steps = gaps * tick_s
        total = np.where(steps > MAX_HOLD_S, 1 / self.fps, steps).sum() + self._last_s
        self.expected_frames = int(np.ceil(total * self.fps - EARLY - 1e-6))
        return 1 / (usual * tick_s)

    def frames(self) -> Iterator[av.VideoFrame]:
        """The frames at ``fps``, one after the other; one that is held is the same object again.

        Packets that cannot be decoded are left out, with one warning at the end, as for files that seem cut off.

        Raises:
            ValueError: nothing can be decoded.
        """
        return self._by_time() if self.varying else self._decoded()

    def upright(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
        """A frame of `frames` as (H, W, 3) uint8 RGB, turned as it is meant to be seen, with square pixels.

        A file that changes its size on the way, as recorded calls do, keeps that of its first frame.

        Args:
            size: (H, W) to scale to, in pixels, instead.
        """
        width, height = self._stored or (frame.width, frame.height)
        width = max(1, round(width * self._pixel_aspect))
        quarters, mirrored = _orientation(frame)
        if size is not None:
            height, width = size if quarters % 2 == 0 else size[::-1]
        if (width, height) == (frame.width, frame.height):
            array = frame.to_ndarray(format="rgb24")
        else:
            how = Interpolation.BICUBIC if size is None else Interpolation.AREA
            array = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation=how)
        return np.rot90(array[:, ::-1] if mirrored else array, quarters)

    def _by_time(self) -> Iterator[av.VideoFrame]:
        held: av.VideoFrame | None = None
        before, now, index = 0.0, 0.0, 0
        for frame in self._decoded():
            when = before + 1 / self.fps if frame.time is None else frame.time
            if held is not None:
                now += when - before if 0 < when - before <= MAX_HOLD_S else 1 / self.fps
                while index + EARLY + 1e-6 < now * self.fps:
                    yield held
                    index += 1
            held, before = frame, when
        while held is not None and index + EARLY + 1e-6 < (now + self._last_s) * self.fps:
            yield held
            index += 1

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Every frame of the file."""
        count, failed = 0, 0
        with self._opened() as (container, stream):
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    failed += 1
                    continue
                count += len(frames)
                if frames and self._stored is None:
                    self._stored = frames[0].width, frames[0].height
                yield from frames
        if not count:
            raise ValueError(self.say_empty())
        stated = self._stored_frames if self.varying else self.expected_frames
        lost = f"{failed} of its packets cannot be decoded and are left out"
        if count < DAMAGED_SHARE * stated:
            warnings.warn(
                f"video {str(self.path)!r} says that it has {stated} frames, but only {count} can be read: "
                f"it seems cut off or damaged{f'; {lost}' if failed else ''}",
                stacklevel=3,
            )
        elif failed:
            warnings.warn(f"video {str(self.path)!r} is damaged: {lost}, {count} frames remain", stacklevel=3)

    def say_empty(self) -> str:
        """The sentence for a file in which nothing can be read."""
        return f"video {str(self.path)!r} has no readable frame; check or convert the file"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """An open container and its first video stream; errors of FFmpeg become sentences."""
        try:
            # of a relative name FFmpeg would take what stands before a colon for a protocol
            with av.open(str(self.path.absolute())) as container:
                if not container.streams.video:
                    raise ValueError(f"{str(self.path)!r} holds no video; give an MP4, MOV, WebM or MKV file")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise ValueError(f"{str(self.path)!r} is in a form that this FFmpeg cannot decode; convert it to H.264")
                yield container, stream
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ValueError(f"cannot read video {str(self.path)!r}: {reason}; check or convert the file") from error


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Quarters of a turn, counterclockwise, and whether the stored frame is mirrored (left and right) before it."""
    beside: Any = frame.side_data
    matrix = next((bytes(part) for part in beside if part.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(matrix, "=i4")[:5].tolist()
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(-math.degrees(math.atan2(b, a)) / 90) % 4, mirrored


def _pixel_aspect(stream: Any) -> Fraction:
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not aspect or not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        return Fraction(1)
    return Fraction(aspect)
