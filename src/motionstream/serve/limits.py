"""Every limit and setting of the server, by name; ``GET /api/limits`` says them to the page (docs/protocol.md).

>>> Limits(takes_on_disk=3).public()["takes_on_disk"]
3
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from motionstream.config import PresetConfig
from motionstream.stream.gestures import POINTS_PER_GESTURE
from motionstream.stream.live_input import CAMERA_POINTS, MAX_PATH_POINTS, MAX_PROMPT_CHARS
from motionstream.stream.points import MAX_POINTS

STATIC = Path(__file__).with_name("static")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may do. The ones without a choice are those of the engine.

    Args:
        upload_bytes: a picture or a depth map. take_bytes: a take; an hour of borrowed motion fits.
        picture_pixels: looked at before decoding.
        message_bytes: one WebSocket message from the page.
        messages_per_second: over two seconds; more are refused, ten times as many close the socket.
        take_minutes: then the take pauses.
        takes_on_disk, pictures_on_disk, disk_bytes: the oldest go first; ``disk_bytes`` is about all takes together, with
            their videos.
        visitors_waiting: more are told to come back.
        heartbeat_seconds: silence after which a socket is closed. resume_seconds: how long a lost take waits.
        idle_turn_seconds: while others wait, a visitor who plays nothing for so long goes to the end of the line.
        motion_fps: frames of a clip or webcam that are looked at in a second; of more, the newest.
        motion_pixels: of one such frame. depth_pixels: of a depth map. depth_maps_on_disk: the oldest go first.
        seconds_ahead: frames that may be on their way, sent and not yet said to have been shown.
    """

    upload_bytes: int = 20_000_000
    take_bytes: int = 150_000_000
    picture_pixels: int = 50_000_000
    points_per_gesture: int = field(default=POINTS_PER_GESTURE, init=False)
    points_at_once: int = field(default=MAX_POINTS - CAMERA_POINTS, init=False)
    path_points: int = field(default=MAX_PATH_POINTS, init=False)
    prompt_chars: int = field(default=MAX_PROMPT_CHARS, init=False)
    message_bytes: int = 65_536
    messages_per_second: int = 240
    take_minutes: float = 60.0
    takes_on_disk: int = 20
    pictures_on_disk: int = 40
    disk_bytes: int = 4_000_000_000
    visitors_waiting: int = 16
    heartbeat_seconds: float = 15.0
    resume_seconds: float = 30.0
    idle_turn_seconds: float = 120.0
    motion_fps: float = 24.0
    motion_pixels: int = 307_200
    depth_pixels: int = 8_000_000
    depth_maps_on_disk: int = 20
    seconds_ahead: float = 4.0

    def __post_init__(self) -> None:
        for name, value in self.public().items():
            least = 0 if name in ("visitors_waiting", "resume_seconds") else 1e-3
            if value < least:
                raise ValueError(f"{name}={value} must be {'0 or more' if not least else 'above 0'}")

    def public(self) -> dict[str, int | float]:
        """As the page reads them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one server runs.

    Args:
        presets: what can be played here; the first one is loaded at the start.
        token: what every request must carry; None = nothing.
        hosts: names in the Host header that are answered to, without port; None = any. Without a token a page of another
            site could otherwise reach this server under a name of its own (DNS rebinding).
        folder: where pictures and takes are kept; None = a temporary folder that goes with the server.
        jpeg_quality: of the frames, 1 to 95.
        margin_ms: how much earlier than needed a chunk is begun.
        snapshot_bytes: memory for the ways back of the running take.
        depth_model: folder with a depth model for transformers, for pictures whose depth is asked for; None = none.
    """

    presets: tuple[PresetConfig, ...]
    limits: Limits = Limits()
    token: str | None = None
    hosts: tuple[str, ...] | None = LOCAL_HOSTS
    folder: Path | None = None
    jpeg_quality: int = 92
    margin_ms: float = 40.0
    snapshot_bytes: int = 256 << 20
    depth_model: Path | None = None
    static: Path = STATIC

    def __post_init__(self) -> None:
        if not self.presets:
            raise ValueError("presets is empty: give at least one that can be loaded here")
        if self.token is not None and not 8 <= len(self.token) <= 200:
            raise ValueError(f"a token of {len(self.token)} characters: use 8 to 200")

    def preset(self, name: str | None) -> PresetConfig:
        """The preset of that name, the first one for None.

        Raises:
            ValueError: a preset that cannot run here.
        """
        for preset in self.presets:
            if name in (None, preset.name):
                return preset
        names = ", ".join(preset.name for preset in self.presets)
        raise ValueError(f"preset {name!r} cannot run here: use one of {names}")
