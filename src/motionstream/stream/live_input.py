"""Live input of a hand, from any thread, gathered per chunk: latest wins, and nothing is lost between two chunks.

Moves that arrive while a chunk is shown are spread over the frames of the next one as they were spread in time, so a
steady hand gives steady motion one chunk later; the last frame is always where the hand was last.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from motionstream.stream.gestures import POINTS_PER_GESTURE, Begin, CameraSpeed, ChunkInput, Kind, Motion
from motionstream.stream.points import MAX_POINTS
from motionstream.stream.poses import AT_REST, Ease, Mode, Pose
from motionstream.stream.swarm import PointSource, Swarm

MAX_ID = 2**20 - 1
MAX_PATH_POINTS = 1000
MAX_SECONDS = 600.0
MAX_PROMPT_CHARS = 1000
MAX_MOVES = 1024
"""Moves kept between two chunks; beyond that every second one is dropped, so that a paused stream stays small."""
CAMERA_POINTS = 192
"""Kept free for the camera (gestures.py)."""
STRETCH = 1.5
"""An interval longer than this many chunks (a pause) is squeezed into the next chunk instead of cut."""


@dataclass
class _Hand:
    """What a drag did since the last chunk: (arrival time, t, pose), and when it was let go."""

    pose: Pose = AT_REST
    moves: list[tuple[float, int, Pose]] = field(default_factory=list)
    released: tuple[float, int] | None = None


class LiveInput:
    """Thread-safe. Every method raises ``ValueError`` with a sentence for the user and then changes nothing.

    Args:
        width, height: the canvas; fps: frames per second of the video.

    Attributes:
        refused: why nothing is taken now, None when it is. sources: what else moves points, in order of precedence.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.width, self.height, self.fps = width, height, fps
        self.refused: str | None = None
        self.sources: tuple[PointSource, ...] = ()
        self._lock = threading.Lock()
        self.clear({}, set(), set(), time.monotonic())

    def clear(
        self,
        held: dict[int, tuple[int, Pose]],
        drags: set[int],
        used: set[int],
        now: float,
        leaving: dict[int, int] | None = None,
    ) -> None:
        """Forget what is pending and go on with what is under way.

        Args:
            held: gestures under way, id -> (number of points, pose); ``drags``: which of them a hand moves.
            used: ids that this take has seen. now: ``time.monotonic()``.
            leaving: drags that were let go and are still on their way, id -> number of points.
        """
        with self._lock:
            self._leaving = dict(leaving or {})
            self._counts = {key: count for key, (count, _) in held.items()}
            self._hands = {key: _Hand(pose) for key, (_, pose) in held.items() if key in drags}
            self._used = set(used) | set(held)
            self._begins: list[tuple[float, int, Begin]] = []
            self._removed: list[tuple[float, int, int]] = []
            self._camera: CameraSpeed | None = None
            self._prompt: str | None = None
            self._stamps: list[int] = []
            self._since = now

    # ------------------------------------------------------------------ what a hand does

    def grab(self, id: int, points: Sequence[tuple[float, float]], seen: int, t: int, snap: bool = False) -> None:
        """Take hold of what was under ``points`` (model pixels) in frame ``seen``; with ``snap`` only of the thing there."""
        self._begin("drag", id, points, seen, t, snap=snap)

    def pin(self, id: int, points: Sequence[tuple[float, float]], seen: int, t: int) -> None:
        """Hold what was under ``points`` in frame ``seen`` still, until :meth:`remove`."""
        self._begin("pin", id, points, seen, t)

    def path(
        self,
        id: int,
        points: Sequence[tuple[float, float]],
        path: Sequence[tuple[float, float]],
        seconds: float,
        ease: Ease,
        mode: Mode,
        seen: int,
        t: int,
        snap: bool = False,
    ) -> None:
        """Move what was under ``points`` along the polyline ``path`` in ``seconds``; ``snap`` as in :meth:`grab`."""
        if not 2 <= len(path) <= MAX_PATH_POINTS:
            raise ValueError(f"a path of {len(path)} points: give 2 to {MAX_PATH_POINTS}")
        if not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"seconds={seconds} must lie above 0 and be at most {MAX_SECONDS:.0f}")
        if ease not in ("linear", "smooth") or mode not in ("once", "loop", "swing"):
            raise ValueError(f'ease={ease!r}, mode={mode!r}: use "linear" or "smooth", and "once", "loop" or "swing"')
        self._begin("path", id, points, seen, t, _checked(path, self.width, self.height), seconds, ease, mode, snap)

    def move(self, id: int, pose: tuple[float, float, float, float], t: int) -> None:
        """Where the hand of drag ``id`` is now, relative to the grab."""
        dx, dy, angle, scale = (float(value) for value in pose)
        reach = 4 * max(self.width, self.height)
        if not (all(map(math.isfinite, pose)) and max(abs(dx), abs(dy)) <= reach and abs(angle) < 1e3):
            raise ValueError(f"pose {tuple(pose)}: numbers must be finite, and moves at most {reach} pixels")
        if not 0.05 <= scale <= 20:
            raise ValueError(f"scale {scale} must lie between 0.05 and 20")
        with self._lock:
            self._check_open()
            hand = self._hands.get(id)
            if hand is None or hand.released:
                raise ValueError(f"there is no drag {id} to move: grab first")
            hand.moves.append((time.monotonic(), t, (dx, dy, angle, scale)))
            if len(hand.moves) > MAX_MOVES:
                hand.moves = hand.moves[::2]  # an odd number: the newest stays

    def release(self, id: int, t: int) -> None:
        """Let go of drag ``id``: the thing stays where it is."""
        with self._lock:
            self._check_open()
            hand = self._hands.get(id)
            if hand is None:
                raise ValueError(f"there is no drag {id} to release")
            hand.released = (time.monotonic(), t)
            self._leave(id)

    def remove(self, id: int, t: int = 0) -> None:
        """End gesture ``id`` of any kind; one that has ended already is no mistake."""
        with self._lock:
            self._check_open()
            if id in self._hands:
                self._hands[id].released = self._hands[id].released or (time.monotonic(), t)
                self._leave(id)
            elif id in self._counts:
                self._removed.append((time.monotonic(), t, id))
                del self._counts[id]
            elif id not in self._used:
                raise ValueError(f"there is no gesture {id} to remove")

    def camera(self, pan: tuple[float, float], zoom: float, roll: float, t: int) -> None:
        """Move the whole picture: pixels, doublings and radians per second; all zero stops it."""
        self.check_camera(pan, zoom, roll)
        with self._lock:
            self._check_open()
            self._camera = CameraSpeed((float(pan[0]), float(pan[1])), float(zoom), float(roll))
            self._stamps.append(t)

    def check_camera(self, pan: tuple[float, float], zoom: float, roll: float) -> None:
        """Raise for speeds that are too high."""
        limits = (4 * self.width, 4 * self.height, 4.0, 2 * math.pi)
        for name, value, limit in zip(("pan x", "pan y", "zoom", "roll"), (*pan, zoom, roll), limits, strict=True):
            if not (math.isfinite(value) and abs(value) <= limit):
                raise ValueError(f"{name}={value} per second must lie within {limit:g} either way")

    def check_open(self) -> None:
        """Raise while recorded input plays."""
        with self._lock:
            self._check_open()

    def prompt(self, text: str) -> None:
        """Use another prompt from the next chunk on."""
        if len(text) > MAX_PROMPT_CHARS:
            raise ValueError(f"a prompt of {len(text)} characters: use at most {MAX_PROMPT_CHARS}")
        with self._lock:
            self._check_open()
            self._prompt = text

    # ------------------------------------------------------------------ what the chunk loop takes

    def forget(self, ids: Sequence[int]) -> None:
        """These gestures have ended: a path at its end, a drag that has arrived where it was let go."""
        with self._lock:
            for key in ids:
                self._counts.pop(key, None)
                self._leaving.pop(key, None)
                self._hands.pop(key, None)

    def gather(self, chunk: int, num_frames: int) -> tuple[tuple[Swarm, ...], tuple[int, ...]]:
        """What the sources say about chunk ``chunk``, and per frame the newest ``t`` of theirs that it shows."""
        said = [source.points(chunk, num_frames) for source in self.sources]
        echo = tuple(max((times[f] for _, times in said), default=0) for f in range(num_frames))
        return tuple(swarm for swarm, _ in said if swarm is not None), echo

    def collect(self, num_frames: int, now: float) -> tuple[ChunkInput, tuple[int, ...]]:
        """Everything since the last call, on the ``num_frames`` frames of the next chunk.

        Returns:
            The input, and per frame the ``t`` of the newest event that it shows (0 = none).
        """
        with self._lock:
            begins, removed = self._begins, self._removed
            hands, stamps = self._hands, self._stamps
            camera, prompt, since = self._camera, self._prompt, self._since
            phase = self._clock(since, now, num_frames)
            self._begins, self._removed, self._stamps = [], [], []
            self._camera = self._prompt = None
            self._since = now
            motions: list[Motion] = []
            ends: list[tuple[int, int]] = [(key, 0) for _, _, key in removed]
            events: list[tuple[float, int]] = [(0.0, t) for t in stamps]
            events += [(0.0, t) for _, t, _ in begins] + [(0.0, t) for _, t, _ in removed]
            for key, hand in list(hands.items()):
                knots = [(phase(when), pose) for when, _, pose in hand.moves]
                last = phase(hand.released[0]) if hand.released else 1.0
                if knots:
                    poses = tuple(_pose_at(hand.pose, knots, (f + 1) / num_frames, last) for f in range(num_frames))
                    motions.append(Motion(key, 0, poses))
                    hand.pose = hand.moves[-1][2]
                events += [(phase(when), t) for when, t, _ in hand.moves]
                hand.moves = []
                if hand.released:
                    # Held until the frame in which the hand has arrived, at least one, so that a flick counts.
                    ends.append((key, max(1, math.ceil(last * num_frames))))
                    events.append((last, hand.released[1]))
                    del hands[key]
        made = ChunkInput(tuple(b for _, _, b in begins), tuple(motions), tuple(ends), camera, prompt)
        echo = [0] * num_frames
        for f in range(num_frames):
            reached = (f + 1) / num_frames + 1e-9
            echo[f] = max((t for when, t in events if when <= reached), default=0)
        return made, tuple(echo)

    def _clock(self, since: float, now: float, num_frames: int):  # type: ignore[no-untyped-def]
        """Arrival time -> phase in [0, 1] of the next chunk."""
        times = [when for hand in self._hands.values() for when, _, _ in hand.moves]
        times += [hand.released[0] for hand in self._hands.values() if hand.released]
        start, stop = since, now
        if times and now - since > STRETCH * num_frames / self.fps:
            start, stop = min(times), max(times)
        span = stop - start
        return lambda when: 1.0 if span <= 0 else min(max((when - start) / span, 0.0), 1.0)

    def _begin(
        self,
        kind: Kind,
        id: int,
        points: Sequence[tuple[float, float]],
        seen: int,
        t: int,
        path: tuple[tuple[float, float], ...] = (),
        seconds: float = 0.0,
        ease: Ease = "smooth",
        mode: Mode = "once",
        snap: bool = False,
    ) -> None:
        if not 1 <= id <= MAX_ID:
            raise ValueError(f"gesture id {id} must lie in [1, {MAX_ID}]")
        if not 1 <= len(points) <= POINTS_PER_GESTURE:
            raise ValueError(f"a gesture of {len(points)} points: give 1 to {POINTS_PER_GESTURE}")
        if seen < 0:
            raise ValueError(f"seen={seen} must be a frame number, 0 or more")
        begin = Begin(kind, id, _checked(points, self.width, self.height), seen, path, float(seconds), ease, mode, snap)
        with self._lock:
            self._check_open()
            if id in self._used:
                raise ValueError(f"gesture id {id} was used before in this take: count on")
            # What was let go holds its points until it has arrived, or until a hand takes something else.
            begun = {begin.id for _, _, begin in self._begins}
            leaving = sum(count for key, count in self._leaving.items() if kind != "drag" or key in begun)
            total = sum(self._counts.values()) + leaving + len(points) + CAMERA_POINTS
            if total > MAX_POINTS:
                raise ValueError(
                    f"{total - CAMERA_POINTS} points at once: at most {MAX_POINTS - CAMERA_POINTS}; let some go"
                )
            self._used.add(id)
            self._counts[id] = len(points)
            if kind == "drag":
                self._hands[id] = _Hand()
            self._begins.append((time.monotonic(), t, begin))

    def _leave(self, id: int) -> None:
        if id in self._counts:
            self._leaving[id] = self._counts.pop(id)

    def _check_open(self) -> None:
        if self.refused:
            raise ValueError(self.refused)


def _checked(points: Sequence[tuple[float, float]], width: int, height: int) -> tuple[tuple[float, float], ...]:
    """Finite coordinates within two canvases of the canvas."""
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y) and abs(x) <= 3 * width and abs(y) <= 3 * height):
            raise ValueError(f"point ({x}, {y}) must be finite and near the {width}x{height} canvas")
    return tuple((float(x), float(y)) for x, y in points)


def _pose_at(before: Pose, knots: list[tuple[float, Pose]], phase: float, last: float) -> Pose:
    """Linear between the knots; from ``last`` on (the hand has let go or the chunk ends) the newest pose."""
    if phase >= last - 1e-9 or phase >= knots[-1][0]:
        return knots[-1][1]
    when, pose = 0.0, before
    for later, target in knots:
        if phase < later:
            share = (phase - when) / max(later - when, 1e-9)
            dx, dy, angle, scale = (a + share * (b - a) for a, b in zip(pose, target, strict=True))
            return dx, dy, angle, scale
        when, pose = later, target
    return pose
