"""Sample sheets: rows of frames in one PNG, for the eye."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def save_rows(path: Path, rows: list[Tensor], scale: int = 2) -> None:
    """Write ``rows`` of frames ``(n, 3, H, W)`` in [0, 1] as one PNG, enlarged ``scale`` times."""
    lines = [torch.cat(list(row.detach().float().cpu()), dim=2) for row in rows]
    width = max(line.shape[2] for line in lines)
    lines = [torch.nn.functional.pad(line, (0, width - line.shape[2])) for line in lines]
    sheet = (torch.cat(lines, dim=1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)
