"""Make docs/images/drag.gif: the demo picture with its drag, as nano streams it, with and without the tracks.

python tools/readme_gif.py [--preset nano]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import motionstream as ms
from motionstream.media.images import load_first_frame
from motionstream.tracks.io import load_tracks

WIDTH = 640

root = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--preset", default="nano")
parser.add_argument("--image", type=Path, default=root / "examples/demo.jpg")
parser.add_argument("--tracks", type=Path, default=root / "examples/demo_drag.json")
parser.add_argument("-o", "--output", type=Path, default=root / "docs/images/drag.gif")
args = parser.parse_args()

engine = ms.load(args.preset)
geometry = engine.preset.geometry
first_frame = load_first_frame(args.image, geometry.width, geometry.height)
tracks = load_tracks(args.tracks, fps=geometry.fps).resize(geometry.height, geometry.width)
dragged = ms.generate(engine, first_frame, "an orange dahlia moves right", tracks)
still = ms.generate(
    engine, first_frame, "an orange dahlia", ms.Tracks.empty(num_frames=tracks.num_frames, size=tracks.size, fps=tracks.fps)
)

frames = []
for shown, plain, control in zip(ms.draw_tracks(dragged, tracks), dragged, still, strict=True):
    row = np.concatenate([shown, plain, control], axis=1)
    frames.append(Image.fromarray(row).resize((WIDTH, WIDTH * row.shape[0] // row.shape[1]), Image.Resampling.BICUBIC))
args.output.parent.mkdir(parents=True, exist_ok=True)
frames = [frame.quantize(96, dither=Image.Dither.NONE) for frame in frames]
frames[0].save(args.output, save_all=True, append_images=frames[1::2], duration=2000 / geometry.fps, loop=0)
print(f"wrote {args.output}")
