"""Passes that are wrong on purpose: trimming must catch them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir

from edgewise.graphs.trimming import PASSES, Pass

ACTIVATIONS = ("Relu", "Clip", "Sigmoid", "HardSwish", "Tanh")
TOLERANCE = 1e-5  # the most that the real passes are allowed, so that no mistake is caught cheaply


def scale_weights(ir: onnx_ir.Model) -> None:
    """A thousandth too much, as a normalisation folded with the wrong epsilon gives."""
    for value in ir.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == onnx_ir.DataType.FLOAT and tensor.size > 1:
            value.const_value = onnx_ir.tensor(tensor.numpy() * np.float32(1.001), name=value.name)


def drop_activation(ir: onnx_ir.Model) -> None:
    """An activation taken for one that changes nothing."""
    for node in list(ir.graph):
        if node.op_type in ACTIVATIONS and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            ir.graph.remove(node, safe=True)
            return


def fix_batch(ir: onnx_ir.Model) -> None:
    """A symbolic axis made into the size that was tried."""
    for value in (*ir.graph.inputs, *ir.graph.outputs):
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                size if isinstance(size, int) else 1 for size in value.shape
            )


def drop_output(ir: onnx_ir.Model) -> None:
    """An output under another name."""
    ir.graph.outputs[0].name = f"{ir.graph.outputs[0].name}_2"


def break_graph(ir: onnx_ir.Model) -> None:
    """A node of no known operator."""
    for node in ir.graph:
        node.op_type = "NoSuchOperator"
        return


def fail(ir: onnx_ir.Model) -> None:
    """A pass that stops half way."""
    drop_activation(ir)
    raise RuntimeError("on purpose")


MISTAKES: dict[str, Any] = {
    "weights 0.1 % off": scale_weights,
    "an activation lost": drop_activation,
    "the batch fixed": fix_batch,
    "an output renamed": drop_output,
    "an unknown operator": break_graph,
    "an exception half way": fail,
}


def sabotage(job: dict[str, Any]) -> dict[str, Any]:
    """Trim with one wrong pass among the right ones; whether it was undone, and why."""
    from edgewise.graphs import load, save
    from edgewise.graphs.trimming import trim

    name = job["mistake"]
    wrong = Pass(name=name, apply=MISTAKES[name], max_rel=TOLERANCE)
    middle = len(PASSES) // 2
    trimmed = trim(load(job["source"]), passes=(*PASSES[:middle], wrong, *PASSES[middle:]))
    save(trimmed.model, job["target"])
    reasons = [one.reason for one in trimmed.step.undone if one.what == name]
    return {"caught": bool(reasons), "reason": reasons[0] if reasons else ""}
