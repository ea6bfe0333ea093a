"""``motionstream demo``: the studio in the browser; draw on a video while it is being made (docs/studio.md)."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import webbrowser
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionstream.commands.options import device_arguments, say, whole_number
from motionstream.commands.streaming import check_fp8, load_options, wan_arguments, weights_named
from motionstream.errors import UserError

if TYPE_CHECKING:
    from motionstream.config import PresetConfig

EPILOG = """\
examples:
  motionstream demo                              the bundled model, in your browser
  motionstream demo --host 0.0.0.0               for other machines; the address printed holds a token
  ssh -t -L 7860:localhost:7860 HOST motionstream demo --no-browser
"""
DEBUG_PRESET = "tiny-debug"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", help="the model (default: that of --weights, else nano)")
    parser.add_argument("--weights", metavar="DIR", help="a folder with a model's weights and its config.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=whole_number(0, 65535), default=7860, metavar="N", help="default: 7860; 0 = any")
    parser.add_argument("--token", metavar="T", help="what visitors must know (made up if others can reach the server)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--takes", metavar="DIR", help="keep takes and pictures there (default: until the server stops)")
    parser.add_argument("--depth-model", metavar="DIR", help="a folder with a depth model for transformers, for the camera")
    device_arguments(parser)
    wan_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import secrets

    presets, load = _models(args)
    from motionstream.serve.app import create_app
    from motionstream.serve.launch import addresses, is_local, listen, names_of, server_of
    from motionstream.serve.limits import LOCAL_HOSTS, Settings

    folder = _takes_folder(args.takes)
    depth_model = _depth_model(args.depth_model)
    with listen(args.host, args.port) as bound:
        token = args.token or (None if is_local(bound) else secrets.token_urlsafe(12))
        hosts = (*LOCAL_HOSTS, *names_of(args.host, bound)) if token is None else None
        settings = Settings(presets=presets, token=token, hosts=hosts, folder=folder, depth_model=depth_model)
        app = create_app(load, settings, note=say)
        server = server_of(app, settings.limits)
        ready: Future[None] = app.state.studio.worker.ready
        urls = addresses(bound, token)

        def announce(loaded: Future[None]) -> None:
            if loaded.exception() is not None:
                server.should_exit = True
                return
            while not server.started and not server.should_exit:
                time.sleep(0.01)
            _announce(urls, args.no_browser)

        ready.add_done_callback(lambda loaded: threading.Thread(target=announce, args=(loaded,), daemon=True).start())
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            pass
    error = ready.exception(timeout=0) if ready.done() else None
    if error is not None:
        raise error
    say(f"stopped; the takes are in {folder}" if folder else "stopped")
    return 0


def _models(args: argparse.Namespace) -> tuple[tuple[PresetConfig, ...], Any]:
    """The models that can be played here, the one asked for first; and what loads one of them by name."""
    from motionstream.presets import PRESETS
    from motionstream.stream.engine import load_engine
    from motionstream.stream.find_weights import find_config

    asked, options = weights_named(args), load_options(args)
    # Says what is wrong with it before anything is started.
    first = find_config(asked, preset=options.get("preset"), size=options.get("size"))[0]
    check_fp8(args, first)
    if not first.model.tracks.channels:
        raise UserError(f"{first.name} has no track channels, which the studio needs: use motionstream generate")
    rest = []
    if args.weights is None:
        for name in PRESETS:
            if name not in (asked, DEBUG_PRESET):
                try:
                    rest.append(find_config(name)[0])
                except ValueError:
                    continue  # its weights are not here

    def load(name: str) -> Any:
        more = options if name == first.name else {}
        return load_engine(asked if name == first.name else name, device=args.device, dtype=args.dtype, **more)

    return (first, *rest), load


def _takes_folder(text: str | None) -> Path | None:
    if text is None:
        return None
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--takes {text!r} cannot be used: {error.strerror}; name another folder") from error
    return folder.resolve()


def _depth_model(text: str | None) -> Path | None:
    if text is None:
        return None
    folder = Path(text)
    if not (folder / "config.json").is_file():
        raise UserError(f"--depth-model {text!r} holds no config.json: give a folder with a depth model for transformers")
    return folder.resolve()


def _announce(urls: list[str], no_browser: bool) -> None:
    """Print the addresses, and open the first one where there is a display."""
    say("")
    say(f"  the studio is at   {urls[0]}")
    for url in urls[1:]:
        say(f"  from elsewhere     {url}")
    say("  Ctrl-C stops it")
    if no_browser or not has_display():
        return
    try:
        opened = webbrowser.open(urls[0])
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        say("no browser was found: open the address above")


def has_display() -> bool:
    """Whether a browser could show anything here; without a display some would open in the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
