"""Names, types and shapes of the values in a graph."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import onnx_ir

from edgewise.errors import BadInput
from edgewise.tensors import OIP_DATATYPES, Role, TensorSpec

Dims = tuple[int | str, ...]
_WITHOUT_SIZE = (onnx_ir.DataType.UNDEFINED, onnx_ir.DataType.STRING)


def name_of(value: onnx_ir.Value) -> str:
    """The name of a value; every value of a loaded graph has one."""
    return value.name or ""


def dtype_name(value: onnx_ir.Value) -> str | None:
    """The numpy name of a tensor's element type; None when it is unknown or not a tensor."""
    dtype = _element_type(value)
    return None if dtype is None else _numpy_name(dtype)


def is_floating(value: onnx_ir.Value) -> bool:
    """Whether a tensor holds floating-point numbers of any width."""
    dtype = _element_type(value)
    return dtype is not None and dtype.is_floating_point()


def dims_of(value: onnx_ir.Value) -> Dims | None:
    """The shape; a symbolic axis is its name, one without a name is ``?``; None if unknown."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value or "?" for dim in value.shape)


def bytes_of(value: onnx_ir.Value, dims: Dims) -> int | None:
    """Bytes of a tensor of this shape, four-bit types packed; None when that is unknown."""
    dtype = _element_type(value)
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if dtype is None or dtype in _WITHOUT_SIZE or len(sizes) < len(dims):
        return None
    return math.ceil(math.prod(sizes) * dtype.itemsize)


def spec_of(value: onnx_ir.Value, *, role: Role = Role.CONTENT) -> TensorSpec:
    """What a caller must know of a value.

    Raises:
        BadInput: when it is no tensor, of a type without a wire form, or of unknown rank.
    """
    dtype, dims = dtype_name(value), dims_of(value)
    if dtype is None or dims is None:
        raise BadInput(
            expected=f"{value.name!r} to be a tensor of known type and rank",
            found="a sequence, an optional or a tensor without a shape",
            remedy="export the model with plain tensors of stated rank at its border",
        )
    return TensorSpec(name=name_of(value), dtype=dtype, shape=dims, role=role)


def has_border_type(value: onnx_ir.Value) -> bool:
    """Whether a value can be an input or an output: a tensor of numbers of known type."""
    return dtype_name(value) in OIP_DATATYPES


def has_spec(value: onnx_ir.Value, symbols: frozenset[str]) -> bool:
    """Whether a value can cross a boundary: known type, axes of at least 1 or known symbols."""
    dims = dims_of(value)
    return (
        dtype_name(value) in OIP_DATATYPES
        and dims is not None
        and all(dim in symbols if isinstance(dim, str) else dim >= 1 for dim in dims)
    )


def input_symbols(graph: onnx_ir.Graph) -> frozenset[str]:
    """The names of all symbolic axes of the inputs."""
    return frozenset(
        dim for value in graph.inputs for dim in dims_of(value) or () if isinstance(dim, str)
    )


def batch_symbols(graph: onnx_ir.Graph) -> frozenset[str]:
    """The names of the inputs' symbolic first axes."""
    firsts = ((dims_of(value) or (0,))[:1] for value in graph.inputs)
    return frozenset(dim for first in firsts for dim in first if isinstance(dim, str))


def subgraphs_of(node: onnx_ir.Node) -> Iterator[onnx_ir.Graph]:
    """The graphs that a node runs; most have none."""
    for attribute in node.attributes.values():
        if attribute.type is onnx_ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type is onnx_ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


@functools.cache  # numpy works a name out anew each time it is asked
def _numpy_name(dtype: onnx_ir.DataType) -> str:
    return "string" if dtype is onnx_ir.DataType.STRING else str(dtype.numpy().name)


def _element_type(value: onnx_ir.Value) -> onnx_ir.DataType | None:
    if not isinstance(value.type, onnx_ir.TensorType):
        return None
    dtype = value.type.dtype
    return None if dtype is onnx_ir.DataType.UNDEFINED else dtype
