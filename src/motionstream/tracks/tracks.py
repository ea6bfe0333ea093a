"""Point tracks: where some points of a picture are, frame by frame (paper section 1.2).

Shapes: `xy (B, T, N, 2)` in pixels, `visible (B, T, N)`, `ids (B, N)`.  Pixel (0, 0) covers [0, 1) x [0, 1), so its
centre is (0.5, 0.5) and the canvas of a `H x W` picture is [0, W) x [0, H).

>>> Tracks.from_points([[[3.5, 4.5]], [[5.5, 4.5]]], size=(8, 8), fps=16).resize(16, 16).xy[0, 1, 0].tolist()
[11.0, 9.0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from motionstream.tracks.given import as_tensor, check_whole, is_size, numbers

if TYPE_CHECKING:
    from motionstream.tracks.strokes import Stroke

MIN_FPS, MAX_FPS = 0.01, 10_000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """N tracks over T frames for each of B samples; immutable, every method returns a new one.

    A visible point outside the canvas becomes invisible (it is off-screen).  Invisible points may hold anything; what
    is not finite there becomes 0.  Rules about *values* (NaN where visible, repeated or negative ids) are checked for
    tensors on the CPU only: on another device that would force a synchronisation, and a NaN counts as off-screen.

    Args:
        xy: (B, T, N, 2) float32, (x, y) in pixels, pixel centres at +0.5, range [0, W) x [0, H).
        visible: (B, T, N) bool, True = visible.
        ids: (B, N) int64, >= 0, unique within a sample; they name a track across chunks and steps.
        size: (H, W), the canvas the coordinates refer to, in pixels.
        fps: frames per second, 0.01 to 10,000.

    Raises:
        ValueError: a shape, dtype or value breaks one of the rules above.
    """

    xy: Tensor
    visible: Tensor
    ids: Tensor
    size: tuple[int, int]
    fps: float

    def __post_init__(self) -> None:
        _check_shapes(self)
        H, W = (int(edge) for edge in self.size)
        xy = self.xy.detach()  # where points are is never trained, and what draws and saves them could not read it
        finite = xy.isfinite().all(dim=-1)  # (B, T, N)
        if self.xy.device.type == "cpu":
            _check_values(self, finite)
        x, y = xy.unbind(dim=-1)
        inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
        object.__setattr__(self, "xy", torch.where(finite[..., None], xy, 0.0))
        object.__setattr__(self, "visible", self.visible & inside)
        object.__setattr__(self, "size", (H, W))
        object.__setattr__(self, "fps", float(self.fps))

    @classmethod
    def empty(cls, *, num_frames: int, size: tuple[int, int], fps: float, batch: int = 1) -> Tracks:
        """Return `num_frames` frames without any track (N = 0)."""
        batch, num_frames = check_whole("batch", batch), check_whole("num_frames", num_frames)
        xy = torch.zeros(batch, num_frames, 0, 2, dtype=torch.float32, device="cpu")
        ids = torch.zeros(batch, 0, dtype=torch.int64, device="cpu")
        return cls(xy=xy, visible=xy[..., 0] > 0, ids=ids, size=size, fps=fps)

    @classmethod
    def from_points(cls, points: Any, *, size: tuple[int, int], fps: float, visible: Any = None, ids: Any = None) -> Tracks:
        """Build one sample (B = 1) from arrays.

        Args:
            points: (T, N, 2) array, tensor or nested list, (x, y) in pixels.
            size, fps: as in the class.
            visible: (T, N) bool, or 0 and 1; None = all visible.
            ids: (N,) whole numbers; None = 0..N-1.

        Raises:
            ValueError: as in the class; or values that are not numbers, shares as `visible`, fractions as `ids`.
        """
        xy = as_tensor("points", points, torch.float32)
        if xy.ndim != 3 or xy.shape[-1] != 2:
            raise ValueError(f"points must have the shape (T, N, 2), got {tuple(xy.shape)}")
        T, N, _ = xy.shape
        shown = (
            torch.ones(T, N, dtype=torch.bool, device=xy.device)
            if visible is None
            else as_tensor("visible", visible, torch.bool)
        )
        names = torch.arange(N, device=xy.device) if ids is None else as_tensor("ids", ids, torch.int64)
        return cls(xy=xy[None], visible=shown[None].to(xy.device), ids=names[None].to(xy.device), size=size, fps=fps)

    @classmethod
    def from_strokes(
        cls, strokes: Sequence[Stroke], *, num_frames: int, size: tuple[int, int], fps: float = 16.0, first_id: int = 0
    ) -> Tracks:
        """Build one sample from drawn strokes: see `motionstream.tracks.strokes.tracks_from_strokes`."""
        from motionstream.tracks.strokes import tracks_from_strokes

        return tracks_from_strokes(strokes, num_frames=num_frames, fps=fps, size=size, first_id=first_id)

    @classmethod
    def from_tapvid(cls, target_points: Any, occluded: Any, *, size: tuple[int, int], fps: float, ids: Any = None) -> Tracks:
        """Build from TAP-Vid arrays: points (N, T, 2) or (B, N, T, 2), occluded without the last axis, True = hidden.

        TAP-Vid evaluates (x, y) in raster pixels with (0, 0) the *corner* of the first pixel, which is our convention:
        no half-pixel shift.  The files on disk hold fractions of the picture: multiply them by (W, H) first.
        """
        xy = as_tensor("target_points", target_points, torch.float32)
        hidden = as_tensor("occluded", occluded, torch.bool)
        xy = xy if xy.ndim == 4 else xy[None]
        hidden = hidden if hidden.ndim == 3 else hidden[None]
        if xy.ndim != 4 or xy.shape[-1] != 2 or hidden.shape != xy.shape[:-1]:
            raise ValueError(
                "target_points must be (N, T, 2) or (B, N, T, 2) and occluded the same without the last axis, got "
                f"{tuple(np.shape(target_points))} and {tuple(np.shape(occluded))}"
            )
        B, N = xy.shape[:2]
        names = torch.arange(N, device=xy.device) if ids is None else as_tensor("ids", ids, torch.int64)
        if names.shape not in ((N,), (B, N)):
            raise ValueError(f"ids must have the shape ({N},) or ({B}, {N}), got {tuple(names.shape)}")
        names = names.to(xy.device).expand(B, N)
        return cls(xy=xy.transpose(1, 2), visible=~hidden.transpose(1, 2), ids=names, size=size, fps=fps)

    def to_tapvid(self) -> dict[str, Tensor]:
        """Return `target_points` (B, N, T, 2) xy pixels, `occluded` (B, N, T), `query_points` (B, N, 3) = (t, y, x).

        The query is the first visible point; a track that is never visible gets t = -1.
        """
        visible = self.visible.transpose(1, 2)  # (B, N, T)
        points = self.xy.transpose(1, 2)  # (B, N, T, 2)
        first = visible.int().argmax(dim=-1)  # (B, N)
        at = points.gather(2, first[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]  # (B, N, 2)
        t = torch.where(visible.any(dim=-1), first, -1).to(points.dtype)
        return {
            "target_points": points,
            "occluded": ~visible,
            "query_points": torch.stack([t, at[..., 1], at[..., 0]], dim=-1),
        }

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return self.xy.shape[0]

    @property
    def num_frames(self) -> int:
        """Number of pixel frames T."""
        return self.xy.shape[1]

    @property
    def num_tracks(self) -> int:
        """Number of tracks N in each sample."""
        return self.xy.shape[2]

    def allclose(self, other: Tracks, atol: float = 1e-3) -> bool:
        """Tell whether both say the same: size, fps, ids, visibility, and positions (pixels) where visible."""
        if self.size != other.size or not math.isclose(self.fps, other.fps):
            return False
        if not torch.equal(self.ids, other.ids) or not torch.equal(self.visible, other.visible):
            return False
        return torch.allclose(self.xy[self.visible], other.xy[self.visible], rtol=0.0, atol=atol)

    def resize(self, height: int, width: int) -> Tracks:
        """Scale to another canvas: x by width / W, y by height / H, so edges map to edges."""
        H, W = self.size
        x, y = self.xy.unbind(dim=-1)
        return self._on_canvas(x * (width / W), y * (height / H), self.visible, (height, width))

    def crop(self, top: int, left: int, height: int, width: int) -> Tracks:
        """Cut the window of `height x width` pixels at (left, top) out; what falls outside becomes invisible.

        The window may reach beyond the canvas (negative `top` or `left`): that pads it.
        """
        x, y = self.xy.unbind(dim=-1)
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        return self._on_canvas(x - left, y - top, self.visible & inside, (height, width))

    def _on_canvas(self, x: Tensor, y: Tensor, visible: Tensor, size: tuple[int, int]) -> Tracks:
        """Keep visible points below the far edges: float32 may round a point just inside up to W or H."""
        last_y, last_x = (float(np.nextafter(np.float32(edge), np.float32(0))) for edge in size)
        inner = torch.stack([x.clamp(max=last_x), y.clamp(max=last_y)], dim=-1)
        xy = torch.where(visible[..., None], inner, torch.stack([x, y], dim=-1))
        return replace(self, xy=xy, visible=visible, size=size)

    def slice_frames(self, start: int, stop: int) -> Tracks:
        """Keep the frames start, ..., stop - 1; 0 <= start < stop <= T."""
        start, stop = (check_whole(name, value, None) for name, value in (("start", start), ("stop", stop)))
        if not 0 <= start < stop <= self.num_frames:
            raise ValueError(f"frames {start}:{stop} are not within the {self.num_frames} frames of these tracks")
        return replace(self, xy=self.xy[:, start:stop], visible=self.visible[:, start:stop])

    def pad_frames(self, num_frames: int, mode: str = "hold") -> Tracks:
        """Lengthen to `num_frames` (>= T) with copies of the last frame.

        Args:
            num_frames: length of the result.
            mode: "hold" keeps what is visible in the last frame in place; "release" lets go (invisible).
        """
        if mode not in ("hold", "release"):
            raise ValueError(f"pad mode must be 'hold' or 'release', got {mode!r}")
        extra = check_whole("num_frames", num_frames) - self.num_frames
        if extra < 0:
            raise ValueError(f"cannot pad {self.num_frames} frames to {num_frames}; use slice_frames to shorten")
        xy = self.xy[:, -1:].expand(-1, extra, -1, -1)
        visible = self.visible[:, -1:].expand(-1, extra, -1) & (mode == "hold")
        return replace(self, xy=torch.cat([self.xy, xy], dim=1), visible=torch.cat([self.visible, visible], dim=1))

    def resample(self, *, num_frames: int | None = None, fps: float | None = None) -> Tracks:
        """Change the number of frames (same first and last moment) or the frame rate (same first moment); give one.

        Positions are linear between two visible frames, else those of the nearest frame, whose visibility is taken.
        """
        T = self.num_frames
        if (num_frames is None) == (fps is None):
            raise ValueError("give either num_frames or fps to resample")
        if num_frames is None:
            step = self.fps / check_fps(fps)  # in frames of ours
            count = math.floor((T - 1) / step + 1e-6) + 1
        else:
            count = check_whole("num_frames", num_frames)
            step = (T - 1) / (count - 1) if count > 1 else 0.0
        rate = self.fps / step if step > 0 else self.fps
        when = (torch.arange(count, dtype=torch.float64, device="cpu") * step).clamp(max=T - 1)
        before = when.floor().long()
        after = (before + 1).clamp(max=T - 1)
        weight = (when - before).to(self.xy)[:, None]  # (count, 1)
        before, after = before.to(self.xy.device), after.to(self.xy.device)
        seen_before, seen_after = self.visible[:, before], self.visible[:, after]  # (B, count, N)
        later = weight > 0.5
        weight = torch.where(seen_before & seen_after, weight, later.to(weight))[..., None]
        xy = self.xy[:, before] * (1 - weight) + self.xy[:, after] * weight
        return replace(self, xy=xy, visible=torch.where(later, seen_after, seen_before), fps=fps or rate)

    def select(self, index: Any) -> Tracks:
        """Keep some tracks: `index` is (M,) or, one row for each sample, (B, M) ints, or an (N,) bool mask."""
        index = numbers("index", index).to(self.xy.device)
        if index.dtype == torch.bool:
            if index.shape != (self.num_tracks,):
                raise ValueError(f"a mask must have the shape ({self.num_tracks},), got {tuple(index.shape)}")
            index = index.nonzero()[:, 0]
        index = as_tensor("index", index, torch.int64)
        if index.ndim not in (1, 2) or (index.ndim == 2 and len(index) != self.batch):
            raise ValueError(f"index must be (M,) or (B, M) with B = {self.batch}, got {tuple(index.shape)}")
        if wrong := [n for n in index.flatten().tolist() if not 0 <= n < self.num_tracks]:
            known = f"use 0 to {self.num_tracks - 1}" if self.num_tracks else "there are none"
            raise ValueError(f"there is no track {wrong[0]}; {known}")
        index = index.expand(self.batch, -1)  # (B, M)
        return self._gathered(index, self.ids.gather(1, index))

    def _gathered(self, index: Tensor, ids: Tensor, known: Tensor | bool = True) -> Tracks:
        """Take the tracks `index` (B, M) under the names `ids`; not visible where not `known`."""
        across = index[:, None].expand(-1, self.num_frames, -1)  # (B, T, M)
        xy = self.xy.gather(2, across[..., None].expand(-1, -1, -1, 2))
        return replace(self, xy=xy, visible=self.visible.gather(2, across) & known, ids=ids)

    def concat(self, other: Tracks) -> Tracks:
        """Put the tracks of `other` after these; same B, T, size and fps, and no id in common (ValueError)."""
        self._check_joins(other, "batch", "num_frames", "size", "fps")
        return self._joined(other, 2, torch.cat([self.ids, other.ids], dim=1))

    def match_ids(self, ids: Any) -> Tracks:
        """Reorder to `ids` (B, M); ids that are not here become tracks that are never visible.

        Raises:
            ValueError: `ids` of another shape.
        """
        ids = as_tensor("ids", ids, torch.int64).to(self.xy.device)
        if ids.ndim != 2 or len(ids) != self.batch:
            raise ValueError(f"ids must have the shape (B, M) with B = {self.batch}, got {tuple(ids.shape)}: a row a sample")
        if self.num_tracks == 0:
            xy = self.xy.new_zeros(self.batch, self.num_frames, ids.shape[1], 2)
            return replace(self, xy=xy, visible=xy[..., 0] > 0, ids=ids)
        match = ids[:, :, None] == self.ids[:, None, :]  # (B, M, N)
        return self._gathered(match.int().argmax(dim=-1), ids, known=match.any(dim=-1)[:, None])

    def concat_frames(self, other: Tracks) -> Tracks:
        """Put the frames of `other` after these, matching tracks by id; same B, size and fps.

        The result has the union of both ids, these first; a track that one side lacks is invisible there.  Samples
        with a smaller union are filled up with unused ids that are never visible.
        """
        self._check_joins(other, "batch", "size", "fps")
        union = [torch.cat([a, b[~torch.isin(b, a)]]) for a, b in zip(self.ids, other.ids, strict=True)]
        longest = max(len(ids) for ids in union)
        for b, ids in enumerate(union):
            unused = torch.arange(longest, device=ids.device)
            union[b] = torch.cat([ids, unused[~torch.isin(unused, ids)][: longest - len(ids)]])
        ids = torch.stack(union)  # (B, longest)
        return self.match_ids(ids)._joined(other.match_ids(ids), 1, ids)

    def _check_joins(self, other: Tracks, *same: str) -> None:
        for name in same:
            ours, theirs = getattr(self, name), getattr(other, name)
            if not (math.isclose(ours, theirs) if name == "fps" else ours == theirs):
                raise ValueError(f"cannot join tracks whose {name} differs: {ours} and {theirs}")

    def _joined(self, other: Tracks, dim: int, ids: Tensor) -> Tracks:
        xy, visible = torch.cat([self.xy, other.xy], dim=dim), torch.cat([self.visible, other.visible], dim=dim)
        return replace(self, xy=xy, visible=visible, ids=ids)

    def to(self, device: torch.device | str) -> Tracks:
        """Move all tensors to a device."""
        return replace(self, xy=self.xy.to(device), visible=self.visible.to(device), ids=self.ids.to(device))


def check_fps(fps: Any) -> float:
    """Return a frame rate as float.

    Raises:
        ValueError: no number from `MIN_FPS` to `MAX_FPS`; beyond them a clip has no length, or one without end.
    """
    if isinstance(fps, bool) or not isinstance(fps, (int, float, np.integer, np.floating)) or not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"fps must be a number from {MIN_FPS:g} to {MAX_FPS:g} frames per second, got {fps!r:.60}")
    return float(fps)


def _check_shapes(tracks: Tracks) -> None:
    xy, visible, ids = tracks.xy, tracks.visible, tracks.ids
    for name, tensor in (("xy", xy), ("visible", visible), ("ids", ids)):
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} must be a tensor, got a {type(tensor).__name__}; Tracks.from_points takes arrays")
    if xy.ndim != 4 or xy.shape[-1] != 2 or 0 in xy.shape[:2]:
        raise ValueError(f"xy must have the shape (B, T, N, 2) with B and T at least 1, got {tuple(xy.shape)}")
    B, T, N, _ = xy.shape
    rules = (
        ("xy", xy, (B, T, N, 2), torch.float32),
        ("visible", visible, (B, T, N), torch.bool),
        ("ids", ids, (B, N), torch.int64),
    )
    for name, tensor, shape, dtype in rules:
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(f"{name} must be {dtype} {shape}, got {tensor.dtype} {tuple(tensor.shape)}")
    if not is_size(tracks.size):
        raise ValueError(f"size must be (height, width) in whole pixels, at least 1, got {tracks.size!r:.60}")
    check_fps(tracks.fps)


def _check_values(tracks: Tracks, finite: Tensor) -> None:
    broken = (tracks.visible & ~finite).nonzero()
    if len(broken):
        b, t, n = broken[0].tolist()
        track_id = tracks.ids[b, n].item()
        raise ValueError(f"track {track_id} is NaN or infinite at frame {t}; mark the point as not visible there")
    if (tracks.ids < 0).any():
        raise ValueError(f"ids must be at least 0, got {tracks.ids.min().item()}")
    ordered = tracks.ids.sort(dim=1).values
    repeated = ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]]
    if len(repeated):
        raise ValueError(f"ids must be unique within a sample, but {repeated[0].item()} appears more than once")
