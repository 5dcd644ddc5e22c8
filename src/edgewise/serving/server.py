"""A server process: bind, load, say so, answer, drain."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from edgewise.bundle import check_supported, open_bundle
from edgewise.errors import BadInput, EdgewiseError
from edgewise.serving.access import LOCAL_HOSTS, Access, host_name
from edgewise.serving.app import create_app
from edgewise.serving.connection import bounded
from edgewise.serving.layers import Layers
from edgewise.serving.logs import FailureLines
from edgewise.serving.operations import LogForm, Operations
from edgewise.serving.submission_store import SubmissionStore

_BACKLOG = 512
_COLLECTED_AFTER = 20_000  # allocations; 700 unless said
_log = logging.getLogger("edgewise.serving")


def serve(  # noqa: PLR0913 - each an operator's choice
    bundle_path: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = 1,
    access: Access | None = None,
    submissions: SubmissionStore | str | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way.

    Args:
        bundle_path: a folder that ``edgewise plan -o`` wrote.
        host: the address to listen on; only this machine reaches the default.
        port: 0 takes any free one.
        threads: threads of one engine run.
        access: who is let in; the names of this machine and ``host`` unless said.
        submissions: where they are stored, or the address of a database for them as SQLAlchemy
            writes it; without it they are refused.
        on_ready: called once, with the server's URL, when it answers.

    Raises:
        BadInput: when the bundle cannot be served, or the port not be had.
    """
    bundle = open_bundle(bundle_path)
    check_supported(bundle.manifest)
    access = access or Access(allowed_hosts=(*LOCAL_HOSTS, host_name(host)))
    store = SubmissionStore(submissions) if isinstance(submissions, str) else submissions
    app = create_app(bundle, threads=threads, access=access, submissions=store)
    chosen = access.operations
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
            timeout_graceful_shutdown=max(1, round(chosen.drain_s)),
            ssl_context_factory=_context_factory(chosen.tls),
        )
        # Below errors uvicorn logs each malformed request: a stranger could fill the disk.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        url = _url(listener, host, scheme="http" if chosen.tls is None else "https")
        layers: Layers = app.state.layers
        server = _Server(
            config,
            layers=layers,
            chosen=chosen,
            drain=app.state.drain,
            announce=lambda: on_ready and on_ready(url),
        )
        _spare_the_collector()
        with _signals_end_quietly(), _logged(layers, url, chosen.log):
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        *,
        layers: Layers,
        chosen: Operations,
        drain: Callable[[], None],
        announce: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._layers = layers
        self._read_keys_again = chosen.read_keys_again
        self._drain = drain
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._read_keys_again is not None and hasattr(signal, "SIGHUP"):
            with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._change_keys)
        self._announce()

    def _change_keys(self) -> None:
        """Let in the keys that the file holds now; a file that holds none changes nothing."""
        assert self._read_keys_again is not None  # or nobody would call
        try:
            keys = self._read_keys_again()
        except EdgewiseError as error:
            _log.error("the keys stay as they were: %s", error)
            return
        self._layers.doors.change(keys)
        self._layers.log.event("keys", count=len(keys.entries))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Give notice on the first signal; a second one ends the notice."""
        draining = self._layers.draining
        if draining.has_begun:
            super().handle_exit(sig, frame)
        draining.begin()

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to take no more connections."""
        return await super().on_tick(counter) or self._layers.draining.is_deaf

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what arrives from now on, and finish what came before."""
        self._drain()
        await super().shutdown(sockets=sockets)


def _spare_the_collector() -> None:
    """What is loaded by now stays for good: looking through it again would only hold up requests.

    Requests leave no cycles behind, so the collector may come seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, 20, 20)


def _context_factory(
    tls: ssl.SSLContext | None,
) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None:
    return None if tls is None else lambda _config, _default: tls


@contextlib.contextmanager
def _logged(layers: Layers, url: str, form: LogForm) -> Iterator[None]:
    if form is LogForm.OFF:
        yield
        return
    loggers = [logging.getLogger(name) for name in ("edgewise.serving", "uvicorn", "asyncio")]
    handler = FailureLines(layers.log)
    for logger in loggers:
        logger.addHandler(handler)
    layers.log.start()
    layers.log.event("serving", url=url)
    try:
        yield
    finally:
        layers.log.event("ended")
        layers.log.close()
        for logger in loggers:
            logger.removeHandler(handler)


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


def _url(listener: socket.socket, host: str, *, scheme: str) -> str:
    port = listener.getsockname()[1]
    return f"{scheme}://{host_name(host)}:{port}"


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
