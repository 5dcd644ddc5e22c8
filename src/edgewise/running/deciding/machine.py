"""The session as a state machine without I/O: events and their times in, actions out.

One request passes ``IDLE -> HEAD -> REMOTE -> IDLE``; whatever goes wrong with the cloud leads
to ``LOCAL``, where the fallback answers. With a deadline the device starts on its own when the
cloud takes too long (``HEDGED``): the first good answer wins and the other is dropped. The state
is a value and :func:`step` a pure function, so the same recorded traces (``vectors/session``) can
drive any implementation. Requests are numbered, so that what arrives late for one is never taken
for another's. Which route to ask for is decided around it, in ``steering``.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from edgewise.running.deciding.events import (
    Action,
    AnswerNow,
    Asked,
    Cancelled,
    Event,
    Fault,
    GiveUp,
    HeadDone,
    HedgeDue,
    LocalDone,
    OfRequest,
    Refuse,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    TimedOut,
    Unreachable,
)

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_STRIKES = 3
_RETRY_COST = 5
_MOST_CREDIT = 10


class Phase(enum.StrEnum):
    """What the session is busy with."""

    IDLE = "idle"
    HEAD = "head"
    REMOTE = "remote"
    HEDGED = "hedged"
    LOCAL = "local"


class Health(enum.StrEnum):
    """What the session thinks of the cloud."""

    ONLINE = "online"
    SLOW = "slow"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything the session remembers.

    Args:
        phase: what it is busy with.
        request: number of the newest request.
        health: whether the cloud is worth a try.
        why: what made it slow or offline, in words a person reads.
        failures: failures in a row.
        strikes: requests in a row that the device answered first, or whose input was refused;
            the third is treated as a failure.
        retry_at_s: when slow or offline, the time from which a request may try the cloud again.
        credit: earned by every remote request; five buy a second try within the same time-out,
            so that at most 20 % of the requests are sent twice, and none more often.
        route: the route tried in this request.
        reason: why that route.
        remote: whether that route needs the cloud.
        timeout_s: how long the cloud may take.
        hedge_s: seconds from :class:`Asked` after which the device starts on its own; ``None``:
            never.
        asked_s: when the request came in.
        sends: how often it was sent.
        sent_s: when it was sent first.
        fallback: whether the device can answer alone.
    """

    phase: Phase = Phase.IDLE
    request: int = 0
    health: Health = Health.ONLINE
    why: str = ""
    failures: int = 0
    strikes: int = 0
    retry_at_s: float = 0.0
    credit: int = 0
    route: str = ""
    reason: str = ""
    remote: bool = False
    timeout_s: float = 0.0
    hedge_s: float | None = None
    asked_s: float = 0.0
    sends: int = 0
    sent_s: float = 0.0
    fallback: bool = True


def step(state: State, event: Event) -> tuple[State, Action | None]:
    """The next state, and what to do now (``None``: nothing, or go on waiting).

    Events that come too late, such as a reply after its time-out or anything of an older
    request, change nothing.

    >>> state, action = step(State(), Asked(now_s=0.0, request=1, route="cloud", reason="fastest",
    ...                                     remote=True, timeout_s=1.0, fallback=True))
    >>> state.phase, action
    (<Phase.HEAD: 'head'>, RunHead())
    """
    if isinstance(event, Asked):
        return _asked(state, event) if event.request > state.request else (state, None)
    if isinstance(event, Unreachable):
        idle = state.phase is Phase.IDLE
        return (_failed(state, event.now_s, event.why) if idle else state), None
    if event.request != state.request:
        return state, None
    return _advance(state, event)


def _advance(state: State, event: OfRequest) -> tuple[State, Action | None]:
    if isinstance(event, Cancelled):
        return replace(state, phase=Phase.IDLE), None
    match state.phase:
        case Phase.HEAD if isinstance(event, HeadDone):
            return _head_done(state, event.now_s)
        case Phase.REMOTE:
            return _while_remote(state, event)
        case Phase.HEDGED:
            return _while_hedged(state, event)
        case Phase.LOCAL if isinstance(event, LocalDone):
            return _answer(state, fallback=True)
    return state, None


def _while_remote(state: State, event: OfRequest) -> tuple[State, Action | None]:
    match event:
        case ReplyArrived():
            return _answer(_healthy(state), fallback=False)
        case RemoteFailed():
            return _remote_failed(state, event)
        case TimedOut():
            return _remote_failed(state, _too_late(state, event))
        case HedgeDue() if state.fallback:
            return replace(state, phase=Phase.HEDGED), RunFallback()
    return state, None


def _while_hedged(state: State, event: OfRequest) -> tuple[State, Action | None]:
    match event:
        case ReplyArrived():
            why = f"an answer took {_hundredths(event.now_s - state.asked_s)} s"
            slow = replace(_healthy(state), health=Health.SLOW, why=why)
            return _answer(slow, fallback=False)
        case RemoteFailed():
            return _blamed(state, event), None
        case TimedOut():
            return _blamed(state, _too_late(state, event)), None
        case LocalDone():
            why = f"no answer within {_hundredths(event.now_s - state.asked_s)} s"
            slow = _struck(state, event.now_s, why)
            return _answer(replace(slow, reason=f"the device was first ({why})"), fallback=True)
    return state, None


