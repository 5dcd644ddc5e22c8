from __future__ import annotations

from dataclasses import replace

import pytest

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
    Refuse,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    TimedOut,
    Unreachable,
)
from edgewise.running.deciding.machine import Health, Phase, State, step


def asked(request: int = 1, now_s: float = 0.0, **changes: object) -> Asked:
    event = Asked(
        now_s=now_s,
        request=request,
        route="split",
        reason="fastest",
        remote=True,
        timeout_s=1.5,
        fallback=True,
    )
    return replace(event, **changes)


def play(*events: Event, state: State | None = None) -> tuple[State, list[Action | None]]:
    state = state or State()
    actions = []
    for event in events:
        state, action = step(state, event)
        actions.append(action)
    return state, actions


def after(*events: Event) -> State:
    return play(*events)[0]


HEAD = after(asked())
REMOTE = after(asked(), HeadDone(now_s=1, request=1))
HEDGED = after(asked(hedge_s=1.5), HeadDone(now_s=1, request=1), HedgeDue(now_s=1.5, request=1))
LOCAL = after(
    asked(), HeadDone(now_s=1, request=1), RemoteFailed(now_s=2, request=1, why="it is gone")
)
IDLE = after(asked(remote=False), HeadDone(now_s=1, request=1))
PHASES = {
    Phase.HEAD: HEAD,
    Phase.REMOTE: REMOTE,
    Phase.HEDGED: HEDGED,
    Phase.LOCAL: LOCAL,
    Phase.IDLE: IDLE,
}


def test_every_phase_is_reached():
    assert {phase: state.phase for phase, state in PHASES.items()} == {p: p for p in Phase}


def test_the_cloud_answers():
    state, actions = play(asked(), HeadDone(now_s=1, request=1), ReplyArrived(now_s=2, request=1))
    assert actions == [
        RunHead(),
        Send(timeout_s=1.5),
        AnswerNow(fallback=False, reason="fastest"),
    ]
    assert (state.phase, state.health) == (Phase.IDLE, Health.ONLINE)


def test_a_local_route_never_sends():
    _, actions = play(asked(remote=False), HeadDone(now_s=1, request=1))
    assert actions == [RunHead(), AnswerNow(fallback=False, reason="fastest")]


def test_after_a_failure_the_fallback_answers_and_says_why():
    state, actions = play(
        asked(),
        HeadDone(now_s=1, request=1),
        RemoteFailed(now_s=2, request=1, why="the connection was refused"),
        LocalDone(now_s=3, request=1),
    )
    assert actions[2:] == [
        RunFallback(),
        AnswerNow(fallback=True, reason="the cloud failed (the connection was refused)"),
    ]
    assert (state.phase, state.health, state.retry_at_s) == (Phase.IDLE, Health.OFFLINE, 3.0)


@pytest.mark.parametrize(
    ("timeout_s", "words"), [(1.5, "1.50"), (0.125, "0.13"), (0.07, "0.07"), (60.0, "60.00")]
)
def test_a_time_out_is_told_in_hundredths(timeout_s: float, words: str):
    state, _ = play(
        asked(timeout_s=timeout_s),
        HeadDone(now_s=1, request=1),
        TimedOut(now_s=2, request=1),
    )
    assert state.reason == f"the cloud failed (no answer within {words} s)"


@pytest.mark.parametrize(
    "failure",
    [RemoteFailed(now_s=2, request=1, why="it is gone"), TimedOut(now_s=2, request=1)],
)
def test_without_a_fallback_it_gives_up_with_the_reason(failure: RemoteFailed | TimedOut):
    state, actions = play(asked(fallback=False), HeadDone(now_s=1, request=1), failure)
    assert actions[2] == GiveUp(reason=state.why)
    assert (state.phase, state.health) == (Phase.IDLE, Health.OFFLINE)


def test_while_resting_the_fallback_answers_at_once():
    state, actions = play(LocalDone(now_s=2.1, request=1), asked(2, now_s=2.4), state=LOCAL)
    assert actions[1] == RunFallback()
    assert state.reason == "the cloud is offline (it is gone); next try in 1 s"


@pytest.mark.parametrize("now_s", [-1e9, 1e9])
def test_a_clock_that_jumps_does_not_stretch_the_pause(now_s: float):
    _, actions = play(LocalDone(now_s=2.1, request=1), asked(2, now_s=now_s), state=LOCAL)
    assert actions[1] == RunHead()


def test_while_resting_a_local_route_is_taken_as_usual():
    _, actions = play(
        LocalDone(now_s=2.1, request=1), asked(2, now_s=2.4, remote=False), state=LOCAL
    )
    assert actions[1] == RunHead()


def test_while_resting_a_request_without_fallback_tries_the_cloud():
    _, actions = play(
        LocalDone(now_s=2.1, request=1), asked(2, now_s=2.4, fallback=False), state=LOCAL
    )
    assert actions[1] == RunHead()


