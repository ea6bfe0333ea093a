"""Tracks of other projects: TAP-Vid, CoTracker, ATI and Wan-Move files, read and written without unpickling anything.

| form | file | positions | visibility | what is lost when written |
|---|---|---|---|---|
| "tapvid" | .npz: ``points`` (N, T, 2), ``occluded`` (N, T) | fractions of the picture | True = hidden | ids |
| "cotracker" | .npz: ``tracks`` (B, T, N, 2), ``visibility`` (B, T, N) | pixels, centres at 0 | True = seen | ids |
| "ati" | .pth: torch-saved bytes of an npz, ``array`` (N, 121, 1, 3) | pixels x 8 | 8 = seen | ids, size, rate; 121 frames |
| "wan-move" | X_tracks.npy (1, T, N, 2), X_visibility.npy (1, T, N) | pixels, centres at 0 | True = seen | ids, size, rate |

Files that do not say their canvas or frame rate need them given; every npz we write says ``width``, ``height``, ``fps``.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motionstream.files import replacing, said_if_unwritable
from motionstream.tracks.io import DAMAGED, DEFAULT_FPS, FOREIGN, load_tracks, resampled, save_tracks
from motionstream.tracks.tracks import Tracks

FORMS = ("motionstream", "tapvid", "cotracker", "ati", "wan-move")
SUFFIXES = (".json", ".npz", ".pth", ".npy")
ATI_FRAMES, ATI_FPS, ATI_FACTOR = 121, 24.0, 8.0
WAN_MOVE_SIZE, WAN_MOVE_FPS = (480, 832), 16.0
HALF_PIXEL = 0.5
MAX_BYTES = 2**30  # of an array, unpacked

Size = tuple[int, int]


def form_of(path: str | Path) -> str:
    """Tell the form of a tracks file from its suffix and, for .npz, from what is in it.

    Raises:
        ValueError: an unknown suffix, or an .npz with other arrays.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name!r} must end in {', '.join(SUFFIXES)} to hold tracks")
    if suffix != ".npz":
        return {".json": "motionstream", ".pth": "ati", ".npy": "wan-move"}[suffix]
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except DAMAGED as error:
        raise ValueError(f"{path}: not readable as NPZ ({error}); check the file") from error
    tapvid, cotracker = (known <= names for known in FOREIGN)
    return "tapvid" if tapvid else "cotracker" if cotracker else "motionstream"


