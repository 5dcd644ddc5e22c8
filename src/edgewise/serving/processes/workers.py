"""Worker processes: started together, replaced when they die, ended in good order.

Workers are forked, so that they share the listening socket, the certificate and what is imported
already; the process that watches them loads no network and runs no other thread of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from edgewise.errors import BadInput, EdgewiseError

MAX_WORKERS = 64
_READY = b"ready"
_MAX_NEWS_BYTES = 65_536
_MAX_WORDS = 4096
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_SOUND_S = 60.0  # who lived that long did not die of starting


class Tell(Protocol):
    """How the operator is told."""

    def __call__(self, event: str, /, **fields: str | int | float) -> None:
        """Write a line."""


@dataclass(frozen=True, slots=True)
class Lifeline:
    """A worker's end of the pipe to whoever watches it.

    Args:
        news: nothing ever comes over it; that it can be read means that nobody watches any more.
    """

    news: Connection

    def ready(self) -> None:
        """Say that this worker answers."""
        self.news.send_bytes(_READY)

    def fileno(self) -> int:
        """To be watched."""
        return self.news.fileno()


def check_workers(count: int) -> None:
    """Refuse what cannot be had.

    Raises:
        BadInput: when the number is none, or processes cannot be forked from here.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise BadInput(
            expected=f"1 to {MAX_WORKERS} workers",
            found=str(count),
            remedy="choose with --workers; more than there are cores gain nothing",
        )
    if count == 1:
        return
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    if not can_fork or threading.current_thread() is not threading.main_thread():
        raise BadInput(
            expected="a main thread on a system with fork, to start several workers",
            found="another thread" if can_fork else sys.platform,
            remedy="serve with one worker",
        )


def pause_s(failures: int) -> float:
    """How long to wait before a worker that died so often in a row is replaced.

    >>> [pause_s(failures) for failures in (0, 1, 2, 20)]
    [0.1, 0.2, 0.4, 30.0]
    """
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * math.ldexp(1.0, min(failures, 30)))


@dataclass(slots=True, kw_only=True)
class _Worker:
    process: BaseProcess
    pid: int
    news: Connection
    started_s: float
    is_ready: bool = False
    is_open: bool = True
    is_outdated: bool = False


