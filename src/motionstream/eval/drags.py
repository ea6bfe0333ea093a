"""Suite "drags": does the dragged thing go where it is dragged? Counterfactual, on held-out sprites.

A scene is a still picture of which one object is dragged along a path chosen apart from the picture. What the model made
is compared with the commanded place of the object in the last frame, in % of image width. The controls tell what the
number means: tracks dropped, a static copy of the picture, and the truth passed through the VAE.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from motionstream.data.render import object_pose, render, render_object
from motionstream.data.scenes import SceneConfig, Scenes, motion_words, sample_scenes
from motionstream.eval.locate import locate
from motionstream.stream.engine import StreamEngine
from motionstream.stream.track_buffer import Point

MOVE_CHUNKS = 2
TRACK_COUNTS = (1, 4, 12, 24)
LOOK_SEED = 90_000_000


@dataclass(frozen=True)
class DragCase:
    """One scene with its drag.

    Attributes:
        video: truth ``(T, 3, H, W)``. background: last frame without the object ``(3, H, W)``.
        colour, alpha: the object at its last place, ``(3, H, W)`` and ``(1, H, W)``.
        points: tracks on the object ``(T, n, 2)``, random order. size_px: extent. shift_px: length of the drag.
        caption: prompt.
    """

    video: Tensor
    background: Tensor
    colour: Tensor
    alpha: Tensor
    points: Tensor
    size_px: float
    shift_px: float
    caption: str


def drag_cases(engine: StreamEngine, count: int, grab_chunk: int = 0) -> Iterator[DragCase]:
    """Held-out scenes, the same for every engine of one geometry: the drag starts with chunk ``grab_chunk``, lasts two
    chunks and holds for one."""
    geometry, size = engine.preset.geometry, engine.preset.cache.chunk_frames
    frames = geometry.pixel_frames((grab_chunk + MOVE_CHUNKS + 1) * size)
    config = SceneConfig(
        num_frames=frames, height=geometry.height, width=geometry.width, fps=geometry.fps, p_camera=0.0, split="eval"
    )
    begin = 0 if grab_chunk == 0 else geometry.frame_span(0, grab_chunk * size)[1] - 1
    moving = MOVE_CHUNKS * size * geometry.t_stride - geometry.t_stride
    for index in range(count):
        scenes = _with_drag(sample_scenes(1, config, look_seed=LOOK_SEED + index, motion_seed=index), index, begin, moving)
        top = scenes.active.shape[1] - 1
        shown = render(scenes, grid=(48, 64), point_seed=index)
        on_object = (shown.layer[0] == top).nonzero()[:, 0]
        order = torch.randperm(len(on_object), generator=torch.Generator().manual_seed(index))
        picks = on_object[order][: max(TRACK_COUNTS)]
        last = replace(
            scenes, **{name: getattr(scenes, name)[..., -1:, :] for name in ("centre", "pan")},
            **{name: getattr(scenes, name)[..., -1:] for name in ("scale", "angle", "zoom", "roll")},
        )  # fmt: skip
        layer = render_object(last, top)[0, 0]
        alpha = layer[3:]
        yield DragCase(
            video=shown.video[0],
            background=render(last.without_object(top), grid=(1, 1)).video[0, 0],
            colour=layer[:3] / alpha.clamp_min(1e-3),
            alpha=alpha,
            points=shown.xy[0][:, picks],
            size_px=float(scenes.size[0, top]),
            shift_px=float((object_pose(scenes, top).offset[0, -1] - object_pose(scenes, top).offset[0, 0]).norm()),
            caption=scenes.captions[0],
        )


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
    size[:, top] = size[:, top].clamp(28, 52)
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


def points_per_frame(case: DragCase, count: int, first_frame: int) -> list[list[Point]]:
    """The drag as live points: ``count`` of them, held from ``first_frame`` on."""
    T = len(case.points)
    chosen = case.points[:, :count].tolist()
    return [[Point(n, x, y) for n, (x, y) in enumerate(chosen[t])] if t >= first_frame else [] for t in range(T)]


def stream_last_frame(
    engine: StreamEngine, case: DragCase, frames: list[list[Point]], *, steps: int | None = None, seed: int = 0
) -> Tensor:
    """Last frame ``(3, H, W)`` of the student's stream."""
    picture = (case.video[0].permute(1, 2, 0) * 255).round().byte().numpy()
    done = 0
    with engine.start(picture, case.caption, seed=seed, steps=steps) as session:
        while done < len(frames):
            count = session.frames_in_chunk(session.index)
            chunk = session.step_frames(frames[done : done + count])
            done += count
    return torch.from_numpy(chunk.frames[len(frames) - done - 1]).permute(2, 0, 1).float() / 255


