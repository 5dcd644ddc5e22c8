"""Drop what no output needs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from edgewise.errors import BadInput
from edgewise.graphs.values import name_of


def drop_unused(ir: onnx_ir.Model) -> None:
    """Drop nodes, optional outputs, initialisers and opsets that lead to no output."""
    RemoveUnusedNodesPass()(ir)
    RemoveUnusedOpsetsPass()(ir)


def drop_unused_inputs(ir: onnx_ir.Model) -> None:
    """Drop inputs that nothing reads; a network that reads none keeps them all."""
    read = [value for value in ir.graph.inputs if value.uses() or value.is_graph_output()]
    if read and len(read) < len(ir.graph.inputs):
        ir.graph.inputs.clear()
        ir.graph.inputs.extend(read)


def keep_outputs(ir: onnx_ir.Model, names: Sequence[str]) -> None:
    """Keep only these outputs, in the order in which the network has them.

    Raises:
        BadInput: when one of them is no output, or there are none.
    """
    known = [name_of(value) for value in ir.graph.outputs]
    strange = [name for name in names if name not in known]
    if strange or not names:
        raise BadInput(
            expected=f"outputs to keep among {', '.join(known)}",
            found=repr(strange[0]) if strange else "none",
            remedy="name at least one output of the network",
        )
    kept = [value for value in ir.graph.outputs if name_of(value) in set(names)]
    ir.graph.outputs.clear()
    ir.graph.outputs.extend(kept)
