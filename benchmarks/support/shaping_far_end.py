"""The server behind the link in benchmarks/shaping.py, and the requests it understands.

A process of its own: it takes as many bytes as it is told to, or gives as many.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

CHUNK = 1 << 20
Address = tuple[str, int]


def serve() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _answer(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(OSError):
        while len(head := connection.recv(9, socket.MSG_WAITALL)) == 9:
            size = int.from_bytes(head[1:], "big")
            if head[:1] == b"U":
                receive(connection, size)
                connection.sendall(b"k")
            else:
                _send_zeros(connection, size)


def _send_zeros(sock: socket.socket, size: int) -> None:
    block = bytes(CHUNK)
    while size > 0:
        size -= sock.send(block[: min(size, CHUNK)])


def receive(sock: socket.socket, size: int) -> None:
    while size > 0:
        got = len(sock.recv(min(size, CHUNK)))
        if not got:
            raise ConnectionResetError
        size -= got


@contextlib.contextmanager
def far_end() -> Iterator[Address]:
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin
        assert process.stdout
        yield "127.0.0.1", int(process.stdout.readline())
        process.stdin.close()


@contextlib.contextmanager
def dialled(address: Address) -> Iterator[socket.socket]:
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def upload(sock: socket.socket, size: int) -> float:
    data = b"U" + size.to_bytes(8, "big") + bytes(size)
    start_s = time.perf_counter()
    sock.sendall(data)
    receive(sock, 1)
    return time.perf_counter() - start_s


def download(sock: socket.socket, size: int) -> float:
    start_s = time.perf_counter()
    sock.sendall(b"D" + size.to_bytes(8, "big"))
    receive(sock, size)
    return time.perf_counter() - start_s


def first_ping(address: Address) -> float:
    start_s = time.perf_counter()
    with dialled(address) as sock:
        download(sock, 1)
        return time.perf_counter() - start_s


if __name__ == "__main__":
    serve()