def load_any_tracks(
    path: str | Path,
    *,
    form: str | None = None,
    size: Size | None = None,
    fps: float | None = None,
    source_fps: float | None = None,
    num_frames: int | None = None,
) -> Tracks:
    """Read tracks in any of the forms.

    Args:
        path: the file. form: one of `FORMS`; None tells it from the file.
        size: (H, W) of the canvas in pixels, for files that do not say it; another one than a file says is refused.
        fps: frame rate of the result, None = the file's; positions are resampled to it.
        source_fps: frame rate of a file that does not say its own (default: 16); another one than it says is refused.
        num_frames: as in `load_tracks`.

    Raises:
        ValueError: one sentence that names the file, the value and the fix.
    """
    path = Path(path)
    form = _check_form(form or form_of(path))
    if form == "motionstream":
        if size is not None or source_fps is not None:
            said = load_tracks(path)
            try:
                _check_said(said.size, said.fps, size, source_fps)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return load_tracks(path, num_frames=num_frames, fps=fps)
    reader = {"tapvid": _read_tapvid, "cotracker": _read_cotracker, "ati": _read_ati, "wan-move": _read_wan_move}[form]
    try:
        tracks = reader(path, size, source_fps)
        if not tracks.visible.any():
            raise ValueError("no point is ever visible on the canvas; is its size right?")
    except OSError as error:
        raise ValueError(f"cannot read {error.filename or path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if fps is not None and fps != tracks.fps:
        tracks = resampled(tracks, fps)
    if num_frames is None:
        return tracks
    return tracks.slice_frames(0, min(num_frames, tracks.num_frames)).pad_frames(num_frames, "hold")


def save_any_tracks(path: str | Path, tracks: Tracks, *, form: str | None = None) -> Tracks:
    """Write tracks in any of the forms; None takes the one usual for the suffix (.npz and .json: ours).

    ATI always holds 121 frames at 24 per second: other rates are resampled, longer tracks are cut, shorter ones let go.

    Returns:
        The tracks as they were written.

    Raises:
        ValueError: a form that does not fit the suffix, more than one sample where the form holds one, nothing visible.
    """
    path = Path(path)
    usual = {".json": "motionstream", ".npz": "motionstream", ".pth": "ati", ".npy": "wan-move"}
    suffix = path.suffix.lower()
    if suffix not in usual:
        raise ValueError(f"{path.name!r} must end in {', '.join(SUFFIXES)} to hold tracks")
    form = _check_form(form or usual[suffix])
    allowed = {"motionstream": (".json", ".npz"), "tapvid": (".npz",), "cotracker": (".npz",), "ati": (".pth",)}
    if suffix not in allowed.get(form, (".npy",)):
        raise ValueError(f"{path.name!r} must end in {' or '.join(allowed.get(form, ('.npy',)))} to hold {form} tracks")
    if form == "motionstream":
        save_tracks(path, tracks)
        return tracks
    if not tracks.visible.any():
        raise ValueError(f"cannot save to {path}: no point of these tracks is ever visible")
    if form != "cotracker" and tracks.batch != 1:
        raise ValueError(f"{form} files hold one sample, but these tracks have {tracks.batch}; save them as .npz")
    tracks = tracks.to("cpu")
    if form == "wan-move":
        xy, visibility = to_cotracker(tracks)
        partner = visibility_path(path)
        _write(partner, lambda file: np.save(file, visibility, allow_pickle=False))
        _write(path, lambda file: np.save(file, xy, allow_pickle=False))
        return tracks
    if form == "ati":
        tracks = _for_ati(tracks)
        if not tracks.visible.any():
            raise ValueError(
                f"cannot save to {path}: an ATI file holds {ATI_FRAMES} frames at {ATI_FPS:g} per second, and no point is "
                "visible in them"
            )
        _write(path, lambda file: torch.save(_ati_bytes(tracks), file))
        return tracks
    H, W = tracks.size
    header: dict[str, Any] = {"width": W, "height": H, "fps": tracks.fps}
    arrays: dict[str, Any] = _tapvid_arrays(tracks) if form == "tapvid" else _cotracker_arrays(tracks)
    _write(path, lambda file: np.savez_compressed(file, **arrays, **header))
    return tracks


def from_cotracker(tracks: Any, visibility: Any, *, size: Size, fps: float) -> Tracks:
    """CoTracker's arrays -> tracks: (B, T, N, 2) pixels whose centres count as whole numbers, and (B, T, N[, 1])."""
    xy = torch.as_tensor(np.asarray(tracks), dtype=torch.float32, device="cpu")
    if xy.ndim != 4 or xy.shape[-1] != 2:
        raise ValueError(f"tracks must have the shape (B, T, N, 2), got {tuple(xy.shape)}")
    B, T, N, _ = xy.shape
    seen = np.asarray(visibility)
    if seen.shape not in ((B, T, N), (B, T, N, 1)):
        raise ValueError(f"visibility must have the shape {(B, T, N)} like the tracks, got {seen.shape}")
    visible = torch.from_numpy(seen.reshape(B, T, N) > 0.5)
    ids = torch.arange(N, device="cpu").expand(B, N).contiguous()
    return Tracks(xy=xy + HALF_PIXEL, visible=visible, ids=ids, size=size, fps=fps)


def to_cotracker(tracks: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """Tracks -> CoTracker's arrays, (B, T, N, 2) float32 with pixel centres at 0 and (B, T, N) bool."""
    return (tracks.xy - HALF_PIXEL).numpy(), tracks.visible.numpy()


def visibility_path(path: Path) -> Path:
    """The partner of a Wan-Move file: ``a_tracks.npy`` -> ``a_visibility.npy``, ``a.npy`` -> ``a_visibility.npy``."""
    return path.with_name(f"{path.stem.removesuffix('_tracks')}_visibility.npy")


def files_of(path: str | Path) -> tuple[Path, ...]:
    """The files that hold tracks of this name: itself, and with a ``.npy`` of Wan-Move its partner."""
    path = Path(path)
    return (path, visibility_path(path)) if path.suffix.lower() == ".npy" else (path,)


# ---- reading -----------------------------------------------------------------------------------------------------


def _read_tapvid(path: Path, size: Size | None, fps: float | None) -> Tracks:
    arrays = _load_npz(path)
    points, occluded = _numbers(arrays, "points"), _numbers(arrays, "occluded")
    (H, W), rate = _header(arrays, size, fps)
    if points.ndim != 3 or points.shape[-1] != 2 or occluded.shape != points.shape[:2]:
        raise ValueError(f"points must be (N, T, 2) and occluded (N, T), got {points.shape} and {occluded.shape}")
    largest = np.abs(points[occluded == 0]).max(initial=0.0)
    if largest > 2:  # pixels would silently end up far outside
        raise ValueError(
            f"points must be fractions of the picture in [0, 1], got {largest:g}; divide them by width and height"
        )
    return Tracks.from_tapvid(points * np.array([W, H]), occluded > 0.5, size=(H, W), fps=rate)


def _read_cotracker(path: Path, size: Size | None, fps: float | None) -> Tracks:
    arrays = _load_npz(path)
    (H, W), rate = _header(arrays, size, fps)
    return from_cotracker(_numbers(arrays, "tracks"), _numbers(arrays, "visibility"), size=(H, W), fps=rate)


def _read_wan_move(path: Path, size: Size | None, fps: float | None) -> Tracks:
    partner = visibility_path(path)
    xy = _load_npy(path.read_bytes())
    visibility = _load_npy(partner.read_bytes()) if partner.is_file() else np.ones(xy.shape[:-1], bool)
    return from_cotracker(xy, visibility, size=size or WAN_MOVE_SIZE, fps=fps or WAN_MOVE_FPS)


def _read_ati(path: Path, size: Size | None, fps: float | None) -> Tracks:
    _check_said(None, ATI_FPS, None, fps)
    if size is None:
        raise ValueError(
            "an ATI file does not say its canvas; give the size of the picture that the tracks were drawn on (--canvas WxH)"
        )
    payload = path.read_bytes()
    try:
        packed = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and hostile files raise almost anything
        raise ValueError(
            f"not readable as an ATI file ({type(error).__name__}): it must hold bytes and nothing else"
        ) from error
    if not isinstance(packed, bytes):
        raise ValueError(f"an ATI file must hold the bytes of an npz, got a {type(packed).__name__}")
    array = _numbers(_load_npz(io.BytesIO(packed)), "array").astype(np.float32) / ATI_FACTOR
    if array.ndim != 4 or array.shape[-1] not in (3, 4) or ATI_FRAMES not in array.shape[:2]:
        raise ValueError(f"array must have the shape (N, {ATI_FRAMES}, 1, 3), got {array.shape}")
    if array.shape[1] == ATI_FRAMES:  # as ATI's own reader decides
        array = array.swapaxes(0, 1)
    flat = array.reshape(ATI_FRAMES, -1, array.shape[-1])
    return Tracks.from_points(flat[..., :2], visible=flat[..., 2] > 0.5, size=size, fps=ATI_FPS)


def _load_npz(source: Path | io.BytesIO) -> dict[str, np.ndarray]:
    payload = source.read_bytes() if isinstance(source, Path) else source.getvalue()
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_BYTES:
                raise ValueError(f"it unpacks to {unpacked / 2**20:.0f} MiB, above {MAX_BYTES // 2**20}")
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except DAMAGED as error:
        raise ValueError(f"not readable as NPZ ({error}); check the file") from error


def _load_npy(payload: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(payload), allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(f"not readable as NPY ({error}); check the file") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ValueError("an NPY of tracks must hold one array of numbers")
    return array


def _numbers(arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise ValueError(f"the array {key!r} is missing; there are {', '.join(sorted(arrays)) or 'none'}")
    if arrays[key].dtype.kind not in "fiub":
        raise ValueError(f"the array {key!r} must hold numbers, got {arrays[key].dtype}")
    return arrays[key]


def _header(arrays: dict[str, np.ndarray], size: Size | None, fps: float | None) -> tuple[Size, float]:
    """Canvas and frame rate as the file says, else as given."""
    says_size = "width" in arrays and "height" in arrays
    said_size = (int(_single(arrays, "height")), int(_single(arrays, "width"))) if says_size else None
    said_fps = _single(arrays, "fps") if "fps" in arrays else None
    _check_said(said_size, said_fps, size, fps)
    size, fps = said_size or size, fps if said_fps is None else said_fps
    if size is None:
        raise ValueError("the file does not say its canvas; give its size (--canvas WxH)")
    return size, fps or DEFAULT_FPS


def _check_said(said_size: Size | None, said_fps: float | None, size: Size | None, fps: float | None) -> None:
    """Refuse what is given otherwise than a file says it (ValueError)."""
    if said_size is not None and size not in (None, said_size):
        assert size is not None
        raise ValueError(
            f"its canvas is {said_size[1]}x{said_size[0]}, not {size[1]}x{size[0]}: leave size (--canvas) out, and scale "
            "the tracks (resize, --size)"
        )
    if said_fps is not None and fps is not None and not math.isclose(said_fps, fps, rel_tol=1e-4):  # files round it
        raise ValueError(
            f"it has {said_fps:g} frames a second, not {fps:g}: leave source_fps (--source-fps) out, and "
            "resample (fps, --fps)"
        )


def _single(arrays: dict[str, np.ndarray], key: str) -> float:
    found = _numbers(arrays, key)
    if found.size != 1:
        raise ValueError(f"the array {key!r} must be a single number, got {found.size} of them")
    return float(found.item())


# ---- writing -----------------------------------------------------------------------------------------------------


def _tapvid_arrays(tracks: Tracks) -> dict[str, np.ndarray]:
    arrays = tracks.to_tapvid()
    H, W = tracks.size
    points = arrays["target_points"][0].numpy() / np.array([W, H], np.float32)
    return {"points": points, "occluded": arrays["occluded"][0].numpy(), "query_points": arrays["query_points"][0].numpy()}


def _cotracker_arrays(tracks: Tracks) -> dict[str, np.ndarray]:
    xy, visibility = to_cotracker(tracks)
    return {"tracks": xy, "visibility": visibility}


def _for_ati(tracks: Tracks) -> Tracks:
    if tracks.fps != ATI_FPS:
        tracks = tracks.resample(fps=ATI_FPS)
    return tracks.slice_frames(0, min(tracks.num_frames, ATI_FRAMES)).pad_frames(ATI_FRAMES, "release")


def _ati_bytes(tracks: Tracks) -> bytes:
    shown = torch.cat([tracks.xy[0], tracks.visible[0, ..., None].float()], dim=-1)  # (121, N, 3)
    array = shown.transpose(0, 1)[:, :, None].contiguous().numpy() * np.float32(ATI_FACTOR)  # (N, 121, 1, 3)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array=array)
    return buffer.getvalue()


def _check_form(form: str) -> str:
    if form not in FORMS:
        raise ValueError(f"unknown form of tracks {form!r}: use one of {', '.join(FORMS)}")
    return form


def _write(path: Path, save: Callable[[Any], None]) -> None:
    with said_if_unwritable(path), replacing(path) as unfinished, unfinished.open("wb") as file:
        save(file)
