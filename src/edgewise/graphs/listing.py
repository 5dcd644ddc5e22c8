"""List a network's nodes and tensors as plain values, for stages that never see the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir
from onnx_ir.convenience import create_value_mapping

from edgewise.errors import BadInput
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model, weight_bytes
from edgewise.graphs.sizes.scopes import Body
from edgewise.graphs.sizes.shapes import Sizes, shapes_at
from edgewise.graphs.values import Dims, bytes_of, dtype_name, name_of, subgraphs_of
from edgewise.tensors import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTensor:
    """One tensor at stated sizes of the inputs.

    Args:
        name: as in the graph.
        dtype: numpy's name, ``string`` for texts; empty for what is no tensor.
        shape: all numbers; None when it is not known before a run.
        nbytes: bytes in memory, four-bit types packed; None when they are not known.
        constant: whether it depends on no input.
        unsized: why the bytes are not known; empty when they are.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    nbytes: int | None
    constant: bool
    unsized: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNode:
    """One node that depends on an input.

    Args:
        name: unique within the network.
        op: operator type.
        inputs: its inputs by position; None where an optional one is left out.
        reads: every tensor it reads, once each, those inside its subgraphs included.
        outputs: what it writes.
        attributes: its attributes that are a whole number or a text.
        held_bytes: of the tensors stored in its subgraphs.
        bodies: its subgraphs: of an If the branches that may run, of a Loop or Scan its body.
    """

    name: str
    op: str
    inputs: tuple[str | None, ...]
    reads: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int | str]
    held_bytes: int = 0
    bodies: tuple[ListedBody, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBody:
    """A subgraph of a node.

    Args:
        nodes: its nodes; what they read by position, and their bodies.
        shapes: of its own values and of those around it that it may read, as far as known.
        times: how often it runs in one run of the node; None when only running it tells.
    """

    nodes: tuple[ListedNode, ...]
    shapes: Mapping[str, tuple[int, ...]]
    times: int | None


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


def list_graph(model: Model, *, batch: int = 1, axes: Axes | None = None) -> Listing:
    """List a network at stated sizes of the symbolic axes of its inputs.

    Texts, sequences and tensors whose size depends on the data stand without bytes.

    Args:
        model: a loaded network.
        batch: the size of symbolic first axes that ``axes`` does not name.
        axes: sizes by name.

    Raises:
        BadInput: when an axis has no size, or operators do not fit together at these sizes.
    """
    if batch < 1:
        raise BadInput(expected="a batch of at least 1", found=str(batch), remedy="use 1 or more")
    graph = model.ir.graph
    flow = trace_flow(graph)
    sizes = shapes_at(model.ir, batch, axes, custom_ops=model.custom_ops)
    values = create_value_mapping(graph, include_subgraphs=False)
    nodes = tuple(_list_node(node, flow, sizes) for node in flow.nodes)
    names = dict.fromkeys(map(name_of, graph.inputs))
    for node in nodes:
        names.update(dict.fromkeys((*node.reads, *node.outputs)))
    return Listing(
        nodes=nodes,
        tensors={name: _list_tensor(values[name], flow, sizes.dims) for name in names},
        inputs=tuple(map(name_of, graph.inputs)),
        outputs=tuple(map(name_of, graph.outputs)),
    )


def _list_node(node: onnx_ir.Node, flow: Flow, sizes: Sizes) -> ListedNode:
    outputs = tuple(name_of(value) for value in node.outputs if value.name)
    bodies = sizes.bodies.get(outputs[0], ()) if outputs else ()
    return ListedNode(
        name=node.name or "",
        op=node.op_type,
        inputs=tuple(None if value is None else name_of(value) for value in node.inputs),
        reads=tuple(map(name_of, flow.reads[node])),
        outputs=outputs,
        attributes=_plain_attributes(node),
        held_bytes=sum(map(weight_bytes, subgraphs_of(node))),
        bodies=tuple(map(_list_body, bodies)),
    )


def _plain_attributes(node: onnx_ir.Node) -> Mapping[str, int | str]:
    found: dict[str, int | str] = {}
    for name, attribute in node.attributes.items():
        if attribute.type is onnx_ir.AttributeType.INT:
            found[name] = attribute.as_int()
        elif attribute.type is onnx_ir.AttributeType.STRING:
            found[name] = attribute.as_string()
    return found


def _list_body(body: Body) -> ListedBody:
    names = {name for node in body.graph.node for name in (*node.input, *node.output) if name}
    found = {name: body.scope.dims_of(name) for name in names}
    return ListedBody(
        nodes=tuple(_list_inner(node, body) for node in body.graph.node),
        shapes={
            name: tuple(dim for dim in dims if isinstance(dim, int))
            for name, dims in found.items()
            if dims is not None and "?" not in dims
        },
        times=body.times,
    )


def _list_inner(node: onnx.NodeProto, body: Body) -> ListedNode:
    outputs = tuple(filter(None, node.output))
    inner = body.scope.bodies.get(outputs[0], ()) if outputs else ()
    whole = {entry.name: entry.i for entry in node.attribute if entry.type == entry.INT}
    texts = {
        entry.name: entry.s.decode("utf-8", "replace")
        for entry in node.attribute
        if entry.type == entry.STRING
    }
    return ListedNode(
        name=node.name,
        op=node.op_type,
        inputs=tuple(name or None for name in node.input),
        reads=(),
        outputs=outputs,
        attributes={**whole, **texts},
        bodies=tuple(map(_list_body, inner)),
    )


def _list_tensor(value: onnx_ir.Value, flow: Flow, shapes: Mapping[str, Dims]) -> ListedTensor:
    name = name_of(value)
    dims = shapes.get(name)
    if value.const_value is not None:
        dims = tuple(value.const_value.shape.numpy())
    nbytes = None if dims is None else bytes_of(value, dims)
    known = dims is not None and all(isinstance(dim, int) for dim in dims)
    return ListedTensor(
        name=name,
        dtype=dtype_name(value) or "",
        shape=tuple(dim for dim in dims or () if isinstance(dim, int)) if known else None,
        nbytes=nbytes,
        constant=value not in flow.dependent,
        unsized="" if nbytes is not None else _what_is_open(value, dims),
    )


def _what_is_open(value: onnx_ir.Value, dims: Dims | None) -> str:
    if dtype_name(value) == "string":
        return "text, whose length nobody states"
    if isinstance(value.type, onnx_ir.SequenceType | onnx_ir.OptionalType):
        return "a sequence or an optional"
    loose = [str(axis) for axis, dim in enumerate(dims or ()) if isinstance(dim, str)]
    return f"an axis that depends on the data (axis {loose[0]})" if loose else "no shape"
