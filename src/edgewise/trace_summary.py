"""Traces in a few figures, route by route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from edgewise.trace import SpanKind, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """How times are spread: half, 95 % and 99 % of them are at most so long.

    >>> Quantiles.of([0.1, 0.2, 0.3])
    Quantiles(p50_s=0.2, p95_s=0.29, p99_s=0.298)
    """

    p50_s: float
    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Those of at least one time, interpolated between neighbours."""
        p50_s, p95_s, p99_s = np.percentile(seconds, (50, 95, 99)).tolist()
        return cls(p50_s=p50_s, p95_s=p95_s, p99_s=p99_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """What the requests that one route answered took.

    Args:
        route: its name.
        kind: ``local``, ``split``, ``cloud`` …
        requests: their number.
        total: from the call to the answer.
        spans: by kind, over the requests that had spans of that kind.
        up_bytes: sent, a request on average.
        down_bytes: received, a request on average.
        deadlines: requests that had one.
        deadlines_met: those that were answered in time.
    """

    route: str
    kind: str
    requests: int
    total: Quantiles
    spans: Mapping[str, Quantiles]
    up_bytes: float
    down_bytes: float
    deadlines: int
    deadlines_met: int


def summarise(traces: Iterable[Trace]) -> tuple[RouteSummary, ...]:
    """One summary for each route, the busiest first.

    >>> trace = Trace(request_id="1", bundle_digest="d", route="local", reason="", total_s=0.5,
    ...               spans=())
    >>> [(route.route, route.requests, route.total.p50_s) for route in summarise([trace, trace])]
    [('local', 2, 0.5)]
    """
    by_route: dict[tuple[str, str], list[Trace]] = {}
    for trace in traces:
        by_route.setdefault((trace.route, trace.kind), []).append(trace)
    every = (_summary(route, kind, some) for (route, kind), some in by_route.items())
    return tuple(sorted(every, key=lambda summary: (-summary.requests, summary.route)))


def _summary(route: str, kind: str, traces: Sequence[Trace]) -> RouteSummary:
    met = [trace.deadline_met for trace in traces if trace.deadline_met is not None]
    return RouteSummary(
        route=route,
        kind=kind,
        requests=len(traces),
        total=Quantiles.of([trace.total_s for trace in traces]),
        spans=_spans(traces),
        up_bytes=sum(trace.up_bytes for trace in traces) / len(traces),
        down_bytes=sum(trace.down_bytes for trace in traces) / len(traces),
        deadlines=len(met),
        deadlines_met=sum(met),
    )


def _spans(traces: Sequence[Trace]) -> dict[str, Quantiles]:
    seconds: dict[SpanKind, list[float]] = {}
    for trace in traces:
        for kind in {span.kind for span in trace.spans}:
            seconds.setdefault(kind, []).append(trace.seconds_of(kind))
    return {kind.value: Quantiles.of(seconds[kind]) for kind in SpanKind if kind in seconds}
