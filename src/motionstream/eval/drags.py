"""Suite "drags": does the dragged thing go where it is dragged? Counterfactual, on held-out sprites.

A scene is a still picture of which one object is dragged along a path chosen apart from the picture. What the model made
is compared with the commanded place of the object in the last frame, in % of image width. The controls tell what the
number means: tracks dropped, a static copy of the picture, and the truth passed through the VAE.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from motionstream.data.pictures import Split, load_bank
from motionstream.data.render import object_pose, render, render_object
from motionstream.data.scenes import SceneConfig, Scenes, frames_of, motion_words, sample_scenes
from motionstream.eval.locate import locate
from motionstream.eval.presence import change_inside, share_at
from motionstream.stream.engine import StreamEngine
from motionstream.stream.points import Point
from motionstream.tracks.strokes import brush_offsets

CHUNK = 3
"""Latent frames, the paper's chunk. Scenes are timed by it and not by the engine's: every setting is asked the same."""
MOVE_CHUNKS = 2
TRACK_COUNTS = (1, 4, 12, 24)
LOOK_SEED = 90_000_000
BRUSH_SPACING = 6 / 128
"""Of the width, as in the studio."""


@dataclass(frozen=True)
class DragCase:
    """One scene with its drag.

    Attributes:
        video: truth ``(T, 3, H, W)``. background: last frame without the object ``(3, H, W)``.
        colour, alpha: the object at its last place, ``(3, H, W)`` and ``(1, H, W)``; old_colour, old_alpha: at its first.
        points: tracks on the object ``(T, n, 2)``, random order. size_px: extent. shift_px: length of the drag.
        caption: prompt.
    """

    video: Tensor
    background: Tensor
    colour: Tensor
    alpha: Tensor
    old_colour: Tensor
    old_alpha: Tensor
    points: Tensor
    size_px: float
    shift_px: float
    caption: str


def pictures_mark(split: Split = "eval") -> str:
    """What tells one set of held-out pictures from another: scenes of different pictures are different samples."""
    bank = load_bank(split)
    digest = hashlib.sha256(json.dumps([bank.sprite_names, bank.photo_names]).encode())
    for pictures in (bank.sprites, bank.photos):
        digest.update((pictures * 255).round().byte().numpy().tobytes())
    return digest.hexdigest()[:12]


def drag_case(engine: StreamEngine, index: int, grab_chunk: int = 0) -> DragCase:
    """Held-out scene ``index``, the same for every engine of one geometry: the drag starts with chunk ``grab_chunk`` (of
    `CHUNK` latent frames), lasts two and holds for one."""
    geometry = engine.preset.geometry
    frames = geometry.pixel_frames((grab_chunk + MOVE_CHUNKS + 1) * CHUNK)
    config = SceneConfig.of(geometry, frames, p_camera=0.0, split="eval")
    begin = 0 if grab_chunk == 0 else geometry.frame_span(0, grab_chunk * CHUNK)[1] - 1
    moving = MOVE_CHUNKS * CHUNK * geometry.t_stride - geometry.t_stride
    scenes = _with_drag(sample_scenes(1, config, look_seed=LOOK_SEED + index, motion_seed=index), index, begin, moving)
    top = scenes.active.shape[1] - 1
    shown = render(scenes, grid=(48, 64), point_seed=index)
    on_object = (shown.layer[0] == top).nonzero()[:, 0]
    order = torch.randperm(len(on_object), generator=torch.Generator().manual_seed(index))
    picks = on_object[order][: max(TRACK_COUNTS)]
    last = frames_of(scenes, slice(-1, None))
    colour, alpha = _looks(last, top)
    old_colour, old_alpha = _looks(frames_of(scenes, slice(0, 1)), top)
    return DragCase(
        video=shown.video[0],
        background=render(last.without_object(top), grid=(1, 1)).video[0, 0],
        colour=colour,
        alpha=alpha,
        old_colour=old_colour,
        old_alpha=old_alpha,
        points=shown.xy[0][:, picks],
        size_px=float(scenes.size[0, top]),
        shift_px=float((object_pose(scenes, top).offset[0, -1] - object_pose(scenes, top).offset[0, 0]).norm()),
        caption=scenes.captions[0],
    )


def _looks(still: Scenes, index: int) -> tuple[Tensor, Tensor]:
    """Colour ``(3, H, W)`` and alpha ``(1, H, W)`` of one object in a scene of one frame."""
    layer = render_object(still, index)[0, 0]
    return layer[:3] / layer[3:].clamp_min(1e-3), layer[3:]


def _with_drag(scenes: Scenes, seed: int, begin: int, moving: int) -> Scenes:
    """Still scenes in which the topmost object is dragged by 16-35 % of the width, on a smooth, slightly curved stroke."""
    generator = torch.Generator().manual_seed(seed + 31)
    T, top = scenes.centre.shape[2], scenes.active.shape[1] - 1
    frame = torch.tensor([scenes.config.width, scenes.config.height], dtype=torch.float32)
    centre = scenes.centre[:, :, :1].expand(-1, -1, T, -1).clone()
    start = torch.minimum(torch.maximum(centre[0, top, 0], frame * 0.22), frame * 0.78)
    for _ in range(200):
        angle = torch.rand((), generator=generator) * 6.2832
        length = scenes.config.width * (0.16 + 0.19 * torch.rand((), generator=generator))
        move = length * torch.stack([angle.cos(), angle.sin()])
        if bool(((start + move >= frame * 0.18) & (start + move <= frame * 0.82)).all()):
            break
    phase = ((torch.arange(T) - begin) / moving).clamp(0, 1)
    eased = phase * phase * (3 - 2 * phase)
    bow = (torch.rand((), generator=generator) - 0.5) * 0.4 * torch.stack([-move[1], move[0]])
    centre[0, top] = start + eased[:, None] * move + (torch.sin(eased * 3.1416))[:, None] * bow
    still = {
        name: getattr(scenes, name)[..., :1].expand_as(getattr(scenes, name)) for name in ("scale", "angle", "zoom", "roll")
    }
    active = scenes.active.clone()
    active[:, top] = True
    size = scenes.size.clone()
    size[:, top] = size[:, top].clamp(28 * scenes.config.scale, 52 * scenes.config.scale)
    caption = f"{scenes.names[0][top]} {motion_words(move.tolist())}"
    return replace(
        scenes,
        centre=centre,
        pan=scenes.pan[:, :1].expand_as(scenes.pan),
        active=active,
        size=size,
        captions=[caption],
        **still,
    )


def drag_error_pct(frame: Tensor, case: DragCase) -> float:
    """Distance between found and commanded place, % of image width; ``frame (3, H, W)`` in [0, 1]."""
    return 100 * float(locate(frame, case.background, case.colour, case.alpha).norm()) / frame.shape[2]


def drag_shares(frame: Tensor, case: DragCase) -> dict[str, float | None]:
    """After the drag: how much of the object is at its new place, and how much still shows at its old one, each 0 to 1."""
    kept = share_at(frame, case.background, case.colour, case.alpha, not_where=case.old_alpha)
    left = share_at(frame, case.background, case.old_colour, case.old_alpha, not_where=case.alpha, hidden=True)
    return {"kept_share": kept, "left_behind": left}


def rest_measures(frame: Tensor, case: DragCase) -> dict[str, float | None]:
    """Before the drag, or without one: is the object still what it was in the picture?"""
    share = share_at(frame, case.background, case.old_colour, case.old_alpha, hidden=True)
    levels, gap = change_inside(frame, case.video[0], case.old_alpha)
    return {"rest_share": share, "rest_error": levels, "rest_psnr_gap_db": gap}


def points_per_frame(case: DragCase, count: int, first_frame: int) -> list[list[Point]]:
    """The drag as live points: ``count`` of them, held from ``first_frame`` on."""
    T = len(case.points)
    chosen = case.points[:, :count].tolist()
    return [[Point(n, x, y) for n, (x, y) in enumerate(chosen[t])] if t >= first_frame else [] for t in range(T)]


def brush_points(case: DragCase, *, snap: bool = True) -> list[list[Point]]:
    """The drag by a round brush as large as the object, set down on its middle; as in the studio the engine looks for
    the thing in it. Without ``snap`` what lies beside the object within the disc is held, too."""
    inside = (case.old_alpha[0] > 0.5).nonzero().float()
    H, W = case.old_alpha.shape[1:]
    middle = inside.mean(0).flip(0).numpy() + 0.5
    places = middle + brush_offsets(case.size_px / 2, BRUSH_SPACING * W)
    places = places[((places >= 0) & (places < (W, H))).all(axis=1)]
    way = (case.points[:, 0] - case.points[0, 0]).tolist()
    return [[Point(n, x + dx, y + dy, group=1, snap=snap) for n, (x, y) in enumerate(places.tolist())] for dx, dy in way]


def stream_frames(
    engine: StreamEngine, case: DragCase, frames: list[list[Point]], *, steps: int | None = None, seed: int = 0
) -> Tensor:
    """The student's stream, ``(len(frames), 3, H, W)`` in [0, 1]; ``frames`` are the points held in each frame.

    Where the last chunk is longer than what is left of them, its further frames hold the last points and are cut off.
    """
    picture = (case.video[0].permute(1, 2, 0) * 255).round().byte().numpy()
    made: list[np.ndarray] = []
    done = 0
    with engine.start(picture, case.caption, seed=seed, steps=steps) as session:
        while done < len(frames):
            count = session.frames_in_chunk(session.index)
            held = frames[done : done + count]
            made.append(session.step_frames(held + held[-1:] * (count - len(held))).frames)
            done += count
    return torch.from_numpy(np.concatenate(made)[: len(frames)]).permute(0, 3, 1, 2).float() / 255
