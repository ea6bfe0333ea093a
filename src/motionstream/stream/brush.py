"""What a brush was set on: of all that it covers, the thing, without the ground beside it.

A disc as large as a thing covers as much ground as thing (IoU .57 in suite `drags`), and what is held of the ground moves
too: it takes the ground's own texture along, and whatever else lies there. The disc says far more about the thing than a
point does, though: GrabCut (stream/outline.py) begun from it finds the thing with an IoU of .91 (docs/LOG.md, 2026-11-30).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from motionstream.stream.outline import MARGIN_CELLS, ROUNDS
from motionstream.stream.patch import is_dab
from motionstream.stream.points import Point

MOST_PX = 192 * 144
"""Larger pictures are reduced to so many pixels, or a grab would hold the stream up (at 832x480 for half a second). With
fewer the thing is found less well: at two thirds of nano's side the IoU is .04 less."""
FEWEST_POINTS = 5
"""Fewer do not show how far a brush reaches."""
FEWEST_CELLS = 1.0
"""Brushes whose widest place is narrower, this many cells from its rim, are left as they are."""


class Reading(NamedTuple):
    """How a brush may have been meant; all in widths, from its rim to its middle.

    Args:
        maybe: what lies less than this within the brush (beyond it, where that is below 0) may well be ground.
        sure: what is deeper is the thing. beyond: so far beyond the brush the thing ends.
    """

    maybe: float
    sure: float
    beyond: float


COVERS, WITHIN = Reading(0.15, 0.6, 0.4), Reading(-0.3, 0.3, 1.2)
"""The brush covers the thing, about; or it was set on the middle of a larger one (docs/LOG.md, 2026-11-30)."""
CLEARER = 1.2
"""So many times as clear must the larger thing's outline be: parts of a thing, as a flower's middle, have outlines, too."""
OVERHANG = 0.45
"""Between the points of a brush; so far does what they stand for reach beyond its rim."""
NEAR_CELLS = 2.0
"""An anchor of a thing that lies nearer to a point of the brush than in the picture, or farther, by more cells stays."""
SIDE_PX = 2
"""Pixels on each side of an outline whose colours are compared."""
CLEAR_SHARE = 0.25
"""Where less of a brush is on its thing than this, what was found is no thing (a patch of a face), and all is held."""


class Snapped(NamedTuple):
    """What :func:`snapped` gives.

    Args:
        beside: ids of points that are not on the thing which their brush was set on. whole: id of a point that is on one ->
            ``(n,)`` bool, the thing's anchors to which it is the nearest of its brush.
    """

    beside: set[int]
    whole: dict[int, Tensor]


def snapped(
    picture: np.ndarray | None,
    new: list[int],
    held: Mapping[int, Point],
    in_frame_0: Callable[[Tensor], Tensor],
    anchors: Tensor,
    homes: Tensor,
    cell: float,
) -> Snapped:
    """What ``new`` points hold whose brushes snap; nothing is told where nothing can be looked for.

    Args:
        picture: None = there is none, or no OpenCV. held: all points by id, the new ones among them. in_frame_0: places of a
            brush's points ``(k, 2)`` -> where the picture has what they lie on; nan where it does not. anchors, homes: ``(n,
            2)`` where the anchors are, and where they are in the picture. cell: as below.
    """
    told = Snapped(set(), {})
    if picture is None:
        return told
    for group in {held[key].group for key in new if held[key].snap}:
        keys = [key for key in new if held[key].group == group]
        places = torch.tensor([held[key].start for key in keys], dtype=torch.float32)
        if is_dab(places, torch.arange(len(keys)), cell, torch.ones(len(keys), dtype=torch.bool)):
            continue  # so small a brush takes what it touches (stream/patch.py)
        before = in_frame_0(places)
        thing = thing_under(picture, before[before.isfinite().all(dim=1)].double().numpy(), cell)
        if thing is None:
            continue
        on = on_thing(thing, before)
        if not on.any():
            continue  # it lies between the points
        told.beside.update(key for key, hit in zip(keys, on.tolist(), strict=True) if not hit)
        on &= before.isfinite().all(dim=1)
        places, before, mine = places[on], before[on], torch.tensor(keys)[on].tolist()
        away = torch.cdist(places, anchors)
        nearest = away.argmin(dim=0)
        # What was torn from the thing before, and lies elsewhere now, is left there.
        spread = (before - before.mean(dim=0)).norm()
        grown = (places - places.mean(dim=0)).norm() / spread if spread > 0 else 1.0  # of a single point nothing is known
        with_it = (away - grown * torch.cdist(before, homes)).abs().amax(dim=0) <= NEAR_CELLS * cell
        whole = on_thing(thing, homes) & with_it
        told.whole.update({key: whole & (nearest == row) for row, key in enumerate(mine)})
    return told


