"""Renders procedural scenes: video, exact point tracks and visibility, in batched torch on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.data.scenes import Scenes

SAME_COLOUR = 0.02
"""Largest difference of any channel at which a pixel still shows the same thing."""
GRID = (24, 32)
"""Rows and columns of points."""
LATE_TRIES = 8
"""Frames that are tried for a point that shall begin late."""
AT_HOME_PX = 0.25
"""How far an object's middle, and its edges by turning and growing, may be from frame 0 while it counts as at rest."""


@dataclass(frozen=True)
class Rendered:
    """What a batch of scenes shows.

    Attributes:
        video: ``(B, T, 3, H, W)`` float32 in [0, 1].
        xy: ``(B, T, N, 2)`` pixels, pixel centres at +0.5. visible: ``(B, T, N)`` bool.
        layer: ``(B, N)`` int64, the object a point sits on; -1 is the background.
        uncovered: ``(B, T, 1, H, W)`` in [0, 1]: how much of a pixel an object covered in frame 0 and none does now. Read on
            the screen: where the camera moves, it is the ground that has come there.
        resting: ``(B, T, 1, H, W)`` in [0, 1]: how much of a pixel an object at rest shows that was there in frame 0
            too, with nothing before it in either.
        sweeps: ``(B,)`` bool, whether the camera sweeps. captions: one a scene.
    """

    video: Tensor
    xy: Tensor
    visible: Tensor
    layer: Tensor
    uncovered: Tensor
    resting: Tensor
    sweeps: Tensor
    captions: list[str]


@dataclass(frozen=True)
class _Similarity:
    """``screen = linear @ uv + offset`` with uv in [-1, 1]; linear ``(B, T, 2, 2)``, offset ``(B, T, 2)``."""

    linear: Tensor
    offset: Tensor

    def until(self, frames: int) -> _Similarity:
        """Of the first so many frames."""
        return _Similarity(self.linear[:, :frames], self.offset[:, :frames])

    def project(self, uv: Tensor) -> Tensor:
        """uv ``(B, N, 2)`` -> screen ``(B, T, N, 2)``."""
        return torch.einsum("btij,bnj->btni", self.linear, uv) + self.offset[:, :, None]

    def at_start(self, uv: Tensor) -> Tensor:
        """uv ``(B, T, N, 2)`` of all frames -> screen of frame 0."""
        return torch.einsum("bij,btnj->btni", self.linear[:, 0], uv) + self.offset[:, :1, None]

    def lift(self, screen: Tensor) -> Tensor:
        """screen ``(B, T, N, 2)`` -> uv ``(B, T, N, 2)``."""
        inverse = torch.linalg.inv(self.linear)
        return torch.einsum("btij,btnj->btni", inverse, screen - self.offset[:, :, None])

    def lift_each(self, screen: Tensor, frame: Tensor) -> Tensor:
        """screen ``(B, N, 2)``, each point in its ``frame (B, N)`` -> uv ``(B, N, 2)``."""
        row = torch.arange(len(frame), device=frame.device)[:, None]
        inverse = torch.linalg.inv(self.linear)[row, frame]
        return torch.einsum("bnij,bnj->bni", inverse, screen - self.offset[row, frame])


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _background_pose(scenes: Scenes) -> _Similarity:
    middle = _middle(scenes)
    half = torch.tensor([scenes.background.shape[3], scenes.background.shape[2]], device=middle.device) / 2
    turn = scenes.zoom[..., None, None] * _rotation(scenes.roll)
    offset = middle - torch.einsum("btij,btj->bti", turn, scenes.pan)
    return _Similarity(turn * half * scenes.ground.view(-1, 1, 1, 1), offset)


def object_pose(scenes: Scenes, index: int) -> _Similarity:
    """Where object ``index`` of every scene is on the screen."""
    middle = _middle(scenes)
    parallax = scenes.parallax[:, index, None]
    zoom = 1 + (scenes.zoom - 1) * parallax
    turn = zoom[..., None, None] * _rotation(scenes.roll)
    place = scenes.centre[:, index] - middle - scenes.pan * parallax[..., None]
    extent = scenes.scale[:, index] * scenes.size[:, index, None] / 2 * zoom
    linear = extent[..., None, None] * _rotation(scenes.roll + scenes.angle[:, index])
    return _Similarity(linear, middle + torch.einsum("btij,btj->bti", turn, place))


