"""An endless procedural scene, rendered a few frames at a time: things move and bounce for ever, the camera rests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from motionstream.data.render import render, render_object
from motionstream.data.scenes import SceneConfig, Scenes, frames_of, sample_scenes
from motionstream.eval.locate import locate
from motionstream.shapes import VideoGeometry
from motionstream.tracks.tracks import Tracks

LOOK_SEED = 92_000_000
OBJECT_SHARE = (0.22, 0.4)


@dataclass(frozen=True)
class Stretch:
    """Some frames of the scene: video ``(T, 3, H, W)`` in [0, 1] and its tracks (B = 1; ids as in every stretch)."""

    video: Tensor
    tracks: Tracks


class HorizonScene:
    """Scene ``index`` of a geometry, ``num_frames`` long; ``top`` is the object in front of the others.

    Args:
        grid: (rows, columns) of tracks.
    """

    def __init__(self, geometry: VideoGeometry, index: int, num_frames: int, grid: tuple[int, int]) -> None:
        W = geometry.width
        self.geometry, self.index, self.grid = geometry, index, grid
        config = SceneConfig.of(
            geometry, num_frames, split="eval", p_camera=0.0, p_static=0.0,
            p_late=0.0, p_early=0.0, p_grow=0.0, p_spin=0.0, object_px=(OBJECT_SHARE[0] * W, OBJECT_SHARE[1] * W),
            speed_px=0.19 * W,
        )  # fmt: skip
        scenes = sample_scenes(1, config, look_seed=LOOK_SEED + index, motion_seed=index)
        self.top = scenes.active.shape[1] - 1
        active = scenes.active.clone()
        active[:, self.top] = True
        self.scenes: Scenes = replace(scenes, active=active)
        self._last: tuple[int, int, Stretch] | None = None
        self.caption = f"{scenes.names[0][self.top]} moves about"

    def stretch(self, start: int, stop: int) -> Stretch:
        """Frames [start, stop); tracks start in frame 0 of the scene whatever the stretch."""
        if self._last is not None and self._last[:2] == (start, stop):
            return self._last[2]
        # The renderer takes its points from the first frame it is given: frame 0 goes in front and is cut off again.
        pick = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(start, stop)])
        shown = render(frames_of(self.scenes, pick), grid=self.grid, point_seed=self.index)
        size = (self.geometry.height, self.geometry.width)
        tracks = Tracks.from_points(shown.xy[0, 1:], visible=shown.visible[0, 1:], size=size, fps=self.geometry.fps)
        self._last = start, stop, Stretch(shown.video[0, 1:], tracks)
        return self._last[2]

    def object_error_pct(self, frame: Tensor, t: int) -> float:
        """Distance of the front object from its place in frame ``t``, % of the width; ``frame (3, H, W)`` in [0, 1].

        It is searched by likelihood, as in suite "drags": without a tracker that could lose it over thousands of frames.
        """
        now = frames_of(self.scenes, slice(t, t + 1))
        layer = render_object(now, self.top)[0, 0]
        background = render(now.without_object(self.top), grid=(1, 1)).video[0, 0]
        colour = layer[:3] / layer[3:].clamp_min(1e-3)
        return 100 * float(locate(frame, background, colour, layer[3:]).norm()) / frame.shape[2]
