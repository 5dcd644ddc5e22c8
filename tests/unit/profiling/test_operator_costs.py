"""What each kind of operator costs, added up."""

from __future__ import annotations

import pytest

import inspected
from edgewise.graphs import load
from edgewise.profiling import costliest, inspect, operator_costs, operator_counts


@pytest.mark.parametrize("raw", [inspected.words(), inspected.chain(9), inspected.web(30)])
def test_operators_add_up_to_the_network(raw: bytes) -> None:
    found = inspect(load(raw), trimming=False)
    assert found.profile is not None
    costs = operator_costs(found)
    assert len({cost.op for cost in costs}) == len(costs)
    assert sum(operator_counts(costs).values()) == len(found.outline.nodes)
    assert sum(cost.macs or 0 for cost in costs) == found.profile.macs
    moved = sum(node.read_bytes + node.written_bytes for node in found.profile.nodes)
    assert sum(cost.moved_bytes or 0 for cost in costs) == moved


def test_the_costliest_come_first_and_the_rest_together() -> None:
    costs = operator_costs(inspect(load(inspected.words()), trimming=False))
    assert [cost.op for cost in costs] == ["MatMul", "Gather", "ReduceMean"]
    first, rest = costliest(costs, 1)
    assert first == costs[0]
    assert (rest.op, rest.nodes) == ("2 others", 2)
    assert rest.weight_bytes == costs[1].weight_bytes + costs[2].weight_bytes


def test_without_a_profile_weights_and_nodes_are_left() -> None:
    costs = operator_costs(inspect(load(inspected.misfit()), trimming=False))
    assert [(cost.op, cost.macs, cost.moved_bytes) for cost in costs] == [
        ("MatMul", None, None),
        ("Relu", None, None),
    ]
    assert costs[0].weight_bytes == 96
