"""Tracks on disk: a JSON that people can write by hand, and a compact NPZ.

JSON, version 1; x and y in pixels of the canvas, [0, width) x [0, height), pixel centres at +0.5; null = not visible:

    {"format": "motionstream-tracks", "version": 1, "width": 832, "height": 480, "fps": 16, "num_frames": 81,
     "tracks": [{"id": 7, "start": 0, "points": [[412.5, 220.5], [415.0, 220.5], null]}]}

`fps` (16), `start` (0) and `num_frames` (up to the last point) may be left out.  What a hand drew can be kept as it is:

    {"format": "motionstream-strokes", "version": 1, "width": 832, "height": 480,
     "strokes": [{"points": [[0.0, 412, 220], [1.5, 600, 220]], "radius_px": 24, "spacing_px": 8}]}

with the fields of `motionstream.tracks.strokes.Stroke`; `load_tracks` expands it.  Other keys are refused.

NPZ, version 1: `format`, `version`, `xy (B, T, N, 2)`, `visible`, `ids`, `width`, `height`, `fps`.  Nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from motionstream.files import replacing, said_if_unwritable
from motionstream.tracks.given import check_whole
from motionstream.tracks.strokes import (
    Stroke,
    brush_offsets,
    is_number,
    stroke_from_json,
    stroke_to_json,
    tracks_from_strokes,
)
from motionstream.tracks.tracks import Tracks, check_fps

TRACKS_FORMAT, STROKES_FORMAT, VERSION = "motionstream-tracks", "motionstream-strokes", 1
DEFAULT_FPS = 16.0
_HEADER_KEYS = ("format", "version", "width", "height", "fps")
MAX_EDGE_PX, MAX_FRAMES, MAX_POINTS = 65_536, 100_000, 50_000_000
DAMAGED = (
    ValueError, EOFError, KeyError, RuntimeError, SyntaxError, OverflowError,
    tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy raises of a damaged file."""
FOREIGN = ({"points", "occluded"}, {"tracks", "visibility"})
"""Arrays by which TAP-Vid's and CoTracker's archives are known."""


def load_tracks(path: str | Path, num_frames: int | None = None, fps: float | None = None) -> Tracks:
    """Read tracks from a `.json` (tracks or strokes) or `.npz` file.

    Args:
        path: the file.
        num_frames: length of the result; longer tracks are cut and shorter ones hold their last frame.  None: as many
            as the file has.
        fps: frame rate of the result; tracks are resampled, strokes sampled at it.  None: the file's own.

    Raises:
        ValueError: one sentence that names the file, the value and the fix.
    """
    path = Path(path)
    if num_frames is not None and not 1 <= check_whole("num_frames", num_frames, None) <= MAX_FRAMES:
        raise ValueError(f"num_frames must be 1 to {MAX_FRAMES}, got {num_frames}")
    if fps is not None:
        check_fps(fps)
    try:
        tracks = _read_npz(path) if _suffix(path) == ".npz" else _read_json_tracks(path, num_frames, fps)
        if not tracks.visible.any():
            raise ValueError("no point is ever visible on the canvas; give at least one visible point inside it")
        if fps is not None and fps != tracks.fps:
            tracks = resampled(tracks, fps)
        if num_frames is not None and num_frames < tracks.num_frames:
            tracks = tracks.slice_frames(0, num_frames)
        return tracks if num_frames is None else tracks.pad_frames(num_frames, "hold")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def resampled(tracks: Tracks, fps: float) -> Tracks:
    """``tracks.resample``, where that gives no more than a file may hold (ValueError)."""
    T = math.ceil(tracks.num_frames * fps / tracks.fps)
    if T > MAX_FRAMES or T * tracks.num_tracks * tracks.batch > MAX_POINTS:
        raise ValueError(
            f"{tracks.num_frames} frames at fps {tracks.fps:g} become {T} at fps {fps:g}, above {MAX_FRAMES} frames or "
            f"{MAX_POINTS} points; correct fps in the file, or shorten it"
        )
    return tracks.resample(fps=fps)


