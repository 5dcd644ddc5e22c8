"""Compute once what depends on no input, unless that would make the file larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir
from onnx_ir.convenience import extract
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from edgewise.engines import Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.chance import RANDOM_OPS
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.sizes.shapes import infer_shapes
from edgewise.graphs.trimming.surgery import (
    NODE_BYTES,
    add_weight,
    array_of,
    bypass,
    input_of,
    integers,
    is_weight,
    maker_of,
    nodes_of,
)
from edgewise.graphs.values import bytes_of, dims_of, dtype_name, name_of, subgraphs_of
from edgewise.tensors import OIP_DATATYPES, Array

# Folding these would store weights that were quantised on purpose as floats again.
_KEPT_OPS = RANDOM_OPS | {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def lift_constants(ir: onnx_ir.Model) -> None:
    """Store what Constant nodes hold as initialisers, under the same names."""
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(ir)


def fold_constants(ir: onnx_ir.Model) -> None:
    """Replace what nodes compute from constants alone by the result.

    Each fold must save at least as many bytes as it stores. The engine computes the results, so
    they are the very bits that it would have computed each time.
    """
    flow = trace_flow(ir.graph)
    foldable = _foldable(ir.graph, flow)
    wanted: list[onnx_ir.Value] = []
    for value in _ends(foldable):
        _choose(value, foldable, wanted)
    found = _compute(ir, wanted)
    for value in wanted:
        if name_of(value) in found:
            _store(value, found[name_of(value)])
    if found:
        infer_shapes(ir)


def fold_shapes(ir: onnx_ir.Model) -> None:
    """Replace each Shape, and each Gather or Slice of one, whose numbers are all known."""
    for node in nodes_of(ir.graph, "Shape", "Size", "Gather", "Slice"):
        known = _known_numbers(node, ir.graph)
        if known is not None:
            _store(node.outputs[0], known)


def _foldable(graph: onnx_ir.Graph, flow: Flow) -> dict[onnx_ir.Node, None]:
    """The nodes that compute a tensor from foldable nodes and initialisers alone, in order."""
    found: dict[onnx_ir.Node, None] = {}
    for node in graph:
        plain = node.domain == "" and node.op_type not in _KEPT_OPS and len(node.outputs) == 1
        if plain and _is_storable(node.outputs[0]) and not any(subgraphs_of(node)):
            makers = [value.producer() for value in flow.reads[node] if not is_weight(value)]
            if all(maker in found for maker in makers):
                found[node] = None
    return found


def _is_storable(value: onnx_ir.Value) -> bool:
    dims = dims_of(value)
    known = dims is not None and all(isinstance(dim, int) and dim > 0 for dim in dims)
    return known and dtype_name(value) in OIP_DATATYPES and not value.is_graph_output()


def _ends(foldable: Mapping[onnx_ir.Node, None]) -> list[onnx_ir.Value]:
    """What the rest of the graph reads of the foldable nodes."""
    return [
        node.outputs[0]
        for node in foldable
        if any(reader not in foldable for reader, _ in node.outputs[0].uses())
    ]


def _choose(
    value: onnx_ir.Value, foldable: Mapping[onnx_ir.Node, None], wanted: list[onnx_ir.Value]
) -> None:
    """Want a value if that saves bytes, else the largest parts of it that do."""
    stack, seen = [value], {value}
    while stack:
        current = stack.pop()
        node = current.producer()
        if node is None or node not in foldable or current in wanted:
            continue
        if _saves(current, foldable):
            wanted.append(current)
            continue
        fresh = [read for read in node.inputs if read is not None and read not in seen]
        seen.update(fresh)
        stack.extend(fresh)


def _saves(value: onnx_ir.Value, foldable: Mapping[onnx_ir.Node, None]) -> bool:
    dims = dims_of(value)
    stored = None if dims is None else bytes_of(value, dims)
    return stored is not None and stored <= _saved_bytes(value, foldable)


def _saved_bytes(value: onnx_ir.Value, foldable: Mapping[onnx_ir.Node, None]) -> int:
    """Bytes of the nodes and weights that nothing else needs once a value is stored."""
    gone: set[onnx_ir.Node] = set()
    stack, saved_bytes = [value], 0
    while stack:
        current = stack.pop()
        node = current.producer()
        others = [reader for reader, _ in current.uses() if reader not in gone]
        if current is not value and (others or current.is_graph_output()):
            continue
        if node is not None and node in foldable and node not in gone:
            gone.add(node)
            saved_bytes += NODE_BYTES
            stack.extend(read for read in dict.fromkeys(node.inputs) if read is not None)
        elif is_weight(current) and current.const_value is not None:
            saved_bytes += current.const_value.nbytes
    return saved_bytes


def _compute(ir: onnx_ir.Model, values: Sequence[onnx_ir.Value]) -> dict[str, Array]:
    """Run the constant part alone; what the engine refuses is parted until the rest goes."""
    if not values:
        return {}
    try:
        graph = extract(ir.graph, inputs=[], outputs=list(values))
        alone = onnx_ir.to_proto(onnx_ir.Model(graph, ir_version=ir.ir_version))
        with open_engine(alone.SerializeToString(), optimisation=Optimisation.NONE) as engine:
            return engine.run({})
    except (BadInput, ValueError):
        middle = len(values) // 2
        if not middle:
            return {}
        return {**_compute(ir, values[:middle]), **_compute(ir, values[middle:])}


def _store(value: onnx_ir.Value, array: Array) -> None:
    """Turn a computed value into an initialiser of the same name."""
    node, name = value.producer(), name_of(value)
    assert node is not None
    assert node.graph is not None
    stored = add_weight(node.graph, array, name)
    if bypass(node, stored):
        value.name = None
        stored.name = name


def _known_numbers(node: onnx_ir.Node, graph: onnx_ir.Graph) -> Array | None:
    """What a node computes from shapes, if all the numbers that it takes are fixed."""
    if node.outputs[0].is_graph_output():
        return None
    sizes = _sizes(node)
    if sizes is None:
        measured = maker_of(input_of(node, 0), graph, "Shape")
        sizes = None if measured is None else _picked(node, _sizes(measured))
    if sizes is None or not all(isinstance(size, int) for size in sizes.reshape(-1)):
        return None
    known: Array = np.array(np.prod(sizes) if node.op_type == "Size" else sizes, np.int64)
    return known


def _sizes(node: onnx_ir.Node) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    """The sizes, known or symbolic, that a Shape or Size node measures."""
    value = node.inputs[0]
    dims = None if value is None else dims_of(value)
    if dims is None or node.op_type not in ("Shape", "Size"):
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims))
    return np.array(dims, dtype=object)[start:end]


def _picked(
    node: onnx_ir.Node, sizes: np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    """Those of a measured shape's sizes that a Gather or Slice takes."""
    if sizes is None:
        return None
    if node.op_type == "Gather":
        indices = array_of(input_of(node, 1))
        inside = indices is not None and {*indices.flat} <= {*range(-len(sizes), len(sizes))}
        return np.array(sizes[indices], dtype=object) if inside else None
    starts, ends = integers(node, 1), integers(node, 2)
    steps = integers(node, 4) if input_of(node, 4) is not None else (1,)
    if starts is None or ends is None or steps is None or steps[0] < 1:
        return None
    return sizes[starts[0] : ends[0] : steps[0]]
