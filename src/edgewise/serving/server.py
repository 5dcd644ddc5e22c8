"""A server process: bind, load, say so, answer, drain."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from edgewise.bundle import check_supported, open_bundle
from edgewise.errors import BadInput
from edgewise.serving.access import Access
from edgewise.serving.app import create_app
from edgewise.serving.connection import bounded

_DRAIN_S = 10
_BACKLOG = 512


def serve(
    bundle_path: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = 1,
    access: Access | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way.

    Args:
        bundle_path: a folder that ``edgewise plan -o`` wrote.
        host: the address to listen on; only this machine reaches the default.
        port: 0 takes any free one.
        threads: threads of one engine run.
        access: who is let in; the names of this machine and ``host`` unless said.
        on_ready: called once, with the server's URL, when it answers.

    Raises:
        BadInput: when the bundle cannot be served, or the port not be had.
    """
    bundle = open_bundle(bundle_path)
    check_supported(bundle.manifest)
    access = access or Access(allowed_hosts=_names(host))
    app = create_app(bundle, threads=threads, access=access)
    with contextlib.closing(listen(host, port)) as listener:
        config = uvicorn.Config(
            app,
            http=bounded(access),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=max(1, round(access.keep_alive_s)),
            timeout_graceful_shutdown=_DRAIN_S,
        )
        # Below errors uvicorn logs each malformed request: a stranger could fill the disk.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        server = _Server(config, announce=lambda: on_ready and on_ready(_url(listener, host)))
        with _signals_end_quietly():
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, announce: Callable[[], object]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, Starlette)  # create_app made it
        app.state.drain()
        await super().shutdown(sockets=sockets)


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
        listener.listen(_BACKLOG)
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


def _names(host: str) -> tuple[str, ...]:
    own = f"[{host}]" if ":" in host else host
    return (*Access().allowed_hosts, own)


def _url(listener: socket.socket, host: str) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """After draining, uvicorn raises the signal again for whoever handled it before: nobody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
