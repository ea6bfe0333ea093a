"""How an engine runs its transformer: which form, which attention, compiled or not, recorded or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from motionstream.config import PresetConfig
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.nn.attention_choice import NAMES, AttentionChoice, choose_attention


@dataclass(frozen=True)
class ComputePath:
    """Settings of the fast path; the slow one is ``ComputePath(fused=False)``.

    Args:
        fused: run the streaming form of the transformer (models/fused.py), or the reference itself.
        attention: "auto" = the fastest that passes its test here, or a name of ``nn.attention_choice.NAMES``.
        compiled: ``torch.compile`` for what is element-wise; None = on CUDA, where warm-up pays for it.
        graphs: record CUDA graphs, where there is CUDA.

    Raises:
        ValueError: an unknown attention.
    """

    fused: bool = True
    attention: str = "auto"
    compiled: bool | None = None
    graphs: bool = True

    def __post_init__(self) -> None:
        if self.attention not in NAMES:
            raise ValueError(f"attention {self.attention!r} is unknown: use one of {', '.join(NAMES)}")

    def compiles(self, device: torch.device) -> bool:
        return device.type == "cuda" if self.compiled is None else self.compiled

    def build(self, model: WanDiT, preset: PresetConfig, compute: Compute) -> tuple[FusedDiT, AttentionChoice]:
        """The streaming form, with the attention that was chosen for the preset's shapes."""
        geometry, cache, config = preset.geometry, preset.cache, preset.model
        cells = (geometry.latent_height // geometry.patch) * (geometry.latent_width // geometry.patch)
        choice = choose_attention(
            self.attention,
            queries=cache.chunk_frames * cells,
            keys=cache.slots * cells,
            heads=config.num_heads,
            head_dim=config.head_dim,
            compute=compute,
        )
        fused = FusedDiT(model, compute.dtype, attend=choice.kernel, compiled=self.compiles(compute.device))
        return fused, choice
