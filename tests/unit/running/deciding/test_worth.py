from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle import Coefficients, Quality, Route, RouteKind
from edgewise.running import Policy
from edgewise.running.deciding.choosing import Question, choose_now
from edgewise.running.deciding.estimating import TYPICAL, Errors, Estimator
from edgewise.running.deciding.events import ReplyArrived
from edgewise.running.deciding.fading import Queue, Window
from edgewise.running.deciding.learning import with_reply
from edgewise.running.deciding.outlook import Outlook
from edgewise.running.deciding.worth import Due, cost_s, quality_of, saved_alone

STEADY = Errors(variance=0.01, samples=50)
WILD = Errors(variance=1.0, samples=50)


def judged(share: float) -> Quality:
    return Quality(metric="agreement", value=share, low=share, high=share, n=100)


LOCAL = Route(
    name="local",
    kind=RouteKind.LOCAL,
    device_part="small",
    quality=judged(0.9),
    coefficients=Coefficients(device_s=0.2),
)
SMALL = Route(
    name="small-payload",
    kind=RouteKind.CLOUD,
    server_part="whole",
    quality=judged(0.95),
    coefficients=Coefficients(cloud_s=0.02, up_bytes=20_000, rtts=1),
)
LARGE = replace(
    SMALL,
    name="large-payload",
    quality=judged(1.0),
    coefficients=Coefficients(cloud_s=0.02, up_bytes=300_000, rtts=1),
)
ROUTES = (LOCAL, SMALL, LARGE)


def outlook(*, errors: Errors = STEADY, local_s: float = 0.2) -> Outlook:
    link = Estimator(prior=TYPICAL, errors=errors)
    return Outlook(link=link, expected=True, local_s=Window(values=(local_s,)))


def chosen(known: Outlook, *, left_s: float | None, alone_s: float | None = None) -> str:
    question = Question(now_s=0.0, policy=Policy.AUTO, left_s=left_s, alone_s=alone_s)
    return choose_now(known, ROUTES, question)[1].route.name


def test_without_a_deadline_the_quickest_route_is_taken():
    assert chosen(outlook(), left_s=None) == "small-payload"


def test_with_time_enough_the_most_accurate_route_is_taken():
    assert chosen(outlook(), left_s=2.0) == "large-payload"


def test_with_too_little_time_accuracy_gives_way():
    assert chosen(outlook(), left_s=0.3) == "small-payload"
    assert chosen(outlook(), left_s=0.22) == "small-payload"


def test_what_varies_much_is_trusted_less():
    assert chosen(outlook(errors=STEADY), left_s=0.5) == "large-payload"
    assert chosen(outlook(errors=WILD), left_s=0.5) == "small-payload"


def test_where_the_device_steps_in_a_chance_is_worth_taking():
    # On its own the large payload would be too risky; with the device behind it little is lost.
    known = outlook(errors=Errors(variance=0.1, samples=50))
    assert chosen(known, left_s=0.48) == "small-payload"
    assert chosen(known, left_s=0.48, alone_s=0.48) == "large-payload"


def test_when_nobody_can_be_in_time_the_quickest_is_taken():
    assert chosen(outlook(), left_s=0.0) == "small-payload"


def test_the_device_steps_in_only_when_it_is_in_time():
    known = outlook()
    assert saved_alone(known, ROUTES, alone_s=None, now_s=0.0) == 0
    assert saved_alone(known, ROUTES, alone_s=0.24, now_s=0.0) == 0  # a quarter of margin
    assert saved_alone(known, ROUTES, alone_s=0.26, now_s=0.0) == 0.9
    assert saved_alone(replace(known, local_s=Window()), ROUTES, alone_s=0.21, now_s=0.0) == 0.9
    assert saved_alone(known, [SMALL], alone_s=9.0, now_s=0.0) == 0


def test_a_route_that_nobody_judged_counts_as_right():
    assert quality_of(replace(LOCAL, quality=None)) == 1.0


def test_waiting_at_the_server_is_told_from_slow_work_there():
    reply = ReplyArrived(
        now_s=0.0, request=1, up_bytes=20_000, waited_s=1.1, server_s=1.02, queue_s=1.0
    )
    known = with_reply(outlook(), reply, SMALL)
    assert known.server.ratio(0.0) == pytest.approx(1.0)
    assert known.queue.wait_s(0.0) == 1.0
    # Every route that needs the server waits as long, however little it would make it work.
    light = replace(SMALL, coefficients=replace(SMALL.coefficients, cloud_s=1e-6))
    assert known.computing_s(light, 0.0) == pytest.approx(1.0, rel=0.01)
    assert known.computing_s(LOCAL, 0.0) == 0.2
    assert chosen(known, left_s=0.5, alone_s=0.5) == "local"


@given(
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0.01, 4),
    st.floats(0, 5),
    st.sampled_from(ROUTES),
)
def test_a_better_or_an_easier_route_never_costs_more(
    left_s: float, saved: float, variance: float, waited_s: float, route: Route
):
    errors = Errors(variance=variance, samples=9)
    known = replace(outlook(errors=errors), queue=Queue(mean_s=waited_s))
    due = Due(left_s=left_s, saved=saved)
    cost = cost_s(known, route, known.parts_s(route, TYPICAL, 0.0), due)
    assert cost >= known.predict_s(route, TYPICAL, 0.0) - 1e-9
    better = replace(route, quality=judged(1.0))
    assert cost_s(known, better, known.parts_s(better, TYPICAL, 0.0), due) <= cost + 1e-9
    more = replace(due, saved=1.0)
    assert cost_s(known, route, known.parts_s(route, TYPICAL, 0.0), more) <= cost + 1e-9
