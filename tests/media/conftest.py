"""Videos as other programs write them: uneven times, pixels that are not square, no stated rate."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

DEFAULT_DURATION = b"\x23\xe3\x83\x84"  # the element of a WebM that states its frame rate
VOID = b"\xec\x86" + bytes(6)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write frames that are shown at ``times`` in milliseconds; a WebM without its rate, as browsers record."""

    def make(name: str, frames: np.ndarray, times: Sequence[int], aspect: Fraction | None = None) -> Path:
        path = tmp_path / name
        webm = path.suffix == ".webm"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx" if webm else "libx264", rate=30)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            for picture, when in zip(frames, times, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = when, stream.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if webm:
            payload = bytearray(path.read_bytes())
            start = payload.index(DEFAULT_DURATION)
            payload[start : start + len(VOID)] = VOID
            path.write_bytes(payload)
        return path

    return make
