"""The engine: owns the models of one preset and makes sessions.

engine = load_engine("nano")
with engine.start(first_frame, "a cup moves left") as session:
    for chunk in session.stream(tracks): ...
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motionstream.causal.graphs import streams_to_record
from motionstream.config import PresetConfig
from motionstream.device import Compute, apart_from_host, choose_compute, synchronize
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import load_model, load_weights
from motionstream.models.picture import reads_grey
from motionstream.models.recall import PictureRecall, Told
from motionstream.models.text import HashedWords, check_prompt
from motionstream.models.tiny_vae import TinyVAE
from motionstream.models.vae import DecoderState, NanoVAE
from motionstream.nn.attention_choice import AttentionChoice
from motionstream.nn.compiled import Compiled
from motionstream.stream import wan_parts
from motionstream.stream.compute_path import ComputePath, computed_with
from motionstream.stream.find_weights import find_config
from motionstream.stream.lane import Lane, decoded_frames
from motionstream.stream.memory_check import place_encoders, weights_dtype
from motionstream.stream.points import Point
from motionstream.stream.random_parts import RandomRows, random_dit, random_planes, random_vae, stamp_mask
from motionstream.stream.session import StreamSession
from motionstream.stream.take import ComputedWith
from motionstream.stream.wan_parts import StreamVAE, WanVAE
from motionstream.tracks.strokes import Stroke
from motionstream.tracks.tracks import Tracks


class StreamEngine:
    """Student, VAE and encoders of one preset on one device.

    Args:
        config: sizes. model, vae: loaded, any dtype. compute: where and in which type to run.
        text: prompts -> ``(B, text_len, text_dim)`` on the processor; None = hashed words.
        picture_rows: pictures ``(B, 3, H, W)`` -> ``(B, rows, image_dim)``, for models with ``image_dim``.
        random_weights: what is made means nothing; every frame says so.
        picture_latents: latent frames that the picture and the grey frames after it are encoded to, for models that read
            them; None = a clip's, as the teacher saw them.
        path: how the transformer is run; None = :class:`ComputePath`'s own choices.
        recall: what sets decoded frames beside the picture; None = they are shown as they are.
    """

    def __init__(
        self,
        config: PresetConfig,
        model: WanDiT,
        vae: StreamVAE,
        compute: Compute,
        *,
        text: Callable[[list[str]], Tensor] | None = None,
        picture_rows: Callable[[Tensor], Tensor] | None = None,
        random_weights: bool = False,
        picture_latents: int | None = None,
        path: ComputePath | None = None,
        recall: PictureRecall | None = None,
    ) -> None:
        self.preset, self.compute = config, compute
        self.path = path or ComputePath()
        self.attention: AttentionChoice | None = None
        self._spare: list[Lane] = []
        # Whether streams share a CPU's cores with others that want them (stream/core_share.py); benchmarks do not.
        self.gives_way = True
        self.cores_wanted = False  # as the last stream found
        self.model = model.to(compute.device).eval().requires_grad_(False)
        self.vae: StreamVAE = vae.eval().requires_grad_(False)
        self.recall = None if recall is None else recall.eval().requires_grad_(False).to(compute.device)
        vae.to(compute.device)
        for part in (*vae.modules(), *([] if recall is None else [recall])):
            if isinstance(part, (NanoVAE, TinyVAE, PictureRecall)):
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        compiles = self.decoder != "full" and self.path.compiles(compute.device)
        self._frames: Callable[..., tuple[Tensor, DecoderState]] = Compiled(decoded_frames) if compiles else decoded_frames
        self.text = text or HashedWords(config.model.text_dim, config.model.text_len)
        self.picture_rows = picture_rows
        self.random_weights = random_weights
        self.stamp_mask = stamp_mask(config.geometry.height, config.geometry.width) if random_weights else None
        self.picture_latents = picture_latents or config.geometry.latent_frames(config.clip_frames)

    @property
    def takes_picture(self) -> bool:
        """Whether a stream starts from a picture."""
        return self.preset.model.first_frame != "none"

    @property
    def takes_tracks(self) -> bool:
        """Whether points can be moved."""
        return self.model.track_head is not None

    @property
    def decoder(self) -> str:
        """ "nano", "tiny" or "full" (Wan's own)."""
        return "nano" if isinstance(self.vae, NanoVAE) else "full" if isinstance(self.vae, WanVAE) else "tiny"

    @property
    def decoder_compiled(self) -> bool:
        """Whether frames are decoded by compiled code; where the compiler failed, by none."""
        return isinstance(self._frames, Compiled) and self._frames.works

    @cached_property
    def fused(self) -> FusedDiT | None:
        """The transformer as it is run, made when it is first needed; None = the reference itself."""
        if not self.path.fused:
            return None
        fused, self.attention = self.path.build(self.model, self.preset, self.compute)
        return fused

    @property
    def records(self) -> bool:
        """Whether chunks are recorded as CUDA graphs."""
        return self.path.graphs and self.compute.device.type == "cuda"

    @property
    def shares_cores(self) -> bool:
        """Whether a clean pass may run beside decoding on a CPU. Compiled code is made for one number of threads; and the
        memory of Wan's decoders is planned for one thing at a time."""
        if self.compute.device.type != "cpu" or not self.gives_way or self.decoder != "nano":
            return False
        return self.fused is not None and not self.fused.compiled and not self.decoder_compiled

    @property
    def computed_with(self) -> ComputedWith:
        """What a take keeps, to be replayed to the last bit."""
        return computed_with(self.compute, self.fused, self.attention)

    def describe_path(self) -> dict[str, str]:
        """How the transformer is run, and why, for people."""
        if self.fused is None or self.attention is None:
            return {"path": "the reference, as in training", "attention": "sdpa", "cross": "sdpa"}
        graphs = self._spare[0].graphs if self._spare else None
        if graphs is not None:
            told = f"{graphs.num_graphs} CUDA graphs, {graphs.reason}"
        else:
            told = "no CUDA graphs yet" if self.records else "no CUDA graphs"
        path = f"fused, {self.fused.form_in(len(self.preset.sample.student_sigmas))}, {told}"
        return {"path": path, "attention": self.attention.reason, "cross": self.fused.cross_reason}

    def frames(self, latents: Tensor, memory: DecoderState | None, told: Told | None = None) -> tuple[Tensor, DecoderState]:
        """Frames ``(T, H, W, 3)`` uint8 of ``latents (1, F, C, h, w)``, still on the device, and the decoder's memory.

        ``told``: the picture and where tracks say that things come from in it, for an engine with a ``recall``.
        """
        return self._frames(self.vae, latents, memory, self.recall, told)

    def lend_lane(self) -> Lane:
        """Memory for one stream: one that an ended stream gave back, or a new one."""
        return self._spare.pop() if self._spare else Lane(self)

    def take_back(self, lane: Lane) -> None:
        """Keep one lane for the next stream where graphs are recorded on it; elsewhere its memory is free again."""
        lane.reset()
        if lane.share is not None:
            self.cores_wanted = lane.share.chosen
        if self.records and not self._spare:
            self._spare.append(lane)

    def forget_lanes(self) -> None:
        """Free the memory that waits for the next stream."""
        self._spare.clear()

    @apart_from_host
    def warmup(self, chunks: int | None = None, note: Callable[[int, int], None] | None = None) -> None:
        """Make a few chunks of nothing under a resting hand, so that no real one is slowed by first-time work.

        Args:
            chunks: how many; None = two, or where graphs are recorded as many as it takes to record all of them.
            note: called with chunks made and chunks in all, for a progress line.
        """
        geometry = self.preset.geometry
        blank = np.full((geometry.height, geometry.width, 3), 127, np.uint8) if self.takes_picture else None
        hand = [Point(0, geometry.width / 2, geometry.height / 2)] if self.takes_tracks else []
        streams = [chunks or 2]
        if chunks is None and self.records:
            streams = streams_to_record(self.preset.cache, self.picture_latents if reads_grey(self.preset.model) else 1)
        made = 0
        with StreamSession(self, blank, None, 0, None) as session:
            for length in streams:
                session.reset()
                for _ in range(length):
                    session.push(hand)
                    session.step()
                    made += 1
                    if note is not None:
                        note(made, sum(streams))

    @apart_from_host
    def start(
        self, first_frame: np.ndarray | None, prompt: str = "", *, seed: int = 0, steps: int | None = None
    ) -> StreamSession:
        """Begin a stream.

        Args:
            first_frame: ``(H, W, 3)`` uint8 of the model's size (``media.images.load_first_frame`` makes one); None for
                models that start from text alone.
            prompt: what should happen. seed: the same seed and input give the same video on the same machine.
            steps: denoising steps per chunk, 1 to 8; None = the preset's.

        Raises:
            ValueError: a picture of another size or type, a bad seed or number of steps.
        """
        geometry = self.preset.geometry
        wanted = (geometry.height, geometry.width, 3)
        if not self.takes_picture:
            if first_frame is not None:
                raise ValueError(f"{self.preset.name} starts from text alone: leave the picture out (first_frame=None)")
        elif not isinstance(first_frame, np.ndarray) or first_frame.dtype != np.uint8 or first_frame.shape != wanted:
            found = f"{getattr(first_frame, 'dtype', type(first_frame).__name__)} {getattr(first_frame, 'shape', '')}"
            raise ValueError(f"first_frame is {found}: give uint8 of shape {wanted} (see media.images.load_first_frame)")
        if not isinstance(seed, Integral) or not 0 <= seed < 2**31:
            raise ValueError(f"seed={seed!r} must be a whole number in [0, 2147483647]")
        picture = None if first_frame is None else first_frame.copy()  # the caller may fill the array anew
        session = StreamSession(self, picture, check_prompt(prompt), int(seed), steps)
        if len(session.sigmas) == 1 and self.fused is not None and self.fused.rows == "fp8-early":
            warnings.warn("FP8 is for all steps but the last, and there is one: products are not in it", RuntimeWarning)
        return session

    def synchronize(self) -> None:
        synchronize(self.compute.device)

    def num_parameters(self) -> dict[str, int]:
        parts = {"dit": self.model, "vae": self.vae, "recall": self.recall}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items() if part is not None}


