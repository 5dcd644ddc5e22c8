"""Servers that do not keep to the protocol, on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgewise.bundle import Bundle
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_reply
from unit.serving import tiny_bundle as tiny

HUGE = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One HTTP request as the server saw it."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return str(json.loads(self.body[: int(self.headers[HEADER_LENGTH_FIELD.lower()])])["id"])


Behaviour = Callable[[socket.socket, Seen], None]


@dataclass(slots=True)
class LyingServer:
    """Answers the greeting as it should, and ``infer`` as it likes.

    Args:
        greet: what to do with GET.
        infer: what to do with POST; may be changed at any time.
    """

    greet: Behaviour
    infer: Behaviour
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[LyingServer]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self._start(self._accept, listener)
            try:
                yield self
            finally:
                for sock in (listener, *self._open):
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                for thread in self._threads:
                    thread.join(10)
                    assert not thread.is_alive()

    def _start(self, work: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(sock,))
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self.connections += 1
                self._open.append(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines, contextlib.suppress(OSError):
            while seen := _read_request(lines):
                self.seen.append(seen)
                (self.greet if seen.line.startswith("GET") else self.infer)(sock, seen)


def _read_request(lines: object) -> Seen | None:
    line = lines.readline().decode().strip()
    headers = {}
    while header := lines.readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = lines.read(int(headers.get("content-length", 0)))
    return Seen(line=line, headers=headers, body=body) if line else None


def http(
    body: bytes, *, status: str = "200 OK", length: int | None = None, **headers: str
) -> bytes:
    """An HTTP response; keywords are header fields, with - for _."""
    fields = {"Content-Length": str(len(body) if length is None else length)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def answer(raw: bytes) -> Behaviour:
    """Always these bytes."""
    return lambda sock, seen: sock.sendall(raw)


def greet_as(bundle: Bundle) -> Behaviour:
    """What a server of the bundle says of itself."""
    body = json.dumps({"name": bundle.manifest.name}).encode()
    return answer(http(body, Edgewise_Bundle=bundle.digest))


def outputs() -> dict[str, np.ndarray]:
    """Outputs that fit the tiny network and that it never gives."""
    return {spec.name: np.full(spec.concrete(), 1234.5, np.float32) for spec in tiny.OUTPUTS}


def reply(
    tensors: Mapping[str, np.ndarray] | None = None, *, id: str = "", **headers: str
) -> bytes:
    """A reply to ``infer`` that is sound but for what the arguments say."""
    frame = encode_reply(Message(tensors=outputs() if tensors is None else tensors, id=id))
    fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)} | headers
    return http(frame.body, **fields)


def error(status: str, text: str) -> bytes:
    """A refusal in the words of the Open Inference Protocol."""
    return http(json.dumps({"error": text}).encode(), status=status)


def trickle(raw: bytes, *, every_s: float = 0.02) -> Behaviour:
    """A byte at a time, and the last one again and again."""

    def behave(sock: socket.socket, seen: Seen) -> None:
        stop = threading.Event()
        for i in range(10**6):
            sock.sendall(raw[min(i, len(raw) - 1) :][:1])
            stop.wait(every_s)

    return behave
