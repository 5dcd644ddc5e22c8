"""Replace an If whose condition is constant by the branch that runs."""

from __future__ import annotations

import onnx_ir
from onnx_ir.convenience import replace_all_uses_with
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.sizes.shapes import infer_shapes
from edgewise.graphs.trimming.surgery import array_of, input_of, nodes_of
from edgewise.graphs.values import name_of, subgraphs_of


def inline_live_branches(ir: onnx_ir.Model) -> None:
    """Move the live branch's nodes to where its If stands; values keep their names.

    A branch that gives a value of the graph around it, or one value twice, is left alone: its
    output would need a node of its own.
    """
    inlined = [node for node in nodes_of(ir.graph, "If") if _inline(node, ir.graph)]
    if inlined:
        infer_shapes(ir)


def _inline(node: onnx_ir.Node, graph: onnx_ir.Graph) -> bool:
    condition = array_of(input_of(node, 0))
    if condition is None or condition.size != 1:
        return False
    body = node.attributes.get_graph("then_branch" if condition.item() else "else_branch")
    assert body is not None
    outputs = list(body.outputs)
    if len(set(outputs)) < len(outputs) or any(out.producer() is None for out in outputs):
        return False
    if any(out.producer().graph is not body for out in outputs):  # type: ignore[union-attr]
        return False
    _make_names_unique(node, body, graph)
    _move(node, body, graph)
    for old, new in zip(node.outputs, outputs, strict=True):
        new.name, new.type, new.shape = old.name, old.type, old.shape
    replace_all_uses_with(node.outputs, outputs, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True


def _make_names_unique(node: onnx_ir.Node, body: onnx_ir.Graph, graph: onnx_ir.Graph) -> None:
    """Two bodies may use one name for two things; a graph may not."""
    own = {value for branch in subgraphs_of(node) for value in _values(branch)}
    taken = {name_of(value) for value in _values(graph) if value not in own}
    for value in _values(body):
        name, number = name_of(value), 1
        while name and name in taken:
            number += 1
            name = f"{name_of(value)}:{number}"
        if name != value.name:
            value.name = name
        taken.add(name)
    names = {other.name for other in graph}
    for inner in RecursiveGraphIterator(body):
        if inner.name in names:
            inner.name = f"{node.name}:{inner.name}"


def _values(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    """All values of a graph and the bodies in it, namesakes included."""
    graphs = (graph, *graph.subgraphs())
    found = [value for one in graphs for value in (*one.inputs, *one.initializers.values())]
    found.extend(value for node in RecursiveGraphIterator(graph) for value in node.outputs)
    return found


def _move(node: onnx_ir.Node, body: onnx_ir.Graph, graph: onnx_ir.Graph) -> None:
    weights = list(body.initializers.values())
    body.initializers.clear()
    for value in weights:
        graph.register_initializer(value)
    nodes = list(body)
    body.outputs.clear()
    body.remove(nodes)
    graph.insert_before(node, nodes)
