"""A take: everything that a stream was made from, so that it can be made again, bit for bit on the same machine.

The file is JSON, version 5 (version 1 had no swarms; before 3 all chunks were of 12 frames, the first of 9; before 4 it
was not said what computed them; before 5 no brush snapped)::

    {"format": "motionstream-take", "version": 5, "preset": "nano", "width": 192, "height": 144, "fps": 24.0,
     "prompt": "...", "seed": 0, "steps": null, "picture": "<base64 PNG>", "num_chunks": 40, "chunk_frames": [1, 4],
     "computed_with": {"device": "cpu", "dtype": "bfloat16", "attention": "products"},
     "inputs": [{"chunk": 3, "begins": [...], "motions": [...], "ends": [...], "camera": {...}, "prompt": "...",
                 "swarms": [{"kind": "motion", "ids": [0, 1], "places": "<base64 of Swarm.places>"}]}]}

Chunks without input are left out. Lengths are pixels of the ``width`` x ``height`` canvas.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, get_args

import numpy as np
from PIL import Image

from motionstream.stream.gestures import (
    NOTHING,
    POINTS_PER_GESTURE,
    Begin,
    CameraSpeed,
    ChunkInput,
    Kind,
    Motion,
)
from motionstream.stream.live_input import MAX_PROMPT_CHARS
from motionstream.stream.poses import Ease, Mode
from motionstream.stream.retime import ChunkFrames, in_chunks
from motionstream.stream.swarm import Swarm, SwarmKind

FORMAT, VERSION = "motionstream-take", 5
READABLE = (1, 2, 3, 4, 5)
OLD_CHUNK_FRAMES = (9, 12)
MAX_CHUNK_FRAMES = 4096
MAX_CHUNKS = 300_000
MAX_FRAMES = 1_200_000
"""Nearly fourteen hours at 24 a second; a small file must not ask for more than a server can hold."""
MAX_SIDE_PX = 4096


class ComputedWith(NamedTuple):
    """What decides the last bits of the frames: the kind of device ("cpu", "cuda"), the dtype of products, the attention to
    tokens and that to text and picture, what lies between products ("reference", "fp8" (in all passes), "fp8-early", or as
    ``ComputePath.rows``), and how things are found, by "outlines" or, without OpenCV, by "discs". "" = not known, in takes
    of before."""

    device: str
    dtype: str
    attention: str
    cross: str = ""
    rows: str = ""
    things: str = ""

    def agrees(self, other: ComputedWith) -> bool:
        """Whether nothing that is known of both differs."""
        return all(one == two or "" in (one, two) for one, two in zip(self, other, strict=True))


@dataclass(eq=False)
class Take:
    """See the module docstring. ``picture``: ``(height, width, 3)`` uint8; ``inputs[k]``: what chunk k was made from;
    ``chunk_frames``: frames of the first chunk and of every later one; ``computed_with``: None where it is not known.
    A take is equal to itself alone."""

    preset: str
    width: int
    height: int
    fps: float
    prompt: str
    seed: int
    steps: int | None
    picture: np.ndarray
    inputs: list[ChunkInput] = field(default_factory=list)
    chunk_frames: ChunkFrames = OLD_CHUNK_FRAMES
    computed_with: ComputedWith | None = None
    version: int = VERSION

    @property
    def num_chunks(self) -> int:
        return len(self.inputs)

    def gesture_ids(self) -> set[int]:
        """Ids of all gestures: none may begin twice."""
        return {begin.id for made in self.inputs for begin in made.begins}

    def to_json(self) -> str:
        packed = io.BytesIO()
        Image.fromarray(self.picture).save(packed, "PNG")
        head = {
            "format": FORMAT,
            "version": self.version,
            "preset": self.preset,
            "width": self.width,
            "height": self.height,
            "fps": self.fps,
            "prompt": self.prompt,
            "seed": self.seed,
            "steps": self.steps,
            "picture": base64.b64encode(packed.getvalue()).decode(),
            "num_chunks": self.num_chunks,
            "chunk_frames": self.chunk_frames,
            "computed_with": self.computed_with and self.computed_with._asdict(),
            "inputs": [_pack(chunk, made) for chunk, made in enumerate(self.inputs) if not made.empty],
        }
        return json.dumps(head, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Take:
        """Read a take.

        Raises:
            ValueError: anything that is not a whole, sound take; the sentence names the field.
        """
        try:
            values = json.loads(text, parse_constant=_no_constant)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not a take: it is not valid JSON ({error})") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f'not a take: its "format" is not "{FORMAT}"')
        if values.get("version") not in READABLE:
            raise ValueError(
                f"take of version {values.get('version')!r}: this release reads versions {' and '.join(map(str, READABLE))}"
            )
        read = _Reader(values, "take")
        read.only("format", "num_chunks", *(one.name for one in fields(cls)))
        width, height = read.whole("width", 1, MAX_SIDE_PX), read.whole("height", 1, MAX_SIDE_PX)
        num_chunks = read.whole("num_chunks", 0, MAX_CHUNKS)
        steps = None if values.get("steps") is None else read.whole("steps", 1, 1000)
        chunk_frames = OLD_CHUNK_FRAMES if values["version"] < 3 else read.pair("chunk_frames", 1, MAX_CHUNK_FRAMES)
        if num_chunks * max(chunk_frames) > MAX_FRAMES:
            raise ValueError(
                f"take: {num_chunks} chunks of {max(chunk_frames)} frames are over {MAX_FRAMES} frames; cut it into parts"
            )
        inputs = [NOTHING] * num_chunks
        used: set[int] = set()
        for row in read.rows("inputs"):
            chunk = row.whole("chunk", 0, num_chunks - 1)
            if not inputs[chunk].empty:
                raise ValueError(f"take: chunk {chunk} appears twice in inputs")
            inputs[chunk] = _unpack(row, used)
        return cls(
            preset=read.text("preset", 200),
            width=width,
            height=height,
            fps=read.number("fps", 1.0, 240.0),
            prompt=read.text("prompt", MAX_PROMPT_CHARS),
            seed=read.whole("seed", 0, 2**31 - 1),
            steps=steps,
            picture=_picture(read.text("picture", 200_000_000), width, height),
            inputs=inputs,
            chunk_frames=chunk_frames,
            computed_with=_computed_with(values.get("computed_with")),
        )

    def in_chunks(self, first: int, later: int) -> Take:
        """The same take for a model that makes ``first`` frames in its first chunk and ``later`` in every other one.

        What begins keeps its frame, or comes with the chunk that holds it.
        """
        after = (first, later)
        return replace(self, inputs=in_chunks(self.inputs, self.chunk_frames, after), chunk_frames=after)

    def scaled(self, width: int, height: int) -> Take:
        """The same take on another canvas: picture, points, paths and speeds are scaled; angles and scales stay."""
        sx, sy = width / self.width, height / self.height
        picture = np.array(Image.fromarray(self.picture).resize((width, height), Image.Resampling.LANCZOS))

        def points(rows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
            return tuple((x * sx, y * sy) for x, y in rows)

        inputs = []
        for made in self.inputs:
            begins = tuple(replace(b, points=points(b.points), path=points(b.path)) for b in made.begins)
            motions = tuple(
                replace(m, poses=tuple((dx * sx, dy * sy, angle, scale) for dx, dy, angle, scale in m.poses))
                for m in made.motions
            )
            camera = made.camera and replace(made.camera, pan=(made.camera.pan[0] * sx, made.camera.pan[1] * sy))
            swarms = tuple(swarm.scaled(sx, sy) for swarm in made.swarms)
            inputs.append(replace(made, begins=begins, motions=motions, camera=camera, swarms=swarms))
        return replace(self, width=width, height=height, picture=picture, inputs=inputs)


def _pack(chunk: int, made: ChunkInput) -> dict[str, Any]:
    """Only what there is: a long take is packed every few seconds, so this does not copy (tuples are JSON lists)."""
    row: dict[str, Any] = {"chunk": chunk}
    if made.begins:
        row["begins"] = [_pack_begin(begin) for begin in made.begins]
    if made.motions:
        row["motions"] = [{"id": m.id, "start": m.start, "poses": m.poses} for m in made.motions]
    if made.ends:
        row["ends"] = made.ends
    if made.camera is not None:
        row["camera"] = {"pan": made.camera.pan, "zoom": made.camera.zoom, "roll": made.camera.roll}
    if made.prompt is not None:
        row["prompt"] = made.prompt
    if made.swarms:
        row["swarms"] = [
            {"kind": swarm.kind, "ids": swarm.ids, "places": base64.b64encode(swarm.places).decode()}
            for swarm in made.swarms
        ]
    return row


def _pack_begin(begin: Begin) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": begin.kind, "id": begin.id, "points": begin.points, "seen": begin.seen}
    if begin.kind == "path":
        row |= {"path": begin.path, "seconds": begin.seconds, "ease": begin.ease, "mode": begin.mode}
    if begin.snap:
        row["snap"] = True
    return row


def _unpack(row: _Reader, used: set[int]) -> ChunkInput:
    row.only("chunk", "begins", "motions", "ends", "camera", "prompt", "swarms")
    begins = []
    for item in row.rows("begins", missing_ok=True):
        kind = item.choice("kind", get_args(Kind))
        more = {"drag": ("snap",), "pin": (), "path": ("snap", "path", "seconds", "ease", "mode")}[kind]
        item.only("kind", "id", "points", "seen", *more)
        key = item.whole("id", 1, 2**20 - 1)
        if key in used:
            raise ValueError(f"{item.where}: gesture id {key} begins twice")
        used.add(key)
        begin = Begin(
            kind, key, item.points("points", 1, POINTS_PER_GESTURE), item.whole("seen", 0, 2**31), snap=item.flag("snap")
        )
        if kind == "path":
            way = item.points("path", 2, 1000), item.number("seconds", 1e-3, 600.0)
            ease, mode = item.choice("ease", get_args(Ease)), item.choice("mode", get_args(Mode))
            begin = replace(begin, path=way[0], seconds=way[1], ease=ease, mode=mode)
        begins.append(begin)
    motions = []
    for item in row.rows("motions", missing_ok=True):
        item.only("id", "start", "poses")
        poses = tuple((dx, dy, angle, scale) for dx, dy, angle, scale in item.numbers("poses", 4, 1, 4096))
        if any(not 0.01 <= pose[3] <= 100 for pose in poses):
            raise ValueError(f"{item.where}: a pose's scale must lie between 0.01 and 100")
        motions.append(Motion(item.whole("id", 1, 2**20 - 1), item.whole("start", 0, 4096), poses))
    ends = tuple((int(key), int(frame)) for key, frame in row.numbers("ends", 2, 0, 4096, missing_ok=True))
    camera = None
    if row.values.get("camera") is not None:
        item = _Reader(row.values["camera"], f"{row.where}, camera")
        item.only("pan", "zoom", "roll")
        pan = item.values.get("pan")
        if not (isinstance(pan, list) and len(pan) == 2 and all(map(_finite, pan))):
            raise ValueError(f"{item.where}: pan={pan!r} must be two finite numbers")
        camera = CameraSpeed((float(pan[0]), float(pan[1])), item.number("zoom", -4, 4), item.number("roll", -7, 7))
    prompt = None if row.values.get("prompt") is None else row.text("prompt", MAX_PROMPT_CHARS)
    swarms = tuple(_unpack_swarm(item) for item in row.rows("swarms", missing_ok=True))
    return ChunkInput(tuple(begins), tuple(motions), ends, camera, prompt, swarms)


def _unpack_swarm(item: _Reader) -> Swarm:
    item.only("kind", "ids", "places")
    kind = item.choice("kind", get_args(SwarmKind))
    names = item.values.get("ids")
    if not isinstance(names, list) or not all(isinstance(name, int) and not isinstance(name, bool) for name in names):
        raise ValueError(f"{item.where}: ids must be a list of whole numbers")
    try:
        return Swarm(kind, tuple(names), base64.b64decode(item.text("places", 4_000_000), validate=True))
    except ValueError as error:  # of base64, too
        raise ValueError(f"{item.where}: {error}") from None


def _computed_with(value: object) -> ComputedWith | None:
    if value is None:
        return None
    read = _Reader(value, "take, computed_with")
    read.only(*ComputedWith._fields)
    read = _Reader(ComputedWith._field_defaults | read.values, read.where)
    return ComputedWith(*(read.text(name, 40) for name in ComputedWith._fields))


def _picture(text: str, width: int, height: int) -> np.ndarray:
    try:
        packed = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(packed), formats=["PNG"]) as image:
            if image.size != (width, height):
                raise ValueError(f"take: its picture is {image.size[0]}x{image.size[1]}, its canvas {width}x{height}")
            return np.array(image.convert("RGB"))
    except (binascii.Error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"take: its picture cannot be read ({error})") from None


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # neither is NaN


def _no_constant(name: str) -> float:
    raise ValueError(f"not a take: {name} is not a number")


@dataclass(frozen=True)
class _Reader:
    """One JSON object and where it lies in the file, for sentences."""

    values: Any
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, dict):
            raise ValueError(f"{self.where} must be an object, not {type(self.values).__name__}")

    def only(self, *known: str) -> None:
        """Refuse other keys: what a misspelt one says would be lost without a word."""
        for key in self.values:
            if key not in known:
                raise ValueError(f"{self.where} has the unknown key {key!r:.60}; known are {', '.join(known)}")

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{self.where}: {key}={value!r} must be a whole number from {low} to {high}")
        return value

    def pair(self, key: str, low: int, high: int) -> tuple[int, int]:
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{self.where}: {key}={value!r} must be two whole numbers")
        first, second = (_Reader({key: one}, self.where).whole(key, low, high) for one in value)
        return first, second

    def number(self, key: str, low: float, high: float) -> float:
        value = self.values.get(key)
        if not _finite(value) or not low <= value <= high:
            raise ValueError(f"{self.where}: {key}={value!r} must be a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, key: str) -> bool:
        """False where it is missing."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise ValueError(f"{self.where}: {key}={value!r} must be true or false")
        return value

    def text(self, key: str, longest: int) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > longest:
            raise ValueError(f"{self.where}: {key} must be text of at most {longest} characters")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> Any:
        value = self.values.get(key)
        if value not in allowed:
            raise ValueError(f"{self.where}: {key}={value!r} must be one of {', '.join(allowed)}")
        return value

    def rows(self, key: str, *, missing_ok: bool = False) -> list[_Reader]:
        value = self.values.get(key, [] if missing_ok else None)
        if not isinstance(value, list):
            raise ValueError(f"{self.where}: {key} must be a list")
        return [_Reader(item, f"{self.where}, {key}[{n}]") for n, item in enumerate(value)]

    def numbers(self, key: str, width: int, fewest: int, most: int, *, missing_ok: bool = False) -> list[tuple[float, ...]]:
        value = self.values.get(key, [] if missing_ok else None)
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            raise ValueError(f"{self.where}: {key} must be a list of {fewest} to {most} rows")
        for row in value:
            if not (isinstance(row, list) and len(row) == width and all(map(_finite, row))):
                raise ValueError(f"{self.where}: {key} has the row {str(row)[:60]}; each must hold {width} finite numbers")
        return [tuple(row) for row in value]

    def points(self, key: str, fewest: int, most: int) -> tuple[tuple[float, float], ...]:
        return tuple((float(x), float(y)) for x, y in self.numbers(key, 2, fewest, most))
