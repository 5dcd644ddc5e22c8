"""Find the places where a network falls into two halves with one content tensor between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir

from edgewise.errors import BadInput
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model
from edgewise.graphs.values import has_spec, input_symbols, is_floating, spec_of
from edgewise.tensors import Axes, Role, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A set of tensors between two halves: all that the second half needs.

    Args:
        tensors: content first, then the structure that rides along, each in the graph's order.

    >>> cut = Cut(tensors=(TensorSpec(name="features", dtype="float32", shape=("n", 8)),))
    >>> cut.name, cut.nbytes(batch=2)
    ('features', 64)
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if not self.content:
            raise BadInput(
                expected="a cut through at least one content tensor",
                found=", ".join(spec.name for spec in self.tensors) or "no tensor",
                remedy="take a cut that find_cuts gives",
            )

    @property
    def content(self) -> tuple[TensorSpec, ...]:
        """The tensors that carry the data itself."""
        return tuple(spec for spec in self.tensors if spec.role is Role.CONTENT)

    @property
    def structure(self) -> tuple[TensorSpec, ...]:
        """The tensors that ride along."""
        return tuple(spec for spec in self.tensors if spec.role is Role.STRUCTURE)

    @property
    def name(self) -> str:
        """The names of the content tensors, joined by ``+``."""
        return "+".join(spec.name for spec in self.content)

    def nbytes(self, batch: int = 1, axes: Axes | None = None) -> int:
        """Raw bytes of all tensors, structure included; see :meth:`TensorSpec.concrete`."""
        return sum(spec.nbytes(batch, axes) for spec in self.tensors)

    def __str__(self) -> str:
        return ", ".join(map(str, self.tensors))


def find_cuts(model: Model) -> tuple[Cut, ...]:
    """Every legal cut with one content tensor, from the input to the output.

    A cut is legal when every output is computed from its tensors and constants alone, and none
    without its content tensor; when the content tensor is computed by some operator; and when
    some operator is left after it. Integer and Boolean structure tensors that the second half
    needs ride along; floating-point structure, such as a mask made of zeros and minus infinity,
    is computed again from the integers it came from. Constants are copied, they never cross.

    A tensor whose type has no wire form, or whose shape cannot be inferred up to the inputs'
    symbolic axes, is no cut, because nobody could say how many bytes it has.

    Dominators in linear time: among the content values that lie on some path from an input to an
    output, in any topological order, a value lies on *all* such paths if and only if no edge
    jumps over it. (If it is on all of them, each other value is before or after it in every
    order, so nothing jumps over it; if nothing jumps over it, no path can avoid it.)
    """
    graph = model.ir.graph
    flow = trace_flow(graph)
    chain = _content_chain(flow, graph)
    symbols = input_symbols(graph)
    cuts = [
        _make_cut(flow, frontier, value)
        for value, frontier in _frontiers(flow, graph, chain)
        if value.producer() is not None and all(has_spec(member, symbols) for member in frontier)
    ]
    return tuple(reversed(cuts))


def _make_cut(flow: Flow, frontier: Sequence[onnx_ir.Value], content: onnx_ir.Value) -> Cut:
    riding = sorted(
        (value for value in frontier if value is not content), key=flow.dependent.__getitem__
    )
    return Cut(
        tensors=(
            spec_of(content),
            *(spec_of(value, role=Role.STRUCTURE) for value in riding),
        )
    )


def _content_chain(flow: Flow, graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    """The values that every path of content from the inputs to the outputs goes through."""
    ends = _content_ends(flow, graph)
    useful = _leading_to(flow, ends)
    order = [value for value in flow.dependent if value in useful]
    position = {value: index for index, value in enumerate(order)}
    reach = {value: len(order) if value in ends else position[value] for value in order}
    for node in flow.nodes:
        furthest = max((position[out] for out in node.outputs if out in useful), default=-1)
        for value in flow.reads[node]:
            if value in useful:
                reach[value] = max(reach[value], furthest)
    inputs = [position[value] for value in graph.inputs if value in useful]
    jumped_to = max(inputs, default=0)
    chain = []
    for value in order:
        if jumped_to <= position[value]:
            chain.append(value)
        jumped_to = max(jumped_to, reach[value])
    return chain


def _content_ends(flow: Flow, graph: onnx_ir.Graph) -> frozenset[onnx_ir.Value]:
    """Outputs, and for an output that is structure (such as ArgMax) the content it is made of."""
    ends: set[onnx_ir.Value] = set()
    stack, seen = list(graph.outputs), set(graph.outputs)
    while stack:
        value = stack.pop()
        node = value.producer()
        if value in flow.content:
            ends.add(value)
        elif node is not None and node.op_type not in ("Shape", "Size"):
            fresh = [read for read in flow.reads[node] if read not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return frozenset(ends)


def _leading_to(flow: Flow, ends: frozenset[onnx_ir.Value]) -> set[onnx_ir.Value]:
    useful = set(ends)
    for node in reversed(flow.nodes):
        if any(out in useful for out in node.outputs):
            useful.update(value for value in flow.reads[node] if value in flow.content)
    return useful


def _levels(flow: Flow, chain: Sequence[onnx_ir.Value]) -> Mapping[onnx_ir.Value, int]:
    """For each value, the last member of the chain that it depends on (-1: on none)."""
    place = {value: index for index, value in enumerate(chain)}
    level = {value: place.get(value, -1) for value in flow.dependent}
    for node in flow.nodes:
        highest = max(level[value] for value in flow.reads[node] if value in level)
        for output in node.outputs:
            level[output] = max(level[output], highest)
    return level


def _frontiers(
    flow: Flow, graph: onnx_ir.Graph, chain: Sequence[onnx_ir.Value]
) -> Iterator[tuple[onnx_ir.Value, tuple[onnx_ir.Value, ...]]]:
    """The legal members of the chain, last first, each with all that must cross there.

    From one member to the one before it the second half only grows, so what it needs is kept and
    extended: every value is taken apart at most once.
    """
    level = _levels(flow, chain)
    outputs = {value for value in graph.outputs if value in flow.dependent}
    lowest = min((level[value] for value in outputs), default=-1)
    needed, opened = set(outputs), set[onnx_ir.Value]()
    for content in reversed(chain):
        needed = _settle(flow, level, content, needed, opened)
        riding = needed - {content}
        legal = content in needed and level[content] <= lowest and not riding & flow.content
        if legal and outputs != {content}:
            yield content, tuple(needed)


def _settle(
    flow: Flow,
    level: Mapping[onnx_ir.Value, int],
    content: onnx_ir.Value,
    needed: set[onnx_ir.Value],
    opened: set[onnx_ir.Value],
) -> set[onnx_ir.Value]:
    """Replace each needed value that the second half computes by what it is computed from."""
    stack, settled = list(needed), set[onnx_ir.Value]()
    while stack:
        value = stack.pop()
        if value not in flow.dependent or value in opened or value in settled:
            continue
        node = value.producer()
        after = level[value] >= level[content] and value is not content
        remade = value not in flow.content and is_floating(value)
        if node is not None and (after or remade):
            opened.add(value)
            stack.extend(flow.reads[node])
        else:
            settled.add(value)
    return settled
