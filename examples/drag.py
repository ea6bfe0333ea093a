"""Drag the flower of demo.jpg from Python, chunk by chunk (docs/api.md).

python examples/drag.py                 # the bundled nano model
python examples/drag.py tiny-debug      # random weights: shows that everything runs, not a video
"""

import argparse
import math
from pathlib import Path

import numpy as np

import motionstream as ms
from motionstream.media.images import load_first_frame

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", default="nano", help="a preset, or a folder with weights")
parser.add_argument("-o", "--output", default="drag.mp4")
args = parser.parse_args()

engine = ms.load(args.model)
geometry = engine.preset.geometry
H, W = geometry.height, geometry.width

first_frame = load_first_frame(Path(__file__).with_name("demo.jpg"), W, H)  # uint8 (H, W, 3)

# A brush on the flower: one second to the right, half a second of rest, one second back. Times in s, places in pixels.
start, right = (0.48 * W, 0.51 * H), (0.68 * W, 0.55 * H)
stroke = ms.Stroke(
    points=[(0.0, *start), (1.0, *right), (1.5, *right), (2.5, *start)],
    radius_px=0.19 * W,
    spacing_px=geometry.stride,
)
seconds = stroke.points[-1][0]
# Frame 0 is the picture, and every later latent frame is t_stride frames: at 24 a second 61 of them hold the whole stroke.
num_frames = geometry.pixel_frames(1 + math.ceil(seconds * geometry.fps / geometry.t_stride))
tracks = ms.Tracks.from_strokes([stroke], num_frames=num_frames, size=(H, W), fps=geometry.fps)

frames = []
with engine.start(first_frame, "an orange dahlia", seed=0) as session:
    for chunk in session.stream(tracks, strokes=[stroke]):  # a brush holds only the thing that it is set on
        print(f"chunk {chunk.index}: {len(chunk.frames)} frames in {chunk.stats.total_ms:.0f} ms")
        frames.append(chunk.frames)

video = np.concatenate(frames)[: tracks.num_frames]
ms.write_video(args.output, ms.draw_tracks(video, tracks), fps=geometry.fps, upscale=max(1, 384 // H))
print(f"wrote {args.output}")
