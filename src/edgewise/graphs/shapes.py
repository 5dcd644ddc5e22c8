"""Give every value of a graph its type and shape."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import onnx
import onnx_ir
from onnx import numpy_helper
from onnx_ir.convenience import create_value_mapping, extract

from edgewise.engines import Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.flow import trace_flow
from edgewise.graphs.values import (
    Dims,
    batch_symbols,
    dims_of,
    dtype_name,
    input_symbols,
    name_of,
)
from edgewise.tensors import Array

_LOG = logging.getLogger(__name__)
_FOLDED_MAX_ELEMENTS = 4096  # shapes, pads and indices are small; weights are not our business
_KEPT_MAX_BYTES = 1024  # inference may look into small initialisers, never into weights
_PROBES = (2, 3)  # two batch sizes that tell an axis of the batch from a fixed one


def infer_shapes(ir: onnx_ir.Model) -> None:
    """Set the type and shape of every value, as far as onnx can infer them.

    Where pads or target shapes are themselves computed from constants, onnx loses the thread;
    then those constants are computed first. Where it then still invents axis names, and the batch
    is the only symbolic axis, two batch sizes are tried: an axis that stays is fixed, one that
    follows is the batch.

    Args:
        ir: a graph that is still ours to change.

    Raises:
        BadInput: when operators do not fit together.
    """
    bare = _without_weights(ir)
    inferred = _infer(bare)
    _adopt_types(ir, inferred)
    _adopt_shapes(ir, _shapes(inferred))
    if not _is_open(ir):
        return
    constants = _small_constants(ir)
    _adopt_shapes(ir, {name: array.shape for name, array in constants.items()})
    folded = _fold(bare, constants)
    inferred = _infer(folded)
    _adopt_types(ir, inferred)
    _adopt_shapes(ir, _shapes(inferred))
    symbols = input_symbols(ir.graph)
    if _is_open(ir) and len(symbols) == 1 and symbols == batch_symbols(ir.graph):
        _adopt_shapes(ir, _probe(folded, next(iter(symbols))))


def shapes_at(ir: onnx_ir.Model, batch: int) -> Mapping[str, Dims]:
    """The shape of every value with the symbolic first axes of the inputs set to ``batch``."""
    symbols = batch_symbols(ir.graph)
    known = {
        name: tuple(batch if dim in symbols else dim for dim in dims)
        for name, value in create_value_mapping(ir.graph, include_subgraphs=False).items()
        if (dims := dims_of(value)) is not None
    }
    if all(_is_fixed(dims) for dims in known.values()):
        return known
    folded = _fold(_without_weights(ir), _small_constants(ir))
    found = _shapes(_infer(_with_batch(folded, symbols, batch)))
    return {**known, **{name: dims for name, dims in found.items() if _is_fixed(dims)}}


def _without_weights(ir: onnx_ir.Model) -> onnx.ModelProto:
    """The graph with every larger initialiser as an input of the same type and shape."""
    proto = onnx_ir.to_proto(ir)
    small = [tensor for tensor in proto.graph.initializer if _is_small_tensor(tensor)]
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in proto.graph.initializer
        if not _is_small_tensor(tensor)
    )
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    return proto


def _is_small_tensor(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.ByteSize() <= _KEPT_MAX_BYTES)


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise BadInput(
            expected="operators whose shapes and types fit together",
            found=" ".join(str(error).split())[:300],
            remedy="export the model anew",
        ) from None


def _is_open(ir: onnx_ir.Model) -> bool:
    """Whether some value has no shape, or an axis that is no axis of the inputs."""
    symbols = input_symbols(ir.graph)
    shapes = (dims_of(value) for node in ir.graph for value in node.outputs)
    return any(
        dims is None or any(isinstance(dim, str) and dim not in symbols for dim in dims)
        for dims in shapes
    )


def _small_constants(ir: onnx_ir.Model) -> Mapping[str, Array]:
    """The small integers that nodes compute from constants alone, computed."""
    flow = trace_flow(ir.graph)
    wanted = {
        name_of(value): value
        for node in flow.nodes
        for value in flow.reads[node]
        if value not in flow.dependent and _is_computed(value) and _may_be_small_integer(value)
    }
    if not wanted:
        return {}
    try:
        graph = extract(ir.graph, inputs=[], outputs=list(wanted.values()))
        alone = onnx_ir.to_proto(onnx_ir.Model(graph, ir_version=ir.ir_version))
        with open_engine(alone.SerializeToString(), optimisation=Optimisation.NONE) as engine:
            found = engine.run({})
    except (BadInput, ValueError) as error:
        _LOG.info("constants were not computed: %s", error)
        return {}
    return {name: array for name, array in found.items() if array.size <= _FOLDED_MAX_ELEMENTS}


def _is_computed(value: onnx_ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type != "Constant"


def _may_be_small_integer(value: onnx_ir.Value) -> bool:
    sizes = [dim for dim in dims_of(value) or () if isinstance(dim, int)]
    small = math.prod(sizes) <= _FOLDED_MAX_ELEMENTS
    return small and dtype_name(value) in ("int32", "int64", "bool")


def _fold(proto: onnx.ModelProto, constants: Mapping[str, Array]) -> onnx.ModelProto:
    folded = onnx.ModelProto()
    folded.CopyFrom(proto)
    kept = [node for node in proto.graph.node if not set(node.output) & set(constants)]
    del folded.graph.node[:]
    folded.graph.node.extend(kept)
    folded.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    return folded


def _probe(proto: onnx.ModelProto, symbol: str) -> Mapping[str, Dims]:
    """Shapes whose batch axes were found by trying two batch sizes."""
    first, second = (
        _shapes(_infer(_with_batch(proto, frozenset({symbol}), size))) for size in _PROBES
    )
    merged = {
        name: _merge(first[name], second[name], symbol) for name in first.keys() & second.keys()
    }
    return {name: dims for name, dims in merged.items() if dims is not None}


def _with_batch(proto: onnx.ModelProto, symbols: frozenset[str], batch: int) -> onnx.ModelProto:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for value in [*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = batch
    return fixed


def _merge(first: Dims, second: Dims, symbol: str) -> Dims | None:
    if len(first) != len(second) or not (_is_fixed(first) and _is_fixed(second)):
        return None
    merged: list[int | str] = []
    for a, b in zip(first, second, strict=True):
        if a != b and (a, b) != _PROBES:
            return None
        merged.append(a if a == b else symbol)
    return tuple(merged)


def _is_fixed(dims: Dims) -> bool:
    return all(isinstance(dim, int) for dim in dims)


def _shapes(proto: onnx.ModelProto) -> Mapping[str, Dims]:
    values = [*proto.graph.value_info, *proto.graph.output, *proto.graph.input]
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim
        )
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _adopt_types(ir: onnx_ir.Model, inferred: onnx.ModelProto) -> None:
    found = create_value_mapping(onnx_ir.from_proto(inferred).graph, include_subgraphs=False)
    for node in ir.graph:
        for value in node.outputs:
            known = found.get(name_of(value))
            if value.name and known is not None and known.type is not None:
                value.type = known.type


def _adopt_shapes(ir: onnx_ir.Model, shapes: Mapping[str, Dims]) -> None:
    for node in ir.graph:
        for value in node.outputs:
            dims = shapes.get(name_of(value))
            if value.name and dims is not None:
                value.shape = onnx_ir.Shape(None if dim == "?" else dim for dim in dims)
