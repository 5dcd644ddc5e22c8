"""What is in a network even where sizes are unknown: enough to list it and to draw it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model
from edgewise.graphs.values import Dims, bytes_of, dims_of, dtype_name, name_of, subgraphs_of

_NARROW = frozenset(
    {
        *(onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8),
        *(onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlinedTensor:
    """One tensor that depends on an input.

    Args:
        name: as in the graph.
        dtype: numpy's name, ``string``, or None for what is no tensor or of unknown type.
        shape: symbolic axes by name, ``?`` for an axis without one; None when it is unknown.
        producer: the node that makes it; None for an input of the network.
        consumers: the nodes that read it.
    """

    name: str
    dtype: str | None
    shape: Dims | None
    producer: str | None
    consumers: tuple[str, ...]

    def __str__(self) -> str:
        shape = "unknown shape" if self.shape is None else f"[{', '.join(map(str, self.shape))}]"
        return f"{self.name} {self.dtype or 'unknown type'}{shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlinedNode:
    """One node that depends on an input.

    Args:
        name: unique within the network.
        op: operator type.
        domain: of the operator; empty for ONNX's own.
        weight_bytes: bytes of the constants it reads, as far as their sizes are known.
        inner_nodes: how many nodes the bodies of a control flow operator hold.
    """

    name: str
    op: str
    domain: str
    weight_bytes: int
    inner_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A network as names and numbers.

    Args:
        nodes: those that depend on an input, producers before consumers.
        tensors: those that depend on an input, the network's inputs first.
        outputs: names of the network's outputs.
        parameters: numbers held as weights: floating-point ones and those of at most 8 bits.
        constant_nodes: how many nodes depend on no input; engines run them while loading.
    """

    nodes: tuple[OutlinedNode, ...]
    tensors: tuple[OutlinedTensor, ...]
    outputs: tuple[str, ...]
    parameters: int
    constant_nodes: int


def outline(model: Model) -> Outline:
    """List a network without needing any size; see :func:`list_graph` for the sizes."""
    graph = model.ir.graph
    flow = trace_flow(graph)
    consumers: dict[str, list[str]] = {}
    for node in flow.nodes:
        for value in flow.reads[node]:
            consumers.setdefault(name_of(value), []).append(node.name or "")
    return Outline(
        nodes=tuple(_outline_node(node, flow) for node in flow.nodes),
        tensors=tuple(_outline_tensor(value, consumers) for value in flow.dependent if value.name),
        outputs=tuple(map(name_of, graph.outputs)),
        parameters=sum(map(_numbers, _weights(graph))),
        constant_nodes=len(flow.reads) - len(flow.nodes),
    )


def _outline_node(node: onnx_ir.Node, flow: Flow) -> OutlinedNode:
    constants = [value for value in flow.reads[node] if value not in flow.dependent]
    return OutlinedNode(
        name=node.name or "",
        op=node.op_type,
        domain=node.domain,
        weight_bytes=sum(map(_constant_bytes, constants)),
        inner_nodes=sum(1 for body in subgraphs_of(node) for _ in RecursiveGraphIterator(body)),
    )


def _constant_bytes(value: onnx_ir.Value) -> int:
    if value.const_value is not None:
        return value.const_value.nbytes
    dims = dims_of(value)
    return 0 if dims is None else bytes_of(value, dims) or 0


def _outline_tensor(value: onnx_ir.Value, consumers: Mapping[str, list[str]]) -> OutlinedTensor:
    node = value.producer()
    return OutlinedTensor(
        name=name_of(value),
        dtype=dtype_name(value),
        shape=dims_of(value),
        producer=None if node is None else node.name,
        consumers=tuple(consumers.get(name_of(value), ())),
    )


def _weights(graph: onnx_ir.Graph) -> Iterator[onnx_ir.TensorProtocol]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value
    for node in graph:
        if node.op_type == "Constant" and "value" in node.attributes:
            yield node.attributes["value"].as_tensor()


def _numbers(tensor: onnx_ir.TensorProtocol) -> int:
    weighs = tensor.dtype.is_floating_point() or tensor.dtype in _NARROW
    return int(math.prod(tensor.shape.numpy())) if weighs else 0
