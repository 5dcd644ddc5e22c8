"""Which route to take now: live estimates put into the routes' formulas, and no fidgeting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgewise.bundle import Coefficients, Route
from edgewise.running.deciding.estimating import Estimator, LinkEstimate, Rates
from edgewise.running.deciding.fading import Drift, Queue, Window

DWELL_S = 10.0
BETTER = 0.85
_FEW = 5
_LOCAL_MARGIN = 1.25
_REMOTE_MARGIN = 2.0
_UNKNOWN_LINK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dwell:
    """The route in use, and whether it may be left.

    Args:
        route: its name; empty before the first choice.
        since_s: when it was chosen.
        released: it failed or missed a deadline, so it may be left at once.
    """

    route: str = ""
    since_s: float = 0.0
    released: bool = False


def settle(dwell: Dwell, costs_s: Mapping[str, float], *, now_s: float) -> tuple[Dwell, bool]:
    """Keep the route, or change to the best one; among equals the earliest.

    A change needs a cost at least 15 % less, and 10 s since the last change unless the
    route failed or missed its deadline.

    Returns:
        The next dwell, and whether a better route was passed over for it.

    >>> settle(Dwell(route="a"), {"a": 1.0, "b": 0.5}, now_s=10.0)[0].route
    'b'
    """
    best = min(costs_s, key=lambda name: costs_s[name])
    if dwell.route not in costs_s:
        return Dwell(route=best, since_s=now_s), False
    if best == dwell.route:
        return dwell, False
    better = costs_s[best] <= BETTER * costs_s[dwell.route]
    # A clock that jumped back says nothing about how long the route was in use.
    free = dwell.released or not 0 <= now_s - dwell.since_s < DWELL_S
    if better and free:
        return Dwell(route=best, since_s=now_s), False
    return dwell, True


def link_s(route: Route, link: Rates) -> float:
    """Seconds that a route's bytes take on a link; 0 for one that needs none."""
    if route.server_part is None:
        return 0.0
    return route.coefficients.link_s(
        up_bytes_per_s=link.up_bytes_per_s,
        down_bytes_per_s=link.down_bytes_per_s,
        rtt_s=link.rtt_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything that predictions rest on; a value, so one request never sees half of it.

    Args:
        link: estimator of the link.
        device: how much slower the device is than planned.
        server: how much slower the cloud half works than planned.
        queue: how long requests wait there before.
        local_s: what answers on the device took.
        remote: what answers of the cloud took, over what was predicted.
        expected: whether the caller said what link to expect.
        dwell: the route in use.
    """

    link: Estimator
    device: Drift = field(default_factory=Drift)
    server: Drift = field(default_factory=Drift)
    queue: Queue = field(default_factory=Queue)
    local_s: Window = field(default_factory=Window)
    remote: Window = field(default_factory=Window)
    expected: bool = False
    dwell: Dwell = field(default_factory=Dwell)

    def estimate(self, now_s: float) -> LinkEstimate:
        """The link as it is thought to be now."""
        return self.link.estimate(now_s)

    def live_link(self, now_s: float) -> LinkEstimate | None:
        """The link to predict with; ``None`` when nobody said and nothing was measured."""
        estimate = self.estimate(now_s)
        return estimate if estimate.known or self.expected else None

    def predict_s(self, route: Route, link: Rates | None, now_s: float) -> float:
        """Seconds that a route takes now; without a link, its computing alone."""
        return sum(self.parts_s(route, link, now_s))

    def parts_s(self, route: Route, link: Rates | None, now_s: float) -> tuple[float, float]:
        """The same in two parts: computing and waiting, and the link."""
        return self.computing_s(route, now_s), 0.0 if link is None else link_s(route, link)

    def computing_s(self, route: Route, now_s: float) -> float:
        """Seconds that a route takes now beside the link, waiting at the server included."""
        c: Coefficients = route.coefficients
        device_s = c.device_s * self.device.ratio(now_s)
        if route.server_part is None:
            return device_s
        return device_s + c.cloud_s * self.server.ratio(now_s) + self.queue.wait_s(now_s)

    def local_p99_s(self) -> float | None:
        """What an answer on the device takes at most; ``None`` until one was measured.

        The longest of the last 64 (their 99th percentile), and a quarter more.
        """
        longest = self.local_s.quantile(0.99)
        return None if longest is None else longest * _LOCAL_MARGIN

    def hedge_s(self, *, deadline_s: float, predicted_s: float, linked: bool) -> float:
        """When the device should start on its own, counted like the deadline.

        ``min(p95 of the cloud's answers, deadline - longest answer on the device)``; at once
        as long as nobody knows how long the device takes. On an unknown link the cloud's answers
        are given a second.

        Args:
            deadline_s: when the answer is due.
            predicted_s: of the route that is tried.
            linked: whether that prediction counts the link.
        """
        local_s = self.local_p99_s()
        if local_s is None:
            return 0.0
        patience_s = predicted_s * self._p95() if linked else predicted_s + _UNKNOWN_LINK_S
        return max(0.0, min(patience_s, deadline_s - local_s))

    def kept(self, routes: Sequence[Route], *, deadline_s: float, now_s: float) -> list[Route]:
        """The routes whose device part leaves time for an answer on the device."""
        local_s = self.local_p99_s()
        slowness = self.device.ratio(now_s)
        if local_s is None or deadline_s < local_s:
            return list(routes)
        spare_s = deadline_s - local_s
        return [
            route
            for route in routes
            if route.server_part is None or route.coefficients.device_s * slowness <= spare_s
        ]

    def missed(self) -> Outlook:
        """The route in use failed or missed its deadline."""
        return replace(self, dwell=replace(self.dwell, released=True))

    def _p95(self) -> float:
        if len(self.remote.values) < _FEW:
            return _REMOTE_MARGIN
        return self.remote.quantile(0.95) or _REMOTE_MARGIN
