"""Frames <-> video files, by PyAV; frames are uint8 ``(T, H, W, 3)`` RGB.

    with VideoWriter("out.mp4", fps=16, size=(96, 128), upscale=4) as video:
        for frames in chunks:
            video.write(frames)
    frames, fps = read_video("out.mp4")

A file appears under its name when it is complete. After an error or Ctrl-C what was written so far is kept beside it as
``out.partial.mp4``, and an older ``out.mp4`` stays as it was.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
from collections.abc import Iterator
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import numpy as np

from motionstream.media.decode import VideoFile
from motionstream.media.images import enlarge
from motionstream.media.output import check_output

SUFFIX = ".mp4"
MAX_EDGE_PX = 8192
MIN_FPS = 0.01  # as of tracks; below about 1e-5 the rate is no fraction that the encoder takes
MAX_READ_BYTES = 8 * 2**30
BT709 = 1  # the number of this standard's matrix, primaries and transfer alike


class VideoWriter:
    """Streams frames into an H.264 MP4 (yuv420p, crf 18, playable before it is fully loaded).

    Args:
        path: the file, ``.mp4``; its folder must exist.
        fps: frames per second, 0.01 to 1000.
        size: (H, W) of the frames in pixels, before enlargement; even after it, as H.264 needs.
        upscale: whole factor by which frames are enlarged.
        upscale_filter: "lanczos" (smooth) or "nearest" (pixels stay square).

    Attributes:
        num_frames: frames written so far.
        kept: where the file is, complete or partial, once closed; None when nothing is left of it.

    Raises:
        ValueError: a value is out of its range, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        *,
        upscale: int = 1,
        upscale_filter: Literal["nearest", "lanczos"] = "lanczos",
    ) -> None:
        H, W = size
        rate: Any = fps
        factor: Any = upscale
        if not (isinstance(rate, Real) and math.isfinite(fps) and MIN_FPS <= fps <= 1000):
            raise ValueError(f"fps must be a number from {MIN_FPS} to 1000, got {fps!r}")
        if not isinstance(factor, Integral) or upscale < 1 or upscale_filter not in ("nearest", "lanczos"):
            raise ValueError(
                f"upscale must be a whole number from 1 on, by 'nearest' or 'lanczos', got {upscale!r}, {upscale_filter!r}"
            )
        fps, upscale = float(fps), int(upscale)  # also of NumPy's
        height, width = H * upscale, W * upscale
        if not 2 <= min(height, width) <= max(height, width) <= MAX_EDGE_PX or height % 2 or width % 2:
            raise ValueError(f"a video of {width}x{height} pixels cannot be written: sides must be even, 2 to {MAX_EDGE_PX}")
        self.path = check_output(path, (SUFFIX,))
        self.size, self.fps, self.upscale, self.smooth = (H, W), fps, upscale, upscale_filter == "lanczos"
        self.num_frames = 0
        self.kept: Path | None = None
        self._unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}-{id(self):x}.unfinished")
        with self._own_errors():
            self._container: Any = av.open(
                str(self._unfinished.absolute()), "w", format="mp4", options={"movflags": "+faststart"}
            )
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
        self._stream.options = {"crf": "18", "preset": "veryfast"}
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = 1  # limited, as players expect

    def write(self, frames: np.ndarray) -> None:
        """Append frames (T, H, W, 3), or one frame (H, W, 3), uint8."""
        if self._container is None:
            raise ValueError(f"{self.path.name} is closed; open another VideoWriter")
        frames = _array(frames)
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.ndim != 4 or frames.shape[1:] != (*self.size, 3) or frames.dtype != np.uint8:
            H, W = self.size
            raise ValueError(f"frames must be (T, {H}, {W}, 3) uint8, got {frames.shape} {frames.dtype}")
        with self._own_errors():
            for frame in frames:
                pixels = enlarge(frame[None], self.upscale, self.smooth)[0]
                image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                self._mux(image.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"))
                self.num_frames += 1

    def close(self) -> None:
        """Complete the file and give it its name; a second call does nothing."""
        if self._container is None:
            return
        if not self.num_frames:
            self._discard()
            raise ValueError(f"no frame was given for {self.path.name}, so it was not written")
        self._finish(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif self._container is None or not self.num_frames:
            self._discard()
        else:
            with contextlib.suppress(ValueError), _undisturbed():  # the error on its way matters more
                self._finish(_free_name(self.path))

    def _mux(self, frame: av.VideoFrame | None) -> None:
        self._container.mux(self._stream.encode(frame))

    def _finish(self, target: Path) -> None:
        try:
            with self._own_errors():
                self._mux(None)
                self._container.close()
                os.replace(self._unfinished, target)
        except ValueError:
            self._discard()
            raise
        self._container = None
        self.kept = target

    def _discard(self) -> None:
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
            self._container = None
        self._unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f"cannot write {str(self.path)!r}: {_reason(error)}; choose another output") from error


def write_video(path: str | Path, frames: np.ndarray, fps: float, *, upscale: int = 1) -> Path:
    """Write frames (T, H, W, 3) uint8 RGB as an H.264 MP4; ``upscale`` enlarges them by a whole factor.

    Raises:
        ValueError: as in `VideoWriter`; a file that was there before is then left as it was.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> write_video(f"{folder}/grey.mp4", np.full((5, 32, 48, 3), 128, np.uint8), fps=16).name
    'grey.mp4'
    """
    frames = _array(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    with VideoWriter(path, fps, (frames.shape[1], frames.shape[2]), upscale=upscale) as video:
        video.write(frames)
    return video.path


def read_video(
    path: str | Path, max_frames: int | None = None, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, float]:
    """Read a video file: frames (T, H, W, 3) uint8 RGB, upright, and its frames per second.

    A file whose rate varies is read at one over its median interval: each frame is held for as long as it is shown.

    Args:
        path: any file that FFmpeg reads.
        max_frames: stop after so many, >= 1; None reads all.
        size: (H, W) to scale to, in pixels, 1 to 8192 each; None keeps the video's own.

    Raises:
        ValueError: one sentence: missing, unreadable, without frames, too large for memory, or another value than above.
    """
    asked: Any = max_frames
    if asked is not None and (not isinstance(asked, Integral) or int(asked) < 1):
        raise ValueError(f"max_frames must be a whole number of at least 1, got {max_frames!r:.60}")
    if size is not None:
        size = _checked_size(size)
    file = VideoFile(path)
    frames: list[np.ndarray] = []
    shown: av.VideoFrame | None = None
    for frame in file.frames():
        if frame is not shown:
            shown, picture = frame, file.upright(frame, size)
        frames.append(picture)
        if len(frames) == max_frames:
            break
        if len(frames) * frames[0].nbytes > MAX_READ_BYTES:
            raise ValueError(
                f"video {str(path)!r} has more than {len(frames)} frames of {frames[0].shape[1]}x{frames[0].shape[0]} "
                "pixels, too many for memory; give max_frames or a smaller size"
            )
    return np.stack(frames), file.fps


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (int(edge) for edge in size if int(edge) == edge)
    except (TypeError, ValueError, OverflowError):  # no pair, or none of whole numbers
        height, width = 0, 0
    if not 1 <= min(height, width) <= max(height, width) <= MAX_EDGE_PX:
        raise ValueError(f"size must be (height, width) in whole pixels, 1 to {MAX_EDGE_PX}, got {size!r:.60}")
    return height, width


def _array(frames: np.ndarray) -> np.ndarray:
    if not isinstance(frames, np.ndarray):
        raise ValueError(
            f"frames must be a NumPy array, got a {type(frames).__name__}: np.stack(frames) makes one of a list"
        )
    return frames


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without Ctrl-C: an impatient second one would lose the frames that the first one is about to keep."""
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _free_name(path: Path) -> Path:
    """``out.mp4`` -> ``out.partial.mp4``, or the first numbered one that does not exist."""
    candidate, number = path.with_name(f"{path.stem}.partial{path.suffix}"), 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.stem}.partial-{number}{path.suffix}"), number + 1
    return candidate


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
