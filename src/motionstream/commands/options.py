"""What several verbs share on the command line: argument types, device options, and notes on stderr."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from motionstream.shapes import MAX_SIDE_PX

if TYPE_CHECKING:
    from motionstream.media.video import VideoWriter


def whole_number(smallest: int, largest: int) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds, both included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = smallest - 1
        if not smallest <= value <= largest:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {smallest} to {largest}")
        return value

    return parse


def positive_number(text: str) -> float:
    """An argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0, below a billion")
    return value


def canvas_size(text: str) -> tuple[int, int]:
    """An argparse type: ``WIDTHxHEIGHT`` in pixels -> (H, W).

    >>> canvas_size("832x480")
    (480, 832)
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and all(1 <= int(side) <= MAX_SIDE_PX for side in (width, height))):
        raise argparse.ArgumentTypeError(f"{text!r} must be WIDTHxHEIGHT in pixels, such as 832x480")
    return int(height), int(width)


MOST_STEPS = 8
"""Of ``--steps``: what `motionstream.flow.schedule.few_step_sigmas` makes at most (importing it would import torch)."""
SIZE_WORDS = "pixels of the video (default: the model's)"


def size_argument(parser: argparse.ArgumentParser, what: str = SIZE_WORDS) -> None:
    """Add ``--size`` with ``what`` as its help: (H, W), or None."""
    parser.add_argument("--size", type=canvas_size, metavar="WxH", help=what)


def fp8_argument(parser: argparse._ActionsContainer, what: str) -> None:
    """Add ``--fp8 [early|all]`` with ``what`` as its help: a form of ``ComputePath.fp8``, "early" where none is named."""
    parser.add_argument("--fp8", nargs="?", const="early", type=fp8_form, metavar="early|all", help=what)


def fp8_form(text: str) -> str:
    """An argparse type: "early" or "all"."""
    if text not in ("early", "all"):
        raise argparse.ArgumentTypeError(f"{text!r} is no form of it: write --fp8 early or --fp8 all before what follows")
    return text


def device_arguments(parser: argparse.ArgumentParser, usual_dtype: str = "what is fast there") -> None:
    """Add ``--device`` and ``--dtype`` (default: ``usual_dtype``), as `motionstream.device.choose_compute` takes them."""
    parser.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    parser.add_argument("--dtype", metavar="D", help=f"float32, bfloat16 or float16 (default: {usual_dtype})")


def say(note: str) -> None:
    """Tell the user something on stderr; stdout is for results."""
    print(note, file=sys.stderr, flush=True)


@contextlib.contextmanager
def tell_kept(video: VideoWriter) -> Iterator[None]:
    """Around ``with video``: after an error or Ctrl-C say where the frames made so far are."""
    try:
        yield
    except BaseException:
        if video.kept is not None:
            say(f"the {video.num_frames} frames made so far are in {video.kept}")
        raise