def _too_late(state: State, event: TimedOut) -> RemoteFailed:
    why = f"no answer within {_hundredths(state.timeout_s)} s"
    return RemoteFailed(now_s=event.now_s, request=event.request, why=why)


def _asked(state: State, event: Asked) -> tuple[State, Action | None]:
    late = event.deadline_s is not None and event.deadline_s < event.best_s
    if late and event.refuse:
        idle = replace(state, phase=Phase.IDLE, request=event.request)
        return idle, Refuse(best_s=event.best_s)
    asked = replace(
        state,
        phase=Phase.HEAD,
        request=event.request,
        route=event.route,
        reason=_told(event) if late else event.reason,
        remote=event.remote,
        timeout_s=event.timeout_s,
        hedge_s=event.hedge_s,
        asked_s=event.now_s,
        sends=0,
        credit=min(_MOST_CREDIT, state.credit + 1) if event.remote else state.credit,
        fallback=event.fallback,
    )
    left_s = rests_s(state, event.now_s)
    # Where the device starts at once anyway, trying the cloud makes nobody wait.
    hedged_at_once = event.hedge_s == 0
    if event.remote and event.fallback and left_s > 0 and not hedged_at_once:
        wait_s = math.ceil(left_s)
        reason = f"the cloud is {state.health.value} ({state.why}); next try in {wait_s} s"
        return replace(asked, phase=Phase.LOCAL, reason=reason), RunFallback()
    return asked, RunHead()


def _told(event: Asked) -> str:
    due, best = _hundredths(event.deadline_s or 0.0), _hundredths(event.best_s)
    return f"{event.reason}; no answer can be there within {due} s, at best within {best} s"


def rests_s(state: State, now_s: float) -> float:
    """Seconds until the cloud is tried again; 0: with the next request."""
    left_s = state.retry_at_s - now_s
    # No pause is longer than the longest: with more to wait, the clock has jumped back.
    resting = state.health is not Health.ONLINE and 0 < left_s <= _LONGEST_PAUSE_S
    return left_s if resting else 0.0


def _head_done(state: State, now_s: float) -> tuple[State, Action | None]:
    if not state.remote:
        return _answer(state, fallback=False)
    sent = replace(state, phase=Phase.REMOTE, sends=1, sent_s=now_s)
    return sent, _send(state, now_s)


def _send(state: State, now_s: float) -> Send:
    if state.hedge_s is None:
        return Send(timeout_s=state.timeout_s)
    # What the device's part took, which a clock that jumped back does not make less than 0.
    spent_s = max(0.0, now_s - state.asked_s)
    hedge_s = max(0.0, state.hedge_s - spent_s)
    return Send(timeout_s=state.timeout_s, hedge_s=hedge_s)


def _remote_failed(state: State, event: RemoteFailed) -> tuple[State, Action | None]:
    left_s = state.timeout_s - max(0.0, event.now_s - state.sent_s)
    affordable = state.sends == 1 and left_s > 0 and state.credit >= _RETRY_COST
    if event.again and affordable and not state.fallback:
        again = replace(state, sends=2, credit=state.credit - _RETRY_COST)
        return again, Send(timeout_s=left_s)
    blamed = _blamed(state, event)
    if state.fallback:
        return blamed, RunFallback()
    return replace(blamed, phase=Phase.IDLE), GiveUp(reason=event.why)


def _blamed(state: State, event: RemoteFailed) -> State:
    """The state when the fallback has to answer, or nobody can."""
    local = replace(state, phase=Phase.LOCAL, reason=f"the cloud failed ({event.why})")
    if event.fault is Fault.INPUT and state.strikes + 1 < _STRIKES:
        reason = f"the cloud refused this input ({event.why})"
        return replace(local, reason=reason, strikes=state.strikes + 1)
    return _failed(local, event.now_s, event.why)


def _struck(state: State, now_s: float, why: str) -> State:
    """The state after a request that the device answered first."""
    if state.health is Health.OFFLINE:
        return _failed(state, now_s, why)
    strikes = state.strikes + 1
    pause_s = _pause_s(strikes - _STRIKES) if strikes >= _STRIKES else 0.0
    return replace(state, health=Health.SLOW, why=why, strikes=strikes, retry_at_s=now_s + pause_s)


def _healthy(state: State) -> State:
    return replace(state, health=Health.ONLINE, why="", failures=0, strikes=0, retry_at_s=0.0)


def _pause_s(doublings: int) -> float:
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(doublings, 16))


def _failed(state: State, now_s: float, why: str) -> State:
    pause_s = _pause_s(state.failures)
    return replace(
        state,
        health=Health.OFFLINE,
        why=why,
        failures=state.failures + 1,
        retry_at_s=now_s + pause_s,
    )


def _answer(state: State, *, fallback: bool) -> tuple[State, Action | None]:
    return replace(state, phase=Phase.IDLE), AnswerNow(fallback=fallback, reason=state.reason)


def _hundredths(seconds: float) -> str:
    # Rounded half up first: languages differ in how they print a tie.
    return f"{math.floor(seconds * 100 + 0.5) / 100:.2f}"
