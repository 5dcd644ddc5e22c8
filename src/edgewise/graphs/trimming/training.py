"""Switch off what behaves otherwise while training."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.trimming.surgery import array_of, bypass, input_of, only_first_output

_FLAGGED_SINCE = 14  # before, BatchNormalization told training from its number of outputs


def switch_off_training(ir: onnx_ir.Model) -> None:
    """Put Dropout and BatchNormalization into evaluation mode, wherever they stand.

    Left alone: a mode that an input of the graph decides, and a BatchNormalization whose batch
    statistics somebody reads.
    """
    opset = ir.graph.opset_imports.get("", 0)
    for node in RecursiveGraphIterator(ir.graph):
        if node.domain != "":
            continue
        if node.op_type == "Dropout" and array_of(input_of(node, 2)) is not None:
            node.resize_inputs(2)
        if node.op_type == "BatchNormalization" and only_first_output(node):
            _switch_off_norm(node, opset)


def _switch_off_norm(node: onnx_ir.Node, opset: int) -> None:
    trains = bool(node.attributes.get_int("training_mode", 0))
    if trains or (opset < _FLAGGED_SINCE and len(node.outputs) > 1):
        node.attributes.pop("training_mode", None)
        node.resize_outputs(1)


def flags_alone_differ(before: onnx_ir.Model, after: onnx_ir.Model) -> bool:
    """Whether two graphs are the same but for the training flags."""
    first, second = (list(RecursiveGraphIterator(ir.graph)) for ir in (before, after))
    return len(first) == len(second) and all(map(_alike, first, second))


def drop_dropout(ir: onnx_ir.Model) -> None:
    """Drop each Dropout in evaluation mode, bodies included."""
    for node in tuple(RecursiveGraphIterator(ir.graph)):
        if node.op_type == "Dropout" and node.domain == "" and _does_nothing(node):
            bypass(node, node.inputs[0])


def _does_nothing(node: onnx_ir.Node) -> bool:
    mode, ratio = input_of(node, 2), array_of(input_of(node, 1))
    trains = mode is not None and (array_of(mode) is None or bool(array_of(mode)))
    return only_first_output(node) and (not trains or (ratio is not None and not ratio.any()))


def _alike(first: onnx_ir.Node, second: onnx_ir.Node) -> bool:
    if first.op_type != second.op_type or first.name != second.name:
        return False
    kept_inputs, kept_outputs = len(first.inputs), len(first.outputs)
    if first.domain == "" and first.op_type == "Dropout":
        kept_inputs = 2
    if first.domain == "" and first.op_type == "BatchNormalization":
        kept_outputs = 1
    return (
        _names(first.inputs[:kept_inputs]) == _names(second.inputs[:kept_inputs])
        and _names(first.outputs[:kept_outputs]) == _names(second.outputs[:kept_outputs])
        and set(first.attributes) - {"training_mode"} == set(second.attributes) - {"training_mode"}
    )


def _names(values: Sequence[onnx_ir.Value | None]) -> list[str | None]:
    return [None if value is None else value.name for value in values]
