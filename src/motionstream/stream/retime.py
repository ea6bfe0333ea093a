"""A take's input in chunks of another length: models differ in how many frames they make at once.

Everything keeps its frame where it can. What only a chunk's start can bring (a gesture's begin, a camera, a prompt) comes
with the chunk that holds its frame, so in longer chunks up to one chunk early.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, Motion
from motionstream.stream.poses import Pose
from motionstream.stream.swarm import Swarm, SwarmKind

ChunkFrames = tuple[int, int]
"""Pixel frames of the first chunk, and of every later one."""


def chunk_span(chunk: int, frames: ChunkFrames) -> tuple[int, int]:
    """First frame of a chunk, and the first after it.

    >>> chunk_span(0, (9, 12)), chunk_span(2, (9, 12))
    ((0, 9), (21, 33))
    """
    first, later = frames
    return (0, first) if chunk == 0 else (first + (chunk - 1) * later, first + chunk * later)


def chunk_at(frame: int, frames: ChunkFrames) -> int:
    """The chunk that holds a frame.

    >>> [chunk_at(frame, (9, 12)) for frame in (0, 8, 9, 20, 21)]
    [0, 0, 1, 1, 2]
    """
    first, later = frames
    return 0 if frame < first else 1 + (frame - first) // later


@dataclass
class _Chunk:
    """Input of one new chunk while it is gathered; keys of the inner tables are frames of the chunk."""

    begins: list[Begin] = field(default_factory=list)
    poses: dict[int, dict[int, Pose]] = field(default_factory=lambda: defaultdict(dict))
    ends: list[tuple[int, int]] = field(default_factory=list)
    camera: CameraSpeed | None = None
    prompt: str | None = None
    swarms: dict[SwarmKind, list[tuple[int, Swarm]]] = field(default_factory=lambda: defaultdict(list))

    def done(self, num_frames: int) -> ChunkInput:
        motions = tuple(_motion(key, poses) for key, poses in self.poses.items())
        swarms = tuple(Swarm.joined(kind, parts, num_frames) for kind, parts in self.swarms.items())
        return ChunkInput(tuple(self.begins), motions, tuple(self.ends), self.camera, self.prompt, swarms)


def in_chunks(inputs: list[ChunkInput], before: ChunkFrames, after: ChunkFrames) -> list[ChunkInput]:
    """``inputs`` of chunks of ``before`` frames -> the same input for chunks of ``after`` frames, at least as long."""
    if not inputs or before == after:
        return list(inputs)
    count = 1 + chunk_at(chunk_span(len(inputs) - 1, before)[1] - 1, after)
    made = [_Chunk() for _ in range(count)]
    for chunk, given in enumerate(inputs):
        start, stop = chunk_span(chunk, before)
        first = made[chunk_at(start, after)]
        if given.begins:
            # They come with the chunk's first frame, and so must the end of what the hand let go of before.
            here = {begin.id for begin in first.begins}
            first.ends = [(key, frame if key in here else 0) for key, frame in first.ends]
        first.begins += given.begins
        first.camera = given.camera or first.camera
        first.prompt = first.prompt if given.prompt is None else given.prompt
        for motion in given.motions:
            for frame, pose in enumerate(motion.poses, start + motion.start):
                if frame < stop:  # a pose after the chunk's end was never reached
                    place = chunk_at(frame, after)
                    made[place].poses[motion.id][frame - chunk_span(place, after)[0]] = pose
        for key, frame in given.ends:
            # An end at frame f is the last thing that frame f - 1 sees: it stays with it, before whatever begins next.
            place = chunk_at(start + max(0, min(frame, stop - start) - 1), after)
            made[place].ends.append((key, start + frame - chunk_span(place, after)[0]))
        for swarm in given.swarms:
            for place in range(chunk_at(start, after), chunk_at(stop - 1, after) + 1):
                begin, end = chunk_span(place, after)
                part = swarm.part(max(begin, start) - start, min(end, stop) - start)
                if part is not None:
                    made[place].swarms[swarm.kind].append((max(begin, start) - begin, part))
    return [one.done(after[1] if place else after[0]) for place, one in enumerate(made)]


def _motion(key: int, poses: dict[int, Pose]) -> Motion:
    """Poses by frame, where a frame without one has that of the frame before."""
    start, stop = min(poses), max(poses) + 1
    row, last = [], poses[start]
    for frame in range(start, stop):
        last = poses.get(frame, last)
        row.append(last)
    return Motion(key, start, tuple(row))
