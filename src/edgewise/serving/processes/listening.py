"""The socket that a server listens on."""

from __future__ import annotations

import errno
import socket

from edgewise.errors import BadInput

BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        BadInput: naming the address and what to do.

    >>> with listen("127.0.0.1", 0) as listener:
    ...     listener.getsockname()[0]
    '127.0.0.1'
    """
    if not 0 <= port <= 65_535:
        raise BadInput(
            expected="a port from 0 to 65535", found=str(port), remedy="choose one with --port"
        )
    try:
        family, kind, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except (OSError, UnicodeError):
        raise BadInput(
            expected="an address of this machine to listen on",
            found=repr(host[:80]),
            remedy="choose one with --host, such as 127.0.0.1",
        ) from None
    try:
        # Without it a port stays taken for a minute after the last server on it has ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unbindable(host, port, error) from None
    return listener


def _unbindable(host: str, port: int, error: OSError) -> BadInput:
    if error.errno == errno.EADDRINUSE:
        return BadInput(
            expected=f"a free port {port} on {host}",
            found="another program that listens on it",
            remedy="stop that program, or choose another port with --port (0 takes a free one)",
        )
    return BadInput(
        expected=f"permission to listen on {host} port {port}",
        found=error.strerror or "an error",
        remedy="choose another address with --host, or a port above 1023 with --port",
    )
