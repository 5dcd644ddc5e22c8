"""What scaling and shifting the channels of a layer's output does to its weights.

Conv, ConvTranspose, Gemm, MatMul and BatchNormalization all give s·y + t for new weights where
they gave y, for one s and t a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgewise.graphs.trimming.surgery import (
    add_weight,
    array_of,
    become,
    has_one_reader,
    input_of,
    take_over,
)
from edgewise.graphs.values import dims_of, name_of
from edgewise.tensors import Array

Wide = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scale and shift of each channel: y becomes scale·y + shift; None where it does neither."""

    scale: Wide | None
    shift: Wide | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer whose output channels can be scaled and shifted.

    Args:
        node: the layer.
        rank: how many axes its output has.
        axis: which of them is the channels.
        channels: how many there are.
    """

    node: onnx_ir.Node
    rank: int
    axis: int
    channels: int


def layer_of(node: onnx_ir.Node) -> Layer | None:
    """A node as a layer; None if it is none, or its weights are computed."""
    weights = array_of(input_of(node, 1))
    if weights is None or weights.dtype.kind != "f":
        return None
    rank = len(dims_of(node.outputs[0]) or ())
    describe = _FORMS.get(node.op_type)
    axis, channels = (-1, 0) if describe is None else describe(node, weights, rank)
    known = rank > axis >= 0 and channels > 0
    return Layer(node=node, rank=rank, axis=axis, channels=channels) if known else None


def per_channel(array: Array, layer: Layer) -> Wide | None:
    """One number a channel from a constant that is broadcast to a layer's output, or None."""
    if array.ndim > layer.rank or array.dtype.kind != "f":
        return None
    form = (1,) * (layer.rank - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(form) if axis != layer.axis):
        return None
    if form[layer.axis] not in (1, layer.channels):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (layer.channels,)).copy()


def fold_into(layer: Layer, reader: onnx_ir.Node, affine: Affine) -> bool:
    """Let ``layer`` do what ``reader``, its only reader, did; False where that cannot be.

    Weights that other nodes use as well are not copied, since the file would grow.
    """
    graph, node = layer.node.graph, layer.node
    if graph is None or not has_one_reader(node.outputs[0]):
        return False
    rewritten = _REWRITES[node.op_type](layer, affine)
    dtype = array_of(input_of(node, 1)).dtype  # type: ignore[union-attr]
    narrow = None if rewritten is None else _narrowed(rewritten.arrays, dtype)
    if rewritten is None or narrow is None:
        return False
    inputs = list(rewritten.inputs)
    for index, array in narrow.items():
        old = input_of(node, index)
        label = f"{name_of(node.outputs[0])}:bias" if old is None else name_of(old)
        inputs[index] = add_weight(graph, array, label)
    become(reader, rewritten.op, inputs, rewritten.attributes)
    take_over(reader, node)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rewritten:
    op: str
    inputs: Sequence[onnx_ir.Value | None]
    attributes: Sequence[onnx_ir.Attr]
    arrays: Mapping[int, Wide]


def _conv_form(node: onnx_ir.Node, weights: Array, _: int) -> tuple[int, int]:
    del node
    return 1, weights.shape[0]


def _transposed_form(node: onnx_ir.Node, weights: Array, _: int) -> tuple[int, int]:
    return 1, weights.shape[1] * node.attributes.get_int("group", 1)


def _gemm_form(node: onnx_ir.Node, weights: Array, _: int) -> tuple[int, int]:
    return 1, weights.shape[0 if node.attributes.get_int("transB", 0) else 1]


def _matmul_form(node: onnx_ir.Node, weights: Array, rank: int) -> tuple[int, int]:
    del node
    return (rank - 1, weights.shape[1]) if weights.ndim == 2 else (-1, 0)


def _norm_form(node: onnx_ir.Node, weights: Array, _: int) -> tuple[int, int]:
    trains = node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1
    known = all(array_of(value) is not None for value in node.inputs[1:])
    return (1, weights.shape[0]) if known and not trains else (-1, 0)


def _rewrite_conv(layer: Layer, affine: Affine) -> _Rewritten | None:
    node = layer.node
    arrays = _scaled(layer, affine, _along_channels)
    bias = _shifted(array_of(input_of(node, 2)), affine, layer.channels)
    if arrays is None or (bias is None and input_of(node, 2) is not None):
        return None
    inputs = [*node.inputs[:2], input_of(node, 2)]
    if bias is not None:
        arrays[2] = bias
    return _Rewritten(
        op=node.op_type, inputs=inputs, attributes=tuple(node.attributes.values()), arrays=arrays
    )


