"""What each kind of operator costs, most costly first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.profiling.inspection import Inspection

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """All nodes of one operator together.

    Args:
        op: operator type.
        nodes: how many.
        macs: of all; None when the network's cannot be counted.
        weight_bytes: that they read.
        moved_bytes: of activations read and written; None when that cannot be counted.
    """

    op: str
    nodes: int
    macs: int | None
    weight_bytes: int
    moved_bytes: int | None


def operator_costs(inspection: Inspection) -> tuple[OperatorCost, ...]:
    """What each operator costs: most MACs first, then most bytes, then most nodes."""
    costs: dict[str, OperatorCost] = {}
    for cost in _single_costs(inspection):
        costs[cost.op] = _add(costs.get(cost.op), cost, cost.op)
    return tuple(sorted(costs.values(), key=_rank))


def _single_costs(inspection: Inspection) -> list[OperatorCost]:
    if inspection.profile is None:
        return [
            OperatorCost(
                op=node.op, nodes=1, macs=None, weight_bytes=node.weight_bytes, moved_bytes=None
            )
            for node in inspection.outline.nodes
        ]
    return [
        OperatorCost(
            op=node.op,
            nodes=1,
            macs=node.macs,
            weight_bytes=node.weight_bytes,
            moved_bytes=node.read_bytes + node.written_bytes,
        )
        for node in inspection.profile.nodes
    ]


def _add(first: OperatorCost | None, second: OperatorCost, op: str) -> OperatorCost:
    if first is None:
        return second
    return OperatorCost(
        op=op,
        nodes=first.nodes + second.nodes,
        macs=_sum(first.macs, second.macs),
        weight_bytes=first.weight_bytes + second.weight_bytes,
        moved_bytes=_sum(first.moved_bytes, second.moved_bytes),
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _rank(cost: OperatorCost) -> tuple[int, int, int, str]:
    moved = cost.weight_bytes + (cost.moved_bytes or 0)
    return (-(cost.macs or 0), -moved, -cost.nodes, cost.op)


def costliest(costs: tuple[OperatorCost, ...], shown: int = _SHOWN) -> tuple[OperatorCost, ...]:
    """The first few, and all others as one.

    >>> cost = OperatorCost(op="Add", nodes=1, macs=0, weight_bytes=0, moved_bytes=8)
    >>> costliest((cost, cost, cost), 1)[-1]
    OperatorCost(op='2 others', nodes=2, macs=0, weight_bytes=0, moved_bytes=16)
    """
    if len(costs) <= shown + 1:
        return costs
    rest: OperatorCost | None = None
    for cost in costs[shown:]:
        rest = _add(rest, cost, f"{len(costs) - shown} others")
    return (*costs[:shown], *([] if rest is None else [rest]))


def operator_counts(costs: tuple[OperatorCost, ...]) -> Mapping[str, int]:
    """How many nodes of each operator, most frequent first."""
    frequent = sorted(costs, key=lambda cost: (-cost.nodes, cost.op))
    return {cost.op: cost.nodes for cost in frequent}
