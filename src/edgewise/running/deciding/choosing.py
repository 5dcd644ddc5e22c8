"""Choose a route for one request, with everything that is known now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgewise.bundle import Route
from edgewise.running.deciding.choice import Choice, Policy, preferred_routes, reason_for
from edgewise.running.deciding.outlook import Outlook, settle
from edgewise.running.deciding.thrift import know_energy, weighed
from edgewise.running.deciding.worth import Due, cost_s, saved_alone

_ENOUGH = 3  # measured runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a choice depends on, beside the outlook.

    Args:
        now_s: on the session's clock.
        policy: where answers may come from.
        left_s: until the deadline; ``None`` without one.
        alone_s: until the deadline once the device is free; ``None`` without one, or when it
            cannot answer alone.
        saving: whether the battery is low.
    """

    now_s: float
    policy: Policy
    left_s: float | None = None
    alone_s: float | None = None
    saving: bool = False


def choose_now(
    outlook: Outlook, routes: Sequence[Route], question: Question
) -> tuple[Outlook, Choice]:
    """The route to try, and the outlook that remembers it.

    Without a deadline the least predicted time decides; with one, the chance of a right answer
    in time (``worth``), and routes whose own part on the device would leave
    the device no time to answer alone are out. Without any knowledge of the link the planner's
    order decides.

    Args:
        outlook: what predictions rest on.
        routes: those that the policy allows, the planner's choice first; at least one.
        question: of this request.
    """
    now_s = question.now_s
    candidates = _candidates(outlook, routes, question)
    link = outlook.live_link(now_s)
    parts = {route.name: outlook.parts_s(route, link, now_s) for route in candidates}
    predicted_s = {
        name: computing_s + transfer_s for name, (computing_s, transfer_s) in parts.items()
    }
    costs_s: Mapping[str, float] = predicted_s
    reason = reason_for(len(candidates), link, question.policy)
    if link is not None and question.left_s is not None:
        due = Due(
            left_s=question.left_s,
            saved=saved_alone(outlook, routes, alone_s=question.alone_s, now_s=now_s),
        )
        costs_s = {r.name: cost_s(outlook, r, parts[r.name], due) for r in candidates}
    if question.saving and know_energy(candidates):
        costs_s = weighed(candidates, costs_s)
        reason = f"{reason}, energy counted because the battery is low"
    if link is None:  # nothing to compare by: the planner's order decides
        costs_s = {candidates[0].name: 0.0}
    dwell, kept = settle(outlook.dwell, costs_s, now_s=now_s)
    reason = f"{reason}, or nearly, and in use" if kept else reason
    route = next(route for route in candidates if route.name == dwell.route)
    choice = Choice(
        route=route,
        predicted_s=predicted_s[route.name],
        reason=reason,
        linked=link is not None,
    )
    if dwell.released:
        dwell = replace(dwell, released=False)
    return (outlook if dwell is outlook.dwell else replace(outlook, dwell=dwell)), choice


def best_s(outlook: Outlook, routes: Sequence[Route], *, now_s: float) -> float:
    """The soonest that any route can answer; 0 while that of any is not known.

    One slow start says nothing of the runs after it, and whoever is refused measures nothing.
    """
    link = outlook.live_link(now_s)
    if link is None and any(route.server_part is not None for route in routes):
        return 0.0
    if outlook.device.samples < _ENOUGH and any(route.device_part is not None for route in routes):
        return 0.0
    soonest_s = min(outlook.predict_s(route, link, now_s) for route in routes)
    local_s = outlook.local_s.quantile(0.0)
    return soonest_s if local_s is None else min(soonest_s, local_s)


def _candidates(outlook: Outlook, routes: Sequence[Route], question: Question) -> Sequence[Route]:
    preferred = preferred_routes(routes, question.policy)
    if question.alone_s is None:
        return preferred
    for some in (preferred, routes):
        kept = outlook.kept(some, deadline_s=question.alone_s, now_s=question.now_s)
        if kept:
            return kept
    return preferred
