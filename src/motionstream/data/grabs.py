"""Pictures of which parts are pulled about, as a hand does: no truth is known of them.

A scene (data/scenes.py) knows what a thing hides, and so everything in it is a cut-out. In a picture from outside a brush
covers half a flower, or a flower and the leaf beside it, and no renderer can say what should come of that. Who learns from
another model needs no renderer: it is asked what the other one makes of it. What is known is that the rest stands still.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.config import PresetConfig
from motionstream.data.conditions import Batch
from motionstream.data.pictures import load_bank, photo_crops, uniform
from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, sample_scenes
from motionstream.models.text import HashedWords
from motionstream.models.vae import NanoVAE
from motionstream.tracks.origin import make_ids

REACH_CELLS = (1.0, 4.5)
"""Smallest and largest radius of what is held, in latent cells; the largest grows with pictures above `scenes.HOME_SIZE`."""
BLUR_CELLS = 2
"""How far around what was pulled the picture may change, in latent cells, where nobody says otherwise."""
P_PHOTO, P_SECOND, P_HIDE_RESTING, P_DROP_TEXT = 0.5, 0.4, 0.5, 0.1


@torch.no_grad()
def grab_batch(
    batch: int,
    preset: PresetConfig,
    vae: NanoVAE,
    num_frames: int,
    seed: int,
    device: torch.device,
    *,
    blur_cells: int = BLUR_CELLS,
    **scene: Any,
) -> Batch:
    """Pictures, half of them photos and half scenes at rest, with one or two discs of points that move.

    Everything follows from ``seed``. ``latents`` are those of the picture standing still: the truth where ``moving`` is 0,
    which it is from ``blur_cells`` + 1 cells on from where anything was pulled so far; nearer it rises to 1 in steps.
    ``scene`` are fields of :class:`SceneConfig`. The prompt of a scene names what it shows, for nothing that a caption could
    say of motion is what was pulled; that of a photo is empty.
    """
    geometry = preset.geometry
    generator = torch.Generator(device).manual_seed(seed ^ 0x6AB5)
    config = SceneConfig.of(geometry, num_frames, p_camera=0.0, p_static=0.0, **scene)
    scenes = sample_scenes(batch, config, look_seed=seed, motion_seed=seed, device=device)
    size = (geometry.height, geometry.width)
    photos = photo_crops(load_bank(config.split).to(device).photos, batch, size, generator, zoom=(0.5, 1.0))
    from_photo = (uniform(generator, batch) < P_PHOTO).view(-1, 1, 1, 1)
    picture = torch.where(from_photo, photos, render(scenes, grid=(1, 1)).video[:, 0])
    latents = vae.encode(picture[:, None].expand(-1, num_frames, -1, -1, -1).contiguous())

    ways = scenes.centre[:, :2] - scenes.centre[:, :2, :1]  # (B, 2, T, 2)
    xy, held = _pulled(ways, latents.shape[-2:], size, config.scale, generator)
    speed = F.pad((xy[:, 1:] - xy[:, :-1]).norm(dim=-1), (0, 0, 1, 0))  # (B, T, N)
    awake = F.max_pool2d((speed > 0.04).float()[:, None], (3, 1), 1, (1, 0))[:, 0] > 0
    sleepy = uniform(generator, batch, 1, 1) < P_HIDE_RESTING
    frame = torch.tensor([geometry.width, geometry.height], device=device)
    visible = held[:, None] & ((xy >= 0) & (xy < frame)).all(-1) & (awake | ~sleepy)
    visible[:, 0] = True  # anchors: the sink knows every code

    shown = [
        "" if photo else ", ".join(name for name, here in zip(names, active, strict=True) if here)
        for photo, names, active in zip(from_photo.flatten().tolist(), scenes.names, scenes.active.tolist(), strict=True)
    ]
    text = HashedWords(preset.model.text_dim, preset.model.text_len)(shown).to(device)
    keep = uniform(generator, batch, 1, 1) >= P_DROP_TEXT
    ids = make_ids(xy, visible, preset.model.tracks, generator)
    swept = _swept(xy, held, latents.shape[-2:], size, geometry.t_stride, blur_cells)
    return Batch(latents, text * keep, xy, visible, ids, swept, swept, *torch.zeros(2, *swept.shape, device=device))


def _pulled(
    ways: Tensor, grid: tuple[int, int] | torch.Size, size: tuple[int, int], scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A point in each latent cell: xy ``(B, T, N, 2)`` and whether it is held ``(B, N)``; ``ways (B, discs, T, 2)``."""
    B, discs, T, _ = ways.shape
    device, (rows, columns) = ways.device, grid
    frame = torch.tensor([size[1], size[0]], dtype=torch.float32, device=device)
    cell = frame / torch.tensor([columns, rows], device=device)
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    corner = torch.stack([column, row], -1).reshape(1, -1, 2)
    home = (corner + uniform(generator, B, rows * columns, 2)) * cell
    middle = (0.1 + 0.8 * uniform(generator, B, discs, 2)) * frame
    low, high = (math.log(cells * float(cell.mean())) for cells in (REACH_CELLS[0], REACH_CELLS[1] * scale))
    reach = torch.exp(uniform(generator, B, discs, low=low, high=high))
    reach[:, 1:] *= uniform(generator, B, discs - 1) < P_SECOND
    inside = (home[:, :, None] - middle[:, None]).norm(dim=-1) < reach[:, None]  # (B, N, discs)
    owner = inside.float().argmax(-1)  # the first disc, where two overlap
    held = inside.any(-1)
    moved = ways.transpose(1, 2).gather(2, owner[:, None, :, None].expand(-1, T, -1, 2))
    return home[:, None] + moved * held[:, None, :, None], held


def _swept(
    xy: Tensor, held: Tensor, grid: tuple[int, int] | torch.Size, size: tuple[int, int], t_stride: int, blur_cells: int
) -> Tensor:
    """How much each cell may have changed, ``(B, F, 1, h, w)`` in [0, 1]; xy ``(B, T, N, 2)``, held ``(B, N)``."""
    B, T, N, _ = xy.shape
    (rows, columns), (height, width) = grid, size
    stirred = (xy - xy[:, :1]).norm(dim=-1) > 0.5
    since = (stirred.cumsum(1) > 0) & held[:, None]  # once it is pulled, its home too may change: what was behind shows
    column = (xy[..., 0] * columns / width).floor().long()
    row = (xy[..., 1] * rows / height).floor().long()
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    cell = (row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)).flatten(0, 1)
    touched = torch.zeros(B * T, rows * columns, device=xy.device)
    touched.scatter_reduce_(1, cell, (since & inside).float().flatten(0, 1), "amax")
    home = cell.unflatten(0, (B, T))[:, :1].expand(-1, T, -1).flatten(0, 1)
    touched.scatter_reduce_(1, home, since.float().flatten(0, 1), "amax")
    touched = touched.unflatten(0, (B, T)).cummax(1).values
    last = torch.arange(0, T, t_stride, device=xy.device)  # the last pixel frame of each latent one
    around = [touched[:, last].unflatten(2, (rows, columns))]
    for _ in range(blur_cells):
        around.append(F.max_pool2d(around[-1], 3, 1, 1))
    return torch.stack(around[1:]).mean(0)[:, :, None]
