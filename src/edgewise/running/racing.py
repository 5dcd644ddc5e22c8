"""Work that goes on beside a request, and the device that may outlast one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgewise.engines import Engine
from edgewise.tensors import Array, Feeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A piece of work that has ended; exactly one of the two is set, unless it was skipped.

    Args:
        name: of the work; empty when somebody stopped the wait.
        result: what it gave.
        error: what it raised.
    """

    name: str
    result: object = None
    error: BaseException | None = None


class Race:
    """Runs work in threads of its own and tells in which order it ends.

    The threads are left behind when nobody waits any more; they keep no process from ending.

    >>> race = Race()
    >>> _ = race.start("sum", lambda: 6 * 7)
    >>> race.wait(until_s=time.perf_counter() + 5).result
    42
    """

    def __init__(self) -> None:
        self._finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()

    def start(self, name: str, work: Callable[[], object]) -> threading.Thread:
        """Begin a piece of work; the thread that does it."""

        def run() -> None:
            try:
                finished = Finished(name=name, result=work())
            except BaseException as error:  # for whoever waits, if anybody still does
                finished = Finished(name=name, error=error)
            self._finished.put(finished)

        # Not an executor's thread: Python waits for those when it ends, however long that takes.
        thread = threading.Thread(target=run, name=f"edgewise-{name}", daemon=True)
        thread.start()
        return thread

    def stop(self, error: BaseException) -> None:
        """End the wait with an error; what was started goes on."""
        self._finished.put(Finished(name="", error=error))

    def wait(self, *, until_s: float | None) -> Finished | None:
        """The next piece that ends; ``None`` when the time, on ``time.perf_counter``, is up."""
        if until_s is None:
            return self._finished.get()
        try:
            return self._finished.get(timeout=max(0.0, until_s - time.perf_counter()))
        except queue.Empty:
            return None


class Device:
    """The network that answers on the device; one run at a time, whoever still waits for it.

    Args:
        engine: closed by whoever opened it.
        clock: seconds that only go forward.

    ``since_s`` is when the run under way began; ``None`` while the device is free.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self.engine = engine
        self._clock = clock
        self._turn = threading.Lock()
        self.since_s: float | None = None
        self._took_s: queue.SimpleQueue[float] = queue.SimpleQueue()

    def run(
        self, feeds: Callable[[], Feeds], *, wanted: Callable[[], bool] = lambda: True
    ) -> dict[str, Array]:
        """The outputs; none when nobody wants them any more once the device is free."""
        with self._turn:
            if not wanted():
                return {}
            self.since_s = start_s = self._clock()
            try:
                outputs = self.engine.run(feeds())
            finally:
                self.since_s = None
            self._took_s.put(self._clock() - start_s)
            return outputs

    def took_s(self) -> list[float]:
        """Durations of the runs that have ended since this was asked last."""
        return [self._took_s.get() for _ in range(self._took_s.qsize())]

    def finish(self) -> None:
        """Wait for a run that was left behind."""
        with self._turn:
            pass
