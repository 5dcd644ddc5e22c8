"""Drive the batcher from an event loop: wait, run, answer, and notice who has gone."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from edgewise.serving.batching.batcher import (
    Batch,
    Batcher,
    Entry,
    Expired,
    Limits,
)
from edgewise.serving.batching.joining import Clock, Done, Job, run_batch
from edgewise.serving.batching.run_costs import RunCosts
from edgewise.serving.protocol.refusals import Gone

R = TypeVar("R")
_ENGINE_NICENESS = 5  # a third of the weight of the loop


class Dispatcher(Generic[R]):
    """One queue and its engines, on one event loop.

    A run goes to a thread that is kept warm, so that the loop answers others meanwhile; one that
    costs less than waking that thread is done in the loop.

    Args:
        limits: how to join and how much may wait.
        clock: seconds that never go back.
    """

    def __init__(self, limits: Limits, *, clock: Clock = time.perf_counter) -> None:
        self.batcher: Batcher[Job[R]] = Batcher(limits)
        self.clock = clock
        self._waiting: dict[Entry[Job[R]], asyncio.Future[Done[R]]] = {}
        self._queued: set[Entry[Job[R]]] = set()
        self._costs = RunCosts()
        self._engines = ThreadPoolExecutor(
            limits.engines, thread_name_prefix="engine", initializer=_give_way
        )
        self._alarm: asyncio.TimerHandle | None = None

    async def answer(self, entry: Entry[Job[R]], gone: Callable[[], Awaitable[object]]) -> Done[R]:
        """Queue one request and wait for its answer.

        Args:
            entry: with a job.
            gone: returns once the client has hung up; only asked while the request is queued.

        Raises:
            QueueFull: when there is no room.
            Closed: when it came after :meth:`drain`.
            Expired: when its deadline came before an engine was free.
            Gone: when the client hung up before.
        """
        self.batcher.offer(entry, now_s=self.clock())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Done[R]] = loop.create_future()
        self._waiting[entry] = future
        self._queued.add(entry)
        watcher: asyncio.Task[None] | None = None
        try:
            self._proceed()
            if entry in self._queued:
                watcher = loop.create_task(self._watch(entry, gone))
            return await future
        finally:
            if watcher is not None:
                watcher.cancel()
            self._waiting.pop(entry, None)
            self._withdraw(entry)  # when this request itself was cancelled

    def drain(self) -> None:
        """Refuse what arrives from now on."""
        self.batcher.drain(now_s=self.clock())
        with contextlib.suppress(RuntimeError):  # without a loop nothing is queued
            asyncio.get_running_loop()
            self._proceed()

    async def _watch(self, entry: Entry[Job[R]], gone: Callable[[], Awaitable[object]]) -> None:
        await gone()
        if entry in self._queued:
            self._withdraw(entry)
            self._settle(entry, Gone("the client has gone"))

    def _withdraw(self, entry: Entry[Job[R]]) -> None:
        if entry in self._queued:
            self._queued.discard(entry)
            self.batcher.withdraw(entry)

    def _proceed(self) -> None:
        """Do all that the batcher says is to be done now, and come back when it says."""
        while True:
            step = self.batcher.step(now_s=self.clock())
            for entry in step.expired:
                self._settle(entry, Expired("the deadline passed"))
            if step.batch is None:
                break
            self._queued.difference_update(step.batch.entries)
            self._start(step.batch)
        self._set_alarm(step.wake_s)

    def _start(self, batch: Batch[Job[R]]) -> None:
        if self._costs.is_quick(batch):
            self._finish(batch, self._run(batch, self.clock))
            return
        loop = asyncio.get_running_loop()

        def tell(run: Future[list[Done[R] | Exception]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all its requests
                loop.call_soon_threadsafe(self._end, batch, run)

        # A thread that waits for its turn would look slow by any other clock.
        self._engines.submit(self._run, batch, time.thread_time).add_done_callback(tell)

    def _run(self, batch: Batch[Job[R]], cost_clock: Clock) -> list[Done[R] | Exception]:
        """In a thread of the engines, or in the loop when it is quick."""
        start_s = cost_clock()
        results = run_batch(batch, self.clock)
        self._costs.add(batch, cost_clock() - start_s)
        return results

    def _end(self, batch: Batch[Job[R]], run: Future[list[Done[R] | Exception]]) -> None:
        error = run.exception()
        if error is None:
            self._finish(batch, run.result())
        else:
            self._finish(
                batch, [RuntimeError(f"the run was lost: {error!r}")] * len(batch.entries)
            )
        self._proceed()

    def _finish(self, batch: Batch[Job[R]], results: list[Done[R] | Exception]) -> None:
        self.batcher.finish(batch, now_s=self.clock())
        for entry, result in zip(batch.entries, results, strict=True):
            self._settle(entry, result)

    def _settle(self, entry: Entry[Job[R]], result: Done[R] | Exception) -> None:
        self._queued.discard(entry)
        future = self._waiting.get(entry)
        if future is None or future.done():
            return  # nobody waits any more
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _set_alarm(self, wake_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if wake_s < math.inf:
            delay_s = max(0.0, wake_s - self.clock())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._proceed)


def _give_way() -> None:
    """Let the loop go before this thread.

    With as many engines as cores the loop is one thread too many, and under overload it would
    fall behind: connections would wait in the system's queue, and refusals, which are to come at
    once, with them. Linux alone has a priority for each thread.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _ENGINE_NICENESS)