def _middle(scenes: Scenes) -> Tensor:
    return torch.tensor([scenes.config.width / 2, scenes.config.height / 2], device=scenes.pan.device)


def _middles(rows: int, columns: int, device: torch.device) -> Tensor:
    """Middles (x, y) of cells, in cells: ``(1, 1, rows * columns, 2)``."""
    y, x = torch.meshgrid(torch.arange(rows, device=device) + 0.5, torch.arange(columns, device=device) + 0.5, indexing="ij")
    return torch.stack([x, y], -1).reshape(1, 1, -1, 2)


def _sample(texture: Tensor, pose: _Similarity, size: tuple[int, int], padding: str) -> Tensor:
    """texture ``(B, C, s, s)`` seen under ``pose`` -> ``(B, T, C, H, W)``."""
    B, T = pose.offset.shape[:2]
    H, W = size
    device = texture.device
    uv = pose.lift(_middles(H, W, device).expand(B, T, -1, -1))
    out = F.grid_sample(texture, uv.reshape(B, T * H, W, 2), padding_mode=padding, align_corners=False)
    return out.reshape(B, texture.shape[1], T, H, W).transpose(1, 2)


def render(scenes: Scenes, grid: tuple[int, int] | None = None, point_seed: int = 0, p_late: float = 0.0) -> Rendered:
    """Render ``scenes`` with a jittered ``grid`` of points that are chosen in frame 0, topmost layer first.

    Args:
        grid: rows and columns of points; ``N = rows * columns``. None: `GRID`, up to twice as many each way in pictures
            that are larger than `scenes.HOME_SIZE`.
        point_seed: decides the jitter.
        p_late: chance of a clip in which every other point is chosen in a later frame instead, on what frame 0 does not
            show: what has come into view or to light. A place where nothing such comes keeps its point of frame 0.
    """
    config = scenes.config
    if grid is None:
        finer = min(config.scale, 2.0)
        grid = round(GRID[0] * finer), round(GRID[1] * finer)
    size = (config.height, config.width)
    B, M = scenes.active.shape
    video = _sample(scenes.background, _background_pose(scenes), size, "reflection")
    poses = [object_pose(scenes, m) for m in range(M)]
    open_ground, resting = torch.ones_like(video[:, :, :1]), torch.zeros_like(video[:, :, :1])
    for m in range(M):
        layer = render_object(scenes, m)
        alpha = layer[:, :, 3:]
        video = video * (1 - alpha) + layer[:, :, :3]
        open_ground = open_ground * (1 - alpha)
        resting = resting * (1 - alpha) + alpha * _at_home(poses[m])[:, :, None, None, None]
    uncovered = open_ground * (1 - open_ground[:, :1])
    resting = resting * ((video - video[:, :1]).abs().amax(2, keepdim=True) < SAME_COLOUR)
    xy, visible, owner = _points(scenes, poses, grid, point_seed, p_late)
    return Rendered(video.clamp(0, 1), xy, visible, owner, uncovered, resting, scenes.ground > 1, scenes.captions)


def _at_home(pose: _Similarity) -> Tensor:
    """Whether an object is where it was in frame 0, as 0 or 1: ``(B, T)``."""
    moved = (pose.offset - pose.offset[:, :1]).norm(dim=-1)
    turned = (pose.linear - pose.linear[:, :1]).flatten(-2).norm(dim=-1)
    return ((moved < AT_HOME_PX) & (turned < AT_HOME_PX)).float()


def render_object(scenes: Scenes, index: int) -> Tensor:
    """One object alone, colour times alpha and alpha: ``(B, T, 4, H, W)``."""
    alpha = scenes.sprites[:, index, 3:] * scenes.active[:, index, None, None, None]
    premultiplied = torch.cat([scenes.sprites[:, index, :3] * alpha, alpha], dim=1)
    return _sample(premultiplied, object_pose(scenes, index), (scenes.config.height, scenes.config.width), "zeros")


