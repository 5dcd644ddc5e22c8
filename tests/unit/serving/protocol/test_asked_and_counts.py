"""Outputs, deadlines and routes that requests ask for; what is counted of them."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.errors import BadInput
from edgewise.serving.observing.account import Account
from edgewise.serving.observing.counting import Counts
from edgewise.serving.protocol.request_parameters import Asked, fits, read_asked, read_deadline_us
from edgewise.wire import Parameters


def test_no_list_of_outputs_asks_for_all() -> None:
    assert read_asked([], {}) == Asked()
    asked = read_asked([], {"binary_data_output": True}).among(("y", "z"))
    assert (asked.outputs, asked.binary) == (("y", "z"), {"y", "z"})
    assert Asked().among(("y",)).binary == frozenset()


def test_an_output_may_differ_from_the_rest() -> None:
    outputs = [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}]
    asked = read_asked(outputs, {"binary_data_output": True})
    assert (asked.outputs, asked.binary) == (("y", "z"), {"z"})


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (1, "expected a list of objects with names, found int"),
        ([1], "expected a name for each requested output, found none"),
        ([{"name": 1}], "expected a name for each requested output, found none"),
        (
            [{"name": "y", "parameters": 1}],
            "expected parameters of 'y' as an object, found something else",
        ),
        (
            [{"name": "y", "parameters": {"binary_data": 0}}],
            "expected true or false for binary_data, found int",
        ),
        (
            [{"name": "y", "parameters": {"shared_memory_region": "r"}}],
            "expected the parameter binary_data alone for 'y', found 'shared_memory_region'",
        ),
    ],
)
def test_ill_formed_outputs_are_refused(outputs: object, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_asked(outputs, {})
    assert str(caught.value) == f"{message}; leave 'outputs' out to get all of them"


def test_the_form_of_all_outputs_is_true_or_false() -> None:
    with pytest.raises(BadInput, match="expected true or false for binary_data_output, found str"):
        read_asked([], {"binary_data_output": "yes"})


def test_an_output_asked_for_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="found a name twice"):
        Asked(outputs=("y", "y")).among(("y",))


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, None),
        ({"timeout": 0}, None),
        ({"timeout": 5}, 5),
        ({"timeout": 5, "deadline_us": 4}, 4),
        ({"timeout": 0, "deadline_us": 4, "priority": 0, "sequence_id": 0}, 4),
    ],
)
def test_the_earlier_deadline_counts(parameters: Parameters, found: int | None) -> None:
    assert read_deadline_us(parameters) == found


@pytest.mark.parametrize(
    "parameters",
    [
        {"deadline_us": 0},
        {"deadline_us": -1},
        {"deadline_us": 1.5},
        {"deadline_us": True},
        {"deadline_us": "5"},
        {"deadline_us": 2**53},
        {"timeout": -1},
        {"priority": "high"},
        {"sequence_id": 3},
        {"sequence_end": True},
    ],
)
def test_impossible_wishes_are_refused(parameters: Parameters) -> None:
    with pytest.raises(BadInput):
        read_deadline_us(parameters)


def test_a_cut_is_named_by_its_tensors() -> None:
    route = Route(name="split", kind=RouteKind.SPLIT, cut=("a", "b"), coefficients=Coefficients())
    assert fits(route, {})
    assert fits(route, {"cut": "a,b", "codec": "none"})
    assert not fits(route, {"cut": "a"})
    assert not fits(route, {"codec": "fp16"})


def test_counts_are_sums_in_nanoseconds() -> None:
    ticks = iter([0.0, 2.0, 10.0, 13.0])
    counts = Counts(elapsed_s=lambda: next(ticks), now_s=lambda: 1.5)
    account = Account(model="m", version="1")
    with counts.request(account):
        counts.ran(account, items=4, executions=0, queue_s=0.25, compute_infer_s=1.0)
    with pytest.raises(KeyError), counts.request(account):
        raise KeyError
    found = _entry(counts, "1")
    assert (found["inference_count"], found["execution_count"]) == (4, 0)
    assert found["last_inference"] == 1500
    stats = found["inference_stats"]
    assert isinstance(stats, dict)
    assert stats["success"] == {"count": 1, "ns": 2_000_000_000}
    assert stats["fail"] == {"count": 1, "ns": 3_000_000_000}
    assert stats["queue"] == {"count": 1, "ns": 250_000_000}
    assert stats["compute_output"] == {"count": 0, "ns": 0}


def test_a_request_counts_for_the_version_that_it_turns_out_to_be_for() -> None:
    counts = Counts()
    account = Account(model="m", version="1")
    with counts.request(account):
        account.version = "2"
        counts.ran(account)
    assert _entry(counts, "1")["inference_count"] == 0
    assert _entry(counts, "2")["inference_count"] == 1
    assert _entry(counts, "2")["inference_stats"]["success"]["count"] == 1


def _entry(counts: Counts, version: str) -> dict[str, Any]:
    statistics: Any = counts.statistics([("m", version)])
    (entry,) = statistics["model_stats"]
    return entry
