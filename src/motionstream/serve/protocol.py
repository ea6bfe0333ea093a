"""Every JSON message of the studio as a type (docs/protocol.md, version 2); `binary` has the others.

>>> parse('{"kind": "ping", "t": 7}')
Ping(kind='ping', t=7)
>>> parse('{"kind": "ping", "t": -7}')
Traceback (most recent call last):
motionstream.serve.protocol.ProtocolError: ping: t: Input should be greater than or equal to 0
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from motionstream.camera.depth import Kind as DepthKind
from motionstream.stream.gestures import POINTS_PER_GESTURE
from motionstream.stream.live_input import MAX_ID, MAX_PATH_POINTS, MAX_PROMPT_CHARS, MAX_SECONDS
from motionstream.stream.poses import Ease, Mode

VERSION = 2
MAX_T, MAX_FRAME, MAX_SEED = 2**32 - 1, 2**31 - 1, 2**31 - 1

# close codes of the WebSocket
DONE, POLICY, TOO_BIG, OURS = 1000, 1008, 1009, 1011
OTHER_VERSION, SILENT, TAKEN_OVER = 4000, 4001, 4002

ErrorCode = Literal[
    "bad_json", "bad_message", "too_fast", "not_started",
    "busy", "bad_picture", "bad_take", "bad_depth", "bad_motion", "disk_full", "internal",
]  # fmt: skip
PlayState = Literal["playing", "paused", "branching", "ended"]


class ProtocolError(ValueError):
    """A message that is answered with an `Error` and changes nothing."""

    def __init__(self, message: str, code: ErrorCode = "bad_message") -> None:
        super().__init__(message)
        self.code: ErrorCode = code


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Time = Annotated[int, Field(ge=0, le=MAX_T)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Frame = Annotated[int, Field(ge=0, le=MAX_FRAME)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
XY = tuple[Number, Number]
Points = Annotated[list[XY], Field(min_length=1, max_length=POINTS_PER_GESTURE)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

# ---- from the page ---------------------------------------------------------------------------------------------------


class Hello(_Message):
    kind: Literal["hello"]
    v: int
    token: Annotated[str, Field(max_length=200)] | None = None
    resume: Name | None = None
    have: Frame | None = None
    tells: bool = False


class Start(_Message):
    kind: Literal["start"]
    picture: Name
    crop: tuple[Number, Number, Number, Number] | None = None
    prompt: Prompt
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    preset: Name | None = None
    steps: Annotated[int, Field(ge=1, le=8)] | None = None


class Open(_Message):
    kind: Literal["open"]
    take: Name


class Pause(_Message):
    kind: Literal["pause"]


class Resume(_Message):
    kind: Literal["resume"]


class Stop(_Message):
    kind: Literal["stop"]


class ChangePrompt(_Message):
    kind: Literal["prompt"]
    text: Prompt


class Grab(_Message):
    kind: Literal["grab"]
    id: Id
    points: Points
    seen: Frame
    t: Time
    snap: bool = False


class Move(_Message):
    kind: Literal["move"]
    id: Id
    pose: tuple[Number, Number, Number, Number]
    t: Time


class Release(_Message):
    kind: Literal["release"]
    id: Id
    t: Time


class Pin(_Message):
    kind: Literal["pin"]
    id: Id
    points: Points
    seen: Frame
    t: Time


class Path(_Message):
    kind: Literal["path"]
    id: Id
    points: Points
    path: Annotated[list[XY], Field(min_length=2, max_length=MAX_PATH_POINTS)]
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)]
    ease: Ease = "smooth"
    mode: Mode = "once"
    seen: Frame
    t: Time
    snap: bool = False


class Camera(_Message):
    kind: Literal["camera"]
    pan: XY
    zoom: Number
    roll: Number
    dolly: Number = 0.0
    orbit: Number = 0.0
    tilt: Number = 0.0
    t: Time


class ChooseDepth(_Message):
    kind: Literal["depth"]
    depth: Name
    values: DepthKind | None = None


class BorrowMotion(_Message):
    kind: Literal["motion"]
    region: tuple[Number, Number, Number, Number]


class EndMotion(_Message):
    kind: Literal["motion_end"]


class Remove(_Message):
    kind: Literal["remove"]
    id: Id


class Branch(_Message):
    kind: Literal["branch"]
    chunk: Frame


class Shown(_Message):
    kind: Literal["shown"]
    frame: Frame
    latency: Annotated[list[Annotated[float, Field(ge=0, le=1e7)]], Field(max_length=256)] = []


class Ping(_Message):
    kind: Literal["ping"]
    t: Time


Inbound = Annotated[
    Hello
    | Start
    | Open
    | Pause
    | Resume
    | Stop
    | ChangePrompt
    | Grab
    | Move
    | Release
    | Pin
    | Path
    | Camera
    | ChooseDepth
    | BorrowMotion
    | EndMotion
    | Remove
    | Branch
    | Shown
    | Ping,
    Field(discriminator="kind"),
]
_INBOUND: TypeAdapter[Any] = TypeAdapter(Inbound)


def parse(text: str) -> Any:
    """Read one message of the page.

    Raises:
        ProtocolError: anything else, with one sentence about the first thing that is wrong.
    """
    try:
        return _INBOUND.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said, kind = " ".join(first["msg"].split()), first["type"]
        if kind == "json_invalid":
            raise ProtocolError(f"the message is not JSON: {said}", "bad_json") from None
        if kind.startswith("union_tag"):
            raise ProtocolError("the message has no known kind") from None
        where = ": ".join(str(part) for part in first["loc"])
        raise ProtocolError(f"{where}: {said}" if where else said) from None


# ---- from the server -------------------------------------------------------------------------------------------------


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    def text(self) -> str:
        """As it is sent; what is None is left out."""
        return self.model_dump_json(exclude_none=True)


class Welcome(_Said):
    kind: Literal["hello"] = "hello"
    v: int = VERSION
    session: str
    preset: str
    limits: dict[str, int | float]
    heard: int = 0


class Queued(_Said):
    kind: Literal["queued"] = "queued"
    position: int


class Ready(_Said):
    kind: Literal["ready"] = "ready"


class Started(_Said):
    kind: Literal["started"] = "started"
    take: str
    width: int
    height: int
    fps: float
    first_chunk_frames: int
    chunk_frames: int
    prompt: str
    seed: int
    preset: str
    cell: int
    recorded: int = 0
    first_id: int = 1
    resumed: bool = False
    frame: int = 0
    chunk: int = 0
    active: tuple[int, ...] | None = None


class State(_Said):
    kind: Literal["state"] = "state"
    state: PlayState
    reason: str | None = None


class DepthUsed(_Said):
    kind: Literal["depth"] = "depth"
    depth: str
    words: str


class Followed(_Said):
    """What the tracker sees in the clip: [x, y, 1 = moved], pixels of the canvas."""

    kind: Literal["motion"] = "motion"
    t: int
    points: list[tuple[float, float, int]]


class Stilled(_Said):
    """The camera had to stop."""

    kind: Literal["camera"] = "camera"
    reason: str


class MotionEnded(_Said):
    kind: Literal["motion_end"] = "motion_end"
    reason: str


class Ended(_Said):
    kind: Literal["ended"] = "ended"
    id: int


class Held(_Said):
    """What a gesture has taken hold of: middles of latent cells, pixels of the canvas, where its hand saw them."""

    kind: Literal["held"] = "held"
    id: int
    points: tuple[tuple[float, float], ...]


class Branched(_Said):
    kind: Literal["branched"] = "branched"
    chunk: int
    frame: int
    prompt: str
    active: tuple[int, ...]


class Live(_Said):
    """The recorded input of a take has ended: from here on the hand's is taken."""

    kind: Literal["live"] = "live"
    chunk: int
    frame: int
    prompt: str
    active: tuple[int, ...]


class Stages(_Said):
    commit: float
    tracks: float
    denoise: float
    decode: float


class Latency(_Said):
    p50: float
    p95: float


class Stats(_Said):
    kind: Literal["stats"] = "stats"
    chunk: int
    chunk_ms: float
    stages: Stages
    fps_possible: float
    frames_made: int
    frames_dropped: int
    input_latency_ms: Latency | None

    def text(self) -> str:
        return self.model_dump_json()


class Pong(_Said):
    kind: Literal["pong"] = "pong"
    t: int


class Error(_Said):
    kind: Literal["error"] = "error"
    code: ErrorCode
    message: str
    fatal: bool = False
    id: int | None = None
