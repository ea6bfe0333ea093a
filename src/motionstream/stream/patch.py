"""Which anchors a newly held point takes along: those of a disc around it, or of the thing it lies on.

nano was trained on many tracks per object, so few points must speak for a patch of picture (docs/LOG.md). Cells are of
`VideoGeometry.reach_px` here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from motionstream.stream.outline import outlines

PATCH_CELLS = (0.5, 3.0)
"""Radius of a disc in cells: least, in a close brush; most, around a lone point."""
PATCH_SHARES = (1.0, 0.65, 0.5)
"""Between these a disc reaches over the last share of the way to the point's third nearest fellow; with one or two fellows,
over the first or second share of the way to the farther one. So the patches of a brush meet, and hardly stick out of it:
what sticks out carries along whatever touches the dragged thing (docs/LOG.md, 2026-11-26).
"""
OUTLINE_CELLS = (1.0, 2.5)
"""A point whose disc has so many cells or more holds the thing under it in place of the disc, which at first is taken to lie
in the disc, or within the second number of cells (docs/LOG.md, 2026-11-26)."""
DAB_CELLS = 1.25
"""Three or more points that were grabbed together and lie so close around their middle are a *dab*: however many, they speak
as one, and what they touch shows what their thing looks like."""
DAB_NEAR, DAB_FAR = 2.0, 5.0
"""Cells around the points of a dab within which its thing is taken to lie at first, and where it ends at last."""
BEYOND_CELLS = 1.5
"""For other points a thing ends so far beyond the radius in which it is looked for, or at twice that if it is more."""
FEW_POINTS, CROWD_CELLS = 8, 5.0
"""More points of one gesture, or of none, within so many cells show by themselves how far a thing reaches: they hold discs.
Points of other gestures do not: a pin says what stays, not what its neighbour is."""
FEWEST_ANCHORS = 4
"""A thing of fewer anchors was hardly found: what it was looked for in is held in its place."""


def patches(
    places: Tensor,
    new: Tensor,
    anchors: Tensor,
    cell: float,
    *,
    mates: Tensor | None = None,
    picture: np.ndarray | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """Anchors of the patch of each new point.

    Args:
        places: ``(m, 2)`` pixels, all points that are held. new: ``(k,)`` rows of it that were grabbed just now.
        anchors: ``(n, 2)`` where the anchors are. cell: pixels of a cell, see above.
        mates: ``(m,)`` bool, those of ``places`` that are of one gesture with the new ones; None = all.
        picture: ``(H, W, 3)`` uint8, frame 0, to look for things in; None = discs only.
        seen: ``(k + n, 2)`` where frame 0 has what is under the new points (nan: not at all), and where it has the anchors.

    Returns:
        ``(k, n)`` bool.
    """
    distance = torch.cdist(places[new], anchors)
    radius = reaches(places, new, cell)
    mine = distance <= radius[:, None]
    if picture is None or seen is None:
        return mine
    mates = torch.ones(len(places), dtype=torch.bool) if mates is None else mates
    dab, least = is_dab(places, new, cell, mates), OUTLINE_CELLS[0] * cell
    under, homes = seen[: len(new)], seen[len(new) :].long()
    crowd = (torch.cdist(places[new], places[mates]) <= CROWD_CELLS * cell).sum(dim=1)
    lonely = ((crowd <= FEW_POINTS) & (radius >= least)) | dab
    picks = (lonely & under.isfinite().all(dim=1)).nonzero()[:, 0]
    if not len(picks):
        return mine
    near = radius[picks].clamp(least, OUTLINE_CELLS[1] * cell)
    far = near + near.clamp(min=BEYOND_CELLS * cell)
    if dab:
        near, far = torch.full_like(near, DAB_NEAR * cell), torch.full_like(far, DAB_FAR * cell)
    shapes = torch.from_numpy(outlines(picture, under[picks].numpy(), near.numpy(), far.numpy(), cell))
    things = shapes[:, homes[:, 1], homes[:, 0]]
    found = things.sum(dim=1, keepdim=True) >= FEWEST_ANCHORS
    # Of two points on one thing each takes the part that is nearer to it, so that they can turn and stretch it.
    nearest = distance[picks] <= torch.cdist(anchors, places).amin(dim=1) + 1e-3
    whole = things & nearest & (distance[picks] <= far[:, None])
    touched = distance[picks] <= torch.minimum(radius[picks], near)[:, None]
    mine[picks] = torch.where(found, whole | touched if dab else whole, touched)
    return mine


def is_dab(places: Tensor, new: Tensor, cell: float, mates: Tensor) -> bool:
    """Whether the points in rows ``new (k,)`` of ``places (m, 2)``, grabbed together, lie so close, and so far from a crowd
    of other ``mates (m,)``, that they speak as one: see DAB_CELLS and FEW_POINTS."""
    middle = places[new].mean(dim=0)
    away = (places - middle).norm(dim=1)
    others = ((away <= CROWD_CELLS * cell) & mates).sum() - len(new)
    return len(new) > 2 and bool((away[new] <= DAB_CELLS * cell).all() and others < FEW_POINTS)


def reaches(places: Tensor, new: Tensor, cell: float) -> Tensor:
    """Radius of each new point's disc in pixels, ``(k,)``: see PATCH_CELLS and PATCH_SHARES."""
    near, far = (cell * cells for cells in PATCH_CELLS)
    if len(places) == 1:
        return torch.tensor([far], dtype=torch.float32)
    gaps = torch.cdist(places[new], places)
    gaps[torch.arange(len(new)), new] = torch.inf
    count = min(len(PATCH_SHARES), len(places) - 1)
    fellow = gaps.topk(count, dim=1, largest=False).values[:, -1]
    return (PATCH_SHARES[count - 1] * fellow).clamp(near, far)