def test_when_the_pause_is_over_the_cloud_is_tried_and_trusted_again():
    assert LOCAL.retry_at_s == 3.0
    state, actions = play(
        LocalDone(now_s=2.1, request=1),
        asked(2, now_s=3.0),
        HeadDone(now_s=3.1, request=2),
        ReplyArrived(now_s=3.2, request=2),
        state=LOCAL,
    )
    assert actions[-1] == AnswerNow(fallback=False, reason="fastest")
    fresh = State()
    assert (state.health, state.why, state.failures, state.retry_at_s) == (
        fresh.health,
        fresh.why,
        fresh.failures,
        fresh.retry_at_s,
    )


def test_pauses_double_up_to_half_a_minute():
    state, pauses = State(), []
    for request in range(1, 9):
        now_s = state.retry_at_s
        state, _ = play(
            asked(request, now_s=now_s),
            HeadDone(now_s=now_s, request=request),
            RemoteFailed(now_s=now_s, request=request, why="gone"),
            LocalDone(now_s=now_s, request=request),
            state=state,
        )
        pauses.append(state.retry_at_s - now_s)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_session_that_nobody_greeted_starts_offline():
    state, actions = play(Unreachable(now_s=5, why="no way"), asked(1, now_s=5.5))
    assert actions == [None, RunFallback()]
    assert state.reason == "the cloud is offline (no way); next try in 1 s"
    assert state.retry_at_s == 6.0


@pytest.mark.parametrize("phase", [Phase.HEAD, Phase.REMOTE, Phase.HEDGED, Phase.LOCAL])
def test_a_greeting_that_fails_in_the_middle_of_a_request_changes_nothing(phase: Phase):
    assert step(PHASES[phase], Unreachable(now_s=9, why="?")) == (PHASES[phase], None)


@pytest.mark.parametrize("phase", Phase)
def test_cancelling_leaves_it_idle_and_blames_nobody(phase: Phase):
    before = PHASES[phase]
    state, action = step(before, Cancelled(now_s=9, request=1))
    assert (state, action) == (replace(before, phase=Phase.IDLE), None)


@pytest.mark.parametrize("phase", Phase)
def test_a_newer_request_takes_the_place_of_an_unfinished_one(phase: Phase):
    state, action = step(PHASES[phase], asked(2, now_s=100.0, route="other"))
    assert (state.phase, state.request, state.route, action) == (
        Phase.HEAD,
        2,
        "other",
        RunHead(),
    )


MEANT_FOR = {
    HeadDone(now_s=9, request=1): {Phase.HEAD},
    ReplyArrived(now_s=9, request=1): {Phase.REMOTE, Phase.HEDGED},
    RemoteFailed(now_s=9, request=1, why="?"): {Phase.REMOTE, Phase.HEDGED},
    TimedOut(now_s=9, request=1): {Phase.REMOTE, Phase.HEDGED},
    HedgeDue(now_s=9, request=1): {Phase.REMOTE},
    LocalDone(now_s=9, request=1): {Phase.LOCAL, Phase.HEDGED},
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", MEANT_FOR, ids=lambda event: type(event).__name__)
def test_an_event_counts_in_its_phase_alone(phase: Phase, event: Event):
    state, action = step(PHASES[phase], event)
    if phase in MEANT_FOR[event]:
        assert state != PHASES[phase]
        failed = isinstance(event, RemoteFailed | TimedOut)
        # While the device answers already, the cloud's failure asks for nothing more.
        assert (action is None) == (phase is Phase.HEDGED and failed)
    else:
        assert (state, action) == (PHASES[phase], None)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "event", [*MEANT_FOR, Cancelled(now_s=9, request=1)], ids=lambda event: type(event).__name__
)
@pytest.mark.parametrize("request_number", [0, 2])
def test_events_of_another_request_change_nothing(phase: Phase, event: Event, request_number: int):
    late = replace(event, request=request_number)
    assert step(PHASES[phase], late) == (PHASES[phase], None)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("request_number", [0, 1])
def test_a_request_is_asked_once(phase: Phase, request_number: int):
    assert step(PHASES[phase], asked(request_number)) == (PHASES[phase], None)


def test_a_reply_that_comes_after_its_time_out_is_not_the_next_request_s():
    state, actions = play(
        asked(1, fallback=False),
        HeadDone(now_s=0, request=1),
        TimedOut(now_s=2, request=1),
        asked(2, now_s=2, fallback=False),
        HeadDone(now_s=2, request=2),
        ReplyArrived(now_s=2.1, request=1),
    )
    assert actions[-1] is None
    assert (state.phase, state.request) == (Phase.REMOTE, 2)


# Hedges, slowness, odd inputs, second tries, deadlines


