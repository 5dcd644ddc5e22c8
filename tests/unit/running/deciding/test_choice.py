from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.errors import BadInput
from edgewise.running import Policy, predict_s
from edgewise.running.deciding.choice import named_route
from edgewise.specs import LinkSpec, Provenance
from first_choices import first_choice

LTE = LinkSpec(
    name="lte",
    up_bytes_per_s=1e6,
    down_bytes_per_s=2e6,
    rtt_s=0.05,
    provenance=Provenance(source="user-supplied", date="2026-11-21"),
)


def route(name: str, kind: RouteKind, *, cut: tuple[str, ...] = (), **times: float) -> Route:
    server_part = None if kind is RouteKind.LOCAL else "tail"
    coefficients = Coefficients(**times)
    return Route(name=name, kind=kind, cut=cut, server_part=server_part, coefficients=coefficients)


LOCAL = route("local", RouteKind.LOCAL, device_s=0.4)
SPLIT = route(
    "split", RouteKind.SPLIT, cut=("f",), device_s=0.1, cloud_s=0.1, up_bytes=100_000, rtts=1
)
CLOUD = route("cloud", RouteKind.CLOUD, cut=("x",), cloud_s=0.1, up_bytes=500_000, rtts=1)
ALL = (SPLIT, CLOUD, LOCAL)


def test_a_prediction_is_the_formula_of_the_manifest():
    assert predict_s(SPLIT, LTE) == pytest.approx(0.1 + 0.1 + 0.1 + 0.05)
    assert predict_s(SPLIT, None) == pytest.approx(0.2)


def test_the_least_predicted_time_wins_and_says_so():
    choice = first_choice([LOCAL, CLOUD, SPLIT], link=LTE)
    assert (choice.route, choice.reason) == (SPLIT, "least predicted time on lte")
    assert choice.predicted_s == pytest.approx(predict_s(SPLIT, LTE))


def test_without_a_link_the_planner_decides():
    choice = first_choice([CLOUD, SPLIT, LOCAL], link=None)
    assert (choice.route, choice.reason) == (CLOUD, "the planner's first choice")


@pytest.mark.parametrize(
    ("policy", "stays", "chosen", "reason"),
    [
        (Policy.PREFER_ON_DEVICE, False, LOCAL, "the only route that can be taken under"),
        (Policy.ONLY_ON_DEVICE, False, LOCAL, "the only route that can be taken under"),
        (Policy.PREFER_IN_CLOUD, False, SPLIT, "least predicted time on lte under"),
        (Policy.ONLY_IN_CLOUD, True, SPLIT, "the only route that can be taken under"),
    ],
)
def test_a_policy_restricts_and_is_named(policy: Policy, stays: bool, chosen: Route, reason: str):
    choice = first_choice(ALL, link=LTE, policy=policy, raw_input_stays=stays)
    assert choice.route is chosen
    assert choice.reason == f"{reason} the policy {policy}"


def test_a_preference_is_no_ban():
    assert first_choice([LOCAL], link=LTE, policy=Policy.PREFER_IN_CLOUD).route is LOCAL
    assert first_choice([CLOUD], link=LTE, policy=Policy.PREFER_ON_DEVICE).route is CLOUD


@pytest.mark.parametrize(
    "raw",
    [
        CLOUD,
        route("cascade", RouteKind.CASCADE),
        route("through", RouteKind.SPLIT, cut=("f", "x")),
        replace(route("image-of-it", RouteKind.SPLIT, cut=("f",)), sends_input=True),
    ],
)
def test_raw_input_stays_on_every_route_that_would_send_it(raw: Route):
    assert first_choice([raw, LOCAL], link=LTE, raw_input_stays=True, inputs=["x"]).route is LOCAL
    with pytest.raises(BadInput) as refused:
        first_choice([raw], link=LTE, raw_input_stays=True, inputs=["x"])
    assert str(refused.value) == (
        f"expected a route that the policy auto with raw_input_stays allows, found {raw.name};"
        " choose another policy, or plan a bundle with such a route"
    )


def test_no_route_at_all_is_an_error():
    with pytest.raises(BadInput, match="the policy only_on_device allows, found none at all"):
        first_choice([], link=None, policy=Policy.ONLY_ON_DEVICE)


def test_a_route_may_be_named():
    assert named_route(ALL, "cloud") is CLOUD
    with pytest.raises(BadInput, match=r"split, cloud, local.*'other'"):
        named_route(ALL, "other")
