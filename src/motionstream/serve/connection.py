"""One WebSocket: hello, heartbeat, limits on what comes in, and a sender that empties the visitor's outbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from motionstream.serve import protocol
from motionstream.serve.guard import token_fits
from motionstream.serve.protocol import Error, Hello, Ping, Pong, ProtocolError
from motionstream.serve.rate import RateGate

if TYPE_CHECKING:
    from motionstream.serve.studio import Studio
    from motionstream.serve.visitor import Visitor

log = logging.getLogger(__name__)
CLOSING_SECONDS = 5.0
BETWEEN_COMPLAINTS_SECONDS = 0.5


class Close(Exception):
    """The socket is to be closed, with a code of the protocol and a reason for people."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Connection:
    """Serves one socket; the visitor behind it may outlive it.

    Args:
        admitted: whether the request itself carried the token.
    """

    def __init__(self, studio: Studio, socket: WebSocket, admitted: bool) -> None:
        self.studio, self.socket, self._admitted = studio, socket, admitted
        self.reader = 0  # of the visitor's outbox
        self._gate = RateGate(studio.limits.messages_per_second, time.monotonic())
        self._complained = -BETWEEN_COMPLAINTS_SECONDS
        self._closing: asyncio.Future[Close] = asyncio.get_running_loop().create_future()

    def end(self, code: int, reason: str) -> None:
        """Have the socket closed; from the event loop."""
        if not self._closing.done():
            self._closing.set_result(Close(code, reason))

    async def serve(self) -> None:
        """From the handshake to the end. Never raises for what the other side does."""
        await self.socket.accept()
        visitor: Visitor | None = None
        left = False
        try:
            visitor = await self._hello()
            left = await self._converse(visitor)
        except Close as close:
            await self._close(close)
        except WebSocketDisconnect as gone:
            left = gone.code == protocol.DONE
        finally:
            if visitor is not None:
                visitor.detach(self, left=left)

    async def _converse(self, visitor: Visitor) -> bool:
        """Serve until the socket ends; True when the page said goodbye (code 1000)."""
        listening = asyncio.create_task(self._listen(visitor))
        sending = asyncio.create_task(self._send(visitor))
        try:
            watched: set[asyncio.Future[Any]] = {listening, sending, self._closing}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.done():
                raise self._closing.result()
            ended = listening if listening.done() else sending
            try:
                ended.result()
            except WebSocketDisconnect as gone:
                return gone.code == protocol.DONE
            except Close:
                raise
            except Exception as error:
                log.exception("a connection met an error")
                raise Close(protocol.OURS, "the server met an error") from error
            return False
        finally:
            for task in (listening, sending):
                task.cancel()
                task.add_done_callback(lambda task: task.cancelled() or task.exception())  # heard, or of no interest now
            await asyncio.wait({listening, sending})

    # ---- in ----------------------------------------------------------------------------------------------------------

    async def _receive(self, visitor: Visitor | None = None) -> str | bytes:
        """The next message that is within the limits; ``visitor``: who is to have heard the others, too."""
        limits = self.studio.limits
        while True:
            try:
                async with asyncio.timeout(limits.heartbeat_seconds):
                    message = await self.socket.receive()
            except TimeoutError:
                reason = f"nothing was heard for {limits.heartbeat_seconds:g} seconds"
                raise Close(protocol.SILENT, reason) from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            text = message.get("text")
            if visitor is not None and text is not None and visitor.speaks_through(self):
                visitor.num_heard += 1
            if len(text or message.get("bytes") or b"") > limits.message_bytes:
                raise Close(protocol.TOO_BIG, f"a message may have {limits.message_bytes} bytes")
            now = time.monotonic()
            if not self._gate.admit(now):
                if self._gate.flooded:
                    raise Close(protocol.POLICY, "far too many messages a second")
                if now - self._complained >= BETWEEN_COMPLAINTS_SECONDS:
                    self._complained = now
                    await self._complain(
                        "too_fast", f"more than {limits.messages_per_second} messages a second: some were passed over"
                    )
                continue
            return message["bytes"] if text is None else text

    async def _complain(self, code: protocol.ErrorCode, sentence: str, *, fatal: bool = False) -> None:
        """Answer with an error, past the outbox: it belongs to this socket alone. Who does not read does not hear it."""
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(1.0):
                await self.socket.send_text(Error(code=code, message=sentence, fatal=fatal).text())

    async def _hello(self) -> Visitor:
        text = await self._receive()
        if isinstance(text, bytes):
            text = ""  # no hello
        version = _version_of(text)
        if version is not None and version != protocol.VERSION:
            reason = f"this server speaks version {protocol.VERSION} of the protocol, not {version}: reload the page"
            raise Close(protocol.OTHER_VERSION, reason)
        try:
            hello = protocol.parse(text)
            if not isinstance(hello, Hello):
                raise ProtocolError("the first message must be hello", "not_started")
        except ProtocolError as error:
            await self._complain(error.code, str(error), fatal=True)
            raise Close(protocol.POLICY, str(error)[:100]) from None
        if not self._admitted and not token_fits(self.studio.settings.token, hello.token):
            await self._complain("bad_message", "the token is missing or wrong", fatal=True)
            raise Close(protocol.POLICY, "the token is missing or wrong")
        visitor = self.studio.meet(hello.resume)
        if not visitor.attach(self, hello.have, hello.tells):
            sentence = f"{self.studio.line.num_waiting} visitors are waiting already: come back later"
            await self._complain("busy", sentence, fatal=True)
            raise Close(protocol.DONE, sentence)
        return visitor

    async def _listen(self, visitor: Visitor) -> None:
        while True:
            message: Any = None
            try:
                received = await self._receive(visitor)
                if not visitor.speaks_through(self):
                    return
                if isinstance(received, bytes):
                    visitor.see(received)
                    continue
                message = protocol.parse(received)
                if isinstance(message, Ping):
                    visitor.say(Pong(t=message.t))
                else:
                    await visitor.take_up(message)
            except ProtocolError as error:
                begun = message.id if isinstance(message, protocol.Grab | protocol.Pin | protocol.Path) else None
                visitor.say(Error(code=error.code, message=str(error), id=begun))
            if visitor.outbox.overrun:
                raise Close(protocol.POLICY, "answers pile up unread")

    # ---- out ---------------------------------------------------------------------------------------------------------

    async def _send(self, visitor: Visitor) -> None:
        while (message := await visitor.outbox.next(self.reader)) is not None:
            try:
                if isinstance(message, str):
                    await self.socket.send_text(message)
                else:
                    await self.socket.send_bytes(message)
            except RuntimeError as error:  # it was closed meanwhile
                raise WebSocketDisconnect(1006) from error

    async def _close(self, close: Close) -> None:
        if self.socket.application_state is not WebSocketState.CONNECTED:
            return
        # A client that does not read could hold this up; then the server drops the connection when the task ends.
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self.socket.close(close.code, close.reason.encode()[:120].decode(errors="ignore"))


def _version_of(text: str) -> int | None:
    """The protocol's version in a hello, read before anything else of it is judged."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    version = message.get("v") if isinstance(message, dict) and message.get("kind") == "hello" else None
    return version if isinstance(version, int) and not isinstance(version, bool) else None
