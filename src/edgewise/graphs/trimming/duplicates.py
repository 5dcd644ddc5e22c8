"""Keep one of what is there twice."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import onnx_ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from edgewise.graphs.chance import RANDOM_OPS
from edgewise.graphs.trimming.surgery import is_weight


def merge_weights(ir: onnx_ir.Model) -> None:
    """Let equal initialisers be one; only those of equal form are compared."""
    forms = defaultdict(list)
    for value in ir.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and is_weight(value) and not value.is_graph_output():
            forms[tensor.dtype, tuple(tensor.shape)].append(value)
    for alike in forms.values():
        if len(alike) > 1:
            _merge_alike(ir.graph, alike)


def merge_expressions(ir: onnx_ir.Model) -> None:
    """Let nodes that compute the same from the same be one; random ones never do."""
    if not any(node.op_type in RANDOM_OPS for node in ir.graph):
        CommonSubexpressionEliminationPass()(ir)


def _merge_alike(graph: onnx_ir.Graph, values: list[onnx_ir.Value]) -> None:
    kept: dict[object, onnx_ir.Value] = {}
    for value in values:
        first = kept.setdefault(_content(value), value)
        if first is not value and value.name is not None:
            value.replace_all_uses_with(first)
            del graph.initializers[value.name]


def _content(value: onnx_ir.Value) -> object:
    tensor = value.const_value
    assert tensor is not None
    if tensor.dtype is onnx_ir.DataType.STRING:
        return value  # strings have no bytes to compare
    return hashlib.sha256(tensor.tobytes()).digest()
