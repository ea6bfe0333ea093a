"""The files that make up the project, as git sees them: tracked, or new and not ignored."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED_FOLDERS = {".git", ".venv", "out", "build", "dist", "checkpoints", "__pycache__", "work"}


def project_files() -> list[Path]:
    """All project files, sorted; walks the folders where there is no git (an unpacked archive)."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        files = [ROOT / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        files = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not name.endswith("_cache")]
            files += [Path(folder) / name for name in names]
    return sorted({path for path in files if path.is_file() and not path.is_symlink()})


def text_of(path: Path) -> str | None:
    """The file's text, or None when it is binary."""
    content = path.read_bytes()
    if b"\0" in content[:8192]:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None
