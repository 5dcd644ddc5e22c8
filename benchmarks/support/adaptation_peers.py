"""What the session is compared with: an oracle, fixed routes, and two plain estimators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgewise.bundle import Route
from edgewise.specs import LinkSpec
from support.adaptation_session import Chooser, Transfer
from support.adaptation_world import World

_EWMA_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What the oracle would take for one request, and what that is worth."""

    route: str
    score: float


def accuracy(route: Route) -> float:
    """Share of examples that a route decides as the full network does."""
    return 1.0 if route.quality is None else route.quality.value


def oracle(world: World, routes: Sequence[Route], *, deadline_s: float) -> list[Best]:
    """For each request, the best accuracy in time, and of equals the quickest."""
    return [
        _best(world, routes, number=number, asked_s=asked_s, deadline_s=deadline_s)
        for number, asked_s in enumerate(world.arrivals_s(), start=1)
    ]


def _best(
    world: World, routes: Sequence[Route], *, number: int, asked_s: float, deadline_s: float
) -> Best:
    found = []
    for route in routes:
        took_s = _took_s(world, route, number=number, asked_s=asked_s)
        score = accuracy(route) if took_s <= deadline_s else 0.0
        found.append((-score, took_s, route.name))
    score, _, name = min(found)
    return Best(route=name, score=-score)


def _took_s(world: World, route: Route, *, number: int, asked_s: float) -> float:
    head_s = world.device_s(route, number=number, start_s=asked_s)
    if route.server_part is None:
        return head_s
    exchange = world.exchange(route, number=number, start_s=asked_s + head_s, cold=False)
    return math.inf if exchange.refused else exchange.last_s - asked_s


def fixed(name: str) -> Chooser:
    """Always the same route; hedge, breaker and fallback as in every session."""
    return Chooser(choose=lambda _: name)


def by_last_sample(routes: Sequence[Route], expected: LinkSpec) -> Chooser:
    """Takes the throughput of the last exchange, bytes over seconds, for that of the next."""
    return _by_throughput(routes, expected, share=1.0)


def by_ewma(routes: Sequence[Route], expected: LinkSpec) -> Chooser:
    """Likewise the exponentially weighted mean, the newest at 30 %."""
    return _by_throughput(routes, expected, share=_EWMA_SHARE)


def _by_throughput(routes: Sequence[Route], expected: LinkSpec, *, share: float) -> Chooser:
    rate = expected.up_bytes_per_s

    def choose(left_s: float) -> str:
        return _most_accurate_in_time(routes, lambda route: _predict_s(route, rate), left_s)

    def watch(transfer: Transfer) -> None:
        nonlocal rate
        newest = transfer.up_bytes / max(1e-3, transfer.seconds)
        rate += share * (newest - rate)

    return Chooser(choose=choose, watch=watch)


def _predict_s(route: Route, bytes_per_s: float) -> float:
    c = route.coefficients
    return c.device_s + c.cloud_s + c.up_bytes / bytes_per_s


def _most_accurate_in_time(
    routes: Sequence[Route], predict_s: Callable[[Route], float], left_s: float
) -> str:
    in_time = [route for route in routes if predict_s(route) <= left_s]
    if not in_time:
        return min(routes, key=predict_s).name
    return min(in_time, key=lambda route: (-accuracy(route), predict_s(route))).name
