"""The bidirectional teacher as an evaluation subject: whole clips at once, with joint guidance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from motionstream.eval.drags import DragCase
from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.guided import guided_predictor
from motionstream.models.load import load_weights
from motionstream.models.motion import track_latents
from motionstream.stream.engine import StreamEngine, weights_folder
from motionstream.tracks.codes import draw_ids


def teacher_frames(name_or_path: str | Path, engine: StreamEngine) -> Callable[[list[DragCase]], Tensor] | None:
    """A function from cases to last frames ``(n, 3, H, W)``; None when the weights hold no teacher."""
    folder = weights_folder(name_or_path)
    if folder is None or not (folder / "teacher.safetensors").is_file():
        return None
    preset, compute = engine.preset, engine.compute
    model = WanDiT(preset.model, preset.geometry.t_stride)
    load_weights(folder / "teacher.safetensors", model)
    model = model.to(compute.device).eval().requires_grad_(False)

    @torch.no_grad()
    def run(cases: list[DragCase]) -> Tensor:
        frames = [
            _last_frame(model, engine, case, seed) for seed, case in enumerate(tqdm(cases, desc="teacher", leave=False))
        ]
        return torch.stack(frames)

    return run


def _last_frame(model: WanDiT, engine: StreamEngine, case: DragCase, seed: int) -> Tensor:
    preset, device = engine.preset, engine.compute.device
    config = preset.sample
    first = engine.vae.encode(case.video[None, :1].to(device))
    xy = case.points[None].to(device)
    ids = draw_ids(1, xy.shape[2], preset.model.tracks, torch.Generator().manual_seed(seed)).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    F = preset.geometry.latent_frames(len(case.points))
    noise = torch.randn(1, F, *first.shape[2:], generator=generator, device=device)
    text = engine.text([case.caption]).to(device)
    with engine.compute.autocast():
        motion = track_latents(model, preset.geometry, xy, torch.ones_like(xy[..., 0], dtype=torch.bool), ids)
        condition = Condition(first, motion, model.embed_text(text))
        velocity = guided_predictor(model, condition, torch.zeros_like(text), config.text_guidance, config.motion_guidance)
        latents = sample_euler(velocity, noise, euler_sigmas(config.teacher_steps, config.shift, device))
    return engine.vae.decode(latents.float())[0][0, -1].float().cpu()