def on_thing(thing: np.ndarray, points: Tensor) -> Tensor:
    """``(k,)`` bool: which of ``points (k, 2)``, in pixels, are on a thing, ``(H, W)`` bool. Those that the picture does not
    have (nan) count as on it."""
    known = points.isfinite().all(dim=1)
    on = torch.ones(len(points), dtype=torch.bool)
    height, width = thing.shape
    x, y = points[known].long().unbind(dim=1)
    on[known] = torch.from_numpy(thing)[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return on


def thing_under(picture: np.ndarray, points: np.ndarray, cell: float) -> np.ndarray | None:
    """The thing that a brush was set on.

    The same arguments always give the same answer.

    Args:
        picture: ``(H, W, 3)`` uint8. points: ``(k, 2)`` x and y of the brush's points in its pixels. cell: pixels of a cell.

    Returns:
        ``(H, W)`` bool, or None where nothing clear is found: few points, a narrow brush, one that covers nearly all of the
        picture, or ground and thing that look alike.
    """
    import cv2

    height, width = picture.shape[:2]
    points = points[((points >= 0) & (points < (width, height))).all(axis=1)]
    if len(points) < FEWEST_POINTS:
        return None
    share = min(1.0, (MOST_PX / (width * height)) ** 0.5)
    size = max(1, round(width * share)), max(1, round(height * share))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if share < 1 else np.ascontiguousarray(picture)
    brush = _covered(points * (size[0] / width, size[1] / height), size)
    depth, away = _distance(brush), _distance(~brush)
    middle = float(depth.max())
    if middle < FEWEST_CELLS * cell * share:
        return None
    covers, within = (_cut(small, depth - away, middle, reading, cell * share) for reading in (COVERS, WITHIN))
    thing = within if _clearness(small, within) > CLEARER * _clearness(small, covers) else covers
    if thing[brush].mean() < CLEAR_SHARE or thing.all():
        return None
    return cv2.resize(thing.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _cut(picture: np.ndarray, depth: np.ndarray, middle: float, reading: Reading, cell: float) -> np.ndarray:
    """``(h, w)`` bool: the thing of a brush, read so; all of the picture where nothing of it is taken for ground.

    Args:
        depth: how far each pixel lies within the brush, below 0 beyond it. middle: the most of it. cell: in these pixels.
    """
    import cv2

    mask = np.full(depth.shape, cv2.GC_BGD, np.uint8)
    mask[depth >= -reading.beyond * middle] = cv2.GC_PR_BGD
    mask[depth >= reading.maybe * middle] = cv2.GC_PR_FGD
    mask[depth >= reading.sure * middle] = cv2.GC_FGD
    look = depth >= -(reading.beyond * middle + MARGIN_CELLS * cell)
    rows, columns = np.flatnonzero(look.any(axis=1)), np.flatnonzero(look.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cut, sure = np.ascontiguousarray(mask[part]), mask[part] == cv2.GC_FGD
    if not np.isin(cut, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
        return np.ones(depth.shape, bool)
    cv2.setRNGSeed(0)  # it begins with k-means
    unused = 0, 0, 1, 1  # a rectangle; the mask says all
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture[part]), cut, unused, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    _, parts = cv2.connectedComponents(np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    thing = np.zeros(depth.shape, bool)
    thing[part] = np.isin(parts, np.unique(parts[sure]))
    return thing


def _clearness(picture: np.ndarray, thing: np.ndarray) -> float:
    """How clearly an outline parts two colours, 0 to 882: the distance of colours on its two sides, in the mean and where it
    is least of three quarters of it; 0 without an outline in the picture."""
    import cv2

    kernel, inside = np.ones((3, 3), np.uint8), thing.astype(np.uint8)
    width = 2 * SIDE_PX + 1

    def shrunk(times: int) -> np.ndarray:
        return cv2.erode(inside, kernel, iterations=times, borderValue=1)  # the picture's edge is no outline

    means, shares = [], []
    for side in (inside - shrunk(SIDE_PX), cv2.dilate(inside, kernel, iterations=SIDE_PX) - inside):
        weight = side.astype(np.float32)
        shares.append(cv2.blur(weight, (width, width)))
        means.append(cv2.blur(picture * weight[..., None], (width, width)))
    outline = (inside > shrunk(1)) & (shares[0] > 0.02) & (shares[1] > 0.02)
    if not outline.any():
        return 0.0
    one, other = (mean[outline] / share[outline, None] for mean, share in zip(means, shares, strict=True))
    steps = np.linalg.norm(one - other, axis=1)
    return float(steps.mean() + np.quantile(steps, 0.25))


def _covered(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(h, w)`` bool: where the points of a grid stand for the picture, up to half of the way to the next ones."""
    gaps = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(gaps, np.inf)
    gap = float(np.median(gaps.min(axis=1)))
    reach = gap * np.sqrt(0.5) + 0.5  # to the middle of four
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    near = (columns - points[:, :1]) ** 2, (rows - points[:, 1:]) ** 2  # (k, w), (k, h)
    covered = np.zeros((size[1], size[0]), bool)
    for across, down in zip(*near, strict=True):
        covered |= down[:, None] + across <= reach**2
    return _distance(covered) > OVERHANG * gap


def _distance(inside: np.ndarray) -> np.ndarray:
    """``(h, w)``: how far each pixel of ``inside`` lies from the nearest other one, 0 for those; the picture has no rim."""
    import cv2

    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
