"""What is asked for over plain HTTP (docs/protocol.md): pictures, takes, frames, videos, and what there is to choose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from motionstream.camera.depth import depth_from_bytes
from motionstream.serve.depths import choices, words_of
from motionstream.serve.export import ExportStopped
from motionstream.serve.images import TooLarge, WrongType, read_upload
from motionstream.serve.store import TakeFolder
from motionstream.serve.studio import Studio
from motionstream.stream.outline import can_outline
from motionstream.stream.patch import DAB_CELLS
from motionstream.stream.take import Take

router = APIRouter()
NO_STORE = {"Cache-Control": "no-store"}  # frames change after a branch, and takes grow
STILL_THERE_SECONDS = 0.3
DRAINED = 4
"""An upload that is too large is read on to at most so many times the limit, so that its sender hears the answer."""


class Health(BaseModel):
    status: str
    version: str
    preset: str
    device: str
    busy: bool
    waiting: int


class PresetRow(BaseModel):
    name: str
    width: int
    height: int
    fps: float
    first_chunk_frames: int
    chunk_frames: int
    dab_px: float
    loaded: bool


class GalleryRow(BaseModel):
    name: str
    caption: str
    prompt: str
    url: str
    object: list[float]
    size: list[int]
    credit: str


class PictureRow(BaseModel):
    id: str
    url: str
    width: int
    height: int


class DepthChoice(BaseModel):
    id: str
    name: str


class DepthRow(BaseModel):
    id: str
    width: int
    height: int
    words: str


class TakeRow(BaseModel):
    id: str
    prompt: str
    seed: int
    preset: str
    num_chunks: int
    width: int
    height: int


def _studio(request: Request) -> Studio:
    return request.app.state.studio


@router.get("/health")
async def health(request: Request) -> Health:
    """``status``: "loading", "ok", or "failed" when the model could not be loaded."""
    studio = _studio(request)
    worker = studio.worker
    return Health(
        status=worker.status,
        version=version("motionstream"),
        preset=worker.loaded or studio.settings.presets[0].name,
        device=worker.device,
        busy=studio.line.active is not None,
        waiting=studio.line.num_waiting,
    )


@router.get("/api/presets")
async def presets(request: Request) -> list[PresetRow]:
    """Models that can run here; the first one is the default."""
    studio = _studio(request)
    rows = []
    for preset in studio.settings.presets:
        geometry, (first, later) = preset.geometry, preset.frames_of_chunks
        rows.append(
            PresetRow(
                name=preset.name,
                width=geometry.width,
                height=geometry.height,
                fps=geometry.fps,
                first_chunk_frames=first,
                chunk_frames=later,
                dab_px=DAB_CELLS * geometry.reach_px if can_outline() else 0.0,
                loaded=preset.name == studio.worker.loaded,
            )
        )
    return rows


@router.get("/api/gallery")
async def gallery(request: Request) -> list[GalleryRow]:
    """Bundled pictures."""
    return [GalleryRow(**entry) for entry in _studio(request).gallery.entries()]


@router.get("/api/limits")
async def limits(request: Request) -> dict[str, float]:
    """What the server refuses, by name."""
    return _studio(request).limits.public()


# ---- pictures --------------------------------------------------------------------------------------------------------


@router.post("/api/pictures")
async def add_picture(request: Request) -> PictureRow:
    """Upload a picture: the body is the PNG, JPEG or WebP file."""
    studio = _studio(request)
    content = await _body(request, studio.limits.upload_bytes, "picture")

    def keep() -> PictureRow:
        picture = read_upload(content, studio.limits.picture_pixels)
        key = studio.store.add_picture(picture)
        return PictureRow(id=key, url=f"api/pictures/{key}", width=picture.width, height=picture.height)

    try:
        return await studio.desk(keep)
    except TooLarge as error:
        raise HTTPException(413, str(error)) from error
    except (WrongType, ValueError) as error:
        raise HTTPException(415, str(error)) from error
    except OSError as error:
        raise HTTPException(507, f"the picture cannot be kept: {error.strerror or error}") from error


@router.get("/api/pictures/{key}", response_class=FileResponse)
async def picture(request: Request, key: str) -> Response:
    """An uploaded picture, as JPEG."""
    path = _studio(request).store.picture(key)
    if path is None or not path.is_file():
        raise HTTPException(404, "there is no such picture (any more): upload it again")
    return FileResponse(path, media_type="image/jpeg")


# ---- depth -----------------------------------------------------------------------------------------------------------


@router.get("/api/depths")
async def depths(request: Request) -> list[DepthChoice]:
    """What depth can be had without a file of one's own."""
    return [DepthChoice(**row) for row in choices(_studio(request).settings)]


