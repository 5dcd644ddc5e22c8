"""Make one node of two that compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from edgewise.graphs.trimming.surgery import (
    add_weight,
    array_of,
    become,
    has_one_reader,
    input_of,
    integers,
    maker_of,
    nodes_of,
    take_over,
)
from edgewise.graphs.values import dims_of, name_of
from edgewise.tensors import Array

_GEMM_TYPES = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.DOUBLE)  # what engines compute it in


def fuse_pads(ir: onnx_ir.Model) -> None:
    """Let a convolution or an average pool pad with zeros by itself."""
    for node in nodes_of(ir.graph, "Conv", "AveragePool"):
        pad = maker_of(node.inputs[0], ir.graph, "Pad")
        if pad is None or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
            continue
        added = _zero_pads(pad)
        if added is not None and (node.op_type == "Conv" or _may_pad(node, added)):
            _pad(node, pad, added)


def fuse_gemms(ir: onnx_ir.Model) -> None:
    """Make a Gemm of a MatMul of matrices and the Add after it."""
    for node in nodes_of(ir.graph, "Add"):
        for place in (0, 1):
            product = maker_of(input_of(node, place), ir.graph, "MatMul")
            added = input_of(node, 1 - place)
            if product is not None and added is not None and _is_gemm(product, added):
                become(node, "Gemm", [*product.inputs, added])
                take_over(node, product)
                break


def fuse_transposes(ir: onnx_ir.Model) -> None:
    """Let a Gemm transpose its matrices by itself."""
    for node in nodes_of(ir.graph, "Gemm"):
        for place, flag in ((0, "transA"), (1, "transB")):
            before = maker_of(node.inputs[place], ir.graph, "Transpose")
            if before is not None and before.attributes.get_ints("perm", ()) == (1, 0):
                flipped = 1 - node.attributes.get_int(flag, 0)
                node.replace_input_with(place, before.inputs[0])
                node.attributes.add(onnx_ir.AttrInt64(flag, flipped))


def fuse_arithmetic(ir: onnx_ir.Model) -> None:
    """Make one Add of two that add constants, and one Mul of two that multiply by them."""
    for node in nodes_of(ir.graph, "Add", "Mul"):
        for place in (0, 1):
            before = maker_of(input_of(node, place), ir.graph, node.op_type)
            second = array_of(input_of(node, 1 - place))
            if before is None or second is None or not has_one_reader(before.outputs[0]):
                continue
            if _join(node, before, second):
                break


def fuse_limits(ir: onnx_ir.Model) -> None:
    """Make a Clip of a Max and a Min with one constant each."""
    for node in nodes_of(ir.graph, "Min", "Max"):
        other = "Max" if node.op_type == "Min" else "Min"
        for value, limit in _pairs(node):
            before = maker_of(value, ir.graph, other)
            if before is None or not has_one_reader(before.outputs[0]):
                continue
            inner = next(iter(_pairs(before)), None)
            if inner is not None and _clip(node, before, limit, inner):
                break


def _zero_pads(pad: onnx_ir.Node) -> list[int] | None:
    """How much a Pad adds to each axis but the first two, as Conv counts it; None if otherwise."""
    rank = len(dims_of(pad.inputs[0]) or ())  # type: ignore[arg-type]
    listed, filler = integers(pad, 1), input_of(pad, 2)
    axes = integers(pad, 3) if input_of(pad, 3) is not None else tuple(range(rank))
    zero = filler is None or _is_zero(filler)
    constant = pad.attributes.get_string("mode", "constant") == "constant"
    if listed is None or axes is None or not (zero and constant and rank > 2):
        return None
    pads = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        pads[axis % rank] = listed[place]
        pads[axis % rank + rank] = listed[place + len(axes)]
    outer = [*pads[:2], *pads[rank : rank + 2]]
    if any(outer) or min(pads) < 0:
        return None
    return [*pads[2:rank], *pads[rank + 2 :]]


def _is_zero(value: onnx_ir.Value) -> bool:
    array = array_of(value)
    return array is not None and not array.any()


def _may_pad(pool: onnx_ir.Node, added: Sequence[int]) -> bool:
    """Whether a pool counts what it pads itself as it counts what was padded before."""
    kernel = list(pool.attributes.get_ints("kernel_shape", ()))
    own = any(pool.attributes.get_ints("pads", ()))
    plain = not own and not pool.attributes.get_int("ceil_mode", 0)
    return plain and all(pad < size for pad, size in zip(added, kernel * 2, strict=True))


def _pad(node: onnx_ir.Node, pad: onnx_ir.Node, added: Sequence[int]) -> None:
    own = node.attributes.get_ints("pads", None) or [0] * len(added)
    pads = [first + second for first, second in zip(own, added, strict=True)]
    node.replace_input_with(0, pad.inputs[0])
    node.attributes.add(onnx_ir.AttrInt64s("pads", pads))
    if node.op_type == "AveragePool":
        node.attributes.add(onnx_ir.AttrInt64("count_include_pad", 1))


def _is_gemm(product: onnx_ir.Node, added: onnx_ir.Value) -> bool:
    forms = [dims_of(value) for value in (*product.inputs, product.outputs[0], added)]  # type: ignore[arg-type]
    if any(dims is None for dims in forms) or any(len(dims or ()) != 2 for dims in forms[:3]):
        return False
    rows, columns = forms[2] or ()
    height, width = (1, 1, *(forms[3] or ()))[-2:]
    fits = height in (1, rows) and width in (1, columns) and len(forms[3] or ()) <= 2
    known = "?" not in (height, width)
    typed = product.outputs[0].dtype in _GEMM_TYPES and added.dtype == product.outputs[0].dtype
    return fits and known and typed and has_one_reader(product.outputs[0])


def _join(node: onnx_ir.Node, before: onnx_ir.Node, second: Array) -> bool:
    for place in (0, 1):
        first, value = array_of(input_of(before, 1 - place)), input_of(before, place)
        if first is None or value is None or first.dtype.kind != "f" or node.graph is None:
            continue
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                joined: Array = (np.add if node.op_type == "Add" else np.multiply)(first, second)
        except ValueError:
            return False
        if joined.size > max(first.size, second.size) or not np.isfinite(joined).all():
            return False
        constant = add_weight(node.graph, joined, f"{name_of(node.outputs[0])}:constant")
        become(node, node.op_type, [value, constant])
        take_over(node, before)
        return True
    return False


def _pairs(node: onnx_ir.Node) -> list[tuple[onnx_ir.Value, onnx_ir.Value]]:
    """An operand of two and the constant of one number that it is compared with."""
    if len(node.inputs) != 2:
        return []
    found = []
    for value, limit in (tuple(node.inputs), tuple(reversed(node.inputs))):
        array = array_of(limit)
        if value is not None and limit is not None and array is not None and array.ndim == 0:
            found.append((value, limit))
    return found


def _clip(
    node: onnx_ir.Node,
    before: onnx_ir.Node,
    limit: onnx_ir.Value,
    inner: tuple[onnx_ir.Value, onnx_ir.Value],
) -> bool:
    """Clip raises first and lowers then, so the lower limit must not be above the upper one."""
    source, first = inner
    low, high = (first, limit) if node.op_type == "Min" else (limit, first)
    bottom, top = array_of(low), array_of(high)
    if bottom is None or top is None or bool(np.greater(bottom, top)):
        return False
    become(node, "Clip", [source, low, high])
    take_over(node, before)
    return True
