"""The session as a state machine without I/O: events and their times in, actions out.

One request passes ``IDLE -> HEAD -> REMOTE -> IDLE``; whatever goes wrong with the cloud leads
to ``LOCAL``, where the fallback answers. The state is a value and :func:`step` a pure function,
so the same recorded traces (``vectors/session``) can drive any implementation. Requests are
numbered, so that what arrives late for one is never taken for another's.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Phase(enum.StrEnum):
    """What the session is busy with."""

    IDLE = "idle"
    HEAD = "head"
    REMOTE = "remote"
    LOCAL = "local"


class Health(enum.StrEnum):
    """What the session thinks of the cloud."""

    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything the session remembers.

    Args:
        phase: what it is busy with.
        request: number of the newest request.
        health: whether the cloud is worth a try.
        why: the failure that made it offline, in words a person reads.
        failures: failures in a row.
        retry_at_s: when offline, the time from which a request may try the cloud again.
        route: the route tried in this request.
        reason: why that route.
        remote: whether that route needs the cloud.
        timeout_s: how long the cloud may take.
        fallback: whether the device can answer alone.
    """

    phase: Phase = Phase.IDLE
    request: int = 0
    health: Health = Health.ONLINE
    why: str = ""
    failures: int = 0
    retry_at_s: float = 0.0
    route: str = ""
    reason: str = ""
    remote: bool = False
    timeout_s: float = 0.0
    fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request came in, and the route for it was chosen; an unfinished older one is given up."""

    now_s: float
    request: int
    route: str
    reason: str
    remote: bool
    timeout_s: float
    fallback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDone:
    """The device's part of the route has run."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyArrived:
    """The cloud answered, and the answer is sound."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFailed:
    """The cloud gave no usable answer."""

    now_s: float
    request: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The time for the cloud is up."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDone:
    """The fallback has run."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The caller gave the request up, or its input was refused; the cloud is not to blame."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No server answered when the session began."""

    now_s: float
    why: str


OfRequest = HeadDone | ReplyArrived | RemoteFailed | TimedOut | LocalDone | Cancelled
Event = Asked | OfRequest | Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """Run the device's part of the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send what the device's part gave; report back, or time out after ``timeout_s``."""

    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFallback:
    """Run the network that answers without the cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerNow:
    """Return the newest result; it came from the chosen route or from the fallback."""

    fallback: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """There is no answer: the cloud failed and the device cannot answer alone."""

    reason: str


Action = RunHead | Send | RunFallback | AnswerNow | GiveUp


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
    match state.phase, event:
        case Phase.HEAD, HeadDone():
            return _head_done(state)
        case Phase.REMOTE, ReplyArrived():
            healthy = replace(state, health=Health.ONLINE, why="", failures=0, retry_at_s=0.0)
            return _answer(healthy, fallback=False)
        case Phase.REMOTE, RemoteFailed(why=why):
            return _remote_failed(state, event.now_s, why)
        case Phase.REMOTE, TimedOut():
            why = f"no answer within {_hundredths(state.timeout_s)} s"
            return _remote_failed(state, event.now_s, why)
        case Phase.LOCAL, LocalDone():
            return _answer(state, fallback=True)
        case _, Cancelled():
            return replace(state, phase=Phase.IDLE), None
    return state, None


def _asked(state: State, event: Asked) -> tuple[State, Action | None]:
    asked = replace(
        state,
        phase=Phase.HEAD,
        request=event.request,
        route=event.route,
        reason=event.reason,
        remote=event.remote,
        timeout_s=event.timeout_s,
        fallback=event.fallback,
    )
    if event.remote and event.fallback and _resting(state, event.now_s):
        wait_s = math.ceil(state.retry_at_s - event.now_s)
        reason = f"the cloud is offline ({state.why}); next try in {wait_s} s"
        return replace(asked, phase=Phase.LOCAL, reason=reason), RunFallback()
    return asked, RunHead()


def _resting(state: State, now_s: float) -> bool:
    # A clock that jumped back must not stretch the pause.
    is_pausing = 0 < state.retry_at_s - now_s < 2 * _LONGEST_PAUSE_S
    return state.health is Health.OFFLINE and is_pausing


def _head_done(state: State) -> tuple[State, Action | None]:
    if not state.remote:
        return _answer(state, fallback=False)
    return replace(state, phase=Phase.REMOTE), Send(timeout_s=state.timeout_s)


def _remote_failed(state: State, now_s: float, why: str) -> tuple[State, Action | None]:
    failed = _failed(state, now_s, why)
    if state.fallback:
        reason = f"the cloud failed ({why})"
        return replace(failed, phase=Phase.LOCAL, reason=reason), RunFallback()
    return replace(failed, phase=Phase.IDLE), GiveUp(reason=why)


def _failed(state: State, now_s: float, why: str) -> State:
    pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(state.failures, 16))
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
