"""What runs cost, to tell which are not worth a thread."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from edgewise.serving.batching.batcher import Batch

# Measured: a run in a thread that was asleep, and word of its end, cost about as much again.
QUICK_S = 2.5e-4
_RUNS_REMEMBERED = 8
T = TypeVar("T")


class RunCosts:
    """Time per item of the last runs of each route.

    >>> from edgewise.serving.batching.batcher import Batch, Entry, Group
    >>> group = Group(bundle="m", route="r")
    >>> entry = Entry(group=group, work=None, arrived_s=0.0)
    >>> batch = Batch(group=group, entries=(entry,), started_s=0.0)
    >>> costs = RunCosts()
    >>> costs.is_quick(batch)
    False
    >>> costs.add(batch, 1e-5)
    >>> costs.is_quick(batch)
    True
    """

    def __init__(self) -> None:
        self._per_item_s: dict[tuple[str, str], deque[float]] = {}

    def is_quick(self, batch: Batch[T]) -> bool:
        """Whether a hand-over to a thread would take longer than the run; no before the first."""
        known = sorted(self._per_item_s.get(batch.group.route_of_bundle, ()))
        return bool(known) and known[len(known) // 2] * batch.items <= QUICK_S

    def add(self, batch: Batch[T], took_s: float) -> None:
        """A batch has run."""
        known = self._per_item_s.setdefault(
            batch.group.route_of_bundle, deque(maxlen=_RUNS_REMEMBERED)
        )
        known.append(took_s / batch.items)
