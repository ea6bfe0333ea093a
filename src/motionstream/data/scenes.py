"""Procedural scenes: layered pictures under random motion, with exact tracks, visibility and captions.

A scene is a background, up to ``max_objects`` sprites in front of each other, and a camera. Looks and motions come from
two seeds, so the same first frame can be given another motion: the counterfactual that evaluation needs.

>>> scene = sample_scenes(2, SceneConfig(), look_seed=0, motion_seed=1)
>>> scene.centre.shape
torch.Size([2, 3, 33, 2])
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from motionstream.data import pictures
from motionstream.data.pictures import Split, randint, uniform
from motionstream.shapes import VideoGeometry

SPRITE_SIDE = 72
HOME_SIZE = (96, 128)
"""Height and width for which the defaults in pixels are meant."""
SWEPT_GROUND = 1.8
"""The background of a camera that sweeps is shown so much larger, so that most of what comes into view is new."""
PHOTO_ENLARGED = 1.5
"""Photos are shown at most so much larger than they are."""


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What scenes look like.

    Args:
        num_frames, height, width: of the clip; ``num_frames`` may be any positive number.
        max_objects: sprites a scene may hold.
        object_px: smallest and largest extent of a sprite in pixels.
        p_static: chance that an object rests; of the first one, a fifth of it.
        p_camera: chance that the camera moves.
        p_late, p_early: chance that an object starts late or stops early (it rests before and after).
        p_spin, p_grow: chance that a moving object also turns or changes size.
        p_twin: chance that the first two objects look the same and lie side by side, and one of them rests while the other
            moves: what a thing looks like does not say that it is held.
        p_sweep: chance that the camera sweeps: within a part of the clip it pans by up to the whole picture, and rests then.
        speed_px: paths go from knot to knot, about 11 frames apart, on each axis by 0.6 of it (one sigma), 1.2 at most.
        pan_px: how far the camera may pan.
        split: which pictures to use.
    """

    num_frames: int = 33
    height: int = 96
    width: int = 128
    max_objects: int = 3
    object_px: tuple[float, float] = (26.0, 58.0)
    p_static: float = 0.3
    p_camera: float = 0.4
    p_late: float = 0.35
    p_early: float = 0.25
    p_spin: float = 0.35
    p_grow: float = 0.3
    p_twin: float = 0.0
    p_sweep: float = 0.0
    speed_px: float = 24.0
    pan_px: float = 28.0
    split: Split = "train"

    @classmethod
    def of(cls, geometry: VideoGeometry, num_frames: int, **more: Any) -> SceneConfig:
        """Scenes of a model's size; ``more`` are the other fields.

        Defaults in pixels grow with pictures larger than `HOME_SIZE`, so that scenes look the same; what ``more`` gives does
        not.
        """
        scale = _scale(geometry.height, geometry.width)
        low, high = cls.object_px
        grown: dict[str, Any] = {
            "object_px": (low * scale, high * scale), "speed_px": cls.speed_px * scale, "pan_px": cls.pan_px * scale,
        }  # fmt: skip
        here = {"num_frames": num_frames, "height": geometry.height, "width": geometry.width}
        return cls(**(here | grown | more))

    @property
    def scale(self) -> float:
        """How much larger the picture is than `HOME_SIZE`, each way; 1 where it is smaller."""
        return _scale(self.height, self.width)


