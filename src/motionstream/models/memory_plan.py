"""What a preset needs in memory, predicted before anything is loaded: to stream it, to train its teacher, to distill it.

Weights, optimiser and cache are counted exactly. What lives in between comes from a rehearsal of the program's own steps
(models/memory_rehearsal.py). All of it is a *prediction*; tests compare it with real steps on a processor, and
``benchmarks/memory.py`` with ``torch.cuda.max_memory_allocated``.

    plan = plan_memory(preset("wan2.1-1.3b"), "stream")
    plan.parts["cache"], plan.total                 # bytes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

import torch

from motionstream.config import PresetConfig
from motionstream.models.dit import WanDiT
from motionstream.models.memory_rehearsal import (
    CLIP_ROWS,
    Rehearsed,
    grid_of,
    rehearse_critic,
    rehearse_decode,
    rehearse_denoise,
    rehearse_encode,
    rehearse_student,
    rehearse_teacher,
    tiny_form,
)
from motionstream.models.tiny_vae import TinyVAE
from motionstream.models.vae import NanoVAE
from motionstream.nn.kv_cache import SinkWindowCache

Purpose = Literal["stream", "teacher", "distill"]
PURPOSES: tuple[str, ...] = get_args(Purpose)
FLOAT32, BFLOAT16 = 4, 2
MAX_GPUS = 1024

# The CUDA context with its libraries' workspaces, and what the allocator rounds up and cannot reuse: assumed, not measured.
RESERVE_BYTES, RESERVE_SHARE = 600 * 2**20, 0.05


@dataclass(frozen=True)
class WanVaeFacts:
    """A Wan autoencoder in numbers; tests compare them with diffusers' model.

    Attributes:
        encoder, decoder: parameters.
        state: bytes of a decoding state per pixel of a frame, float32.
        decode: bytes at most per pixel while a chunk of three latent frames is decoded, beside the state; float32, bfloat16.
        encode: the same of encoding a picture and the four frames after it.
    """

    encoder: int
    decoder: int
    state: int
    decode: tuple[int, int]
    encode: tuple[int, int]


WAN_VAES = {
    "wan2.1": WanVaeFacts(53_596_928, 73_295_603, 9458, (19_610, 10_243), (12_201, 6_713)),
    "wan2.2": WanVaeFacts(149_637_088, 555_051_580, 7138, (21_675, 10_886), (6_450, 3_491)),
}
UMT5_XXL_PARAMETERS = 5_680_910_336
CLIP_H_PARAMETERS = 630_766_080


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """What can be traded for memory.

    Args:
        compute: type of matrix products (and of the cache).
        weights: stored type of weights that are not trained.
        decoder: Wan's full decoder, or the tiny one; nano has only its own.
        fp8: streaming holds a copy of most products in FP8 beside them.
        encoders: text and picture encoder stay on the "gpu", or are run on the "cpu" (their rows are remembered).
        checkpointing: training recomputes each block in the backward pass.
        sharded: training splits weights, gradients and optimiser over the GPUs.
        batch: clips at a time on each GPU.
    """

    compute: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    weights: Literal["float32", "bfloat16"] = "float32"
    decoder: Literal["full", "tiny"] = "full"
    fp8: bool = False
    encoders: Literal["gpu", "cpu"] = "cpu"
    checkpointing: bool = False
    sharded: bool = False
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Predicted bytes of one GPU.

    Attributes:
        parts: what is held, by name. In training "activations" is what the forward pass leaves for the backward pass.
        peak: at most held at any time. In training not the sum of the parts: gradients grow while activations go.
        reserve: assumed share of context, libraries and allocator.
        host: bytes in the processor's memory, by name.
        num_frames: pixel frames of a training clip.
    """

    preset: str
    purpose: str
    gpus: int
    options: MemoryOptions
    num_frames: int
    parts: dict[str, int]
    peak: int
    reserve: int
    host: dict[str, int] = field(default_factory=dict)
    predicted: bool = True

    @property
    def total(self) -> int:
        return self.peak + self.reserve


