"""Which route to take: the least predicted time among those that the policy allows."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.bundle import BundleRoute, RouteKind
from edgewise.errors import BadInput
from edgewise.specs import LinkSpec


class Policy(enum.StrEnum):
    """Where answers may come from; the words are those of other hybrid SDKs."""

    AUTO = "auto"
    PREFER_ON_DEVICE = "prefer_on_device"
    ONLY_ON_DEVICE = "only_on_device"
    PREFER_IN_CLOUD = "prefer_in_cloud"
    ONLY_IN_CLOUD = "only_in_cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The route to try first, its predicted seconds, and why it was chosen."""

    route: BundleRoute
    predicted_s: float
    reason: str


def choose(
    routes: Sequence[BundleRoute],
    *,
    link: LinkSpec | None,
    policy: Policy = Policy.AUTO,
    raw_input_stays: bool = False,
) -> Choice:
    """Choose a route.

    Args:
        routes: those of the bundle, the planner's choice first.
        link: what the link is like now; without it the planner's order decides.
        policy: where answers may come from.
        raw_input_stays: forbid the routes that send the input itself.

    Raises:
        BadInput: when the policy leaves no route.
    """
    allowed = [r for r in routes if _allows(r, policy, raw_input_stays)]
    if not allowed:
        raise BadInput(
            expected=f"a route in the bundle that the policy {policy} allows",
            found=", ".join(route.name for route in routes),
            remedy="choose another policy, or plan a bundle with such a route",
        )
    preferred = [route for route in allowed if _prefers(route, policy)] or allowed
    if link is None:
        first = preferred[0]
        return Choice(
            route=first,
            predicted_s=predict_s(first, None),
            reason="the planner's first choice",
        )
    best = min(preferred, key=lambda route: predict_s(route, link))
    return Choice(
        route=best,
        predicted_s=predict_s(best, link),
        reason=f"least predicted time on {link.name}",
    )


def predict_s(route: BundleRoute, link: LinkSpec | None) -> float:
    """Seconds that a route takes on a link; without a link, its computing alone."""
    c = route.coefficients
    if link is None:
        return c.device_s + c.cloud_s
    return c.seconds(
        up_bytes_per_s=link.up_bytes_per_s,
        down_bytes_per_s=link.down_bytes_per_s,
        rtt_s=link.rtt_s,
    )


def _allows(route: BundleRoute, policy: Policy, raw_input_stays: bool) -> bool:
    local = route.kind is RouteKind.LOCAL
    if policy is Policy.ONLY_ON_DEVICE and not local:
        return False
    if policy is Policy.ONLY_IN_CLOUD and local:
        return False
    return not (raw_input_stays and route.kind is RouteKind.CLOUD)


def _prefers(route: BundleRoute, policy: Policy) -> bool:
    local = route.kind is RouteKind.LOCAL
    if policy is Policy.PREFER_ON_DEVICE:
        return local
    return not local if policy is Policy.PREFER_IN_CLOUD else True
