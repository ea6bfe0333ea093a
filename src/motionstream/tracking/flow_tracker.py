"""Points followed by optical flow, checked by appearance, and found again after they were hidden.

For each frame: flow forwards and backwards; a point whose way back misses, or whose patch and colour no longer look like
what it was, is hidden. A hidden point is carried along by the points that used to move as it did, and its patch is looked
for near there; when it is found it is visible again. No weights are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from motionstream.tracking.appearance import cut_patches, find_patch, likeness, read_field, texture
from motionstream.tracking.motion import Motion
from motionstream.tracking.tracker import Seen, check_frame, check_points

FLAT = 6.0
"""Contrast in grey levels below which a patch cannot be searched for: it is only looked at where it should be."""

DARK, WHITE = 16, 250
"""Levels between which a pixel tells of the exposure."""

FORGET_LIGHT = 0.995
"""What a camera's exposure was is forgotten slowly, so that small errors do not add up over an hour."""


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """When a point counts as seen.

    Args:
        max_error_px: largest miss on the way there and back.
        min_likeness: smallest correlation with what the point looked like.
        max_colour: largest change of its colour apart from that of the exposure, in levels (0-255).
        patch_px: side of the patch that is compared, odd.
        learn: share of the present look that enters the memory of it in each frame.
        find_likeness: smallest correlation at which a hidden point is found again.
        find_radius_px: how far from its expected place it is looked for at most.
        find_budget: hidden points looked for in one frame; the others wait their turn.
        max_hidden_frames: after that many a point is given up.
        kin: neighbours that carry a hidden point along.
        unlike_px: how many pixels farther away a neighbour counts for each pixel a frame by which it moved otherwise.
    """

    max_error_px: float = 1.0
    min_likeness: float = 0.7
    max_colour: float = 20.0
    patch_px: int = 9
    learn: float = 0.03
    find_likeness: float = 0.85
    find_radius_px: int = 12
    find_budget: int = 64
    max_hidden_frames: int = 60
    kin: int = 8
    unlike_px: float = 30.0


@dataclass
class _Points:
    """The state of N points; every array has N rows."""

    xy: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    speed: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    visible: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    hidden_for: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    patch: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    colour: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    def rows(self, pick: np.ndarray) -> _Points:
        return _Points(**{name: values[pick] for name, values in vars(self).items()})

    def with_rows(self, other: _Points) -> _Points:
        return _Points(**{name: np.concatenate([values, getattr(other, name)]) for name, values in vars(self).items()})


