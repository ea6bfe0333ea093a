"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

_LACKS_ROOM = re.compile(r"unexpected pos \d|os error (27|28|122)\b")
"""How torch's archives and safetensors say that the disk is full, which are no errors of the system to Python."""


@contextlib.contextmanager
def replacing(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; that file takes the place of ``path`` when the block is through.

    Where the block fails it is removed, and ``path`` is what it was.

    Args:
        alone: no other process writes ``path``. The unfinished file then has one name, ``path`` with ``.partial``, so
            that one which a kill has left behind is written over; otherwise the process's number is in it.
    """
    name = f"{path.name}.partial" if alone else f".{path.name}.{os.getpid()}.unfinished"
    unfinished = path.with_name(name)
    try:
        yield unfinished
        os.replace(unfinished, path)
    except Exception as error:
        if not isinstance(error, OSError):
            if _LACKS_ROOM.search(str(error)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        if error.errno is not None and error.filename in (None, str(unfinished)):
            error.filename = str(path)  # a full disk names no file, and the unfinished one is not the user's
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def said_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a sentence about ``path``.

    Raises:
        ValueError: in place of the OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or next(iter(error.args), "")
        raise ValueError(f"cannot write {path}: {reason}; choose another place") from error
