"""How an engine runs its transformer: which form, which attention, which kernels, recorded or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import torch

from motionstream.config import ModelConfig, PresetConfig
from motionstream.device import Compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.models.memory_rehearsal import CLIP_ROWS
from motionstream.nn.attention_choice import NAMES, AttentionChoice, choose_attention
from motionstream.nn.cross_choice import CROSS_NAMES, CrossChoice, choose_cross
from motionstream.stream.outline import can_outline
from motionstream.stream.take import ComputedWith

Rows = Literal["auto", "kernels", "compiled", "plain"]
Fp8 = Literal["early", "all"]


@dataclass(frozen=True)
class ComputePath:
    """Settings of the fast path; the slow one is ``ComputePath(fused=False)``.

    Args:
        fused: run the streaming form of the transformer (models/fused.py), or the reference itself.
        attention: "auto" = the fastest that passes its test here, or a name of ``nn.attention_choice.NAMES``.
        cross: the same for attention to text and picture, where the kernels are used; "kernel" = both in one of ours.
        rows: what lies between the products: "kernels" = Triton (nn/row_kernels.py), "compiled" = ``torch.compile``,
            "plain" = torch's own; "auto" = on CUDA the first of these that works, elsewhere "plain". The small decoders are
            compiled with all but "plain".
        fp8: most products in FP8 (nn/fp8.py), where kernels and GPU can; else a warning says why not. "early" = those of
            all denoising steps but the last, so that latents err as without; "all" = of all passes.
        graphs: record CUDA graphs, where there is CUDA.

    Raises:
        ValueError: an unknown ``attention``, ``cross``, ``rows`` or ``fp8``.
    """

    fused: bool = True
    attention: str = "auto"
    cross: str = "auto"
    rows: Rows = "auto"
    fp8: Fp8 | None = None
    graphs: bool = True

    def __post_init__(self) -> None:
        known_of = {"attention": NAMES, "cross": CROSS_NAMES, "rows": get_args(Rows)}
        for name, known in known_of.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} {value!r} is unknown: use one of {', '.join(known)}")
        if self.fp8 is not None and self.fp8 not in get_args(Fp8):
            raise ValueError(f"fp8 {self.fp8!r} is unknown: use one of {', '.join(get_args(Fp8))}, or None")

    def compiles(self, device: torch.device) -> bool:
        """Whether ``torch.compile`` is used at all."""
        return self.fused and ((device.type == "cuda" and self.rows != "plain") or self.rows == "compiled")

    def rounds(self, device: torch.device) -> bool:
        """Whether weights in FP8 are asked for where they may be had."""
        return self.fused and self.fp8 is not None and device.type == "cuda"

    def build(self, model: WanDiT, preset: PresetConfig, compute: Compute) -> tuple[FusedDiT, AttentionChoice]:
        """The streaming form, with the attention that was chosen for the preset's shapes."""
        geometry, cache, config = preset.geometry, preset.cache, preset.model
        cells = (geometry.latent_height // geometry.patch) * (geometry.latent_width // geometry.patch)
        queries, keys = cache.chunk_frames * cells, cache.slots * cells
        shape: dict[str, Any] = {"heads": config.num_heads, "head_dim": config.head_dim, "compute": compute}
        choice = choose_attention(self.attention, queries=queries, keys=keys, **shape)

        def cross() -> CrossChoice:
            rows = CLIP_ROWS if config.image_dim else 0
            return choose_cross(self.cross, queries=queries, text_rows=config.text_len, image_rows=rows, **shape)

        form = self._form(model, config, compute, choice, cross)
        if form.rows in ("plain", "compiled") and self.cross not in ("auto", form.cross_name):
            warnings.warn(
                f"cross {self.cross!r} cannot be used here (it is of the Triton kernels): going on with {form.cross_name}",
                RuntimeWarning,
            )
        return form, choice

    def _form(
        self,
        model: WanDiT,
        config: ModelConfig,
        compute: Compute,
        choice: AttentionChoice,
        cross: Callable[[], CrossChoice],
    ) -> FusedDiT:
        wanted = "FP8" if self.fp8 else "Triton"
        if self.fp8 or self.rows == "kernels" or (self.rows == "auto" and compute.device.type == "cuda"):
            why = kernels_missing(config, compute)
            why_not_fp8 = (why or fp8_missing(config, compute)) if self.fp8 else None
            if why_not_fp8 or why:
                warnings.warn(f"{wanted} cannot be used here ({why_not_fp8 or why}): going on without", RuntimeWarning)
            if why is None:
                from motionstream.models.fused_kernels import Fp8DiT, KernelDiT

                if self.fp8 and why_not_fp8 is None:
                    early = self.fp8 == "early"
                    return Fp8DiT(model, compute.dtype, attend=choice.kernel, cross=cross(), early=early)
                if self.rows in ("auto", "kernels"):
                    return KernelDiT(model, compute.dtype, attend=choice.kernel, cross=cross())
        return FusedDiT(model, compute.dtype, attend=choice.kernel, compiled=self.compiles(compute.device))


def computed_with(compute: Compute, fused: FusedDiT | None, attention: AttentionChoice | None) -> ComputedWith:
    """What a take keeps of a path that was built (None: the reference)."""
    device, dtype = compute.device.type, str(compute.dtype).removeprefix("torch.")
    things = "outlines" if can_outline() else "discs"
    if fused is None or attention is None:
        return ComputedWith(device, dtype, "sdpa", "sdpa", "reference", things)
    return ComputedWith(device, dtype, attention.name, fused.cross_name, fused.rows, things)


def path_as_computed(path: ComputePath, numbers: ComputedWith) -> ComputePath:
    """``path`` with what a take keeps, as far as it is known; ways that are not here are replaced by what is, and said."""
    if numbers.attention in NAMES:
        path = replace(path, attention=numbers.attention)
    forms: dict[str, Fp8] = {"fp8": "all", "fp8-early": "early"}
    if numbers.cross in CROSS_NAMES and numbers.rows in ("kernels", *forms):  # beside others there is no choice
        path = replace(path, cross=numbers.cross)
    if numbers.rows in get_args(Rows):
        return replace(path, rows=cast(Rows, numbers.rows))
    return replace(path, fused=path.fused and numbers.rows != "reference", fp8=path.fp8 or forms.get(numbers.rows))


def kernels_missing(config: ModelConfig, compute: Compute) -> str | None:
    """Why the Triton kernels cannot be used; None where they can."""
    try:
        from motionstream.nn.row_kernels_check import row_kernels_work
    except ImportError as error:
        return f"no Triton: {error}"
    return row_kernels_work(str(compute.device), compute.dtype, config.dim, config.num_heads)


def fp8_missing(config: ModelConfig, compute: Compute) -> str | None:
    """Why products in FP8 cannot be used; None where they can. Needs Triton."""
    from motionstream.nn.fp8 import fp8_works
    from motionstream.nn.row_kernels_check import fp8_rows_work

    if compute.dtype != torch.bfloat16:
        return f"only beside bfloat16, not {compute.dtype}"
    device = str(compute.device)
    return fp8_works(device) or fp8_rows_work(device, config.dim, config.ffn_dim)
