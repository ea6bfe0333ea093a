"""Files that appear complete or not at all, and folders that one process writes at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there nobody is kept out
    fcntl = None  # type: ignore[assignment]

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


@contextlib.contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes that ask for the same out of ``folder``, which exists, for as long as the block runs.

    It is the system that remembers who is in, by a lock on ``.lock`` in the folder: after a kill nothing is in the way.

    Args:
        what: is done to the folder, as "being trained".

    Raises:
        ValueError: another process is in it, or it cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder / ".lock"
    with said_if_unwritable(folder):
        handle = _locked(path)
    if handle is None:
        raise ValueError(f"{folder} is {what} by another process: wait for it, or choose another folder (--out)")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int | None:
    """An open file that only this process has locked; None where another has."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # a file system without locks
            return handle
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # whoever had it removed it in the meantime


def check_folder(folder: Path) -> None:
    """Try whether ``folder`` could be written, or made; leaves nothing behind.

    Raises:
        ValueError: it could not.
    """
    folder = folder.absolute()
    with said_if_unwritable(folder):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
