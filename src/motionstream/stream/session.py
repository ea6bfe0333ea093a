"""One stream: a picture, a prompt and moving points become chunks of video, for ever, at constant cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from motionstream.causal.rollout import SeededNoise
from motionstream.device import apart_from_host
from motionstream.flow.schedule import few_step_sigmas
from motionstream.models.dit import Condition
from motionstream.models.memory_rehearsal import CLIP_ROWS
from motionstream.models.motion import track_latents
from motionstream.models.picture import encode_picture
from motionstream.models.recall import tell_picture
from motionstream.models.text import check_prompt, prompt_rows
from motionstream.models.vae import DecoderState
from motionstream.nn.kv_cache import CacheState
from motionstream.stream.alone import alone
from motionstream.stream.chunk import Chunk, ChunkStats, Mark, PendingChunk
from motionstream.stream.drift import Drift
from motionstream.stream.exhaustion import advice, guarded, release
from motionstream.stream.lane import Lane
from motionstream.stream.outline import can_outline
from motionstream.stream.points import MAX_POINTS, Point, ReadyPoints, check_tracks, checked_points
from motionstream.stream.pushes import merge_pairs, resample_pushes, taken_hold
from motionstream.stream.random_parts import stamp
from motionstream.stream.track_buffer import TrackBuffer
from motionstream.tracks.given import check_whole
from motionstream.tracks.strokes import Stroke
from motionstream.tracks.tracks import Tracks

if TYPE_CHECKING:
    from motionstream.stream.engine import StreamEngine

Made = TypeVar("Made")

__all__ = ["Chunk", "ChunkStats", "SessionState", "StreamSession"]

MAX_PUSHES = 512
"""Cursor events kept for the next chunk; beyond that neighbours are merged, so that a paused stream stays small."""


@dataclass(frozen=True)
class SessionState:
    """A session between two chunks (:meth:`StreamSession.snapshot`); tensors in it are never written to."""

    cache: CacheState
    buffer: tuple[object, ...]
    decoder: DecoderState | None
    text: list[tuple[Tensor, Tensor]]
    prompt_rows: Tensor
    held: dict[int, Point]
    pushes: tuple[tuple[float, list[Point]], ...]

    def nbytes(self, known: SessionState | None = None) -> int:
        """Bytes of its own, without the pages that it shares with ``known``."""
        pages = [page for key, page in self.cache.pages.items() if not known or page is not known.cache.pages.get(key)]
        tensors = [*(t for page in pages for t in page), *(self.decoder or ())]
        return sum(t.numel() * t.element_size() for t in tensors)


class StreamSession:
    """Made by :meth:`StreamEngine.start`; a context manager. Any thread may :meth:`push` at any time; what else changes the
    session waits for what another thread does with it, :meth:`close` for the chunk that is being made.

    Without a prompt (None) it is a stream of nothing, for a warm-up: text and picture encoder, which may take gigabytes, are
    not asked.
    """

    _pending: tuple[Tensor, Condition] | None
    _decoder: DecoderState | None
    _text: list[tuple[Tensor, Tensor]]
    _prompt_rows: Tensor
    latents: Tensor | None
    """Of the newest chunk, ``(1, chunk_frames, C, h, w)``."""

    def __init__(
        self, engine: StreamEngine, first_frame: np.ndarray | None, prompt: str | None, seed: int, steps: int | None
    ) -> None:
        self.engine, self.seed, self._closed, self.turn = engine, seed, False, threading.RLock()
        engine.compute.make_current()
        preset, device = engine.preset, engine.compute.device
        geometry = preset.geometry
        self.sigmas = few_step_sigmas(preset.sample.student_sigmas, steps)
        self._see(first_frame, blank=prompt is None)
        nothing = torch.zeros(1, preset.model.text_len, preset.model.text_dim, dtype=torch.float32)
        self._tell(nothing if prompt is None else engine.text([prompt]))
        self._first_prompt = self._text, self._prompt_rows
        shape = (1, preset.cache.chunk_frames, preset.model.latent_channels, geometry.latent_height, geometry.latent_width)
        self.noise = SeededNoise(seed, shape, device)
        self._lane: Lane = engine.lend_lane()
        self.cache = self._lane.cache
        picture, hold, late = first_frame if can_outline() else None, preset.sample.hold_moved, preset.sample.late_codes
        self.buffer = TrackBuffer(geometry, preset.model.tracks, seed, hold_moved=hold, late_codes=late, picture=picture)
        self._lock = threading.Lock()
        self.reset()

    def _see(self, first_frame: np.ndarray | None, *, blank: bool) -> None:
        """What the model is given of the picture, once a stream: latents and, for Wan 2.1, rows of the picture encoder."""
        self.first_latent: Tensor | None = None
        self.picture_latents: Tensor | None = None
        self.picture: Tensor | None = None  # for the engine's recall
        self._image: list[tuple[Tensor, Tensor]] | None = None
        if first_frame is None:
            return
        engine, model, device = self.engine, self.engine.preset.model, self.engine.compute.device
        # A copy: torch warns of arrays that may not be written to, as those of a Pillow image are.
        picture = torch.from_numpy(np.array(first_frame, order="C")).to(device).permute(2, 0, 1)[None].float() / 255
        self.picture = picture if engine.recall else None
        with torch.inference_mode(), engine.compute.autocast():
            self.first_latent, self.picture_latents = encode_picture(
                model, engine.vae.encode, picture, engine.preset.geometry.t_stride, engine.picture_latents
            )
            if engine.picture_rows is not None:
                rows = picture.new_zeros(1, CLIP_ROWS, model.image_dim) if blank else engine.picture_rows(picture)
                self._image = engine.model.embed_image(rows.to(device))

    def __enter__(self) -> StreamSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @alone
    def close(self) -> None:
        """Give the cache back to the engine; the session cannot step any more."""
        if not self._closed:
            self.engine.take_back(self._lane)
        self._closed, self._pending, self.latents = True, None, None
        self._decoder = None
        self.cache = self._lane = None  # type: ignore[assignment]

    @property
    def open(self) -> bool:
        """Whether it can step: not after :meth:`close`, nor after it ran out of memory."""
        return not self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this session is closed: start a new one with engine.start(...)")

    def _check_movable(self, points: bool) -> None:
        if points and not self.engine.takes_tracks:
            name = self.engine.preset.name
            raise ValueError(f"{name} has no track channels, so points cannot be moved: use a preset with tracks")

    @alone
    def reset(self) -> None:
        """Back to the picture: the next chunk is chunk 0 again, as in a fresh session with the same seed and prompt."""
        self._check_open()
        self._lane.reset()
        self.buffer.reset()
        self._text, self._prompt_rows = self._first_prompt
        self._decoder = None
        self._pending = self.latents = None
        self._commit_span: tuple[Mark, Mark] | None = None
        with self._lock:
            self._held: dict[int, Point] = {}
            self._pushes: list[tuple[float, list[Point]]] = []

    @property
    def index(self) -> int:
        """Index of the next chunk."""
        self._check_open()
        return self.cache.chunk + (self._pending is not None)

    @apart_from_host
    def set_prompt(self, prompt: str) -> None:
        """Use ``prompt`` from the next chunk on. Cached chunks keep the prompt they were made with."""
        self._check_open()
        self._tell(self.engine.text([check_prompt(prompt)]))  # which may take seconds: chunks are made meanwhile

    @alone
    def _tell(self, text: Tensor) -> None:
        device = self.engine.compute.device
        with torch.inference_mode(), self.engine.compute.autocast():
            self._text = self.engine.model.embed_text(text.to(device))
        self._prompt_rows = torch.tensor([prompt_rows(text)], dtype=torch.int32, device=device)

    def push(self, points: Iterable[Point]) -> None:
        """Where held points are now, in model pixels; takes effect at the next chunk, the latest position wins.

        Raises:
            ValueError: a coordinate that is not finite, or absurd, an id that is no whole number, too many points at once,
                a model without tracks, or a closed session.
        """
        self._check_open()
        points = checked_points(points)
        self._check_movable(bool(points))
        with self._lock:
            newest = {point.id: point.visible for _, pushed in (*self._pushes, (0.0, points)) for point in pushed}
            num_points = len((self._held.keys() - newest.keys()) | {key for key, visible in newest.items() if visible})
            if num_points > MAX_POINTS:
                raise ValueError(f"{num_points} points at once: use at most {MAX_POINTS}, or let some go (visible=False)")
            self._pushes.append((time.monotonic(), points))
            if len(self._pushes) > MAX_PUSHES:
                self._pushes = merge_pairs(self._pushes)

    def frames_in_chunk(self, index: int) -> int:
        """Pixel frames of chunk ``index`` (the first is shorter: a latent frame 0 covers one frame)."""
        size = self.engine.preset.cache.chunk_frames
        start, stop = self.engine.preset.geometry.frame_span(index * size, (index + 1) * size)
        return stop - start

    def step(self) -> Chunk:
        """Make the next chunk from what was pushed until now; a clean pass that is due comes before the pushes are read."""
        return self.launch().result()

    @alone
    def launch(self) -> PendingChunk:
        """:meth:`step` without waiting for the frames: on a GPU the next chunk can be launched while they are decoded."""
        self._check_open()
        self._guarded(self._commit)
        with self._lock:
            pushes, self._pushes, held = self._pushes, [], self._held
            if self.index == 0 and self.frames_in_chunk(0) == 1:
                pushes, self._pushes = taken_hold(pushes)
        frames, self._held = resample_pushes(held, pushes, self.frames_in_chunk(self.index))
        try:
            return self._launch(frames)
        except BaseException:
            with self._lock:  # what was pushed is for the next try
                self._held, self._pushes = held, [*pushes, *self._pushes]
            raise

    @alone
    def step_frames(self, frames: list[list[Point]], drift: Drift | None = None) -> Chunk:
        """Make the next chunk from exact points per frame: ``frames[t]`` lists what is held in its pixel frame t.

        ``drift[t]`` says how the whole picture moves to that frame, for grabs that come later (None = not at all).

        Raises:
            ValueError: another number of frames than :meth:`frames_in_chunk` says, a coordinate that is not finite, points
                that lie in no list of a frame, or a model without tracks.
        """
        if flat := [held for held in frames if isinstance(held, Point)]:
            raise ValueError(f"frames must be lists of points, one list for each frame, got {flat[0]!r:.60} as a frame")
        self._check_movable(any(frames))
        wanted = self.frames_in_chunk(self.index)
        if len(frames) != wanted:
            raise ValueError(f"chunk {self.index} has {wanted} frames, points for {len(frames)} were given")
        return self._launch(frames, drift=drift).result()

    def stream(
        self, tracks: Tracks, num_frames: int | None = None, *, strokes: Sequence[Stroke] | None = None
    ) -> Iterator[Chunk]:
        """Chunks for ready-made ``tracks`` (B = 1, model canvas, model fps) until ``num_frames`` are covered.

        Frames past the tracks' end are made without any point. The last chunk may hold more frames than asked. An id names
        one point for the whole session, so tracks may be given piece by piece; those of another file need other ids.
        With the ``strokes`` that the tracks were made from (all, from their beginning) each is a gesture as in the studio:
        its brush may snap, and what it lets go stays. Later strokes need other ids (``Tracks.from_strokes(first_id=...)``).

        On a GPU the next chunk is launched before this one is given, so what is changed in between, as the prompt, counts
        one chunk later, and whoever leaves early has made one more than was given.

        Raises:
            ValueError: tracks of another canvas, batch or frame rate, other strokes, or a model without tracks.
        """
        check_tracks(tracks, self.engine.preset.geometry)
        self._check_movable(bool(tracks.visible.any()))
        wanted = tracks.num_frames if num_frames is None else check_whole("num_frames", num_frames)
        points, made = ReadyPoints(tracks, strokes), 0
        launched: PendingChunk | None
        waiting: PendingChunk | None = None
        while made < wanted:
            try:
                with self.turn:  # no other thread makes this chunk meanwhile
                    count = self.frames_in_chunk(self.index)
                    launched = self._launch(points.frames(made, made + count), remember=strokes is None)
            except Exception:
                if waiting is not None:  # made, and whole
                    yield waiting.result()
                raise
            made += count
            if self._lane.overlaps:  # this chunk is denoised while the frames of the one before are decoded and copied
                launched, waiting = waiting, launched
            if launched is not None:
                yield launched.result()
        if waiting is not None:
            yield waiting.result()

    @alone
    def settle(self) -> None:
        """Run the clean pass of the last chunk now, for example while its frames are being shown."""
        self._check_open()
        self._guarded(self._commit)
        if not self._lane.overlaps:  # otherwise it was begun before, and the next chunk says how long it took
            self._commit_span = None

    def _commit(self) -> None:
        if self._pending is None:
            return
        latents, condition = self._pending
        begun = Mark(self.engine.compute.device)
        with torch.inference_mode(), self.engine.compute.autocast():
            self._lane.commit(latents, condition)
        self._pending = None
        self._commit_span = (begun, Mark(self.engine.compute.device))

    @alone
    def snapshot(self, known: SessionState | None = None) -> SessionState:
        """Everything that the next chunk depends on; noise follows from seed and chunk number. Settles first.

        Args:
            known: an earlier snapshot of this session, whose sink is shared.
        """
        self._check_open()
        self.settle()
        return self._guarded(lambda: self._state(known))

    def _state(self, known: SessionState | None) -> SessionState:
        self._lane.join()
        cache = self.cache.snapshot(known.cache if known else None)
        # A memory of the decoder is a view of all the frames it came from: a copy is a twelfth of that.
        # Made as the stream makes its own: compiled code that has met inference tensors alone is compiled anew for others.
        with torch.inference_mode():
            decoder = None if self._decoder is None else [memory.clone() for memory in self._decoder]
        with self._lock:
            waiting = dict(self._held), tuple(self._pushes)
        return SessionState(cache, self.buffer.snapshot(), decoder, self._text, self._prompt_rows, *waiting)

    @alone
    def restore(self, state: SessionState) -> None:
        """Back to ``state``: the same input from here on gives the same frames as it gave then, bit for bit."""
        self._check_open()
        self._lane.restore(state.cache)
        self.buffer.restore(state.buffer)
        self._decoder, self._text, self._prompt_rows, self._pending = state.decoder, state.text, state.prompt_rows, None
        with self._lock:
            self._held, self._pushes = dict(state.held), list(state.pushes)

    def _guarded(self, make: Callable[[], Made]) -> Made:
        """``make()`` on the session's device, whatever thread this is; out of memory ends the session, and says so."""
        self.engine.compute.make_current()
        with self._lane.at_work():
            return guarded(make, self._exhausted)

    def _exhausted(self) -> str:
        engine = self.engine
        said = advice(engine.preset, engine.compute.device, self.index, engine.decoder)
        self.close()
        engine.forget_lanes()
        release(engine.compute.device)
        return said

    @alone
    def _launch(self, frames: list[list[Point]], *, remember: bool = False, drift: Drift | None = None) -> PendingChunk:
        self._check_open()
        return self._guarded(lambda: self._begin(frames, remember, drift))

    def _begin(self, frames: list[list[Point]], remember: bool, drift: Drift | None) -> PendingChunk:
        self._commit()
        before, decoder = self.buffer.snapshot(), self._decoder
        try:
            return self._make(frames, remember, drift)
        except BaseException:  # nothing of a chunk that failed, or was stopped, stays
            if not self._closed:
                self.buffer.restore(before)
                self._lane.drop_chunk()
                self._decoder, self._pending = decoder, None
            raise

    def _make(self, frames: list[list[Point]], remember: bool, drift: Drift | None) -> PendingChunk:
        engine, lane, device = self.engine, self._lane, self.engine.compute.device
        commit, self._commit_span = self._commit_span, None
        index, begun = self.cache.chunk, Mark(device)
        with torch.inference_mode(), engine.compute.autocast():
            points = self.buffer.chunk(frames, first=index == 0, remember=remember, drift=drift)
            xy, visible, ids = map(lane.to_device, points)
            motion = track_latents(engine.model, engine.preset.geometry, xy, visible, ids, first=index == 0)
            known = self._text, self._image, self.picture_latents, self._prompt_rows
            condition = Condition(self.first_latent, motion, *known)
            told = None if self.picture is None else tell_picture(self.picture, xy, visible, ids)
            tracked = Mark(device)
            self.latents = lane.denoise(condition, self.noise, self.sigmas)
            denoised = Mark(device)
            lane.begin_commit(self.latents, condition)
            pixels, self._decoder, (decoding, decoded, copied) = lane.decode(self.latents, self._decoder, told)
        self._pending = (self.latents, condition)
        if lane.overlaps:  # behind the frames' way to the host, and off the way of the next chunk's input
            self._commit()
        spans = (commit, (begun, tracked), (tracked, denoised), (decoding, decoded), (decoded, copied))
        # Stamped when it is there, which is not timed: real weights need no stamp.
        finish = None if engine.stamp_mask is None else partial(stamp, mask=engine.stamp_mask)
        return PendingChunk(pixels, index, spans, copied, finish)
