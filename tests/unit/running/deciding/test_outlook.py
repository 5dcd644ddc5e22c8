from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.running import Policy
from edgewise.running.deciding.choosing import Question, best_s, choose_now
from edgewise.running.deciding.estimating import TYPICAL, Estimator, Transfer
from edgewise.running.deciding.fading import Drift, Window
from edgewise.running.deciding.outlook import Dwell, Outlook, settle

LOCAL = Route(
    name="local",
    kind=RouteKind.LOCAL,
    device_part="full",
    coefficients=Coefficients(device_s=0.4),
)
SPLIT = Route(
    name="split",
    kind=RouteKind.SPLIT,
    device_part="head",
    server_part="tail",
    coefficients=Coefficients(device_s=0.1, cloud_s=0.05, up_bytes=50_000, rtts=1),
)
CLOUD = Route(
    name="cloud",
    kind=RouteKind.CLOUD,
    server_part="whole",
    coefficients=Coefficients(cloud_s=0.05, up_bytes=100_000, rtts=1),
)
ALL = (SPLIT, CLOUD, LOCAL)
EXPECTED = Outlook(link=Estimator(prior=TYPICAL), expected=True)


def ask(outlook: Outlook, now_s: float = 0.0, **changes: object) -> tuple[Outlook, str]:
    question = Question(now_s=now_s, policy=Policy.AUTO)
    outlook, choice = choose_now(outlook, ALL, replace(question, **changes))
    return outlook, choice.route.name


def test_a_change_needs_a_clear_advantage_and_its_time():
    used = Dwell(route="a")
    assert settle(used, {"a": 1.0, "b": 0.9}, now_s=99.0) == (used, True)
    assert settle(used, {"a": 1.0, "b": 0.5}, now_s=9.0) == (used, True)
    assert settle(used, {"a": 1.0, "b": 0.5}, now_s=10.0)[0] == Dwell(route="b", since_s=10.0)
    assert settle(used, {"a": 0.9, "b": 1.0}, now_s=99.0) == (used, False)


def test_what_failed_may_be_left_at_once_and_what_is_gone_must_be():
    failed = Dwell(route="a", released=True)
    assert settle(failed, {"a": 1.0, "b": 0.5}, now_s=1.0)[0].route == "b"
    assert settle(failed, {"a": 1.0, "b": 0.9}, now_s=1.0)[0].route == "a"
    assert settle(Dwell(route="a"), {"c": 1.0, "b": 1.0}, now_s=1.0)[0].route == "c"


def test_the_expected_link_decides_until_one_is_measured():
    outlook, route = ask(EXPECTED)
    assert route == "cloud" or route == "split"
    assert ask(replace(EXPECTED, expected=False))[1] == "split"
    for i in range(20):
        transfer = Transfer(now_s=i, up_bytes=50_000, up_s=4.0)
        outlook = replace(outlook, link=outlook.link.observed(transfer))
    outlook, route = ask(outlook, 20.0)
    assert route == "local"
    assert choose_now(outlook, ALL, Question(now_s=20.0, policy=Policy.AUTO))[1].reason == (
        "least predicted time on the link as measured"
    )


def test_a_throttled_device_and_a_busy_server_move_the_choice():
    slow = Drift(mean=10.0, samples=1)
    assert ask(replace(EXPECTED, device=slow))[1] == "cloud"
    assert ask(replace(EXPECTED, server=replace(slow, mean=100.0)))[1] == "local"


def test_the_hedge_leaves_the_device_its_time():
    outlook = replace(EXPECTED, local_s=Window(values=(0.3, 0.4)))
    assert outlook.local_p99_s() == pytest.approx(0.5)
    assert outlook.hedge_s(deadline_s=1.0, predicted_s=9.0, linked=True) == pytest.approx(0.5)
    assert outlook.hedge_s(deadline_s=1.0, predicted_s=0.1, linked=True) == pytest.approx(0.2)
    assert outlook.hedge_s(deadline_s=1.0, predicted_s=0.1, linked=False) == pytest.approx(0.5)
    assert outlook.hedge_s(deadline_s=9.0, predicted_s=0.1, linked=False) == pytest.approx(1.1)
    assert outlook.hedge_s(deadline_s=0.1, predicted_s=9.0, linked=True) == 0
    assert EXPECTED.hedge_s(deadline_s=9.0, predicted_s=9.0, linked=True) == 0


def test_a_head_that_leaves_no_time_for_the_device_is_not_begun():
    outlook = replace(EXPECTED, local_s=Window(values=(0.4,)))
    assert ask(outlook, alone_s=0.55)[1] == "cloud"
    kept = outlook.kept(ALL, deadline_s=0.55, now_s=0.0)
    assert [route.name for route in kept] == ["cloud", "local"]
    assert outlook.kept(ALL, deadline_s=0.1, now_s=0.0) == list(ALL)


def test_the_soonest_is_told_only_when_all_is_known():
    assert best_s(EXPECTED, ALL, now_s=0.0) == 0
    assert best_s(replace(EXPECTED, expected=False), ALL, now_s=0.0) == 0
    once = replace(EXPECTED, device=Drift(samples=2))
    assert best_s(once, [LOCAL], now_s=0.0) == 0  # slow starts say nothing of what comes after
    known = replace(EXPECTED, device=Drift(samples=3))
    assert best_s(known, [LOCAL], now_s=0.0) == 0.4
    assert best_s(replace(known, local_s=Window(values=(0.3,))), [LOCAL], now_s=0.0) == 0.3
