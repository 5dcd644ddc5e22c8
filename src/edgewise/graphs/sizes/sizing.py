"""Work out the shape of every value once the inputs' sizes are numbers.

One walk over the graph. Each node's shapes come from onnx's own inference for that node; a value
that is small and known (a Shape, and what is computed from it) is computed, because the target of
a Reshape is often such a value. So shapes are found through chains that inference on the whole
graph gives up on. Operators that onnx does not define are asked of onnxruntime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edgewise.errors import BadInput
from edgewise.graphs.sizes.bodies import has_bodies, size_control_flow
from edgewise.graphs.sizes.scopes import Scope, dims_of_type, type_of_tensor
from edgewise.graphs.sizes.single_nodes import ForeignNodes, evaluate

KNOWN_MAX_ELEMENTS = 4096  # shapes, pads and indices are small; weights are not our business
_TEXT = onnx.TensorProto.STRING


class Sizer:
    """Walks graphs of one model.

    Args:
        model: the model; weights may stand as inputs with a shape.
        foreign: how operators that onnx does not define are sized.
    """

    def __init__(self, model: onnx.ModelProto, foreign: ForeignNodes) -> None:
        self.model = model
        self.foreign = foreign
        self._stated = {value.name: value.type for value in model.graph.value_info}
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._schemas: dict[tuple[str, str], onnx.defs.OpSchema | None] = {}

    def run(self, sizes: Mapping[str, int]) -> Scope:
        """Size the whole graph with the inputs' symbolic axes set to ``sizes``.

        Raises:
            BadInput: when operators do not fit together at these sizes.
        """
        scope = Scope()
        for value in self.model.graph.input:
            kind = onnx.TypeProto()
            kind.CopyFrom(value.type)
            for dim in kind.tensor_type.shape.dim:
                if dim.dim_param in sizes:
                    dim.dim_value = sizes[dim.dim_param]
            scope.types[value.name] = kind
        self.walk(self.model.graph, scope)
        return scope

    def walk(self, graph: onnx.GraphProto, scope: Scope) -> None:
        """Size every node of a graph whose inputs are in ``scope``."""
        for tensor in graph.initializer:
            scope.types[tensor.name] = type_of_tensor(tensor)
            if _is_small(tensor):
                scope.known[tensor.name] = tensor
        for node in graph.node:
            self._size_node(node, scope)

    def _size_node(self, node: onnx.NodeProto, scope: Scope) -> None:
        if node.op_type == "Shape" and not node.domain and _measure(node, scope):
            return
        if has_bodies(node):
            scope.types.update(size_control_flow(self, node, scope))
            return
        found = self._infer(node, scope)
        scope.types.update({name: kind for name, kind in found.items() if name})
        self._fall_back(node, scope)
        self._compute(node, scope)

    def _fall_back(self, node: onnx.NodeProto, scope: Scope) -> None:
        """Where inference has nothing, believe the shape that the file states, if it is fixed."""
        for name in node.output:
            stated = self._stated.get(name) if scope.outer is None else None
            if stated is not None and scope.dims_of(name) is None:
                scope.types[name] = stated

    def _infer(self, node: onnx.NodeProto, scope: Scope) -> Mapping[str, onnx.TypeProto]:
        types = {name: kind for name in node.input if name and (kind := scope.type_of(name))}
        known = {name: data for name in node.input if name and (data := scope.known_of(name))}
        schema = self._schema(node)
        if schema is None:
            return self.foreign.size(node, types, known)
        if len(types) < len({name for name in node.input if name}):
            return {}
        try:
            return onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                types,
                known,
                opset_imports=list(self.model.opset_import),
                ir_version=self.model.ir_version,
            )
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
            raise BadInput(
                expected="operators whose shapes and types fit together",
                found=f"{node.op_type} node {node.name[:80]!r}: "
                + " ".join(str(error).split())[:300],
                remedy="export the model anew, or state other sizes",
            ) from None

    def _schema(self, node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
        domain = "" if node.domain == "ai.onnx" else node.domain
        key = (domain, node.op_type)
        if key not in self._schemas:
            try:
                version = self._opsets.get(domain, self._opsets.get(node.domain, 1))
                self._schemas[key] = onnx.defs.get_schema(node.op_type, version, domain)
            except onnx.defs.SchemaError:
                self._schemas[key] = None
        return self._schemas[key]

    def _compute(self, node: onnx.NodeProto, scope: Scope) -> None:
        """Compute the outputs of a node whose inputs are known, when they are small numbers."""
        if node.op_type == "Constant":
            _keep_constant(node, scope)
            return
        known = {name: scope.known_of(name) for name in node.input if name}
        if not known or any(tensor is None for tensor in known.values()):
            return
        if self._schema(node) is None or not all(
            _may_compute(name, scope) for name in node.output
        ):
            return
        arrays = {name: numpy_helper.to_array(tensor) for name, tensor in known.items() if tensor}
        for name, array in evaluate(node, arrays, self.model).items():
            if array.size <= KNOWN_MAX_ELEMENTS:
                scope.learn(name, array)


def _is_small(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type != _TEXT and math.prod(tensor.dims) <= KNOWN_MAX_ELEMENTS


def _measure(node: onnx.NodeProto, scope: Scope) -> bool:
    """The contents of a Shape, when all axes that it takes are known."""
    dims = scope.dims_of(node.input[0])
    if dims is None:
        return False
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    taken = dims[bounds.get("start", 0) : bounds.get("end")]
    if not all(isinstance(dim, int) for dim in taken):
        return False
    scope.learn(node.output[0], np.array(taken, np.int64))
    return True


def _keep_constant(node: onnx.NodeProto, scope: Scope) -> None:
    for attribute in node.attribute:
        if attribute.name == "value" and _is_small(attribute.t):
            scope.known[node.output[0]] = attribute.t
        elif attribute.name in ("value_int", "value_ints"):
            whole = attribute.i if attribute.name == "value_int" else list(attribute.ints)
            scope.learn(node.output[0], np.array(whole, np.int64))
        elif attribute.name in ("value_float", "value_floats"):
            real = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            scope.learn(node.output[0], np.array(real, np.float32))


def _may_compute(name: str, scope: Scope) -> bool:
    kind = scope.type_of(name) if name else None
    dims = None if kind is None else dims_of_type(kind)
    if kind is None or dims is None or kind.tensor_type.elem_type == _TEXT:
        return False
    sizes = [dim for dim in dims if isinstance(dim, int)]
    return len(sizes) == len(dims) and math.prod(sizes) <= KNOWN_MAX_ELEMENTS
