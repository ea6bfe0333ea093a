"""The motion of a clip on another canvas, a few frames at a time: what `motionstream transfer` shows the model.

    motion = ClipMotion(Clip("dancer.mp4"), geometry)
    while seen := motion.take(12):             # points on the model's canvas at the model's rate; fewer at the clip's end
        ...

The clip is read, tracked and forgotten frame by frame, so its length is bounded by nothing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from motionstream.errors import UserError
from motionstream.media.images import Fit, PictureFit, fit_window
from motionstream.shapes import VideoGeometry
from motionstream.tracking.choose import MovingPoints
from motionstream.tracking.clip import Clip
from motionstream.tracking.live import LEAST_SPACING_PX, LivePoints, LiveSeen, at_rate
from motionstream.tracking.tracker import PointTracker
from motionstream.tracks.tracks import Tracks

LOOK_AHEAD = 12
"""Frames of a clip that are known before a chunk is chosen, however short the chunk is (`MovingPoints.choose`)."""
WORK_HEIGHT_PX, MAX_TIMES = 288, 4
"""Clips are tracked at a whole multiple of the model's canvas, up to this height and factor: nano's own is too coarse."""
START_CELLS, PIN_CELLS = 1.0, 3.0
"""How far a point must get to count as moving, in cells of `VideoGeometry.reach_px`, and how far apart resting ones are
shown, in places.

Chosen by eye among 0.2 to 1.5 and 2 to 4 on the bundled clips (at 128x96): showing nano more wears the picture out.
"""
CELLS = 300
"""Places for points on a canvas (a place holds up to three): with more, a stream could be given more than it may hold."""
Pins = Literal["some", "none", "all"]


class ClipMotion:
    """A clip as points on the model's canvas at the model's rate.

    Args:
        clip: at its own size. geometry: of the model.
        fit: how the clip gets the model's aspect, "crop" to its middle or "stretch" all of it.
        across: points across the canvas, None = one for each latent cell, or fewer where that makes more than `CELLS`.
        mask: (H, W) bool in the clip's own pixels; only the motion of what is True in its first frame is taken.
        tracker: a name or a tracker that can take new points at any time.
        pins: which resting points are shown.

    Attributes:
        window: the part of the clip that is seen. pictures: frames of the clip that belong to what was taken last.
        track_s: seconds spent in the tracker. ever_moving: the most points that were shown because they moved.

    Raises:
        UserError: a mask that is white only where the clip is cut away, or a grid that is too dense.
    """

    def __init__(
        self,
        clip: Clip,
        geometry: VideoGeometry,
        *,
        fit: Fit = "crop",
        across: int | None = None,
        mask: np.ndarray | None = None,
        tracker: str | PointTracker = "lk",
        pins: Pins = "some",
    ) -> None:
        self.geometry = geometry
        self.times = max(1, min(MAX_TIMES, WORK_HEIGHT_PX // geometry.height))
        self.window = fit_window(clip.source, (geometry.height * self.times, geometry.width * self.times), fit)
        self.clip = clip.within(self.window)
        usual = geometry.width / geometry.point_spacing(CELLS)
        spacing_px = self.clip.size[1] / (across or usual)
        if across is not None and spacing_px < LEAST_SPACING_PX:
            most = self.clip.size[1] // LEAST_SPACING_PX
            raise UserError(f"a grid of {across} points across is too dense for this size of video: use at most {most}")
        self.points = LivePoints(spacing_px, mask=_cut(mask, self.window), tracker=tracker)
        cell, place = geometry.reach_px * self.times, geometry.point_spacing(CELLS) * self.times
        pins_px = {"some": PIN_CELLS * place, "none": 0.0, "all": 1e-6}[pins]
        start_px = math.inf if pins == "all" else START_CELLS * cell
        self._chooser = MovingPoints(start_px=start_px, pin_spacing_px=pins_px)
        # a clip faster than twice the model's rate is thinned: the points between would hardly move
        step = max(1, int(clip.fps / (2 * geometry.fps)))
        self._stream = at_rate(self._followed(step), clip.fps / step, geometry.fps)
        self._waiting: deque[tuple[LiveSeen, np.ndarray]] = deque()
        self._begun = False
        self.track_s, self.ever_moving = 0.0, 0
        self.pictures: list[np.ndarray] = []

    @property
    def expected_frames(self) -> int:
        """Frames at the model's rate as the file claims; 0 where it does not say."""
        return expected_at(self.clip, self.geometry.fps)

    def _followed(self, step: int) -> Iterator[LiveSeen]:
        for frame in self.clip.frames(step):
            began = time.perf_counter()
            seen = self.points.feed(frame)
            self.track_s += time.perf_counter() - began
            self._picture = frame
            yield seen

    def take(self, count: int) -> list[LiveSeen]:
        """Chosen points of up to ``count`` further frames, in model pixels; fewer at the clip's end, then none.

        Raises:
            UserError: nothing in the first frames can be followed.
        """
        while len(self._waiting) < max(count, LOOK_AHEAD) and (now := next(self._stream, None)) is not None:
            self._waiting.append((now, self._picture))
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        seen, self.pictures = [now for now, _ in taken], [picture for _, picture in taken]
        if not seen:
            return []
        ahead = [now for now, _ in self._waiting]
        if not self._begun and not any(len(now.ids) for now in (*seen, *ahead)):
            raise UserError(
                f"{self.clip.path}: no point of its first {len(seen) + len(ahead)} frames can be followed, they are flat or "
                "dark; start the clip later, or use another one"
            )
        self._begun = True
        chosen = self._chooser.choose(seen, ahead)
        self.ever_moving = max(self.ever_moving, self._chooser.num_moving)
        return [LiveSeen(now.ids, now.xy / self.times, now.visible, now.born / self.times) for now in chosen]


def expected_at(clip: Clip, fps: float) -> int:
    """Frames at another rate between the first and the last frame of a clip; 0 where the file does not say."""
    return int((clip.expected_frames - 1) * fps / clip.fps + 1e-6) + 1 if clip.expected_frames else 0


def _cut(mask: np.ndarray | None, window: PictureFit) -> np.ndarray | None:
    """The mask of the whole clip, seen through the window."""
    if mask is None:
        return None
    H, W = window.size
    box = (window.left, window.top, window.left + window.width, window.top + window.height)
    cut = np.asarray(Image.fromarray(mask).convert("L").resize((W, H), Image.Resampling.BILINEAR, box=box)) > 127
    if not cut.any():
        raise UserError("the mask is white only where the clip is cut away; use fit 'scale' (--fit)")
    return cut


def tracks_of(seen: Sequence[LiveSeen], size: tuple[int, int], fps: float) -> Tracks:
    """Points that come and go, one entry a frame -> tracks (B = 1) of all of them on a canvas of ``size`` (H, W)."""
    ids = np.unique(np.concatenate([now.ids for now in seen]))
    xy = np.zeros((len(seen), len(ids), 2), np.float32)
    visible = np.zeros((len(seen), len(ids)), bool)
    for t, now in enumerate(seen):
        columns = np.searchsorted(ids, now.ids)
        xy[t, columns], visible[t, columns] = now.xy, now.visible
    return Tracks.from_points(xy, visible=visible, ids=ids, size=size, fps=fps)
