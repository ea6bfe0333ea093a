"""Suite "camera": resting scenes under a moving camera, with layers at different depths and exact tracks.

Pictures and sprites are held out from training. Layers move by different amounts (parallax); the background's is 1.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, Scenes, sample_scenes
from motionstream.eval.cases import VideoCase
from motionstream.eval.drags import pictures_mark
from motionstream.eval.quality import to_frames
from motionstream.shapes import VideoGeometry
from motionstream.tracks.tracks import Tracks

PUBLISHED_SCENES = 32
LOOK_SEED = 91_000_000
KINDS = ("pan", "zoom", "roll", "all")
PAN, ZOOM, ROLL = (0.09, 0.2), (0.12, 0.28), (0.08, 0.22)
"""Range of the movement over the clip: share of the width, log-scale, radians."""
OBJECT_SHARE = (0.2, 0.45)


class CameraCases:
    """A `CaseSource`; sample k shows movement ``KINDS[k % 4]``.

    Args:
        num_frames: of a clip, t_stride * k + 1. grid: (rows, columns) of tracks.
    """

    suite = "camera"

    def __init__(
        self, geometry: VideoGeometry, num_frames: int, grid: tuple[int, int], count: int = PUBLISHED_SCENES
    ) -> None:
        self.geometry, self.num_frames, self.grid = geometry, num_frames, grid
        self.names = [f"camera-{index:03d}-{KINDS[index % len(KINDS)]}" for index in range(count)]
        self.expected = PUBLISHED_SCENES
        self.settings: dict[str, Any] = {"frames": num_frames, "grid": list(grid), "pictures": pictures_mark()}
        self.notes = [
            "Pictures and tracks come from the procedural renderer: tracks are exact, the floor is the tracker's own error."
        ]

    def case(self, index: int) -> VideoCase:
        kind, geometry = KINDS[index % len(KINDS)], self.geometry
        scenes = camera_scene(geometry, self.num_frames, index, kind)
        shown = render(scenes, grid=self.grid, point_seed=index)
        frames = to_frames(shown.video[0])
        tracks = Tracks.from_points(
            shown.xy[0], visible=shown.visible[0], size=(geometry.height, geometry.width), fps=geometry.fps
        )
        return VideoCase(
            name=self.names[index],
            first_frame=frames[0],
            tracks=tracks,
            prompt=scenes.captions[0],
            truth=frames,
            scored=tuple(range(self.num_frames)),
            reference=frames,
            wanted=tracks,
            facts={"kind": kind},
        )


def camera_scene(geometry: VideoGeometry, num_frames: int, index: int, kind: str) -> Scenes:
    """One scene at rest under an eased camera movement of a kind in `KINDS`."""
    W = geometry.width
    sizes = (OBJECT_SHARE[0] * W, OBJECT_SHARE[1] * W)
    config = SceneConfig.of(geometry, num_frames, p_camera=0.0, p_static=1.0, split="eval", object_px=sizes)
    scenes = sample_scenes(1, config, look_seed=LOOK_SEED + index, motion_seed=index)
    generator = torch.Generator().manual_seed(index + 77)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def sign() -> float:
        return 1.0 if float(torch.rand((), generator=generator)) < 0.5 else -1.0

    phase = torch.arange(num_frames) / max(num_frames - 1, 1)
    eased = phase * phase * (3 - 2 * phase)
    angle, way = draw(0, 2 * math.pi), draw(*PAN) * W
    zoom, roll = sign() * draw(*ZOOM), sign() * draw(*ROLL)
    pan = torch.tensor([math.cos(angle), math.sin(angle)]) * way if kind in ("pan", "all") else torch.zeros(2)
    return replace(
        scenes,
        scale=scenes.scale[..., :1].expand_as(scenes.scale),
        angle=scenes.angle[..., :1].expand_as(scenes.angle),
        centre=scenes.centre[:, :, :1].expand_as(scenes.centre),
        pan=(eased[:, None] * pan)[None],
        zoom=torch.exp(eased * zoom)[None] if kind in ("zoom", "all") else torch.ones(1, num_frames),
        roll=(eased * roll)[None] if kind in ("roll", "all") else torch.zeros(1, num_frames),
        captions=[f"a still scene, the camera {_words(kind, pan.tolist(), zoom, roll)}"],
    )


def _words(kind: str, pan: list[float], zoom: float, roll: float) -> str:
    words = {
        "pan": f"moves {'left' if pan[0] < 0 else 'right'}",
        "zoom": "zooms in" if zoom > 0 else "zooms out",
        "roll": "rolls counterclockwise" if roll > 0 else "rolls clockwise",
    }
    return words[kind] if kind in words else " and ".join(words.values())
