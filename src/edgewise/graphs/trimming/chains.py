"""Make one node of two that follow each other and only move or bound numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgewise.graphs.trimming.duplicates import merge_weights
from edgewise.graphs.trimming.surgery import (
    add_weight,
    array_of,
    become,
    has_one_reader,
    input_of,
    integers,
    is_weight,
    maker_of,
    nodes_of,
    take_over,
)
from edgewise.graphs.values import Dims, dims_of, name_of
from edgewise.tensors import Array

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_REDUCTIONS = tuple(
    f"Reduce{kind}"
    for kind in (
        *("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2"),
        *("LogSum", "LogSumExp", "SumSquare"),
    )
)


def merge_transposes(ir: onnx_ir.Model) -> None:
    """Make one Transpose of two."""
    for node in nodes_of(ir.graph, "Transpose"):
        before = maker_of(node.inputs[0], ir.graph, "Transpose")
        if before is None:
            continue
        first, second = (one.attributes.get_ints("perm", None) for one in (before, node))
        if first is not None and second is not None:
            order = [first[axis] for axis in second]
            become(node, "Transpose", before.inputs, [onnx_ir.AttrInt64s("perm", order)])


def merge_reshapes(ir: onnx_ir.Model) -> None:
    """Make one Reshape of two nodes that only regroup axes."""
    for node in nodes_of(ir.graph, *RESHAPES):
        before = maker_of(node.inputs[0], ir.graph, *RESHAPES)
        if before is None or not has_one_reader(before.outputs[0]):
            continue
        if _regroup(node, before.inputs[0]):
            take_over(node, before)


def fix_reshapes(ir: onnx_ir.Model) -> None:
    """Give a Reshape whose target is computed, but known, a constant target."""
    for node in nodes_of(ir.graph, "Reshape"):
        target = input_of(node, 1)
        if target is not None and not is_weight(target):
            _regroup(node, node.inputs[0])
    merge_weights(ir)  # many Reshapes have few targets


def regroup_transposes(ir: onnx_ir.Model) -> None:
    """Let a Reshape do what a Transpose does that moves axes of one element only."""
    for node in nodes_of(ir.graph, "Transpose"):
        value, order = node.inputs[0], node.attributes.get_ints("perm", ())
        dims = None if value is None else dims_of(value)
        if dims is None or len(order) != len(dims):
            continue
        moved = [axis for axis in order if dims[axis] != 1]
        if moved == sorted(moved):
            _regroup_beside(node, ir.graph)


def merge_slices(ir: onnx_ir.Model) -> None:
    """Make one Slice of two that cut different axes."""
    for node in nodes_of(ir.graph, "Slice"):
        before = maker_of(node.inputs[0], ir.graph, "Slice")
        if before is None or not has_one_reader(before.outputs[0]):
            continue
        rank = len(dims_of(node.outputs[0]) or ())
        first, second = _cut_of(before, rank), _cut_of(node, rank)
        if first is None or second is None or {*first[2]} & {*second[2]}:
            continue
        label = name_of(node.outputs[0])
        numbers = [
            add_weight(ir.graph, np.array(a + b, np.int64), f"{label}:{kind}")
            for a, b, kind in zip(first, second, ("starts", "ends", "axes", "steps"), strict=True)
        ]
        become(node, "Slice", [before.inputs[0], *numbers])
        take_over(node, before)


def merge_casts(ir: onnx_ir.Model) -> None:
    """Skip a Cast to a wider type that another Cast follows."""
    for node in nodes_of(ir.graph, "Cast"):
        before = maker_of(node.inputs[0], ir.graph, "Cast")
        source = None if before is None else before.inputs[0]
        if source is None or source.dtype is None or node.inputs[0].dtype is None:  # type: ignore[union-attr]
            continue
        if _is_widened(source.dtype, node.inputs[0].dtype):  # type: ignore[union-attr]
            node.replace_input_with(0, source)


def merge_clips(ir: onnx_ir.Model) -> None:
    """Make one Clip of two, and of a Relu and a Clip."""
    for node in nodes_of(ir.graph, "Clip", "Relu"):
        before = maker_of(node.inputs[0], ir.graph, "Clip", "Relu")
        if before is None or not has_one_reader(before.outputs[0]):
            continue
        first, second = _bounds(before), _bounds(node)
        if first is None or second is None or node.op_type == before.op_type == "Relu":
            continue
        _clip(node, before, first, second, ir.graph)


def merge_concats(ir: onnx_ir.Model) -> None:
    """Make one Concat of two along one axis."""
    for node in nodes_of(ir.graph, "Concat"):
        inputs: list[onnx_ir.Value | None] = []
        for value in node.inputs:
            before = maker_of(value, ir.graph, "Concat")
            alone = before is not None and has_one_reader(before.outputs[0])
            if alone and before is not None and _axis(before) == _axis(node):
                inputs.extend(before.inputs)
            else:
                inputs.append(value)
        if len(inputs) > len(node.inputs):
            become(node, "Concat", inputs, node.attributes.values())


def drop_empty_parts(ir: onnx_ir.Model) -> None:
    """Leave out of each Concat what has no element along its axis."""
    for node in nodes_of(ir.graph, "Concat"):
        full = [value for value in node.inputs if not _is_empty(value, _axis(node))]
        if 0 < len(full) < len(node.inputs):
            become(node, "Concat", full, node.attributes.values())


def merge_reductions(ir: onnx_ir.Model) -> None:
    """Let a reduction keep or drop its axes itself."""
    for node in nodes_of(ir.graph, "Squeeze", "Unsqueeze"):
        before = maker_of(node.inputs[0], ir.graph, *_REDUCTIONS)
        if before is None or not has_one_reader(before.outputs[0]):
            continue
        keeps = bool(before.attributes.get_int("keepdims", 1))
        rank = len(dims_of(before.inputs[0]) or ())  # type: ignore[arg-type]
        axes = _reduced(before, rank) if rank else None
        if axes and axes == _reduced(node, rank) and keeps == (node.op_type == "Squeeze"):
            others = [a for a in before.attributes.values() if a.name != "keepdims"]
            kept = onnx_ir.AttrInt64("keepdims", int(not keeps))
            become(node, before.op_type, before.inputs, [*others, kept])
            take_over(node, before)


def _regroup_beside(node: onnx_ir.Node, graph: onnx_ir.Graph) -> None:
    """Let the Reshape before a Transpose, or else the one after it, do its work as well."""
    before = maker_of(node.inputs[0], graph, *RESHAPES)
    if before is not None and has_one_reader(before.outputs[0]):
        if _regroup(node, before.inputs[0]):
            take_over(node, before)
    elif has_one_reader(node.outputs[0]):
        ((reader, _),) = node.outputs[0].uses()
        if reader.op_type in RESHAPES and reader.domain == "" and reader.graph is graph:
            _regroup(reader, node.inputs[0])


def _cut_of(node: onnx_ir.Node, rank: int) -> tuple[tuple[int, ...], ...] | None:
    """Starts, ends, axes and steps of a Slice; None where one of them is computed."""
    starts, ends = integers(node, 1), integers(node, 2)
    if starts is None or ends is None or not rank:
        return None
    axes = integers(node, 3) if input_of(node, 3) is not None else tuple(range(len(starts)))
    steps = integers(node, 4) if input_of(node, 4) is not None else (1,) * len(starts)
    if axes is None or steps is None:
        return None
    return starts, ends, tuple(axis % rank for axis in axes), steps


def _regroup(node: onnx_ir.Node, source: onnx_ir.Value | None) -> bool:
    """Turn a node into a Reshape of ``source`` to the same form; False if that is not known."""
    dims, taken = dims_of(node.outputs[0]), None if source is None else dims_of(source)
    target = None if dims is None else _target(dims, taken or ())
    if target is None or node.graph is None:
        return False
    numbers = np.array(target, dtype=np.int64)
    shape = add_weight(node.graph, numbers, f"{name_of(node.outputs[0])}:shape")
    become(node, "Reshape", [source, shape])
    return True


def _target(dims: Dims, source: Dims) -> tuple[int, ...] | None:
    """The Reshape target for a shape: 0 copies the source's axis, -1 is what is left.

    None where more than one axis would be left, or where one has no element, which 0 cannot say.

    >>> _target(("n", 12), ("n", 3, 4)), _target(("n", "m"), ("n", 3)), _target(("a", "b"), ())
    ((0, 12), (0, -1), None)
    """
    copied = [
        0 if not isinstance(dim, int) and dim != "?" and source[axis : axis + 1] == (dim,) else dim
        for axis, dim in enumerate(dims)
    ]
    target = tuple(dim if isinstance(dim, int) else -1 for dim in copied)
    return None if target.count(-1) > 1 or 0 in dims else target


def _is_widened(narrow: onnx_ir.DataType, wide: onnx_ir.DataType) -> bool:
    """Whether a type holds all numbers of another, and turns them into a third as that would.

    Integers that became floats do not: large ones lose digits, and negative ones do not wrap.
    """
    known = {*onnx_ir.DataType} - {onnx_ir.DataType.STRING, onnx_ir.DataType.UNDEFINED}
    if not {narrow, wide} <= known or (narrow.is_integer() and not wide.is_integer()):
        return False
    return bool(np.can_cast(narrow.numpy(), wide.numpy(), "safe"))


def _bounds(node: onnx_ir.Node) -> tuple[Array | None, Array | None] | None:
    """The limits of a Clip or Relu; None where they are computed."""
    if node.op_type == "Relu":
        dtype = node.outputs[0].dtype
        return None if dtype is None else (np.zeros((), dtype.numpy()), None)
    values = [input_of(node, 1), input_of(node, 2)]
    arrays = [array_of(value) for value in values]
    known = all((v is None) == (a is None) for v, a in zip(values, arrays, strict=True))
    return (arrays[0], arrays[1]) if known else None


def _clip(
    node: onnx_ir.Node,
    before: onnx_ir.Node,
    first: tuple[Array | None, Array | None],
    second: tuple[Array | None, Array | None],
    graph: onnx_ir.Graph,
) -> None:
    low = second[0] if first[0] is None else _clipped(first[0], second)
    high = second[1] if first[1] is None else _clipped(first[1], second)
    label = name_of(node.outputs[0])
    bounds = [
        None if bound is None else add_weight(graph, bound.reshape(()), f"{label}:{kind}")
        for bound, kind in ((low, "min"), (high, "max"))
    ]
    become(node, "Clip", [before.inputs[0], *bounds])
    take_over(node, before)


def _clipped(bound: Array, limits: tuple[Array | None, Array | None]) -> Array:
    low, high = limits
    raised = bound if low is None else np.maximum(bound, low)
    return raised if high is None else np.minimum(raised, high)


def _axis(node: onnx_ir.Node) -> int:
    axis = node.attributes.get_int("axis")
    rank = len(dims_of(node.outputs[0]) or ())
    return axis + rank if axis < 0 and rank else axis


def _is_empty(value: onnx_ir.Value | None, axis: int) -> bool:
    dims = None if value is None else dims_of(value)
    return dims is not None and dims[axis] == 0


def _reduced(node: onnx_ir.Node, rank: int) -> frozenset[int] | None:
    listed = node.attributes.get_ints("axes", None)
    axes = integers(node, 1) if listed is None else tuple(listed)
    return None if not axes else frozenset(axis % rank for axis in axes)
