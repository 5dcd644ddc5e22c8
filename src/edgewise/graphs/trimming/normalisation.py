"""Fold what scales and shifts channels into the layer before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from edgewise.graphs.trimming.linear import Affine, Layer, fold_into, layer_of, per_channel
from edgewise.graphs.trimming.surgery import array_of, input_of, maker_of, nodes_of

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ARITHMETIC = ("Mul", "Div", "Add", "Sub")


def fold_norms_into(op: str) -> Callable[[onnx_ir.Model], None]:
    """A pass that folds each BatchNormalization after this operator into its weights."""

    def fold(ir: onnx_ir.Model) -> None:
        for node in nodes_of(ir.graph, "BatchNormalization"):
            before = maker_of(node.inputs[0], ir.graph, op)
            layer = None if before is None else layer_of(before)
            affine = None if layer is None else _norm_as_affine(node, layer)
            if layer is not None and affine is not None:
                fold_into(layer, node, affine)

    return fold


def fold_arithmetic(ir: onnx_ir.Model) -> None:
    """Fold products and sums with one constant a channel into the layer before them."""
    for node in nodes_of(ir.graph, *ARITHMETIC):
        for place in (0, 1):
            before = maker_of(input_of(node, place), ir.graph, *LAYERS, "BatchNormalization")
            layer = None if before is None else layer_of(before)
            affine = None if layer is None else _as_affine(node, place, layer)
            if layer is not None and affine is not None and fold_into(layer, node, affine):
                break


def _norm_as_affine(node: onnx_ir.Node, layer: Layer) -> Affine | None:
    """BatchNormalization in evaluation mode: (x - mean) / sqrt(var + epsilon) · scale + bias.

    Source: the ONNX operator's definition.
    """
    trains = node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1
    arrays = [array_of(value) for value in node.inputs[1:5]]
    if trains or layer.axis != 1 or any(array is None for array in arrays):
        return None
    scale, bias, mean, var = (np.asarray(array, np.float64) for array in arrays)
    if scale.shape != (layer.channels,):
        return None
    ratio = scale / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
    return Affine(scale=ratio, shift=bias - mean * ratio)


def _as_affine(node: onnx_ir.Node, place: int, layer: Layer) -> Affine | None:
    array = array_of(input_of(node, 1 - place))
    numbers = None if array is None else per_channel(array, layer)
    if numbers is None or (place == 1 and node.op_type == "Div"):
        return None
    ones = np.ones(layer.channels)
    if node.op_type == "Mul":
        return Affine(scale=numbers, shift=None)
    if node.op_type == "Div":
        return Affine(scale=1 / numbers, shift=None) if numbers.all() else None
    if node.op_type == "Add":
        return Affine(scale=None, shift=numbers)
    return Affine(scale=-ones if place else None, shift=numbers if place else -numbers)
