"""Frozen configurations of models and runs: JSON round trip, unknown keys refused, ``key=value`` overrides.

>>> CacheConfig().tag
'c3s1w1'
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from motionstream.errors import UserError
from motionstream.shapes import VideoGeometry

ConfigT = TypeVar("ConfigT")
MOST = 1_000_000
"""Of any size or count: beyond lies no model, but a file that is damaged."""


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """How tracks become a condition (paper section 3.1, appendix D).

    Args:
        code_dim: width of a track's id code (paper: 64).
        code: "sinusoid" of the random id as in the paper, "gaussian" (unit normal seeded by the id: better spread), or
            "origin" (nano): the id says where a track begins, and a cell holds sinusoids of the place that its picture
            comes from (tracks/origin.py). Its ``code_dim`` is four for each of ``origin_periods``, and two.
        code_scale: factor on the code.
        id_range: ids are drawn from [0, id_range).
        max_period: longest period of the sinusoids.
        origin_periods: periods of the "origin" code, in cells. Those of two and more tell which cell, those of two and
            less what part of it.
        splat: "nearest" cell as in the paper, or "bilinear" over the four cells around the point.
        channels: output channels of the track head (zero switches tracks off).
        head_bias: whether the 1x1x1 convolution has a bias.
        first_pad: what fills the ``t_stride - 1`` frames before frame 0: "repeat" it or leave "zero".
    """

    code_dim: int = 64
    code: Literal["sinusoid", "gaussian", "origin"] = "sinusoid"
    code_scale: float = 1.0
    id_range: int = 100_000
    max_period: float = 10_000.0
    origin_periods: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 32.0)
    splat: Literal["nearest", "bilinear"] = "nearest"
    channels: int = 16
    head_bias: bool = False
    first_pad: Literal["repeat", "zero"] = "zero"

    def __post_init__(self) -> None:
        _check_counts(self, 1, "code_dim", "id_range")
        _check_counts(self, 0, "channels")
        _check_positive(self, "max_period")
        periods = self.origin_periods
        if self.code == "origin" and (self.code_dim != 4 * len(periods) + 2 or min(periods, default=0) <= 0):
            raise ValueError(
                f"code_dim={self.code_dim} does not fit origin_periods={periods}: use positive periods and "
                f"code_dim={4 * len(periods) + 2}"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A Wan-style video DiT.

    Args:
        latent_channels: channels of the video latents (noisy input and output).
        dim, ffn_dim, num_heads, num_layers: widths and depth.
        patch: spatial patch; time is never patched.
        freq_dim: width of the sinusoidal timestep embedding.
        text_dim, text_len: width and number of text rows.
        first_frame: "concat" = a mask and the first-frame latent as channels, in the order of Wan 2.1 image-to-video
            (noisy, mask, picture); "repeat" = a one-channel mask, the first-frame latent, and that latent repeated over
            time (nano); "clean" = the first latent is given clean at timestep 0 (Wan 2.2 TI2V); "none" = text only.
        mask_channels: channels of the mask of "concat": one per pixel frame that a latent covers (Wan: 4).
        after_picture: what the picture's channels of "concat" hold after frame 0: "zero", or the latents of "grey" frames
            that follow the picture through the VAE (Wan 2.1).
        image_dim: width of the image encoder's rows that the cross-attention also reads (CLIP in Wan 2.1
            image-to-video: 1280); zero = no image cross-attention.
        prediction: what the network's output means: "velocity" (paper eq. 1) or "x0" (clean latents as a residual on
            the repeated first frame; nano).
        tracks: the motion condition.
        time_precision: where the compute type is lower, the timestep embedding and the head are taken in it ("compute",
            as in Self-Forcing) or stay in "float32" (Wan).
        eps: epsilon of every norm.
        rope_theta: base of the rotary frequencies.
    """

    latent_channels: int = 16
    dim: int = 256
    ffn_dim: int = 768
    num_heads: int = 4
    num_layers: int = 6
    patch: int = 1
    freq_dim: int = 256
    text_dim: int = 64
    text_len: int = 16
    first_frame: Literal["none", "concat", "repeat", "clean"] = "repeat"
    mask_channels: int = 4
    after_picture: Literal["zero", "grey"] = "zero"
    image_dim: int = 0
    prediction: Literal["velocity", "x0"] = "velocity"
    tracks: TrackConfig = field(default_factory=TrackConfig)
    time_precision: Literal["compute", "float32"] = "compute"
    eps: float = 1e-6
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        _check_counts(self, 1, "latent_channels", "dim", "ffn_dim", "num_heads", "num_layers", "patch", "freq_dim")
        _check_counts(self, 1, "text_dim", "text_len", "mask_channels")
        _check_counts(self, 0, "image_dim")
        _check_positive(self, "eps", "rope_theta")
        if self.dim % self.num_heads:
            raise ValueError(f"dim={self.dim} must be a multiple of num_heads={self.num_heads}")
        if (self.dim // self.num_heads) % 2:
            raise ValueError(f"head width {self.dim // self.num_heads} must be even for rotary positions")
        if self.prediction == "x0" and self.first_frame != "repeat":
            raise ValueError('prediction="x0" is a residual on the repeated first frame: use first_frame="repeat"')

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def image_channels(self) -> int:
        """Input channels that carry the first frame: its latent and a mask; "repeat" adds the latent once more."""
        if self.first_frame == "concat":
            return self.mask_channels + self.latent_channels
        if self.first_frame == "repeat":
            return 2 * self.latent_channels + 1
        return 0

    @property
    def in_channels(self) -> int:
        return self.latent_channels + self.image_channels + self.tracks.channels


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """The causal video autoencoder of nano: a near-linear encoder and a light streaming decoder.

    Args:
        latent_channels: channels of a latent cell.
        stride, t_stride: pixels and frames per cell.
        width: decoder channels at latent resolution.
        width_out: decoder channels at twice the latent resolution.
        depth, depth_out: memory blocks at each resolution.
        smooth_seams: smooth the steps between cells that have changed, in what is shown (models/seams.py).
    """

    latent_channels: int = 16
    stride: int = 8
    t_stride: int = 4
    width: int = 128
    width_out: int = 64
    depth: int = 3
    depth_out: int = 2
    smooth_seams: bool = False

    def __post_init__(self) -> None:
        _check_counts(self, 1, "latent_channels", "stride", "t_stride", "width", "width_out")
        _check_counts(self, 0, "depth", "depth_out")


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Chunk, sink and window sizes, in the paper's notation ``c{chunk_frames}s{sink}w{window}`` (section 3.3).

    Args:
        chunk_frames: latent frames denoised together (paper: 3).
        sink_chunks: first chunks that stay visible for ever (paper: 1).
        window_chunks: most recent past chunks that stay visible (paper: 1).
    """

    chunk_frames: int = 3
    sink_chunks: int = 1
    window_chunks: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.chunk_frames <= 999 and 0 <= self.sink_chunks <= 999 and 0 <= self.window_chunks <= 999):
            raise ValueError(
                f"cache {self.tag} is invalid: chunk_frames must lie in 1 to 999, sink_chunks and window_chunks in 0 to 999"
            )

    @classmethod
    def parse(cls, tag: str) -> CacheConfig:
        """``"c3s1w1"`` -> a cache setting.

        Raises:
            UserError: another form, or values out of range.
        """
        match = re.fullmatch(r"c(\d{1,3})s(\d{1,3})w(\d{1,3})", tag)
        if match is None:
            raise UserError(f"cache setting {tag!r} must look like c3s1w1: chunk, sink and window")
        chunk, sink, window = (int(part) for part in match.groups())
        return cls(chunk_frames=chunk, sink_chunks=sink, window_chunks=window)

    @property
    def tag(self) -> str:
        return f"c{self.chunk_frames}s{self.sink_chunks}w{self.window_chunks}"

    @property
    def slots(self) -> int:
        """Latent frames a chunk can attend to, itself included."""
        return (self.sink_chunks + self.window_chunks + 1) * self.chunk_frames


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Sampling settings.

    Args:
        student_sigmas: noise levels of the few-step student, descending, without the final 0.
        teacher_steps: Euler steps of the teacher.
        shift: timestep shift of the teacher's grid (paper: 6.0).
        text_guidance, motion_guidance: joint guidance of the teacher (paper: 3.0 and 1.5).
        hand_px: how many pixels a frame a live drag moves at most; 0 = no limit (stream/gestures.py).
        hold_moved: whether live input goes on stating where a thing is that was moved and then let go
            (stream/track_buffer.py).
        late_codes: whether points on what frame 0 does not show have codes; off for a model that never learnt such ones.
    """

    student_sigmas: tuple[float, ...] = (1.0, 0.9, 0.7)
    teacher_steps: int = 20
    shift: float = 6.0
    text_guidance: float = 3.0
    motion_guidance: float = 1.5
    hand_px: float = 0.0
    hold_moved: bool = False
    late_codes: bool = True

    def __post_init__(self) -> None:
        _check_counts(self, 1, "teacher_steps")
        _check_positive(self, "shift")
        for name in ("text_guidance", "motion_guidance", "hand_px"):
            if not math.isfinite(value := getattr(self, name)) or (name == "hand_px" and value < 0):
                raise ValueError(f"{name}={value} must be a finite number{' of at least 0' if name == 'hand_px' else ''}")
        sigmas = self.student_sigmas
        if not sigmas or not (sigmas[0] <= 1 and sigmas[-1] > 0 and all(a > b for a, b in itertools.pairwise(sigmas))):
            raise ValueError(f"student_sigmas={list(sigmas)} must descend strictly within (0, 1]")


@dataclass(frozen=True, kw_only=True)
class PresetConfig:
    """Everything that defines one family of models: geometry, VAE, DiT, cache and sampling.

    The bidirectional teacher and the causal student of a preset are the same network; ``cache`` is the student's.

    Args:
        vae: sizes of nano's autoencoder; of other kinds only its channels and strides are meant.
        vae_kind: "nano" (models/vae.py), or the autoencoder of "wan2.1" (16 channels) or "wan2.2" (48 channels).
        text_kind: "hashed" words (models/text.py) or the "umt5" encoder of Wan.
        clip_frames: pixel frames of the clips that the teacher makes (t_stride * k + 1); a stream has no such end.
        more_sizes: ``(height, width)`` of other pictures that nano's weights were judged at; Wan takes any.
    """

    name: str
    geometry: VideoGeometry
    model: ModelConfig
    vae: VAEConfig
    cache: CacheConfig = field(default_factory=CacheConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    vae_kind: Literal["nano", "wan2.1", "wan2.2"] = "nano"
    text_kind: Literal["hashed", "umt5"] = "hashed"
    clip_frames: int = 33
    more_sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self.geometry.latent_frames(self.clip_frames)
        if any(len(size) != 2 or min(size) < 1 for size in self.more_sizes):
            raise ValueError(f"more_sizes={self.more_sizes} must be pairs of height and width in pixels")

    def sized(self, height: int, width: int) -> PresetConfig:
        """The same for pictures of another size; what is given in pixels grows with the width, and no more sizes are known.

        Raises:
            ValueError: a size that does not divide into latent patches.
        """
        if (height, width) == (self.geometry.height, self.geometry.width):
            return self
        geometry = dataclasses.replace(self.geometry, height=height, width=width)
        hand_px = self.sample.hand_px * width / self.geometry.width
        sample = dataclasses.replace(self.sample, hand_px=hand_px)
        return dataclasses.replace(self, geometry=geometry, sample=sample, more_sizes=())

    @property
    def frames_of_chunks(self) -> tuple[int, int]:
        """Pixel frames in the first chunk, and in every later one."""
        size = self.cache.chunk_frames
        (a, b), (c, d) = self.geometry.frame_span(0, size), self.geometry.frame_span(size, 2 * size)
        return b - a, d - c


def _check_counts(config: Any, least: int, *names: str) -> None:
    for name in names:
        if not least <= (value := getattr(config, name)) <= MOST:
            raise ValueError(f"{name}={value} must be a whole number from {least} to {MOST}")


def _check_positive(config: Any, *names: str) -> None:
    for name in names:
        if not 0 < (value := getattr(config, name)) < math.inf:
            raise ValueError(f"{name}={value} must be a finite number above 0")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration dataclass."""
    return dataclasses.asdict(config)


def from_dict(cls: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Build ``cls`` from a nested dictionary; unknown keys and wrong types raise ``ValueError``."""
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} needs an object of settings, got {values!r}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key {key!r} for {cls.__name__}; known keys: {', '.join(sorted(known))}")
    needed = {
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(needed - values.keys()):
        raise ValueError(f"{cls.__name__} lacks {', '.join(missing)}: add it, or restore the file it came from")
    return cls(**{key: _coerce(hints[key], value, f"{cls.__name__}.{key}") for key, value in values.items()})


def _coerce(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value)  # type: ignore[arg-type]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{where}={value!r} must be one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where}={value!r} must be a list")
        return tuple(_coerce(args[0], item, where) for item in value)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _coerce(next(a for a in args if a is not type(None)), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000:
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
        raise ValueError(f"{where}={value!r} must be {kind}")
    return value


def to_json(config: Any) -> str:
    return json.dumps(to_dict(config), indent=2) + "\n"


def with_overrides(config: ConfigT, overrides: list[str]) -> ConfigT:
    """Apply ``key=value`` or ``nested.key=value`` overrides (values are JSON, or bare words for strings).

    Raises:
        ValueError: on a missing ``=``, an unknown key or a value of the wrong type.
    """
    values = to_dict(config)
    for override in overrides:
        key, sep, raw = override.partition("=")
        if not sep:
            raise ValueError(f"override {override!r} must look like key=value")
        try:
            value = json.loads(raw)
        except json.JSONDecodeError:
            value = raw
        node, parts = values, key.split(".")
        for part in parts[:-1]:
            if not isinstance(node.get(part), dict):
                raise ValueError(f"unknown key {key!r} for {type(config).__name__}")
            node = node[part]
        if parts[-1] not in node:
            raise ValueError(f"unknown key {key!r} for {type(config).__name__}; known keys: {', '.join(sorted(node))}")
        node[parts[-1]] = value
    return from_dict(type(config), values)
