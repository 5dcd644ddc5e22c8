"""The session as a state machine without I/O: events and their times in, actions out.

One request passes ``IDLE -> HEAD -> REMOTE -> IDLE``; whatever goes wrong with the cloud leads
to ``LOCAL``, where the fallback answers. The state is a value and :func:`step` a pure function,
so the same recorded traces (``vectors/session``) can drive any implementation.
"""

from __future__ import annotations

import enum
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
    """A request came in, and the route for it was chosen."""

    now_s: float
    route: str
    reason: str
    remote: bool
    timeout_s: float
    fallback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDone:
    """The device's part of the route has run."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyArrived:
    """The cloud answered, and the answer is sound."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFailed:
    """The cloud gave no usable answer."""

    now_s: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The time for the cloud is up."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDone:
    """The fallback has run."""

    now_s: float


Event = Asked | HeadDone | ReplyArrived | RemoteFailed | TimedOut | LocalDone


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
    """The next state, and what to do now (``None``: go on waiting).

    Events that come too late, such as a reply after its time-out, change nothing.

    >>> state, action = step(State(), Asked(now_s=0.0, route="cloud", reason="fastest",
    ...                                     remote=True, timeout_s=1.0, fallback=True))
    >>> state.phase, action
    (<Phase.HEAD: 'head'>, RunHead())
    """
    if isinstance(event, Asked):
        return _asked(state, event)
    if isinstance(event, HeadDone) and state.phase is Phase.HEAD:
        return _head_done(state)
    if isinstance(event, ReplyArrived) and state.phase is Phase.REMOTE:
        healthy = replace(state, health=Health.ONLINE, why="", failures=0, retry_at_s=0.0)
        return _answer(healthy, fallback=False)
    if isinstance(event, RemoteFailed | TimedOut) and state.phase is Phase.REMOTE:
        return _remote_failed(state, event)
    if isinstance(event, LocalDone) and state.phase is Phase.LOCAL:
        return _answer(state, fallback=True)
    return state, None


def _asked(state: State, event: Asked) -> tuple[State, Action | None]:
    asked = replace(
        state,
        phase=Phase.HEAD,
        route=event.route,
        reason=event.reason,
        remote=event.remote,
        timeout_s=event.timeout_s,
        fallback=event.fallback,
    )
    if event.remote and event.fallback and _resting(state, event.now_s):
        wait_s = state.retry_at_s - event.now_s
        reason = f"offline ({state.why}); next try in {wait_s:.0f} s"
        return replace(asked, phase=Phase.LOCAL, reason=reason), RunFallback()
    return asked, RunHead()


def _resting(state: State, now_s: float) -> bool:
    return state.health is Health.OFFLINE and now_s < state.retry_at_s


def _head_done(state: State) -> tuple[State, Action | None]:
    if not state.remote:
        return _answer(state, fallback=False)
    return replace(state, phase=Phase.REMOTE), Send(timeout_s=state.timeout_s)


def _remote_failed(state: State, event: RemoteFailed | TimedOut) -> tuple[State, Action | None]:
    if isinstance(event, RemoteFailed):
        why = event.why
    else:
        why = f"no answer within {state.timeout_s:.2f} s"
    pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(state.failures, 16))
    failed = replace(
        state,
        health=Health.OFFLINE,
        why=why,
        failures=state.failures + 1,
        retry_at_s=event.now_s + pause_s,
    )
    if state.fallback:
        reason = f"the cloud failed ({why})"
        return replace(failed, phase=Phase.LOCAL, reason=reason), RunFallback()
    return replace(failed, phase=Phase.IDLE), GiveUp(reason=why)


def _answer(state: State, *, fallback: bool) -> tuple[State, Action | None]:
    return replace(state, phase=Phase.IDLE), AnswerNow(fallback=fallback, reason=state.reason)
