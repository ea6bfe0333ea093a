"""One thread at a time: what changes a session waits until another thread's call has ended."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from motionstream.device import apart_from_host

Given = ParamSpec("Given")
Made = TypeVar("Made")


class HasTurn(Protocol):
    """``turn``: re-entrant, for such methods call each other."""

    turn: threading.RLock


Whose = TypeVar("Whose", bound=HasTurn)


def alone(method: Callable[Concatenate[Whose, Given], Made]) -> Callable[Concatenate[Whose, Given], Made]:
    """``method``, which begins when no other method marked so is running on the same object in another thread.

    Every such method is kept apart from the host program's default device (:func:`~motionstream.device.apart_from_host`).
    """

    @functools.wraps(method)
    @apart_from_host
    def when_free(self: Whose, /, *args: Given.args, **kwargs: Given.kwargs) -> Made:
        with self.turn:
            return method(self, *args, **kwargs)

    return when_free