def device_first(request: int, now_s: float) -> tuple[Event, ...]:
    return (
        asked(request, now_s=now_s, hedge_s=0.25),
        HeadDone(now_s=now_s, request=request),
        HedgeDue(now_s=now_s + 0.25, request=request),
        LocalDone(now_s=now_s + 0.5, request=request),
    )


def test_the_hedge_counts_from_the_question_and_is_due_at_once_when_the_head_took_long():
    _, actions = play(asked(hedge_s=1.0), HeadDone(now_s=0.75, request=1))
    assert actions[1] == Send(timeout_s=1.5, hedge_s=0.25)
    _, actions = play(asked(hedge_s=1.0), HeadDone(now_s=3, request=1))
    assert actions[1] == Send(timeout_s=1.5, hedge_s=0.0)


def test_the_cloud_is_slow_when_the_device_was_first_and_the_reply_then_changes_nothing():
    state, actions = play(*device_first(1, 0.0))
    assert actions[2:] == [
        RunFallback(),
        AnswerNow(fallback=True, reason="the device was first (no answer within 0.50 s)"),
    ]
    assert (state.health, state.why) == (Health.SLOW, "no answer within 0.50 s")
    assert step(state, ReplyArrived(now_s=1, request=1)) == (state, None)


def test_a_reply_during_the_hedge_wins_and_the_cloud_is_slow():
    state, action = step(HEDGED, ReplyArrived(now_s=1.75, request=1))
    assert action == AnswerNow(fallback=False, reason="fastest")
    assert (state.health, state.why) == (Health.SLOW, "an answer took 1.75 s")
    assert step(state, LocalDone(now_s=2, request=1)) == (state, None)


def test_only_the_third_slow_answer_in_a_row_rests_the_cloud():
    twice, _ = play(*device_first(1, 0.0), *device_first(2, 1.0))
    assert step(twice, asked(3, now_s=1.75))[1] == RunHead()
    thrice, _ = play(*device_first(3, 2.0), state=twice)
    state, action = step(thrice, asked(4, now_s=3.0))
    assert action == RunFallback()
    assert state.reason == "the cloud is slow (no answer within 0.50 s); next try in 1 s"


def test_a_failure_during_the_hedge_is_told_with_the_device_s_answer():
    state, actions = play(
        RemoteFailed(now_s=2, request=1, why="it is gone"),
        LocalDone(now_s=3, request=1),
        state=HEDGED,
    )
    assert actions == [None, AnswerNow(fallback=True, reason="the cloud failed (it is gone)")]
    assert state.health is Health.OFFLINE


def test_one_odd_input_does_not_rest_the_cloud_and_three_in_a_row_do():
    state, healths = State(), []
    for request in (1, 2, 3):
        state, actions = play(
            asked(request, now_s=request),
            HeadDone(now_s=request, request=request),
            RemoteFailed(now_s=request, request=request, why="400", fault=Fault.INPUT),
            LocalDone(now_s=request, request=request),
            state=state,
        )
        healths.append(state.health)
        if request == 1:
            words = "the cloud refused this input (400)"
            assert actions[-1] == AnswerNow(fallback=True, reason=words)
    assert healths == [Health.ONLINE, Health.ONLINE, Health.OFFLINE]


def test_at_most_a_fifth_of_the_requests_is_sent_twice():
    state, sends = State(), 0
    for request in range(1, 101):
        state, actions = play(
            asked(request, now_s=100.0 * request, fallback=False),
            HeadDone(now_s=100.0 * request, request=request),
            RemoteFailed(now_s=100.0 * request, request=request, why="broke", again=True),
            RemoteFailed(now_s=100.0 * request, request=request, why="broke", again=True),
            state=state,
        )
        sends += sum(isinstance(action, Send) for action in actions)
    assert sends == 120


def test_an_infeasible_deadline_is_refused_at_once_or_said():
    late = asked(deadline_s=0.1, best_s=0.25, refuse=True)
    state, action = step(State(), late)
    assert action == Refuse(best_s=0.25)
    assert (state.phase, state.request) == (Phase.IDLE, 1)
    state, action = step(State(), replace(late, refuse=False))
    assert action == RunHead()
    words = "no answer can be there within 0.10 s, at best within 0.25 s"
    assert state.reason == f"fastest; {words}"
    assert step(State(), replace(late, deadline_s=0.25))[1] == RunHead()


def test_a_resting_cloud_is_tried_all_the_same_where_the_device_starts_at_once():
    gone = RemoteFailed(now_s=1, request=1, why="it is gone")
    resting = after(asked(), HeadDone(now_s=1, request=1), gone)
    assert step(resting, asked(2, now_s=1.5, hedge_s=0.4))[1] == RunFallback()
    state, actions = play(
        asked(2, now_s=1.5, hedge_s=0.0), HeadDone(now_s=1.6, request=2), state=resting
    )
    assert actions == [RunHead(), Send(timeout_s=1.5, hedge_s=0.0)]
    assert state.health is Health.OFFLINE
