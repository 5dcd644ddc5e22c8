"""Drop nodes that give exactly what they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.trimming.surgery import (
    array_of,
    bypass,
    input_of,
    integers,
    maker_of,
    nodes_of,
    only_first_output,
    same_form,
)
from edgewise.graphs.values import dims_of

_Test = Callable[[onnx_ir.Node], bool]
_OF_NEUTRAL: Mapping[str, int] = {"Mul": 1, "Div": 1, "Add": 0, "Sub": 0, "Pow": 1}
_SPREADING = frozenset({"Add", "Sub", "Mul", "Div", "Equal", "Less", "Greater", "And", "Or"})
_FORMING = ("Slice", "Expand", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
_IDEMPOTENT = frozenset({"Relu", "Abs", "Floor", "Ceil", "Round", "Sign"})
_INVOLUTIONS = frozenset({"Not", "Neg"})
_ENDLESS = 2**31 - 1  # from here on exporters mean "to the end"
ARITHMETIC = frozenset(_OF_NEUTRAL)
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
REPEATABLE = _IDEMPOTENT | _INVOLUTIONS


def drop_identities(ir: onnx_ir.Model) -> None:
    """Drop each Identity, bodies included."""
    for node in tuple(RecursiveGraphIterator(ir.graph)):
        if node.op_type == "Identity" and node.domain == "" and _stays_inside(node):
            bypass(node, node.inputs[0])


def drop_no_ops(ir: onnx_ir.Model) -> None:
    """Drop nodes that move, convert or take apart nothing."""
    for node in tuple(ir.graph):
        test = _TESTS.get(node.op_type) if node.domain == "" else None
        if test is not None and only_first_output(node) and test(node):
            bypass(node, node.inputs[0])


def drop_neutral_arithmetic(ir: onnx_ir.Model) -> None:
    """Drop x·1, x/1, x+0, x-0 and x¹."""
    for node in tuple(ir.graph):
        if node.op_type in _OF_NEUTRAL and node.domain == "":
            bypass(node, _untouched_operand(node))


def skip_expands(ir: onnx_ir.Model) -> None:
    """Let an operator that spreads its operands by itself read what an Expand would spread."""
    for node in nodes_of(ir.graph, "Expand"):
        uses = tuple(node.outputs[0].uses())
        if all(_spreads_anyway(reader, place, ir.graph) for reader, place in uses):
            for reader, place in uses:
                reader.replace_input_with(place, node.inputs[0])


def drop_zero_states(ir: onnx_ir.Model) -> None:
    """Let recurrent operators start from zeros by themselves."""
    for node in nodes_of(ir.graph, *RECURRENT):
        for place in (5, 6):
            if _is_zero(input_of(node, place), ir.graph):
                node.replace_input_with(place, None)


def drop_repetitions(ir: onnx_ir.Model) -> None:
    """Drop the second of two operators of which one is enough, and both that cancel out."""
    for node in tuple(ir.graph):
        before = maker_of(input_of(node, 0), ir.graph, node.op_type)
        if before is None or node.domain != "":
            continue
        if node.op_type in _IDEMPOTENT:
            bypass(node, node.inputs[0])
        elif node.op_type in _INVOLUTIONS:
            bypass(node, before.inputs[0])


def _spreads_anyway(reader: onnx_ir.Node, place: int, graph: onnx_ir.Graph) -> bool:
    """Whether a reader's other operand alone has the form of its output."""
    if reader.op_type not in _SPREADING or reader.domain != "" or reader.graph is not graph:
        return False
    other = input_of(reader, 1 - place)
    return other is not None and same_form(other, reader.outputs[0])


def _is_zero(value: onnx_ir.Value | None, graph: onnx_ir.Graph) -> bool:
    """Whether a value is surely all zeros, however it was cut or put into form."""
    while (node := maker_of(value, graph, *_FORMING)) is not None:
        value = node.inputs[0]
    filled = maker_of(value, graph, "ConstantOfShape")
    if filled is None:
        array = array_of(value)
        return array is not None and not array.any()
    number = filled.attributes.get("value")
    return number is None or not number.as_tensor().numpy().any()


