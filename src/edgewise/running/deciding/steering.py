"""The whole session without I/O: what it knows, which route it takes, and the request under way.

:func:`advance` is a pure function of events, their times and measured sizes; it chooses the route
with live estimates, hands the request to ``machine.step``, and learns from
whatever comes back. Played by recorded traces (``vectors/session/routes``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgewise.bundle import Route
from edgewise.running.deciding import machine
from edgewise.running.deciding.choice import Choice, named_route
from edgewise.running.deciding.choosing import Question, best_s, choose_now
from edgewise.running.deciding.estimating import TYPICAL, Estimator
from edgewise.running.deciding.events import (
    Action,
    AnswerNow,
    Asked,
    Cancelled,
    GiveUp,
    HeadDone,
    LocalDone,
    OfRequest,
    ReplyArrived,
    TimedOut,
    Unreachable,
)
from edgewise.running.deciding.learning import (
    with_head,
    with_local,
    with_remote,
    with_reply,
    without_reply,
)
from edgewise.running.deciding.machine import Phase, State
from edgewise.running.deciding.outlook import Outlook
from edgewise.running.deciding.thrift import HostState
from edgewise.running.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What does not change as long as a session lives.

    Args:
        routes: those that may be taken, the planner's choice first.
        fallback: whether the device can answer alone.
        options: of the session.
    """

    routes: tuple[Route, ...]
    fallback: bool
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Somebody wants an answer.

    Args:
        now_s: when.
        request: its number, above all earlier ones.
        routes: names of those that can take this input; at least one.
        route: the one that the caller insists on.
        deadline_s: counted from when the request came in, ``spent_s`` ago.
        spent_s: gone already, on preparing the input.
        busy_since_s: when the device began what it still runs for an older request.
    """

    now_s: float
    request: int
    routes: tuple[str, ...]
    route: str | None = None
    deadline_s: float | None = None
    spent_s: float = 0.0
    busy_since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRan:
    """The network that answers alone has run, for this request or an older one."""

    now_s: float
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the request under way was begun with.

    Args:
        wanted: what was asked for.
        choice: the route, and what was predicted for it.
    """

    wanted: Wanted
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """Everything that a session remembers.

    Args:
        state: of the request under way, and of the cloud's health.
        outlook: what predictions rest on.
        attempt: ``None`` between requests.
        host: what the host said last.
    """

    outlook: Outlook
    state: State = field(default_factory=State)
    attempt: Attempt | None = None
    host: HostState = field(default_factory=HostState)


# The cloud owes an answer.
_OWED = (Phase.REMOTE, Phase.HEDGED)

Event = Wanted | DeviceRan | HostState | OfRequest | Unreachable


def first_mind(options: Options) -> Mind:
    """What a session knows before its first event."""
    link = Estimator(prior=TYPICAL if options.link is None else options.link)
    return Mind(outlook=Outlook(link=link, expected=options.link is not None))


def advance(rules: Rules, mind: Mind, event: Event) -> tuple[Mind, Action | None]:
    """What the session knows next, and what to do now.

    Events that come too late, such as a reply after its time-out or anything of an older
    request, change nothing.

    Args:
        rules: of this session.
        mind: what it knows.
        event: what has happened.

    Raises:
        BadInput: when a request insists on a route that there is not.
    """
    match event:
        case HostState():
            return replace(mind, host=event), None
        case DeviceRan():
            return replace(mind, outlook=with_local(mind.outlook, event.took_s)), None
        case Wanted():
            return _begin(rules, mind, event)
    state, action = machine.step(mind.state, event)
    if mind.attempt is None or isinstance(event, Unreachable) or state is mind.state:
        return replace(mind, state=state), action
    outlook = _learnt(mind, mind.attempt, event)
    if isinstance(action, AnswerNow | GiveUp) and _missed(mind.attempt, event, action):
        outlook = outlook.missed()
    attempt = None if state.phase is Phase.IDLE else mind.attempt
    return Mind(outlook=outlook, state=state, attempt=attempt, host=mind.host), action


