"""Make docs/images/gallery.webp: the studio's pictures, each with its main thing under a brush that is pulled away.

python tools/gallery_sheet.py [--preset nano]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import motionstream as ms
from motionstream.media.images import load_first_frame
from motionstream.serve.gallery import Gallery

FRAMES, SHOWN, COLUMNS = 45, (0, 14, 24, 44), 2
PULL = (0.22, 0.125)
"""How far, in widths and heights, towards the middle of the picture."""

root = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--preset", default="nano")
parser.add_argument("-o", "--output", type=Path, default=root / "docs/images/gallery.webp")
args = parser.parse_args()

engine = ms.load(args.preset)
height, width, fps = engine.preset.geometry.height, engine.preset.geometry.width, engine.preset.geometry.fps
unit = width / 128  # as the studio counts its brush
gallery, rows = Gallery(), []
for entry in gallery.entries():
    across, down = width / entry["size"][0], height / entry["size"][1]
    left, top, right, bottom = np.array(entry["object"]) * [across, down, across, down]
    x, y = (left + right) / 2, (top + bottom) / 2
    to = x + PULL[0] * width * np.sign(width / 2 - x), y + PULL[1] * height * np.sign(height / 2 - y)
    stroke = ms.Stroke(
        points=[(0.0, x, y), (0.3, x, y), (1.3, *to), (FRAMES / fps, *to)],
        radius_px=max(6 * unit, 0.3 * (right - left + bottom - top)),  # as the studio begins with
        spacing_px=6 * unit,
    )
    tracks = ms.Tracks.from_strokes([stroke], num_frames=FRAMES, size=(height, width), fps=fps)
    video = ms.generate(
        engine, load_first_frame(gallery.path(entry["name"]), width, height), entry["caption"], tracks, strokes=[stroke]
    )
    rows.append(np.concatenate([video[frame] for frame in SHOWN], axis=1))
rows += [np.full_like(rows[0], 255)] * (-len(rows) % COLUMNS)
each = len(rows) // COLUMNS
sheet = np.concatenate([np.concatenate(rows[c * each : (c + 1) * each]) for c in range(COLUMNS)], axis=1)
Image.fromarray(sheet).save(args.output, quality=85, method=6)
print(f"wrote {args.output}")