@router.post("/api/depths")
async def add_depth(request: Request) -> DepthRow:
    """Upload a depth map: the body is a grey PNG or TIFF of 8 or 16 bits, or a .npy file."""
    studio = _studio(request)
    content = await _body(request, studio.limits.upload_bytes, "depth map")

    def keep() -> DepthRow:
        if not content:
            raise ValueError("the depth map is empty: choose a grey PNG or a .npy file")
        depth = depth_from_bytes(content, most_pixels=studio.limits.depth_pixels)
        height, width = depth.size
        try:
            key = studio.store.add_depth(content)
        except OSError as error:
            raise HTTPException(507, f"the depth map cannot be kept: {error.strerror or error}") from error
        return DepthRow(id=key, width=width, height=height, words=words_of(depth))

    try:
        return await studio.desk(keep)
    except ValueError as error:
        raise HTTPException(415, str(error)) from error


# ---- takes -----------------------------------------------------------------------------------------------------------


@router.post("/api/takes")
async def add_take(request: Request) -> TakeRow:
    """Upload a take: the body is its JSON."""
    studio = _studio(request)
    content = await _body(request, studio.limits.take_bytes, "take")

    def keep() -> TakeRow:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("not a take: it is not text in UTF-8") from None
        take = Take.from_json(text)
        folder = studio.store.new_take()
        folder.fps = take.fps
        try:
            folder.save(text)
        except OSError:
            studio.store.drop(folder)  # it would be one that can be seen, and not played
            raise
        return TakeRow(
            id=folder.id,
            prompt=take.prompt,
            seed=take.seed,
            preset=take.preset,
            num_chunks=take.num_chunks,
            width=take.width,
            height=take.height,
        )

    try:
        return await studio.desk(keep)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    except OSError as error:
        raise HTTPException(507, f"the take cannot be kept: {error.strerror or error}") from error


@router.get("/api/takes/{key}.json")
async def take_json(request: Request, key: str) -> Response:
    """A take: picture, prompt, seed, and all input with chunk numbers."""
    text = await _studio(request).recording(key)
    if text is None:
        raise HTTPException(404, "there is no such take (any more)")
    return Response(text, media_type="application/json", headers={**NO_STORE, **_download(f"take-{key}.json")})


@router.get("/api/takes/{key}.mp4", response_class=FileResponse)
async def take_video(request: Request, key: str, tracks: bool = False) -> Response:
    """The video so far; with ``tracks`` they are drawn into it."""
    studio, folder = _studio(request), _take(request, key)
    fps = await _fps_of(studio, folder)
    if not folder.frames.num_frames:
        raise HTTPException(404, "this take has no frames yet")
    try:
        path = await _unless_gone(request, studio.exports.video(folder, fps, tracks=tracks))
    except ExportStopped as error:
        raise HTTPException(503, "the video was given up") from error
    except (ValueError, OSError) as error:
        raise HTTPException(507, f"the video cannot be written: {error}") from error
    return FileResponse(path, headers={**NO_STORE, **_download(f"motionstream-{key}.mp4")}, media_type="video/mp4")


@router.get("/api/takes/{key}/frames/{frame}.jpg")
async def take_frame(request: Request, key: str, frame: int) -> Response:
    """One frame."""
    folder = _take(request, key)
    try:
        jpeg, _ = await _studio(request).desk(folder.frames.read, frame)
    except (IndexError, OSError) as error:
        raise HTTPException(404, f"there is no frame {frame} (yet)") from error
    return Response(jpeg, media_type="image/jpeg", headers=NO_STORE)


def _take(request: Request, key: str) -> TakeFolder:
    folder = _studio(request).store.take(key)
    if folder is None:
        raise HTTPException(404, "there is no such take (any more)")
    return folder


async def _fps_of(studio: Studio, folder: TakeFolder) -> float:
    def read() -> float:
        text = folder.read()
        values: dict[str, Any] = json.loads(text) if text is not None else {}
        return float(values.get("fps", studio.settings.presets[0].geometry.fps))

    if folder.fps is None:
        folder.fps = await studio.desk(read)
    return folder.fps


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Path]) -> Path:
    """What comes of ``work``, which is given up when whoever asked has gone.

    Raises:
        ExportStopped: they have.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=STILL_THERE_SECONDS))[0]:
            if await request.is_disconnected():
                raise ExportStopped
        return task.result()
    finally:
        task.cancel()


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def _body(request: Request, most: int, what: str) -> bytes:
    """The request's body.

    Raises:
        HTTPException: 413, it has more than ``most`` bytes.
    """
    content, length = bytearray(), 0
    async for part in request.stream():
        length += len(part)
        if length <= most:
            content += part
        elif length > DRAINED * most:
            break
    if length > most:
        raise HTTPException(413, f"the {what} has more than {most / 1e6:g} MB, the most that is taken")
    return bytes(content)
