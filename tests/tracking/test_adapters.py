"""CoTracker3, TAPIR and TAPNext against stand-ins with the shapes, ranges and call order recorded from their sources.

The stand-ins answer in their own conventions; every point moves by (3, 1) pixels of the video a frame.
"""

import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from motionstream.tracking import make_tracker, track_points
from motionstream.tracking.live import LivePoints

SIZE = (64, 128)
STEP = np.array([3.0, 1.0])
FeatureGrids = namedtuple("FeatureGrids", "lowres hires resolutions")
QueryFeatures = namedtuple("QueryFeatures", "lowres hires resolutions")


def frames(count: int) -> np.ndarray:
    """Frame t is t grey levels bright, so that a stand-in can tell which one it was given."""
    return np.repeat(np.arange(count, dtype=np.uint8), SIZE[0] * SIZE[1] * 3).reshape(count, *SIZE, 3)


class OnlinePredictor:
    """CoTracker's: windows of 16 that advance by 8, pixel centres at whole numbers, tracks of all frames so far."""

    step = 8

    def __init__(self, checkpoint: str, window_len: int) -> None:
        assert window_len == 16
        assert Path(checkpoint).is_file()
        self.calls: list[list[int]] = []

    def to(self, device: str) -> "OnlinePredictor":
        return self

    def __call__(self, video_chunk, is_first_step: bool = False, queries=None):
        B, T, C, H, W = video_chunk.shape
        assert (B, T, C, H, W) == (1, 16, 3, *SIZE)
        if is_first_step:
            assert queries.shape[::2] == (1, 3)
            self.queries = queries
            return None, None
        shown = video_chunk[0, :, 0, 0, 0].int().tolist()
        begin = 8 * len(self.calls)
        assert shown[0] == begin  # advanced by the step, values in [0, 255]
        self.calls.append(shown)
        when = torch.arange(begin + 16)[:, None]
        begun = self.queries[0, :, 0][None]
        tracks = self.queries[0, :, 1:] + torch.tensor(STEP).float() * (when - begun)[..., None]
        guess = torch.zeros(begin + 16, 1, 1)
        guess[begin + 8 :] = 0.25  # what the next window will refine is not settled
        return (tracks + guess)[None], ((when >= begun) & (tracks[..., 0] < 100))[None]


class Tapir:
    """TAPIR's: frames (1, 1, 256, 256, 3) in [-1, 1], queries (t, y, x), state with points along dimension 1."""

    def __init__(self, pyramid_level: int, use_casual_conv: bool) -> None:
        assert (pyramid_level, use_casual_conv) == (1, True)

    def load_state_dict(self, values: dict) -> None:
        assert list(values) == ["weight"]

    def to(self, device: str) -> "Tapir":
        return self

    eval = lambda self: self  # noqa: E731

    def get_feature_grids(self, picture, is_training: bool):
        assert picture.shape == (1, 1, 256, 256, 3)
        assert picture.min() >= -1
        assert picture.max() <= 1
        return FeatureGrids((picture,), (picture,), ((256, 256),) * 2)

    def get_query_features(self, picture, is_training: bool, query_points, feature_grids):
        assert query_points.shape[::2] == (1, 3)
        assert (query_points[..., 0] == 0).all()
        place = query_points[..., [2, 1]]
        return QueryFeatures((place,), (place,), ((256, 256),) * 2)

    def construct_initial_causal_state(self, num_points: int, num_resolutions: int):
        assert num_resolutions == 1
        return [{"block_0_causal_1": torch.zeros(1, num_points, 2, 4)}] * num_resolutions * 4

    def estimate_trajectories(self, size, query_features, causal_context, query_points_in_video, **options):
        assert size == (256, 256)
        assert options["get_causal_context"]
        place = query_features.lowres[0]
        steps = causal_context[0]["block_0_causal_1"][:, :, 0, 0]  # frames since the query
        assert steps.shape == place.shape[:2]
        scale = torch.tensor([256 / SIZE[1], 256 / SIZE[0]])
        tracks = place + steps[..., None] * torch.tensor(STEP).float() * scale
        after = [{key: value + 1 for key, value in level.items()} for level in causal_context]
        hidden = torch.where(tracks[..., 0] < 200, -5.0, 5.0)[..., None]
        return {
            "tracks": [tracks[:, :, None] + 9, tracks[:, :, None]],  # the last one counts
            "occlusion": [hidden, hidden],
            "expected_dist": [torch.full_like(hidden, -5.0)] * 2,
            "causal_context": after,
        }


