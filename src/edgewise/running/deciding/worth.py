"""What a route costs when an answer is due: its time, and the right answers that it loses.

With a deadline, being quicker than it is worth little; being right in time is what counts. So a
route's cost is its time plus twenty deadlines for every right answer that is lost, be it
because the route errs or because it is late and the device has nothing as good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.bundle import Route, RouteKind
from edgewise.running.deciding.outlook import Outlook

LOST = 20.0
_SAFETY = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When an answer is due, and what there is if the cloud is late.

    Args:
        left_s: until then.
        saved: share of right answers of the device alone; 0 when it would be late too.
    """

    left_s: float
    saved: float = 0.0


def cost_s(outlook: Outlook, route: Route, parts_s: tuple[float, float], due: Due) -> float:
    """Predicted seconds of a route, and ``LOST`` times the time left for a right answer lost.

    Args:
        outlook: what predictions rest on.
        route: one that may be taken.
        parts_s: of it: computing, and the link as it is thought to be.
        due: when the answer must be there.
    """
    computing_s, transfer_s = parts_s
    chance = _chance(outlook, computing_s, transfer_s, due.left_s)
    lost = 1 - chance * quality_of(route) - (1 - chance) * due.saved
    return computing_s + transfer_s + LOST * due.left_s * lost


def _chance(outlook: Outlook, computing_s: float, transfer_s: float, left_s: float) -> float:
    """That a route is in time: transfers vary as they did lately, computing by a few percent."""
    spare_s = left_s - _SAFETY * computing_s
    if transfer_s == 0:
        return float(spare_s >= 0)
    return outlook.link.errors.chance(spare_s / transfer_s)


def quality_of(route: Route) -> float:
    """Share of right answers; 1 when nobody measured it.

    >>> from edgewise.bundle import Coefficients
    >>> quality_of(Route(name="local", kind=RouteKind.LOCAL, coefficients=Coefficients()))
    1.0
    """
    return 1.0 if route.quality is None else route.quality.value


def saved_alone(
    outlook: Outlook, routes: Sequence[Route], *, alone_s: float | None, now_s: float
) -> float:
    """Share of right answers when the device steps in for the cloud; 0 when it cannot in time.

    Args:
        outlook: what predictions rest on.
        routes: those that may be taken.
        alone_s: until the deadline once the device is free; ``None``: it cannot answer alone.
        now_s: on the session's clock.
    """
    if alone_s is None:
        return 0.0
    longest_s = outlook.local_p99_s()
    in_time = [
        route
        for route in routes
        if route.kind is RouteKind.LOCAL
        and (outlook.computing_s(route, now_s) if longest_s is None else longest_s) <= alone_s
    ]
    return max(map(quality_of, in_time), default=0.0)
