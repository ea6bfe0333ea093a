"""``motionstream replay``: a take recorded in the studio becomes an MP4, made again from its input.

On the machine it was recorded on, with the same model in the same size, the frames are the same to the last bit;
``frames_sha256`` in the last line says so. For that the dtype and the attention are those of the recording. Another model
plays the same input with the lengths scaled to its canvas.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments, say, tell_kept, whole_number
from motionstream.commands.streaming import check_fp8, check_scale, load_options, shown_scale, wan_arguments
from motionstream.errors import UserError

if TYPE_CHECKING:
    from motionstream.config import PresetConfig
    from motionstream.stream.take import Take

EPILOG = """\
example:
  motionstream replay take.json -o take.mp4 --draw-tracks
  motionstream replay take.json -o large.mp4 --preset wan2.1-1.3b --weights DIR --full-vae
The last line on stdout is one JSON object; `fps` in it is the speed of making frames, without loading and writing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("take", metavar="TAKE.json", help="a take, as the studio downloads it")
    parser.add_argument("-o", "--output", metavar="OUT.mp4", required=True, help="the video")
    parser.add_argument("--preset", help="another model (default: that of the take, or of --weights)")
    parser.add_argument("--weights", metavar="DIR", help="a folder with a model's weights")
    parser.add_argument("--draw-tracks", action="store_true", help="draw the held points into the video")
    parser.add_argument(
        "--scale", type=whole_number(1, 64), metavar="K", help="enlarge the video K times (default: small ones)"
    )
    device_arguments(parser, "the take's own, for the model that made it and if fast there; else what is fast there")
    wan_arguments(parser, "pixels of the video (default: the take's own, if the model makes them; else the model's)")


def run(args: argparse.Namespace) -> int:
    from motionstream.media.output import check_output
    from motionstream.presets import preset

    output = check_output(args.output)
    if args.preset is not None:
        preset(args.preset)

    from motionstream.stream.take import Take

    try:
        take = Take.from_json(Path(args.take).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{args.take}: not a take: it is not text in UTF-8") from error
    except ValueError as error:
        raise UserError(f"{args.take}: {error}") from error
    if not take.num_chunks:
        raise UserError(f"{args.take}: the take has no chunk, so there is nothing to replay")

    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    named, options = args.weights or args.preset or take.preset, load_options(args)
    config, dtype = find_config(named, preset=options.get("preset"))[0], args.dtype
    check_fp8(args, config)
    if "size" not in options and _makes(config, take):
        options["size"] = take.height, take.width  # as it was recorded
    if config.name == take.preset:
        recorded = _recorded(take, args.device, options)
        dtype = dtype or recorded
    engine = load_engine(named, device=args.device, dtype=dtype, **options)
    geometry = engine.preset.geometry
    scale = args.scale or shown_scale(geometry.height)
    check_scale(scale, geometry)
    say(f"compute: {engine.compute.reason}")
    if engine.preset.name != take.preset:
        say(f"the take was recorded with {take.preset}; {engine.preset.name} will make other frames of the same input")
    elif take.computed_with is not None and not take.computed_with.agrees(engine.computed_with):
        then, here = (", ".join(filter(None, numbers)) for numbers in (take.computed_with, engine.computed_with))
        say(f"the take was computed with {then}, this is {here}: its frames will not be the same to the last bit")
    if (take.width, take.height) != (geometry.width, geometry.height):
        say(f"lengths are scaled from {take.width}x{take.height} to {geometry.width}x{geometry.height} pixels")
        take = take.scaled(geometry.width, geometry.height)
    if take.fps != geometry.fps:
        say(f"the take was recorded at {take.fps:g} frames per second, the video has {geometry.fps:g}")
    chunk = engine.preset.frames_of_chunks
    if take.chunk_frames != chunk:
        told = "chunks of {} frames, the first of {}"
        say(
            f"the take was recorded in {told.format(*take.chunk_frames[::-1])}; this model makes {told.format(*chunk[::-1])}"
        )
        take = take.in_chunks(*chunk)
    engine.warmup()
    print(json.dumps(_replay(engine, take, output, scale, draw_tracks=args.draw_tracks)), flush=True)
    return 0


def _makes(config: PresetConfig, take: Take) -> bool:
    """Whether the model can make the take's size: nano some, Wan all that its latents divide."""
    if config.vae_kind == "nano":
        return (take.height, take.width) in config.more_sizes
    try:
        config.sized(take.height, take.width)
    except ValueError:
        return False
    return config.name == take.preset


def _recorded(take: Take, device: str | None, options: dict[str, Any]) -> str | None:
    """The dtype that the take was computed in, None where that is not known or slow here; the rest into ``options``."""
    from motionstream.device import choose_compute
    from motionstream.stream.compute_path import ComputePath, path_as_computed

    numbers, here = take.computed_with, choose_compute(device)
    if numbers is None or numbers.device != here.device.type:
        return None
    options["path"] = path_as_computed(options.get("path", ComputePath()), numbers)
    return numbers.dtype if numbers.dtype == "float32" or f"torch.{numbers.dtype}" == str(here.dtype) else None


def _replay(engine: Any, take: Take, output: Path, scale: int, *, draw_tracks: bool) -> dict[str, Any]:
    """Play the take's input into the MP4; returns what the last line says."""
    import numpy as np
    from tqdm import tqdm

    from motionstream.media.images import enlarge
    from motionstream.media.video import VideoWriter
    from motionstream.serve.marks import draw_marks
    from motionstream.stream.performance import Performance

    geometry = engine.preset.geometry
    chunk_ms: list[float] = []
    digest = hashlib.sha256()
    video = VideoWriter(output, geometry.fps, (geometry.height * scale, geometry.width * scale))
    with tell_kept(video):
        # No way back is ever taken here, so none needs memory.
        with video, Performance.of_take(engine, take, snapshot_bytes=0) as show:
            for _ in tqdm(range(take.num_chunks), unit="chunk", file=sys.stderr, dynamic_ncols=True):
                begun = time.perf_counter()
                chunk = show.step()
                chunk_ms.append(1000 * (time.perf_counter() - begun))
                digest.update(chunk.frames.tobytes())
                for frame, marks in zip(enlarge(chunk.frames, scale), chunk.marks, strict=True):
                    points = [(mark.x, mark.y, str(mark.kind)) for mark in marks]
                    video.write(draw_marks(frame, points, scale) if draw_tracks else frame)
    p50, p95 = np.percentile(chunk_ms, [50, 95]).tolist()
    return {
        "frames": video.num_frames,
        "chunks": take.num_chunks,
        "fps": round(1000 * video.num_frames / max(sum(chunk_ms), 1e-6), 2),
        "chunk_ms": {"p50": round(p50, 2), "p95": round(p95, 2)},
        "preset": engine.preset.name,
        "seed": take.seed,
        "output": str(output),
        "video_fps": geometry.fps,
        "frames_sha256": digest.hexdigest(),
    }
