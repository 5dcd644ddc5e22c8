"""Which requests run together, when, and which do not run at all.

No engine, no HTTP, no clock and no waiting: whoever drives a :class:`Batcher` tells it the time
and does what it says. Sizes count items (rows of the first axis), never requests.

An engine that is idle starts at once. What comes while all engines are busy queues, and what
queued in one group runs as one batch as soon as an engine is free. With a limit above 0, a batch
that is not full waits for more, but never longer than ``min(limit, slack)`` after its first
request came, where the slack is what the most urgent deadline leaves beside the run itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgewise.errors import BadInput, EdgewiseError
from edgewise.serving.batching.drain_rate import DrainRate

T = TypeVar("T")
_RUNS_REMEMBERED = 8
_LONGEST_RETRY_S = 3600


class QueueFull(EdgewiseError):  # noqa: N818 - as the others of its family
    """There is no room to wait in.

    Args:
        queued: items that wait.
        retry_after_s: when all that was ahead will have run, in whole seconds.
    """

    def __init__(self, *, queued: int, retry_after_s: int) -> None:
        super().__init__(f"{queued} items wait; try again in {retry_after_s} s")
        self.queued = queued
        self.retry_after_s = retry_after_s


class Closed(EdgewiseError):  # noqa: N818
    """The server is being stopped, and takes nothing new."""


class Expired(EdgewiseError):  # noqa: N818
    """The deadline came before an engine was free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How requests may be joined and how many may wait.

    Args:
        max_batch: items in one run; a single request of more runs alone.
        max_wait_s: how long a batch that is not full waits for more once an engine is free.
        max_queue: items that may wait for an engine.
        max_queue_bytes: bytes that may wait; a larger request is taken when no other waits.
        engines: runs at once.

    >>> Limits(max_batch=4).max_wait_s
    0.0
    """

    max_batch: int = 8
    max_wait_s: float = 0.0
    max_queue: int = 32
    max_queue_bytes: int = 134_217_728
    engines: int = 1

    def __post_init__(self) -> None:
        _check("max_batch", self.max_batch, least=1, remedy="choose with --max-batch")
        _check("max_wait_s", self.max_wait_s, least=0, remedy="choose with --max-wait")
        _check("max_queue", self.max_queue, least=0, remedy="choose with --max-queue")
        _check("max_queue_bytes", self.max_queue_bytes, least=1, remedy="allow some bytes")
        _check("engines", self.engines, least=1, remedy="allow one run at a time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What requests must have in common to run together.

    Args:
        bundle: its digest.
        route: and with it the cut and the network behind it.
        tensors: name, dtype and shape without the first axis of each tensor.
    """

    bundle: str
    route: str
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()

    @property
    def route_of_bundle(self) -> tuple[str, str]:
        """What times are kept by: a stranger can make up any number of shapes."""
        return self.bundle, self.route


@dataclass(eq=False, slots=True, kw_only=True)
class Entry(Generic[T]):
    """One request.

    Args:
        group: it may only be joined with others of its group.
        work: for the driver.
        arrived_s: on the clock of the batcher's driver.
        items: rows of the first axis.
        nbytes: what it keeps in memory while it waits.
        deadline_s: its answer should be there by then; infinite without one.
        alone: it must not be joined with others.
    """

    group: Group
    work: T
    arrived_s: float
    items: int = 1
    nbytes: int = 0
    deadline_s: float = math.inf
    alone: bool = False
    due_s: float = field(default=0.0, init=False)


@dataclass(eq=False, slots=True, kw_only=True)
class Batch(Generic[T]):
    """Requests of one group, in the order they came, for one run.

    Args:
        group: of all of them.
        entries: the requests.
        started_s: when an engine took them.
        items: rows of the whole batch.
    """

    group: Group
    entries: tuple[Entry[T], ...]
    started_s: float
    items: int = field(init=False)

    def __post_init__(self) -> None:
        self.items = sum(entry.items for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[T]):
    """What is to be done now.

    Args:
        batch: run it; then ask for the next step.
        expired: answer these, they left the queue.
        wake_s: ask again at this time at the latest; infinite when only an event can change
            anything.
    """

    batch: Batch[T] | None
    expired: tuple[Entry[T], ...]
    wake_s: float