def summary(errors: list[float]) -> dict[str, float]:
    return {
        "median_pct": round(statistics.median(errors), 3),
        "mean_pct": round(statistics.fmean(errors), 3),
        "share_under_4pct": round(sum(e < 4 for e in errors) / len(errors), 3),
        "n": len(errors),
    }


def evaluate_drags(
    engine: StreamEngine,
    *,
    scenes: int = 64,
    late_scenes: int = 16,
    teacher: Callable[[list[DragCase]], Tensor] | None = None,
    quick: bool = False,
) -> dict:
    """Run the suite; see ``docs/results.md`` for how to read it.

    Args:
        scenes: held-out scenes of every part. late_scenes: of the part that grabs at chunk 20 (23 chunks each).
        teacher: last frames ``(n, 3, H, W)`` of the bidirectional teacher for a list of cases.
        quick: only brush, single, dropped, static and truth.
    """
    cases = list(tqdm(drag_cases(engine, scenes), total=scenes, desc="scenes"))

    def student(count: int, *, steps: int | None = None, chosen: list[DragCase] = cases, grab: int = 0) -> list[float]:
        first = 0 if grab == 0 else engine.preset.geometry.frame_span(0, grab * engine.preset.cache.chunk_frames)[1]
        label = f"tracks {count}, steps {steps or 'default'}, grab {grab}"
        return [
            drag_error_pct(stream_last_frame(engine, c, points_per_frame(c, count, first), steps=steps), c)
            for c in tqdm(chosen, desc=label, leave=False)
        ]

    brush = student(24)
    report: dict = {
        "student": {"brush": summary(brush), "single": summary(student(1))},
        "tracks_dropped": summary(student(0)),
        "static": summary([drag_error_pct(c.video[0], c) for c in cases]),
        "truth_through_vae": summary([drag_error_pct(_through_vae(engine, c), c) for c in cases]),
        "shift_pct": round(statistics.fmean(100 * c.shift_px / engine.preset.geometry.width for c in cases), 2),
    }
    if teacher is not None:
        report["teacher"] = {"brush": summary([drag_error_pct(f, c) for f, c in zip(teacher(cases), cases, strict=True)])}
    if quick:
        return report
    by_tracks = {str(n): summary(student(n)) for n in TRACK_COUNTS[1:3]}
    report["student"]["by_tracks"] = {"1": report["student"]["single"], **by_tracks, "24": report["student"]["brush"]}
    usual = len(engine.preset.sample.student_sigmas)
    report["student"]["by_steps"] = {
        str(k): report["student"]["brush"] if k == usual else summary(student(24, steps=k)) for k in (1, 2, 3, 4)
    }
    halves = sorted(range(scenes), key=lambda i: cases[i].size_px)
    report["student"]["by_size"] = {
        "smaller_half": summary([brush[i] for i in halves[: scenes // 2]]),
        "larger_half": summary([brush[i] for i in halves[scenes // 2 :]]),
    }
    report["student"]["grab_at_chunk"] = {"0": report["student"]["brush"]}
    for grab, count in ((3, scenes), (20, late_scenes)):
        late = list(drag_cases(engine, count, grab))
        report["student"]["grab_at_chunk"][str(grab)] = summary(student(24, chosen=late, grab=grab))
    return report


@torch.no_grad()
def _through_vae(engine: StreamEngine, case: DragCase) -> Tensor:
    video = case.video[None].to(engine.compute.device)
    return engine.vae.decode(engine.vae.encode(video))[0][0, -1].float().cpu()