def save_tracks(path: str | Path, tracks: Tracks) -> None:
    """Write tracks as `.json` (one sample; positions where not visible are lost) or `.npz` (everything).

    The file appears complete or not at all.

    Raises:
        ValueError: unknown suffix, nothing visible to save, more than one sample for JSON, or not writable.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not tracks.visible.any():
        raise ValueError(f"cannot save to {path}: no point of these tracks is ever visible")
    tracks = tracks.to("cpu")
    _write(path, _npz_bytes(tracks) if suffix == ".npz" else _json_text(tracks).encode())


def load_strokes(path: str | Path) -> tuple[list[Stroke], tuple[int, int], float]:
    """Read a `motionstream-strokes` JSON: the strokes, the canvas size (H, W), and fps."""
    path = Path(path)
    try:
        document = _read_json(path)
        if document.get("format") != STROKES_FORMAT:
            raise ValueError(f"format is {document.get('format')!r}, but strokes need {STROKES_FORMAT!r}")
        size, fps = _read_header(document)
        return _read_strokes(document), size, fps
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_strokes(path: str | Path, strokes: Sequence[Stroke], size: tuple[int, int], fps: float = DEFAULT_FPS) -> None:
    """Write strokes drawn on a canvas of `size` (H, W) as a `motionstream-strokes` JSON.

    Raises:
        ValueError: no stroke, what `load_strokes` would not read again (size, fps, suffix), or not writable.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"cannot save to {path}: a file of strokes must end in .json")
    if not strokes:
        raise ValueError(f"cannot save to {path}: there is no stroke")
    height, width = (check_whole(name, edge) for name, edge in zip(("height", "width"), size, strict=True))
    if max(height, width) > MAX_EDGE_PX:
        raise ValueError(f"cannot save to {path}: a canvas of {width}x{height} pixels is above {MAX_EDGE_PX} each way")
    header = _header(STROKES_FORMAT, (height, width), check_fps(fps))
    _write(path, _json_lines(header, "strokes", [stroke_to_json(stroke) for stroke in strokes]).encode())


# ---- JSON --------------------------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not readable as JSON ({error}); write it as the documentation of tracks shows") from error
    if not isinstance(document, dict):
        raise ValueError(f"the file must hold one JSON object, got a {type(document).__name__}")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a coordinate; write null where a point is not visible")


def _read_header(document: dict[str, Any]) -> tuple[tuple[int, int], float]:
    """Check format and version; return size (H, W) and fps."""
    known = (TRACKS_FORMAT, STROKES_FORMAT)
    if document.get("format") not in known:
        raise ValueError(f"format is {document.get('format')!r}; write one of {known[0]!r}, {known[1]!r}")
    if document.get("version") != VERSION:
        raise ValueError(f"version is {document.get('version')!r}, but this release reads version {VERSION} only")
    width, height = (_whole(document, key, 1, MAX_EDGE_PX) for key in ("width", "height"))
    return (height, width), check_fps(document.get("fps", DEFAULT_FPS))


def _read_json_tracks(path: Path, num_frames: int | None, fps: float | None) -> Tracks:
    document = _read_json(path)
    size, own_fps = _read_header(document)
    if document["format"] == TRACKS_FORMAT:
        return _read_tracks(document, size, own_fps)
    strokes = _read_strokes(document)
    fps = fps or own_fps
    seconds = max(stroke.points[-1][0] for stroke in strokes)
    whole = math.ceil(seconds * fps - 1e-6) + 1
    if whole > MAX_FRAMES:
        raise ValueError(
            f"these strokes last {seconds:g} s, {whole} frames at fps {fps:g}, above {MAX_FRAMES}; shorten them"
        )
    whole = max(whole, num_frames or 1)
    points = whole * sum(len(brush_offsets(stroke.radius_px, stroke.spacing_px)) for stroke in strokes)
    if points > MAX_POINTS:
        raise ValueError(f"these strokes make {points} points over {whole} frames, above {MAX_POINTS}; shorten them")
    return tracks_from_strokes(strokes, num_frames=whole, fps=fps, size=size)


