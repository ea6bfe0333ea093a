"""A stream that is played by hand: live gestures in, chunks out, everything recorded, and any earlier chunk a way back.

with Performance(engine, picture, "a cup", seed=0) as show:
    show.live.grab(1, [(40.0, 50.0)], seen=0, t=0)       # from any thread
    show.live.move(1, (8.0, 0.0, 0.0, 1.0), t=40)
    chunk = show.step()
    show.branch(0)                                       # and now something else
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from motionstream.stream.engine import StreamEngine
from motionstream.stream.gestures import ChunkInput, GestureBoard, Mark
from motionstream.stream.live_input import MAX_PROMPT_CHARS, LiveInput
from motionstream.stream.memory_check import free_bytes
from motionstream.stream.retime import chunk_span
from motionstream.stream.session import ChunkStats, SessionState
from motionstream.stream.take import Take

SNAPSHOT_BYTES = 256 << 20
FEWEST_SNAPSHOTS = 4
"""States that are kept even where they are larger than that (one of Wan's is a gigabyte), if there is memory for them."""
SCRIPTED = "recorded input is playing: wait for its end, or branch"


@dataclass(frozen=True)
class PerformedChunk:
    """One chunk of a performance.

    Attributes:
        frames: ``(T, H, W, 3)`` uint8; frame 0 of them is frame ``first_frame`` of the take.
        echo: per frame the ``t`` of the newest input event that it shows, 0 for none.
        ended: gestures that ended with this chunk. marks: per frame, where held points are.
        took: gestures that began with this chunk -> middles of the latent cells of the picture that each took hold of, in
            pixels, where its hand saw them.
        refused: gestures that did not begin, because too many points are held.
    """

    frames: np.ndarray
    index: int
    first_frame: int
    echo: tuple[int, ...]
    stats: ChunkStats
    ended: tuple[int, ...]
    marks: list[list[Mark]]
    took: dict[int, tuple[tuple[float, float], ...]]
    refused: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Snapshot:
    session: SessionState
    board: tuple[object, ...]
    prompt: str
    nbytes: int


class SnapshotStore:
    """States before chunks, at most ``limit`` bytes of them but at least ``fewest``; when it is full, old ones go.

    Chunk 0 and the newest state stay. Of the others the one goes whose neighbours are closest together in proportion to
    its age, so that recent chunks are dense and old ones sparse.
    """

    def __init__(self, limit: int, fewest: int = FEWEST_SNAPSHOTS) -> None:
        self.limit, self.fewest = limit, fewest
        self.states: dict[int, _Snapshot] = {}

    @property
    def nbytes(self) -> int:
        return sum(state.nbytes for state in self.states.values())

    def add(self, chunk: int, state: _Snapshot) -> None:
        self.states[chunk] = state
        while self.nbytes > self.limit and len(self.states) > self.fewest:
            kept = sorted(self.states)
            age = {k: kept[-1] - k + 1 for k in kept}
            gap = {k: (after - before) / age[k] for before, k, after in zip(kept, kept[1:], kept[2:], strict=False)}
            del self.states[min(gap, key=lambda k: (gap[k], k))]

    def before(self, chunk: int) -> int:
        """The newest chunk at or before ``chunk`` whose state is known."""
        return max(k for k in self.states if k <= chunk)

    def drop_after(self, chunk: int) -> None:
        self.states = {k: state for k, state in self.states.items() if k <= chunk}


class Performance:
    """See the module docstring. One thread calls everything except :attr:`live`, which is thread-safe.

    Args:
        engine: a loaded engine. picture: ``(H, W, 3)`` uint8 of its size. prompt, seed, steps: as for a session.
        snapshot_bytes: memory that the ways back may take; at least four are kept, or two (the start and the newest)
            where the device has no memory for four.

    Raises:
        ValueError: as :meth:`StreamEngine.start`; a prompt longer than a take holds.
    """

    def __init__(
        self,
        engine: StreamEngine,
        picture: np.ndarray,
        prompt: str,
        seed: int,
        *,
        steps: int | None = None,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        geometry = engine.preset.geometry
        if isinstance(prompt, str) and len(prompt) > MAX_PROMPT_CHARS:
            raise ValueError(f"the prompt has {len(prompt)} characters: a take holds at most {MAX_PROMPT_CHARS}")
        self.session = engine.start(picture, prompt, seed=seed, steps=steps)
        self.board = GestureBoard(geometry, self.session.buffer, engine.preset.sample.hand_px)
        self.live = LiveInput(geometry.width, geometry.height, geometry.fps)
        self.take = Take(
            preset=engine.preset.name,
            width=geometry.width,
            height=geometry.height,
            fps=geometry.fps,
            prompt=prompt,
            seed=int(seed),
            steps=None if steps is None else int(steps),
            picture=picture.copy(),
            chunk_frames=engine.preset.frames_of_chunks,
            computed_with=engine.computed_with,
        )
        self.prompt = prompt
        self.snapshots = SnapshotStore(snapshot_bytes, self._fewest())
        self._script: list[ChunkInput] = []
        self._keep_state()

    @classmethod
    def of_take(cls, engine: StreamEngine, take: Take, *, snapshot_bytes: int = SNAPSHOT_BYTES) -> Performance:
        """Play a take's input first, then go on live. Another canvas than the take's: scale it first; other chunks
        than the take's: its input is laid onto this model's.

        Raises:
            ValueError: the take's canvas is not the model's.
        """
        geometry = engine.preset.geometry
        if (take.width, take.height) != (geometry.width, geometry.height):
            raise ValueError(
                f"the take is for {take.width}x{take.height} pixels, this model makes {geometry.width}x{geometry.height}: "
                f"use take.scaled({geometry.width}, {geometry.height})"
            )
        show = cls(engine, take.picture, take.prompt, take.seed, steps=take.steps, snapshot_bytes=snapshot_bytes)
        show._script = take.in_chunks(*show.take.chunk_frames).inputs
        show.live.refused = SCRIPTED if show._script else None
        return show

    def __enter__(self) -> Performance:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the session and the ways back; the take stays."""
        self.session.close()
        self.snapshots.states.clear()

    @property
    def chunk(self) -> int:
        """The next chunk."""
        return self.take.num_chunks

    @property
    def frame(self) -> int:
        """The take's next frame."""
        return self.first_frame(self.chunk)

    @property
    def active(self) -> tuple[int, ...]:
        """Ids of the gestures under way."""
        return tuple(key for key, gesture in self.board.active.items() if not gesture.leaving)

    @property
    def scripted(self) -> bool:
        """Whether recorded input is still playing."""
        return self.chunk < len(self._script)

    @property
    def recorded(self) -> int:
        """Chunks of recorded input that play before live input is taken."""
        return len(self._script)

    def first_frame(self, chunk: int) -> int:
        """Number of the first frame of ``chunk``."""
        return chunk_span(chunk, self.take.chunk_frames)[0]

    def settle(self) -> None:
        """The clean pass of the last chunk and a way back to here; worth doing while frames are being shown."""
        if self.chunk not in self.snapshots.states:
            self._keep_state()

    def step(self) -> PerformedChunk:
        """Make the next chunk from recorded input, or else from what was pushed to :attr:`live`."""
        self.settle()
        index, num_frames = self.chunk, self.session.frames_in_chunk(self.chunk)
        if self.scripted:
            made, echo = self._script[index], (0,) * num_frames
        else:
            swarms, others = self.live.gather(index, num_frames)  # first: a source may fail, and nothing is collected then
            made, echo = self.live.collect(num_frames, time.monotonic())
            made, echo = replace(made, swarms=swarms), tuple(map(max, echo, others))
        try:
            chunk = self._play(made, index)
        except BaseException:
            if self.session.open:  # as if the chunk had not been begun: what goes on is what the take says
                self._go_back(self.snapshots.states[index])
                if not self.scripted:
                    self._hand_over()
            raise
        self.take.inputs.append(made)
        self.live.forget((*chunk.ended, *chunk.refused))
        if not self.scripted and self.live.refused:
            self._hand_over()
        return replace(chunk, echo=echo)

    def branch(self, chunk: int) -> None:
        """Go back: the next chunk made is ``chunk``, and input recorded from there on is forgotten.

        The state is taken from the nearest way back, and chunks between it and ``chunk`` are made again from the record.
        What was under way before ``chunk`` goes on, held where it was.

        Where that fails, the session is closed, and the take has all that was recorded: :meth:`of_take` plays it again.

        Raises:
            ValueError: a chunk that was not made yet, or memory ran out on the way.
        """
        if not 0 <= chunk <= self.chunk:
            raise ValueError(f"chunk {chunk} cannot be branched from: {self.chunk} chunks were made")
        start = self.snapshots.before(chunk)
        self._go_back(self.snapshots.states[start])
        self.snapshots.drop_after(chunk)
        recorded, self.take.inputs = self.take.inputs, self.take.inputs[:start]
        self._script = []
        try:
            for index in range(start, chunk):
                self._play(recorded[index], index)
                self.take.inputs.append(recorded[index])
        except BaseException:  # the take is over, and whole: played again it is what was seen
            self.take.inputs = recorded
            self.session.close()
            raise
        self.settle()
        self._hand_over()

    # ------------------------------------------------------------------ inside

    def _fewest(self) -> int:
        """How many ways back there is memory for: the state before the first chunk is small, and a new one is made before
        an old one goes, with the sink, which all share."""
        free = free_bytes(self.session.engine.compute.device)
        needed = (FEWEST_SNAPSHOTS + 1) * self.session.cache.page_bytes
        return FEWEST_SNAPSHOTS if free is None or free >= needed else 2

    def _play(self, made: ChunkInput, index: int) -> PerformedChunk:
        held, marks, ended, refused, drift = self.board.frames(made, self.session.frames_in_chunk(index))
        if made.prompt is not None and made.prompt != self.prompt:
            self.session.set_prompt(made.prompt)
            self.prompt = made.prompt
        chunk = self.session.step_frames(held, drift)
        took = {begin.id: cells for begin in made.begins if (cells := self.board.took(begin))}
        return PerformedChunk(chunk.frames, index, self.first_frame(index), (), chunk.stats, ended, marks, took, refused)

    def _go_back(self, state: _Snapshot) -> None:
        self.session.restore(state.session)
        self.board.restore(state.board)
        self.prompt = state.prompt

    def _keep_state(self) -> None:
        known = self.snapshots.states[max(self.snapshots.states)].session if self.snapshots.states else None
        session = self.session.snapshot(known)
        state = _Snapshot(session, self.board.snapshot(), self.prompt, session.nbytes(known))
        self.snapshots.add(self.chunk, state)

    def _hand_over(self) -> None:
        """Let live input go on with whatever is under way."""
        active = {key: gesture for key, gesture in self.board.active.items() if not gesture.leaving}
        held = {key: (len(gesture.points), gesture.target) for key, gesture in active.items()}
        drags = {key for key, gesture in active.items() if gesture.begin.kind == "drag"}
        used = self.take.gesture_ids()
        leaving = {key: len(gesture.points) for key, gesture in self.board.active.items() if gesture.leaving}
        self.live.clear(held, drags, used, time.monotonic(), leaving)
        self.live.refused = None
