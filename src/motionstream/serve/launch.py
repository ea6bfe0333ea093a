"""From an application to a running server: the port, the addresses to print, and uvicorn's settings."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from motionstream.errors import UserError
from motionstream.serve.limits import Limits

PORTS_TRIED = 50
STOPPING_SECONDS = 2


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to ``host`` and ``port`` (0 = any free one).

    Raises:
        UserError: the port is in use (another one is suggested) or not allowed, or the host is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"--host {host!r} is not known here: use 127.0.0.1, or 0.0.0.0 for every interface") from error
    family, address = found[0][0], found[0][4]
    try:
        return _bound(family, address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} on {host} is in use{_suggestion(family, address)}") from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} is not allowed here: use one above 1023, such as --port 7860") from error
        raise UserError(f"cannot listen on {host}: {error.strerror}; use --host 127.0.0.1") from error


def _bound(family: int, address: tuple) -> socket.socket:  # type: ignore[type-arg]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        # Listening takes the port for good: two servers may bind the same one before either listens.
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _suggestion(family: int, address: tuple) -> str:  # type: ignore[type-arg]
    """The next free port, as words."""
    for port in range(address[1] + 1, min(address[1] + 1 + PORTS_TRIED, 65536)):
        with contextlib.suppress(OSError):
            _bound(family, (address[0], port, *address[2:])).close()
            return f": try --port {port}"
    return ": choose another with --port"


def is_local(bound: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(bound.getsockname()[0].split("%")[0]).is_loopback


def names_of(host: str, bound: socket.socket) -> tuple[str, ...]:
    """What a Host header may say for a server that was asked to listen on ``host``: that, or the number it stands for.

    It is the number that `addresses` prints: ``127.2`` is short for 127.0.0.2.
    """
    names = dict.fromkeys((host, bound.getsockname()[0].split("%")[0]))
    return (*names, *(f"[{name}]" for name in names if ":" in name))


def addresses(bound: socket.socket, token: str | None) -> list[str]:
    """Where a browser finds the page: on this machine first, then from elsewhere if it can be reached from there."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host.split("%")[0]).is_unspecified:
        names = ["127.0.0.1", socket.gethostname()]
    else:
        names = [f"[{host}]" if ":" in host else host]
    query = f"?token={quote(token, safe='')}" if token is not None else ""
    return [f"http://{name}:{port}/{query}" for name in names]


def server_of(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """A server for ``app``; ``server.run(sockets=[...])`` serves until Ctrl-C.

    JPEGs do not compress, the protocol has its own heartbeat, and addresses may hold a token, so they are not logged.
    """
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=STOPPING_SECONDS,
    )
    return uvicorn.Server(config)
