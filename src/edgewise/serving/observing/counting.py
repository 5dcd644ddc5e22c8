"""What one server process has done so far, in the counters of the statistics extension.

Source: the Open Inference Protocol's statistics extension: cumulative counts with nanoseconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from edgewise.serving.observing.account import Account

_COUNTED = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_NEVER = ("cache_hit", "cache_miss")  # clients look for them; there is no cache
SPANS = (*_COUNTED, *_NEVER)


class Counts:
    """Counters of every model and version, used from the event loop alone, hence without a lock.

    An exchange of bundles leaves them as they are.

    Args:
        elapsed_s: a clock that never goes back.
        now_s: the time since the epoch.

    >>> counts = Counts()
    >>> account = Account(model="tiny", version="1")
    >>> spans_s = dict(queue_s=0.0, compute_input_s=0.0, compute_infer_s=0.5, compute_output_s=0.0)
    >>> with counts.request(account):
    ...     counts.ran(account, **spans_s)
    >>> counts.statistics([("tiny", "1")])["model_stats"][0]["inference_count"]
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
        self._versions: dict[tuple[str, str], _Version] = {}

    @contextlib.contextmanager
    def request(self, account: Account) -> Iterator[None]:
        """Count one request as a success, or as a failure when it is refused.

        It counts for the version that the account names in the end.
        """
        start_s = self._elapsed_s()
        outcome = "fail"
        try:
            yield
            outcome = "success"
        finally:
            self._of(account.model, account.version).add(outcome, self._elapsed_s() - start_s)

    def ran(
        self, account: Account, *, items: int = 1, executions: int = 1, **spans_s: float
    ) -> None:
        """Count what one request took; requests that ran together share an execution.

        Args:
            account: of the request.
            items: examples in the request.
            executions: 1 for the request that stands for its run of the network, 0 for those
                that rode along.
            spans_s: seconds of ``queue_s``, ``compute_input_s``, ``compute_infer_s`` and
                ``compute_output_s``.
        """
        version = self._of(account.model, account.version)
        version.inferences += items
        version.executions += executions
        version.last_ms = int(self._now_s() * 1e3)
        for name, seconds in spans_s.items():
            version.add(name[:-2], seconds)

    def statistics(self, versions: Iterable[tuple[str, str]]) -> dict[str, object]:
        """What has been done by each of these models and versions."""
        entries = [self._of(*one).statistics(*one) for one in dict.fromkeys(versions)]
        return {"model_stats": entries}

    def _of(self, model: str, version: str) -> _Version:
        found = self._versions.get((model, version))
        if found is None:
            found = self._versions[model, version] = _Version()
        return found


class _Version:
    """Counters of one version."""

    def __init__(self) -> None:
        self._count = dict.fromkeys(_COUNTED, 0)
        self._ns = dict.fromkeys(_COUNTED, 0)
        self.inferences = self.executions = self.last_ms = 0

    def add(self, name: str, seconds: float) -> None:
        self._count[name] += 1
        self._ns[name] += max(0, round(seconds * 1e9))

    def statistics(self, model: str, version: str) -> dict[str, object]:
        spans = {name: _span(self._count[name], self._ns[name]) for name in _COUNTED}
        return {
            "name": model,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": spans | {name: _span(0, 0) for name in _NEVER},
            "batch_stats": [],
        }


def _span(count: int, ns: int) -> Mapping[str, int]:
    return {"count": count, "ns": ns}
