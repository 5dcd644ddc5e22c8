"""How long a session thinks about one request: everything from its arrival to the first action."""

from __future__ import annotations

import time

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.running import Options
from edgewise.running.deciding.events import HeadDone, ReplyArrived, Send
from edgewise.running.deciding.steering import DeviceRan, Mind, Rules, Wanted, advance, first_mind
from edgewise.specs import LinkSpec, Provenance
from support.report import Goal

GOAL_S = 1e-4
LINK = LinkSpec(
    name="lte",
    up_bytes_per_s=1e6,
    rtt_s=0.05,
    provenance=Provenance(source="made for this benchmark", date="2026-11-22"),
)


def choice_goal(times_s: list[float]) -> Goal:
    """The route choice beside its goal."""
    ranked = sorted(times_s)
    median_s, p99_s = ranked[len(ranked) // 2], ranked[int(0.99 * len(ranked))]
    return Goal(
        what="route choice: five routes, a deadline, live estimates, full windows",
        goal=f"≤ {1e3 * GOAL_S:g} ms",
        measured=f"median {1e6 * median_s:.0f} µs, p99 {1e6 * p99_s:.0f} µs",
        met=p99_s <= GOAL_S,
    )


def choice_times(requests: int = 3000, *, deadline_s: float | None = 1.0) -> list[float]:
    """Seconds of each choice among five routes, the machine's first step included.

    The link is measured by every reply before, and 64 runs of the device are remembered.
    """
    rules = Rules(routes=_routes(), fallback=True, options=Options(link=LINK))
    mind = first_mind(rules.options)
    for i in range(64):
        mind, _ = advance(rules, mind, DeviceRan(now_s=0.0, took_s=0.2 + i / 1e4))
    times_s = []
    for number in range(1, requests + 1):
        wanted = Wanted(
            now_s=0.3 * number,
            request=number,
            routes=tuple(route.name for route in rules.routes),
            deadline_s=deadline_s,
        )
        start_s = time.perf_counter()
        mind, _ = advance(rules, mind, wanted)
        times_s.append(time.perf_counter() - start_s)
        mind = _replied(rules, mind, wanted)
    return times_s


def _replied(rules: Rules, mind: Mind, wanted: Wanted) -> Mind:
    number, now_s = wanted.request, wanted.now_s
    mind, action = advance(rules, mind, HeadDone(now_s=now_s + 0.05, request=number))
    if not isinstance(action, Send):
        return mind
    reply = ReplyArrived(
        now_s=now_s + 0.15,
        request=number,
        up_bytes=20_000,
        down_bytes=400,
        waited_s=0.09 + 0.001 * (number % 7),
        read_s=0.001,
        server_s=0.01,
    )
    return advance(rules, mind, reply)[0]


def _routes() -> tuple[Route, ...]:
    splits = tuple(
        _route(f"split-{i}", RouteKind.SPLIT, device_s=0.05 / i, up_bytes=20_000 * i)
        for i in (1, 2, 3)
    )
    cloud = _route("cloud", RouteKind.CLOUD, device_s=0.0, up_bytes=100_000)
    return (*splits, cloud, _route("local", RouteKind.LOCAL, device_s=0.2, up_bytes=0))


def _route(name: str, kind: RouteKind, *, device_s: float, up_bytes: int) -> Route:
    remote = kind is not RouteKind.LOCAL
    return Route(
        name=name,
        kind=kind,
        device_part="head" if device_s else None,
        server_part="tail" if remote else None,
        coefficients=Coefficients(
            device_s=device_s, cloud_s=0.02 * remote, up_bytes=up_bytes, rtts=int(remote)
        ),
    )
