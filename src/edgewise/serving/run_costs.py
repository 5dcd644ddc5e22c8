"""What runs cost, to tell which are not worth a thread."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from edgewise.serving.batching import Batch

# Measured: handing a run to a sleeping thread and back costs the loop about as much.
QUICK_S = 1e-4
_RUNS_REMEMBERED = 8
T = TypeVar("T")


class RunCosts:
    """CPU time per item of the last runs of each route; of a route never run nothing is known.

    CPU time, since a thread that waits for its turn would look slow.

    Args:
        cpu_clock: CPU seconds of the thread that asks.
    """

    def __init__(self, *, cpu_clock: Callable[[], float] = time.thread_time) -> None:
        self._cpu_clock = cpu_clock
        self._per_item_s: dict[tuple[str, str], deque[float]] = {}

    def is_quick(self, batch: Batch[T]) -> bool:
        """Whether waking a thread would take longer than the run itself."""
        known = self._per_item_s.get(batch.group.route_of_model)
        return bool(known) and max(known or ()) * batch.items <= QUICK_S

    @contextlib.contextmanager
    def measured(self, batch: Batch[T]) -> Iterator[None]:
        """Remember what the block costs this thread."""
        start_s = self._cpu_clock()
        try:
            yield
        finally:
            known = self._per_item_s.setdefault(
                batch.group.route_of_model, deque(maxlen=_RUNS_REMEMBERED)
            )
            known.append((self._cpu_clock() - start_s) / batch.items)
