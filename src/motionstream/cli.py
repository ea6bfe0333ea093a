"""The ``motionstream`` command: a table of verbs, each a module with ``add_arguments(parser)`` and ``run(args)``.

A verb's module is imported when the verb is used, and imports what is heavy only in ``run``, so every ``--help`` is
instant. A user's mistake becomes one sentence on stderr and exit code 2; ``MOTIONSTREAM_DEBUG=1`` shows the traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TextIO

from motionstream.errors import UserError, sentence_of

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("motionstream.commands.demo", "the studio in the browser: draw on a video while it is made"),
    "replay": ("motionstream.commands.replay", "a take recorded in the studio becomes a video"),
    "generate": ("motionstream.commands.generate", "a picture, a prompt and tracks become a video"),
    "camera": ("motionstream.commands.camera", "move the camera through one picture"),
    "edit": ("motionstream.commands.edit", "drag something in a picture to another place"),
    "track": ("motionstream.commands.track", "a video becomes a tracks file"),
    "transfer": ("motionstream.commands.transfer", "the motion of a clip drives another picture"),
    "tracks": ("motionstream.commands.tracks", "draw, describe or convert a tracks file"),
    "info": ("motionstream.commands.info", "device and why, sizes, parameters, memory of a preset"),
    "train": ("motionstream.commands.train", "train one stage of a model"),
    "convert": ("motionstream.commands.convert", "checkpoints of Wan and its family to ours, and back"),
    "eval": ("motionstream.commands.eval", "measure how well motion is followed"),
    "bench": ("motionstream.commands.bench", "speed and memory of streaming"),
}
EXAMPLE = """\
this works on a laptop without a GPU:
  motionstream generate examples/demo.jpg --prompt "a dahlia" --tracks examples/demo_drag.json -o demo.mp4
"""
USER_ERROR, INTERRUPTED, TERMINATED = 2, 130, 143
SPIN_COUNT = "5000"
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""What OpenMP reads about how long a thread spins before it sleeps; a user's own setting wins."""


class Parser(argparse.ArgumentParser):
    """Says a usage error in one sentence; `main` prints it."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):  # argparse takes -9,40 for an option
            message += " (one that begins with a minus after =, such as --to=-9,40)"
        raise UserError(f"{message}; see {self.prog} --help")


class ShowVersion(argparse.Action):
    """``--version``, looked up only when asked for."""

    def __call__(self, *_: Any) -> NoReturn:
        import motionstream

        print(f"motionstream {motionstream.__version__}")
        raise SystemExit(0)


def build_parser(verb: str | None = None) -> Parser:
    """The parser of all verbs; only the named one's module is imported and given its arguments."""
    parser = Parser(
        prog="motionstream",
        description="Draw where things go, and the video follows: an open implementation of MotionStream.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for name, (module, line) in VERBS.items():
        form = argparse.RawDescriptionHelpFormatter
        child = verbs.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".", formatter_class=form)
        if name == verb:
            command = _load_verb(name, module)
            child.epilog = getattr(command, "EPILOG", None)  # an example to copy, where the verb has one
            command.add_arguments(child)
            child.set_defaults(run=command.run)
    return parser


def _load_verb(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UserError(f"the verb {name!r} is not part of this release; see motionstream --help") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, 2 for a user's mistake, 130 after Ctrl-C."""
    if sys.stderr is None:  # closed by whoever started us: what is said there is lost, and what was asked for is done
        sys.stderr = open(os.devnull, "w")
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    _share_cores()
    with warnings.catch_warnings(), _clean_stop():
        warnings.showwarning = _show_warning
        try:
            args, unknown = build_parser(verb).parse_known_args(arguments)
            if unknown:
                raise UserError(f"unrecognized arguments: {' '.join(unknown)}; see motionstream {args.verb} --help")
            return int(args.run(args))
        except KeyboardInterrupt:
            print("motionstream: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # the reader of our output went away, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            said = sentence_of(error)
            if said is None or os.environ.get("MOTIONSTREAM_DEBUG", "") not in ("", "0"):
                raise
            print(f"motionstream: {said}", file=sys.stderr)
            return USER_ERROR


def _share_cores() -> None:
    """Let torch's threads sleep soon while they wait for each other; takes effect where torch is not loaded yet.

    GNU OpenMP spins for milliseconds. As soon as a browser or a player wants one of the cores, the spinning thread keeps
    away the very thread it waits for: on two busy cores a chunk of nano takes 12 times as long (docs/LOG.md, 2026-11-26).
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"motionstream: note: {' '.join(str(message).split())}", file=sys.stderr)


@contextlib.contextmanager
def _clean_stop() -> Iterator[None]:
    """On SIGTERM, and when the terminal is closed, leave as after an error, so that what was written so far is kept."""

    def leave(*_: Any) -> NoReturn:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield
        return
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ends = [end for end in ends if signal.getsignal(end) is not signal.SIG_IGN]  # nohup
    before = {end: signal.signal(end, leave) for end in ends}
    try:
        yield
    finally:
        for end, handler in before.items():
            signal.signal(end, handler)
