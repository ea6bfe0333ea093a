"""Suite "camera3d": one picture with its true depth, a camera move, and what the moved camera really sees.

Tracks come from the product's own way, as in ``motionstream camera``: the first frame's depth is unprojected, the preset
moves the camera, points are projected and tested against the z-buffer. The truth comes from elsewhere: the scene is made of
flat pieces in space and every frame is drawn by casting rays (`motionstream.eval.panels`).

Scenes: a photograph on a turned wall, in every second one another on the floor, and two or three upright cut-outs
before it, some of them turned; all held out from training.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from motionstream.camera.keyframes import poses_of
from motionstream.camera.moves import MOVES, PresetPath
from motionstream.camera.pose import Pinhole
from motionstream.camera.reproject import camera_tracks
from motionstream.camera.surface import working_size
from motionstream.data.pictures import load_bank
from motionstream.eval.cases import VideoCase
from motionstream.eval.drags import pictures_mark
from motionstream.eval.panels import Panel, PanelSpace, Rectangle
from motionstream.shapes import VideoGeometry

PUBLISHED_SCENES = 16
LOOK_SEED = 92_000_000
PRESETS = (
    "dolly-in", "truck-right", "orbit-left", "pan-right", "dolly-out", "truck-left", "arc-right", "tilt-up",
)  # fmt: skip
FOV_DEG = 60.0
AMOUNT = (0.6, 1.0)
"""Range of a move: share of its default amount."""
WALL_DEPTH = (3.5, 5.0)
WALL_TURN_DEG = 15.0
CUT_OUT_DEPTH = (1.6, 2.8)
CUT_OUT_SHARE = (0.22, 0.42)
"""Of a cut-out: its size as a share of the frame's width."""
CUT_OUT_TURN_DEG = 35.0
FLOOR = 0.55
"""How far below the camera the floor lies."""
ENDLESS = 60.0


class SpaceCases:
    """A `CaseSource`; sample k shows move ``PRESETS[k % 8]``.

    Args:
        num_frames: of a clip, t_stride * k + 1. grid: (rows, columns) of tracks in the first frame.
    """

    suite = "camera3d"

    def __init__(
        self, geometry: VideoGeometry, num_frames: int, grid: tuple[int, int], count: int = PUBLISHED_SCENES
    ) -> None:
        self.geometry, self.num_frames, self.grid = geometry, num_frames, grid
        self.names = [f"camera3d-{index:03d}-{PRESETS[index % len(PRESETS)]}" for index in range(count)]
        self.expected = PUBLISHED_SCENES
        self.settings: dict[str, Any] = {
            "frames": num_frames, "grid": list(grid), "pictures": pictures_mark(), "fov_deg": FOV_DEG,
        }  # fmt: skip
        self.notes = [
            "Tracks come from the camera path on the true depth of the first frame, the true video from casting rays. All "
            "tracks are given, also those that start later; measured are those of the first frame, whose depth is known."
        ]

    def case(self, index: int) -> VideoCase:
        geometry = self.geometry
        space = space_of(index, (geometry.height, geometry.width))
        path = path_of(index, self.num_frames, geometry.fps)
        depth = space.depth_map(working_size(space.pinhole.size)[0] // geometry.height)
        tracks = camera_tracks(
            depth, path, space.pinhole, num_frames=self.num_frames, fps=geometry.fps, grid=self.grid
        )  # fmt: skip
        poses = [pose.scaled(depth.reference) for pose in poses_of(path, num_frames=self.num_frames, fps=geometry.fps)]
        frames = np.stack([space.render(pose) for pose in poses])
        of_first = tracks.visible[0, 0]
        return VideoCase(
            name=self.names[index],
            first_frame=frames[0],
            tracks=tracks,
            prompt=f"a still scene, the camera {MOVES[path.preset].words}",
            truth=frames,
            scored=tuple(range(self.num_frames)),
            reference=frames,
            wanted=tracks.select(of_first),
            facts={"kind": path.preset.split("-")[0], "preset": path.preset, "amount": path.amount},
        )


def path_of(index: int, num_frames: int, fps: float) -> PresetPath:
    """The move of a sample, eased in and out over the clip."""
    name, draw = PRESETS[index % len(PRESETS)], random.Random(f"move {index}")
    amount = MOVES[name].default * draw.uniform(*AMOUNT)
    return PresetPath(preset=name, amount=amount, duration_s=(num_frames - 1) / fps)


def space_of(index: int, canvas: tuple[int, int]) -> PanelSpace:
    """The scene of a sample."""
    draw, bank = random.Random(LOOK_SEED + index), load_bank("eval")
    pinhole = Pinhole.from_fov(canvas, FOV_DEG)
    half_view = math.tan(math.radians(FOV_DEG) / 2)  # at depth 1
    photos = draw.sample(range(len(bank.photos)), 2)

    far, turn = draw.uniform(*WALL_DEPTH), math.radians(draw.uniform(-WALL_TURN_DEG, WALL_TURN_DEG))
    across = far * half_view * draw.uniform(1.2, 1.6)  # the photograph is larger than the view
    wall = Rectangle((0.0, 0.0, far), (ENDLESS, ENDLESS), right=(math.cos(turn), 0.0, math.sin(turn)))
    parts = [Panel(wall, _opaque(bank.photos[photos[0]]), (across, across * 3 / 4))]
    if index % 2:
        floor = Rectangle((0.0, FLOOR, far), (ENDLESS, ENDLESS), down=(0.0, 0.0, 1.0))
        parts.append(Panel(floor, _opaque(bank.photos[photos[1]]), (1.6, 1.2)))

    count = draw.choice((2, 3))
    for place, sprite in enumerate(draw.sample(range(len(bank.sprites)), count)):
        depth = draw.uniform(*CUT_OUT_DEPTH)
        half = depth * half_view * draw.uniform(*CUT_OUT_SHARE)
        x = depth * half_view * ((2 * place + 1) / count - 1 + draw.uniform(-0.12, 0.12)) * 0.8
        y = FLOOR - half if index % 2 else depth * half_view * draw.uniform(-0.3, 0.3)
        angle = math.radians(draw.uniform(-CUT_OUT_TURN_DEG, CUT_OUT_TURN_DEG))
        right = (math.cos(angle), 0.0, math.sin(angle))
        cut_out = Rectangle((x, y, depth), (half, half), right=right)
        parts.append(Panel(cut_out, bank.sprites[sprite].permute(1, 2, 0).numpy()))
    return PanelSpace(pinhole, parts)


def _opaque(photo: Any) -> np.ndarray:
    """(3, h, w) colour -> (h, w, 4) with alpha 1."""
    colour = photo.permute(1, 2, 0).numpy()
    return np.concatenate([colour, np.ones_like(colour[..., :1])], axis=-1)
