"""What one server process has done so far, in the counters of the statistics extension.

Source: the Open Inference Protocol's statistics extension: cumulative counts with nanoseconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

_SPANS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_CACHE = ("cache_hit", "cache_miss")


class Counts:
    """Counters of one model, used from the event loop alone, hence without a lock.

    Args:
        elapsed_s: a clock that never goes back.
        now_s: the time since the epoch.

    >>> counts = Counts()
    >>> with counts.request():
    ...     counts.ran(queue_s=0.0, compute_input_s=0.0, compute_infer_s=0.5, compute_output_s=0.0)
    >>> counts.statistics("tiny", "1")["inference_count"]
    1
    """

    def __init__(
        self,
        *,
        elapsed_s: Callable[[], float] = time.perf_counter,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._elapsed_s = elapsed_s
        self._now_s = now_s
        self._count = dict.fromkeys(_SPANS, 0)
        self._ns = dict.fromkeys(_SPANS, 0)
        self._inferences = self._executions = self._last_ms = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count one request as a success, or as a failure when it is refused."""
        start_s = self._elapsed_s()
        outcome = "fail"
        try:
            yield
            outcome = "success"
        finally:
            self._add(outcome, self._elapsed_s() - start_s)

    def ran(self, *, items: int = 1, executions: int = 1, **spans_s: float) -> None:
        """Count what one request took; requests that ran together share an execution.

        Args:
            items: examples in the request.
            executions: 1 for the request that stands for its run of the network, 0 for those
                that rode along.
            spans_s: seconds of ``queue_s``, ``compute_input_s``, ``compute_infer_s`` and
                ``compute_output_s``.
        """
        self._inferences += items
        self._executions += executions
        self._last_ms = int(self._now_s() * 1e3)
        for name, seconds in spans_s.items():
            self._add(name.removesuffix("_s"), seconds)

    def statistics(self, model: str, version: str) -> dict[str, object]:
        """The entry of one model in ``model_stats``."""
        spans = {name: _span(self._count[name], self._ns[name]) for name in _SPANS}
        return {
            "name": model,
            "version": version,
            "last_inference": self._last_ms,
            "inference_count": self._inferences,
            "execution_count": self._executions,
            "inference_stats": spans | {name: _span(0, 0) for name in _CACHE},
            "batch_stats": [],
        }

    def _add(self, name: str, seconds: float) -> None:
        self._count[name] += 1
        self._ns[name] += max(0, round(seconds * 1e9))


def _span(count: int, ns: int) -> Mapping[str, int]:
    return {"count": count, "ns": ns}