def _rewrite_gemm(layer: Layer, affine: Affine) -> _Rewritten | None:
    node, added = layer.node, input_of(layer.node, 2)
    bias = None
    if added is not None:
        array = array_of(added)
        bias = None if array is None else per_channel(array, layer)
        if bias is None:
            return None
        bias = bias * node.attributes.get_float("beta", 1.0)
    arrays = _scaled(layer, affine, _along_columns)
    if arrays is None:
        return None
    arrays[2] = _moved(np.zeros(layer.channels) if bias is None else bias, affine)
    attributes = [attr for attr in node.attributes.values() if attr.name != "beta"]
    inputs = [*node.inputs[:2], added]
    return _Rewritten(op="Gemm", inputs=inputs, attributes=attributes, arrays=arrays)


def _rewrite_matmul(layer: Layer, affine: Affine) -> _Rewritten | None:
    arrays = _scaled(layer, affine, _along_columns)
    if arrays is None:
        return None
    inputs = list(layer.node.inputs)
    if affine.shift is None:
        return _Rewritten(op="MatMul", inputs=inputs, attributes=(), arrays=arrays)
    if layer.rank != 2 or len(dims_of(inputs[0]) or ()) != 2:  # type: ignore[arg-type]
        return None
    arrays[2] = affine.shift
    return _Rewritten(op="Gemm", inputs=[*inputs, None], attributes=(), arrays=arrays)


def _rewrite_norm(layer: Layer, affine: Affine) -> _Rewritten | None:
    node = layer.node
    scale, shift = array_of(node.inputs[1]), array_of(node.inputs[2])
    if scale is None or shift is None:
        return None
    arrays = {2: _moved(shift.astype(np.float64), affine)}
    if affine.scale is not None:
        arrays[1] = scale.astype(np.float64) * affine.scale
    return _Rewritten(
        op=node.op_type,
        inputs=list(node.inputs),
        attributes=tuple(node.attributes.values()),
        arrays=arrays,
    )


def _scaled(
    layer: Layer, affine: Affine, spread: Callable[[Layer, Array, Wide], Wide]
) -> dict[int, Wide] | None:
    """The weights scaled, as the second input; None where other nodes need the old ones too."""
    value = layer.node.inputs[1]
    weights = array_of(value)
    if affine.scale is None:
        return {}
    if weights is None or value is None or not has_one_reader(value):
        return None
    return {1: weights.astype(np.float64) * spread(layer, weights, affine.scale)}


def _along_channels(layer: Layer, weights: Array, scale: Wide) -> Wide:
    """The scale in a form that multiplies a convolution's kernel."""
    tail = (1,) * (weights.ndim - 2)
    if layer.node.op_type == "Conv":
        return scale.reshape(-1, 1, *tail)
    groups = layer.node.attributes.get_int("group", 1)
    each = scale.reshape(groups, 1, -1, *tail)
    wide = np.broadcast_to(each, (groups, weights.shape[0] // groups, *each.shape[2:]))
    return wide.reshape(weights.shape[0], -1, *tail)


def _along_columns(layer: Layer, weights: Array, scale: Wide) -> Wide:
    del weights
    return scale.reshape(-1, 1) if layer.node.attributes.get_int("transB", 0) else scale


def _shifted(bias: Array | None, affine: Affine, channels: int) -> Wide | None:
    if bias is None and affine.shift is None:
        return None
    return _moved(np.zeros(channels) if bias is None else bias.astype(np.float64), affine)


def _moved(numbers: Wide, affine: Affine) -> Wide:
    scaled = numbers if affine.scale is None else numbers * affine.scale
    return scaled if affine.shift is None else scaled + affine.shift


def _narrowed(arrays: Mapping[int, Wide], dtype: np.dtype[Any]) -> dict[int, Array] | None:
    """The numbers in the type of the weights; None where one of them does not fit."""
    with np.errstate(over="ignore"):
        narrow = {index: array.astype(dtype) for index, array in arrays.items()}
    return narrow if all(np.isfinite(array).all() for array in narrow.values()) else None


_FORMS: Mapping[str, Callable[[onnx_ir.Node, Array, int], tuple[int, int]]] = {
    "Conv": _conv_form,
    "ConvTranspose": _transposed_form,
    "Gemm": _gemm_form,
    "MatMul": _matmul_form,
    "BatchNormalization": _norm_form,
}
_REWRITES: Mapping[str, Callable[[Layer, Affine], _Rewritten | None]] = {
    "Conv": _rewrite_conv,
    "ConvTranspose": _rewrite_conv,
    "Gemm": _rewrite_gemm,
    "MatMul": _rewrite_matmul,
    "BatchNormalization": _rewrite_norm,
}