def plan_memory(
    config: PresetConfig, purpose: str, *, gpus: int = 1, options: MemoryOptions | None = None, num_frames: int | None = None
) -> MemoryPlan:
    """Predict the memory of one GPU.

    Args:
        purpose: "stream"; "teacher": one step of flow matching; "distill": one step of critic and student.
        gpus: training splits over them where ``options.sharded``.
        num_frames: of a training clip, ``t_stride * k + 1``; None = the preset's. Distillation rolls out whole chunks.

    Raises:
        ValueError: unknown purpose, bad numbers, a stream on several GPUs.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose {purpose!r} is unknown: use {', '.join(PURPOSES)}")
    options = options or MemoryOptions()
    if not 1 <= gpus <= MAX_GPUS or options.batch < 1:
        raise ValueError(f"gpus={gpus} must lie in [1, {MAX_GPUS}] and batch={options.batch} be at least 1")
    if purpose == "stream":
        if gpus > 1:
            raise ValueError(f"gpus={gpus}: a stream runs on one GPU, leave gpus at 1")
        return _plan_stream(config, options)
    frames = config.geometry.latent_frames(num_frames or config.clip_frames)
    if purpose == "distill":
        frames = max(1, frames // config.cache.chunk_frames) * config.cache.chunk_frames
    return _plan_training(config, purpose, gpus, options, config.geometry.pixel_frames(frames))


# ---------------------------------------------------------------------- stream


def _plan_stream(config: PresetConfig, options: MemoryOptions) -> MemoryPlan:
    compute, stored = getattr(torch, options.compute), getattr(torch, options.weights)
    size = stored.itemsize
    text, clip = _encoder_weights(config)
    on_gpu = options.encoders == "gpu"
    state, decode, encode = _decoding(config, options)
    rows = config.model.text_len + (CLIP_ROWS if config.model.image_dim else 0)
    parts = {
        "dit": size * dit_parameters(config),
        "cast_products": (stored != compute) * compute.itemsize * _product_numbers(config),
        "fp8_products": options.fp8 * _fp8_bytes(config),
        "vae": _vae_itemsize(config, stored) * sum(_streamed_vae(config, options).values()),
        "text_encoder": BFLOAT16 * text * on_gpu,
        "picture_encoder": BFLOAT16 * clip * on_gpu,
        "cache": _cache_bytes(config, compute),
        "prompt_keys": 2 * config.model.num_layers * rows * config.model.dim * compute.itemsize,
        "decoder_state": state,
        "activations": max(rehearse_denoise(config, stored, compute).peak, decode, encode),
    }
    peak = sum(parts.values())
    host = {"text_encoder": BFLOAT16 * text * (not on_gpu), "picture_encoder": FLOAT32 * clip * (not on_gpu)}
    return MemoryPlan(
        preset=config.name, purpose="stream", gpus=1, options=options, num_frames=0, parts=parts, peak=peak,
        reserve=_reserve(peak), host={name: held for name, held in host.items() if held},
    )  # fmt: skip


def _streamed_vae(config: PresetConfig, options: MemoryOptions) -> dict[str, int]:
    """From text alone nothing is encoded, and the encoder is not loaded."""
    parts = vae_parameters(config, options.decoder)
    return {name: held for name, held in parts.items() if name != "encoder" or config.model.first_frame != "none"}


def _decoding(config: PresetConfig, options: MemoryOptions) -> tuple[int, int, int]:
    """Bytes of the decoder's state, of decoding a chunk, and of encoding the picture."""
    stored = getattr(torch, options.weights)
    pixels = config.geometry.height * config.geometry.width
    if config.vae_kind == "nano":
        return *rehearse_decode(config, "nano", torch.float32), rehearse_encode(config, 1, 1)
    facts, low = WAN_VAES[config.vae_kind], int(options.weights == "bfloat16")
    shown = config.clip_frames if config.model.after_picture == "grey" else 1  # frames that the picture is encoded with
    encode = 0 if config.model.first_frame == "none" else (facts.encode[low] + shown * 3 * FLOAT32) * pixels
    if options.decoder == "tiny":
        return *rehearse_decode(config, "tiny", stored), encode
    return facts.state * pixels * stored.itemsize // FLOAT32, facts.decode[low] * pixels, encode


# ---------------------------------------------------------------------- training