class Supervisor:
    """Starts workers and watches over them.

    Args:
        work: what a worker does in its process, until SIGTERM ends it.
        count: of workers.
        tell: a line for the operator.
        on_death: called with the process id of each worker that ended.
        patience_s: from the first signal on, workers may take so long to end.
    """

    def __init__(
        self,
        work: Callable[[Lifeline], None],
        *,
        count: int,
        tell: Tell,
        on_death: Callable[[int], None],
        patience_s: float,
    ) -> None:
        self._work = work
        self._count = count
        self._tell = tell
        self._on_death = on_death
        self._patience_s = patience_s
        self._workers: dict[int, _Worker] = {}
        self._failures = dict.fromkeys(range(1, count + 1), 0)
        self._due_s: dict[int, float] = {}
        self._until_s: float | None = None
        self._is_announced = False
        self._failure: EdgewiseError | None = None

    def run(self, *, on_ready: Callable[[], object], on_end: Callable[[], object]) -> None:
        """Watch until a signal ends it and every worker has ended.

        Args:
            on_ready: called once, when all of them answer.
            on_end: called once, when they are told to end.

        Raises:
            EdgewiseError: in its own words, when one of the first does not get ready.
        """
        with _signals() as inbox:
            try:
                for number in self._failures:
                    self._start(number)
                while self._workers or self._due_s:
                    self._step(inbox, on_ready, on_end)
            finally:
                for worker in self._workers.values():
                    worker.process.kill()
        if self._failure is not None:
            raise self._failure

    def _step(
        self, inbox: socket.socket, on_ready: Callable[[], object], on_end: Callable[[], object]
    ) -> None:
        open_news = [worker.news for worker in self._workers.values() if worker.is_open]
        sentinels = [worker.process.sentinel for worker in self._workers.values()]
        found = wait([inbox, *open_news, *sentinels], timeout=self._timeout_s())
        if inbox in found:
            for number in inbox.recv(64):
                self._obey(number, on_end)
        for number, worker in list(self._workers.items()):
            if worker.news in found:
                self._read(number, worker)
            if worker.process.sentinel in found:
                self._bury(number, worker)
        self._replace_dead()
        self._kill_late()
        if not self._is_announced and self._all_ready():
            self._is_announced = True
            on_ready()

    def _timeout_s(self) -> float | None:
        times_s = [*self._due_s.values(), *([] if self._until_s is None else [self._until_s])]
        return max(0.0, min(times_s) - time.monotonic()) if times_s else None

    def _all_ready(self) -> bool:
        ready = [worker.is_ready for worker in self._workers.values()]
        return len(ready) == self._count and all(ready)

    def _start(self, number: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=self._live, args=(ours, theirs), name=f"worker {number}"
        )
        # The child must not take a signal for it into our inbox.
        with _blocked():
            process.start()
        theirs.close()
        assert process.pid is not None  # it was started
        self._workers[number] = _Worker(
            process=process, pid=process.pid, news=ours, started_s=time.monotonic()
        )

    def _live(self, ours: Connection, theirs: Connection) -> None:
        """A worker's life, in its process."""
        os.setpgrp()  # Ctrl-C is for whoever watches, and passed on from there
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for connection in (ours, *(worker.news for worker in self._workers.values())):
            connection.close()  # or nobody would notice when the watching process has gone
        lifeline = Lifeline(theirs)
        try:
            self._work(lifeline)
        except EdgewiseError as error:
            with contextlib.suppress(OSError):
                lifeline.news.send_bytes(json.dumps(str(error)[:_MAX_WORDS]).encode())
            sys.exit(error.exit_code)

    def _read(self, number: int, worker: _Worker) -> None:
        try:
            news = worker.news.recv_bytes(_MAX_NEWS_BYTES)
        except (EOFError, OSError):
            worker.is_open = False
            return
        if news != _READY:
            self._fail(EdgewiseError(json.loads(news)))
            return
        worker.is_ready = True
        if self._is_announced:
            self._tell("worker", number=number, pid=worker.pid, state="ready")
        if worker.is_outdated:
            os.kill(worker.pid, signal.SIGHUP)

    def _bury(self, number: int, worker: _Worker) -> None:
        worker.process.join()
        code = worker.process.exitcode or 0
        worker.news.close()
        del self._workers[number]
        self._on_death(worker.pid)
        if self._until_s is not None:
            return
        if not self._is_announced:
            self._fail(EdgewiseError(f"a worker ended with code {code} before it was ready"))
            return
        if time.monotonic() - worker.started_s > _SOUND_S:
            self._failures[number] = 0
        again_s = pause_s(self._failures[number])
        self._failures[number] += 1
        self._due_s[number] = time.monotonic() + again_s
        self._tell(
            "worker", number=number, pid=worker.pid, state="ended", code=code, again_in_s=again_s
        )

    def _replace_dead(self) -> None:
        now_s = time.monotonic()
        for number in [number for number, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[number]
            self._start(number)

    def _obey(self, number: int, on_end: Callable[[], object]) -> None:
        if number == signal.SIGHUP:
            for worker in self._workers.values():
                worker.is_outdated = not worker.is_ready
                if worker.is_ready:
                    os.kill(worker.pid, signal.SIGHUP)
            return
        if self._until_s is None:
            self._until_s = time.monotonic() + self._patience_s
            self._due_s.clear()
            on_end()
        for worker in self._workers.values():
            worker.process.terminate()

    def _fail(self, error: EdgewiseError) -> None:
        """One of the first workers ends all; a later one has its line, and is replaced."""
        if self._is_announced:
            self._tell("failure", what=str(error))
            return
        self._failure = self._failure or error
        self._until_s = time.monotonic()

    def _kill_late(self) -> None:
        if self._until_s is not None and time.monotonic() >= self._until_s:
            for worker in self._workers.values():
                worker.process.kill()


_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket on which the numbers of signals arrive."""
    inbox, outbox = socket.socketpair()
    outbox.setblocking(False)

    def note(number: int, _: object) -> None:
        with contextlib.suppress(BlockingIOError):
            outbox.send(bytes([number]))

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    with inbox, outbox:
        try:
            yield inbox
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
