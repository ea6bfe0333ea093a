"""Draw where things go, and the video follows: an open implementation of MotionStream (arXiv 2511.01266).

    import motionstream as ms

    engine = ms.load("nano")
    with engine.start(first_frame, "a red ball", seed=0) as session:   # first_frame: uint8 (H, W, 3)
        for chunk in session.stream(tracks):                           # tracks: ms.Tracks on the model's canvas
            show(chunk.frames)                                         # uint8 (T, H, W, 3)

The names of ``__all__`` are the public API; they are imported when first used, so ``import motionstream`` is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motionstream import presets
    from motionstream.media.video import read_video, write_video
    from motionstream.shapes import VideoGeometry
    from motionstream.stream.engine import StreamEngine, generate
    from motionstream.stream.engine import load_engine as load
    from motionstream.stream.session import Chunk, Point, StreamSession
    from motionstream.tracks.draw import draw_tracks
    from motionstream.tracks.strokes import Stroke
    from motionstream.tracks.tracks import Tracks

    __version__: str

__all__ = [
    "load",
    "generate",
    "StreamEngine",
    "StreamSession",
    "Chunk",
    "Point",
    "Tracks",
    "Stroke",
    "draw_tracks",
    "read_video",
    "write_video",
    "VideoGeometry",
    "presets",
    "__version__",
]

# Public name -> module, and the name there; "" is the module itself.
_HOMES = {
    "load": ("motionstream.stream.engine", "load_engine"),
    "generate": ("motionstream.stream.engine", "generate"),
    "StreamEngine": ("motionstream.stream.engine", "StreamEngine"),
    "StreamSession": ("motionstream.stream.session", "StreamSession"),
    "Chunk": ("motionstream.stream.session", "Chunk"),
    "Point": ("motionstream.stream.session", "Point"),
    "Tracks": ("motionstream.tracks.tracks", "Tracks"),
    "Stroke": ("motionstream.tracks.strokes", "Stroke"),
    "draw_tracks": ("motionstream.tracks.draw", "draw_tracks"),
    "read_video": ("motionstream.media.video", "read_video"),
    "write_video": ("motionstream.media.video", "write_video"),
    "VideoGeometry": ("motionstream.shapes", "VideoGeometry"),
    "presets": ("motionstream.presets", ""),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        home, attribute = _HOMES[name]
        module = importlib.import_module(home)
        value = getattr(module, attribute) if attribute else module
    else:
        raise AttributeError(f"module 'motionstream' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("motionstream")
    except metadata.PackageNotFoundError:  # run from a folder that was never installed
        return "0+unknown"
