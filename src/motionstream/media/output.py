"""Whether a file can be written, asked before anything is computed for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from motionstream.errors import UserError

LONGEST_NAME = 200
"""Bytes: file systems take 255, and an unfinished file has a longer name than it will have in the end."""


def check_output(
    path: str | Path, suffixes: tuple[str, ...] = (".mp4",), *, inputs: Iterable[str | Path | None] = ()
) -> Path:
    """Make sure that a file can be written at ``path``, before anything is computed for it.

    Args:
        inputs: files that are read for it (None = not given), and must not be lost.

    Raises:
        UserError: one of ``inputs``.
        ValueError: another suffix, too long a name, a folder that does not exist or cannot be written, or a folder of
            that name.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"output {str(path)!r} must end in {' or '.join(suffixes)}")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ValueError(f"the name of output {path.name[:40]}... is longer than {LONGEST_NAME} bytes; choose a shorter one")
    if path.is_dir():
        raise ValueError(f"output {str(path)!r} is a folder; name a file in it")
    if path.parent.is_file():
        raise ValueError(f"the folder of output {str(path)!r} is a file; choose another output")
    if not path.parent.is_dir():
        raise ValueError(f"the folder of output {str(path)!r} does not exist; create {str(path.parent)!r} first")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(
            f"cannot write into the folder {str(path.parent)!r} ({error.strerror or error}); choose another output"
        ) from error
    for given in inputs:
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise UserError(f"output {str(path)!r} is also what is read, which would be lost: choose another name")
    return path
