"""Part a network at the values that every path of content goes through.

Those values form a *chain*. What lies strictly between two neighbours of the chain is a
*stretch*: every set of nodes that is closed under predecessors ends inside exactly one stretch,
because it holds all that leads to the last member of the chain that it makes, and nothing of what
follows the next. So cuts of any width are found stretch by stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir

from edgewise.graphs.flow import Flow

_MEASURE_SHAPES = ("Shape", "Size")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Content nodes strictly between two neighbours of the chain, branch after branch.

    Args:
        entries: the member of the chain before it; for the first, the inputs.
        nodes: each node's place is its bit.
        before: for each node, the bits of the nodes of this stretch that must run before it.
    """

    entries: tuple[onnx_ir.Value, ...]
    nodes: list[onnx_ir.Node] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where every value stands between the members of the chain.

    Args:
        members: the values that no path of content avoids, first to last; inputs and outputs too.
        ends: outputs, and for an output that is structure the content that it is made of.
        useful: the content that leads to an end by content alone.
        level: for each value, the last member of the chain that it depends on (-1: on none).
        needs: for each value, the bits of the nodes in the stretch of its level that must run
            before it is known.
        stretches: by level, from -1.
        closers: for each member, by its level, the node that makes it; none for an input.
    """

    members: tuple[onnx_ir.Value, ...]
    ends: frozenset[onnx_ir.Value]
    useful: frozenset[onnx_ir.Value]
    level: Mapping[onnx_ir.Value, int]
    needs: Mapping[onnx_ir.Value, int]
    stretches: Mapping[int, Stretch]
    closers: Mapping[int, onnx_ir.Node]


def trace_chain(flow: Flow, graph: onnx_ir.Graph) -> Chain:
    """Find the chain and what lies between its members, in time linear in the graph.

    Among the content values that lie on some path from an input to an output, in any topological
    order, a value lies on *all* such paths if and only if no edge jumps over it. (If it is on all
    of them, each other value is before or after it in every order, so nothing jumps over it; if
    nothing jumps over it, no path can avoid it.)
    """
    ends = _ends(flow, graph)
    useful = _leading_to(flow, ends)
    members = _members(flow, graph, ends, useful)
    place = {value: index for index, value in enumerate(members)}
    entries = tuple(value for value in graph.inputs if value in useful and value not in place)
    stretches = {-1: Stretch(entries)}
    stretches.update({index: Stretch((value,)) for value, index in place.items()})
    level = {value: place.get(value, -1) for value in graph.inputs}
    needs = dict.fromkeys(graph.inputs, 0)
    closers: dict[int, onnx_ir.Node] = {}
    for node in _branch_after_branch(flow):
        reads = [value for value in flow.reads[node] if value in level]
        highest = max(level[value] for value in reads)
        bits = 0
        for value in reads:
            if level[value] == highest:
                bits |= needs[value]
        member = max((place[out] for out in node.outputs if out in place), default=None)
        if member is not None:
            closers[member] = node
            highest, bits = member, 0
        elif any(out in useful for out in node.outputs):
            stretch = stretches[highest]
            stretch.before.append(bits)
            bits = 1 << len(stretch.nodes)
            stretch.nodes.append(node)
        for output in node.outputs:
            level[output], needs[output] = highest, bits
    return Chain(
        members=members,
        ends=ends,
        useful=useful,
        level=level,
        needs=needs,
        stretches=stretches,
        closers=closers,
    )


def _branch_after_branch(flow: Flow) -> list[onnx_ir.Node]:
    """The nodes in an order in which they can run, each soon after the last that it waited for."""
    waits: dict[onnx_ir.Node, int] = {}
    readers: dict[onnx_ir.Node, list[onnx_ir.Node]] = {node: [] for node in flow.nodes}
    for node in flow.nodes:
        makers = {value.producer() for value in flow.reads[node] if value in flow.dependent}
        makers.discard(None)
        waits[node] = len(makers)
        for maker in makers:
            if maker is not None:
                readers[maker].append(node)
    stack = [node for node in reversed(flow.nodes) if waits[node] == 0]
    order = []
    while stack:
        node = stack.pop()
        order.append(node)
        for reader in reversed(readers[node]):
            waits[reader] -= 1
            if waits[reader] == 0:
                stack.append(reader)
    return order


def _ends(flow: Flow, graph: onnx_ir.Graph) -> frozenset[onnx_ir.Value]:
    ends: set[onnx_ir.Value] = set()
    stack, seen = list(graph.outputs), set(graph.outputs)
    while stack:
        value = stack.pop()
        node = value.producer()
        if value in flow.content:
            ends.add(value)
        elif node is not None and node.op_type not in _MEASURE_SHAPES:
            fresh = [read for read in flow.reads[node] if read not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return frozenset(ends)


def _leading_to(flow: Flow, ends: frozenset[onnx_ir.Value]) -> frozenset[onnx_ir.Value]:
    useful = set(ends)
    for node in reversed(flow.nodes):
        if any(out in useful for out in node.outputs):
            useful.update(value for value in flow.reads[node] if value in flow.content)
    return frozenset(useful)


def _members(
    flow: Flow,
    graph: onnx_ir.Graph,
    ends: frozenset[onnx_ir.Value],
    useful: frozenset[onnx_ir.Value],
) -> tuple[onnx_ir.Value, ...]:
    order = [value for value in flow.dependent if value in useful]
    position = {value: index for index, value in enumerate(order)}
    reach = _reach(flow, position, ends)
    inputs = [position[value] for value in graph.inputs if value in useful]
    jumped_to = max(inputs, default=0)
    members = []
    for value in order:
        if jumped_to <= position[value]:
            members.append(value)
        jumped_to = max(jumped_to, reach[value])
    return tuple(members)


def _reach(
    flow: Flow, position: Mapping[onnx_ir.Value, int], ends: frozenset[onnx_ir.Value]
) -> dict[onnx_ir.Value, int]:
    """The furthest value that is made straight from each; an end reaches beyond the last."""
    reach = {value: len(position) if value in ends else at for value, at in position.items()}
    for node in flow.nodes:
        furthest = max((position[out] for out in node.outputs if out in position), default=-1)
        for value in flow.reads[node]:
            if value in position:
                reach[value] = max(reach[value], furthest)
    return reach


def local_values(chain: Chain, level: int) -> Sequence[onnx_ir.Value]:
    """The useful content of a stretch: its entries, then what its nodes make, in order."""
    stretch = chain.stretches[level]
    made = (out for node in stretch.nodes for out in node.outputs if out in chain.useful)
    return (*stretch.entries, *made)
