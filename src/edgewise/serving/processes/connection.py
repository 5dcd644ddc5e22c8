"""uvicorn's HTTP/1.1 connection with the bounds that it leaves open.

uvicorn's httptools parser keeps a request line and header fields of any length, those behind a
body in chunks too; it waits for them for ever, and forgets to time an idle connection whose last
body was refused. All of that is closed here; what it refuses itself is worded as the Open
Inference Protocol wants it.
"""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edgewise.serving.access.access import Access

MAX_HEAD_BYTES = 32_768
# The answer to a slow body must get out before the connection is closed.
_GRACE_S = 5.0
_LINGER_S = 1.0


class BoundedConnection(HttpToolsProtocol):
    """One connection; a subclass made by :func:`bounded` carries the limits."""

    access: ClassVar[Access] = Access()
    _deadline: asyncio.TimerHandle | None = None
    _in_message: bool = False
    _head_bytes: int = 0
    _body_bytes: int = 0
    _turned_away: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or turn it away when there are too many."""
        super().connection_made(transport)
        self._start_deadline()
        if len(self.connections) > self.access.max_connections:
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting what it has to remember."""
        if self.transport.is_closing() or self._turned_away:
            return
        if self._deadline is None:
            self._start_deadline()
        self._body_bytes = 0
        super().data_received(data)
        # What is not body the parser has to remember: fields may follow a body in chunks, too.
        beside_body = len(data) - self._body_bytes
        self._head_bytes = self._head_bytes + beside_body if self._in_message else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                431,
                "Request Header Fields Too Large",
                f"expected a request line and"
                f" header fields of at most {MAX_HEAD_BYTES} bytes, found more; send less",
            )

    def on_message_begin(self) -> None:
        """A request starts."""
        self._in_message = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._in_message = False
        self._stop_deadline()
        super().on_message_complete()
        if self.cycle.response_complete:
            # The answer went out before the body was in; uvicorn's own timer is off by now.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(
            400,
            "Bad Request",
            "expected an HTTP/1.1 request, found something else;"
            " send what the Open Inference Protocol describes",
        )

    def _start_deadline(self) -> None:
        seconds = self.access.body_timeout_s + _GRACE_S
        self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _turn_away(self) -> None:
        self._turned_away = True
        self._write_refusal(
            503,
            "Service Unavailable",
            "expected room for one more connection, found"
            " none; try again in a second, or answer on the device",
            "retry-after: 1\r\n",
        )
        can_linger = len(self.connections) <= 2 * self.access.max_connections
        if can_linger and self.transport.can_write_eof():
            # A request that meets a closed connection resets it, and the refusal is lost.
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _refuse(self, status: int, phrase: str, text: str) -> None:
        self._write_refusal(status, phrase, text)
        self.transport.close()

    def _write_refusal(self, status: int, phrase: str, text: str, fields: str = "") -> None:
        body = json.dumps({"error": text}).encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n{fields}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def bounded(access: Access) -> type[BoundedConnection]:
    """The connection class that keeps to ``access``.

    >>> bounded(Access(max_connections=3)).access.max_connections
    3
    """
    return type("BoundedConnection", (BoundedConnection,), {"access": access})
