"""The engine: owns the models of one preset and makes sessions.

engine = load_engine("nano")
with engine.start(first_frame, "a cup moves left") as session:
    for chunk in session.stream(tracks): ...
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from motionstream.config import PresetConfig, from_dict
from motionstream.device import Compute, choose_compute, synchronize
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import load_weights
from motionstream.models.text import HashedWords
from motionstream.models.vae import NanoVAE
from motionstream.presets import PRESETS, preset
from motionstream.stream.session import StreamSession
from motionstream.tracks.tracks import Tracks


class StreamEngine:
    """Student, VAE and text encoder of one preset on one device.

    Args:
        config: sizes. model, vae: loaded, any dtype. compute: where and in which type to run.
    """

    def __init__(self, config: PresetConfig, model: WanDiT, vae: NanoVAE, compute: Compute) -> None:
        self.preset, self.compute = config, compute
        self.model = model.to(compute.device).eval().requires_grad_(False)
        self.vae = vae.to(compute.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.text = HashedWords(config.model.text_dim, config.model.text_len)

    def warmup(self, chunks: int = 2) -> None:
        """Make a few chunks of nothing, so that the first real one is not slowed by first-time work."""
        geometry = self.preset.geometry
        blank = np.full((geometry.height, geometry.width, 3), 127, np.uint8)
        with self.start(blank, "") as session:
            for _ in range(chunks):
                session.step()

    def start(self, first_frame: np.ndarray, prompt: str = "", *, seed: int = 0, steps: int | None = None) -> StreamSession:
        """Begin a stream.

        Args:
            first_frame: ``(H, W, 3)`` uint8 of the model's size (``media.images.load_first_frame`` makes one).
            prompt: what should happen. seed: the same seed and input give the same video on the same machine.
            steps: denoising steps per chunk, 1 to 8; None = the preset's.

        Raises:
            ValueError: a picture of another size or type, a bad seed or number of steps.
        """
        geometry = self.preset.geometry
        wanted = (geometry.height, geometry.width, 3)
        if not isinstance(first_frame, np.ndarray) or first_frame.dtype != np.uint8 or first_frame.shape != wanted:
            found = f"{getattr(first_frame, 'dtype', type(first_frame).__name__)} {getattr(first_frame, 'shape', '')}"
            raise ValueError(f"first_frame is {found}: give uint8 of shape {wanted} (see media.images.load_first_frame)")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise ValueError(f"seed={seed!r} must lie in [0, 2147483647]")
        if not isinstance(prompt, str):
            raise ValueError(f'prompt={prompt!r} must be text; use "" for none')
        return StreamSession(self, first_frame, prompt, seed, steps)

    def synchronize(self) -> None:
        synchronize(self.compute.device)

    def num_parameters(self) -> dict[str, int]:
        return {name: sum(p.numel() for p in m.parameters()) for name, m in (("dit", self.model), ("vae", self.vae))}


def load_engine(
    name_or_path: str | Path = "nano", *, device: str | None = None, dtype: str | None = None, weights: str = "student"
) -> StreamEngine:
    """Load a preset's bundled weights, or a folder with ``config.json``, ``vae.safetensors`` and ``student.safetensors``.

    "tiny-debug" has no weights: it is random, for tests.

    Raises:
        ValueError: unknown preset, missing or unfitting files, an absent device.
    """
    compute = choose_compute(device, dtype)
    folder = weights_folder(name_or_path)
    if folder is None:
        config = preset(str(name_or_path))
        model, vae = WanDiT(config.model, config.geometry.t_stride), NanoVAE(config.vae)
        init_from_scratch(model)
        vae.fit_linear(_planes(config, 2000))
        torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
        return StreamEngine(config, model, vae, compute)
    config = read_config(folder)
    model, vae = WanDiT(config.model, config.geometry.t_stride), NanoVAE(config.vae)
    load_weights(folder / f"{weights}.safetensors", model)
    load_weights(folder / "vae.safetensors", vae)
    return StreamEngine(config, model, vae, compute)


def _planes(config: PresetConfig, count: int) -> torch.Tensor:
    """Random slanted planes of colour as pixel blocks: enough to give an untrained VAE a picture."""
    vae, generator = config.vae, torch.Generator().manual_seed(0)
    line, clock = torch.linspace(-1, 1, vae.stride), torch.linspace(-1, 1, vae.t_stride)
    level, time, row, column = torch.rand(4, count, 3, generator=generator) - 0.5
    blocks = (
        0.5 + 0.8 * level[:, None, :, None, None]
        + 0.1 * time[:, None, :, None, None] * clock[:, None, None, None]
        + 0.4 * row[:, None, :, None, None] * line[:, None]
        + 0.4 * column[:, None, :, None, None] * line
    )  # fmt: skip
    return blocks.flatten(1)


def weights_folder(name_or_path: str | Path) -> Path | None:
    """Where the weights are; None for a preset that has none by design."""
    name = str(name_or_path)
    if name in PRESETS:
        bundled = Path(str(resources.files("motionstream"))) / "weights" / name
        if bundled.is_dir():
            return bundled
        if name == "tiny-debug":
            return None
        raise ValueError(f"preset {name!r} has no bundled weights here: train it (runs/nano_cpu.sh) and pass the folder")
    if Path(name).is_dir():
        return Path(name)
    raise ValueError(f"{name!r} is neither a preset ({', '.join(PRESETS)}) nor a folder with weights")


def read_config(folder: Path) -> PresetConfig:
    """``config.json`` of a weights folder."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json: it is not a folder of motionstream weights")
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): restore it from where the weights came") from None
    return from_dict(PresetConfig, values)


def generate(
    engine: StreamEngine,
    first_frame: np.ndarray,
    prompt: str,
    tracks: Tracks,
    *,
    num_frames: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Offline convenience: all frames ``(num_frames, H, W, 3)`` uint8 of one stream, made by the same rollout."""
    wanted = tracks.num_frames if num_frames is None else num_frames
    with engine.start(first_frame, prompt, seed=seed) as session:
        frames = np.concatenate([chunk.frames for chunk in session.stream(tracks, wanted)])
    return frames[:wanted]
