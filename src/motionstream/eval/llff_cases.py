"""Suite "llff": one photograph of a scene, and the camera of the photographs after it (the paper's table 2).

Depth of the first view is brought to the scale of COLMAP's points by one factor; a 50 x 50 grid is projected along the
camera that is interpolated between the views; the frames at which it arrives at a view are compared with that photograph
at 512x288. The paper does not print which views it uses: ours are the first five by name, evenly spaced in time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from motionstream.camera.align import align_scale
from motionstream.camera.depth import DepthMap, load_depth
from motionstream.camera.keyframes import KeyframePath
from motionstream.camera.pose import Pinhole
from motionstream.camera.reproject import camera_tracks
from motionstream.errors import UserError
from motionstream.eval.cases import VideoCase
from motionstream.eval.clip_cases import picture_files, read_prompts
from motionstream.eval.colmap import ColmapView, read_colmap
from motionstream.eval.datasets import check_sums, missing, no_folder
from motionstream.eval.quality import resize_frames
from motionstream.media.images import PictureFit, fit_picture, open_picture
from motionstream.shapes import VideoGeometry

SCENES = ("fern", "flower", "fortress", "horns", "leaves", "orchids", "room", "trex")
METRIC_SIZE = (288, 512)
VIEWS = 5
PROMPT = "A static scene: only the camera moves, nothing else does. {scene}."
DEPTH_SUFFIXES = (".npy", ".npz", ".png", ".tiff")


class LLFFCases:
    """A `CaseSource` over the scenes of a folder.

    Args:
        num_frames: of a clip, t_stride * k + 1. grid: (rows, columns) of points.
        depth_model: folder of a depth estimator; None reads ``depth/NAME.npy`` of each scene.

    Raises:
        UserError: no such folder, or none of the eight scenes in it.
    """

    suite = "llff"

    def __init__(
        self,
        folder: Path | None,
        geometry: VideoGeometry,
        num_frames: int,
        grid: tuple[int, int],
        depth_model: Path | None = None,
    ) -> None:
        if folder is None or not folder.is_dir():
            raise no_folder("llff", folder)
        check_sums(folder)
        self.folder, self.geometry, self.num_frames, self.grid = folder, geometry, num_frames, grid
        self.depth_model = depth_model
        self.names = [scene for scene in SCENES if (folder / scene / "sparse" / "0").is_dir()]
        if not self.names:
            raise missing("llff", f"{folder} holds none of the scenes with COLMAP's model")
        self.expected = len(SCENES)
        self.settings: dict[str, Any] = {
            "frames": num_frames, "grid": list(grid), "measured_at": list(METRIC_SIZE), "views": VIEWS, "epe": False,
            "depth": "estimated" if depth_model else "given",
        }  # fmt: skip
        absent = [scene for scene in SCENES if scene not in self.names]
        self.notes = [f"{len(absent)} scenes are missing: {', '.join(absent)}."] if absent else []
        self.notes.append("The views are ours (the first five by name): the paper does not print its own.")

    def case(self, index: int) -> VideoCase:
        scene = self.names[index]
        folder, geometry = self.folder / scene, self.geometry
        views = read_colmap(folder / "sparse" / "0")
        pictures = pictures_of(folder, views)[:VIEWS]
        views = views[:VIEWS]
        if len(views) < 2:
            raise UserError(f"scene {scene!r} has {len(views)} view: at least 2 are needed")
        arrivals = np.linspace(0, self.num_frames - 1, len(views)).round().astype(int)
        photo = open_picture(pictures[0])
        first, placed = fit_picture(photo, geometry.width, geometry.height)
        depth = self._depth(folder, pictures[0], photo)
        scale = align_scale(depth, views[0].xy, views[0].depth, views[0].camera.size)
        path = KeyframePath(
            times_s=tuple(float(t) / geometry.fps for t in arrivals),
            poses=tuple(view.pose for view in views),
            unit="depth",
            interpolation="linear",
        )
        tracks = camera_tracks(
            depth.scaled(scale.scale).on_frame(placed, (geometry.height, geometry.width)), path,
            frame_pinhole(views[0], placed), num_frames=self.num_frames, fps=geometry.fps, grid=self.grid,
            reseed=False, min_overlap=0.0,
        )  # fmt: skip
        window = (placed.left, placed.top, placed.left + placed.width, placed.top + placed.height)
        truths = [np.asarray(open_picture(path).crop(window)) for path in pictures[1:]]
        return VideoCase(
            name=scene,
            first_frame=first,
            tracks=tracks,
            prompt=read_prompts(self.folder).get(scene, PROMPT.format(scene=scene)),
            truth=None,
            scored=tuple(int(t) for t in arrivals[1:]),
            reference=np.concatenate([resize_frames(truth[None], METRIC_SIZE) for truth in truths]),
            wanted=None,
            facts={"depth_scale": scale.scale, "depth_spread": scale.spread, "known_points": scale.num_points},
        )

    def _depth(self, folder: Path, picture: Path, photo: Image.Image) -> DepthMap:
        if self.depth_model is not None:
            from motionstream.camera.estimate import estimate_depth

            return estimate_depth(photo, self.depth_model)
        for suffix in DEPTH_SUFFIXES:
            path = folder / "depth" / f"{picture.stem}{suffix}"
            if path.is_file():
                return load_depth(path)
        raise UserError(
            f"{folder / 'depth' / picture.stem}.npy does not exist: give depth of the first view, or --depth-model"
        )


def pictures_of(folder: Path, views: list[ColmapView]) -> list[Path]:
    """The picture of each view: by name in ``images``, else the smaller copies, which keep the order of the names.

    Raises:
        UserError: no folder with them.
    """
    named = [folder / "images" / view.name for view in views]
    if all(path.is_file() for path in named):
        return named
    for name in ("images", "images_4", "images_8"):
        if (folder / name).is_dir():
            files = picture_files(folder / name)
            if len(files) == len(views):
                return files
    raise UserError(f"{folder}/images (or images_4) does not hold the {len(views)} pictures of COLMAP's model: complete it")


def frame_pinhole(view: ColmapView, placed: PictureFit) -> Pinhole:
    """The camera of a frame that was cut from a view's picture, which may be a smaller copy of what COLMAP saw."""
    camera, (down, across) = view.camera, placed.scale
    shrink = placed.source[1] / camera.size[1]
    x, y = (part * shrink for part in camera.centre)
    centre = ((x - placed.left) * across, (y - placed.top) * down)
    return Pinhole(size=placed.size, focal_px=camera.focal_px * shrink * across, centre=centre)
