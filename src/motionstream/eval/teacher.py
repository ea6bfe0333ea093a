"""The bidirectional teacher as an evaluation subject: whole clips at once, with joint guidance."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.guided import guided_predictor
from motionstream.models.load import load_weights
from motionstream.models.motion import track_latents
from motionstream.stream.engine import StreamEngine
from motionstream.stream.find_weights import weights_folder
from motionstream.tracks.origin import make_ids


class Teacher:
    """Makes clips with the engine's VAE and text; ``model`` has the engine's preset."""

    def __init__(self, model: WanDiT, engine: StreamEngine) -> None:
        self.model = model.to(engine.compute.device).eval().requires_grad_(False)
        self.engine = engine

    @torch.no_grad()
    def video(self, first: Tensor, xy: Tensor, visible: Tensor, prompt: str, seed: int) -> Tensor:
        """A clip ``(T, 3, H, W)`` in [0, 1].

        Args:
            first: picture ``(3, H, W)`` in [0, 1]. xy: ``(T, N, 2)`` pixels, T = t_stride * k + 1.
            visible: ``(T, N)`` bool; points that frame 0 does not show are left out.
            prompt, seed: as for a stream; the seed also draws ids.

        Raises:
            ValueError: a number of frames that does not fit the latent grid.
        """
        engine, model = self.engine, self.model
        preset, device = engine.preset, engine.compute.device
        config = preset.sample
        latent = engine.vae.encode(first[None, None].to(device))
        # Tracks of the teacher's training all begin in frame 0, whatever the student beside it has learnt (`late_codes`).
        xy, visible = xy[:, visible[0]], visible[:, visible[0]]
        xy, visible = xy[None].to(device), visible[None].to(device)
        ids = make_ids(xy, visible, preset.model.tracks, torch.Generator().manual_seed(seed)).to(device)
        generator = torch.Generator(device).manual_seed(seed)
        F = preset.geometry.latent_frames(xy.shape[1])
        noise = torch.randn(1, F, *latent.shape[2:], generator=generator, device=device)
        text = engine.text([prompt]).to(device)
        with engine.compute.autocast():
            motion = track_latents(model, preset.geometry, xy, visible, ids)
            condition = Condition(latent, motion, model.embed_text(text))
            velocity = guided_predictor(
                model, condition, torch.zeros_like(text), config.text_guidance, config.motion_guidance
            )
            latents = sample_euler(velocity, noise, euler_sigmas(config.teacher_steps, config.shift, device))
        return engine.vae.decode(latents.float())[0][0].float().cpu()


def load_teacher(name_or_path: str | Path, engine: StreamEngine) -> Teacher | None:
    """The teacher beside the student's weights; None when there is none."""
    folder = weights_folder(name_or_path)
    if folder is None or not (folder / "teacher.safetensors").is_file():
        return None
    model = WanDiT(engine.preset.model, engine.preset.geometry.t_stride).float()
    load_weights(folder / "teacher.safetensors", model)
    return Teacher(model, engine)