def _scale(height: int, width: int) -> float:
    return max(1.0, math.sqrt(height * width / (HOME_SIZE[0] * HOME_SIZE[1])))


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes, ready to render. ``M`` objects; the later ones lie in front.

    Attributes:
        background: ``(B, 3, Hb, Wb)`` in [0, 1]; larger than the picture, so that the camera can move.
        sprites: ``(B, M, 4, side, side)``, colour and alpha in [0, 1].
        active: ``(B, M)`` bool.
        centre: ``(B, M, T, 2)`` world pixels (x, y). size: ``(B, M)`` pixels.
        scale, angle: ``(B, M, T)``; angle in radians.
        pan: ``(B, T, 2)`` pixels. zoom, roll: ``(B, T)``. parallax: ``(B, M)``, the background's is 1.
        ground: ``(B,)``, how much larger than its own pixels the background is shown.
        names: what the objects are called, ``M`` a scene. captions: one sentence a scene.
    """

    config: SceneConfig
    background: Tensor
    sprites: Tensor
    active: Tensor
    centre: Tensor
    size: Tensor
    scale: Tensor
    angle: Tensor
    pan: Tensor
    zoom: Tensor
    roll: Tensor
    parallax: Tensor
    ground: Tensor
    names: list[list[str]]
    captions: list[str]

    def without_object(self, index: int) -> Scenes:
        """The same scenes with one object hidden (evaluation needs the picture behind it)."""
        active = self.active.clone()
        active[:, index] = False
        return replace(self, active=active)


def frames_of(scenes: Scenes, pick: slice | Tensor) -> Scenes:
    """The same scenes at some of their frames only."""
    return replace(
        scenes,
        centre=scenes.centre[:, :, pick],
        pan=scenes.pan[:, pick],
        **{name: getattr(scenes, name)[..., pick] for name in ("scale", "angle", "zoom", "roll")},
    )


def sample_scenes(
    batch: int, config: SceneConfig, *, look_seed: int, motion_seed: int, device: torch.device | str = "cpu"
) -> Scenes:
    """Draw ``batch`` scenes; the same seeds give the same scenes on the same kind of device.

    Args:
        look_seed: decides pictures, sizes and places at frame 0.
        motion_seed: decides how everything moves (which of two twins does: `look_seed`).
    """
    look = torch.Generator(device).manual_seed(look_seed)
    motion = torch.Generator(device).manual_seed(motion_seed + 0x5EED)
    bank = pictures.load_bank(config.split).to(device)
    objects = config.max_objects
    background = _backgrounds(batch, config, bank, look)
    sprites, names = _sprites(batch * objects, config, bank, look)
    count = randint(look, objects, batch) + 1
    active = torch.arange(objects, device=device) < count[:, None]
    frame = torch.tensor([config.width, config.height], dtype=torch.float32, device=device)
    start = (uniform(look, batch, objects, 2) * 0.76 + 0.12) * frame
    size = uniform(look, batch, objects, low=config.object_px[0], high=config.object_px[1])
    angle0 = (uniform(look, batch, objects) - 0.5) * (uniform(look, batch, objects) < 0.4) * 1.2
    parallax = 1 + uniform(look, batch, objects).sort(dim=1).values * 0.5

    clock = _clock(batch * objects, config, motion)
    steps = _paths(clock, 2, config.num_frames, motion).reshape(batch, objects, config.num_frames, 2)
    moving = uniform(motion, batch, objects) >= config.p_static
    moving[:, 0] |= uniform(motion, batch) < 0.8
    margin = 0.06 * frame
    if config.p_twin:
        if objects < 2:
            raise ValueError(f"p_twin={config.p_twin} needs at least 2 objects, not max_objects={objects}")
        twin = _Twins.draw(batch, config.p_twin, look_seed, device)
        active[:, 1] |= twin.here
        sprites, names = twin.same_looks(sprites.unflatten(0, (batch, objects)), names)
        start[:, 1], size[:, 1] = twin.beside(start, size, margin, frame)
        moving[:, :2] = torch.where(
            twin.here[:, None], twin.first_moves[:, None] == torch.tensor([True, False], device=device), moving[:, :2]
        )
    moving = moving.float()
    centre = start[:, :, None] + steps * config.speed_px * moving[..., None, None]
    centre = _reflect(centre, margin, frame - margin)
    spin = moving * (uniform(motion, batch, objects) < config.p_spin)
    turns = _paths(clock, 1, config.num_frames, motion).reshape(batch, objects, -1)
    angle = angle0[..., None] + turns * 0.7 * spin[..., None]
    grow = moving * (uniform(motion, batch, objects) < config.p_grow)
    growth = _paths(clock, 1, config.num_frames, motion).reshape(batch, objects, -1)
    scale = torch.exp((growth * 0.22 * grow[..., None]).clamp(-0.45, 0.45))

    filming = (uniform(motion, batch) < config.p_camera).float()[:, None]
    frames = torch.arange(config.num_frames, device=device, dtype=torch.float32)
    drift = _paths(frames.repeat(batch, 1), 4, config.num_frames, motion) * filming[..., None]
    uses = (uniform(motion, batch, 3) < torch.tensor([0.8, 0.4, 0.3], device=device)).float()[:, None]
    reach = config.pan_px
    pan = (drift[..., :2] * (reach / 2.8) * uses[..., :1]).clamp(-reach, reach)
    zoom = torch.exp((drift[..., 2] * 0.1 * uses[..., 1]).clamp(-0.3, 0.3))
    roll = (drift[..., 3] * 0.07 * uses[..., 2]).clamp(-0.25, 0.25)
    ground = torch.ones(batch, device=device)
    if config.p_sweep:
        sweeps, swept = _sweeps(batch, config, motion_seed, frames)
        pan = torch.where(sweeps[:, None, None], swept, pan)
        ground = torch.where(sweeps, SWEPT_GROUND, ground)
    made = Scenes(
        config, background, sprites.reshape(batch, objects, *sprites.shape[1:]), active, centre, size, scale, angle,
        pan, zoom, roll, parallax, ground, [names[b * objects : (b + 1) * objects] for b in range(batch)], captions=[],
    )  # fmt: skip
    return replace(made, captions=captions_of(made))


def _sweeps(batch: int, config: SceneConfig, motion_seed: int, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Which cameras sweep, ``(B,)``, and where each would be, ``(B, T, 2)`` pixels: at rest, on its way, at rest.

    Draws of their own, as for `_Twins`.
    """
    generator = torch.Generator(frames.device).manual_seed(motion_seed ^ 0x5EEB)
    first = uniform(generator, batch, 1, high=0.25)
    last = first + uniform(generator, batch, 1, low=0.25, high=0.6)
    phase = ((frames / max(1, config.num_frames - 1) - first) / (last - first)).clamp(0, 1)
    eased = torch.where(uniform(generator, batch, 1) < 0.5, phase * phase * (3 - 2 * phase), phase)
    kind = uniform(generator, batch, 1)  # along the width, along the height, or both
    along = torch.cat([kind < 0.8, kind > 0.6], dim=1).float()
    size = torch.tensor([config.width, config.height], device=frames.device)
    way = uniform(generator, batch, 2, low=0.3) * size * along
    way = way * (1 - 2 * (uniform(generator, batch, 2) < 0.5).float())
    return uniform(generator, batch) < config.p_sweep, eased[..., None] * way[:, None]


