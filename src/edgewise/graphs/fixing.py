"""Give symbolic axes a size for good."""

from __future__ import annotations

import onnx_ir

from edgewise.errors import BadInput
from edgewise.graphs.model import Model
from edgewise.graphs.reading.loading import make_model
from edgewise.graphs.sizes.shapes import infer_shapes
from edgewise.graphs.values import input_symbols
from edgewise.tensors import Axes


def fix_axes(model: Model, axes: Axes) -> Model:
    """The network with some symbolic axes of a stated size.

    A network for pictures of any size has axes inside that follow no single axis of its input, so
    it has few cuts; at a stated size it has all of them.

    Args:
        model: is not changed.
        axes: sizes by name; the other axes stay symbolic.

    Raises:
        BadInput: when there is no such axis, or the operators do not fit together at that size.
    """
    known = input_symbols(model.ir.graph)
    for name, size in axes.items():
        if name not in known or size < 1:
            raise BadInput(
                expected=f"sizes of at least 1 for the axes {', '.join(sorted(known)) or 'none'}",
                found=f"{name[:80]!r}: {size}",
                remedy="name an axis of the inputs: edgewise inspect MODEL lists them",
            )
    ir = model.ir.clone()
    for value in (*ir.graph.inputs, *(out for node in ir.graph for out in node.outputs)):
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                axes.get(dim.value or "", dim) if isinstance(dim, onnx_ir.SymbolicDim) else dim
                for dim in value.shape
            )
    infer_shapes(ir, custom_ops=model.custom_ops)
    told = tuple(f"axis {name!r} fixed at {size}" for name, size in axes.items())
    return make_model(
        ir, name=model.name, changes=(*model.changes, *told), custom_ops=model.custom_ops
    )
