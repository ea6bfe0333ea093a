"""Depth of the picture of a take, from what the visitor chose: assumed, uploaded, or estimated by the server's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from motionstream.camera.depth import DepthMap, Kind, depth_from_bytes, flat_depth, ground_depth
from motionstream.camera.surface import working_size
from motionstream.media.images import PictureFit
from motionstream.serve.images import read_upload
from motionstream.serve.limits import Settings

PLANE, GROUND, ESTIMATE = "plane", "ground", "estimate"


def choices(settings: Settings) -> list[dict[str, str]]:
    """What can be had without a file, for the page."""
    rows = [
        {"id": PLANE, "name": "flat, like a photograph"},
        {"id": GROUND, "name": "level ground and a wall"},
    ]
    return rows + ([{"id": ESTIMATE, "name": "estimated by a model"}] if settings.depth_model else [])


def depth_of(
    which: str,
    kind: Kind | None,
    *,
    frame: np.ndarray,
    placed: PictureFit,
    picture: Path | None,
    uploaded: Path | None,
    settings: Settings,
) -> DepthMap:
    """Depth of a take's first frame; may take long.

    Args:
        which: "plane", "ground", "estimate", or the id of an upload. kind: what an upload holds, None = by its type.
        frame: (H, W, 3) uint8. placed: how the picture became the frame.
        picture: its file, None = the frame is all there is. uploaded: the file of the upload.

    Raises:
        ValueError: one sentence: a map that says too little, an upload that is gone, no model.
    """
    size = working_size(frame.shape[:2])
    if which == PLANE:
        return flat_depth(size)
    if which == GROUND:
        return ground_depth(size)
    if which == ESTIMATE:
        depth = _estimate(frame, picture, settings)
        return depth.on_frame(placed, size) if picture is not None else depth
    if uploaded is None:
        raise ValueError(f"there is no depth map {which[:40]!r} (any more): upload it again")
    try:
        content = uploaded.read_bytes()
    except OSError as error:
        raise ValueError("the depth map is gone: upload it again") from error
    depth = depth_from_bytes(content, kind, most_pixels=settings.limits.depth_pixels)
    return depth.resized(placed.source).on_frame(placed, size)


def _estimate(frame: np.ndarray, picture: Path | None, settings: Settings) -> DepthMap:
    if settings.depth_model is None:
        raise ValueError("this server has no depth model: give it one with motionstream demo --depth-model DIR")
    from motionstream.camera.estimate import estimate_depth

    image = Image.fromarray(frame)
    if picture is not None:
        try:
            image = read_upload(picture.read_bytes(), settings.limits.picture_pixels)
        except OSError as error:
            raise ValueError("the picture is gone: upload it again") from error
    try:
        return estimate_depth(image, settings.depth_model)
    except ModuleNotFoundError as error:
        raise ValueError("the depth model needs transformers: pip install transformers") from error


def words_of(depth: DepthMap) -> str:
    """Where the depth comes from and what was done to it, in one line."""
    return "; ".join((depth.source, *depth.notes))
