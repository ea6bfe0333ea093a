"""Stage 2a: the teacher's ODE trajectories on disk, for the paper's student initialisation (section 3.2).

motionstream train ode-pairs --vae DIR --teacher DIR --out DIR --set clips=400
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from motionstream.config import PresetConfig, to_dict
from motionstream.data.conditions import ConditionConfig, training_batch
from motionstream.data.scenes import SceneConfig
from motionstream.device import Compute
from motionstream.files import alone_in, replacing
from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas
from motionstream.models.dit import WanDiT
from motionstream.models.guided import guided_predictor
from motionstream.models.tensor_files import read_settings
from motionstream.models.vae import NanoVAE
from motionstream.train.check import NOISE_SEEDS, check_settings
from motionstream.train.dit_stage import clip_latents
from motionstream.train.teacher import condition_of


@dataclass(frozen=True, kw_only=True)
class OdePairsConfig:
    """Args: ``clips`` trajectories of ``num_frames`` pixels, ``steps`` Euler steps, ``states`` kept of each besides its
    end; guidance weights as in the paper (3.0 and 1.5)."""

    clips: int = 400
    batch: int = 8
    num_frames: int = 33
    steps: int = 24
    states: int = 4
    text_guidance: float = 3.0
    motion_guidance: float = 1.5
    seed: int = 5

    def __post_init__(self) -> None:
        check_settings(self)
        if self.states > self.steps:
            raise ValueError(
                f"states={self.states} must be at most steps={self.steps}: each is kept after a step of its own"
            )


@torch.no_grad()
def make_pairs(
    teacher: WanDiT,
    vae: NanoVAE,
    preset: PresetConfig,
    config: OdePairsConfig,
    compute: Compute,
    folder: Path,
    given: dict[str, str] | None = None,
) -> int:
    """Write ``pairs_NNNN.safetensors`` shards; shards that exist are kept, so a killed run goes on. Returns clips.

    ``given``: marks of the weights, by name.

    Raises:
        ValueError: ``folder`` holds shards of other settings (but for ``clips``), another size or other weights, or what
            says so is damaged; or another process makes them there.
    """
    clip_latents(preset, config.num_frames)
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, "being filled"):
        about = folder / "pairs_config.json"
        size = [preset.geometry.width, preset.geometry.height]
        now = json.loads(json.dumps(to_dict(config))) | {"size": size, "given": given or {}}
        before = read_settings(about) if about.exists() and list(folder.glob("pairs_*.safetensors")) else now
        changed = [key for key in now if key != "clips" and before.get(key, now[key]) != now[key]]
        if changed:
            was, wanted = before[changed[0]], now[changed[0]]
            raise ValueError(
                f"{folder} holds trajectories of {changed[0]}={was!r}, not {wanted!r}: choose another --out folder, or make "
                "more of the same"
            )
        with replacing(about, alone=True) as partial:
            partial.write_text(json.dumps(now, indent=2) + "\n")
        scene = SceneConfig.of(preset.geometry, config.num_frames)
        conditions = ConditionConfig(p_drop_motion=0.0, p_drop_text=0.0, min_per_object=8, max_per_object=96)
        sigmas = euler_sigmas(config.steps, preset.sample.shift, compute.device)
        keep = [config.steps * i // config.states for i in range(config.states)]
        shards = -(-config.clips // config.batch)
        for shard in tqdm(range(shards), desc="ode-pairs"):
            path = folder / f"pairs_{shard:04d}.safetensors"
            if path.exists():
                continue
            seed = config.seed * 10_000_019 + shard
            batch = training_batch(config.batch, preset, vae, scene, conditions, seed, compute.device)
            generator = torch.Generator(compute.device).manual_seed(NOISE_SEEDS + seed)
            noise = torch.randn(batch.latents.shape, generator=generator, device=compute.device)
            with compute.autocast():
                condition = condition_of(teacher, preset, batch)
                empty = torch.zeros_like(batch.text[:1])
                velocity = guided_predictor(teacher, condition, empty, config.text_guidance, config.motion_guidance)
                states = sample_euler(velocity, noise, sigmas, keep=[*keep, config.steps])
            kept = {
                "latents": states[:, -1].half().cpu().contiguous(),
                "states": states[:, :-1].half().cpu().contiguous(),
                "sigmas": sigmas[keep].cpu(),
                "text": batch.text.cpu(),
                "xy": batch.xy.cpu(),
                "visible": batch.visible.cpu(),
                "ids": batch.ids.cpu(),
            }
            with replacing(path, alone=True) as partial:
                save_file(kept, partial)
        return shards * config.batch
