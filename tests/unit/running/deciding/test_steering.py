from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.bundle import Coefficients
from edgewise.errors import BadInput
from edgewise.running import Options, Policy
from edgewise.running.deciding.events import (
    AnswerNow,
    GiveUp,
    HeadDone,
    Refuse,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
)
from edgewise.running.deciding.steering import DeviceRan, Rules, Wanted, advance, first_mind
from edgewise.running.deciding.thrift import HostState
from edgewise.running.status import describe
from session_worlds import CLOUD, EXPECTED, LOCAL, ROUTES, SPLIT, Weather, World

RULES = Rules(routes=ROUTES, fallback=True, options=Options(link=EXPECTED))
ALL = ("split", "cloud", "local")


def wanted(request: int, now_s: float = 0.0, **changes: object) -> Wanted:
    return replace(Wanted(now_s=now_s, request=request, routes=ALL), **changes)


def test_only_the_routes_that_can_take_the_input_are_chosen_from():
    mind, _ = advance(RULES, first_mind(RULES.options), wanted(1, routes=("cloud", "local")))
    assert mind.state.route == "cloud"


def test_the_caller_may_insist_on_a_route_and_no_other_is_left_behind_by_a_wrong_name():
    mind = first_mind(RULES.options)
    named, _ = advance(RULES, mind, wanted(1, route="local"))
    assert (named.state.route, named.state.reason) == ("local", "the caller asked for it")
    with pytest.raises(BadInput, match="one of the routes split, cloud, local, found 'none'"):
        advance(RULES, mind, wanted(1, route="none"))


def test_what_was_spent_and_an_old_run_come_off_the_deadline():
    mind, _ = advance(RULES, first_mind(RULES.options), DeviceRan(now_s=0.0, took_s=0.4))
    free, _ = advance(RULES, mind, wanted(1, deadline_s=0.8))
    spent, _ = advance(RULES, mind, wanted(1, deadline_s=0.9, spent_s=0.1))
    busy, _ = advance(RULES, mind, wanted(1, 1.0, deadline_s=1.2, busy_since_s=0.9))
    assert free.state.hedge_s == pytest.approx(0.3)
    assert spent.state.hedge_s == pytest.approx(0.3)
    assert busy.state.hedge_s == pytest.approx(0.3)


def test_a_deadline_that_is_over_already_is_refused_once_the_soonest_is_known():
    world = World(rules=RULES)
    for _ in range(3):
        assert not isinstance(world.ask(deadline_s=-1.0).action, Refuse)
    assert isinstance(world.ask(deadline_s=-1.0).action, Refuse)


def test_an_older_request_and_a_late_reply_change_and_teach_nothing():
    mind, _ = advance(RULES, first_mind(RULES.options), wanted(2))
    assert advance(RULES, mind, wanted(1)) == (mind, None)
    late = ReplyArrived(now_s=9.0, request=1, up_bytes=10**6, waited_s=9.0)
    assert advance(RULES, mind, late) == (mind, None)


def test_a_new_request_ends_the_old_one_and_what_was_waited_teaches():
    mind, _ = advance(RULES, first_mind(RULES.options), wanted(1))
    mind, action = advance(RULES, mind, HeadDone(now_s=0.1, request=1))
    assert isinstance(action, Send)
    mind, action = advance(RULES, mind, wanted(2, 20.0))
    assert action == RunHead()
    assert mind.outlook.link.samples == 1
    assert mind.state.route == "local"  # waiting that long for the cloud in vain was enough


def test_without_a_fallback_a_request_may_be_given_up_and_the_route_left():
    rules = replace(RULES, routes=(SPLIT, CLOUD), fallback=False)
    world = World(rules=rules, weather=Weather(cloud="is silent"))
    assert isinstance(world.ask().action, GiveUp)
    assert world.mind.outlook.dwell.released


def test_a_low_battery_takes_the_frugal_route_that_is_in_time():
    frugal = replace(LOCAL, coefficients=Coefficients(device_s=0.3, device_j=0.01))
    hungry = replace(SPLIT, coefficients=replace(SPLIT.coefficients, device_j=0.9))
    rules = replace(RULES, routes=(hungry, CLOUD, frugal))
    low, _ = advance(rules, first_mind(rules.options), HostState(battery_share=0.1))
    tried = [
        advance(rules, low, wanted(1, deadline_s=deadline_s))[0].state
        for deadline_s in (None, 0.29)
    ]
    assert [state.route == "local" for state in tried] == [True, False]
    assert tried[0].reason.endswith(", energy counted because the battery is low")
    unknown = replace(LOCAL, coefficients=Coefficients(device_s=0.3))
    rules = replace(rules, routes=(hungry, CLOUD, unknown))
    assert advance(rules, low, wanted(1))[0].state.route == "split"


def test_the_status_says_what_is_known():
    world = World(rules=RULES)
    before = describe(RULES, world.mind, linked=True, now_s=0.0)
    assert before.words.startswith("online; link as expected: up ")
    world.tell(HostState(battery_share=0.1))
    world.weather = Weather(cloud="breaks")
    outcome = world.ask()
    assert outcome.action == AnswerNow(
        fallback=True, reason="the cloud failed (the connection broke)"
    )
    assert outcome.count(RunFallback) == 1
    after = describe(RULES, world.mind, linked=True, now_s=world.now_s)
    assert after.words.startswith("offline (the connection broke), next try in 1 s; link as exp")
    assert "; the battery is low; route split: " in after.words
    world.weather = Weather()
    world.now_s += 2.0
    world.ask()
    after = describe(RULES, world.mind, linked=True, now_s=world.now_s)
    assert after.words.startswith("online; link estimated from 1 request: up ")


def test_a_policy_without_the_cloud_needs_none():
    rules = Rules(routes=(LOCAL,), fallback=True, options=Options(policy=Policy.ONLY_ON_DEVICE))
    mind, action = advance(rules, first_mind(rules.options), wanted(1))
    assert (mind.state.route, action) == ("local", RunHead())


def test_a_request_that_lost_its_time_waiting_for_its_turn_is_answered_all_the_same():
    world = World(rules=RULES)
    world.ask()
    mind, action = advance(RULES, world.mind, wanted(2, 9.0, deadline_s=1.0, spent_s=2.0))
    assert action == RunHead()
    assert mind.state.hedge_s in (0.0, None)
