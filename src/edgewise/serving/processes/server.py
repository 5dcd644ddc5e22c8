"""A server process: bind, load, say so, answer, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from edgewise.errors import BadInput
from edgewise.serving.access.access import LOCAL_HOSTS, Access, host_name
from edgewise.serving.access.keys import KeyRing
from edgewise.serving.app import Application, create_app
from edgewise.serving.layers import Layers
from edgewise.serving.observing.logs import FailureLines, RequestLog, write_line
from edgewise.serving.observing.sharing import SharedNumbers, shared_numbers
from edgewise.serving.operations import LogForm
from edgewise.serving.processes.connection import bounded
from edgewise.serving.processes.listening import BACKLOG, listen
from edgewise.serving.processes.workers import Lifeline, Supervisor, check_workers
from edgewise.serving.repository.reloading import Reloading
from edgewise.serving.repository.repository import open_bundles

if TYPE_CHECKING:
    from edgewise.serving.submissions.submission_store import SubmissionStore

_PATIENCE_S = 5.0  # longer than a worker needs to end beside what its operator granted
_COLLECTED_AFTER = 20_000  # allocations; 700 unless said
_OnReady = Callable[[str], None] | None


def serve(  # noqa: PLR0913 - each an operator's choice
    bundle_paths: Path | str | Sequence[Path | str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = 1,
    access: Access | None = None,
    submissions: SubmissionStore | str | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way.

    SIGHUP reads keys and bundles again.

    Args:
        bundle_paths: a folder that ``edgewise plan -o`` wrote, or several.
        host: the address to listen on; only this machine reaches the default.
        port: 0 takes any free one.
        threads: threads of one engine run.
        access: who is let in; the names of this machine and ``host`` unless said.
        submissions: where they are stored, or the address of a database for them as SQLAlchemy
            writes it; without it they are refused. Several workers need the address.
        on_ready: called once, with the server's URL, when it answers.

    Raises:
        BadInput: when a bundle cannot be served, two are alike, or the port not be had.
    """
    access = access or Access(allowed_hosts=(*LOCAL_HOSTS, host_name(host)))
    service = _Service(
        paths=(bundle_paths,) if isinstance(bundle_paths, Path | str) else tuple(bundle_paths),
        threads=threads,
        access=access,
        submissions=submissions,
    )
    check_workers(access.operations.workers)
    run = _serve_alone if access.operations.workers == 1 else _serve_with_workers
    run(service, host, port, on_ready)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What every process that answers does."""

    paths: tuple[Path | str, ...]
    threads: int
    access: Access
    submissions: SubmissionStore | str | None

    def load(self) -> Application:
        """Everything that requests need, ready."""
        return create_app(
            open_bundles(self.paths),
            threads=self.threads,
            access=self.access,
            submissions=_open_store(self.submissions),
        )

    def answer(
        self,
        app: Application,
        listener: socket.socket,
        announce: Callable[[], object],
        lifeline: Lifeline | None = None,
    ) -> None:
        """Answer until told to end."""
        chosen = self.access.operations
        config = uvicorn.Config(
            app,
            http=bounded(self.access),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=max(1, round(self.access.keep_alive_s)),
            timeout_graceful_shutdown=max(1, round(chosen.drain_s)),
            ssl_context_factory=_context_factory(chosen.tls),
        )
        # Below errors uvicorn logs each malformed request: a stranger could fill the disk.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        layers: Layers = app.layers
        server = _Server(
            config,
            layers=layers,
            reloading=Reloading(app.repository, layers, chosen.read_keys_again),
            drain=app.drain,
            announce=announce,
            lifeline=lifeline,
        )
        _spare_the_collector()
        with _signals_end_quietly():
            server.run(sockets=[listener])

    def url(self, listener: socket.socket, host: str) -> str:
        """Where it can be asked."""
        scheme = "http" if self.access.operations.tls is None else "https"
        return f"{scheme}://{host_name(host)}:{listener.getsockname()[1]}"

    def each(self) -> _Service:
        """The same for one of several workers: each has its part of every key's budget."""
        chosen = self.access.operations
        count, read = chosen.workers, chosen.read_keys_again

        def read_part() -> KeyRing:
            assert read is not None  # or nobody would call
            return read().shared_by(count)

        keys = None if chosen.keys is None else chosen.keys.shared_by(count)
        part = replace(
            chosen,
            keys=keys if read is None else read_part(),
            read_keys_again=None if read is None else read_part,
        )
        return replace(self, access=replace(self.access, operations=part))