def _begin(rules: Rules, mind: Mind, wanted: Wanted) -> tuple[Mind, Action | None]:
    if wanted.request <= mind.state.request:
        return mind, None
    if mind.attempt is not None:  # nobody waits for it any more
        cancelled = Cancelled(now_s=wanted.now_s, request=mind.state.request)
        mind, _ = advance(rules, mind, cancelled)
    time = _time(rules, mind.outlook, wanted)
    outlook, choice = _chosen(rules, mind, wanted, time)
    state, action = machine.step(mind.state, _asked(rules, outlook, wanted, choice, time))
    attempt = None if state.phase is Phase.IDLE else Attempt(wanted=wanted, choice=choice)
    return Mind(outlook=outlook, state=state, attempt=attempt, host=mind.host), action


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    """Seconds until the deadline: for an answer, and for one by the device alone once it is free.

    ``None``: there is no deadline; ``alone_s`` also: the device cannot answer alone.
    """

    left_s: float | None = None
    alone_s: float | None = None


def _time(rules: Rules, outlook: Outlook, wanted: Wanted) -> _Time:
    if wanted.deadline_s is None:
        return _Time()
    left_s = max(0.0, wanted.deadline_s - wanted.spent_s)
    if not rules.fallback:
        return _Time(left_s=left_s)
    return _Time(left_s=left_s, alone_s=left_s - _busy_s(outlook, wanted))


def _busy_s(outlook: Outlook, wanted: Wanted) -> float:
    """Seconds that a run left behind may still take, when none takes longer than the longest."""
    if wanted.busy_since_s is None:
        return 0.0
    longest_s, gone_s = outlook.local_p99_s() or 0.0, wanted.now_s - wanted.busy_since_s
    return min(longest_s, max(0.0, longest_s - gone_s))


def _chosen(rules: Rules, mind: Mind, wanted: Wanted, time: _Time) -> tuple[Outlook, Choice]:
    routes = [route for route in rules.routes if route.name in wanted.routes]
    if wanted.route is not None:
        return mind.outlook, _named(mind.outlook, named_route(routes, wanted.route), wanted.now_s)
    question = Question(
        now_s=wanted.now_s,
        policy=rules.options.policy,
        left_s=time.left_s,
        alone_s=time.alone_s,
        saving=mind.host.is_low(rules.options.low_battery_share),
    )
    return choose_now(mind.outlook, routes, question)


def _named(outlook: Outlook, route: Route, now_s: float) -> Choice:
    link = outlook.live_link(now_s)
    return Choice(
        route=route,
        predicted_s=outlook.predict_s(route, link, now_s),
        reason="the caller asked for it",
        linked=link is not None,
    )


def _asked(rules: Rules, outlook: Outlook, wanted: Wanted, choice: Choice, time: _Time) -> Asked:
    remote = choice.route.server_part is not None
    hedge_s = None
    if time.alone_s is not None and remote:
        hedge_s = outlook.hedge_s(
            deadline_s=time.alone_s, predicted_s=choice.predicted_s, linked=choice.linked
        )
    # As it was given: a request that lost its time waiting for its turn is answered all the same.
    due_s = None if wanted.deadline_s is None else max(0.0, wanted.deadline_s)
    # When what was chosen is in time, nobody needs to know what would be the soonest.
    late = due_s is not None and choice.predicted_s > due_s
    return Asked(
        now_s=wanted.now_s,
        request=wanted.request,
        route=choice.route.name,
        reason=choice.reason,
        remote=remote,
        timeout_s=rules.options.wait_s(predicted_s=choice.predicted_s),
        fallback=rules.fallback,
        hedge_s=hedge_s,
        deadline_s=due_s,
        best_s=best_s(outlook, rules.routes, now_s=wanted.now_s) if late else 0.0,
        refuse=rules.options.refuse_late,
    )


def _learnt(mind: Mind, attempt: Attempt, event: OfRequest) -> Outlook:
    outlook, state, choice = mind.outlook, mind.state, attempt.choice
    took_s = event.now_s - attempt.wanted.now_s
    match event:
        case HeadDone():
            return with_head(outlook, choice.route, took_s, event.now_s)
        case ReplyArrived():
            outlook = with_reply(outlook, event, choice.route)
            return with_remote(outlook, took_s, choice.predicted_s) if choice.linked else outlook
        case TimedOut() | LocalDone() | Cancelled() if state.phase in _OWED:
            up_bytes = choice.route.coefficients.up_bytes
            return without_reply(outlook, up_bytes, event.now_s - state.sent_s, event.now_s)
    return outlook


def _missed(attempt: Attempt, event: OfRequest, action: AnswerNow | GiveUp) -> bool:
    """Whether the route failed, missed its deadline, or lost against the device."""
    wanted = attempt.wanted
    if isinstance(action, GiveUp) or action.fallback:
        return True
    took_s = event.now_s - wanted.now_s + wanted.spent_s
    return wanted.deadline_s is not None and took_s > wanted.deadline_s
