"""Keys and values of past chunks: a static ring for streaming, a kept history for training (paper section 3.3).

Both give every layer of the DiT the same thing: the keys and values of sink, window and current chunk, rotated by
*cache slot*. Chunk ``i`` sees ``visible_chunks(i)``; the n-th of them takes slots ``n * chunk_frames ...``. Keys are
stored before rotation and rotated once a chunk, except the sink's, whose slots never change.

Protocol: ``begin_chunk()`` fixes slots; each forward calls ``extend(layer, k, v)`` with the current chunk's keys, which
overwrites the tentative ones of the step before (*peek*); ``commit()`` keeps what the last forward wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from motionstream.config import CacheConfig, ModelConfig
from motionstream.nn.masks import visible_chunks
from motionstream.nn.rope import RotaryTable, rotary_table, rotate, turn_pairs, turns_of


class ChunkCache(Protocol):
    """What the DiT's attention needs of a cache."""

    @property
    def table(self) -> RotaryTable:
        """Rotary angles of the current chunk."""

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Current keys (unrotated) and values ``(B, L, A, E)`` -> rotated keys and values of all visible tokens."""


@dataclass(frozen=True)
class CacheState:
    """The next chunk, and raw keys and values ``(layers, B, tokens, A, E)`` of every past chunk that it can see."""

    chunk: int
    pages: dict[int, tuple[Tensor, Tensor]]


class SlotTables:
    """Rotary tables per slot group, computed once: group ``n`` is the n-th chunk that can be visible."""

    def __init__(self, model: ModelConfig, cache: CacheConfig, grid: tuple[int, int], device: torch.device) -> None:
        groups = cache.sink_chunks + cache.window_chunks + 1
        rows, columns = grid
        self.tables = [
            rotary_table(
                torch.arange(n * cache.chunk_frames, (n + 1) * cache.chunk_frames),
                rows, columns, model.head_dim, model.rope_theta, device,
            )
            for n in range(groups)
        ]  # fmt: skip

    def __getitem__(self, group: int) -> RotaryTable:
        return self.tables[group]


class SinkWindowCache:
    """The streaming cache: static buffers, ring slots, nothing is moved, cloned or allocated after construction.

    Buffers ``(layers, B, S, A, E)`` with ``S = slots * tokens_per_frame``. The first ``sink`` chunks own the front;
    the other ``window + 1`` places form a ring in which the current chunk overwrites the chunk that just left the
    window. Attention does not depend on the order of keys, so ring order is free; positions come from the slot tables.

    Args:
        model, cache: sizes. batch: B. grid: token rows and columns of a latent frame.
    """

    def __init__(
        self,
        model: ModelConfig,
        cache: CacheConfig,
        *,
        batch: int,
        grid: tuple[int, int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.cache = cache
        self.device = torch.device(device)
        self.chunk_tokens = cache.chunk_frames * grid[0] * grid[1]
        self.tables = SlotTables(model, cache, grid, self.device)
        self.turns = [turns_of(table) for table in self.tables.tables]
        places = cache.sink_chunks + cache.window_chunks + 1
        shape = (model.num_layers, batch, places * self.chunk_tokens, model.num_heads, model.head_dim)
        self.keys = torch.zeros(shape, device=self.device, dtype=dtype)
        self.raw_keys = torch.zeros(shape, device=self.device, dtype=dtype)
        self.values = torch.zeros(shape, device=self.device, dtype=dtype)
        self.chunk = 0
        self._opened = False

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.keys, self.raw_keys, self.values))

    @property
    def page_bytes(self) -> int:
        """Of one chunk in a :class:`CacheState`: unrotated keys and values."""
        rows = self.keys.shape[2] // self.chunk_tokens
        return 2 * self.keys.numel() * self.keys.element_size() // rows

    def reset(self) -> None:
        """Forget everything; buffers are kept."""
        self.chunk, self._opened = 0, False

    def _place(self, chunk: int) -> int:
        """Which buffer place holds ``chunk``."""
        sink = self.cache.sink_chunks
        return chunk if chunk < sink else sink + (chunk - sink) % (self.cache.window_chunks + 1)

    def _span(self, place: int) -> slice:
        return slice(place * self.chunk_tokens, (place + 1) * self.chunk_tokens)

    def begin_chunk(self) -> None:
        """Give the window's keys the slots they have for this chunk. Call once before a chunk's first forward."""
        self.open_chunk()
        for place, group in self._moved:
            for layer in range(self.keys.shape[0]):
                self._rotate_anew(layer, place, group)

    def open_chunk(self) -> None:
        """The half of :meth:`begin_chunk` that touches no tensor: where things lie for this chunk."""
        visible = visible_chunks(self.chunk, self.cache)
        self._filled = min(len(visible), self.cache.sink_chunks + self.cache.window_chunks + 1) * self.chunk_tokens
        self._current = self._span(self._place(self.chunk))
        self._group = len(visible) - 1
        before = visible_chunks(self.chunk - 1, self.cache) if self.chunk else []
        # Rotated anew: what changed slot, and the newest chunk even if it keeps its slot. So all context was rotated in one
        # way, from the kept keys, and a restored cache is the same bit for bit, whatever wrote the newest chunk.
        self._moved = tuple(
            (self._place(chunk), group)
            for group, chunk in enumerate(visible[:-1])
            if before.index(chunk) != group or chunk == self.chunk - 1
        )
        self._opened = True

    @property
    def layout(self) -> tuple[object, ...]:
        """Where the current chunk's tensors lie: two chunks of one layout run the same operations on the same memory."""
        return (self._filled, self._current.start, self._group, self._moved)

    @property
    def table(self) -> RotaryTable:
        return self.tables[self._group]

    @property
    def turn(self) -> Tensor:
        """:attr:`table` as complex numbers ``(L, 1, E / 2)``."""
        return self.turns[self._group]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the current chunk's keys and values tentatively; returns views of all that is visible."""
        assert self._opened, "begin_chunk() first"
        return self.put(layer, k, rotate(k, self.table), v)

    def put(self, layer: int, raw: Tensor | None, rotated: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`extend` with keys that are rotated already.

        Args:
            raw: unrotated keys; None while denoising, where only :meth:`commit` would keep them. The pass before it must
                give them.
        """
        keys, values, raw_keys = self.slots(layer)
        if raw is not None:
            raw_keys.copy_(raw)
        keys.copy_(rotated)
        values.copy_(v)
        return self.visible(layer)

    def slots(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Where the current chunk's rotated keys, values and unrotated keys are written, views ``(B, L, A, E)``."""
        assert self._opened, "begin_chunk() first"
        keys, values, raw_keys = (t[layer, :, self._current] for t in (self.keys, self.values, self.raw_keys))
        return keys, values, raw_keys

    def visible(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of all that the current chunk sees, itself included, views ``(B, S, A, E)``."""
        return self.keys[layer, :, : self._filled], self.values[layer, :, : self._filled]

    def _rotate_anew(self, layer: int, place: int, group: int) -> None:
        span = self._span(place)
        raw = self.raw_keys[layer, :, span].to(torch.float32, copy=True)  # turned in place; the kept keys stay
        self.keys[layer, :, span] = turn_pairs(raw, self.turns[group], None)

    def drop_chunk(self) -> None:
        """Forget the current chunk, which was not finished."""
        self._opened = False

    def commit(self) -> None:
        """Keep the current chunk as the last forward wrote it (the pass over the clean latents)."""
        assert self._opened, "begin_chunk() first"
        self.chunk += 1
        self._opened = False

    def snapshot(self, known: CacheState | None = None) -> CacheState:
        """Copy of what the next chunk can see, for branching; take it between :meth:`commit` and :meth:`begin_chunk`.

        Args:
            known: an earlier snapshot of the same stream; sink pages, which never change, are shared with it.
        """
        assert not self._opened, "commit() or begin a new chunk only after the snapshot"
        pages: dict[int, tuple[Tensor, Tensor]] = {}
        for chunk in visible_chunks(self.chunk, self.cache)[:-1]:
            if known is not None and chunk < self.cache.sink_chunks and chunk in known.pages:
                pages[chunk] = known.pages[chunk]
            else:
                span = self._span(self._place(chunk))
                pages[chunk] = (self.raw_keys[:, :, span].clone(), self.values[:, :, span].clone())
        return CacheState(self.chunk, pages)

    def restore(self, state: CacheState) -> None:
        """Back to ``state``: what follows is the same, bit for bit, as what followed then."""
        self.chunk, self._opened = state.chunk, False
        before = visible_chunks(self.chunk - 1, self.cache) if self.chunk else []
        for chunk, (raw_keys, values) in state.pages.items():
            place = self._place(chunk)
            span, group = self._span(place), before.index(chunk)
            self.raw_keys[:, :, span] = raw_keys
            self.values[:, :, span] = values
            for layer in range(self.keys.shape[0]):
                self._rotate_anew(layer, place, group)


class HistoryCache:
    """The training cache: every chunk is kept and selected by index, so no gradient ever meets an overwritten key.

    Same outputs as :class:`SinkWindowCache` (tested). Context keys are detached unless ``detach=False``.
    """

    def __init__(
        self,
        model: ModelConfig,
        cache: CacheConfig,
        *,
        grid: tuple[int, int],
        device: torch.device | str = "cpu",
        detach: bool = True,
    ) -> None:
        self.cache, self.detach = cache, detach
        self.tables = SlotTables(model, cache, grid, torch.device(device))
        self.history: list[list[tuple[Tensor, Tensor]]] = []
        self.num_layers = model.num_layers
        self.chunk = 0

    def begin_chunk(self) -> None:
        self._visible = visible_chunks(self.chunk, self.cache)
        self._pending: list[tuple[Tensor, Tensor] | None] = [None] * self.num_layers
        self._context: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    @property
    def table(self) -> RotaryTable:
        return self.tables[len(self._visible) - 1]

    @torch.compiler.disable
    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self._pending[layer] = (k.detach(), v.detach()) if self.detach else (k, v)
        keys, values = self._past(layer)
        return torch.cat([*keys, rotate(k, self.table)], dim=1), torch.cat([*values, v], dim=1)

    def _past(self, layer: int) -> tuple[list[Tensor], list[Tensor]]:
        """Rotated keys and values of the visible past; made once a chunk where no gradient asks for more."""
        if layer in self._context:
            return self._context[layer]
        keys, values = [], []
        for group, chunk in enumerate(self._visible[:-1]):
            past_k, past_v = self.history[chunk][layer]
            keys.append(rotate(past_k, self.tables[group]))
            values.append(past_v)
        if self.detach:
            self._context[layer] = (keys, values)
        return keys, values

    def commit(self) -> None:
        assert all(entry is not None for entry in self._pending), "a forward must write every layer before commit()"
        self.history.append([entry for entry in self._pending if entry is not None])
        self.chunk += 1