def _open_store(kept: SubmissionStore | str | None) -> SubmissionStore | None:
    if not isinstance(kept, str):
        return kept
    # Here, as it takes a third of the time to start, and most servers keep no submissions.
    from edgewise.serving.submissions.submission_store import SubmissionStore

    return SubmissionStore(kept)


def _serve_alone(service: _Service, host: str, port: int, on_ready: _OnReady) -> None:
    app = service.load()
    layers: Layers = app.layers
    with contextlib.closing(listen(host, port)) as listener:
        url = service.url(listener, host)
        with _logged(layers.log, service.access.operations.log):
            layers.log.event("serving", url=url)
            service.answer(app, listener, lambda: on_ready and on_ready(url))
            layers.log.event("ended")


def _serve_with_workers(service: _Service, host: str, port: int, on_ready: _OnReady) -> None:
    if not isinstance(service.submissions, str | None):
        raise BadInput(
            expected="the address of a database for submissions, for each worker to open",
            found="one that is open already",
            remedy="pass its address, such as sqlite:///submissions.db, or serve with one worker",
        )
    open_bundles(service.paths)  # what is wrong with them is said before anything is started
    chosen = service.access.operations
    tell = partial(_write_event, chosen.log)
    with contextlib.closing(listen(host, port)) as listener, shared_numbers() as numbers:
        url = service.url(listener, host)
        supervisor = Supervisor(
            partial(_be_worker, service, listener, numbers),
            count=chosen.workers,
            tell=tell,
            on_death=numbers.forget,
            patience_s=chosen.notice_s + chosen.drain_s + _PATIENCE_S,
        )

        def announce() -> None:
            tell("serving", url=url, workers=chosen.workers)
            if on_ready is not None:
                on_ready(url)

        # Whoever connects after the end has begun is refused once the last worker is deaf.
        supervisor.run(on_ready=announce, on_end=listener.close)
        tell("ended")


def _be_worker(
    service: _Service, listener: socket.socket, numbers: SharedNumbers, lifeline: Lifeline
) -> None:
    numbers.join()
    part = service.each()
    app = part.load()
    with _logged(app.layers.log, part.access.operations.log):
        part.answer(app, listener, lifeline.ready, lifeline)


def _write_event(form: LogForm, name: str, /, **fields: str | int | float) -> None:
    """A line from the process that watches workers; it has no thread to write for it."""
    if form is not LogForm.OFF:
        with contextlib.suppress(OSError, ValueError):  # a closed stderr is no reason to end
            sys.stderr.write(write_line(form, time.time(), name, fields) + "\n")
            sys.stderr.flush()


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        *,
        layers: Layers,
        reloading: Reloading,
        drain: Callable[[], None],
        announce: Callable[[], object],
        lifeline: Lifeline | None,
    ) -> None:
        super().__init__(config)
        self._layers = layers
        self._reloading = reloading
        self._drain = drain
        self._announce = announce
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        loop = asyncio.get_running_loop()
        if hasattr(signal, "SIGHUP"):
            with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(signal.SIGHUP, self._reloading.ask)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline.fileno(), self._end_alone)
        self._announce()

    def _end_alone(self) -> None:
        """Nobody watches this worker any more, and nobody would end it."""
        assert self._lifeline is not None  # or nobody would call
        asyncio.get_running_loop().remove_reader(self._lifeline.fileno())
        self.should_exit = True

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
def _logged(log: RequestLog, form: LogForm) -> Iterator[None]:
    if form is LogForm.OFF:
        yield
        return
    loggers = [logging.getLogger(name) for name in ("edgewise.serving", "uvicorn", "asyncio")]
    handler = FailureLines(log)
    for logger in loggers:
        logger.addHandler(handler)
    log.start()
    try:
        yield
    finally:
        log.close()
        for logger in loggers:
            logger.removeHandler(handler)


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