class FlowTracker:
    """A `PointTracker` on top of a `Motion`; see the module. Keyword options are the fields of `FlowSettings`."""

    growing = True

    def __init__(self, motion: Motion, **options: float) -> None:
        self.motion = motion
        self.settings = FlowSettings(**options)  # type: ignore[arg-type]
        self._size: tuple[int, int] | None = None
        self._small: np.ndarray | None = None

    def start(self, frame: np.ndarray) -> None:
        frame = check_frame(frame)
        self._size = frame.shape[0], frame.shape[1]
        self._log_gain, self._small = 0.0, None
        self._show(frame)
        self.motion.start(self._grey)
        side = self.settings.patch_px
        self._points = _Points(patch=np.zeros((0, side * side), np.float32))
        self._turn = 0

    def add(self, xy: np.ndarray) -> None:
        xy = check_points(xy)
        count = len(xy)
        new = _Points(
            xy=xy.copy(),
            speed=np.zeros((count, 2), np.float32),
            visible=self._inside(xy),
            hidden_for=np.zeros(count, np.int32),
            patch=cut_patches(self._grey, xy, self.settings.patch_px),
            colour=self._colours(xy),
        )
        self._points = self._points.with_rows(new)

    def keep(self, mask: np.ndarray) -> None:
        self._points = self._points.rows(np.asarray(mask, bool))

    def feed(self, frame: np.ndarray) -> list[Seen]:
        if self._size is None:
            raise ValueError("start the tracker with a first frame before feeding it others")
        self._show(check_frame(frame, self._size))
        self.motion.advance(self._grey)
        self._follow()
        self._carry()
        self._find()
        points = self._points
        return [Seen(points.xy.copy(), points.visible.copy())]

    def finish(self) -> list[Seen]:
        self._size = None
        return []

    # ---- one frame ---------------------------------------------------------------------------------------------------

    def _show(self, frame: np.ndarray) -> None:
        """Take a frame in, brought to one exposure: by the median change of its pixels from frame to frame."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (64, 48), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._small is not None:
            # dark pixels are mostly noise, and white ones do not say how bright they are
            brighter = np.maximum(small, self._small)
            fair = (brighter > DARK) & (brighter < WHITE)
            change = float(np.median((small[fair] + 1) / (self._small[fair] + 1))) if fair.any() else 1.0
            self._log_gain = FORGET_LIGHT * self._log_gain + float(np.log(np.clip(change, 0.5, 2.0)))
        self._small = small
        table = np.clip(np.arange(256) / np.exp(self._log_gain), 0, 255).round().astype(np.uint8)
        self._white = float(table[WHITE])
        self._grey = cv2.LUT(grey, table)
        self._blurred = cv2.LUT(cv2.blur(frame, (3, 3)), table)

    def _follow(self) -> None:
        """Move what was visible, and hide what fails a check."""
        points, rows = self._points, self._points.visible.nonzero()[0]
        if not len(rows):
            return
        moved = self.motion.move(points.xy[rows])
        seen = (moved.error <= self.settings.max_error_px) & self._inside(moved.xy)
        seen[seen] = self._looks_right(rows[seen], moved.xy[seen])
        good = rows[seen]
        points.speed[good] = 0.5 * points.speed[good] + 0.5 * (moved.xy[seen] - points.xy[good])
        points.xy[good] = moved.xy[seen]
        points.visible[rows[~seen]] = False
        points.hidden_for[good] = 0
        self._remember(good)

    def _step_of_kin(self, rows: np.ndarray, guides: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Median of ``steps`` (G, 2) of the ``guides`` (G,) that are near and used to move alike, for each of ``rows``."""
        points, found = self._points, []
        count = min(self.settings.kin, len(guides))
        for part in np.split(rows, range(512, len(rows), 512)):  # bounded memory for many points
            apart = np.linalg.norm(points.xy[part, None] - points.xy[None, guides], axis=2)
            unlike = np.linalg.norm(points.speed[part, None] - points.speed[None, guides], axis=2)
            near = np.argpartition(apart + self.settings.unlike_px * unlike, count - 1, axis=1)[:, :count]
            found.append(np.median(steps[near], axis=1))
        return np.concatenate(found)

    def _looks_right(self, rows: np.ndarray, xy: np.ndarray) -> np.ndarray:
        points, settings = self._points, self.settings
        alike = likeness(points.patch[rows], cut_patches(self._grey, xy, settings.patch_px))
        was, now = points.colour[rows], self._colours(xy)
        off = np.abs(was - now)
        off[(now >= self._white) & (was > now)] = 0.0  # it may be brighter than white
        off = off.max(axis=1)
        return (alike >= settings.min_likeness) & (off <= settings.max_colour)

    def _remember(self, rows: np.ndarray) -> None:
        points, share = self._points, self.settings.learn
        points.patch[rows] += share * (cut_patches(self._grey, points.xy[rows], self.settings.patch_px) - points.patch[rows])
        points.colour[rows] += share * (self._colours(points.xy[rows]) - points.colour[rows])

    def _carry(self) -> None:
        """Move hidden points by the motion of the nearest visible ones that moved as they did."""
        points = self._points
        hidden = (~points.visible & (points.hidden_for <= self.settings.max_hidden_frames)).nonzero()[0]
        guides = points.visible.nonzero()[0]
        points.hidden_for[~points.visible] += 1
        if not len(hidden) or not len(guides):
            return
        step = self._step_of_kin(hidden, guides, points.speed[guides])
        points.xy[hidden] += step
        points.speed[hidden] = 0.8 * points.speed[hidden] + 0.2 * step

    def _find(self) -> None:
        """Look for hidden points near where they should be: textured ones in turn, flat ones just there."""
        points, settings = self._points, self.settings
        waiting = ~points.visible & (points.hidden_for <= settings.max_hidden_frames) & self._inside(points.xy)
        flat = texture(points.patch) < FLAT
        self._reveal((waiting & flat).nonzero()[0], points.xy[waiting & flat])
        textured = (waiting & ~flat).nonzero()[0]
        if not len(textured):
            return
        chosen = np.roll(textured, -np.searchsorted(textured, self._turn))[: settings.find_budget]
        self._turn = int(chosen[-1]) + 1
        side = settings.patch_px
        places, alike = points.xy[chosen].copy(), np.zeros(len(chosen))
        for k, row in enumerate(chosen):
            radius = min(settings.find_radius_px, 3 + int(points.hidden_for[row]))
            places[k], alike[k] = find_patch(self._grey, points.patch[row].reshape(side, side), points.xy[row], radius)
        found = alike >= settings.find_likeness
        self._reveal(chosen[found], places[found])

    def _reveal(self, rows: np.ndarray, places: np.ndarray) -> None:
        """Show hidden points again at places where they look right."""
        points, right = self._points, self._looks_right(rows, places)
        rows = rows[right]
        points.xy[rows], points.visible[rows], points.hidden_for[rows] = places[right], True, 0

    def _colours(self, xy: np.ndarray) -> np.ndarray:
        return read_field(self._blurred, xy).astype(np.float32) if len(xy) else np.zeros((0, 3), np.float32)

    def _inside(self, xy: np.ndarray) -> np.ndarray:
        assert self._size is not None, "the tracker was not started"
        H, W = self._size
        return (xy >= 0).all(axis=1) & (xy[:, 0] < W) & (xy[:, 1] < H)