class Batcher(Generic[T]):
    """The queue in front of the engines.

    Not thread-safe: one event loop drives it.

    >>> batcher = Batcher(Limits(max_batch=2))
    >>> group = Group(bundle="m", route="r")
    >>> for name in "abc":
    ...     batcher.offer(Entry(group=group, work=name, arrived_s=0.0), now_s=0.0)
    >>> batch = batcher.step(now_s=0.0).batch
    >>> [entry.work for entry in batch.entries]
    ['a', 'b']
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.queued_items = 0
        self.queued_bytes = 0
        self._groups: dict[Group, deque[Entry[T]]] = {}
        self._running: list[Batch[T]] = []
        self._runs_s: dict[tuple[str, str], deque[float]] = {}
        self._rate = DrainRate()
        self._nothing: Step[T] = Step(batch=None, expired=(), wake_s=math.inf)
        self._drained_s = math.inf

    @property
    def idle(self) -> bool:
        """An engine is free and nothing waits for it."""
        return not self._groups and len(self._running) < self.limits.engines

    def offer(self, entry: Entry[T], *, now_s: float) -> None:
        """Take a request into the queue; ask for a :meth:`step` next.

        Raises:
            QueueFull: when there is no room.
            Closed: when it arrived after :meth:`drain`.
        """
        if entry.arrived_s > self._drained_s:
            raise Closed("the server is being stopped")
        if not self.idle and self._overflows(entry):
            raise QueueFull(
                queued=self.queued_items, retry_after_s=self.retry_after_s(now_s=now_s)
            )
        entry.due_s = now_s if self.idle else now_s + self.limits.max_wait_s
        self._groups.setdefault(entry.group, deque()).append(entry)
        self._count(entry, 1)

    def withdraw(self, entry: Entry[T]) -> bool:
        """Forget a request whose client has gone; false when it is no longer queued."""
        queue = self._groups.get(entry.group, ())
        if not any(queued is entry for queued in queue):
            return False
        self._remove({id(entry)})
        return True

    def step(self, *, now_s: float) -> Step[T]:
        """What is to be done at this time."""
        if not self._groups:
            return self._nothing
        expired = [entry for entry in self._queued() if self._latest_s(entry) <= now_s]
        if expired:
            self._remove({id(entry) for entry in expired})
        batch = self._start(now_s) if len(self._running) < self.limits.engines else None
        return Step(batch=batch, expired=tuple(expired), wake_s=self._wake_s())

    def finish(self, batch: Batch[T], *, now_s: float) -> None:
        """A batch has run, well or not; ask for a :meth:`step` next."""
        self._running.remove(batch)
        self._rate.finished(batch.items, now_s=now_s, idle=not self._running)
        runs_s = self._runs_s.setdefault(
            batch.group.route_of_bundle, deque(maxlen=_RUNS_REMEMBERED)
        )
        runs_s.append(now_s - batch.started_s)

    def drain(self, *, now_s: float) -> None:
        """Take nothing that arrives from now on, and let nothing wait longer than it has to."""
        self._drained_s = min(self._drained_s, now_s)

    def retry_after_s(self, *, now_s: float) -> int:
        """When all that is queued or running will be done, at the rate of the last seconds.

        Whole seconds, rounded up, at least 1 (RFC 9110, section 10.2.3, knows no smaller unit).
        """
        ahead = self.queued_items + sum(batch.items for batch in self._running)
        rate = self._rate.items_per_s(now_s=now_s)
        if rate is None:
            # Nothing has finished: what runs takes at least as long again as it has so far.
            runs_s = [now_s - batch.started_s for batch in self._running]
            return _whole_seconds(max(runs_s, default=0.0))
        return _whole_seconds(ahead / rate)

    def _overflows(self, entry: Entry[T]) -> bool:
        items, nbytes = self.queued_items + entry.items, self.queued_bytes + entry.nbytes
        crowded = bool(self._groups) and nbytes > self.limits.max_queue_bytes
        return items > self.limits.max_queue or crowded

    def _start(self, now_s: float) -> Batch[T] | None:
        ready = [queue for queue in self._groups.values() if self._start_s(queue) <= now_s]
        if not ready:
            return None
        queue = min(ready, key=lambda queue: queue[0].arrived_s)  # nobody is overtaken for ever
        entries = tuple(self._joined(queue))
        self._remove({id(entry) for entry in entries})
        batch = Batch(group=entries[0].group, entries=entries, started_s=now_s)
        if not self._running:
            self._rate.busy(now_s=now_s)
        self._running.append(batch)
        return batch

    def _joined(self, queue: deque[Entry[T]]) -> Iterator[Entry[T]]:
        """From the head on, without gaps, so that the order within a group is kept."""
        items = 0
        for entry in queue:
            items += entry.items
            if items > entry.items and (entry.alone or items > self.limits.max_batch):
                return
            yield entry
            if entry.alone:
                return

    def _start_s(self, queue: deque[Entry[T]]) -> float:
        """When the batch at the head of a group may start: min(limit, slack) after it came."""
        full = sum(entry.items for entry in queue) >= self.limits.max_batch
        if full or self._drained_s < math.inf or queue[0].alone:
            return -math.inf
        due_s = min(entry.due_s for entry in queue)
        urgent_s = min(entry.deadline_s for entry in queue)
        if math.isinf(urgent_s):
            return due_s
        runs_s = self._runs_s.get(queue[0].group.route_of_bundle)
        # The slack is what the run leaves of the deadline; of a run never seen, nothing is known.
        return min(due_s, urgent_s - 2 * max(runs_s)) if runs_s else -math.inf

    def _latest_s(self, entry: Entry[T]) -> float:
        """From when on its answer would come too late.

        While every engine is busy that is a run before the deadline. A free engine tries all the
        same: if nobody ran after some slow runs, nobody would learn that they are quick again.
        """
        if len(self._running) < self.limits.engines:
            return entry.deadline_s
        runs_s = self._runs_s.get(entry.group.route_of_bundle, ())
        return entry.deadline_s - max(runs_s, default=0.0)

    def _wake_s(self) -> float:
        deadlines_s = [self._latest_s(entry) for entry in self._queued()]
        starts_s: list[float] = []
        if len(self._running) < self.limits.engines:
            starts_s = [self._start_s(queue) for queue in self._groups.values()]
        return min([*deadlines_s, *starts_s], default=math.inf)

    def _queued(self) -> Iterator[Entry[T]]:
        for queue in self._groups.values():
            yield from queue

    def _remove(self, gone: set[int]) -> None:
        for group, queue in list(self._groups.items()):
            for entry in [entry for entry in queue if id(entry) in gone]:
                queue.remove(entry)
                self._count(entry, -1)
            if not queue:
                del self._groups[group]

    def _count(self, entry: Entry[T], sign: int) -> None:
        self.queued_items += sign * entry.items
        self.queued_bytes += sign * entry.nbytes


def _whole_seconds(seconds: float) -> int:
    return min(_LONGEST_RETRY_S, max(1, math.ceil(seconds)))


def _check(name: str, value: float, *, least: int, remedy: str) -> None:
    if not least <= value < math.inf:
        raise BadInput(expected=f"{name} of at least {least}", found=str(value), remedy=remedy)
