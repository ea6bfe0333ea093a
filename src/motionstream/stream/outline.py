"""What lies under a few points: the part of a still picture that goes with each, by colour and edges.

A single point says nothing about how far its thing reaches. GrabCut (Rother, Kolmogorov and Blake, "GrabCut: interactive
foreground extraction using iterated graph cuts", 2004) as OpenCV has it guesses that from the picture.
"""

from __future__ import annotations

import importlib.util

import numpy as np

SURE_CELLS = 0.4
"""Cells around a point that surely belong to its thing."""
MARGIN_CELLS = 3.0
"""So much of the picture beyond the farthest is looked at, to learn what the surroundings look like."""
CELL_PX = 8
"""Pixels per cell at which it is looked at; finer pictures are reduced: no anchor could tell the difference."""
ROUNDS = 4


def can_outline() -> bool:
    """Whether OpenCV is there (the extra ``data``)."""
    return importlib.util.find_spec("cv2") is not None


def outlines(picture: np.ndarray, points: np.ndarray, near: np.ndarray, far: np.ndarray, cell: float) -> np.ndarray:
    """The connected part of ``picture`` around each point that looks unlike what surrounds the points.

    The same arguments always give the same answer.

    Args:
        picture: ``(H, W, 3)`` uint8. points: ``(k, 2)`` x and y in its pixels. near: ``(k,)`` pixels within which the
            thing of each is taken to lie at first. far: ``(k,)`` pixels where it ends at last. cell: pixels of a cell.

    Returns:
        ``(k, H, W)`` bool, nowhere farther than ``far`` from the points; all false where nothing can be told: the
        point lies outside of the picture, or there is nothing but the surroundings of points.
    """
    import cv2

    height, width = picture.shape[:2]
    whole = np.zeros((len(points), height, width), bool)
    inside = np.flatnonzero(((points >= 0) & (points < (width, height))).all(axis=1))
    if not len(inside):
        return whole
    seeds, near, far = points[inside], near[inside, None, None], far[inside, None, None]
    reach = far.max() + MARGIN_CELLS * cell
    left, top = np.maximum(0, seeds.min(axis=0) - reach).astype(int)
    right, bottom = np.minimum((width, height), seeds.max(axis=0) + reach + 1).astype(int)
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    share = min(1.0, CELL_PX / cell)
    size = max(1, round(part.shape[1] * share)), max(1, round(part.shape[0] * share))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) if share < 1 else part
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    at = np.stack([columns * part.shape[1] / size[0] + left, rows * part.shape[0] / size[1] + top], -1)
    gap = np.linalg.norm(at[None] - seeds[:, None, None], axis=-1)
    likely = (gap <= near).any(axis=0)
    if likely.all():
        return whole
    mask = np.full(likely.shape, cv2.GC_BGD, np.uint8)
    mask[(gap <= far).any(axis=0)] = cv2.GC_PR_BGD
    mask[likely] = cv2.GC_PR_FGD
    mask[(gap <= SURE_CELLS * cell).any(axis=0)] = cv2.GC_FGD
    homes = [np.unravel_index(one.argmin(), one.shape) for one in gap]
    for home in homes:  # where cells are small, no pixel may lie that near
        mask[home] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # it begins with k-means
    unused = 0, 0, 1, 1  # a rectangle; the mask says all
    cv2.grabCut(small, mask, unused, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    _, parts = cv2.connectedComponents(np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    full = (part.shape[1], part.shape[0])
    for row, home in zip(inside, homes, strict=True):
        mine = cv2.resize((parts == parts[home]).astype(np.uint8), full, interpolation=cv2.INTER_NEAREST)
        whole[row, top:bottom, left:right] = mine > 0
    return whole
