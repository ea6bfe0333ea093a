"""Reads a COLMAP model (``cameras.bin``, ``images.bin``, ``points3D.bin``): cameras, views and their known points.

Pixels are COLMAP's, which are ours: the centre of the first pixel is (0.5, 0.5). Lens distortion is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motionstream.camera.pose import Pose, rotation_matrix
from motionstream.errors import UserError

# Model number -> (numbers stored, separate focal lengths for x and y). Later numbers describe lenses that no pinhole is.
LENSES = {0: (3, False), 1: (4, True), 2: (4, False), 3: (5, False), 4: (8, True)}


@dataclass(frozen=True)
class ColmapCamera:
    """Size (H, W), focal length and centre (x, y), in pixels of the picture that COLMAP saw."""

    size: tuple[int, int]
    focal_px: float
    centre: tuple[float, float]


@dataclass(frozen=True)
class ColmapView:
    """A picture: its name, camera, pose in the world, and known points: pixels (P, 2) and depths (P,)."""

    name: str
    camera: ColmapCamera
    pose: Pose
    xy: np.ndarray
    depth: np.ndarray


def read_colmap(folder: Path) -> list[ColmapView]:
    """The views of a model in order of their names.

    Raises:
        UserError: a missing or damaged file, or a lens that is not a pinhole's.
    """
    try:
        cameras = dict(_cameras(_Reader(folder / "cameras.bin")))
        points = dict(_points(_Reader(folder / "points3D.bin")))
        views = list(_views(_Reader(folder / "images.bin"), cameras, points))
    except (struct.error, KeyError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder} is not a readable COLMAP model ({error}): export it again in binary form") from error
    if not views:
        raise UserError(f"{folder} holds no view: export the model again")
    return sorted(views, key=lambda view: view.name)


class _Reader:
    """Little-endian values from a file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"{path} does not exist: a COLMAP model has cameras.bin, images.bin and points3D.bin")
        self.content, self.place = path.read_bytes(), 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.content, self.place)
        self.place += struct.calcsize("<" + form)
        return values

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        values = np.frombuffer(self.content, dtype, count, self.place)
        self.place += values.nbytes
        return values

    def word(self) -> str:
        end = self.content.index(b"\0", self.place)
        text = self.content[self.place : end].decode()
        self.place = end + 1
        return text


def _cameras(reader: _Reader) -> Iterator[tuple[int, ColmapCamera]]:
    for _ in range(reader.take("Q")[0]):
        number, lens, width, height = reader.take("iiQQ")
        if lens not in LENSES:
            raise UserError(f"camera {number} has COLMAP lens model {lens}: undistort the pictures to a pinhole first")
        count, two = LENSES[lens]
        values = reader.take(f"{count}d")
        focal = (values[0] + values[1]) / 2 if two else values[0]
        centre = values[2:4] if two else values[1:3]
        yield number, ColmapCamera((height, width), focal, (centre[0], centre[1]))


def _points(reader: _Reader) -> Iterator[tuple[int, np.ndarray]]:
    for _ in range(reader.take("Q")[0]):
        number, *place = reader.take("Q3d")
        reader.take("3Bd")
        (length,) = reader.take("Q")
        reader.place += 8 * length
        yield number, np.array(place)


SEEN = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


def _views(reader: _Reader, cameras: dict[int, ColmapCamera], points: dict[int, np.ndarray]) -> Iterator[ColmapView]:
    for _ in range(reader.take("Q")[0]):
        _, w, x, y, z, tx, ty, tz, camera = reader.take("i4d3di")
        name = reader.word()
        seen = reader.array(SEEN, reader.take("Q")[0])
        seen = seen[np.isin(seen["point"], list(points))]
        # COLMAP's rotation takes the world into the camera; a pose places the camera in the world.
        turn = rotation_matrix((w, x, y, z))
        px, py, pz = (-turn.T @ np.array([tx, ty, tz])).tolist()
        places = np.array([points[number] for number in seen["point"].tolist()]).reshape(-1, 3)
        depth = (places @ turn.T)[:, 2] + tz
        yield ColmapView(
            name, cameras[camera], Pose(position=(px, py, pz), rotation=(w, -x, -y, -z)), np.array(seen["xy"]), depth
        )
