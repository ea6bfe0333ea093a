"""What a hand does, as data: gestures begin, take poses and end; a board turns them into points per frame.

Everything here is a pure function of the recorded input (:class:`ChunkInput`) and of the track buffer's state, so a take
that is played again makes the same points. A gesture is a rigid set of points with a pose per frame: a *drag* gets its
poses from a hand, a *pin* keeps the first one, a *path* computes them. The *camera* is a lattice over the whole picture
(paper section 4.3: camera control is a whole-frame grid of tracks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from motionstream.shapes import VideoGeometry
from motionstream.stream.poses import AT_REST, Ease, Mode, Pose, along, follow, path_share, transform
from motionstream.stream.swarm import Swarm
from motionstream.stream.track_buffer import MAX_POINTS, Drift, Point, TrackBuffer

Kind = Literal["drag", "pin", "path"]
POINTS_PER_GESTURE = 256
CAMERA_SPACING_CELLS, CAMERA_LATTICE = 1.5, 88
"""Camera points lie so many cells apart, and further on a canvas that would then have more points than that. Between two
levels of zoom there are up to twice as many: `live_input.CAMERA_POINTS` are kept free for them."""
CAMERA_CLEARANCE_CELLS = 1.6
"""Camera points closer than this to a point of another gesture are left out: the hand wins over the camera."""
MAX_ZOOM_LEVEL = 16
"""Doublings that one shot of the camera may zoom, in or out. The next shot takes hold of the picture anew: places in the
lattice of a single one would run out of digits."""
_CAMERA_IDS = 1 << 40
_SWARM_IDS = {"camera": 1 << 50, "motion": 1 << 51}


@dataclass(frozen=True)
class Begin:
    """A gesture that begins with a chunk.

    Attributes:
        kind, id: id is unique in a take, 1 to 2^20 - 1.
        points: (x, y) in model pixels, as they were in the video's frame ``seen``.
        path: polyline whose first point is where the thing is; ``seconds`` to travel it, for kind "path" only.
    """

    kind: Kind
    id: int
    points: tuple[tuple[float, float], ...]
    seen: int
    path: tuple[tuple[float, float], ...] = ()
    seconds: float = 0.0
    ease: Ease = "smooth"
    mode: Mode = "once"


@dataclass(frozen=True)
class Motion:
    """Poses of a drag in the frames ``start, start + 1, ...`` of a chunk; the last one stays until the chunk's end."""

    id: int
    start: int
    poses: tuple[Pose, ...]


@dataclass(frozen=True)
class CameraSpeed:
    """``pan`` (x, y) in pixels per second, ``zoom`` in doublings per second, ``roll`` in radians per second."""

    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    roll: float = 0.0

    @property
    def still(self) -> bool:
        return not (any(self.pan) or self.zoom or self.roll)


@dataclass(frozen=True)
class ChunkInput:
    """All input of one chunk, already on the chunk's frames: the unit that takes record.

    Attributes:
        ends: (gesture id, frame of the chunk from which on it is let go).
        camera: a new camera speed, None = as before. prompt: a new prompt, None = as before.
        swarms: points that are moved by something else than a hand.
    """

    begins: tuple[Begin, ...] = ()
    motions: tuple[Motion, ...] = ()
    ends: tuple[tuple[int, int], ...] = ()
    camera: CameraSpeed | None = None
    prompt: str | None = None
    swarms: tuple[Swarm, ...] = ()

    @property
    def empty(self) -> bool:
        return self == NOTHING


NOTHING = ChunkInput()


@dataclass(frozen=True)
class Mark:
    """Where a gesture's point is in one frame, for drawing."""

    x: float
    y: float
    kind: Literal["drag", "pin", "path", "camera", "motion"]


@dataclass(frozen=True)
class _Active:
    """A gesture under way: its points where they were taken hold of, its pose, and the frames a path has run.

    A drag's pose follows ``target``, the hand's, no faster than the board allows; ``leaving`` = the hand has let go of a
    thing that is still on its way.
    """

    begin: Begin
    points: np.ndarray
    pose: Pose = AT_REST
    age: int = 0
    target: Pose = AT_REST
    leaving: bool = False

    def placed(self, pose: Pose) -> np.ndarray:
        return transform(self.points, pose)


