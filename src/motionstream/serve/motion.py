"""Motion that is borrowed: frames of a clip or webcam come in, a tracker follows points, and these pull at the picture.

Frames are decoded and tracked on the server's tracker thread, never on the event loop nor on the compute thread. Of frames
that come faster than they can be followed the newest is taken (latest wins); what was followed since the last chunk is
spread over the frames of the next one.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from motionstream.config import PresetConfig
from motionstream.serve.binary import MotionFrame
from motionstream.serve.protocol import Followed, MotionEnded
from motionstream.stream.swarm import Swarm
from motionstream.tracking.borrow import PIN_CELLS, START_CELLS
from motionstream.tracking.choose import MovingPoints
from motionstream.tracking.live import LivePoints, LiveSeen, seen_at

log = logging.getLogger(__name__)
FORMATS = ("JPEG", "WEBP")
MIN_SIDE_PX = 48
STRETCH = 1.5  # chunks: what was followed over a longer time (a pause) is not squeezed into the next one
HELD_SECONDS = 3.0  # without a frame for so long what was followed is let go
MOST_KEPT = 96
MOST_SHOWN = 160  # points told to the page
PLACES = 192  # for points on the canvas: about as many as one swarm holds
MOST_BROKEN = 24
BETWEEN_COMPLAINTS_S = 2.0
FRESH_CELLS = 2.0
"""A point that is shown first when it is no further from where it began has just begun to move."""
_NAMES = 2**20


@dataclass(frozen=True)
class _Sight:
    when: float
    t: int
    seen: LiveSeen


class BorrowedMotion:
    """A `motionstream.stream.swarm.PointSource`.

    Args:
        preset: of the model. most_pixels: of a frame. submit: runs a call on the tracker's thread.
        tell: hears `Followed` and `MotionEnded`, and sentences about broken frames, on the tracker's thread.
    """

    def __init__(
        self,
        preset: PresetConfig,
        most_pixels: int,
        submit: Callable[[Callable[[], None]], object],
        tell: Callable[[Followed | MotionEnded | str], None],
    ) -> None:
        self.geometry, self.most_pixels = preset.geometry, most_pixels
        self._reach_px = preset.sample.hand_px
        self._submit, self._tell = submit, tell
        self._lock = threading.Lock()
        self._region: tuple[float, float, float, float] | None = None
        self._pending: MotionFrame | None = None
        self._working = False
        self._run = 0  # numbers the beginnings of the tracker
        self._restart()
        # on the tracker's thread alone
        self._points: LivePoints | None = None
        self._tracked: tuple[int, tuple[int, int]] | None = None  # what self._points was made for
        self._broken, self._complained = 0, -BETWEEN_COMPLAINTS_S
        # on the compute thread alone
        self._placed: dict[int, np.ndarray] = {}
        self._named: set[int] = set()
        self._asked = (0, -1)  # epoch, chunk
        self._epoch = 0

    def _restart(self) -> None:
        """Forget what is followed; under the lock."""
        self._run += 1
        self._sights: deque[_Sight] = deque(maxlen=MOST_KEPT)
        self._last: _Sight | None = None
        self._since = time.monotonic()
        self._chooser: MovingPoints | None = None

    # ---- from the event loop -----------------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        return self._region is not None

    def borrow(self, region: tuple[float, float, float, float]) -> None:
        """Begin, or go on elsewhere: frames cover ``region`` (x0, y0, x1, y1) of the canvas, in pixels.

        Raises:
            ValueError: a region that is turned round, or too small or too far away to pull at anything.
        """
        x0, y0, x1, y1 = region
        W, H, cell = self.geometry.width, self.geometry.height, self.geometry.stride
        if not (cell <= x1 - x0 <= 4 * W and cell <= y1 - y0 <= 4 * H):
            raise ValueError(f"a region of {x1 - x0:g}x{y1 - y0:g} pixels: use {cell}x{cell} to {4 * W}x{4 * H}")
        if min(x1, W) - max(x0, 0) < 1 or min(y1, H) - max(y0, 0) < 1:
            raise ValueError("the region lies outside of the picture: move it back")
        with self._lock:
            if self._region != region:
                self._region = region
                self._restart()

    def end(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._region, self._pending = None, None
            self._restart()

    def offer(self, frame: MotionFrame) -> None:
        """Take the newest frame; it replaces one that still waits."""
        with self._lock:
            if self._region is None:
                return  # it was sent before the page heard of the end
            cut = frame.cut or (self._pending is not None and self._pending.cut)
            self._pending = MotionFrame(frame.t, cut, frame.picture)
            if self._working:
                return
            self._working = True
        self._submit(self._work)

    # ---- on the tracker's thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                frame, self._pending = self._pending, None
                run, region = self._run, self._region
                if frame is None or region is None:
                    self._working = False
                    return
            try:
                self._follow(frame, run, region)
            except ValueError as error:
                self._complain(str(error))
            except Exception as error:  # a tracker that fails must not take the server's thread with it
                log.exception("a frame could not be followed")
                self._points = None
                self._complain(f"the motion of a frame could not be read ({type(error).__name__})")

    def _complain(self, sentence: str) -> None:
        self._broken += 1
        now = time.monotonic()
        if self._broken >= MOST_BROKEN:
            self._broken = 0
            self.end()
            self._tell(MotionEnded(reason=f"too many frames could not be read: {sentence}"))
        elif now - self._complained >= BETWEEN_COMPLAINTS_S:
            self._complained = now
            self._tell(sentence)

    def _follow(self, frame: MotionFrame, run: int, region: tuple[float, float, float, float]) -> None:
        picture = read_frame(frame.picture, self.most_pixels)
        self._broken = 0
        size = picture.shape[0], picture.shape[1]
        if self._points is None or self._tracked != (run, size) or frame.cut:
            across = (region[2] - region[0]) / self.geometry.point_spacing(PLACES)
            self._points = LivePoints(max(4.0, size[1] / max(across, 1.0)))
            if self._tracked is not None and self._tracked[0] == run:
                with self._lock:  # names begin anew, so nothing that was followed goes on
                    if run != self._run:
                        return
                    self._restart()
                    run = self._run
            self._tracked = run, size
        seen = self._points.feed(picture)
        scale = np.array([(region[2] - region[0]) / size[1], (region[3] - region[1]) / size[0]])
        seen = LiveSeen(seen.ids, seen.xy * scale + region[:2], seen.visible, seen.born * scale + region[:2])
        with self._lock:
            if run != self._run:
                return
            self._sights.append(_Sight(time.monotonic(), frame.t, seen))
        self._tell(Followed(t=frame.t, points=self._shown(seen)))

    def _shown(self, seen: LiveSeen) -> list[tuple[float, float, int]]:
        moved = np.linalg.norm(seen.xy - seen.born, axis=1) >= START_CELLS * self.geometry.reach_px
        inside = (seen.xy >= 0).all(1) & (seen.xy < [self.geometry.width, self.geometry.height]).all(1)
        rows = np.flatnonzero(seen.visible & inside)
        rows = rows[np.argsort(~moved[rows], kind="stable")][:MOST_SHOWN]
        return [(round(float(seen.xy[k, 0]), 1), round(float(seen.xy[k, 1]), 1), int(moved[k])) for k in rows]

    # ---- on the compute thread ---------------------------------------------------------------------------------------

    def points(self, chunk: int, num_frames: int) -> tuple[Swarm | None, tuple[int, ...]]:
        """See `PointSource`."""
        now = time.monotonic()
        with self._lock:
            run, last = self._run, self._last
            new, since = list(self._sights), self._since
            self._sights.clear()
            self._since = now
            if new:
                self._last = new[-1]
            if self._chooser is None:
                cell, place = self.geometry.reach_px, self.geometry.point_spacing(PLACES)
                self._chooser = MovingPoints(start_px=START_CELLS * cell, pin_spacing_px=PIN_CELLS * place)
            chooser = self._chooser
        if (run, chunk) <= self._asked or run != self._asked[0]:  # something new, or the stream has gone back
            self._epoch += 1
            self._placed, self._named = {}, set()
        self._asked = run, chunk
        echo = (0,) * num_frames
        newest = new[-1] if new else last
        if newest is None or now - newest.when > HELD_SECONDS:
            self._placed = {}
            return None, echo
        start = max(since, now - STRETCH * num_frames / self.geometry.fps)
        knots = [(min(max((sight.when - start) / max(now - start, 1e-6), 0.0), 1.0), sight) for sight in new]
        phases = [(f + 1) / num_frames for f in range(num_frames)]
        if knots:
            knots[-1] = (min(knots[-1][0], 1.0), knots[-1][1])
            echo = tuple(max((sight.t for when, sight in knots if when <= phase + 1e-9), default=0) for phase in phases)
            echo = (*echo[:-1], knots[-1][1].t)
        before = last.seen if last is not None else None
        frames = seen_at([(when, sight.seen) for when, sight in knots], before, phases)
        self._named &= {int(name) for seen in frames for name in seen.ids}  # a webcam runs for hours
        return self._swarm(chooser.choose(frames)), echo

    def _swarm(self, frames: list[LiveSeen]) -> Swarm | None:
        """The points by name, moved no faster than things may be (`GestureBoard.hand_px`)."""
        ids = sorted({int(name) for seen in frames for name in seen.ids})
        column, fresh_px = {name: k for k, name in enumerate(ids)}, FRESH_CELLS * self.geometry.reach_px
        xy, visible = np.zeros((len(frames), len(ids), 2)), np.zeros((len(frames), len(ids)), bool)
        for t, seen in enumerate(frames):
            placed: dict[int, np.ndarray] = {}
            for name, place, born in zip(seen.ids.tolist(), seen.xy, seen.born, strict=True):
                before = self._placed.get(name)
                if before is None and name not in self._named and float(np.hypot(*(place - born))) < fresh_px:
                    before = born.astype(np.float64)  # it has just begun to move: it takes hold of what it came from
                placed[name] = self._towards(before, place.astype(np.float64))
                self._named.add(name)
                xy[t, column[name]], visible[t, column[name]] = placed[name], True
            self._placed = placed
        names = [(self._epoch % _NAMES) * _NAMES + name % _NAMES for name in ids]
        return Swarm.of("motion", names, xy, visible, (self.geometry.width, self.geometry.height))

    def _towards(self, place: np.ndarray | None, target: np.ndarray) -> np.ndarray:
        if place is None or self._reach_px <= 0:
            return target
        step = target - place
        return place + step / max(1.0, float(np.hypot(*step)) / self._reach_px)


def read_frame(content: bytes, most_pixels: int) -> np.ndarray:
    """A frame of a clip, (H, W, 3) uint8.

    Raises:
        ValueError: not a JPEG or WebP, damaged, or of a size that is not taken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > most_pixels:
                raise _Size(f"a frame of {image.width}x{image.height} pixels: send at most {most_pixels} in all")
            if min(image.size) < MIN_SIDE_PX:
                raise _Size(f"a frame of {image.width}x{image.height} pixels: send at least {MIN_SIDE_PX} each way")
            return np.asarray(image.convert("RGB"))
    except _Size:
        raise
    except Exception as error:  # readers of damaged files raise almost anything
        raise ValueError("a frame of the clip is no JPEG or WebP that can be read") from error


class _Size(ValueError):
    pass
