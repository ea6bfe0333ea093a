"""Points of a picture, seen by a camera that moves: tracks with visibility, and new points where there were none.

Frame 0 has one point in the middle of each cell of a grid, unprojected by the depth. In every view the points are projected
and tested against the z-buffer of the picture's surface. Where a part of the frame has no visible point left, a
new one with a new id starts: on the surface where the view still shows the picture; elsewhere, in parts that the picture
does not know, at the depth of the points around. A cell that holds too many loses the newest for good.

    path = PresetPath(preset="orbit-right")
    tracks = camera_tracks(depth, path, Pinhole.from_fov((96, 128), 60), num_frames=81, fps=16, grid=(12, 16))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionstream.camera.depth import DepthMap
from motionstream.camera.keyframes import CameraPath, poses_of
from motionstream.camera.pose import Pinhole, Pose
from motionstream.camera.surface import Surface, ZBuffer
from motionstream.tracks.tracks import Tracks

MIN_OVERLAP = 0.1
MAX_PER_CELL = 2
BINS = 4  # per cell and axis, to ask where points are
AROUND = 4  # points that an unknown place takes its depth from
PAIRS = 2_000_000  # of a place and a point whose distance is taken at once: 50 MB


@dataclass(frozen=True)
class View:
    """Points as one view sees them.

    Attributes:
        xy: (N, 2) pixels. visible: (N,) bool. ids: (N,) int64, increasing; points of earlier views keep theirs.
        overlap: share of the view that shows the picture, 0 to 1.
    """

    xy: np.ndarray
    visible: np.ndarray
    ids: np.ndarray
    overlap: float


class CameraTracker:
    """Follows points under a camera, view by view; the state of a live camera, and what `camera_tracks` runs.

    Args:
        depth: of the whole frame, any resolution.
        pinhole: the frame's camera.
        grid: (rows, columns) of cells.
        reseed: start new points where none are left.
    """

    def __init__(self, depth: DepthMap, pinhole: Pinhole, grid: tuple[int, int], *, reseed: bool = True) -> None:
        if min(grid) < 1:
            raise ValueError(f"a grid needs at least 1 row and 1 column, got {grid}")
        self.pinhole, self.grid, self.reseed = pinhole, grid, reseed
        self.reference = depth.reference
        self.surface = Surface(depth, pinhole)
        rows, columns = grid
        x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
        H, W = pinhole.size
        self.centres = np.stack([x.ravel() * W / columns, y.ravel() * H / rows], axis=1)
        self._start = pinhole.unproject(self.centres, depth.at(self.centres, pinhole.size))
        self.reset()

    def reset(self) -> None:
        """Back to frame 0: one point in each cell."""
        self.points = self._start
        self.retired = np.zeros(len(self.points), dtype=bool)

    def look(self, pose: Pose) -> View:
        """Points as the camera at `pose` sees them; positions in the unit of the depth map."""
        buffer = self.surface.seen_from(pose)
        view = self.pinhole.zoomed(pose.zoom)
        xy, z = view.project(pose.to_camera(self.points))
        visible = buffer.shows(xy, z) & ~self.retired
        if self.reseed:
            visible = self._thin(xy, visible)
            new = self._seed(buffer, view, pose, xy[visible], z[visible])
            self.points = np.concatenate([self.points, new])
            self.retired = np.concatenate([self.retired, np.zeros(len(new), dtype=bool)])
            xy = np.concatenate([xy, view.project(pose.to_camera(new))[0]])
            visible = np.concatenate([visible, np.ones(len(new), dtype=bool)])
        return View(np.nan_to_num(xy), visible, np.arange(len(xy)), buffer.covered)

    def _bins(self, xy: np.ndarray, per_cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column (N,) of points on the canvas in a grid `per_cell` times as fine as the cells, each way."""
        (rows, columns), (H, W) = self.grid, self.pinhole.size
        row = np.minimum((xy[:, 1] * (rows * per_cell / H)).astype(int), rows * per_cell - 1)
        column = np.minimum((xy[:, 0] * (columns * per_cell / W)).astype(int), columns * per_cell - 1)
        return row, column

    def _thin(self, xy: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Retire all but the oldest points of crowded cells."""
        shown = np.flatnonzero(visible)
        row, column = self._bins(xy[shown], 1)
        cell = row * self.grid[1] + column
        order = np.argsort(cell, kind="stable")  # by cell, then by age
        ordered = cell[order]
        begins = np.searchsorted(ordered, ordered, side="left")
        crowd = shown[order[np.arange(len(order)) - begins >= MAX_PER_CELL]]
        self.retired[crowd] = True
        visible = visible.copy()
        visible[crowd] = False
        return visible

    def _seed(self, buffer: ZBuffer, view: Pinhole, pose: Pose, xy: np.ndarray, z: np.ndarray) -> np.ndarray:
        """New world points (M, 3) for cells without a point of `xy` (N, 2) within 3/4 of a cell from their centre."""
        rows, columns = self.grid
        marks = np.zeros((rows * BINS + 2, columns * BINS + 2), dtype=bool)
        row, column = self._bins(xy, BINS)
        marks[row + 1, column + 1] = True
        near = np.zeros((rows, columns), dtype=bool)
        for a in range(BINS + 2):
            for b in range(BINS + 2):
                near |= marks[a : a + rows * BINS : BINS, b : b + columns * BINS : BINS]
        bare = self.centres[~near.ravel()]
        patch = buffer.patch_at(bare)
        known = self.surface.points.reshape(-1, 3)[patch[patch >= 0]]
        beyond = bare[patch < 0]
        unknown = pose.to_world(view.unproject(beyond, self._depth_around(beyond, view, pose, xy, z)))
        return np.concatenate([known, unknown])

    def _depth_around(self, places: np.ndarray, view: Pinhole, pose: Pose, xy: np.ndarray, z: np.ndarray) -> np.ndarray:
        """A guess of the depth (M,) of parts of the view (M, 2) that the picture does not show.

        Beside the picture it is that of the nearest point. Behind a thing, which is where the place would lie in the
        picture, it is the farthest of the nearest few: what a near thing uncovers lies behind it.
        """
        if not len(z):
            return np.full(len(places), self.reference)
        nearest = np.empty((len(places), min(AROUND, len(z))), dtype=np.int64)
        rows = max(1, PAIRS // len(z))
        for i in range(0, len(places), rows):  # some rows at a time: all pairs of a fine grid are gigabytes
            distance = np.hypot(*(places[i : i + rows, None] - xy[None]).transpose(2, 0, 1))
            nearest[i : i + rows] = np.argsort(distance, axis=1, kind="stable")[:, :AROUND]
        guess = z[nearest[:, 0]]
        there, ahead = self.pinhole.project(pose.to_world(view.unproject(places, guess)))
        H, W = self.pinhole.size
        inside = (ahead > 0) & ((there >= 0) & (there < [W, H])).all(axis=1)
        return np.where(inside, z[nearest].max(axis=1), guess)


def camera_tracks(
    depth: DepthMap,
    path: CameraPath,
    pinhole: Pinhole,
    *,
    num_frames: int,
    fps: float,
    grid: tuple[int, int],
    reseed: bool = True,
    min_overlap: float = MIN_OVERLAP,
) -> Tracks:
    """Tracks of a picture under a moving camera.

    Args:
        depth: of the whole frame, any resolution.
        path: where the camera goes.
        pinhole: the frame's camera and canvas.
        num_frames, fps: of the clip.
        grid: (rows, columns) of points in frame 0; the paper uses 50 x 50.
        reseed: start new points where none are left.
        min_overlap: share of every view that must still show the picture, 0 to 1; 0 lets the camera go anywhere.

    Returns:
        One sample on the canvas of `pinhole`; ids count from 0, the grid's first, row by row.

    Raises:
        ValueError: the path leaves the scene, or a value is out of its range.
    """
    if not 0 <= min_overlap <= 1:
        raise ValueError(f"min_overlap must be 0 to 1, got {min_overlap}")
    tracker = CameraTracker(depth, pinhole, grid, reseed=reseed)
    unit = tracker.reference if path.in_scene_units else 1.0
    views = []
    for t, pose in enumerate(poses_of(path, num_frames=num_frames, fps=fps)):
        view = tracker.look(pose.scaled(unit))
        if view.overlap < min_overlap:
            raise ValueError(
                f"the camera leaves the scene: in frame {t} ({t / fps:.2f} s) {100 * view.overlap:.0f} % of the view shows "
                f"the picture, at least {100 * min_overlap:.0f} % must; shorten the path or lower the amount"
            )
        views.append(view)
    N = len(views[-1].ids)
    xy, visible = np.zeros((num_frames, N, 2)), np.zeros((num_frames, N), dtype=bool)
    for t, view in enumerate(views):
        xy[t, : len(view.xy)], visible[t, : len(view.xy)] = view.xy, view.visible
    return Tracks.from_points(xy, visible=visible, size=pinhole.size, fps=fps)
