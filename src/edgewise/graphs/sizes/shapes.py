"""Give every value of a graph its type and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir
from onnx_ir import serde
from onnx_ir.convenience import create_value_mapping

from edgewise.errors import BadInput
from edgewise.graphs.sizes.axes import axis_sizes, trial_sizes
from edgewise.graphs.sizes.scopes import Body
from edgewise.graphs.sizes.single_nodes import ForeignNodes
from edgewise.graphs.sizes.sizing import Sizer
from edgewise.graphs.values import (
    Dims,
    batch_symbols,
    dims_of,
    input_symbols,
    name_of,
    subgraphs_of,
)
from edgewise.tensors import Axes

_KEPT_MAX_BYTES = 4096  # inference may look into small initialisers, never into weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The shapes of a graph once its inputs have sizes.

    Args:
        dims: by value; an axis that cannot be known is a name.
        bodies: the sized subgraphs of a node, by the node's first named output.
    """

    dims: Mapping[str, Dims]
    bodies: Mapping[str, tuple[Body, ...]]


def infer_shapes(ir: onnx_ir.Model, *, custom_ops: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """Set the type and shape of every value, as far as they can be known.

    Where onnx's own inference loses the thread (target shapes computed by nodes, operators of
    onnxruntime), several sizes are tried for every symbolic axis: an axis of a value that always
    stays is fixed, one that always is as long as an input's axis is that axis.

    Engines run networks whose file states a wrong shape for a result, so what is stated gives way
    where operators contradict it.

    Args:
        ir: a graph that is still ours to change.
        custom_ops: libraries that define operators.

    Returns:
        Names of the values whose stated shape was wrong.

    Raises:
        BadInput: when operators do not fit together.
    """
    bare = _without_weights(ir)
    stated: dict[str, Dims] = {}
    try:
        inferred = _infer(bare)
    except BadInput:
        stated = _drop_stated(ir)
        if not stated:
            raise
        bare = _without_weights(ir)
        inferred = _infer(bare)
    _adopt_types(ir, inferred)
    _adopt_shapes(ir, _shapes(inferred))
    if _is_open(ir):
        _try_sizes(ir, _sizer(bare, custom_ops))
    results = {name_of(value): dims_of(value) for node in ir.graph for value in node.outputs}
    return tuple(name for name, dims in stated.items() if _contradict(dims, results[name]))


def _drop_stated(ir: onnx_ir.Model) -> dict[str, Dims]:
    """Forget the shapes of all results; what they were, by name."""
    stated = {}
    for node in ir.graph:
        for value in node.outputs:
            dims = dims_of(value)
            if value.name and dims is not None:
                stated[value.name] = dims
                value.shape = None
    return stated


def _contradict(stated: Dims, found: Dims | None) -> bool:
    if found is None or len(stated) != len(found):
        return True
    pairs = zip(stated, found, strict=True)
    return any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def shapes_at(
    ir: onnx_ir.Model,
    batch: int,
    axes: Axes | None = None,
    *,
    custom_ops: tuple[Path, ...] = (),
) -> Sizes:
    """The shape of every value at stated sizes of the inputs' symbolic axes.

    Args:
        ir: a graph with inferred shapes.
        batch: the size of symbolic first axes that ``axes`` does not name.
        axes: sizes by name.
        custom_ops: libraries that define operators.

    Raises:
        BadInput: when an axis has no size, or operators do not fit together at these sizes.
    """
    sizes = axis_sizes(ir.graph, batch, axes)
    known = {
        name: tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims)
        for name, value in create_value_mapping(ir.graph, include_subgraphs=False).items()
        if (dims := dims_of(value)) is not None
    }
    # A batch fits at any size; whether other axes do, and together, only trying them tells.
    simple = (
        len(sizes) <= 1
        and sizes.keys() <= batch_symbols(ir.graph)
        and not any(True for node in ir.graph for _ in subgraphs_of(node))
    )
    values = [value for node in ir.graph for value in node.outputs if value.name]
    if simple and all(_is_fixed(known.get(name_of(value))) for value in values):
        return Sizes(dims=known, bodies={})
    scope = _sizer(_without_weights(ir), custom_ops).run(sizes)
    found = {name: dims for name, dims in scope.all_dims().items() if _is_fixed(dims)}
    return Sizes(dims={**known, **found}, bodies=scope.bodies)


