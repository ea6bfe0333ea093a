"""CoTracker3 (online) with your own installation and weights; both are CC BY-NC 4.0, so not for commercial use.

What is relied on (recorded from its public source, checked in tests/tracking/test_adapters.py): ``CoTrackerOnlinePredictor(
checkpoint=..., window_len=16)`` has ``step`` = 8; the first call, with ``is_first_step=True`` and ``queries`` (1, N, 3) =
(t, x, y), only prepares; each later call takes ``video_chunk`` (1, 16, 3, H, W) in [0, 255], 8 frames after the one before,
and returns ``tracks`` (1, T, N, 2) and ``visibility`` (1, T, N) for all T frames so far. Pixels count from their centres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from motionstream.tracking.tracker import Seen, check_frame, check_points

WINDOW_FRAMES = 16
HALF_PIXEL = 0.5


class CoTracker:
    """A `PointTracker` with look-ahead: positions come 8 to 16 frames late, points must come within the first 15 frames.

    Args:
        weights: the file ``scaled_online.pth``. device: None takes CUDA where there is one.

    Raises:
        ValueError: no installation, or no weights; one sentence with the fix.
    """

    growing = False

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        try:
            from cotracker.predictor import CoTrackerOnlinePredictor
        except ImportError as error:
            raise ValueError(
                "tracker 'cotracker' needs your own installation of CoTracker (facebookresearch/co-tracker on GitHub, "
                f"licence CC BY-NC 4.0), which cannot be imported ({error}); or use the tracker lk (--tracker)"
            ) from error
        if weights is None or not Path(weights).is_file():
            raise ValueError(
                f"tracker 'cotracker' needs its weights, but {str(weights)!r} is no file: give scaled_online.pth"
            )
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.predictor: Any = CoTrackerOnlinePredictor(checkpoint=str(weights), window_len=WINDOW_FRAMES).to(self.device)
        self.step = int(self.predictor.step)
        self._size: tuple[int, int] | None = None

    def start(self, frame: np.ndarray) -> None:
        frame = check_frame(frame)
        self._size = frame.shape[0], frame.shape[1]
        self._frames = [frame]
        self._fed, self._told, self._end = 1, 1, 0  # frames fed; given out (frame 0 is never); covered by windows
        self._queries: list[np.ndarray] = []
        self._kept: np.ndarray | None = None

    def add(self, xy: np.ndarray) -> None:
        xy = check_points(xy)
        if not len(xy):
            return
        if self._end:
            raise ValueError("CoTracker takes its points within the first 15 frames; for later ones use lk, dis or tapir")
        when = np.full((len(xy), 1), self._fed - 1, np.float32)
        self._queries.append(np.concatenate([when, xy - HALF_PIXEL], axis=1))
        if self._kept is not None:
            self._kept = np.concatenate([self._kept, np.arange(len(xy)) + self._num_queries() - len(xy)])

    def keep(self, mask: np.ndarray) -> None:
        rows = np.arange(self._num_queries()) if self._kept is None else self._kept
        self._kept = rows[np.asarray(mask, bool)]

    def feed(self, frame: np.ndarray) -> list[Seen]:
        if self._size is None:
            raise ValueError("start the tracker with a first frame before feeding it others")
        self._frames.append(check_frame(frame, self._size))
        self._fed += 1
        if self._fed < self._end + self.step or len(self._frames) < 2 * self.step:
            return []
        # The later half of a window is refined again by the next one, so only the earlier half is given out.
        return self._advance(final=self._fed - self.step)

    def finish(self) -> list[Seen]:
        owed = []
        if self._size is not None and self._fed > self._told:
            missing = 2 * self.step - len(self._frames)
            self._frames += [self._frames[-1]] * missing  # the last frame again, up to a whole window
            owed = self._advance(final=self._fed)
        self._size = None
        return owed

    def _advance(self, final: int) -> list[Seen]:
        """Run one window and give out what is settled before frame ``final``."""
        if not self._queries:
            self._end, count = self._fed, final - self._told
            self._frames, self._told = self._frames[self.step :], final
            return [Seen(np.zeros((0, 2), np.float32), np.zeros(0, bool))] * count
        chunk = torch.from_numpy(np.stack(self._frames)).to(self.device).permute(0, 3, 1, 2)[None].float()
        if not self._end:
            queries = torch.from_numpy(np.concatenate(self._queries)).to(self.device)[None]
            self.predictor(video_chunk=chunk, is_first_step=True, queries=queries)
        tracks, visibility = self.predictor(video_chunk=chunk)
        xy = tracks[0, self._told : final].float().cpu().numpy() + np.float32(HALF_PIXEL)
        visible = visibility[0, self._told : final].reshape(xy.shape[:2]).bool().cpu().numpy()
        if self._kept is not None:
            xy, visible = xy[:, self._kept], visible[:, self._kept]
        self._frames, self._told, self._end = self._frames[self.step :], final, self._fed
        return [Seen(*pair) for pair in zip(xy, visible, strict=True)]

    def _num_queries(self) -> int:
        return sum(len(rows) for rows in self._queries)
