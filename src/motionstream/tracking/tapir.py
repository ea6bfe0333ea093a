"""TAPIR (causal BootsTAPIR) and TAPNext with your own installation of ``tapnet`` and weights; both are Apache-2.0.

What is relied on (recorded from the public source of ``tapnet``, checked in tests/tracking/test_adapters.py): frames go in
as (1, 1, 256, 256, 3) in [-1, 1], query points as (1, N, 3) = (t, y, x) in pixels of that square, (0, 0) the corner of its
first one, which is our convention: no half-pixel shift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from motionstream.tracking.tracker import Seen, check_frame, check_points

SIDE_PX = 256


class _Square(ABC):
    """What both share: the square picture they see, scaling to and from it, and loading."""

    name, weights_hint = "", ""

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        model_class = self._import()
        if weights is None or not Path(weights).is_file():
            raise ValueError(
                f"tracker {self.name!r} needs its weights, but {str(weights)!r} is no file: give {self.weights_hint}"
            )
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = self._load(model_class, Path(weights)).to(self.device).eval()
        self._size: tuple[int, int] | None = None

    @abstractmethod
    def _import(self) -> Any:
        """The class of the model, or ValueError where ``tapnet`` is missing."""

    @abstractmethod
    def _load(self, model_class: Any, weights: Path) -> Any:
        """The model with its weights."""

    def _say_missing(self, error: ImportError) -> ValueError:
        return ValueError(
            f"tracker {self.name!r} needs your own installation of tapnet (google-deepmind/tapnet on GitHub, licence "
            f"Apache-2.0), which cannot be imported ({error}); or use the tracker lk (--tracker)"
        )

    def _picture(self, frame: np.ndarray) -> Tensor:
        square = cv2.resize(check_frame(frame, self._size), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(square).to(self.device)[None, None].float() / 255 * 2 - 1

    def _started(self, frame: np.ndarray) -> None:
        frame = check_frame(frame)
        self._size = frame.shape[0], frame.shape[1]
        self._now = self._picture(frame)

    def _check_started(self) -> None:
        if self._size is None:
            raise ValueError("start the tracker with a first frame before feeding it others")

    def _scale(self) -> np.ndarray:
        """Pixels of the square per pixel of the frames, (x, y)."""
        assert self._size is not None
        H, W = self._size
        return np.array([SIDE_PX / W, SIDE_PX / H], np.float32)

    def _queries(self, xy: np.ndarray) -> Tensor:
        x, y = (check_points(xy) * self._scale()).T
        return torch.from_numpy(np.stack([np.zeros_like(x), y, x], axis=1)).to(self.device)[None]

    def finish(self) -> list[Seen]:
        self._size = None
        return []


def _state_dict(weights: Path) -> dict[str, Tensor]:
    try:
        if weights.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(weights)
        values = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of damaged files raise almost anything
        raise ValueError(f"{weights} is not readable as weights ({type(error).__name__}); download it again") from error
    return values.get("state_dict", values) if isinstance(values, dict) else values


class Tapir(_Square):
    """Causal TAPIR as a `PointTracker`: one frame in, one out; points may come and go at any time.

    Args:
        weights: ``causal_bootstapir_checkpoint.pt``. device: None takes CUDA where there is one.

    Raises:
        ValueError: no installation, or no weights; one sentence with the fix.
    """

    growing = True
    name, weights_hint = "tapir", "causal_bootstapir_checkpoint.pt"

    def _import(self) -> Any:
        try:
            from tapnet.torch import tapir_model
        except ImportError as error:
            raise self._say_missing(error) from error
        return tapir_model.TAPIR

    def _load(self, model_class: Any, weights: Path) -> Any:
        model = model_class(pyramid_level=1, use_casual_conv=True)
        model.load_state_dict(_state_dict(weights))
        return model

    def start(self, frame: np.ndarray) -> None:
        self._started(frame)
        self._features: Any = None
        self._context: list[dict[str, Tensor]] = []

    @torch.inference_mode()
    def add(self, xy: np.ndarray) -> None:
        if not len(xy):
            return
        grids = self.model.get_feature_grids(self._now, is_training=False)
        new = self.model.get_query_features(
            self._now, is_training=False, query_points=self._queries(xy), feature_grids=grids
        )
        fresh = self.model.construct_initial_causal_state(len(xy), len(new.resolutions) - 1)
        fresh = [{key: value.to(self.device) for key, value in level.items()} for level in fresh]
        # The first causal step belongs to the frame of the query, as in the model's own live use.
        _, _, fresh = self._predict(self._now, new, fresh)
        if self._features is None:
            self._features, self._context = new, fresh
            return
        pairs = zip((self._features.lowres, self._features.hires), (new.lowres, new.hires), strict=True)
        lowres, hires = (tuple(torch.cat(both, dim=1) for both in zip(*pair, strict=True)) for pair in pairs)
        self._features = type(new)(lowres, hires, new.resolutions)
        self._context = [
            {key: torch.cat([old[key], more[key]], dim=1) for key in old}
            for old, more in zip(self._context, fresh, strict=True)
        ]

    def keep(self, mask: np.ndarray) -> None:
        if self._features is None:
            return
        rows = torch.from_numpy(np.flatnonzero(mask)).to(self.device)
        if not len(rows):
            self._features, self._context = None, []
            return
        lowres, hires = (
            tuple(value[:, rows] for value in values) for values in (self._features.lowres, self._features.hires)
        )
        self._features = type(self._features)(lowres, hires, self._features.resolutions)
        self._context = [{key: value[:, rows] for key, value in level.items()} for level in self._context]

    @torch.inference_mode()
    def feed(self, frame: np.ndarray) -> list[Seen]:
        self._check_started()
        self._now = self._picture(frame)
        if self._features is None:
            return [Seen(np.zeros((0, 2), np.float32), np.zeros(0, bool))]
        xy, visible, self._context = self._predict(self._now, self._features, self._context)
        return [Seen(xy, visible)]

    def _predict(self, picture: Tensor, features: Any, context: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        found = self.model.estimate_trajectories(
            (SIDE_PX, SIDE_PX),
            is_training=False,
            feature_grids=self.model.get_feature_grids(picture, is_training=False),
            query_features=features,
            query_points_in_video=None,
            query_chunk_size=64,
            causal_context=context,
            get_causal_context=True,
        )
        # the last entry of each list is the most refined one; (1, N, 1, 2) and (1, N, 1)
        sure = (1 - found["occlusion"][-1].sigmoid()) * (1 - found["expected_dist"][-1].sigmoid())
        xy = found["tracks"][-1][0, :, 0].float().cpu().numpy() / self._scale()
        return xy.astype(np.float32), (sure[0, :, 0] > 0.5).cpu().numpy(), found["causal_context"]


class TapNext(_Square):
    """TAPNext as a `PointTracker`: one frame in, one out. Points that are added together share one run of the model.

    Args:
        weights: the published ``bootstapnext_ckpt.npz``, or a state dict. device: None takes CUDA where there is one.

    Raises:
        ValueError: no installation, or no weights; one sentence with the fix.
    """

    growing = True
    name, weights_hint = "tapnext", "bootstapnext_ckpt.npz"

    def _import(self) -> Any:
        try:
            from tapnet.tapnext import tapnext_torch
        except ImportError as error:
            raise self._say_missing(error) from error
        return tapnext_torch.TAPNext

    def _load(self, model_class: Any, weights: Path) -> Any:
        model = model_class(image_size=(SIDE_PX, SIDE_PX))
        if weights.suffix == ".npz":
            from tapnet.tapnext.tapnext_torch_utils import restore_model_from_jax_checkpoint

            return restore_model_from_jax_checkpoint(model, str(weights))
        model.load_state_dict(_state_dict(weights))
        return model

    def start(self, frame: np.ndarray) -> None:
        self._started(frame)
        self._groups: list[tuple[Any, np.ndarray]] = []  # the model's state, and which of its points are kept

    @torch.inference_mode()
    def add(self, xy: np.ndarray) -> None:
        if len(xy):
            *_, state = self.model(video=self._now, query_points=self._queries(xy))
            self._groups.append((state, np.ones(len(xy), bool)))

    def keep(self, mask: np.ndarray) -> None:
        left, groups = np.asarray(mask, bool), []
        for state, kept in self._groups:
            here, left = left[: kept.sum()], left[kept.sum() :]
            still = kept.copy()
            still[kept] = here
            if still.any():
                groups.append((state, still))
        self._groups = groups

    @torch.inference_mode()
    def feed(self, frame: np.ndarray) -> list[Seen]:
        self._check_started()
        self._now = self._picture(frame)
        xy, visible, groups = [np.zeros((0, 2), np.float32)], [np.zeros(0, bool)], []
        for state, kept in self._groups:
            tracks, _, logits, state = self.model(video=self._now, state=state)
            groups.append((state, kept))
            # (1, 1, N, 2) = (y, x), and (1, 1, N, 1)
            xy.append(tracks[0, 0].flip(-1).float().cpu().numpy()[kept] / self._scale())
            visible.append((logits[0, 0, :, 0] > 0).cpu().numpy()[kept])
        self._groups = groups
        return [Seen(np.concatenate(xy).astype(np.float32), np.concatenate(visible))]
