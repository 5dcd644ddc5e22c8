"""Look at and change single nodes of a graph without changing the names of what survives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy

import numpy as np
import onnx_ir
from onnx_ir.convenience import create_value_mapping, replace_all_uses_with
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.values import dims_of
from edgewise.tensors import Array

Attributes = Iterable[onnx_ir.Attr]
NODE_BYTES = 64  # what a node with short names takes in a file, at least


def nodes_of(graph: onnx_ir.Graph, *ops: str) -> Iterator[onnx_ir.Node]:
    """The graph's own nodes of these ONNX operators, as they are now; bodies are left alone."""
    for node in tuple(graph):
        if node.op_type in ops and node.domain == "" and node.graph is graph:
            yield node


def copy_of(ir: onnx_ir.Model) -> onnx_ir.Model:
    """A graph that shares tensors alone with the original; a clone would share types as well."""
    copied = ir.clone()
    graphs = (copied.graph, *copied.graph.subgraphs())
    for graph in graphs:
        made = (value for node in graph for value in node.outputs)
        for value in (*graph.inputs, *graph.initializers.values(), *made):
            value.type = copy(value.type)
    return copied


def node_count(ir: onnx_ir.Model) -> int:
    """All nodes, those in bodies included."""
    return sum(1 for _ in RecursiveGraphIterator(ir.graph))


def array_of(value: onnx_ir.Value | None) -> Array | None:
    """The numbers of an initialiser; None for anything else, strings included."""
    tensor = None if value is None or value.is_graph_input() else value.const_value
    if tensor is None or not is_weight(value) or tensor.dtype is onnx_ir.DataType.STRING:
        return None
    array: Array = tensor.numpy()
    return array


def is_weight(value: onnx_ir.Value | None) -> bool:
    """Whether a value is an initialiser that nobody can feed."""
    return value is not None and value.is_initializer() and not value.is_graph_input()


def input_of(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """An input by its position; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def maker_of(value: onnx_ir.Value | None, graph: onnx_ir.Graph, *ops: str) -> onnx_ir.Node | None:
    """The node of these operators that makes a value, if the same graph has it."""
    node = None if value is None else value.producer()
    if node is None or node.graph is not graph or node.domain != "" or node.op_type not in ops:
        return None
    return node


def has_one_reader(value: onnx_ir.Value) -> bool:
    """Whether exactly one input of one node reads a value, and it is no output."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def only_first_output(node: onnx_ir.Node) -> bool:
    """Whether nobody reads any output but the first."""
    return not any(out.uses() or out.is_graph_output() for out in node.outputs[1:])


def same_form(first: onnx_ir.Value, second: onnx_ir.Value) -> bool:
    """Whether two values surely have the same shape; unknown axes are never the same.

    >>> same_form(onnx_ir.Value(name="a"), onnx_ir.Value(name="b"))
    False
    """
    dims = dims_of(first)
    return dims is not None and dims == dims_of(second) and "?" not in dims


def bypass(node: onnx_ir.Node, value: onnx_ir.Value | None) -> bool:
    """Let everything that reads a node's first output read ``value`` instead, and drop the node.

    An output of the graph keeps its name: the value takes it over, unless it has a name to keep
    itself. Returns whether it was done.
    """
    output, graph = node.outputs[0], node.graph
    if value is None or graph is None:
        return False
    becomes_output = output.is_graph_output()
    if becomes_output and not _may_become_output(value, graph):
        return False
    replace_all_uses_with(output, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if becomes_output:
        value.name, value.type, value.shape = output.name, output.type, output.shape
    elif value.shape is None:
        value.shape = output.shape
    return True


def become(
    node: onnx_ir.Node,
    op: str,
    inputs: Sequence[onnx_ir.Value | None],
    attributes: Attributes = (),
) -> None:
    """Turn a node into another that makes the same output."""
    kept = tuple(attributes)
    node.op_type = op
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)
    node.attributes.clear()
    for attribute in kept:
        node.attributes.add(attribute)


def take_over(node: onnx_ir.Node, before: onnx_ir.Node) -> None:
    """Give a node the name of one whose work it now does, and drop that one."""
    graph = before.graph
    assert graph is not None
    graph.remove(before, safe=True)
    node.name = before.name


def add_weight(graph: onnx_ir.Graph, array: Array, near: str) -> onnx_ir.Value:
    """A new initialiser, named after the tensor it belongs to."""
    name, number = f"{near}:trimmed", 1
    while name in graph.initializers or _is_taken(graph, name):
        number += 1
        name = f"{near}:trimmed{number}"
    tensor = onnx_ir.tensor(np.asarray(array, order="C"), name=name)
    value = onnx_ir.val(name, tensor.dtype, list(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def integers(node: onnx_ir.Node, index: int) -> tuple[int, ...] | None:
    """Constant integers that a node takes at a position; None if they are not known."""
    array = array_of(input_of(node, index))
    return None if array is None else tuple(int(x) for x in array.reshape(-1))


def _may_become_output(value: onnx_ir.Value, graph: onnx_ir.Graph) -> bool:
    node = value.producer()
    return node is not None and node.graph is graph and not value.is_graph_output()


def _is_taken(graph: onnx_ir.Graph, name: str) -> bool:
    # A name with our own suffix is rare: the search of the whole graph is made once in a while.
    taken = graph.meta.get("edgewise:suffixed")
    if taken is None:
        everything = create_value_mapping(graph, include_subgraphs=True)
        taken = graph.meta["edgewise:suffixed"] = {key for key in everything if ":trimmed" in key}
    return name in taken
