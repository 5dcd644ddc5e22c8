"""Recorded traces of the session machine: any implementation must play them as they stand.

A trace is a list of steps, from ``State()`` on; each has the event, the state after it, and the
action, or null. Events and actions carry the name of their type as ``type``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from edgewise.records import parse_json, read_record, write_record
from edgewise.running.deciding import events as kinds
from edgewise.running.deciding.events import (
    Action,
    Asked,
    Cancelled,
    Event,
    Fault,
    HeadDone,
    HedgeDue,
    LocalDone,
    RemoteFailed,
    ReplyArrived,
    TimedOut,
    Unreachable,
)
from edgewise.running.deciding.machine import State, step

FOLDER = Path(__file__).parents[4] / "vectors/session"


def _asked(request: int, now_s: float, **changes: Any) -> Asked:
    event = Asked(
        now_s=now_s,
        request=request,
        route="split-fp16",
        reason="least predicted time on lte",
        remote=True,
        timeout_s=1.0,
        fallback=True,
    )
    return replace(event, **changes)


def _failed_request(request: int, now_s: float) -> tuple[Event, ...]:
    return (
        _asked(request, now_s),
        HeadDone(now_s=now_s + 0.0625, request=request),
        TimedOut(now_s=now_s + 1.0625, request=request),
        LocalDone(now_s=now_s + 1.25, request=request),
    )


def _hedged(request: int, now_s: float, *last: Event) -> tuple[Event, ...]:
    """A request whose hedge is due; what comes then."""
    return (
        _asked(request, now_s, deadline_s=0.5, hedge_s=0.25),
        HeadDone(now_s=now_s + 0.0625, request=request),
        HedgeDue(now_s=now_s + 0.25, request=request),
        *last,
    )


def _device_first(request: int, now_s: float) -> tuple[Event, ...]:
    return _hedged(request, now_s, LocalDone(now_s=now_s + 0.375, request=request))


def _refused(request: int, now_s: float, **changes: Any) -> tuple[Event, ...]:
    failure = RemoteFailed(now_s=now_s + 0.25, request=request, why="the server answered 400")
    return (
        _asked(request, now_s),
        HeadDone(now_s=now_s + 0.0625, request=request),
        replace(failure, **changes),
        LocalDone(now_s=now_s + 0.5, request=request),
    )


SCRIPTS: dict[str, Sequence[Event]] = {
    "the-cloud-answers": (
        _asked(1, 0.0),
        HeadDone(now_s=0.0625, request=1),
        ReplyArrived(now_s=0.25, request=1),
        _asked(2, 1.0, route="cloud-jpeg"),
        HeadDone(now_s=1.0625, request=2),
        ReplyArrived(now_s=1.5, request=2),
    ),
    "a-local-route": (
        _asked(1, 0.0, route="local", remote=False),
        HeadDone(now_s=0.5, request=1),
    ),
    "refused-then-resting-then-back": (
        _asked(1, 10.0),
        HeadDone(now_s=10.0625, request=1),
        RemoteFailed(now_s=10.125, request=1, why="the connection was refused"),
        LocalDone(now_s=10.25, request=1),
        _asked(2, 10.5),
        LocalDone(now_s=10.75, request=2),
        _asked(3, 11.125),
        HeadDone(now_s=11.25, request=3),
        ReplyArrived(now_s=11.5, request=3),
        _asked(4, 11.75),
    ),
    "pauses-double-up-to-half-a-minute": tuple(
        event for i in range(8) for event in _failed_request(i + 1, 100.0 * i)
    ),
    "no-fallback": (
        _asked(1, 0.0, fallback=False, timeout_s=0.125),
        HeadDone(now_s=0.0625, request=1),
        TimedOut(now_s=0.1875, request=1),
        _asked(2, 0.25, fallback=False, timeout_s=0.125),
        HeadDone(now_s=0.3125, request=2),
        RemoteFailed(now_s=0.375, request=2, why="the connection broke"),
        _asked(3, 0.5, fallback=False, timeout_s=0.125),
        HeadDone(now_s=0.5625, request=3),
        ReplyArrived(now_s=0.625, request=3),
    ),
    "late-events": (
        ReplyArrived(now_s=0.0, request=0),
        _asked(1, 0.0),
        LocalDone(now_s=0.03125, request=1),
        ReplyArrived(now_s=0.03125, request=1),
        HeadDone(now_s=0.0625, request=1),
        HeadDone(now_s=0.0625, request=1),
        TimedOut(now_s=1.0625, request=1),
        ReplyArrived(now_s=1.125, request=1),
        RemoteFailed(now_s=1.125, request=1, why="the connection broke"),
        LocalDone(now_s=1.25, request=1),
        ReplyArrived(now_s=1.5, request=1),
        _asked(1, 2.0),
        _asked(2, 3.0),
        HeadDone(now_s=3.0625, request=2),
        ReplyArrived(now_s=3.125, request=1),
        TimedOut(now_s=3.125, request=1),
        Unreachable(now_s=3.125, why="nobody"),
        ReplyArrived(now_s=3.25, request=2),
    ),
    "cancelled-and-superseded": (
        _asked(1, 0.0),
        Cancelled(now_s=0.03125, request=1),
        _asked(2, 1.0),
        HeadDone(now_s=1.0625, request=2),
        Cancelled(now_s=1.125, request=1),
        _asked(3, 2.0, route="local", remote=False),
        ReplyArrived(now_s=2.0625, request=2),
        HeadDone(now_s=2.5, request=3),
        Cancelled(now_s=2.75, request=3),
    ),
    "hedge-the-cloud-wins-then-the-device": (
        *_hedged(1, 0.0, ReplyArrived(now_s=0.375, request=1), LocalDone(now_s=0.5, request=1)),
        *_hedged(2, 1.0, LocalDone(now_s=1.375, request=2), ReplyArrived(now_s=1.5, request=2)),
        _asked(3, 2.0, deadline_s=0.5, hedge_s=0.25),
        HeadDone(now_s=2.0625, request=3),
        ReplyArrived(now_s=2.125, request=3),
        HedgeDue(now_s=2.25, request=3),
    ),
    "hedge-and-the-cloud-fails": (
        *_hedged(
            1,
            0.0,
            RemoteFailed(now_s=0.3125, request=1, why="the connection broke"),
            ReplyArrived(now_s=0.34375, request=1),
            LocalDone(now_s=0.375, request=1),
        ),
        *_hedged(2, 2.0, TimedOut(now_s=3.0625, request=2), LocalDone(now_s=3.125, request=2)),
    ),
    "hedge-after-a-slow-device-part": (
        _asked(1, 0.0, deadline_s=0.5, hedge_s=0.25),
        HeadDone(now_s=0.375, request=1),
        HedgeDue(now_s=0.375, request=1),
        LocalDone(now_s=0.5, request=1),
    ),
    "slow-three-times-then-resting-then-online": (
        *_device_first(1, 0.0),
        *_device_first(2, 1.0),
        *_device_first(3, 2.0),
        _asked(4, 3.0, deadline_s=0.5, hedge_s=0.25),
        LocalDone(now_s=3.125, request=4),
        *_device_first(5, 3.5),
        _asked(6, 6.0, deadline_s=0.5, hedge_s=0.25),
        HeadDone(now_s=6.0625, request=6),
        ReplyArrived(now_s=6.125, request=6),
    ),
    "one-refused-input-rests-nothing-three-do": tuple(
        event
        for i in range(4)
        for event in _refused(i + 1, float(i), **({} if i == 3 else {"fault": Fault.INPUT}))
    ),
    "an-infeasible-deadline": (
        _asked(1, 0.0, deadline_s=0.125, best_s=0.25, refuse=True),
        HeadDone(now_s=0.0625, request=1),
        _asked(2, 1.0, deadline_s=0.125, best_s=0.25),
        HeadDone(now_s=1.0625, request=2),
        ReplyArrived(now_s=1.25, request=2),
        _asked(3, 2.0, deadline_s=0.25, best_s=0.25, refuse=True),
    ),
    "a-fifth-of-the-requests-may-be-sent-twice": tuple(
        event
        for i in range(6)
        for event in (
            _asked(i + 1, 40.0 * i, fallback=False),
            HeadDone(now_s=40.0 * i + 0.0625, request=i + 1),
            RemoteFailed(
                now_s=40.0 * i + 0.125, request=i + 1, why="the connection broke", again=True
            ),
            ReplyArrived(now_s=40.0 * i + 0.25, request=i + 1),
        )
    ),
    "nobody-at-the-start": (
        Unreachable(now_s=5.0, why="there is no way to the server"),
        _asked(1, 5.25),
        LocalDone(now_s=5.5, request=1),
        _asked(2, 6.0),
        HeadDone(now_s=6.0625, request=2),
        RemoteFailed(now_s=6.125, request=2, why="there is no way to the server"),
        LocalDone(now_s=6.25, request=2),
        _asked(3, 7.0),
    ),
}


def _typed(value: Event | Action | None) -> dict[str, Any] | None:
    return None if value is None else {"type": type(value).__name__, **write_record(value)}


def _play(events: Sequence[Event]) -> list[dict[str, Any]]:
    state, steps = State(), []
    for event in events:
        state, action = step(state, event)
        steps.append(
            {"event": _typed(event), "state": write_record(state), "action": _typed(action)}
        )
    return steps


def _read_event(data: dict[str, Any]) -> Event:
    kind = getattr(kinds, data["type"])
    assert kind in get_args(Event)
    members = {key: value for key, value in data.items() if key != "type"}
    return read_record(kind, members, where="the event")


@pytest.mark.parametrize("name", SCRIPTS)
def test_recorded_trace(name: str, regen: bool) -> None:
    path = FOLDER / f"{name}.json"
    if regen:
        lines = ",\n".join(json.dumps(one) for one in _play(SCRIPTS[name]))
        path.write_text(f"[\n{lines}\n]\n")
    recorded = parse_json(path.read_bytes(), where=str(path))
    assert isinstance(recorded, list)
    assert recorded == _play([_read_event(one["event"]) for one in recorded])


def test_every_file_is_played() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCRIPTS)


def test_every_event_and_every_action_is_recorded() -> None:
    recorded = [one for path in FOLDER.glob("*.json") for one in json.loads(path.read_text())]
    events = {one["event"]["type"] for one in recorded}
    actions = {one["action"]["type"] for one in recorded if one["action"]}
    assert events == {kind.__name__ for kind in get_args(Event)}
    assert actions == {kind.__name__ for kind in get_args(Action)}
