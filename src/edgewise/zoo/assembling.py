"""Nodes and weights to an ONNX model, as every builder of the zoo does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper

OPSET = 17
IR_VERSION = 8


def assemble(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """The model, unchecked: the weights may not all be there yet.

    Args:
        name: of the graph.
        nodes: in an order in which they can run.
        weights: the initialisers.
        inputs: what goes in.
        outputs: what comes out.
        metadata: what goes into ``metadata_props``, in this order.
    """
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights))
    model: onnx.ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgewise",
    )
    helper.set_model_props(model, dict(metadata))
    return model