def ways_home(scenes: Scenes, cell: int = 1) -> Tensor:
    """From the middle of every cell of ``cell`` pixels to where in frame 0 lies what it shows: ``(B, T, 2, H / cell,
    W / cell)`` pixels (x, y), whether or not something lies before it there."""
    config, device = scenes.config, scenes.pan.device
    B, T = scenes.pan.shape[:2]
    rows, columns = config.height // cell, config.width // cell
    place = (_middles(rows, columns, device) * cell).expand(B, T, -1, -1)
    ground = _background_pose(scenes)
    home = ground.at_start(ground.lift(place))
    for m in range(scenes.active.shape[1]):
        pose = object_pose(scenes, m)
        uv = pose.lift(place)
        inside = _alpha_at(scenes, m, uv) > 0.5
        home = torch.where(inside[..., None], pose.at_start(uv), home)
    return (home - place).transpose(-1, -2).unflatten(-1, (rows, columns))


def _alpha_at(scenes: Scenes, index: int, uv: Tensor) -> Tensor:
    """Alpha of object ``index`` at uv ``(B, T, N, 2)`` -> ``(B, T, N)``."""
    alpha = scenes.sprites[:, index, 3:] * scenes.active[:, index, None, None, None]
    return F.grid_sample(alpha, uv, padding_mode="zeros", align_corners=False)[:, 0]


def _points(
    scenes: Scenes, poses: list[_Similarity], grid: tuple[int, int], seed: int, p_late: float
) -> tuple[Tensor, Tensor, Tensor]:
    config, device = scenes.config, scenes.pan.device
    B, T = scenes.pan.shape[:2]
    rows, columns = grid
    generator = torch.Generator(device).manual_seed(seed)
    jitter = torch.rand(B, rows * columns, 2, generator=generator, device=device)
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    cell = torch.stack([column, row], -1).reshape(1, -1, 2) + jitter
    frame = torch.tensor([config.width, config.height], dtype=torch.float32, device=device)
    start = cell * frame / torch.tensor([columns, rows], device=device)  # (B, N, 2)
    chosen = torch.zeros(B, rows * columns, dtype=torch.long, device=device)  # in which frame
    if p_late:
        late = torch.rand(B, 1, generator=generator, device=device) < p_late
        late = late & (torch.rand(chosen.shape, generator=generator, device=device) < 0.5)
        for draw in torch.rand(LATE_TRIES, *chosen.shape, generator=generator, device=device):
            tried = (draw * T).long()
            shown_at_once = _followed(scenes, poses, start, tried, 1)[1][:, 0]
            chosen = torch.where(late & ~shown_at_once, tried, chosen)
            late = late & shown_at_once
    return _followed(scenes, poses, start, chosen, T)


def _followed(
    scenes: Scenes, poses: list[_Similarity], start: Tensor, chosen: Tensor, frames: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What lies at ``start (B, N, 2)`` in frame ``chosen (B, N)``, through the first so many frames: xy, visible, owner."""
    ground = _background_pose(scenes)
    owner = torch.full(chosen.shape, -1, device=start.device)
    xy = ground.until(frames).project(ground.lift_each(start, chosen))
    for m, pose in enumerate(poses):
        uv = pose.lift_each(start, chosen)
        inside = _alpha_at(scenes, m, uv[:, None])[:, 0] > 0.5
        owner = torch.where(inside, m, owner)
        xy = torch.where(inside[:, None, :, None], pose.until(frames).project(uv), xy)
    visible = ((xy >= 0) & (xy < xy.new_tensor([scenes.config.width, scenes.config.height]))).all(-1)
    for m, pose in enumerate(poses):
        covered = _alpha_at(scenes, m, pose.until(frames).lift(xy)) > 0.5
        visible &= ~(covered & (owner < m)[:, None])
    return xy, visible, owner