class Played(NamedTuple):
    """What a chunk of input comes to.

    Attributes:
        held: the points held in each frame; marks: the same for drawing. drift: the camera's own step to each frame.
        ended: ids of gestures that are over. refused: of those that did not begin, as there were too many points.
    """

    held: list[list[Point]]
    marks: list[list[Mark]]
    ended: tuple[int, ...]
    refused: tuple[int, ...]
    drift: Drift


class _TooMany(Exception):
    """More points at once than the track buffer takes."""


def point_key(gesture: int, n: int) -> int:
    """Id in the track buffer of a gesture's ``n``-th point."""
    return gesture * 1024 + n


def camera_spacing(geometry: VideoGeometry) -> float:
    """Pixels between camera points on a picture that is seen as it is."""
    return max(CAMERA_SPACING_CELLS * geometry.stride, geometry.point_spacing(CAMERA_LATTICE))


@dataclass
class GestureBoard:
    """Gestures of one stream; :meth:`frames` plays one chunk of input onto it.

    Args:
        hand_px: how far a drag moves in one frame at most, in pixels; a faster hand is followed with a delay, because
            things that jump farther than training ever showed fall apart. 0 = no limit.
    """

    geometry: VideoGeometry
    buffer: TrackBuffer
    hand_px: float = 0.0
    active: dict[int, _Active] = field(default_factory=dict)
    camera: CameraSpeed = field(default_factory=CameraSpeed)
    view: np.ndarray = field(default_factory=lambda: np.eye(3))
    shots: int = 0

    def reset(self) -> None:
        self.active, self.camera, self.view, self.shots = {}, CameraSpeed(), np.eye(3), 0

    def snapshot(self) -> tuple[object, ...]:
        return dict(self.active), self.camera, self.view.copy(), self.shots

    def restore(self, state: tuple[object, ...]) -> None:
        active, self.camera, view, self.shots = state  # type: ignore[assignment]
        self.active, self.view = dict(active), view.copy()  # type: ignore[call-overload,attr-defined]

    def frames(self, chunk: ChunkInput, num_frames: int) -> Played:
        """Play ``chunk`` onto the ``num_frames`` next frames of the board.

        Gestures that would make more points at once than the track buffer takes are refused, the newest first.
        """
        before = self.snapshot()
        refused: tuple[int, ...] = ()
        while True:
            try:
                held, marks, ended, drift = self._play(chunk, num_frames)
                return Played(held, marks, ended, refused, drift)
            except _TooMany:
                self.restore(before)
                if not chunk.begins:  # of a take made by hand: in a stream only what begins makes the points more
                    raise ValueError(f"more than {MAX_POINTS} points at once: let some go") from None
                refused = (chunk.begins[-1].id, *refused)
                chunk = replace(chunk, begins=chunk.begins[:-1])

    def _play(
        self, chunk: ChunkInput, num_frames: int
    ) -> tuple[list[list[Point]], list[list[Mark]], tuple[int, ...], Drift]:
        stopped: tuple[int, ...] = ()
        if any(begin.kind == "drag" for begin in chunk.begins):
            # The hand is elsewhere: what it let go of and is still on its way stops here.
            stopped = tuple(key for key, gesture in self.active.items() if gesture.leaving)
        for begin in chunk.begins:
            places = np.asarray(begin.points, np.float64)
            self.active[begin.id] = _Active(begin, places + self.buffer.moved_since(begin.seen, places))
        touched = {begin.id: self._touched(begin) for begin in chunk.begins}
        under = set().union(*touched.values())
        stopped += tuple(k for k, gesture in self.active.items() if gesture.leaving and k in under and k not in stopped)
        for key in stopped:
            del self.active[key]
        if chunk.camera is not None:
            self._point_camera(chunk.camera)
        motions = {motion.id: motion for motion in chunk.motions}
        ends = dict(chunk.ends)
        first = self.buffer.frame == 0
        # A hand that lets go and takes something else in one chunk: the second begins where the first ends, or it would find
        # what lies near the first still held.
        fresh = {begin.id for begin in chunk.begins if begin.kind == "drag"}
        unheld = set(fresh)  # held in one frame at least, however short: a flick counts
        given_up = {key: min(t, num_frames - 1) for key, t in ends.items() if key in self.active and key not in fresh}
        starts = {key: max(given_up.values(), default=0) for key in fresh}
        for begin in chunk.begins:
            if begin.id not in fresh:
                starts[begin.id] = max((given_up[k] for k in touched[begin.id] if k in given_up), default=0)
        cut = set(given_up) if fresh else {k for k in given_up if k in under}
        cut = cut if any(starts.values()) else set()
        at_first = {key: (self.active[key].pose[0], self.active[key].pose[1]) for key in cut}
        held: list[list[Point]] = []
        marks: list[list[Mark]] = []
        drift: Drift = [None] * num_frames
        for t in range(num_frames):
            points: list[Point] = []
            seen: list[Mark] = []
            for key in list(self.active):
                before = self.active[key]
                if t < starts.get(key, 0) or (key in cut and t >= given_up[key]):
                    continue
                if starts.get(key) and t == starts[key]:  # what it takes hold of has moved on since the chunk began
                    for giver in touched[key] & cut:
                        pose, was = self.active[giver].pose, at_first[giver]
                        before = replace(before, points=before.points + (pose[0] - was[0], pose[1] - was[1]))
                        break
                arrived = before.begin.kind != "drag" or before.pose == before.target
                gesture = self._advance(before, motions.get(key), t, still=first and t == 0)
                self.active[key] = gesture
                if arrived and key not in unheld and (before.leaving or t >= ends.get(key, num_frames)):
                    continue
                unheld.discard(key)
                for n, (x, y) in enumerate(gesture.placed(gesture.pose).tolist()):
                    points.append(Point(point_key(key, n), x, y, begun_at=tuple(gesture.points[n].tolist()), group=key))
                    seen.append(Mark(x, y, gesture.begin.kind))
            if not (first and t == 0):
                for swarm in chunk.swarms:
                    others = [Point(_SWARM_IDS[swarm.kind] + name, x, y) for name, x, y in self._clear(swarm.at(t), points)][
                        : MAX_POINTS - len(points)
                    ]
                    points += others
                    seen += [Mark(point.x, point.y, swarm.kind) for point in others]
                if not self.camera.still:
                    drift[t] = step = self._camera_step()
                    lattice = self._camera_points(np.array([[p.x, p.y] for p in points]).reshape(-1, 2), step)
                    lattice = lattice[: MAX_POINTS - len(points)]
                    points += lattice
                    seen += [Mark(point.x, point.y, "camera") for point in lattice]
            if len(points) > MAX_POINTS:
                raise _TooMany
            held.append(points)
            marks.append(seen)
        for key in ends.keys() & self.active.keys():
            self.active[key] = replace(self.active[key], leaving=True)
        ended = tuple(key for key, one in self.active.items() if self._over(one) or key in cut)
        for key in ended:
            del self.active[key]
        return held, marks, (*stopped, *ended), drift

    # ------------------------------------------------------------------ gestures

    def _touched(self, begin: Begin) -> set[int]:
        """Gestures that hold what a new one begins on."""
        owners = self.buffer.owners(self.active[begin.id].points)
        return {owner // 1024 for owner in owners} & self.active.keys() - {begin.id}

    def took(self, begin: Begin) -> tuple[tuple[float, float], ...]:
        """Middles of the cells of the picture that a gesture has taken hold of, as the hand saw them, in pixels.

        To be asked after the chunk in which it began; empty when it is over by then, or when nothing was taken.
        """
        gesture = self.active.get(begin.id)
        if gesture is None:
            return ()
        held = [np.asarray(place) + self.buffer.holds(point_key(begin.id, n)) for n, place in enumerate(begin.points)]
        return tuple((float(x), float(y)) for x, y in np.concatenate(held))

    def _total(self, begin: Begin) -> int:
        return max(1, round(begin.seconds * self.geometry.fps))

    def _over(self, gesture: _Active) -> bool:
        begin = gesture.begin
        if begin.kind == "path" and begin.mode == "once" and gesture.age >= self._total(begin):
            return True
        return gesture.leaving and (begin.kind != "drag" or gesture.pose == gesture.target)

    def _advance(self, gesture: _Active, motion: Motion | None, t: int, *, still: bool) -> _Active:
        """The gesture in frame t; ``still`` in the picture itself, where nothing has moved yet."""
        begin = gesture.begin
        if begin.kind == "path":
            if still:
                return gesture
            age = gesture.age + 1
            path = (*begin.path, begin.path[0]) if begin.mode == "loop" else begin.path
            dx, dy = along(path, path_share(age, self._total(begin), begin.ease, begin.mode))
            return replace(gesture, pose=(dx, dy, 0.0, 1.0), age=age)
        target = gesture.target
        if motion is not None and t >= motion.start and motion.poses:
            target = motion.poses[min(t - motion.start, len(motion.poses) - 1)]
        # Where the hand went while there was but the picture is not forgotten: the thing follows from the next frame on.
        return replace(gesture, target=target, pose=gesture.pose if still else self._nearer(gesture.pose, target))

    def _nearer(self, pose: Pose, target: Pose) -> Pose:
        return follow(pose, target, self.hand_px, self.geometry.reach_px / self.geometry.stride)

    def _clear(self, swarm: list[tuple[int, float, float]], points: list[Point]) -> list[tuple[int, float, float]]:
        """Those of a swarm that are not beside a point that is held already: the hand wins."""
        if not swarm or not points:
            return swarm
        held = np.array([[point.x, point.y] for point in points])
        gaps = np.hypot(*(np.array([row[1:] for row in swarm])[:, None] - held[None]).transpose(2, 0, 1)).min(1)
        return [row for row, gap in zip(swarm, gaps, strict=True) if gap > CAMERA_CLEARANCE_CELLS * self.geometry.reach_px]

    # ------------------------------------------------------------------ camera

    def _point_camera(self, speed: CameraSpeed) -> None:
        if self.camera.still and not speed.still:
            self._new_shot()
        self.camera = speed

    def _new_shot(self) -> None:
        """Take hold of the picture as it is now."""
        self.view, self.shots = np.eye(3), self.shots + 1

    def _zoom_level(self) -> int:
        """How many doublings the view has been zoomed since its shot began, rounded."""
        return round(math.log2(math.sqrt(abs(float(np.linalg.det(self.view[:2, :2]))))))

    def _camera_step(self) -> np.ndarray:
        """How the picture moves from one frame to the next, ``(3, 3)``."""
        centre = np.array([self.geometry.width / 2, self.geometry.height / 2])
        fps, speed = self.geometry.fps, self.camera
        scale, angle = 2.0 ** (speed.zoom / fps), speed.roll / fps
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        step = np.eye(3)
        step[:2, :2] = turn
        step[:2, 2] = centre - turn @ centre + np.array(speed.pan) / fps
        return step

    def _camera_points(self, others: np.ndarray, step: np.ndarray) -> list[Point]:
        """Advance the view by ``step`` and list the lattice points that lie in it."""
        height, width = self.geometry.height, self.geometry.width
        if abs(self._zoom_level()) >= MAX_ZOOM_LEVEL:
            self._new_shot()
        self.view = step @ self.view
        level = self._zoom_level()  # keeps the lattice about equally dense on screen, however far one zooms
        spacing = camera_spacing(self.geometry) / 2.0**level
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1.0]])
        world = (corners @ np.linalg.inv(self.view).T)[:, :2]
        low, high = np.floor(world.min(0) / spacing).astype(int), np.ceil(world.max(0) / spacing).astype(int)
        i, j = (axis.ravel() for axis in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
        places = (np.stack([i + 0.5, j + 0.5], -1) * spacing) @ self.view[:2, :2].T + self.view[:2, 2]
        kept = (places >= 0).all(1) & (places[:, 0] < width) & (places[:, 1] < height)
        if len(others):
            gaps = np.hypot(*(places[:, None] - others[None]).transpose(2, 0, 1)).min(1)
            kept &= gaps > CAMERA_CLEARANCE_CELLS * self.geometry.reach_px
        shot = _CAMERA_IDS + ((self.shots * 64 + level + 32) << 24)
        # Places wrap around 4096: what is in view together is never that far apart, and other bits stay as they are.
        names = ((i + 2048 & 4095) << 12) + (j + 2048 & 4095)
        back = np.linalg.inv(step)
        begun = places @ back[:2, :2].T + back[:2, 2]
        return [
            Point(shot + int(names[n]), float(places[n, 0]), float(places[n, 1]), begun_at=tuple(begun[n].tolist()), group=0)
            for n in np.flatnonzero(kept)
        ]