def _stays_inside(node: onnx_ir.Node) -> bool:
    """Whether an Identity carries no value across the border of its body."""
    value = node.inputs[0]
    return value is not None and (value.graph is node.graph or not _is_output(node))


def _is_output(node: onnx_ir.Node) -> bool:
    return node.outputs[0].is_graph_output()


def _keeps_form(node: onnx_ir.Node) -> bool:
    value = node.inputs[0]
    return value is not None and same_form(value, node.outputs[0])


def _keeps_type(node: onnx_ir.Node) -> bool:
    value = node.inputs[0]
    known = value is not None and value.dtype is not None
    return known and value.dtype == node.outputs[0].dtype  # type: ignore[union-attr]


def _keeps_order(node: onnx_ir.Node) -> bool:
    order = node.attributes.get_ints("perm", None)
    return order is not None and list(order) == sorted(order)


def _slices_all(node: onnx_ir.Node) -> bool:
    """Whether a Slice keeps everything; of an open axis, however long it may be."""
    steps = integers(node, 4) if input_of(node, 4) is not None else (1,)
    if steps is None or any(step < 1 for step in steps) or not _keeps_form(node):
        return False
    fixed = all(isinstance(dim, int) for dim in dims_of(node.outputs[0]) or ())
    starts, ends = integers(node, 1), integers(node, 2)
    endless = starts is not None and ends is not None and not any(starts) and min(ends) >= _ENDLESS
    return fixed or endless


def _pads_nothing(node: onnx_ir.Node) -> bool:
    pads = integers(node, 1)
    return pads is not None and not any(pads)


def _repeats_once(node: onnx_ir.Node) -> bool:
    repeats = integers(node, 1)
    return repeats is not None and all(count == 1 for count in repeats)


def _takes_one(node: onnx_ir.Node) -> bool:
    return len(node.inputs) == 1


def _gives_one(node: onnx_ir.Node) -> bool:
    return len(node.outputs) == 1 and _keeps_form(node)


def _pools_nothing(node: onnx_ir.Node) -> bool:
    kernel = node.attributes.get_ints("kernel_shape", ())
    return set(kernel) == {1} and _keeps_form(node) and not any(_pads(node))


def _pads(node: onnx_ir.Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("pads", ()))


def _scales_nothing(node: onnx_ir.Node) -> bool:
    dims = dims_of(node.outputs[0]) or ("?",)
    fixed = all(isinstance(dim, int) for dim in dims[1:])
    cropped = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return fixed and _keeps_form(node) and cropped != "tf_crop_and_resize"


def _untouched_operand(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """The operand that passes through, if the other is neutral and does not widen it."""
    neutral = _OF_NEUTRAL[node.op_type]
    places = ((0, 1), (1, 0)) if node.op_type in ("Mul", "Add") else ((0, 1),)
    for kept, other in places:
        value, array = input_of(node, kept), array_of(input_of(node, other))
        if value is None or array is None or not np.all(array == neutral):
            continue
        dims = dims_of(value)
        if (array.size == 1 and dims is not None and array.ndim <= len(dims)) or same_form(
            value, node.outputs[0]
        ):
            return value
    return None


_TESTS: Mapping[str, _Test] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"), _keeps_form),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _keeps_form),
    **dict.fromkeys(("Concat", "Sum", "Max", "Min", "Mean"), _takes_one),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pools_nothing),
    **dict.fromkeys(("Cast", "CastLike"), _keeps_type),
    "Transpose": _keeps_order,
    "Slice": _slices_all,
    "Pad": _pads_nothing,
    "Tile": _repeats_once,
    "Split": _gives_one,
    "Resize": _scales_nothing,
}
NO_OPS = frozenset(_TESTS)
