"""Check the tensors that an ONNX file stores before anything allocates what they claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx

from edgewise.errors import BadInput
from edgewise.graphs.model import MAX_FILE_BYTES

_T = onnx.TensorProto
_BITS: Mapping[int, int] = {
    **dict.fromkeys((_T.UINT8, _T.INT8, _T.BOOL), 8),
    **dict.fromkeys((_T.FLOAT8E4M3FN, _T.FLOAT8E4M3FNUZ, _T.FLOAT8E5M2, _T.FLOAT8E5M2FNUZ), 8),
    **dict.fromkeys((_T.UINT16, _T.INT16, _T.FLOAT16, _T.BFLOAT16), 16),
    **dict.fromkeys((_T.FLOAT, _T.INT32, _T.UINT32), 32),
    **dict.fromkeys((_T.DOUBLE, _T.INT64, _T.UINT64, _T.COMPLEX64), 64),
    **dict.fromkeys((_T.UINT4, _T.INT4, _T.FLOAT4E2M1), 4),
    _T.COMPLEX128: 128,
}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def tensors_of(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: initialisers and attributes, in subgraphs and functions too."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def nodes_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Some nodes and all inside them."""
    for node in nodes:
        yield node
        for graph in subgraphs_of(node):
            yield from nodes_of(graph.node)


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all inside it."""
    yield graph
    for node in nodes_of(graph.node):
        yield from subgraphs_of(node)


def check_stored(proto: onnx.ModelProto) -> None:
    """Refuse tensors whose contents are not what their type and dimensions say.

    Raises:
        BadInput: on other sizes, on negative or absurd dimensions, on sparse tensors.
    """
    _refuse_sparse(proto)
    for tensor in tensors_of(proto):
        check_tensor(tensor)


def check_tensor(tensor: onnx.TensorProto) -> None:
    """Refuse one tensor that lies; see :func:`check_stored`."""
    count = element_count(tensor)
    if tensor.data_type == _T.STRING:
        _expect(tensor, len(tensor.string_data), count, "texts")
        return
    wanted_bytes = stated_bytes(tensor)
    if tensor.HasField("raw_data"):
        _expect(tensor, len(tensor.raw_data), wanted_bytes, "bytes")
    elif tensor.data_location != _T.EXTERNAL:
        _expect(tensor, _held(tensor), _typed_count(tensor, count), "numbers")


def is_raw(tensor: onnx.TensorProto) -> bool:
    """Whether raw bytes, and no typed numbers beside them, hold a tensor's contents."""
    return tensor.HasField("raw_data") and not (_held(tensor) or tensor.string_data)


def element_count(tensor: onnx.TensorProto) -> int:
    """How many elements the dimensions say, without trusting them.

    Raises:
        BadInput: when a dimension is negative.
    """
    if any(dim < 0 for dim in tensor.dims):
        raise BadInput(
            expected=f"dimensions of at least 0 in the stored tensor {tensor.name[:80]!r}",
            found=str(min(tensor.dims)),
            remedy="export the model anew",
        )
    count: int = math.prod(tensor.dims)
    return count


def stated_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor by its type and dimensions, four-bit types packed.

    Raises:
        BadInput: when its type is unknown, or nobody could hold that many.
    """
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise BadInput(
            expected=f"a known element type in the stored tensor {tensor.name[:80]!r}",
            found=f"type number {tensor.data_type}",
            remedy="export the model anew",
        )
    size_bytes = -(-element_count(tensor) * bits // 8)
    if size_bytes > MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {MAX_FILE_BYTES} bytes in the stored tensor {tensor.name[:80]!r}",
            found=f"{size_bytes} bytes by its dimensions",
            remedy="export the model anew, or shrink it first",
        )
    return size_bytes


def _held(tensor: onnx.TensorProto) -> int:
    return sum(len(getattr(tensor, kind)) for kind in _TYPED)


def _typed_count(tensor: onnx.TensorProto, count: int) -> int:
    """How many numbers the typed fields hold: complex ones take two, four-bit ones share one."""
    if tensor.data_type in (_T.COMPLEX64, _T.COMPLEX128):
        return 2 * count
    return -(-count // 2) if _BITS.get(tensor.data_type) == 4 else count


def _expect(tensor: onnx.TensorProto, found: int, wanted: int, what: str) -> None:
    if found != wanted:
        small = "too small" if found < wanted else "too large"
        raise BadInput(
            expected=f"{wanted} {what} in the stored tensor {tensor.name[:80]!r}",
            found=f"{found}, {small} for the declared shape {list(tensor.dims)}",
            remedy="export the model anew",
        )


def _refuse_sparse(proto: onnx.ModelProto) -> None:
    every = [proto.graph.node, *(function.node for function in proto.functions)]
    stored = any(graph.sparse_initializer for graph in graphs_of(proto.graph))
    attributes = (a for nodes in every for node in nodes_of(nodes) for a in node.attribute)
    if stored or any(a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes):
        raise BadInput(
            expected="dense stored tensors",
            found="a sparse one",
            remedy="store the weights densely when exporting",
        )


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in subgraphs_of(node):
            yield from _of_graph(graph)


def subgraphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node runs."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
