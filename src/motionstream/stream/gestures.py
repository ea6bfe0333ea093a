"""What a hand does, as data: gestures begin, take poses and end; a board turns them into points per frame.

Everything here is a pure function of the recorded input (:class:`ChunkInput`) and of the track buffer's state, so a take
that is played again makes the same points. A gesture is a rigid set of points with a pose per frame: a *drag* gets its
poses from a hand, a *pin* keeps the first one, a *path* computes them. The *camera* is a lattice over the whole picture
(paper section 4.3: camera control is a whole-frame grid of tracks).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from motionstream.shapes import VideoGeometry
from motionstream.stream.drift import Drift, Flow
from motionstream.stream.lattice import CAMERA_CLEARANCE_CELLS, CameraSpeed, Lattice
from motionstream.stream.points import MAX_POINTS, WHOLE_PICTURE, Point
from motionstream.stream.poses import AT_REST, Ease, Mode, Pose, along, follow, path_share, transform
from motionstream.stream.swarm import Swarm
from motionstream.stream.track_buffer import TrackBuffer

Kind = Literal["drag", "pin", "path"]
POINTS_PER_GESTURE = 256
_SWARM_IDS = {"camera": 1 << 50, "motion": 1 << 51}


@dataclass(frozen=True)
class Begin:
    """A gesture that begins with a chunk.

    Attributes:
        kind, id: id is unique in a take, 1 to 2^20 - 1.
        points: (x, y) in model pixels, as they were in the video's frame ``seen``.
        path: polyline whose first point is where the thing is; ``seconds`` to travel it, for kind "path" only.
        snap: of all that the points cover, hold only the thing that they were set on, where one can be told.
    """

    kind: Kind
    id: int
    points: tuple[tuple[float, float], ...]
    seen: int
    path: tuple[tuple[float, float], ...] = ()
    seconds: float = 0.0
    ease: Ease = "smooth"
    mode: Mode = "once"
    snap: bool = False


@dataclass(frozen=True)
class Motion:
    """Poses of a drag in the frames ``start, start + 1, ...`` of a chunk; the last one stays until the chunk's end."""

    id: int
    start: int
    poses: tuple[Pose, ...]


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
    lattice: Lattice = field(init=False)
    swarmed: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Where the points of a camera with depth were in the newest frame."""

    def __post_init__(self) -> None:
        self.lattice = Lattice(self.geometry)

    def reset(self) -> None:
        self.active, self.lattice, self.swarmed = {}, Lattice(self.geometry), {}

    def snapshot(self) -> tuple[object, ...]:
        return dict(self.active), self.lattice.copy(), self.swarmed

    def restore(self, state: tuple[object, ...]) -> None:
        active, lattice, self.swarmed = state  # type: ignore[assignment]
        self.active, self.lattice = dict(active), lattice.copy()  # type: ignore[call-overload,attr-defined]

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
        owners = {begin.id: self._owners(begin) for begin in chunk.begins}
        touched = {key: {one for one in found if one is not None} for key, found in owners.items()}
        under = set().union(*touched.values())
        motions = {motion.id: motion for motion in chunk.motions}
        out_of_the_way = {k for k, gesture in self.active.items() if gesture.leaving and k in under}
        out_of_the_way |= self._taken_over(chunk.begins, owners, motions.keys() | dict(chunk.ends).keys())
        stopped += tuple(key for key in self.active if key in out_of_the_way and key not in stopped)
        for key in stopped:
            del self.active[key]
        if chunk.camera is not None:
            self.lattice.point(chunk.camera)
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
                snap = gesture.begin.snap
                for n, (x, y) in enumerate(gesture.placed(gesture.pose).tolist()):
                    begun = tuple(gesture.points[n].tolist())
                    points.append(Point(point_key(key, n), x, y, begun_at=begun, group=key, snap=snap))
                    seen.append(Mark(x, y, gesture.begin.kind))
            filmed = {name: (x, y) for one in chunk.swarms if one.kind == "camera" for name, x, y in one.at(t)}
            drift[t], self.swarmed = Flow.between(self.swarmed, filmed), filmed
            if not (first and t == 0):
                for swarm in chunk.swarms:
                    clear, base = self._clear(swarm.at(t), self._holding(points)), _SWARM_IDS[swarm.kind]
                    others = [Point(base + name, x, y, group=WHOLE_PICTURE) for name, x, y in clear]
                    others = others[: MAX_POINTS - len(points)]
                    points += others
                    seen += [Mark(point.x, point.y, swarm.kind) for point in others]
                if not self.lattice.speed.still:
                    drift[t] = step = self.lattice.step()
                    film = self.lattice.points(np.array([[p.x, p.y] for p in self._holding(points)]).reshape(-1, 2), step)
                    film = film[: MAX_POINTS - len(points)]
                    points += film
                    seen += [Mark(point.x, point.y, "camera") for point in film]
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

    def _owners(self, begin: Begin) -> list[int | None]:
        """For each point of a new gesture the other one that holds what it begins on."""
        found = self.buffer.owners(self.active[begin.id].points)
        gestures = (None if owner is None else owner // 1024 for owner in found)
        return [key if key in self.active and key != begin.id else None for key in gestures]

    def _taken_over(self, begins: tuple[Begin, ...], owners: dict[int, list[int | None]], busy: Set[int]) -> set[int]:
        """Gestures that give way to a pin or path which begins on what they hold, and would hold nothing of it otherwise.

        Those are drags whose hand rests or is away (a second finger on one thing is a drag itself, and shares it), and
        whatever holds all that the new one begins on: what only reaches into it, as a pin beside, keeps what it has.
        """
        found: set[int] = set()
        for begin in begins:
            if begin.kind == "drag":
                continue
            under = {key for key in owners[begin.id] if key is not None} - busy - {other.id for other in begins}
            whole = None not in owners[begin.id]
            found |= {key for key in under if whole or self.active[key].begin.kind == "drag"}
        return found

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

    def _holding(self, points: list[Point]) -> list[Point]:
        """Without those that lie beside the thing of their brush; in the first frames of one that is not known yet."""
        grips = self.buffer.grips
        return [point for point in points if not point.snap or point.id not in grips or len(grips[point.id].slots)]

    def _clear(self, swarm: list[tuple[int, float, float]], points: list[Point]) -> list[tuple[int, float, float]]:
        """Those of a swarm that are not beside a point that is held already: the hand wins."""
        if not swarm or not points:
            return swarm
        held = np.array([[point.x, point.y] for point in points])
        gaps = np.hypot(*(np.array([row[1:] for row in swarm])[:, None] - held[None]).transpose(2, 0, 1)).min(1)
        return [row for row, gap in zip(swarm, gaps, strict=True) if gap > CAMERA_CLEARANCE_CELLS * self.geometry.reach_px]
