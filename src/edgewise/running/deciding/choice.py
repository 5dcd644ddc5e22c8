"""Which routes a policy allows and prefers, and what choosing one of them says."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgewise.bundle import Route, RouteKind
from edgewise.errors import BadInput
from edgewise.running.deciding.estimating import Rates


class Policy(enum.StrEnum):
    """Where answers may come from; the words are those of other hybrid SDKs."""

    AUTO = "auto"
    PREFER_ON_DEVICE = "prefer_on_device"
    ONLY_ON_DEVICE = "only_on_device"
    PREFER_IN_CLOUD = "prefer_in_cloud"
    ONLY_IN_CLOUD = "only_in_cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The route to try first, and why.

    Args:
        route: chosen.
        predicted_s: for it.
        reason: why it was chosen.
        linked: whether that prediction counts the link.
    """

    route: Route
    predicted_s: float
    reason: str
    linked: bool


def named_route(routes: Sequence[Route], name: str) -> Route:
    """The route of that name.

    Raises:
        BadInput: when it is not among ``routes``.
    """
    for route in routes:
        if route.name == name:
            return route
    raise BadInput(
        expected=f"one of the routes {', '.join(route.name for route in routes)}",
        found=repr(name[:80]),
        remedy="choose one of them",
    )


def allowed_routes(
    routes: Sequence[Route],
    *,
    policy: Policy,
    raw_input_stays: bool = False,
    inputs: Collection[str] = (),
) -> list[Route]:
    """The routes that a policy leaves.

    Args:
        routes: those of the bundle.
        policy: where answers may come from.
        raw_input_stays: forbid the routes that send the input itself.
        inputs: names of the model's inputs, to know those routes by.

    Raises:
        BadInput: when there is none.
    """
    raw = {route.name for route in routes if raw_input_stays and _sends_input(route, inputs)}
    allowed = [route for route in routes if _allows(route, policy) and route.name not in raw]
    if not allowed:
        also = " with raw_input_stays" if raw_input_stays else ""
        raise BadInput(
            expected=f"a route that the policy {policy}{also} allows",
            found=", ".join(route.name for route in routes) or "none at all",
            remedy="choose another policy, or plan a bundle with such a route",
        )
    return allowed


def preferred_routes(routes: Sequence[Route], policy: Policy) -> list[Route]:
    """Those of the allowed routes that the policy prefers; all when it prefers none."""
    return [route for route in routes if _prefers(route, policy)] or list(routes)


def reason_for(count: int, link: Rates | None, policy: Policy) -> str:
    """Why a route was chosen among ``count``, in words a person reads."""
    if count == 1:
        reason = "the only route that can be taken"
    elif link is None:
        reason = "the planner's first choice"
    else:
        reason = f"least predicted time on {link.name}"
    return reason if policy is Policy.AUTO else f"{reason} under the policy {policy}"


def predict_s(route: Route, link: Rates | None) -> float:
    """Seconds that a route takes on a link; without a link, its computing alone."""
    c = route.coefficients
    if link is None:
        return c.device_s + c.cloud_s
    return c.seconds(
        up_bytes_per_s=link.up_bytes_per_s,
        down_bytes_per_s=link.down_bytes_per_s,
        rtt_s=link.rtt_s,
    )


def _allows(route: Route, policy: Policy) -> bool:
    local = route.kind is RouteKind.LOCAL
    if policy is Policy.ONLY_ON_DEVICE:
        return local
    return not local if policy is Policy.ONLY_IN_CLOUD else True


def _sends_input(route: Route, inputs: Collection[str]) -> bool:
    # A cascade sends on what its small model is unsure of; a cut may pass through an input.
    # The planner knows more than names: a head that computes nothing sends the input's image.
    if route.sends_input or route.kind in (RouteKind.CLOUD, RouteKind.CASCADE):
        return True
    sent = {*route.cut, *(bound.name for bound in route.boundary)}
    return not sent.isdisjoint(inputs)


def _prefers(route: Route, policy: Policy) -> bool:
    local = route.kind is RouteKind.LOCAL
    if policy is Policy.PREFER_ON_DEVICE:
        return local
    return not local if policy is Policy.PREFER_IN_CLOUD else True
