"""Who may ask, and what a browser may do with the answer: names in the Host header, origins, the token, and headers.

Pure ASGI, so that it stands before WebSockets as well. The page and its parts, the bundled pictures and ``/health`` are
open; everything below ``/api`` needs the token, and a WebSocket may also say it in its first message.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motionstream.serve.limits import Settings

SECURITY_HEADERS = {
    # The page loads nothing from anywhere else; blob: is for pictures and videos that it makes itself.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_READING = ("GET", "HEAD", "OPTIONS")


def token_fits(wanted: str | None, given: str | None) -> bool:
    """Whether the token is right, in a time that does not tell how much of it is."""
    if wanted is None:
        return True
    return given is not None and secrets.compare_digest(wanted.encode(), given.encode(errors="replace"))


def token_of(scope: Scope) -> str | None:
    """The token that a request carries: ``Authorization: Bearer ...`` or ``?token=...``."""
    kind, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [None])[0]


def host_known(host: str, names: Iterable[str] | None) -> bool:
    """Whether a Host header names this server.

    >>> host_known("localhost:7860", ("localhost", "[::1]")), host_known("[::1]:80", ("[::1]",))
    (True, True)
    >>> host_known("here:80", ("Here",)), host_known("elsewhere.example", ("localhost",))
    (True, False)
    """
    if names is None:
        return True
    bare = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return any(bare.lower() == name.lower() for name in names)


def same_origin(headers: Headers) -> bool:
    """Whether a request came from this server's own page, or from no page at all."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


class Guard:
    """ASGI middleware. Leaves ``scope["state"]["admitted"]``: whether the request carried the token."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = token_of(scope)
        admitted = token_fits(self.settings.token, token)
        scope.setdefault("state", {})["admitted"] = admitted
        refusal: tuple[int, str] | None = None
        if not host_known(headers.get("host", ""), self.settings.hosts):
            refusal = 403, f"this server does not answer to {headers.get('host', '')[:100]!r}: start it with --token"
        elif not same_origin(headers) and (scope["type"] == "websocket" or scope["method"] not in _READING):
            refusal = 403, "a page of another site may not do this"
        elif scope["type"] == "http" and scope["path"].startswith("/api/") and not admitted:
            refusal = (401, "this server needs a token") if token is None else (403, "the token is wrong")
        if refusal is None:
            await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return sent
