"""The paper's data sets as folders of the user's: what must be where, what is there, and whether it is all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from motionstream.errors import UserError
from motionstream.eval.clip_cases import VIDEO_SUFFIXES, Clip, ClipCases, picture_files, read_prompts
from motionstream.shapes import VideoGeometry

PAPER_SIZE, PAPER_GRID, PAPER_FRAMES = (480, 832), (50, 50), 81
DAVIS_EXPECTED, SORA_EXPECTED = 30, 20
CHECKSUMS = "SHA256SUMS"
TREES = {
    "davis": """\
DAVIS/                         the 480p release of DAVIS 2017 (trainval)
  ImageSets/2017/val.txt       30 names
  JPEGImages/480p/blackswan/00000.jpg ...
  prompts.json                 optional: {"blackswan": "a black swan ...", ...}
  SHA256SUMS                   optional: lines of sha256sum, checked when there""",
    "sora": """\
sora/                          the paper's 20 demo clips (it does not list them); mp4, webm, mov, mkv
  NAME.mp4 ...
  prompts.json                 optional: {"NAME": "the clip's prompt", ...}
  SHA256SUMS                   optional: lines of sha256sum, checked when there""",
    "llff": """\
llff/                          nerf_llff_data: fern flower fortress horns leaves orchids room trex
  fern/images/IMG_4026.JPG ... or images_4/
  fern/sparse/0/cameras.bin images.bin points3D.bin      COLMAP's model
  fern/depth/IMG_4026.npy      depth of the first view, unless --depth-model FOLDER estimates it""",
}


def missing(suite: str, why: str) -> UserError:
    """The error for data that is not there: the reason, and the tree that is expected."""
    lines = "; ".join(line.strip() for line in TREES[suite].splitlines())
    return UserError(f"{why}; suite {suite!r} expects --data with this tree: {lines} (docs/evaluation.md)")


def no_folder(suite: str, folder: Path | None) -> UserError:
    """The error for a folder that was not named or is not there."""
    why = f"the folder {str(folder)!r} does not exist" if folder else f"suite {suite!r} needs --data FOLDER"
    return missing(suite, why)


def davis_cases(folder: Path | None, geometry: VideoGeometry, grid: tuple[int, int], frames: int, tracker: str) -> ClipCases:
    """DAVIS 2017 validation: every clip's first frames, the whole picture, measured at 832x480.

    Raises:
        UserError: no such folder, no list of names, or none of the clips.
    """
    if folder is None or not folder.is_dir():
        raise no_folder("davis", folder)
    listed = folder / "ImageSets" / "2017" / "val.txt"
    if not listed.is_file():
        raise missing("davis", f"{listed} does not exist")
    names = listed.read_text(encoding="utf-8").split()
    check_sums(folder)
    pictures, prompts = folder / "JPEGImages" / "480p", read_prompts(folder)
    found = [name for name in names if (pictures / name).is_dir() and picture_files(pictures / name)]
    if not found:
        raise missing("davis", f"{pictures} holds none of the {len(names)} clips of {listed.name}")
    clips = [Clip(name, pictures / name, prompts.get(name, "")) for name in found]
    notes = _absent([name for name in names if name not in found])
    return _paper_cases("davis", clips, geometry, grid, frames, tracker, DAVIS_EXPECTED, notes)


def sora_cases(folder: Path | None, geometry: VideoGeometry, grid: tuple[int, int], frames: int, tracker: str) -> ClipCases:
    """The paper's second set: 20 clips, the whole picture, every frame, measured at 832x480.

    Raises:
        UserError: no such folder, or no video in it.
    """
    if folder is None or not folder.is_dir():
        raise no_folder("sora", folder)
    check_sums(folder)
    prompts = read_prompts(folder)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise missing("sora", f"{folder} holds no video")
    clips = [Clip(path.stem, path, prompts.get(path.stem, "")) for path in files]
    notes = ["The paper does not list its 20 clips: figures are comparable with it only on the same ones."]
    return _paper_cases("sora", clips, geometry, grid, frames, tracker, SORA_EXPECTED, notes)


def _paper_cases(
    suite: str,
    clips: list[Clip],
    geometry: VideoGeometry,
    grid: tuple[int, int],
    frames: int,
    tracker: str,
    expected: int,
    notes: list[str],
) -> ClipCases:
    if tracker != "cotracker":
        notes = [*notes, f"Tracks come from the tracker {tracker!r}; the paper used CoTracker3 for input and output."]
    if grid != PAPER_GRID:
        notes = [*notes, f"A grid of {grid[0]}x{grid[1]} points; the paper used 50x50."]
    if (geometry.height, geometry.width) != PAPER_SIZE:
        notes = [*notes, f"The model works at {geometry.width}x{geometry.height}; its output is enlarged to 832x480."]
    return ClipCases(
        suite, clips, geometry, max_frames=frames, grid=grid, expected=expected, metric_size=PAPER_SIZE, whole=True,
        tracker=tracker, notes=notes,
    )  # fmt: skip


def _absent(names: list[str]) -> list[str]:
    return [f"{len(names)} clips are missing: {', '.join(names)}."] if names else []


def check_sums(folder: Path) -> int:
    """Check the files that ``SHA256SUMS`` of a folder lists; how many, 0 without that file.

    Raises:
        UserError: a file that is missing or differs, or a line that is not one of sha256sum's.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        return 0
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for line in lines:
        wanted, _, name = line.partition(" ")
        name = name.strip().removeprefix("*")
        file = folder / name
        if len(wanted) != 64 or not name:
            raise UserError(f"{path}: {line!r:.60} is not a line of sha256sum; make the file again")
        if not file.is_file():
            raise UserError(f"{file} is listed in {path.name} and missing: complete the folder, or remove the line")
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != wanted.lower():
                raise UserError(f"{file} differs from {path.name}: download it again")
    return len(lines)