def _sizer(bare: onnx.ModelProto, custom_ops: tuple[Path, ...]) -> Sizer:
    return Sizer(bare, ForeignNodes(bare.opset_import, bare.ir_version, custom_ops))


def _without_weights(ir: onnx_ir.Model) -> onnx.ModelProto:
    """The graph with every larger stored tensor as an input of the same type and shape."""
    bare = onnx.ModelProto(ir_version=ir.ir_version)
    for domain, version in ir.graph.opset_imports.items():
        bare.opset_import.add(domain=domain, version=version)
    graph = bare.graph
    graph.name = ir.graph.name or "graph"
    graph.input.extend(map(serde.serialize_value, ir.graph.inputs))
    graph.output.extend(map(serde.serialize_value, ir.graph.outputs))
    for value in ir.graph.initializers.values():
        _add_stored(graph, name_of(value), value.const_value)
    for node in ir.graph:
        stored = node.attributes.get("value") if node.op_type == "Constant" else None
        if stored is not None and stored.type is onnx_ir.AttributeType.TENSOR:
            _add_stored(graph, name_of(node.outputs[0]), stored.as_tensor())
        else:
            serde.serialize_node_into(graph.node.add(), node)
            for value in node.outputs:
                if value.name and value.type is not None:
                    serde.serialize_value_into(graph.value_info.add(), value)
    return bare


def _add_stored(graph: onnx.GraphProto, name: str, tensor: onnx_ir.TensorProtocol | None) -> None:
    if tensor is None:
        return
    if tensor.nbytes > _KEPT_MAX_BYTES and tensor.dtype is not onnx_ir.DataType.STRING:
        kind, dims = int(tensor.dtype), list(tensor.shape.numpy())
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))
        return
    stored = serde.serialize_tensor(tensor)
    stored.name = name
    graph.initializer.append(stored)


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
    shapes = (dims_of(value) for node in ir.graph for value in node.outputs if value.name)
    return any(
        dims is None or any(isinstance(dim, str) and dim not in symbols for dim in dims)
        for dims in shapes
    )


def _try_sizes(ir: onnx_ir.Model, sizer: Sizer) -> None:
    """Adopt what stays the same, and what follows an axis, over several sizes of all axes."""
    refusal: BadInput | None = None
    for points in trial_sizes(ir.graph):
        try:
            scopes = [sizer.run(point) for point in points]
        except BadInput as error:  # too small an image, for one; the next sizes are larger
            refusal = error
            continue
        _adopt_types_of(ir, scopes[0].types)
        _adopt_shapes(ir, _merge([scope.all_dims() for scope in scopes], points))
        return
    if refusal is not None and not input_symbols(ir.graph):
        raise refusal


def _merge(
    found: list[dict[str, Dims]], points: tuple[Mapping[str, int], ...]
) -> Mapping[str, Dims]:
    """One shape for each value; an axis that follows no axis of the inputs is ``?``."""
    follows = {tuple(point[name] for point in points): name for name in points[0]}
    merged = {}
    for name, first in found[0].items():
        shapes = [shapes.get(name) for shapes in found]
        if any(shape is None or len(shape) != len(first) for shape in shapes):
            continue
        columns = list(zip(*(shape for shape in shapes if shape is not None), strict=True))
        merged[name] = tuple(
            column[0] if len(set(column)) == 1 else follows.get(column, "?") for column in columns
        )
    return merged


def _is_fixed(dims: Dims | None) -> bool:
    return dims is not None and all(isinstance(dim, int) for dim in dims)


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
    values = [*inferred.graph.value_info, *inferred.graph.output]
    _adopt_types_of(ir, {value.name: value.type for value in values})


def _adopt_types_of(ir: onnx_ir.Model, found: Mapping[str, onnx.TypeProto]) -> None:
    for node in ir.graph:
        for value in node.outputs:
            kind = found.get(name_of(value)) if value.name else None
            if kind is not None and kind.WhichOneof("value") is not None:
                value.type = serde.deserialize_type_proto_for_type(kind)


def _adopt_shapes(ir: onnx_ir.Model, shapes: Mapping[str, Dims]) -> None:
    for node in ir.graph:
        for value in node.outputs:
            dims = shapes.get(name_of(value))
            if value.name and dims is not None:
                value.shape = onnx_ir.Shape(None if dim == "?" else dim for dim in dims)