@apart_from_host
def load_engine(
    name_or_path: str | Path = "nano",
    *,
    device: str | None = None,
    dtype: str | None = None,
    weights: str = "student",
    preset: str | None = None,
    size: tuple[int, int] | None = None,
    vae: str = "auto",
    encoders: str | Path | None = None,
    random_weights: bool = False,
    layers: int | None = None,
    ignore_memory: bool = False,
    path: ComputePath | None = None,
    recall: bool = True,
) -> StreamEngine:
    """Load a preset's bundled weights, or a folder with them.

    A folder of nano holds ``config.json``, ``vae.safetensors`` and ``student.safetensors``, and may hold
    ``recall.safetensors`` (models/recall.py); one of Wan what stream/wan_parts.py says. "tiny-debug" has no
    weights: it is random, for tests.

    Args:
        weights: "student" or "teacher", the transformer's file.
        preset: what ``config.json`` must agree with. size: ``(height, width)`` in place of the preset's, of nano one
            of its `more_sizes`.
        vae: Wan's decoder: "full", "tiny", or "auto" = tiny where its file is there.
        encoders: a second folder to look into for Wan's autoencoder, text and picture encoder.
        random_weights: for measurements only: no file of weights is read, and every frame made is stamped.
        layers: with random weights, only so many blocks: to measure the blocks of a network that is too large here.
        ignore_memory: warn where a Wan model is predicted not to fit, in place of refusing.
        path: how the transformer is run (:class:`ComputePath`).
        recall: whether nano's frames are set beside the picture, where the folder has what it takes.

    Raises:
        ValueError: unknown preset, missing or unfitting files, an absent device, too little memory.
    """
    config, folder = find_config(name_or_path, preset=preset, size=size, random_weights=random_weights)
    if layers is not None:
        if not random_weights:
            raise ValueError(f"layers={layers} cuts a network that was trained whole: use random_weights=True")
        if not isinstance(layers, Integral):
            raise ValueError(f"layers={layers!r} must be a whole number")
        config = replace(config, model=replace(config.model, num_layers=int(layers)))
    compute = choose_compute(device, dtype)
    wan_parts.check_vae_choice(config, vae)
    if config.vae_kind != "nano":
        if random_weights:
            return _random_wan(config, compute, vae, ignore_memory, path)
        assert folder is not None, "only tiny-debug and random weights need no folder"
        found = wan_parts.find_wan(config, folder, weights, None if encoders is None else Path(encoders), vae)
        return _load_wan(config, found, compute, ignore_memory, path)
    if encoders is not None:
        raise ValueError(f"{config.name} needs no encoders: leave {str(encoders)!r} out")
    # A host may have set another default dtype.
    model, own_vae = WanDiT(config.model, config.geometry.t_stride).float(), NanoVAE(config.vae).float()
    if folder is None or random_weights:
        init_from_scratch(model)
        own_vae.fit_linear(random_planes(config, 2000))
        torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    else:
        load_weights(folder / f"{weights}.safetensors", model)
        load_weights(folder / "vae.safetensors", own_vae)
    beside = _load_recall(config, folder) if recall and folder is not None and not random_weights else None
    return StreamEngine(config, model, own_vae, compute, random_weights=random_weights, path=path, recall=beside)


