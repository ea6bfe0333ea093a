"""Does the video move as it was told? End-point error of re-tracked output against the tracks it was given.

Every input track is looked for in the output from the frame in which it is first visible (paper appendix E: distance
between visible input tracks and the tracks that a point tracker finds in the output). The tracker errs too: the same number
measured on the true video is the *floor*, and is reported beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionstream.tracking import queries_of_tracks, track_points
from motionstream.tracks.tracks import Tracks


@dataclass(frozen=True)
class Following:
    """How well found points keep to given ones.

    Attributes:
        epe_px: mean distance in pixels over visible input points, frames of the queries left out. Where the tracker lost
            a point, its last guess counts.
        epe_seen_px: the same over points that the tracker says it sees; None when it sees none.
        seen_share: share of the visible input points that the tracker says it sees.
        num_points: points compared.
    """

    epe_px: float
    epe_seen_px: float | None
    seen_share: float
    num_points: int


def end_point_error(given: Tracks, found: Tracks) -> Following:
    """Compare tracks on one canvas; the queries are the first visible points of ``given`` (B = 1).

    Raises:
        ValueError: another shape or canvas, or no visible point after its query.
    """
    if given.xy.shape != found.xy.shape or given.size != found.size:
        raise ValueError(
            f"given tracks {tuple(given.xy.shape)} on {given.size} and found ones {tuple(found.xy.shape)} on {found.size} "
            "cannot be compared: track the same points on the same canvas"
        )
    visible = given.visible[0]
    first = visible.int().argmax(dim=0)
    after = np.arange(given.num_frames)[:, None] > first.numpy()
    judged = visible.numpy() & after
    if not judged.any():
        raise ValueError("no track is visible after its first frame: motion cannot be measured; give longer tracks")
    distance = np.linalg.norm(given.xy[0].numpy() - found.xy[0].numpy(), axis=-1)
    seen = judged & found.visible[0].numpy()
    return Following(
        epe_px=float(distance[judged].mean()),
        epe_seen_px=float(distance[seen].mean()) if seen.any() else None,
        seen_share=float(seen.sum() / judged.sum()),
        num_points=int(judged.sum()),
    )


def with_queries(tracks: Tracks) -> tuple[Tracks, np.ndarray]:
    """Tracks that are visible at some time, and their queries (N, 3) = (t, x, y) in the same order.

    Raises:
        ValueError: no visible point.
    """
    kept = tracks.select(tracks.visible[0].any(dim=0))
    if kept.num_tracks == 0:
        raise ValueError("no track is ever visible: motion cannot be measured; give other tracks")
    return kept, queries_of_tracks(kept)


def measure_following(frames: np.ndarray, tracks: Tracks, tracker: str = "lk") -> dict[str, float | None]:
    """Re-track ``tracks`` (B = 1, on the frames' canvas) in ``frames`` (T, H, W, 3) uint8: ``epe_px`` and its company.

    Raises:
        ValueError: frames of another number or size, or nothing to compare.
    """
    if frames.shape[:3] != (tracks.num_frames, *tracks.size):
        raise ValueError(f"frames {frames.shape} and tracks of {tracks.num_frames} frames on {tracks.size} do not fit")
    kept, queries = with_queries(tracks)
    found = track_points(frames, queries, tracker=tracker, fps=tracks.fps)
    result = end_point_error(kept, found)
    return {"epe_px": result.epe_px, "epe_seen_px": result.epe_seen_px, "seen_share": result.seen_share}
