"""List a network's nodes and tensors as plain values, for stages that never see the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir
from onnx_ir.convenience import create_value_mapping

from edgewise.errors import BadInput
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model
from edgewise.graphs.shapes import shapes_at
from edgewise.graphs.values import Dims, batch_symbols, bytes_of, dtype_name, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTensor:
    """One tensor at a stated batch size.

    Args:
        name: as in the graph.
        dtype: numpy's name.
        shape: all numbers.
        nbytes: bytes in memory; four-bit types packed.
        constant: whether it depends on no input.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    constant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNode:
    """One node that depends on an input.

    Args:
        name: unique within the network.
        op: operator type.
        inputs: its inputs by position; None where an optional one is left out.
        reads: every tensor it reads, once each, those inside its subgraphs included.
        outputs: what it writes.
        attributes: its integer attributes.
    """

    name: str
    op: str
    inputs: tuple[str | None, ...]
    reads: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A network as plain values; what depends on constants alone appears as constant tensors.

    Args:
        nodes: those that depend on an input, producers before consumers.
        tensors: all that those nodes read and write, and the network's inputs, by name.
        inputs: names of the network's inputs.
        outputs: names of the network's outputs.
    """

    nodes: tuple[ListedNode, ...]
    tensors: Mapping[str, ListedTensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def list_graph(model: Model, *, batch: int = 1) -> Listing:
    """List a network with the symbolic first axes of its inputs set to ``batch``.

    Raises:
        BadInput: when the size of some tensor is not known then; it says which.
    """
    if batch < 1:
        raise BadInput(expected="a batch of at least 1", found=str(batch), remedy="use 1 or more")
    graph = model.ir.graph
    flow = trace_flow(graph)
    shapes = shapes_at(model.ir, batch)
    values = create_value_mapping(graph, include_subgraphs=False)
    nodes = tuple(_list_node(node, flow) for node in flow.nodes)
    names = dict.fromkeys(map(name_of, graph.inputs))
    for node in nodes:
        names.update(dict.fromkeys((*node.reads, *node.outputs)))
    return Listing(
        nodes=nodes,
        tensors={name: _list_tensor(values[name], flow, shapes, graph) for name in names},
        inputs=tuple(map(name_of, graph.inputs)),
        outputs=tuple(map(name_of, graph.outputs)),
    )


def _list_node(node: onnx_ir.Node, flow: Flow) -> ListedNode:
    integer = onnx_ir.AttributeType.INT
    return ListedNode(
        name=node.name or "",
        op=node.op_type,
        inputs=tuple(None if value is None else name_of(value) for value in node.inputs),
        reads=tuple(map(name_of, flow.reads[node])),
        outputs=tuple(name_of(value) for value in node.outputs if value.name),
        attributes={
            name: attribute.as_int()
            for name, attribute in node.attributes.items()
            if attribute.type is integer
        },
    )


def _list_tensor(
    value: onnx_ir.Value, flow: Flow, shapes: Mapping[str, Dims], graph: onnx_ir.Graph
) -> ListedTensor:
    name = name_of(value)
    dims = shapes.get(name)
    if value.const_value is not None:
        dims = tuple(value.const_value.shape.numpy())
    nbytes = None if dims is None else bytes_of(value, dims)
    if dims is None or nbytes is None:
        raise _unknown_size(value, dims, graph)
    return ListedTensor(
        name=name,
        dtype=dtype_name(value) or "",
        shape=tuple(dim for dim in dims if isinstance(dim, int)),
        nbytes=nbytes,
        constant=value not in flow.dependent,
    )


def _unknown_size(value: onnx_ir.Value, dims: Dims | None, graph: onnx_ir.Graph) -> BadInput:
    node = value.producer()
    where = "an input" if node is None else f"made by the {node.op_type} node {node.name!r}"
    loose = [dim for dim in dims or () if isinstance(dim, str)]
    fixed = loose and set(loose) - batch_symbols(graph)
    return BadInput(
        expected=f"a known size of every tensor, also of {name_of(value)!r} ({where})",
        found=f"the open axis {sorted(fixed)[0]!r}" if fixed else "no shape",
        remedy="export the model with fixed sizes for all axes but the batch, or simplify it",
    )