def _load_recall(config: PresetConfig, folder: Path) -> PictureRecall | None:
    """None where there is no file, or where ids of tracks do not say where they begin."""
    path = folder / "recall.safetensors"
    if not path.is_file() or config.model.tracks.code != "origin":
        return None
    recall = PictureRecall(config.vae.width_out).float()
    load_weights(path, recall)
    return recall


def _load_wan(
    config: PresetConfig, found: wan_parts.WanPaths, compute: Compute, ignore_memory: bool, path: ComputePath | None
) -> StreamEngine:
    """What is small and can be wrong first; the transformer last, tensor by tensor onto the device."""
    dtype, fp8 = weights_dtype(compute), (path or ComputePath()).rounds(compute.device)
    encoder_device = place_encoders(config, compute, found.decoder, found.encoder_bytes(), force=ignore_memory, fp8=fp8)
    text = wan_parts.load_text(config, found, encoder_device)
    picture_rows = wan_parts.load_picture_rows(config, found, encoder_device)
    vae = wan_parts.load_stream_vae(config, found, dtype).to(compute.device)
    model = load_model(config, found.transformer, dtype=dtype, device=compute.device)
    return StreamEngine(config, model, vae, compute, text=text, picture_rows=picture_rows, path=path)


def _random_wan(
    config: PresetConfig, compute: Compute, vae: str, ignore_memory: bool, path: ComputePath | None
) -> StreamEngine:
    """Tiny autoencoder both ways unless Wan's is asked for; prompts and picture become random rows."""
    decoder = "full" if vae == "full" else "tiny"
    dtype, fp8 = weights_dtype(compute), (path or ComputePath()).rounds(compute.device)
    place_encoders(config, compute, "full" if vae == "full" else "tiny", 0, force=ignore_memory, fp8=fp8)
    own_vae = random_vae(config, decoder, dtype, compute.device)
    model = random_dit(config, dtype, compute.device)
    rows = RandomRows(config.model.image_dim) if config.model.image_dim else None
    # The tiny encoder holds all its frames at once, and what it makes of grey ones means nothing: two latents do.
    latents = 2 if decoder == "tiny" else None
    return StreamEngine(
        config, model, own_vae, compute, picture_rows=rows, random_weights=True, picture_latents=latents, path=path
    )


def generate(
    engine: StreamEngine,
    first_frame: np.ndarray | None,
    prompt: str,
    tracks: Tracks,
    *,
    num_frames: int | None = None,
    seed: int = 0,
    strokes: Sequence[Stroke] | None = None,
) -> np.ndarray:
    """Offline convenience: all frames ``(num_frames, H, W, 3)`` uint8 of one stream, made by the same rollout.

    ``strokes``: what the tracks were made from, as :meth:`StreamSession.stream` takes them.
    """
    wanted = tracks.num_frames if num_frames is None else num_frames
    with engine.start(first_frame, prompt, seed=seed) as session:
        # Copies, for the frames of a chunk are in page-locked memory on a GPU, which is to be used again.
        frames = np.concatenate([chunk.frames.copy() for chunk in session.stream(tracks, wanted, strokes=strokes)])
    return frames[:wanted]
