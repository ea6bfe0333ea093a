"""Errors that are a user's to fix, and how they are said: one sentence that names the value and the fix."""

from __future__ import annotations

import errno


class UserError(ValueError):
    """A mistake in what the user gave; the message is one sentence that names the value and the fix."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Modules that only an extra installs.
EXTRA_OF_MODULE = {
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "pydantic": "serve",
    "cv2": "data",
    "skimage": "eval",
    "torchmetrics": "eval",
    "matplotlib": "eval",
    "diffusers": "wan",
    "accelerate": "wan",
    "transformers": "text",
}


def sentence_of(error: BaseException) -> str | None:
    """What to tell the user about an error, on one line; None when it is not the user's to fix."""
    if isinstance(error, ModuleNotFoundError):
        return _missing_module((error.name or "").split(".")[0])
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: choose a smaller preset or another device (--device)"
    if isinstance(error, OSError) and error.filename is not None:
        fix = "make room or choose another place" if error.errno in NO_ROOM else "check the path and its permissions"
        return f"{error.filename}: {error.strerror or ' '.join(map(str, error.args)) or type(error).__name__}; {fix}"
    if isinstance(error, OverflowError):
        return f"a number is too large to compute with ({' '.join(map(str, error.args))})"
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _missing_module(module: str) -> str | None:
    if module == "motionstream":
        return None
    extra = EXTRA_OF_MODULE.get(module)
    wanted = f"'motionstream[{extra}]'" if extra else module
    return f"the package {module} is not installed: pip install {wanted}"
