"""Tracks of given points through a video: as a stream of windows for long ones, or at once.

tracks = track_points(video, grid_queries((H, W), 50))            # video: uint8 (T, H, W, 3), a path, or frames
for window in track_windows(frames, queries):                     # bounded memory: hours are fine
    window.xy, window.visible, window.frames
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motionstream.tracking.queries import check_queries
from motionstream.tracking.tracker import PointTracker, Seen, check_frame, make_tracker
from motionstream.tracks.tracks import Tracks, check_fps

WINDOW_FRAMES = 16
BEYOND = 0.5


@dataclass(frozen=True)
class TrackWindow:
    """Some frames of a video and where the points are in them.

    Attributes:
        start: index of the first frame. frames: list of (H, W, 3) uint8.
        xy: (T, N, 2) float32 pixels. visible: (T, N) bool; False before a point's query.
    """

    start: int
    frames: list[np.ndarray]
    xy: np.ndarray
    visible: np.ndarray


def track_windows(
    frames: Iterable[np.ndarray],
    queries: np.ndarray,
    *,
    tracker: str | PointTracker = "lk",
    window: int = WINDOW_FRAMES,
    **options: Any,
) -> Iterator[TrackWindow]:
    """Follow points through frames that are read one by one.

    Args:
        frames: (H, W, 3) uint8 each. queries: (N, 3) = (t, x, y), see `check_queries`; order is kept.
        tracker: a name (see `make_tracker`) or a tracker. window: frames given out at once, at least 1.
        options: of the tracker.

    Raises:
        ValueError: frames or queries that do not fit, or no frame at all.
    """
    if window < 1:
        raise ValueError(f"window={window} must be at least 1 frame")
    follower = make_tracker(tracker, **options) if isinstance(tracker, str) else tracker
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise ValueError("the video has no frame; check the file")
    queries = check_queries(queries, check_frame(first).shape[:2])
    order = np.argsort(queries[:, 0], kind="stable")  # a tracker takes points as their frames come
    begins = queries[order, 0].astype(int)
    kept: list[np.ndarray] = []
    known: list[Seen] = []
    start = 0
    for seen, frame in _seen_frames(follower, itertools.chain([first], source), queries[order, 1:], begins):
        if frame is not None:
            kept.append(frame)
        known += seen
        while len(known) >= window or (frame is None and known):
            taken = min(window, len(known))
            yield _window(start, kept[:taken], known[:taken], queries, order, begins)
            kept, known, start = kept[taken:], known[taken:], start + taken


def _seen_frames(
    tracker: PointTracker, frames: Iterator[np.ndarray], places: np.ndarray, begins: np.ndarray
) -> Iterator[tuple[list[Seen], np.ndarray | None]]:
    """What the tracker says, frame by frame; at the end what it still owes, with None for a frame."""
    for t, frame in enumerate(frames):
        if t == 0:
            tracker.start(frame)
        seen = [] if t == 0 else tracker.feed(frame)
        new = begins == t
        tracker.add(places[new])
        if t == 0:  # what a tracker says about the frame it starts with is what it was told
            seen = [Seen(places[new].copy(), np.ones(int(new.sum()), bool))]
        elif new.any() and seen:
            seen[-1] = _with(seen[-1], places[new])
        yield seen, frame
    yield tracker.finish(), None


def _with(seen: Seen, places: np.ndarray) -> Seen:
    return Seen(np.concatenate([seen.xy, places]), np.concatenate([seen.visible, np.ones(len(places), bool)]))


def _window(
    start: int, frames: list[np.ndarray], known: list[Seen], queries: np.ndarray, order: np.ndarray, begins: np.ndarray
) -> TrackWindow:
    """Bring what the tracker said into the order of the queries; what was not yet given stands where it will be."""
    xy = np.repeat(queries[None, :, 1:], len(known), axis=0)
    visible = np.zeros((len(known), len(queries)), bool)
    for t, seen in enumerate(known):
        rows = order[: len(seen.xy)]
        begun = begins[: len(seen.xy)] <= start + t
        xy[t, rows[begun]], visible[t, rows] = seen.xy[begun], seen.visible & begun
    return TrackWindow(start, frames, xy, visible)


def track_points(
    video: str | Path | np.ndarray | Tensor | Iterable[np.ndarray],
    queries: np.ndarray | Tensor,
    *,
    tracker: str = "lk",
    fps: float | None = None,
    **options: Any,
) -> Tracks:
    """Follow points through a video that fits into memory (tracks do; of a file or an iterator no frame is kept).

    Args:
        video: a path; frames, (T, H, W, 3) uint8 or an iterable of them; or a tensor (B, T, 3, H, W) in [0, 1].
        queries: (N, 3), or (B, N, 3) for B videos: (t, x, y), pixels with centres at +0.5. Track k is query k.
        tracker: "lk", "dis", "cotracker", "tapir" or "tapnext". options: of the tracker.
        fps: of the tracks; None takes the file's, else 16.

    Raises:
        ValueError: a video or queries that do not fit; one sentence.

    >>> moving = np.zeros((4, 48, 64, 3), np.uint8)
    >>> for t in range(4): moving[t, 20:26, 10 + 2 * t : 16 + 2 * t] = 255
    >>> track_points(moving, np.array([[0, 10, 20]])).xy[0, 3, 0].round().tolist()
    [16.0, 20.0]
    """
    if fps is not None:
        check_fps(fps)  # 0 would be taken for None, and anything else said only when all is tracked
    points = queries.detach().cpu().numpy() if isinstance(queries, Tensor) else np.asarray(queries)
    if isinstance(video, Tensor):
        return _track_tensor(video, points, tracker, fps, options)
    frames: Iterable[np.ndarray]
    if isinstance(video, (str, Path)):
        from motionstream.tracking.clip import Clip

        clip = Clip(video)
        frames, fps = clip.frames(), fps or clip.fps
    else:
        frames = video
    points = points[0] if points.ndim == 3 and len(points) == 1 else points
    size: tuple[int, int] | None = None
    xy, visible = [], []
    for window in track_windows(frames, points, tracker=tracker, **options):
        size = window.frames[0].shape[0], window.frames[0].shape[1]
        xy.append(window.xy)
        visible.append(window.visible)
    assert size is not None, "track_windows gives at least one frame"
    return Tracks.from_points(np.concatenate(xy), visible=np.concatenate(visible), size=size, fps=fps or 16.0)


def _track_tensor(video: Tensor, points: np.ndarray, tracker: str, fps: float | None, options: dict[str, Any]) -> Tracks:
    if video.ndim != 5 or video.shape[2] != 3 or not len(video) or not video.is_floating_point():
        raise ValueError(f"a video must be (B, T, 3, H, W) in [0, 1], got {tuple(video.shape)} {video.dtype}")
    lowest, highest = (float(edge) for edge in video.detach().aminmax()) if video.numel() else (0.0, 1.0)
    # A little beyond is what decoders and resizing leave; bytes as floats would all be white, and be tracked as such.
    if not -BEYOND <= lowest <= highest <= 1 + BEYOND:
        raise ValueError(
            f"a video must be (B, T, 3, H, W) in [0, 1], got values from {lowest:g} to {highest:g}: divide bytes by 255"
        )
    if points.ndim not in (2, 3) or (points.ndim == 3 and len(points) not in (1, len(video))):
        raise ValueError(f"queries must be (N, 3), or (B, N, 3) for B = {len(video)} videos, got {points.shape}")
    points = np.broadcast_to(points, (len(video), *points.shape[-2:]))
    parts = []
    for sample, asked in zip(video, points, strict=True):
        frames = (sample.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        parts.append(track_points(frames, asked, tracker=tracker, fps=fps, **options))
    return Tracks(
        xy=torch.cat([part.xy for part in parts]),
        visible=torch.cat([part.visible for part in parts]),
        ids=torch.cat([part.ids for part in parts]),
        size=parts[0].size,
        fps=parts[0].fps,
    )