def _plan_training(config: PresetConfig, purpose: str, gpus: int, options: MemoryOptions, num_frames: int) -> MemoryPlan:
    compute = getattr(torch, options.compute)
    stored = getattr(torch, options.weights)
    shards = gpus if options.sharded else 1
    matrices, others = _dit_counts(config)
    number = matrices + others
    trained = number if purpose == "teacher" else number - _track_head_parameters(config)
    # Teacher: Muon keeps one momentum of the blocks' matrices, AdamW two of the rest. Distillation: AdamW of both models.
    moments = FLOAT32 * (matrices + 2 * others) if purpose == "teacher" else FLOAT32 * 2 * 2 * trained
    parts = {"dit": FLOAT32 * number}
    if purpose == "distill":
        parts |= {"real_score": stored.itemsize * number, "fake_score": FLOAT32 * number}
    parts |= {"average": FLOAT32 * number, "optimiser": moments, "gradients": FLOAT32 * trained}
    parts = {name: -(-held // shards) for name, held in parts.items()}
    if shards > 1:
        # Two blocks are put together at a time: the one at work and the next.
        parts["gathered_blocks"] = 2 * FLOAT32 * matrices // config.model.num_layers
    parts["vae"] = _vae_itemsize(config, stored) * sum(vae_parameters(config, "full").values())
    steps = _training_steps(config, purpose, options, compute, num_frames, shards > 1)
    encode = _encode_clips(config, options, num_frames)
    parts["activations"] = max(step.saved for step in steps)
    gradients = parts["gradients"]
    held = sum(number for name, number in parts.items() if name not in ("gradients", "activations"))
    # A rehearsal for several GPUs lets whole gradients go at once; the share that stays here is added.
    backward = max(step.peak for step in steps) + gradients * (shards > 1)
    update = gradients + (gradients if purpose == "distill" else FLOAT32 * others // shards)
    peak = held + max(backward, update, encode)
    return MemoryPlan(
        preset=config.name, purpose=purpose, gpus=gpus, options=options, num_frames=num_frames, parts=parts, peak=peak,
        reserve=_reserve(peak),
    )  # fmt: skip


def _training_steps(
    config: PresetConfig, purpose: str, options: MemoryOptions, compute: torch.dtype, num_frames: int, sharded: bool
) -> list[Rehearsed]:
    settings = (num_frames, options.batch, compute, options.checkpointing, sharded)
    if purpose == "teacher":
        return [rehearse_teacher(config, *settings)]
    return [rehearse_critic(config, *settings), rehearse_student(config, *settings)]


def _encode_clips(config: PresetConfig, options: MemoryOptions, num_frames: int) -> int:
    """Bytes of encoding a step's clips, themselves included."""
    if config.vae_kind == "nano":
        return rehearse_encode(config, num_frames, options.batch)
    pixels = options.batch * config.geometry.height * config.geometry.width
    facts, low = WAN_VAES[config.vae_kind], int(options.weights == "bfloat16")
    return (facts.encode[low] + num_frames * 3 * FLOAT32) * pixels


# ---------------------------------------------------------------------- counts


def dit_parameters(config: PresetConfig) -> int:
    """Parameters of the DiT with its track head."""
    return sum(_dit_counts(config))


@lru_cache(maxsize=64)
def _dit_counts(config: PresetConfig) -> tuple[int, int]:
    """Parameters in the blocks' matrices, and all others."""
    with torch.device("meta"):
        model = WanDiT(config.model, config.geometry.t_stride)
    matrices = sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    return matrices, sum(p.numel() for p in model.parameters()) - matrices


def vae_parameters(config: PresetConfig, decoder: str) -> dict[str, int]:
    """Stored numbers of the autoencoder's parts; with the tiny decoder Wan's own decoder is left out."""
    if config.vae_kind == "nano":
        with torch.device("meta"):
            return {"nano": sum(t.numel() for t in NanoVAE(config.vae).state_dict().values())}
    facts = WAN_VAES[config.vae_kind]
    if decoder == "full":
        return {"encoder": facts.encoder, "decoder": facts.decoder}
    with torch.device("meta"):
        tiny = sum(p.numel() for p in TinyVAE(*tiny_form(config)).parameters())
    return {"encoder": facts.encoder, "tiny": tiny}


def _encoder_weights(config: PresetConfig) -> tuple[int, int]:
    """Parameters of text and picture encoder; 0 for what a preset does not have."""
    text = UMT5_XXL_PARAMETERS if config.text_kind == "umt5" else 0
    return text, CLIP_H_PARAMETERS if config.model.image_dim else 0


def _vae_itemsize(config: PresetConfig, stored: torch.dtype) -> int:
    """Bytes of a number of the autoencoder; nano's stays float32."""
    return FLOAT32 if config.vae_kind == "nano" else stored.itemsize


def _cache_bytes(config: PresetConfig, compute: torch.dtype) -> int:
    meta = torch.device("meta")
    return SinkWindowCache(config.model, config.cache, batch=1, grid=grid_of(config), device=meta, dtype=compute).nbytes


def _product_numbers(config: PresetConfig) -> int:
    """Weights of the products of all blocks, which a stream holds in the type of its products (`models/fused.py`)."""
    model = config.model
    return model.num_layers * (6 * model.dim * model.dim + 2 * model.dim * model.ffn_dim)


def _fp8_bytes(config: PresetConfig) -> int:
    """Bytes of what `nn.fp8.FP8_PRODUCTS` names, and of a float32 size a row."""
    model = config.model
    narrow, wide = model.dim, model.ffn_dim
    numbers, rows = 4 * narrow * narrow + 2 * narrow * wide, 5 * narrow + wide
    return model.num_layers * (numbers + FLOAT32 * rows)


def _track_head_parameters(config: PresetConfig) -> int:
    tracks = config.model.tracks
    width = config.geometry.t_stride * tracks.code_dim * tracks.channels
    return width + tracks.channels * tracks.head_bias


def _reserve(peak: int) -> int:
    return RESERVE_BYTES + int(RESERVE_SHARE * peak)