@dataclass(frozen=True)
class _Twins:
    """Which scenes have two objects of one look: ``here (B,)``; the way from the first one to the second ``(B, 2)``, in mean
    extents of theirs; the second one's extent over the first one's ``(B,)``; which of the two moves ``(B,)``.

    They have draws of their own, so that scenes without twins are the same whether or not others have them.
    """

    here: Tensor
    way: Tensor
    ratio: Tensor
    first_moves: Tensor

    @classmethod
    def draw(cls, batch: int, chance: float, look_seed: int, device: torch.device | str) -> _Twins:
        generator = torch.Generator(device).manual_seed(look_seed ^ 0x7717)
        direction = uniform(generator, batch, high=2 * math.pi)
        apart = uniform(generator, batch, 1, low=0.7, high=1.2)
        way = torch.stack([direction.cos(), direction.sin()], dim=-1) * apart
        ratio = uniform(generator, batch, low=0.5, high=1.2)
        return cls(uniform(generator, batch) < chance, way, ratio, uniform(generator, batch) < 0.5)

    def same_looks(self, sprites: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
        """Sprites ``(B, M, 4, side, side)`` and names of all, the second one's those of the first in these scenes."""
        objects, sprites, names = sprites.shape[1], sprites.clone(), list(names)
        sprites[self.here, 1] = sprites[self.here, 0]
        for b in self.here.nonzero()[:, 0].tolist():
            names[b * objects + 1] = names[b * objects]
        return sprites.flatten(0, 1), names

    def beside(self, start: Tensor, size: Tensor, margin: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Place ``(B, 2)`` and extent ``(B,)`` of the second object, from ``start (B, M, 2)`` and ``size (B, M)``."""
        extent = torch.where(self.here, size[:, 0] * self.ratio, size[:, 1])
        place = start[:, 0] + self.way * (size[:, :1] + extent[:, None]) / 2
        place = torch.minimum(torch.maximum(place, margin), frame - margin)
        return torch.where(self.here[:, None], place, start[:, 1]), extent


def _backgrounds(batch: int, config: SceneConfig, bank: pictures.PictureBank, generator: torch.Generator) -> Tensor:
    size = (round(config.height * 1.5), round(config.width * 1.5))
    least = min(1.0, max(0.5, size[1] / (PHOTO_ENLARGED * bank.photos.shape[3])))
    photo = pictures.photo_crops(bank.photos, batch, size, generator, zoom=(least, 1.0))
    smooth = pictures.smooth_fields(batch, 3, size, generator)
    pick = (uniform(generator, batch) < 0.75).float()[:, None, None, None]
    return photo * pick + smooth * (1 - pick)


def _sprites(
    count: int, config: SceneConfig, bank: pictures.PictureBank, generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    side = round(min(bank.sprites.shape[-1], SPRITE_SIDE * config.scale))
    picks = randint(generator, len(bank.sprites), count)
    drawn = torch.nn.functional.interpolate(bank.sprites[picks], (side, side), mode="area")
    cutout = pictures.photo_crops(bank.photos, count, (side, side), generator, zoom=(0.2, 0.6))
    shape = pictures.two_colour_patterns(count, side, generator)
    mask = pictures.shape_masks(count, side, generator)
    kind = uniform(generator, count)
    flat = torch.where((kind < 0.75)[:, None, None, None], cutout, shape)
    made = torch.cat([flat, mask], dim=1)
    sprites = torch.where((kind < 0.5)[:, None, None, None], drawn, made)
    names = [
        bank.sprite_names[i] if k < 0.5 else ("a piece of the picture" if k < 0.75 else "a coloured shape")
        for i, k in zip(picks.tolist(), kind.tolist(), strict=True)
    ]
    return sprites, names


def _clock(count: int, config: SceneConfig, generator: torch.Generator) -> Tensor:
    """Each object's own time ``(count, T)``: it stands still before a late start and after an early stop."""
    frames = torch.arange(config.num_frames, device=generator.device, dtype=torch.float32)
    late = (uniform(generator, count, 1) < config.p_late) * uniform(generator, count, 1, high=0.6)
    early = 1 - (uniform(generator, count, 1) < config.p_early) * uniform(generator, count, 1, high=0.35)
    start, stop = (late * config.num_frames).floor(), (early * config.num_frames).floor()
    return torch.minimum(torch.maximum(frames, start), stop) - start


def _paths(clock: Tensor, channels: int, frames: int, generator: torch.Generator) -> Tensor:
    """Random walks ``(batch, T, channels)`` from 0, read at the times ``clock (batch, T)``.

    Knots lie about 11 frames apart; walks have pauses and are smooth or jerky.
    """
    device, batch = generator.device, len(clock)
    knots = max(2, math.ceil(frames / 11)) + 1
    moves = torch.randn(batch, knots - 1, channels, generator=generator, device=device) * 0.6
    keep_going = uniform(generator, batch, 1, 1) < 0.4
    moves = torch.where(keep_going, moves * 0.3 + moves[:, :1] * 0.7, moves)
    pause = uniform(generator, batch, knots - 1, 1) < 0.25
    moves = torch.where(pause, torch.zeros_like(moves), moves.clamp(-1.2, 1.2))
    places = torch.cat([torch.zeros(batch, 1, channels, device=device), moves.cumsum(1)], dim=1)
    gaps = uniform(generator, batch, knots - 1, low=0.5, high=1.5)
    times = torch.cat([torch.zeros(batch, 1, device=device), gaps.cumsum(1)], dim=1)
    times = times / times[:, -1:] * max(frames - 1, 1)
    right = torch.searchsorted(times.contiguous(), clock.contiguous(), right=True).clamp(1, knots - 1)
    t0, t1 = times.gather(1, right - 1), times.gather(1, right)
    phase = ((clock - t0) / (t1 - t0)).clamp(0, 1)
    eased = phase * phase * (3 - 2 * phase)
    smooth = uniform(generator, batch, 1) < 0.7
    phase = torch.where(smooth, eased, phase)[..., None]
    index = right[..., None].expand(-1, -1, channels)
    return places.gather(1, index - 1) * (1 - phase) + places.gather(1, index) * phase


def _reflect(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Fold positions back into [low, high], as a billiard ball would bounce: paths stay continuous."""
    span = high - low
    folded = torch.remainder(values - low, 2 * span)
    return low + torch.minimum(folded, 2 * span - folded)


def captions_of(scenes: Scenes) -> list[str]:
    """Where the camera and the objects of each scene go from its first frame to its last.

    The camera comes first, for a prompt is cut to the model's ``text_len``.
    """
    scale = scenes.config.scale
    ways = ((scenes.centre[:, :, -1] - scenes.centre[:, :, 0]) / scale).tolist()
    panned = ((scenes.pan[:, -1] - scenes.pan[:, 0]) / scale).tolist()
    captions = []
    for names, active, way, pan in zip(scenes.names, scenes.active.tolist(), ways, panned, strict=True):
        parts = [f"{name} {motion_words(shift)}" for name, here, shift in zip(names, active, way, strict=True) if here]
        camera = motion_words(pan)
        if camera != "stays still":
            parts.insert(0, f"the camera {camera}")
        captions.append(", ".join(parts))
    return captions


def motion_words(shift: list[float]) -> str:
    """Words for a displacement (x, y) in pixels: "moves up and right", "stays still"."""
    x, y = shift
    if math.hypot(x, y) < 5:
        return "stays still"
    words = []
    if abs(y) > 0.4 * abs(x):
        words.append("down" if y > 0 else "up")
    if abs(x) > 0.4 * abs(y):
        words.append("right" if x > 0 else "left")
    return "moves " + " and ".join(words)
