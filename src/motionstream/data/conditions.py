"""From rendered scenes to training batches: which tracks the model sees, and when.

The rule behind every choice: what moves has a track while it moves. An untracked thing stays still, so that the model
learns "no track, no motion" instead of blurring over motions it cannot know. Tracks begin late, pause and end, because
they may be hidden whenever their point rests; ids of a dense grid may be shown in frame 0 alone (*anchors*), so that a
later grab finds its id in the sink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from motionstream.config import PresetConfig
from motionstream.data.render import Rendered, render
from motionstream.data.scenes import SceneConfig, captions_of, frames_of, sample_scenes
from motionstream.models.text import HashedWords
from motionstream.models.vae import NanoVAE
from motionstream.tracks.masking import drop_tracks, mask_mid_chunks
from motionstream.tracks.origin import make_ids

MIN_BRUSHED = 6
"""Visible points of an object that a brush may take hold of."""


@dataclass(frozen=True, kw_only=True)
class ConditionConfig:
    """How tracks and prompts are chosen.

    Args:
        dense: every point of the grid may be shown (first phase), instead of a few per object.
        min_per_object, max_per_object: tracks on one object in the sparse phase (drawn log-uniformly).
        camera_tracks: fewest and most tracks on the background (log-uniform) in the sparse phase.
        p_brush: chance that an object's tracks lie side by side, as under a brush, instead of all over it.
        p_spill: chance that one object of a clip is told by a round brush set on its middle, which also takes along points
            of what rests beside it: they are told to move with it, and do not.
        max_tracks: tracks kept per sample, anchors included. None: four for every three latent cells, at least 256.
        p_anchor: chance that other points show their id in frame 0.
        p_hide_resting: chance that an object's tracks are hidden while it rests.
        p_still_untold: chance that what never moves, an object or the background, has no tracks at all after frame 0. A hand
            tells of nothing else: a student for hands learns with nearly 1 (nano's: 0.9).
        p_drop_motion, p_drop_text: condition dropout for guidance (the paper states no rates).
        p_mask_chunk: stochastic mid-frame masking (paper appendix D: 0.2 in stage 2).
        p_late_tracks: chance of a clip in which every other point is looked for on what frame 0 does not show, so that
            tracks begin on what has come into view or to light. 0: all begin in frame 0.
        p_beyond: chance of a clip whose tracks are told as a live camera tells them: those of frame 0 beyond the edge of
            the picture too, and those that begin later only while they move.
    """

    dense: bool = False
    min_per_object: int = 1
    max_per_object: int = 24
    camera_tracks: tuple[int, ...] = (4, 120)
    p_brush: float = 0.5
    p_spill: float = 0.0
    max_tracks: int | None = None
    p_anchor: float = 0.6
    p_hide_resting: float = 0.5
    p_still_untold: float = 0.5
    p_drop_motion: float = 0.1
    p_drop_text: float = 0.15
    p_mask_chunk: float = 0.0
    p_late_tracks: float = 0.0
    p_beyond: float = 0.0

    def __post_init__(self) -> None:
        check_counts("tracks_per_object", (self.min_per_object, self.max_per_object))
        check_counts("camera_tracks", self.camera_tracks)


def check_counts(name: str, value: tuple[int, ...]) -> None:
    """Refuse what are not a fewest and a most number of tracks."""
    if len(value) != 2 or not 1 <= value[0] <= value[1]:
        listed = ",".join(map(str, value))
        raise ValueError(f"{name}=[{listed}] must be two whole numbers from 1 on, the smaller one first")


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        latents: ``(B, F, C, h, w)``. text: ``(B, text_len, text_dim)``.
        xy: ``(B, T, N, 2)``; visible: ``(B, T, N)``; ids: ``(B, N)``.
        moving: ``(B, F, 1, h, w)`` in [0, 1]: cells that differ from the first frame, and those around them.
        changed: ``(B, F, 1, h, w)`` in [0, 1]: the same without those around them; where no truth is known, as ``moving``.
        uncovered: ``(B, F, 1, h, w)`` in [0, 1]: how much of a cell an object covered in frame 0 and none does now; 0 where
            it is not known.
        resting: ``(B, F, 1, h, w)`` in [0, 1]: how much of a cell an object at rest covers that nothing has come before; 0
            where it is not known.
        sweeps: ``(B,)`` bool, clips whose camera sweeps (``SceneConfig.p_sweep``); None where no scene was rendered.
    """

    latents: Tensor
    text: Tensor
    xy: Tensor
    visible: Tensor
    ids: Tensor
    moving: Tensor
    changed: Tensor
    uncovered: Tensor
    resting: Tensor
    sweeps: Tensor | None = None


def training_batch(
    batch: int,
    preset: PresetConfig,
    vae: NanoVAE,
    scene: SceneConfig,
    config: ConditionConfig,
    seed: int,
    device: torch.device,
    *,
    pairs: bool = False,
) -> Batch:
    """Render, encode and condition ``batch`` fresh clips; everything follows from ``seed``.

    Args:
        pairs: of each clip only the picture and one later latent frame, the same for the batch.

    Raises:
        ValueError: if clips are too short to hold a pair.
    """
    scenes = sample_scenes(batch, scene, look_seed=seed, motion_seed=seed, device=device)
    generator = torch.Generator(device).manual_seed(seed ^ 0x7AC5)
    if pairs:
        t_stride = preset.geometry.t_stride
        if scene.num_frames <= t_stride:
            raise ValueError(f"num_frames={scene.num_frames} must be at least {t_stride + 1}: a picture and a latent frame")
        last = int(torch.randint(t_stride, scene.num_frames, (), generator=generator, device=device))
        scenes = frames_of(scenes, torch.tensor([0, *range(last - t_stride + 1, last + 1)], device=device))
        scenes = replace(scenes, captions=captions_of(scenes))  # of what the pair shows
    return condition_batch(render(scenes, point_seed=seed, p_late=config.p_late_tracks), preset, vae, config, generator)


@torch.no_grad()
def condition_batch(
    rendered: Rendered, preset: PresetConfig, vae: NanoVAE, config: ConditionConfig, generator: torch.Generator
) -> Batch:
    latents = vae.encode(rendered.video)
    xy, visible, ids = choose_tracks(rendered, preset, config, generator)
    text = HashedWords(preset.model.text_dim, preset.model.text_len)(rendered.captions).to(latents.device)
    keep = torch.rand(len(text), 1, 1, generator=generator, device=latents.device) >= config.p_drop_text
    uncovered, resting = (
        by_latent(mask, latents.shape[1], latents.shape[-2:]) for mask in (rendered.uncovered, rendered.resting)
    )
    changed = changed_cells(latents)
    return Batch(latents, text * keep, xy, visible, ids, widened(changed), changed, uncovered, resting, rendered.sweeps)


def by_latent(pixels: Tensor, frames: int, grid: tuple[int, int] | torch.Size) -> Tensor:
    """Means ``(B, frames, 1, h, w)`` of a mask ``(B, T, 1, H, W)`` over what each latent cell shows.

    The first latent frame is of the first pixel frame alone, each later one of as many as the others.
    """
    B, T = pixels.shape[:2]
    small = F.adaptive_avg_pool2d(pixels.flatten(0, 1), (grid[0], grid[1])).unflatten(0, (B, T))
    if frames == 1:
        return small[:, :1]
    rest = small[:, 1:].unflatten(1, (frames - 1, -1)).mean(2)
    return torch.cat([small[:, :1], rest], dim=1)


def changed_cells(latents: Tensor) -> Tensor:
    """Cells ``(B, F, 1, h, w)`` in {0, 1} of ``latents (B, F, C, h, w)`` that differ from the first frame."""
    return ((latents - latents[:, :1]).abs().amax(dim=2, keepdim=True) > 0.35).float()


def widened(cells: Tensor) -> Tensor:
    """Cells ``(B, F, 1, h, w)`` and those around them."""
    return F.max_pool2d(cells.flatten(0, 1), 3, 1, 1).reshape_as(cells)


def choose_tracks(
    rendered: Rendered, preset: PresetConfig, config: ConditionConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pick tracks and decide when they show: xy ``(B, T, n, 2)``, visible ``(B, T, n)``, ids ``(B, n)``."""
    xy, truth, layer = rendered.xy, rendered.visible, rendered.layer
    B, T, N, _ = xy.shape
    device = xy.device

    def chance(p: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) < p

    moves = _stirring(xy).amax(1) > 0  # (B, N)
    xy, truth, brush = _spilled(rendered, moves, config.p_spill, generator)
    awake = F.max_pool1d(_stirring(xy).transpose(1, 2).flatten(0, 1)[:, None], 3, 1, 1)[:, 0]
    awake = awake.reshape(B, N, T).transpose(1, 2) > 0

    groups = int(layer.max()) + 2
    member = layer[..., None] + 1 == torch.arange(groups, device=device)  # (B, N, G), group 0 = background
    group_moves = (member & moves[..., None]).any(1)  # (B, G)
    group = layer + 1

    if config.dense:
        quota = torch.full((B, groups), N, device=device)
        quota[:, 0] = 150
    else:
        spread = torch.rand(B, groups, generator=generator, device=device)
        low, high = math.log(config.min_per_object), math.log(config.max_per_object + 0.99)
        quota = torch.exp(low + spread * (high - low)).floor().long()
        few, many = (math.log(count) for count in config.camera_tracks)
        quota[:, 0] = torch.exp(few + spread[:, 0] * (many - few) + 1e-4).floor().long()
        resting = ~group_moves & chance(config.p_still_untold, B, groups)
        quota = torch.where(resting, torch.zeros_like(quota), quota)
    score = torch.rand(B, N, generator=generator, device=device)
    brushed = chance(config.p_brush, B, groups)
    brushed[:, 0] = False
    score = torch.where(brushed.gather(1, group), _from_a_point(xy[:, 0], member, score), score)
    rank = _rank_in_group(group, score)
    active = rank < quota.gather(1, group)  # (B, N)
    active = torch.where(brush >= 0, brush > 0, active)

    sleepy = chance(config.p_hide_resting, B, groups).gather(1, group)
    if config.p_beyond:
        live = chance(config.p_beyond, B, 1)
        early = truth[:, 0]
        beyond = ~((xy >= 0) & (xy < xy.new_tensor([rendered.video.shape[-1], rendered.video.shape[-2]]))).all(-1)
        truth = truth | (beyond & (early & live)[:, None])
        sleepy = sleepy | (live & ~early)
    shown = truth & active[:, None]
    shown &= awake | ~sleepy[:, None]
    anchored = chance(config.p_anchor, B, 1, 1)
    first = torch.zeros_like(truth)
    first[:, 0] = truth[:, 0]
    shown |= first & anchored
    shown = drop_tracks(shown, config.p_drop_motion, generator)
    if config.p_mask_chunk:
        shown = mask_mid_chunks(shown, _chunk_plan(T, preset), config.p_mask_chunk, generator)

    most = max(256, preset.geometry.latent_height * preset.geometry.latent_width * 4 // 3)
    count = min(most if config.max_tracks is None else config.max_tracks, N)
    order = (active.float() * 2 + torch.rand(B, N, generator=generator, device=device)).topk(count, dim=1).indices
    xy = xy.gather(2, order[:, None, :, None].expand(B, T, count, 2))
    shown, truth = (mask.gather(2, order[:, None].expand(B, T, count)) for mask in (shown, truth))
    # Where it begins is where the picture shows it first, told or not: a hand that comes later finds it there too.
    return xy, shown, make_ids(xy, truth, preset.model.tracks, generator)


def _stirring(xy: Tensor) -> Tensor:
    """Which points ``(B, T, N, 2)`` have moved since the frame before, ``(B, T, N)`` in {0, 1}."""
    return (F.pad((xy[:, 1:] - xy[:, :-1]).norm(dim=-1), (0, 0, 1, 0)) > 0.04).float()


def _spilled(rendered: Rendered, moves: Tensor, p: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """With chance ``p`` a brush takes hold of one moving object of a clip, and of what rests beside it within the disc.

    Args:
        moves: ``(B, N)``, points that truly move.

    Returns:
        xy and visible as they are told, and ``(B, N)``: 1 = told by the brush, 0 = of its object or beside it and not told,
        -1 = nothing of the brush's.
    """
    xy, visible = rendered.xy, rendered.visible
    brush = torch.full(moves.shape, -1, device=xy.device)
    if not p:
        return xy, visible, brush
    xy, visible = xy.clone(), visible.clone()
    size = xy.new_tensor([rendered.video.shape[-1], rendered.video.shape[-2]])
    for b in range(len(xy)):
        draws = torch.rand(4, generator=generator, device=xy.device)
        seen = visible[b, 0]
        objects = [int(one) for one in rendered.layer[b].unique() if one >= 0]
        objects = [one for one in objects if int((seen & moves[b] & (rendered.layer[b] == one)).sum()) >= MIN_BRUSHED]
        if draws[0] >= p or not objects:
            continue
        own = seen & (rendered.layer[b] == objects[int(draws[1] * len(objects))])
        places = xy[b, 0]
        middle = places[own].mean(0)
        apart = (places - middle).norm(dim=-1)
        inside = seen & (apart <= (0.6 + 0.7 * draws[2]) * apart[own].max())
        beside = inside & ~own & ~moves[b]
        way = (xy[b, :, own] - xy[b, :1, own]).mean(1)  # (T, 2)
        xy[b, :, beside] = places[beside] + way[:, None]
        visible[b, :, beside] = ((xy[b, :, beside] >= 0) & (xy[b, :, beside] < size)).all(-1)
        told = inside & (torch.rand(len(places), generator=generator, device=xy.device) < 0.3 + 0.7 * draws[3])
        brush[b, own | beside] = 0
        brush[b, told & (own | beside)] = 1
    return xy, visible, brush


def _chunk_plan(num_frames: int, preset: PresetConfig) -> list[int]:
    """Pixel frames of each chunk of a clip; the last may be cut short."""
    geometry, size = preset.geometry, preset.cache.chunk_frames
    plan: list[int] = []
    start = 0
    while sum(plan) < num_frames:
        first, stop = geometry.frame_span(start, start + size)
        plan.append(min(stop, num_frames) - first)
        start += size
    return plan


def _from_a_point(xy: Tensor, member: Tensor, score: Tensor) -> Tensor:
    """Distance ``(B, N)`` of points ``(B, N, 2)`` to one of their group, in [0, 1); member ``(B, N, G)`` bool."""
    centre = torch.where(member, score[..., None], -torch.ones_like(score[..., None])).argmax(dim=1)  # (B, G)
    places = xy.gather(1, centre[..., None].expand(-1, -1, 2))  # (B, G, 2)
    own = places.gather(1, member.float().argmax(-1)[..., None].expand(-1, -1, 2))
    distance = (xy - own).norm(dim=-1)
    return distance / (distance.amax(dim=1, keepdim=True) * 1.01).clamp_min(1e-6)


def _rank_in_group(group: Tensor, score: Tensor) -> Tensor:
    """Rank ``(B, N)`` of each point among the points of its group, by ``score`` in [0, 1)."""
    order = (group + score).argsort(dim=1)
    sorted_group = group.gather(1, order)
    place = torch.arange(group.shape[1], device=group.device).expand_as(group)
    new = F.pad(sorted_group[:, 1:] != sorted_group[:, :-1], (1, 0), value=True)
    start = torch.where(new, place, torch.zeros_like(place)).cummax(dim=1).values
    return torch.empty_like(group).scatter_(1, order, place - start)
