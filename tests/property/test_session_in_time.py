"""The whole session in simulated time, whatever the weather and the clock."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgewise.running import Options
from edgewise.running.deciding.events import AnswerNow, GiveUp, Refuse, RunFallback, Send
from edgewise.running.deciding.steering import Rules
from edgewise.running.deciding.thrift import HostState
from edgewise.specs import LinkSpec
from session_worlds import CLOUD, EXPECTED, LOCAL, ROUTES, SPLIT, Outcome, Weather, World

LONGEST_PAUSE_S = 30.0
JUMPS = st.sampled_from([0.0, 0.0, -0.3, 0.3, -15.0, 15.0, -1e6, 1e6])
WEATHERS = st.builds(
    Weather,
    cloud=st.sampled_from(["answers", "answers", "is silent", "breaks", "refuses the input"]),
    up_bytes_per_s=st.floats(1e3, 1e8),
    rtt_s=st.floats(1e-4, 3.0),
    slowness=st.floats(0.5, 8.0),
    load=st.floats(0.1, 100.0),
    queue_s=st.floats(0, 5),
    jump_s=JUMPS,
)
PAUSES = st.sampled_from([0.0, 0.05, 1.0, 12.0, 60.0])
STEPS = st.lists(
    st.tuples(WEATHERS, PAUSES, JUMPS, st.none() | st.floats(0, 10)), min_size=1, max_size=12
)
HOSTS = st.builds(HostState, battery_share=st.none() | st.floats(0, 1), on_charger=st.booleans())
RULES = st.builds(
    Rules,
    routes=st.sampled_from([ROUTES, (SPLIT, CLOUD), (CLOUD, LOCAL)]),
    fallback=st.booleans(),
    options=st.builds(
        Options,
        link=st.none() | st.just(EXPECTED),
        timeout_s=st.none() | st.floats(0.01, 10),
        refuse_late=st.booleans(),
    ),
)


def lived(rules: Rules, host: HostState, steps: list) -> list[tuple[Outcome, float | None]]:
    world = World(rules=rules)
    world.tell(host)
    outcomes = []
    for weather, pause_s, jump_s, deadline_s in steps:
        world.weather = weather
        world.now_s += pause_s
        world.skew_s += jump_s
        outcomes.append((world.ask(deadline_s=deadline_s), deadline_s))
    return outcomes


@given(RULES, HOSTS, STEPS)
def test_every_request_is_answered_given_up_or_refused_whatever_the_clock_does(
    rules: Rules, host: HostState, steps: list
):
    for outcome, deadline_s in lived(rules, host, steps):
        if isinstance(outcome.action, GiveUp):
            assert not rules.fallback
        if isinstance(outcome.action, Refuse):
            assert rules.options.refuse_late
            assert deadline_s is not None
            assert deadline_s < outcome.action.best_s
        if isinstance(outcome.action, AnswerNow):
            assert not outcome.action.fallback or outcome.count(RunFallback) == 1


@given(RULES, HOSTS, STEPS)
def test_nothing_is_tried_more_often_than_the_budgets_allow(
    rules: Rules, host: HostState, steps: list
):
    outcomes = [outcome for outcome, _ in lived(rules, host, steps)]
    assert all(outcome.count(RunFallback) <= 1 for outcome in outcomes)
    sent = [outcome.count(Send) for outcome in outcomes]
    assert max(sent) <= 2
    assert sum(sent) <= 1.2 * sum(count > 0 for count in sent)


@given(RULES, STEPS)
def test_no_device_waits_longer_for_its_turn_than_it_was_told(rules: Rules, steps: list):
    for outcome, deadline_s in lived(rules, HostState(), steps):
        hedges_s = [one.hedge_s for one in outcome.actions if isinstance(one, Send)]
        for hedge_s in hedges_s:
            assert hedge_s is None or (deadline_s is not None and 0 <= hedge_s <= deadline_s)


LATE_HEAD = replace(SPLIT, name="late", coefficients=replace(SPLIT.coefficients, device_s=0.9))
STEADY = st.builds(
    Weather,
    cloud=st.sampled_from(["answers", "is silent", "breaks"]),
    up_bytes_per_s=st.floats(1e4, 1e7),
)


@given(
    st.sampled_from([ROUTES, (LATE_HEAD, LOCAL), (LATE_HEAD, CLOUD), (SPLIT,), (CLOUD,)]),
    st.sampled_from([None, EXPECTED]),
    HOSTS,
    st.lists(st.tuples(STEADY, PAUSES, st.floats(2.6, 4)), min_size=1, max_size=8),
)
def test_feasible_deadlines_are_kept_whatever_the_cloud_does(
    routes: tuple, link: LinkSpec | None, host: HostState, steps: list
):
    """Feasible: the device knows its pace, and has time for what it may still have to end."""
    rules = Rules(routes=routes, fallback=True, options=Options(link=link, timeout_s=20))
    world = World(rules=rules)
    world.tell(host)
    world.weather = Weather(cloud="breaks")
    world.ask()
    world.now_s += 60.0
    for weather, pause_s, times in steps:
        world.weather = weather
        world.now_s += pause_s
        deadline_s = times * LOCAL.coefficients.device_s
        outcome = world.ask(deadline_s=deadline_s)
        assert isinstance(outcome.action, AnswerNow)
        assert outcome.took_s <= deadline_s + 1e-9


@given(STEPS, st.sampled_from([-1e6, -100.0, 0.0, 100.0, 1e6]))
def test_after_a_jump_of_the_clock_one_of_two_requests_a_pause_apart_asks_the_cloud(
    steps: list, jump_s: float
):
    rules = Rules(routes=(CLOUD,), fallback=True, options=Options(link=EXPECTED))
    world = World(rules=rules)
    for weather, pause_s, _, _ in steps:
        world.weather = weather
        world.now_s += pause_s
        world.ask()
    world.skew_s += jump_s
    sent = 0
    for _ in range(2):
        world.now_s += 1.01 * LONGEST_PAUSE_S
        sent += world.ask().count(Send)
    assert sent >= 1


@given(RULES, HOSTS, STEPS)
def test_the_same_weather_leads_to_the_same_outcomes(rules: Rules, host: HostState, steps: list):
    assert lived(rules, host, steps) == lived(rules, host, steps)