def _read_strokes(document: dict[str, Any]) -> list[Stroke]:
    _only(document, "a file of strokes", (*_HEADER_KEYS, "strokes"))
    return [stroke_from_json(form) for form in _filled_list(document, "strokes")]


def _read_tracks(document: dict[str, Any], size: tuple[int, int], fps: float) -> Tracks:
    _only(document, "a file of tracks", (*_HEADER_KEYS, "num_frames", "tracks"))
    forms = _filled_list(document, "tracks")
    for form in forms:
        if not isinstance(form, dict):
            raise ValueError(f"each track must be an object with 'id' and 'points', got {form!r:.60}")
        _only(form, "a track", ("id", "start", "points"))
    ids = [_whole(form, "id", 0, 2**63 - 1) for form in forms]
    starts = [_whole({"start": 0, **form}, "start", 0, MAX_FRAMES) for form in forms]
    runs = [_filled_list(form, "points") for form in forms]
    longest = max(start + len(run) for start, run in zip(starts, runs, strict=True))
    T = _whole({"num_frames": longest, **document}, "num_frames", 1, MAX_FRAMES)
    if longest > T:
        raise ValueError(f"a track reaches frame {longest - 1}, but num_frames is {T}; raise num_frames")
    if T * len(forms) > MAX_POINTS:
        raise ValueError(f"{len(forms)} tracks of {T} frames are too many; at most {MAX_POINTS} points fit in a file")
    xy = np.zeros((T, len(forms), 2), dtype=np.float32)
    visible = np.zeros((T, len(forms)), dtype=bool)
    for n, (start, run) in enumerate(zip(starts, runs, strict=True)):
        for t, point in enumerate(run, start):
            if point is None:
                continue
            if not isinstance(point, list) or len(point) != 2 or not all(is_number(value) for value in point):
                raise ValueError(f"track {ids[n]}, frame {t}: a point must be [x, y] or null, got {point!r:.60}")
            xy[t, n], visible[t, n] = point, True
    tracks = Tracks.from_points(xy, visible=visible, ids=np.asarray(ids), size=size, fps=fps)
    if visible.any() and not tracks.visible.any():
        raise ValueError(_say_off_screen(tracks, xy[visible][0]))
    return tracks


def check_fits_json(num_frames: int, num_tracks: int) -> None:
    """Refuse what `load_tracks` would not read again from a JSON (ValueError); an NPZ may be larger."""
    if num_frames > MAX_FRAMES or num_frames * num_tracks > MAX_POINTS:
        raise ValueError(
            f"{num_tracks} tracks of {num_frames} frames are too many for JSON, which holds {MAX_FRAMES} frames and "
            f"{MAX_POINTS} points; write .npz"
        )


def _json_text(tracks: Tracks) -> str:
    if tracks.batch != 1:
        raise ValueError(f"JSON holds one sample, but these tracks have {tracks.batch}; save them as .npz")
    check_fits_json(tracks.num_frames, tracks.num_tracks)
    header = {**_header(TRACKS_FORMAT, tracks.size, tracks.fps), "num_frames": tracks.num_frames}
    xy, visible = tracks.xy[0].numpy(), tracks.visible[0].numpy()
    forms = []
    for n, track_id in enumerate(tracks.ids[0].tolist()):
        seen = visible[:, n].nonzero()[0]
        start, stop = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 1)
        # str() of a float32 is its shortest exact form: 0.1, not 0.10000000149011612
        points = [[float(str(v)) for v in xy[t, n]] if visible[t, n] else None for t in range(start, stop)]
        forms.append({"id": track_id, "start": start, "points": points})
    return _json_lines(header, "tracks", forms)


