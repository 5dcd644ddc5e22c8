"""Whatever happens to a session, in whatever order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.errors import BadInput
from edgewise.running import Policy
from edgewise.running.deciding.events import (
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
from edgewise.specs import LinkSpec, Provenance
from first_choices import first_choice, first_prediction_s

LONGEST_PAUSE_S = 30.0
NOW = st.floats(0, 1e6)
NUMBERS = st.integers(0, 6)
TEXT = st.sampled_from(["gone", "slow", ""])
ASKED = st.builds(
    Asked,
    now_s=NOW,
    request=NUMBERS,
    route=TEXT,
    reason=TEXT,
    remote=st.booleans(),
    timeout_s=st.floats(1e-3, 3600),
    fallback=st.booleans(),
    hedge_s=st.none() | st.floats(0, 60),
    deadline_s=st.none() | st.floats(0, 60),
    best_s=st.floats(0, 60),
    refuse=st.booleans(),
)
OF_REQUEST = st.one_of(
    *(
        st.builds(kind, now_s=NOW, request=NUMBERS)
        for kind in (HeadDone, ReplyArrived, TimedOut, HedgeDue, LocalDone, Cancelled)
    ),
    st.builds(
        RemoteFailed,
        now_s=NOW,
        request=NUMBERS,
        why=TEXT,
        fault=st.sampled_from(Fault),
        again=st.booleans(),
    ),
)
EVENTS = st.one_of(ASKED, OF_REQUEST, st.builds(Unreachable, now_s=NOW, why=TEXT))


def reached(events: list[Event]) -> State:
    state = State()
    for event in events:
        state, _ = step(state, event)
    return state


@given(st.lists(EVENTS, max_size=30))
def test_no_order_of_events_raises_or_pauses_for_long(events: list[Event]):
    state = State()
    for event in events:
        before = state
        state, action = step(state, event)
        assert (state.health is Health.OFFLINE) == (state.failures > 0)
        if state.failures > before.failures:
            assert state.retry_at_s <= event.now_s + LONGEST_PAUSE_S
        if isinstance(action, GiveUp):
            assert not state.fallback
        if isinstance(action, AnswerNow | GiveUp | Refuse):
            assert state.phase is Phase.IDLE


@given(st.lists(EVENTS, max_size=40))
def test_a_request_is_answered_at_most_once_and_by_whom_it_says(events: list[Event]):
    state, answered = State(), set()
    for event in events:
        state, action = step(state, event)
        if isinstance(action, AnswerNow | GiveUp | Refuse):
            assert state.request not in answered
            answered.add(state.request)
        if isinstance(action, AnswerNow):
            assert isinstance(event, LocalDone) == action.fallback


@given(st.lists(st.booleans(), max_size=60))
def test_at_most_a_fifth_of_the_requests_is_sent_twice(broken: list[bool]):
    state, again = State(), 0
    for i, fails in enumerate(broken):
        question = Asked(
            now_s=i, request=i + 1, route="r", reason="", remote=True, timeout_s=1, fallback=False
        )
        state, _ = step(state, question)
        state, _ = step(state, HeadDone(now_s=i, request=i + 1))
        failure = RemoteFailed(now_s=i, request=i + 1, why="", again=True)
        state, action = step(state, failure if fails else ReplyArrived(now_s=i, request=i + 1))
        again += isinstance(action, Send)
    assert again <= 0.2 * len(broken)


@given(st.lists(EVENTS, max_size=20), OF_REQUEST)
def test_late_events_change_nothing(events: list[Event], late: Event):
    state = reached(events)
    late = replace(late, request=state.request - 1 - late.request)
    assert step(state, late) == (state, None)


@given(st.lists(EVENTS, max_size=20), OF_REQUEST)
def test_nothing_but_a_question_wakes_an_idle_session(events: list[Event], late: Event):
    state = reached([*events, Cancelled(now_s=0, request=reached(events).request)])
    assert step(state, late) == (state, None)


@given(
    st.lists(EVENTS, max_size=20),
    ASKED,
    st.sampled_from([ReplyArrived, TimedOut, RemoteFailed]),
    st.lists(OF_REQUEST, max_size=3),
)
def test_every_question_is_answered(
    events: list[Event], question: Asked, outcome: type, noise: list[Event]
):
    """In a fair environment: whatever is begun ends, whatever else arrives in between."""
    state = reached(events)
    question = replace(question, request=state.request + 1)
    state, action = step(state, question)
    for _ in range(5):
        for late in noise:
            state, ignored = step(state, replace(late, request=question.request - 1))
            assert ignored is None
        if isinstance(action, AnswerNow | GiveUp | Refuse):
            break
        state, action = step(state, _performed(action, question, outcome))
    assert isinstance(action, AnswerNow | GiveUp | Refuse)
    assert not isinstance(action, GiveUp) or not question.fallback
    assert not isinstance(action, Refuse) or question.refuse


@given(st.lists(EVENTS, max_size=20), ASKED, st.floats(0, 1e3))
def test_a_request_after_the_longest_pause_tries_the_cloud(
    events: list[Event], question: Asked, more_s: float
):
    state = reached(events)
    newest_s = max((event.now_s for event in events), default=0.0)
    question = replace(
        question,
        request=state.request + 1,
        now_s=newest_s + LONGEST_PAUSE_S + more_s,
        remote=True,
        refuse=False,
    )
    assert isinstance(step(state, question)[1], RunHead)


@given(st.lists(EVENTS, max_size=20))
def test_the_same_events_lead_to_the_same_state(events: list[Event]):
    assert reached(events) == reached(events)


def _performed(action: object, question: Asked, outcome: type) -> Event:
    number, now_s = question.request, question.now_s
    if isinstance(action, RunHead):
        return HeadDone(now_s=now_s, request=number)
    if isinstance(action, RunFallback):
        return LocalDone(now_s=now_s, request=number)
    assert isinstance(action, Send)
    if action.hedge_s is not None and question.fallback:
        return HedgeDue(now_s=now_s, request=number)
    why = {"why": "gone"} if outcome is RemoteFailed else {}
    return outcome(now_s=now_s, request=number, **why)


# Choosing a route

SECONDS = st.floats(0, 10)
USER = Provenance(source="user-supplied", date="2026-11-21")
LINKS = st.builds(
    LinkSpec,
    name=st.just("link"),
    up_bytes_per_s=st.floats(1, 1e9),
    down_bytes_per_s=st.floats(1, 1e9),
    rtt_s=SECONDS,
    provenance=st.just(USER),
)


@st.composite
def bundles(draw: st.DrawFn) -> list[Route]:
    kinds = draw(st.lists(st.sampled_from(RouteKind), min_size=1, max_size=6))
    return [
        Route(
            name=f"r{i}",
            kind=kind,
            cut=draw(st.sampled_from([(), ("x",), ("feature",)])),
            server_part=None if kind is RouteKind.LOCAL else "tail",
            coefficients=Coefficients(
                device_s=draw(SECONDS),
                cloud_s=draw(SECONDS),
                up_bytes=draw(st.integers(0, 10**7)),
                down_bytes=draw(st.integers(0, 10**7)),
                rtts=draw(st.integers(0, 2)),
            ),
        )
        for i, kind in enumerate(kinds)
    ]


@given(bundles(), LINKS)
def test_auto_takes_the_least_predicted_time_and_the_earliest_among_equals(
    routes: list[Route], link: LinkSpec
):
    choice = first_choice(routes, link=link)
    times = [first_prediction_s(route, link) for route in routes]
    assert choice.predicted_s == min(times)
    assert choice.route is routes[times.index(min(times))]


@given(bundles(), st.one_of(st.none(), LINKS), st.sampled_from(Policy), st.booleans())
def test_a_policy_is_never_broken(
    routes: list[Route], link: LinkSpec | None, policy: Policy, stays: bool
):
    try:
        choice = first_choice(
            routes, link=link, policy=policy, raw_input_stays=stays, inputs=["x"]
        )
    except BadInput:
        assert not any(_fits(route, policy, stays) for route in routes)
        return
    assert _fits(choice.route, policy, stays)
    wanted = {Policy.PREFER_ON_DEVICE: True, Policy.PREFER_IN_CLOUD: False}.get(policy)
    if wanted is not None and (choice.route.kind is RouteKind.LOCAL) is not wanted:
        fitting = [route for route in routes if _fits(route, policy, stays)]
        assert all((route.kind is RouteKind.LOCAL) is not wanted for route in fitting)


def _fits(route: Route, policy: Policy, stays: bool) -> bool:
    raw = route.kind in (RouteKind.CLOUD, RouteKind.CASCADE) or "x" in route.cut
    where = {
        Policy.ONLY_ON_DEVICE: route.kind is RouteKind.LOCAL,
        Policy.ONLY_IN_CLOUD: route.kind is not RouteKind.LOCAL,
    }
    return where.get(policy, True) and not (stays and raw)


@given(bundles(), LINKS, st.floats(1, 100))
def test_a_faster_link_never_worsens_the_predicted_time(
    routes: list[Route], link: LinkSpec, times: float
):
    faster = replace(
        link,
        up_bytes_per_s=link.up_bytes_per_s * times,
        down_bytes_per_s=link.down_bytes_per_s * times,
        rtt_s=link.rtt_s / times,
    )
    slow, fast = first_choice(routes, link=link), first_choice(routes, link=faster)
    assert fast.predicted_s <= slow.predicted_s or fast.predicted_s == pytest.approx(
        slow.predicted_s, rel=1e-12
    )
