"""Drag the flower of demo.jpg from Python, by the public API alone.

python examples/drag.py                 # the bundled nano model
python examples/drag.py tiny-debug      # random weights: shows that everything runs, not a video
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import motionstream as ms

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", default="nano", help="a preset, or a folder with weights")
parser.add_argument("-o", "--output", default="drag.mp4")
args = parser.parse_args()

engine = ms.load(args.model)
geometry = engine.preset.geometry
H, W = geometry.height, geometry.width

photo = Image.open(Path(__file__).with_name("demo.jpg")).convert("RGB")
first_frame = np.array(ImageOps.fit(photo, (W, H)))  # uint8 (H, W, 3)

# A brush on the flower: one second to the right, half a second of rest, one second back. Times in s, places in pixels.
there, back = (0.48 * W, 0.51 * H), (0.68 * W, 0.55 * H)
stroke = ms.Stroke(
    points=[(0.0, *there), (1.0, *back), (1.5, *back), (2.5, *there)],
    radius_px=0.19 * W,
    spacing_px=geometry.stride,
)
tracks = ms.Tracks.from_strokes([stroke], num_frames=45, size=(H, W), fps=geometry.fps)

frames = []
with engine.start(first_frame, "an orange dahlia", seed=0) as session:
    for chunk in session.stream(tracks):
        print(f"chunk {chunk.index}: {len(chunk.frames)} frames in {chunk.stats.total_ms:.0f} ms")
        frames.append(chunk.frames)

video = np.concatenate(frames)[: tracks.num_frames]
ms.write_video(args.output, ms.draw_tracks(video, tracks), fps=geometry.fps, upscale=max(1, 384 // H))
print(f"wrote {args.output}")