def _header(form: str, size: tuple[int, int], fps: float) -> dict[str, Any]:
    return {"format": form, "version": VERSION, "width": size[1], "height": size[0], "fps": fps}


def _json_lines(header: dict[str, Any], key: str, entries: list[dict[str, Any]]) -> str:
    """One line for the header and one for each entry: readable, and small in a diff."""
    lines = ",\n  ".join(json.dumps(entry, allow_nan=False) for entry in entries)
    return f'{json.dumps(header, allow_nan=False)[:-1]},\n "{key}": [\n  {lines}\n]}}\n'


def _filled_list(form: dict[str, Any], key: str) -> list[Any]:
    value = form.get(key)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key!r} must be a list with at least one entry, got {value!r:.60}")
    return value


def _only(form: dict[str, Any], what: str, known: Sequence[str]) -> None:
    """Refuse other keys: a misspelt one would be taken for its default without a word."""
    for key in form:
        if key not in known:
            raise ValueError(f"{what} has the unknown key {key!r:.60}; known are {', '.join(known)}")


def _whole(form: dict[str, Any], key: str, smallest: int, largest: int) -> int:
    value = form.get(key)
    if type(value) is not int or not smallest <= value <= largest:
        raise ValueError(f"{key!r} must be a whole number from {smallest} to {largest}, got {value!r:.60}")
    return value


# ---- NPZ ---------------------------------------------------------------------------------------------------------


def _npz_bytes(tracks: Tracks) -> bytes:
    buffer = io.BytesIO()
    header = _header(TRACKS_FORMAT, tracks.size, tracks.fps)
    np.savez_compressed(buffer, xy=tracks.xy.numpy(), visible=tracks.visible.numpy(), ids=tracks.ids.numpy(), **header)
    return buffer.getvalue()


def _read_npz(path: Path) -> Tracks:
    payload = path.read_bytes()
    try:
        archive = np.load(io.BytesIO(payload), allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds a bare array")
        with archive:
            arrays = {key: archive[key] for key in archive.files}
    except DAMAGED as error:
        # What NumPy says of any other file is advice on pickles, which are never opened here.
        why = "it holds something else than an archive of arrays" if "pickle" in str(error) else error
        raise ValueError(f"not readable as NPZ ({why}); save it again with save_tracks") from error
    if "format" not in arrays and any(names <= arrays.keys() for names in FOREIGN):
        raise ValueError("these are another project's tracks; bring them over by: motionstream tracks convert FILE OWN.npz")
    header = {key: array.item() for key, array in arrays.items() if array.ndim == 0}
    size, fps = _read_header(header)
    missing = [key for key in ("xy", "visible", "ids") if key not in arrays]
    if missing or header["format"] != TRACKS_FORMAT:
        raise ValueError(f"an NPZ of tracks needs xy, visible and ids; missing are {', '.join(missing) or 'tracks'}")
    xy, visible, ids = (torch.from_numpy(_native(arrays[key])) for key in ("xy", "visible", "ids"))
    tracks = Tracks(xy=xy, visible=visible, ids=ids, size=size, fps=fps)
    if visible.any() and not tracks.visible.any():
        raise ValueError(_say_off_screen(tracks, xy[visible][0].numpy()))
    return tracks


def _native(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"arrays must hold numbers, got {array.dtype}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


# ---- files -------------------------------------------------------------------------------------------------------


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".npz"):
        raise ValueError("a file of tracks must end in .json or .npz; tracks convert reads those of other projects")
    return suffix


def _write(path: Path, payload: bytes) -> None:
    with said_if_unwritable(path), replacing(path) as unfinished:
        unfinished.write_bytes(payload)


def _say_off_screen(tracks: Tracks, point: np.ndarray) -> str:
    H, W = tracks.size
    return f"every point is outside the canvas of {W}x{H}, such as ({point[0]:g}, {point[1]:g}); give pixels within it"
