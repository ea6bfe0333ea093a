"""The streaming form and the offline one: same positions, queries in any order, late ones, and bounded memory."""

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import motionstream as ms
from motionstream.tracking import Seen, grid_queries, track_points, track_windows


class Echo:
    """A tracker that moves every point by (1, 2) a frame and answers ``late`` frames later."""

    growing = True

    def __init__(self, late: int = 0) -> None:
        self.late = late

    def start(self, frame: np.ndarray) -> None:
        self.xy = np.zeros((0, 2), np.float32)
        self.owed: list[Seen] = []

    def add(self, xy: np.ndarray) -> None:
        self.xy = np.concatenate([self.xy, xy])
        if self.owed:  # a tracker with look-ahead knows of a new point when it speaks of its frame
            self.owed[-1] = self._seen()

    def keep(self, mask: np.ndarray) -> None:
        self.xy = self.xy[mask]

    def _seen(self) -> Seen:
        return Seen(self.xy.copy(), np.ones(len(self.xy), bool))

    def feed(self, frame: np.ndarray) -> list[Seen]:
        self.xy = self.xy + np.float32([1, 2])
        if not self.late:
            return [self._seen()]
        self.owed.append(self._seen())
        given, self.owed = self.owed[: -self.late], self.owed[-self.late :]
        return given

    def finish(self) -> list[Seen]:
        return self.owed


BLANK = np.zeros((11, 40, 60, 3), np.uint8)
QUERIES = np.array([[4, 10, 10], [0, 1, 2], [10, 20, 5], [0, 7, 3]], np.float32)


@pytest.mark.parametrize("late", [0, 3, 20])
@pytest.mark.parametrize("window", [1, 4, 11, 16])
def test_every_frame_once_and_queries_in_their_order(late: int, window: int):
    windows = list(track_windows(BLANK, QUERIES, tracker=Echo(late), window=window))
    assert [w.start for w in windows] == list(range(0, 11, window))
    assert [len(w.frames) for w in windows] == [len(w.xy) for w in windows]
    xy, visible = (np.concatenate([getattr(w, name) for w in windows]) for name in ("xy", "visible"))
    assert xy.shape == (11, 4, 2)
    for n, (begin, x, y) in enumerate(QUERIES):
        when = np.arange(11)
        assert visible[:, n].tolist() == (when >= begin).tolist()
        passed = np.maximum(when - begin, 0)
        assert np.allclose(xy[:, n], np.stack([x + passed, y + 2 * passed], axis=1))


def test_streaming_and_offline_agree(moving):
    frames = moving(lambda x, y, t: (x - t, y), num_frames=9)
    queries = grid_queries((96, 128), 4)
    queries[3, 0] = 5
    tracks = track_points(frames, queries, fps=12)
    assert (tracks.size, tracks.fps, tracks.ids[0].tolist()) == ((96, 128), 12, list(range(16)))
    windows = list(track_windows(iter(frames), queries, window=2))
    assert np.array_equal(np.concatenate([w.xy for w in windows]), tracks.xy[0].numpy())
    assert not tracks.visible[0, :5, 3].any()
    assert tracks.visible[0, 5, 3]
    assert tracks.xy[0, 5, 3].tolist() == queries[3, 1:].tolist()


def test_tensors_and_files(moving, tmp_path):
    frames = moving(lambda x, y, t: (x - 2 * t, y), num_frames=5)
    video = torch.from_numpy(np.stack([frames, frames[::-1].copy()])).permute(0, 1, 4, 2, 3).float() / 255
    query = np.array([[0, 60.5, 40.5]])
    tracks = track_points(video, query)
    assert tracks.xy.shape == (2, 5, 1, 2)
    assert np.abs(tracks.xy[:, -1, 0].numpy() - [[68.5, 40.5], [52.5, 40.5]]).max() < 0.1
    ms.write_video(tmp_path / "clip.mp4", frames, fps=10)
    from_file = track_points(tmp_path / "clip.mp4", query)
    assert from_file.fps == 10
    assert np.abs(from_file.xy[0, -1, 0].numpy() - [68.5, 40.5]).max() < 0.2


def test_no_more_frames_are_held_than_a_window_needs():
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for _ in range(200):
            frame = np.zeros((32, 48, 3), np.uint8)
            given.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in given))
            yield frame

    for window in track_windows(frames(), np.array([[0, 5, 5]]), tracker=Echo(), window=8):
        assert len(window.frames) == 8
    assert 8 <= most <= 2 * 8 + 2  # the window in hand, and the one that is being filled


@pytest.mark.parametrize(
    ("video", "queries", "complaint"),
    [
        (BLANK[:0], [[0, 1, 1]], "no frame"),
        (BLANK, [[0, 60, 1]], "inside 60x40 pixels"),
        (BLANK, np.zeros((0, 3)), "at least one row"),
        (BLANK, [[1, 1]], "t, x, y"),
        (torch.zeros(1, 3, 40, 60), [[0, 1, 1]], r"must be \(B, T, 3, H, W\)"),
        (BLANK.astype(float), [[0, 1, 1]], "must be uint8"),
    ],
)
def test_bad_input(video, queries, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        track_points(video, queries)


def test_a_window_needs_a_frame():
    with pytest.raises(ValueError, match="at least 1 frame"):
        next(track_windows(BLANK, QUERIES, window=0))


@pytest.mark.parametrize("video", [torch.rand(1, 2, 3, 48, 64) * 255, torch.rand(1, 2, 3, 48, 64) * 2 - 1])
def test_a_tensor_of_another_range_is_refused(video):
    with pytest.raises(ValueError, match=r"in \[0, 1\], got values from .*: divide bytes by 255"):
        track_points(video, np.array([[0, 9, 9]]))
    with pytest.raises(ValueError, match="got values from nan to nan"):
        track_points(video * float("nan"), np.array([[0, 9, 9]]))


def test_what_is_not_for_these_videos_is_said_before_any_is_tracked():
    with pytest.raises(ValueError, match="fps must be a number from"):
        track_points(np.zeros((3, 48, 64, 3), np.uint8), np.array([[0, 9, 9]]), fps=0)
    with pytest.raises(ValueError, match=r"queries must be \(N, 3\), or \(B, N, 3\) for B = 2 videos, got \(3, 4, 3\)"):
        track_points(torch.rand(2, 3, 3, 48, 64), np.zeros((3, 4, 3)))
    with pytest.raises(ValueError, match=r"a video must be \(B, T, 3, H, W\) in \[0, 1\], got \(0, "):
        track_points(torch.rand(0, 3, 3, 48, 64), np.array([[0, 9, 9]]))
