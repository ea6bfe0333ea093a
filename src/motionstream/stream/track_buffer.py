"""Live input -> tracks of the next chunk, with ids that the sink already knows (paper sections 3.1 and 3.3).

At the start a grid of *anchors* covers the picture. Their codes are shown in frame 0, so the attention sink knows for
ever which code stands for which part of the picture. A point that is grabbed later, even after its thing has moved, takes
over the anchor that is under it *now*. Anchors near a held point are held with it and keep their new places.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from motionstream.config import TrackConfig
from motionstream.shapes import VideoGeometry
from motionstream.stream.brush import snapped
from motionstream.stream.dab import Dab, turned
from motionstream.stream.drift import NEAR_CELLS, Drift, Step, Trail, carried
from motionstream.stream.patch import is_dab, patches
from motionstream.stream.points import MAX_POINTS, WHOLE_PICTURE, Point, check_places
from motionstream.tracks.codes import draw_ids
from motionstream.tracks.origin import origin_ids

ANCHOR_SPACING_CELLS = 1.0
"""Anchors per latent cell, each way."""
HALF_DIAGONAL = 0.71
"""How far a point may reach past an anchor that is held already, in anchor spacings: not beyond its own cell."""
MAX_REMEMBERED = 4096
"""Ready-made tracks that are gone and would be known again; an endless source of tracks must not fill the memory."""
MOVED_PX = 0.5
"""Anchors farther than this from their first place count as moved."""


@dataclass(frozen=True)
class _Grip:
    """What an active point holds: slots that move with it, and how far each lies from the point, ``(k,)`` and ``(k, 2)``.

    The first slot speaks for the point itself; the others are anchors of the patch around it. Points of a ``dab`` know each
    other, and where each of them was when it was grabbed: what they hold turns and grows with them. A point of the
    ``whole`` picture holds what no hand wants.
    """

    slots: Tensor
    offsets: Tensor
    dab: Dab | None = None
    whole: bool = False


@dataclass
class TrackBuffer:
    """Holds anchors and active points of one stream; turns per-frame points into what the track head reads.

    Slots ``0 .. num_anchors`` are anchors; the rest are spare codes for points that no anchor can stand for. There are
    ``spare`` of them, or as many as were ever active in one chunk if that is more. In ``picture`` (frame 0, uint8) it looks
    for things that points hold (stream/patch.py, brush.py). ``hold_moved``, ``late_codes``: as in SampleConfig.
    """

    geometry: VideoGeometry
    config: TrackConfig
    seed: int
    spare: int = MAX_POINTS
    hold_moved: bool = False
    late_codes: bool = True
    picture: np.ndarray | None = None
    home: Tensor = field(init=False)
    place: Tensor = field(init=False)
    ids: Tensor = field(init=False)

    def __post_init__(self) -> None:
        step = self.geometry.stride * ANCHOR_SPACING_CELLS
        x = torch.arange(step / 2, self.geometry.width, step, dtype=torch.float32)
        y = torch.arange(step / 2, self.geometry.height, step, dtype=torch.float32)
        self.home = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2)
        self.num_anchors = len(self.home)
        self._generator = torch.Generator().manual_seed(self.seed)
        if self.config.code == "origin":
            anchors = origin_ids(self.home, torch.zeros(self.num_anchors, dtype=torch.bool))[None]
            # Spare slots get theirs where they begin to count.
            self._own_ids = torch.cat([anchors, torch.zeros(1, self.spare, dtype=torch.int64)], dim=1)
        else:
            self._own_ids = draw_ids(1, self.num_anchors + self.spare, self.config, self._generator)
        self.ids = self._own_ids
        self._more_ids: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Back to frame 0: nothing is grabbed, every anchor is at home."""
        self.ids = self._own_ids.clone()
        self.place = torch.cat([self.home, self.home.new_zeros(self.spare, 2)])
        self._taken, self._untold = torch.zeros(2, self.num_anchors, dtype=torch.bool)
        self.grips: dict[int, _Grip] = {}
        self._remembered: dict[int, _Grip] = {}
        self._free = list(range(self.num_anchors + self.spare - 1, self.num_anchors - 1, -1))
        self.frame = 0
        self._trail = Trail()

    def snapshot(self) -> tuple[object, ...]:
        """State between two chunks, for branching."""
        copies = dict(self.grips), dict(self._remembered), list(self._free), self._trail.copy()
        return self.frame, self.place.clone(), self._taken.clone(), self._untold.clone(), self.ids.clone(), *copies

    def restore(self, state: tuple[object, ...]) -> None:
        self.frame, *copies, grips, remembered, free, trail = state  # type: ignore[assignment]
        self.place, self._taken, self._untold, self.ids = (kept.clone() for kept in copies)  # type: ignore[attr-defined]
        self.grips, self._remembered = dict(grips), dict(remembered)  # type: ignore[call-overload]
        self._free, self._trail = list(free), trail.copy()  # type: ignore[call-overload,attr-defined]

    def moved_since(self, frame: int, points: np.ndarray) -> np.ndarray:
        """How far what lay under ``points`` ``(k, 2)`` in an earlier ``frame`` has moved since then, ``(2,)`` pixels.

        A hand acts on the frame that it sees, and the newest frames are not on screen yet. Frames older than
        ``TRAIL_FRAMES`` count as the oldest one known.
        """
        reach = NEAR_CELLS * self.geometry.stride * ANCHOR_SPACING_CELLS
        return self._trail.moved_since(self.frame - 1 - frame, torch.from_numpy(points).float(), reach)

    def owners(self, places: np.ndarray) -> list[int | None]:
        """For each of ``places (k, 2)`` the id of the point that holds the anchor nearest to it."""
        rows = torch.arange(len(self.grips)).repeat_interleave(
            torch.tensor([len(grip.slots) for grip in self.grips.values()], dtype=torch.long)
        )
        holder = torch.full((len(self.place),), -1)
        if len(rows):
            holder[torch.cat([grip.slots for grip in self.grips.values()])] = rows
        nearest = torch.cdist(torch.from_numpy(places).float(), self.place[: self.num_anchors]).argmin(dim=1)
        keys = [*self.grips, None]
        return [keys[row] for row in holder[nearest].tolist()]

    def holds(self, point_id: int) -> np.ndarray:
        """Where the anchors that a held point has taken along lay from it when it took them, ``(k, 2)`` pixels.

        None for a point that nobody holds.
        """
        grip = self.grips.get(point_id)
        if grip is None:
            return np.zeros((0, 2))
        return -grip.offsets[grip.slots < self.num_anchors].double().numpy()

    def chunk(
        self, frames: list[list[Point]], *, first: bool, remember: bool = False, drift: Drift | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tracks of one chunk: ``frames[t]`` lists the points held in pixel frame t.

        With ``remember`` a point that comes back under the same id holds what it held before (ready-made tracks that were
        occluded); without it, it takes hold of what is under it now (a hand). ``drift[t]``: how the whole picture moves to
        frame t, None = it does not.

        Returns:
            xy ``(1, T, N, 2)``, visible ``(1, T, N)``, ids ``(1, N)`` for ``models.motion.track_latents``.

        Raises:
            ValueError: more points in this chunk than there are ids for, or one at a place that is no number.
        """
        if not remember:
            for key in list(self._remembered):
                self._unremember(key)
        self._reserve(len({point.id for points in frames for point in points if point.visible}))
        total = len(self.place)
        xy = self.home.new_zeros(1, len(frames), total, 2)
        visible = torch.zeros(1, len(frames), total, dtype=torch.bool)
        if first:
            xy[0, 0, : self.num_anchors] = self.home
            visible[0, 0, : self.num_anchors] = True
        keys: list[int] | None = None
        for t, points in enumerate(frames):
            held = {point.id: point for point in points if point.visible}
            if gone := self.grips.keys() - held.keys():
                for key in gone:
                    self._release(key, remember)
                if not remember:
                    self._leave_dabs(gone)
            # In order of ids: what a point takes hold of must not depend on the order in which points are listed.
            if grabs := sorted(held.keys() - self.grips.keys()):
                # Every point takes its own anchor before any takes those around it.
                new = [key for key in grabs if not self._regrab(key)]
                for key in new:
                    self._grab(held[key], first=first and t == 0)
                if new:
                    self._extend(new, held)
            if list(held) != keys:  # mostly it is the same points, frame after frame
                keys = list(held)
                grips = [_Grip(torch.zeros(0, dtype=torch.long), self.home[:0]), *(self.grips[key] for key in keys)]
                slots = torch.cat([grip.slots for grip in grips])
                offsets = torch.cat([grip.offsets for grip in grips])
                owners = torch.arange(-1, len(keys)).repeat_interleave(torch.tensor([len(grip.slots) for grip in grips]))
                dabs = any(grip.dab for grip in grips)
            if len(slots):
                where = self.home.new_tensor([(float(point.x), float(point.y)) for point in held.values()])
                check_places(keys, where)
                moved = turned(offsets, owners, [self.grips[key].dab for key in keys], held) if dabs else offsets
                places = where[owners] - moved  # (slots held, 2)
                xy[0, t, slots], visible[0, t, slots] = places, True
                self.place[slots] = places
                self._untold[slots[slots < self.num_anchors]] = False
            step = drift[t] if drift is not None else None
            if step is not None:
                self._move_on(step)
            if self.hold_moved and not remember:
                left = self._left_elsewhere()
                xy[0, t, left], visible[0, t, left] = self.place[left], True
            self.frame += 1
            self._trail.leave(self.place[: self.num_anchors], step)
        # Also what is beyond the edge: told nothing, nano would take it to be where the picture has it, and it came back.
        used = visible.any(1)[0]
        return xy[:, :, used], visible[:, :, used], self.ids[:, used]

    def _reserve(self, num_points: int) -> None:
        """Spare codes for so many points at once. Points that are gone but remembered give theirs up when needed."""
        total, grown = len(self.place), self.num_anchors + num_points
        if grown > total:
            self.ids = torch.cat([self.ids, self._ids_for(grown)[:, total:]], dim=1)
            self.place = torch.cat([self.place, self.home.new_zeros(grown - total, 2)])
            self._free[:0] = range(grown - 1, total - 1, -1)

    def _ids_for(self, total: int) -> Tensor:
        """Ids ``(1, total)`` of all slots; those of a slot never depend on how many there are."""
        own = self._own_ids
        if self.config.code == "origin":
            return torch.cat([own, own.new_zeros(1, max(0, total - own.shape[1]))], dim=1)
        if total > own.shape[1] and self._more_ids is None:
            order = torch.randperm(self.config.id_range, generator=self._generator)
            self._more_ids = order[~torch.isin(order, own[0])]
        if total > own.shape[1] + (0 if self._more_ids is None else len(self._more_ids)):
            raise ValueError(
                f"{total - self.num_anchors} points at once: this model tells at most "
                f"{self.config.id_range - self.num_anchors} apart"
            )
        return own if self._more_ids is None else torch.cat([own, self._more_ids[None]], dim=1)[:, :total]

    def _move_on(self, step: Step) -> None:
        """Anchors that nobody holds go with the picture too, or a later grab would take what lay there before.

        Of those that were at home until now the model is told nothing: no point of the camera has held them.
        """
        free, left = ~self._taken, self._left_elsewhere()
        anchors = self.place[: self.num_anchors]
        anchors[free] = carried(anchors[free], step)
        self._untold |= free
        self._untold[left] = False

    def _left_elsewhere(self) -> Tensor:
        """Anchors that nobody holds and that do not lie where the picture has them, ``(k,)``.

        What is told nothing is taken to be where frame 0 has it by a model that never learnt to let go (nano): a thing moved
        and let go would fade, so it is held where it was left.
        """
        away = (self.place[: self.num_anchors] - self.home).norm(dim=-1) > MOVED_PX
        return (away & ~self._taken & ~self._untold).nonzero()[:, 0]

    def _regrab(self, key: int) -> bool:
        """Whether ready-made track ``key`` came back and holds what it held before."""
        known = self._remembered.pop(key, None)
        if known is None:
            return False
        anchors = known.slots[known.slots < self.num_anchors]
        if self._taken[anchors].any():  # others hold them now: the grip is gone for good, and its code is free
            self._free[:0] = known.slots[known.slots >= self.num_anchors].tolist()
            return False
        self._taken[anchors] = True
        self.grips[key] = known
        return True

    def _grab(self, point: Point, *, first: bool) -> None:
        """Give the point a code: in frame 0 one of its own, later that of the anchor which is under it now."""
        if first:  # the sink learns it as well as any anchor's
            self._give_spare(point, late=False)
            return
        where = self.home.new_tensor(point.start)
        distance = (self.place[: self.num_anchors] - where).norm(dim=-1)
        free = torch.where(self._taken, torch.inf, distance)
        best, nearest = int(free.argmin()), int(distance.argmin())
        cell = self.geometry.stride * ANCHOR_SPACING_CELLS
        if free[best] <= (cell if best == nearest else HALF_DIAGONAL * cell):
            self._taken[best] = True
            self._hold(point, torch.tensor([best]), (where - self.place[best])[None])
            return
        if distance[nearest] <= cell or not self.late_codes:
            # The anchor here is held, and the next one may lie beyond the thing, or this is new picture, that no anchor
            # came with; a code that the sink does not know would only blur what is there.
            self._hold(point, torch.zeros(0, dtype=torch.long), self.home[:0])
            return
        self._give_spare(point, late=True)

    def _give_spare(self, point: Point, *, late: bool) -> None:
        if not self._free:
            self._forget_oldest()
        slot = self._free.pop()
        self._hold(point, torch.tensor([slot]), self.home.new_zeros(1, 2))
        if self.config.code == "origin":
            self.ids[0, slot] = origin_ids(self.home.new_tensor([point.x, point.y]), torch.tensor(late))

    def _hold(self, point: Point, slots: Tensor, offsets: Tensor) -> None:
        self.grips[point.id] = _Grip(slots, offsets, whole=point.group == WHOLE_PICTURE)

    def _extend(self, new: list[int], held: dict[int, Point]) -> None:
        """Hold the free anchors of each new point's patch with it; points of a brush beside its thing hold nothing."""
        anchors, reach = self.place[: self.num_anchors], self.geometry.reach_px
        beside, whole = snapped(self.picture, new, held, self._brush_in_frame_0, anchors, self.home, reach)
        for key in beside:
            self._release(key, remember=False)
            self._hold(held[key], torch.zeros(0, dtype=torch.long), self.home[:0])
            new = [other for other in new if other != key]
        fresh = set(new)
        # Nor are they anybody's fellows, now or later.
        held = {key: p for key, p in held.items() if key in fresh or not p.snap or len(self.grips[key].slots)}
        rows = {key: row for row, key in enumerate(held)}
        places = self.home.new_tensor(
            [point.start if key in fresh else (float(point.x), float(point.y)) for key, point in held.items()]
        )
        groups: dict[int | None, list[int]] = {}
        mine: dict[int, tuple[Tensor, Dab | None]] = {}
        for key in new:
            groups.setdefault(held[key].group, []).append(key)
        for group, keys in groups.items():
            # To a hand the points of a camera are no fellows: what they hold is what nobody wanted.
            fellows = [key for key in held if group == WHOLE_PICTURE or held[key].group != WHOLE_PICTURE]
            among = torch.tensor([rows[key] for key in fellows])
            at = {key: n for n, key in enumerate(fellows)}
            some = torch.tensor([at[key] for key in keys])
            mates = torch.tensor([held[key].group == group for key in fellows])
            seen = torch.cat([torch.stack([self._in_frame_0(key, places[rows[key]]) for key in keys]), self.home])
            found = patches(places[among], some, anchors, reach, mates=mates, picture=self.picture, seen=seen)
            dab: Dab | None = None
            if self.picture is not None and (is_dab(places[among], some, reach, mates) or any(key in whole for key in keys)):
                dab = {key: held[key].start for key in keys}
            mine |= {key: (patch | whole.get(key, patch), dab) for key, patch in zip(keys, found, strict=True)}
        for key in new:
            (patch, dab), row, grip = mine[key], rows[key], self.grips[key]
            if not grip.whole:
                self._take_over(patch)
            near = (patch & ~self._taken).nonzero()[:, 0]
            self._taken[near] = True
            slots, offsets = torch.cat([grip.slots, near]), torch.cat([grip.offsets, places[row] - anchors[near]])
            self.grips[key] = replace(grip, slots=slots, offsets=offsets, dab=dab)

    def _take_over(self, patch: Tensor) -> None:
        """Anchors of ``patch (n,)`` bool that points of the whole picture hold are free for a hand."""
        for key, grip in self.grips.items():
            if grip.whole:
                lost = (grip.slots < self.num_anchors) & patch[grip.slots.clamp(max=self.num_anchors - 1)]
                if lost.any():
                    self._taken[grip.slots[lost]] = False
                    self.grips[key] = replace(grip, slots=grip.slots[~lost], offsets=grip.offsets[~lost])

    def _in_frame_0(self, key: int, where: Tensor) -> Tensor:
        """Where the first frame shows what a new point at ``where`` lies on, ``(2,)``; nan where it does not.

        Anchors move with the picture, so that is told by the one which stands for the point.
        """
        grip = self.grips[key]
        if len(grip.slots) and int(grip.slots[0]) < self.num_anchors:
            return self.home[grip.slots[0]] + grip.offsets[0]
        return where if self.frame == 0 else torch.full_like(where, torch.nan)

    def _brush_in_frame_0(self, places: Tensor) -> Tensor:
        """Where frame 0 shows what a new brush at ``places (k, 2)`` was set on, nan where it does not; all by what lies
        at its middle: points on a thing that has moved must not be torn from those beside it."""
        anchors = self.place[: self.num_anchors]
        near = (anchors - places.mean(dim=0)).norm(dim=-1) <= self.geometry.stride * ANCHOR_SPACING_CELLS
        moved = (anchors - self.home).norm(dim=-1) > MOVED_PX
        if not (near & moved).any():
            return places if near.any() else torch.full_like(places, torch.nan)
        nearest = moved.nonzero()[:, 0][torch.cdist(places, anchors[moved]).argmin(dim=1)]
        return self.home[nearest] + places - anchors[nearest]

    def _unremember(self, key: int) -> bool:
        """Ready-made track ``key``, which is gone, is known no more; whether it gives a code back."""
        slots = self._remembered.pop(key).slots
        spare = slots[slots >= self.num_anchors].tolist()
        self._free[:0] = spare
        return bool(spare)

    def _forget_oldest(self) -> None:
        """Codes ran out: a ready-made track that has been gone longest will not be known again if it comes back."""
        for key in list(self._remembered):
            if self._unremember(key):
                return

    def _release(self, point_id: int, remember: bool) -> None:
        """Let go. A spare code goes to the back of the queue: the window may still show it, and the sink too."""
        grip = self.grips.pop(point_id)
        slots = grip.slots
        if not remember:
            self._free[:0] = slots[slots >= self.num_anchors].tolist()
        self._taken[slots[slots < self.num_anchors]] = False
        if remember:
            self._remembered[point_id] = grip
            if len(self._remembered) > MAX_REMEMBERED:
                self._unremember(next(iter(self._remembered)))

    def _leave_dabs(self, gone: set[int]) -> None:
        """Whoever has the id of a point that was let go next is another point, and turns nothing of its old dab."""
        rests: dict[int, dict[int, tuple[float, float]]] = {}
        for key, grip in list(self.grips.items()):
            if grip.dab is not None and not gone.isdisjoint(grip.dab):
                rest = rests.setdefault(id(grip.dab), {mate: at for mate, at in grip.dab.items() if mate not in gone})
                self.grips[key] = replace(grip, dab=rest)
