"""Every message of the protocol, and what it refuses."""

import json
import re
import struct
from pathlib import Path
from typing import Any, get_args

import pytest

from motionstream.serve import protocol
from motionstream.serve.binary import FrameHeader, MotionFrame, unpack_frame
from motionstream.serve.limits import STATIC, Limits
from motionstream.serve.protocol import ProtocolError, parse

DOC = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
GRAB = {"id": 1, "points": [[3.5, 4]], "seen": 0, "t": 5}
GOOD: dict[str, dict[str, Any]] = {
    "hello": {"v": 2, "token": "secret", "resume": "abc", "have": 7, "tells": True},
    "start": {"picture": "cat", "crop": [0, 0, 64, 48], "prompt": "", "seed": 2**31 - 1, "preset": "nano", "steps": 3},
    "open": {"take": "ab"},
    "pause": {},
    "resume": {},
    "stop": {},
    "prompt": {"text": "x" * 1000},
    "grab": {**GRAB, "snap": True},
    "move": {"id": 1, "pose": [1, 2, 0.5, 1], "t": 2**32 - 1},
    "release": {"id": 2**20 - 1, "t": 0},
    "pin": GRAB,
    "path": {**GRAB, "path": [[0, 0], [5, 5]], "seconds": 2, "ease": "linear", "mode": "swing", "snap": True},
    "camera": {"pan": [0, -3], "zoom": 0.1, "roll": 0, "dolly": 0.2, "orbit": -9, "tilt": 3.5, "t": 1},
    "depth": {"depth": "ground", "values": "inverse"},
    "motion": {"region": [0, 0, 128, 96]},
    "motion_end": {},
    "remove": {"id": 1},
    "branch": {"chunk": 0},
    "shown": {"frame": 3, "latency": [100.5]},
    "ping": {"t": 1},
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_messages(kind: str):
    message = parse(json.dumps({"kind": kind, **GOOD[kind]}))
    assert message.kind == kind
    assert json.loads(message.model_dump_json()) == {"kind": kind, **GOOD[kind]}


def test_the_document_lists_the_same_kinds():
    text = DOC.read_text()
    page = text.split("## From the page")[1].split("## From the server")[0]
    server = text.split("## From the server")[1].split("Error codes")[0]

    def kinds(part: str) -> set[str]:
        rows = re.findall(r"^\| (`.*?) \|", part, flags=re.M)
        return {kind for row in rows for kind in re.findall(r"`(\w+)`", row)}

    assert kinds(page) | {"hello"} == set(GOOD)
    said = (protocol.Welcome, protocol.Queued, protocol.Ready, protocol.Started, protocol.State, protocol.Ended)
    said += (protocol.Branched, protocol.Live, protocol.Stats, protocol.Pong, protocol.Error)
    said += (protocol.DepthUsed, protocol.Followed, protocol.Held, protocol.MotionEnded, protocol.Stilled)
    assert kinds(server) == {model.model_fields["kind"].default for model in said}
    for model in said:
        row = next(row for row in server.splitlines() if row.startswith(f"| `{model.model_fields['kind'].default}`"))
        assert all(f"`{name}`" in row for name in model.model_fields if name != "kind"), row
    for name in Limits().public():
        assert f"`{name}`" in text, name


BAD: dict[str, tuple[str, str, str]] = {
    "not JSON": ("hello", "bad_json", "not JSON"),
    "empty": ("", "bad_json", "not JSON"),
    "deep": ("[" * 60_000, "bad_json", "recursion"),
    "huge number": ('{"kind": "ping", "t": ' + "9" * 5000 + "}", "bad_json", "out of range"),
    "lone surrogate": ('{"kind": "prompt", "text": "\\ud800"}', "bad_json", "not JSON"),
    "a list": ("[]", "bad_message", "object"),
    "no kind": ("{}", "bad_message", "no known kind"),
    "unknown kind": ('{"kind": "fly"}', "bad_message", "no known kind"),
    "a list as kind": ('{"kind": ["ping"]}', "bad_message", "no known kind"),
    "unknown field": ('{"kind": "pause", "now": 1}', "bad_message", "now"),
    "missing field": ('{"kind": "ping"}', "bad_message", "t: Field required"),
    "text for a number": ('{"kind": "ping", "t": "5"}', "bad_message", "integer"),
    "bool for a number": ('{"kind": "ping", "t": true}', "bad_message", "integer"),
    "fraction": ('{"kind": "ping", "t": 1.5}', "bad_message", "integer"),
    "negative": ('{"kind": "ping", "t": -1}', "bad_message", "greater than or equal to 0"),
    "2^32": (f'{{"kind": "ping", "t": {2**32}}}', "bad_message", "less than or equal"),
    "id 0": ('{"kind": "remove", "id": 0}', "bad_message", "greater than or equal to 1"),
    "id 2^20": (f'{{"kind": "remove", "id": {2**20}}}', "bad_message", "less than or equal"),
    "NaN": ('{"kind": "move", "id": 1, "pose": [NaN, 0, 0, 1], "t": 0}', "bad_message", "finite"),
    "overflow": ('{"kind": "move", "id": 1, "pose": [1e999, 0, 0, 1], "t": 0}', "bad_message", "finite"),
    "far away": ('{"kind": "camera", "pan": [1e7, 0], "zoom": 0, "roll": 0, "t": 0}', "bad_message", "less than"),
    "three coordinates": (json.dumps({"kind": "grab", **GRAB, "points": [[1, 2, 3]]}), "bad_message", "at most 2"),
    "no points": (json.dumps({"kind": "pin", **GRAB, "points": []}), "bad_message", "at least 1"),
    "10,000 points": (json.dumps({"kind": "grab", **GRAB, "points": [[1, 2]] * 10_000}), "bad_message", "at most 256"),
    "long prompt": (json.dumps({"kind": "prompt", "text": "x" * 1001}), "bad_message", "at most 1000"),
    "no time": (
        json.dumps({"kind": "path", **GRAB, "path": [[0, 0], [1, 1]], "seconds": 0}),
        "bad_message",
        "greater than 0",
    ),
    "odd ease": (
        json.dumps({"kind": "path", **GRAB, "path": [[0, 0], [1, 1]], "seconds": 1, "ease": "odd"}),
        "bad_message",
        "'linear' or 'smooth'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages(name: str):
    text, code, said = BAD[name]
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert caught.value.code == code
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_frames_travel_in_twenty_bytes_and_a_jpeg():
    header = FrameHeader(chunk=7, frame=90, echo_t=2**32 - 1, age_ms=12, last_of_chunk=True)
    packed = header.pack() + b"JPEG"
    assert packed[:4] == bytes([1, 1, 0, 0])
    assert len(packed) == 24
    assert unpack_frame(packed) == (header, b"JPEG")
    assert FrameHeader(0, 0, 0, -5, False).pack()[16:] == bytes(4)
    for bad in (b"", packed[:20], b"\2" + packed[1:]):
        with pytest.raises(ValueError, match="not a frame"):
            unpack_frame(bad)


def test_frames_of_a_clip_travel_in_eight_bytes_and_a_picture():
    frame = MotionFrame(t=2**32 - 2, cut=True, picture=b"JPEG")
    packed = frame.pack()
    assert packed == b"\2\1\0\0\xfe\xff\xff\xffJPEG"
    assert MotionFrame.unpack(packed) == frame
    assert not MotionFrame.unpack(b"\2\0" + packed[2:]).cut
    for bad in (b"", packed[:8], b"\1" + packed[1:]):
        with pytest.raises(ProtocolError, match="no frame of a clip") as caught:
            MotionFrame.unpack(bad)
        assert caught.value.code == "bad_message"


def test_document_and_page_speak_this_version():
    assert DOC.read_text().startswith(f"# The studio's protocol, version {protocol.VERSION}\n")
    page = (STATIC / "socket.js").read_text()
    assert f"export const VERSION = {protocol.VERSION};" in page


def test_the_document_has_the_error_codes_that_are_sent():
    listed = re.search(r"Error codes: (.*?)\.", DOC.read_text()).group(1)
    codes = get_args(protocol.ErrorCode)
    assert re.findall(r"`(\w+)`", listed) == list(codes)
    sources = "".join(path.read_text() for path in Path(protocol.__file__).parent.glob("*.py"))
    unsent = [code for code in codes if len(re.findall(f'"{code}"', sources)) < 2]
    assert not unsent, "named by the type alone"


def test_the_document_has_every_answer_that_is_no_success():
    routes = (Path(protocol.__file__).parent / "routes.py").read_text()
    told = DOC.read_text()
    assert [code for code in set(re.findall(r"HTTPException\((\d+)", routes)) if code not in told] == []


def test_the_document_has_the_layout_of_binary_messages():
    """Its ``uint8 kind = 1 | ...`` lines, packed as they say, are what is packed."""
    text = DOC.read_text()
    ours = {
        1: FrameHeader(chunk=7, frame=90, echo_t=5, age_ms=12, last_of_chunk=True).pack(),
        2: MotionFrame(t=5, cut=True, picture=b"").pack(),
    }
    values = {"flags": 1, "reserved": 0, "chunk": 7, "frame": 90, "echo_t": 5, "age_ms": 12, "t": 5}
    layouts = re.findall(r"`(uint8 kind = \d \|.*?) \| JPEG", text)
    assert len(layouts) == len(ours)
    for layout in layouts:
        fields = [part.split(maxsplit=1) for part in layout.split(" | ")]
        kind = int(fields[0][1].removeprefix("kind = "))
        form = "<" + "".join({"uint8": "B", "uint16": "H", "uint32": "I"}[size] for size, _ in fields)
        assert struct.pack(form, kind, *(values[name] for _, name in fields[1:])) == ours[kind]


def test_what_is_none_is_left_out_except_in_stats():
    assert json.loads(protocol.State(state="paused").text()) == {"kind": "state", "state": "paused"}
    stages = protocol.Stages(commit=1, tracks=2, denoise=3, decode=4)
    stats = protocol.Stats(
        chunk=0, chunk_ms=10, stages=stages, fps_possible=1, frames_made=9, frames_dropped=0, input_latency_ms=None
    )
    assert json.loads(stats.text())["input_latency_ms"] is None