class TapNext:
    """TAPNext's: the same frames, (y, x) out, a state object in and out."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        assert image_size == (256, 256)

    load_state_dict, to, eval = Tapir.load_state_dict, Tapir.to, Tapir.eval

    def __call__(self, video, query_points=None, state=None):
        assert video.shape == (1, 1, 256, 256, 3)
        state = SimpleNamespace(step=0, query_points=query_points) if state is None else state
        scale = torch.tensor([256 / SIZE[0], 256 / SIZE[1]])
        tracks = state.query_points[..., 1:] + state.step * torch.tensor(STEP).float().flip(0) * scale
        after = SimpleNamespace(step=state.step + 1, query_points=state.query_points)
        visible = torch.where(tracks[..., 1] < 200, 3.0, -3.0)
        return tracks[:, None], torch.zeros(1, 1, tracks.shape[1], 512), visible[:, None, :, None], after


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the stand-ins, and a file of weights."""
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    modules = {
        "cotracker": {},
        "cotracker.predictor": {"CoTrackerOnlinePredictor": OnlinePredictor},
        "tapnet": {},
        "tapnet.torch": {},
        "tapnet.torch.tapir_model": {"TAPIR": Tapir},
        "tapnet.tapnext": {},
        "tapnet.tapnext.tapnext_torch": {"TAPNext": TapNext},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return path


NAMES = ("cotracker", "tapir", "tapnext")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 15, 16, 17, 40])
def test_positions_come_back_in_our_convention(weights: Path, name: str, count: int):
    queries = np.array([[0, 10.5, 20.25], [0, 64, 32]])
    tracks = track_points(frames(count), queries, tracker=name, weights=weights, device="cpu")
    assert tracks.num_frames == count
    when = np.arange(count)[:, None, None]
    wanted = queries[:, 1:] + STEP * when
    settled = tracks.visible[0].numpy()
    assert settled[: min(count, 8)].all()
    error = np.abs(tracks.xy[0].numpy() - wanted)[settled]
    # CoTracker's last half window is never refined again, in the stand-in as in the real one
    assert error.max() <= (0.2501 if name == "cotracker" else 1e-3)
    if count == 40:
        assert not settled[-1].any()
        assert np.abs(tracks.xy[0].numpy() - wanted)[:32].max() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_late_queries(weights: Path, name: str):
    queries = np.array([[5, 30, 30], [0, 10, 20], [9, 40, 10]])
    tracks = track_points(frames(14), queries, tracker=name, weights=weights, device="cpu")
    for n, (begin, x, y) in enumerate(queries):
        assert tracks.visible[0, :, n].tolist() == [t >= begin for t in range(14)]
        assert np.abs(tracks.xy[0, 12, n].numpy() - [x + 3 * (12 - begin), y + 12 - begin]).max() <= 0.2501


@pytest.mark.parametrize("name", ["tapir", "tapnext"])
def test_points_come_and_go(weights: Path, name: str):
    tracker = make_tracker(name, weights=weights, device="cpu")
    video = frames(6)
    tracker.start(video[0])
    assert tracker.feed(video[1])[0].xy.shape == (0, 2)
    tracker.add(np.array([[10, 10], [20, 20]]))
    tracker.feed(video[2])
    tracker.add(np.array([[50, 5]]))
    tracker.keep(np.array([False, True, True]))
    (seen,) = tracker.feed(video[3])
    assert np.allclose(seen.xy, [[26, 22], [53, 6]], atol=1e-3)
    tracker.keep(np.array([False, True]))
    assert np.allclose(tracker.feed(video[4])[0].xy, [[56, 7]], atol=1e-3)
    tracker.keep(np.array([False]))
    assert tracker.feed(video[5])[0].xy.shape == (0, 2)


def test_cotracker_takes_points_at_its_start_only(weights: Path):
    tracker = make_tracker("cotracker", weights=weights, device="cpu")
    with pytest.raises(ValueError, match="within the first 15 frames"):
        track_points(frames(20), np.array([[0, 5, 5], [17, 5, 5]]), tracker=tracker)
    with pytest.raises(ValueError, match="takes points only at its start"):
        LivePoints(16, tracker=tracker)


def test_cotracker_forgets_points_and_takes_late_starters(weights: Path):
    tracker = make_tracker("cotracker", weights=weights, device="cpu")
    video = frames(24)
    tracker.start(video[0])
    tracker.add(np.array([[1, 1], [2, 2], [3, 3]]))
    tracker.keep(np.array([True, False, True]))
    found = [seen for frame in video[1:] for seen in tracker.feed(frame)] + tracker.finish()
    assert len(found) == 23
    assert np.allclose(found[2].xy, [[10, 4], [12, 6]], atol=1e-3)
    tracker.start(video[0])  # and no points at all
    assert len([seen for frame in video[1:] for seen in tracker.feed(frame)] + tracker.finish()) == 23


@pytest.mark.parametrize("name", NAMES)
def test_missing_library_and_weights(weights: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    for path in (None, "nowhere.pt"):
        with pytest.raises(ValueError, match="is no file: give"):
            make_tracker(name, weights=path)
    for module in list(sys.modules):
        if module.split(".")[0] in ("cotracker", "tapnet"):
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"needs your own installation of .* licence .* or use the tracker lk"):
        make_tracker(name, weights=weights)


@pytest.mark.parametrize("name", ["tapir", "tapnext"])
def test_damaged_and_foreign_weights(weights: Path, name: str, tmp_path: Path):
    (tmp_path / "bad.pt").write_bytes(b"junk")
    with pytest.raises(ValueError, match="not readable as weights"):
        make_tracker(name, weights=tmp_path / "bad.pt", device="cpu")
    torch.save(SimpleNamespace(weight=1), tmp_path / "pickle.pt")  # an object of a class: never unpickled
    with pytest.raises(ValueError, match="not readable as weights"):
        make_tracker(name, weights=tmp_path / "pickle.pt", device="cpu")
