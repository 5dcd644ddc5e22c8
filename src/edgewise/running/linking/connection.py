"""One HTTP/1.1 connection that another thread can cut, whatever it is waiting for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, RemoteDisconnected

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from edgewise.errors import LinkFailed
from edgewise.running.linking.credentials import tls_words
from edgewise.running.linking.exchange import Unreachable

_CHUNK_BYTES = 65_536

TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError)
FAILURES = (OSError, HTTPException, urllib3.exceptions.HTTPError)
"""What sockets, http.client and urllib3 raise when the other end or the way to it is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str]


class Connection:
    """One connection, kept alive from request to request.

    Args:
        scheme: http or https.
        host: a name or an address.
        port: ``None`` takes the scheme's own.
        tls: how https is spoken, and whose certificates are trusted.
    """

    def __init__(
        self, scheme: str, host: str, port: int | None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._http: HTTPConnection = (
            HTTPSConnection(host, port, ssl_context=tls)
            if scheme == "https"
            else HTTPConnection(host, port)
        )
        self._sock: socket.socket | None = None
        self._response: urllib3.BaseHTTPResponse | None = None
        self._lock = threading.Lock()
        self._is_cut = False

    @property
    def reusable(self) -> bool:
        """Whether another request may go over it: nothing left unread, nobody hung up."""
        return not self._is_cut and self._http.sock is not None and self._http.is_connected

    def ask(self, asked: HttpRequest, *, until_s: float) -> urllib3.BaseHTTPResponse:
        """Send a request; the response's body is still to be read.

        Args:
            asked: what to send.
            until_s: on the clock ``time.perf_counter``; no single wait goes beyond it.

        Raises:
            Unreachable: when there is no connection to be had.
            TIMEOUTS, FAILURES: when it breaks.
        """
        if self._http.sock is None:
            self._connect(until_s)
        self._http.timeout = _left_s(until_s)
        # A server may answer, and hang up, before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._http.request(
                asked.method,
                asked.path,
                body=asked.body,
                headers=asked.headers,
                preload_content=False,
                decode_content=False,
            )
        self._http.timeout = _left_s(until_s)
        self._response = self._http.getresponse()
        return self._response

    def read(
        self, response: urllib3.BaseHTTPResponse, *, limit_bytes: int, until_s: float
    ) -> bytes:
        """The whole body of a response.

        Raises:
            LinkFailed: when it is longer than ``limit_bytes``; no more than that is ever kept.
            TIMEOUTS, FAILURES: when the connection breaks.
        """
        if (response.length_remaining or 0) > limit_bytes:
            raise LinkFailed(f"the reply is longer than {limit_bytes} bytes")
        body = bytearray()
        while not response.closed:
            self._wait_until(until_s)
            body += response.read1(_CHUNK_BYTES)
            if len(body) > limit_bytes:
                raise LinkFailed(f"the reply is longer than {limit_bytes} bytes")
        return bytes(body)

    def pieces(self, response: urllib3.BaseHTTPResponse, *, stall_s: float) -> Iterator[bytes]:
        """The body of a response as it comes.

        Args:
            response: of :meth:`ask`.
            stall_s: no single wait is longer.

        Raises:
            TIMEOUTS, FAILURES: when the connection breaks.
        """
        while not response.closed:
            self._wait_until(time.perf_counter() + stall_s)
            piece = response.read1(_CHUNK_BYTES)
            if piece:
                yield piece

    def cut(self) -> None:
        """End whatever another thread is waiting for here; it closes the connection then."""
        with self._lock:
            self._is_cut = True
            if self._sock is not None:
                # Past TLS, whose own shutdown would get in that thread's way.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket; only for the thread that uses the connection."""
        with self._lock:
            if self._response is not None:
                self._response.close()  # it holds the socket as long as it is not read to its end
            self._http.close()
            if self._sock is not None:
                self._sock.close()

    def _connect(self, until_s: float) -> None:
        self._http.timeout = _left_s(until_s)
        try:
            self._http.connect()
        except urllib3.exceptions.NewConnectionError as error:
            raise Unreachable(explain(error)) from None  # although urllib3 calls it a time-out
        except TIMEOUTS:
            raise
        except FAILURES as error:
            raise Unreachable(explain(error), remedy=advise(error, is_encrypted=True)) from None
        with self._lock:
            # urllib3 forgets the socket when the server announces the end of the connection.
            self._sock = self._http.sock
            if self._is_cut:
                raise Unreachable("nobody waits any more")

    def _wait_until(self, until_s: float) -> None:
        if self._sock is not None:
            self._sock.settimeout(_left_s(until_s))


def explain(error: Exception) -> str:
    """The cause in words that a person reads.

    >>> explain(ConnectionResetError())
    'the connection broke'
    """
    if isinstance(error.__cause__, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ssl.SSLError):
        return tls_words(error)[0]
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return words
    return "the reply is not HTTP"


def advise(error: Exception, *, is_encrypted: bool) -> str:
    """What to do about a failure that waiting may not mend; empty when it may.

    >>> advise(RemoteDisconnected(), is_encrypted=False)
    'if the server speaks TLS, ask it with https://'
    """
    if isinstance(error, ssl.SSLError):
        return tls_words(error)[1]
    if isinstance(error, RemoteDisconnected) and not is_encrypted:
        return "if the server speaks TLS, ask it with https://"  # it hung up without a word
    return ""


def _left_s(until_s: float) -> float:
    left_s = until_s - time.perf_counter()
    if left_s <= 0:
        raise TimeoutError
    return left_s


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "the server's name is not known"),
    (urllib3.exceptions.NewConnectionError, "there is no way to the server"),
    (urllib3.exceptions.ProtocolError, "the connection broke"),
    (OSError, "the connection broke"),
)
