"""How the shares of suite drags misread (docs/evaluation.md): frames with known faults, made from the suite's own scenes.

python benchmarks/presence.py [--scenes 64]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.eval.drag_suite import FIRST_SCENE, PUBLISHED_SCENES
from motionstream.eval.drags import DragCase, drag_case, drag_shares
from motionstream.eval.presence import smooth_fill
from motionstream.presets import preset

Fault = Callable[[DragCase, int], Tensor]


def over(ground: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    return ground + alpha * (colour - ground)


def moved(picture: Tensor, dx: int, dy: int = 0) -> Tensor:
    return torch.roll(picture, (dy, dx), (-2, -1))


def blurred(picture: Tensor, sigma: float) -> Tensor:
    reach = int(3 * sigma) + 1
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    wide = F.conv2d(F.pad(picture[:, None], (reach, reach, 0, 0), mode="replicate"), kernel.reshape(1, 1, 1, -1))
    return F.conv2d(F.pad(wide, (0, 0, reach, reach), mode="replicate"), kernel.reshape(1, 1, -1, 1))[:, 0]


def arrived(case: DragCase, ground: Tensor | None = None) -> Tensor:
    """The truth, or the thing at its new place before another ground."""
    return over(case.background if ground is None else ground, case.colour, case.alpha)


def filled(case: DragCase, with_what: Tensor) -> Tensor:
    """The thing at its new place; its old one shows ``with_what``."""
    return arrived(case, over(case.background, with_what.expand_as(case.background), case.old_alpha))


def short(case: DragCase, share: float) -> Tensor:
    """The thing, whole, but it has gone only the rest of its way; nothing is left behind."""
    way = share * (centre(case.old_alpha) - centre(case.alpha))
    dx, dy = (int(value) for value in way.round())
    return over(case.background, moved(case.colour, dx, dy), moved(case.alpha, dx, dy))


def centre(alpha: Tensor) -> Tensor:
    H, W = alpha.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    return torch.stack([(alpha[0] * x).sum(), (alpha[0] * y).sum()]) / alpha.sum()


def soft(case: DragCase, sigma: float) -> Tensor:
    alpha = blurred(case.alpha, sigma)
    return case.background * (1 - alpha) + blurred(case.alpha * case.colour, sigma)


def soft_ghost(case: DragCase, sigma: float) -> Tensor:
    alpha = blurred(case.old_alpha, sigma)
    return arrived(case, case.background * (1 - alpha) + blurred(case.old_alpha * case.old_colour, sigma))


def shifted_ghost(case: DragCase, dx: int) -> Tensor:
    return arrived(case, over(case.background, moved(case.old_colour, dx), moved(case.old_alpha, dx)))


def faults(cases: list[DragCase]) -> dict[str, Fault]:
    def patch(case: DragCase, index: int) -> Tensor:
        dx, dy = np.random.default_rng(index).integers((-60, -40), (60, 40)).tolist()
        return filled(case, moved(case.background, dx, dy))

    return {
        "the truth": lambda case, _: arrived(case),
        "blurred by 2 px (sigma)": lambda case, _: soft(case, 2),
        "blurred by 4 px": lambda case, _: soft(case, 4),
        "arrives short by a tenth of its way": lambda case, _: short(case, 0.1),
        "... by three tenths": lambda case, _: short(case, 0.3),
        "... by half": lambda case, _: short(case, 0.5),
        "the whole frame is brighter by 10 levels": lambda case, _: arrived(case) + 10 / 255,
        "old place: smooth continuation": lambda case, _: filled(case, smooth_fill(case.background, case.old_alpha)),
        "old place: another part of the background": patch,
        "old place: background of another scene": lambda case, k: filled(case, cases[(k + 7) % len(cases)].background),
        "old place: one patch of the object's mean colour": lambda case, _: filled(
            case, (case.old_colour * case.old_alpha).sum((1, 2), keepdim=True) / case.old_alpha.sum()
        ),
        "old place: the thing itself, blurred by 3 px": lambda case, _: soft_ghost(case, 3),
        "old place: the thing itself, 4 px off": lambda case, _: shifted_ghost(case, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=PUBLISHED_SCENES)
    args = parser.parse_args()
    # The scenes need a canvas, not weights; the pixels of the faults are meant for this one.
    geometry = cast(Any, SimpleNamespace(preset=preset("nano").sized(96, 128)))
    cases = [drag_case(geometry, index) for index in range(FIRST_SCENE, FIRST_SCENE + args.scenes)]
    print(
        "| what the frame shows | at its new place: mean, one in ten below | left at its old place: mean, one in ten above |"
    )
    print("|---|---|---|")
    for name, fault in faults(cases).items():
        found = [drag_shares(fault(case, k).clamp(0, 1), case) for k, case in enumerate(cases)]
        kept, left = (np.array([row[key] for row in found if row[key] is not None]) for key in ("kept_share", "left_behind"))
        low, high = np.quantile(kept, 0.1), np.quantile(left, 0.9)
        print(f"| {name} | {kept.mean():.2f}, {low:.2f} | {left.mean():.2f}, {high:.2f} |")


if __name__ == "__main__":
    main()
