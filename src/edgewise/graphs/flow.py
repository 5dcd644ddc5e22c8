"""Follow what a graph's inputs reach, and tell content from the structure around it.

A value is one of three things:

* *constant*: it depends on no input. Initialisers, Constant nodes and what is computed from them
  alone; either half of a cut may hold its own copy.
* *content*: the data itself, and what is computed from it.
* *structure*: shapes, masks, lengths, positions, and what is computed from those alone.

Structure begins at an integer or Boolean input that is no embedding index, at an operator that
measures rather than transforms (Shape, a comparison, ArgMax, …), at a Boolean, and at a wide
integer made from floats (the indices of TopK).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir

from edgewise.graphs.values import dtype_name, is_floating, subgraphs_of
from edgewise.tensors import Role

_WIDE_INTEGERS = frozenset({"int32", "int64", "uint32", "uint64"})
_MEASURES = frozenset(
    {
        *("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("And", "Or", "Not", "Xor", "IsNaN", "IsInf"),
    }
)
_KEEPS_NUMBERS = frozenset(
    {"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What every value of a graph is.

    Args:
        nodes: those that depend on an input, producers before consumers.
        reads: for every node of the graph, what it reads, subgraphs included.
        dependent: the values that depend on an input, the inputs included, in order.
        content: those of them that carry content.
    """

    nodes: tuple[onnx_ir.Node, ...]
    reads: Mapping[onnx_ir.Node, tuple[onnx_ir.Value, ...]]
    dependent: Mapping[onnx_ir.Value, int]
    content: frozenset[onnx_ir.Value]

    def role_of(self, value: onnx_ir.Value) -> Role:
        """Content or structure."""
        return Role.CONTENT if value in self.content else Role.STRUCTURE


def trace_flow(graph: onnx_ir.Graph) -> Flow:
    """Classify the values of a graph, in time linear in its size."""
    reads = {node: tuple(reads_of(node, graph)) for node in graph}
    dependent = {value: index for index, value in enumerate(graph.inputs)}
    content = set(_content_inputs(graph))
    nodes = []
    for node in graph:
        if not any(value in dependent for value in reads[node]):
            continue
        nodes.append(node)
        sources = [value for value in reads[node] if value in content]
        for output in node.outputs:
            dependent[output] = len(dependent)
            if _carries_content(node, output, sources):
                content.add(output)
    return Flow(nodes=tuple(nodes), reads=reads, dependent=dependent, content=frozenset(content))


def reads_of(node: onnx_ir.Node, graph: onnx_ir.Graph) -> Iterator[onnx_ir.Value]:
    """The values of ``graph`` that a node reads, once each, its subgraphs' captures included."""
    seen: set[onnx_ir.Value] = set()
    for value in _all_inputs(node):
        if value is not None and value not in seen and value.graph is graph:
            seen.add(value)
            yield value


def embedding_rows(value: onnx_ir.Value) -> int | None:
    """How many rows the table has that an integer value indexes; None if it indexes none.

    >>> embedding_rows(onnx_ir.Value(name="ids")) is None
    True
    """
    for node, place in readers_of(value):
        rows = _table_rows(node) if node.op_type == "Gather" and place == 1 else None
        if rows is not None:
            return rows
    return None


def readers_of(value: onnx_ir.Value) -> Iterator[tuple[onnx_ir.Node, int]]:
    """Who reads a value and at which input, also after it was given another form.

    Bodies are included, and so are the nodes that give it another form.
    """
    stack, seen = [value], {value}
    while stack:
        for node, place in stack.pop().uses():
            yield node, place
            if node.op_type in _KEEPS_NUMBERS and place == 0 and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                stack.append(node.outputs[0])


def _all_inputs(node: onnx_ir.Node) -> Iterator[onnx_ir.Value | None]:
    yield from node.inputs
    for subgraph in subgraphs_of(node):
        for inner in subgraph:
            yield from _all_inputs(inner)
        yield from subgraph.outputs


def _content_inputs(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    chosen = [
        value
        for value in graph.inputs
        if dtype_name(value) not in _WIDE_INTEGERS | {"bool"} or embedding_rows(value) is not None
    ]
    return chosen or list(graph.inputs)


def _carries_content(
    node: onnx_ir.Node, output: onnx_ir.Value, sources: list[onnx_ir.Value]
) -> bool:
    if not sources or node.op_type in _MEASURES or dtype_name(output) == "bool":
        return False
    return dtype_name(output) not in _WIDE_INTEGERS or not all(map(is_floating, sources))


def _table_rows(node: onnx_ir.Node) -> int | None:
    table = node.inputs[0]
    if table is None or table.const_value is None or not is_floating(table):
        return None
    shape = table.const_value.shape.numpy()
    return shape[0] if len(shape) >= 2 else None
