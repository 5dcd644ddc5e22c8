"""Size the subgraphs of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import onnx
from onnx import numpy_helper

from edgewise.errors import BadInput
from edgewise.graphs.sizes.scopes import Body, Scope, dims_of_type

_Types = dict[str, onnx.TypeProto]


class Walker(Protocol):
    """What sizes the nodes of a graph."""

    def walk(self, graph: onnx.GraphProto, scope: Scope) -> None:
        """Size every node of a graph whose inputs are in ``scope``."""


def has_bodies(node: onnx.NodeProto) -> bool:
    """Whether a node has subgraphs."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def size_control_flow(walker: Walker, node: onnx.NodeProto, scope: Scope) -> _Types:
    """The types of the outputs of a node with subgraphs, as far as they are known.

    Its bodies are noted in ``scope``. Of an If whose condition is known, only the branch that
    runs is looked at; else those whose operators fit together at these sizes. A Loop whose values
    change shape from one turn to the next has unknown axes.
    """
    size = {"If": _size_if, "Loop": _size_loop, "Scan": _size_scan}.get(node.op_type)
    return {} if size is None or node.domain not in ("", "ai.onnx") else size(walker, node, scope)


def _size_if(walker: Walker, node: onnx.NodeProto, scope: Scope) -> _Types:
    branches = _graphs(node)
    condition = scope.chosen(node.input[0])
    names: tuple[str, ...] = ("then_branch", "else_branch")
    if condition is not None:
        names = names[:1] if condition else names[1:]
    bodies = _fitting(walker, [branches[name] for name in names], scope)
    _note(node, scope, bodies)
    results = [_results(body) for body in bodies]
    return {
        name: kind
        for index, name in enumerate(node.output)
        if name and (kind := _common([result[index] for result in results])) is not None
    }


def _fitting(
    walker: Walker, branches: Sequence[onnx.GraphProto], scope: Scope
) -> tuple[Body, ...]:
    """The branches whose operators fit together; one for inputs of another size cannot run."""
    bodies: list[Body] = []
    refusal: BadInput | None = None
    for graph in branches:
        try:
            bodies.append(_walk(walker, graph, scope, {}, times=1))
        except BadInput as error:
            refusal = error
    if refusal is not None and not bodies:
        raise refusal
    return tuple(bodies)


def _size_loop(walker: Walker, node: onnx.NodeProto, scope: Scope) -> _Types:
    graph = _graphs(node)["body"]
    carried = [scope.type_of(name) if name else None for name in node.input[2:]]
    number = onnx.helper.make_tensor_type_proto(onnx.TensorProto.INT64, [])
    flag = onnx.helper.make_tensor_type_proto(onnx.TensorProto.BOOL, [])
    times = _turns(node, graph, scope)
    kinds: list[onnx.TypeProto | None] = [number, flag, *carried]
    body = _walk(walker, graph, scope, _named(graph, kinds), times=times)
    after = _results(body)[1 : 1 + len(carried)]
    steady = [_common([a, b]) for a, b in zip(carried, after, strict=True)]
    if any(a != b for a, b in zip(carried, steady, strict=True)):
        body = _walk(walker, graph, scope, _named(graph, [number, flag, *steady]), times=times)
        after = _results(body)[1 : 1 + len(carried)]
        steady = [_common([a, b]) for a, b in zip(steady, after, strict=True)]
    _note(node, scope, (body,))
    stacked = [_stack(kind, times, 0) for kind in _results(body)[1 + len(carried) :]]
    return _outputs(node, [*steady, *stacked])


def _turns(node: onnx.NodeProto, graph: onnx.GraphProto, scope: Scope) -> int | None:
    """How often a Loop runs, when its count is known and its condition never ends it."""
    most = scope.known_of(node.input[0]) if node.input and node.input[0] else None
    start = node.input[1] if len(node.input) > 1 else ""
    if most is None or (start and scope.chosen(start) is not True):
        return None
    sources = {name: step for step in graph.node for name in step.output}
    goes_on = graph.output[0].name
    while goes_on in sources and sources[goes_on].op_type in ("Identity", "Cast"):
        goes_on = sources[goes_on].input[0]
    kept = goes_on == graph.input[1].name or goes_on == start or _is_true(goes_on, sources, graph)
    return max(0, int(numpy_helper.to_array(most).item())) if kept else None


def _is_true(name: str, sources: Mapping[str, onnx.NodeProto], graph: onnx.GraphProto) -> bool:
    stored = [tensor for tensor in graph.initializer if tensor.name == name]
    if name in sources and sources[name].op_type == "Constant":
        stored = [entry.t for entry in sources[name].attribute if entry.name == "value"]
    return any(bool(numpy_helper.to_array(tensor).all()) for tensor in stored)


def _size_scan(walker: Walker, node: onnx.NodeProto, scope: Scope) -> _Types:
    graph = _graphs(node)["body"]
    numbers = {entry.name: entry for entry in node.attribute}
    read = numbers["num_scan_inputs"].i
    states = len(node.input) - read
    axes = list(numbers["scan_input_axes"].ints) if "scan_input_axes" in numbers else [0] * read
    kinds = [scope.type_of(name) for name in node.input]
    slices = [_slice(kind, axis) for kind, axis in zip(kinds[states:], axes, strict=True)]
    times = next((length for _, length in slices if length is not None), None)
    given = _named(graph, [*kinds[:states], *(kind for kind, _ in slices)])
    body = _walk(walker, graph, scope, given, times=times)
    _note(node, scope, (body,))
    results = _results(body)
    made = len(results) - states
    ends = list(numbers["scan_output_axes"].ints) if "scan_output_axes" in numbers else [0] * made
    steady = [_common([a, b]) for a, b in zip(kinds[:states], results[:states], strict=True)]
    stacked = [
        _stack(kind, times, axis) for kind, axis in zip(results[states:], ends, strict=True)
    ]
    return _outputs(node, [*steady, *stacked])


def _graphs(node: onnx.NodeProto) -> Mapping[str, onnx.GraphProto]:
    return {entry.name: entry.g for entry in node.attribute if entry.HasField("g")}


def _walk(
    walker: Walker, graph: onnx.GraphProto, outer: Scope, types: _Types, *, times: int | None
) -> Body:
    scope = Scope(outer=outer, types=dict(types))
    walker.walk(graph, scope)
    return Body(graph=graph, scope=scope, times=times)


def _note(node: onnx.NodeProto, scope: Scope, bodies: tuple[Body, ...]) -> None:
    scope.bodies[next(filter(None, node.output), "")] = bodies


def _named(graph: onnx.GraphProto, kinds: Iterable[onnx.TypeProto | None]) -> _Types:
    """The body's inputs, each with a type if there is one; what a name meant outside is hidden."""
    pairs = zip(graph.input, kinds, strict=False)
    return {value.name: onnx.TypeProto() if kind is None else kind for value, kind in pairs}


def _results(body: Body) -> list[onnx.TypeProto | None]:
    return [body.scope.type_of(value.name) for value in body.graph.output]


def _outputs(node: onnx.NodeProto, kinds: Iterable[onnx.TypeProto | None]) -> _Types:
    pairs = zip(node.output, kinds, strict=False)
    return {name: kind for name, kind in pairs if name and kind is not None}


def _common(kinds: list[onnx.TypeProto | None]) -> onnx.TypeProto | None:
    """What several types agree on: an axis that differs is unknown, so is a rank."""
    first = kinds[0]
    if first is None or any(kind is None for kind in kinds):
        return None
    if all(kind == first for kind in kinds):
        return first
    if any(kind.tensor_type.elem_type != first.tensor_type.elem_type for kind in kinds if kind):
        return None
    shapes = [dims_of_type(kind) for kind in kinds if kind]
    if any(shape is None or len(shape) != len(shapes[0] or ()) for shape in shapes):
        return onnx.helper.make_tensor_type_proto(first.tensor_type.elem_type, None)
    agreed = [
        dims[0] if len(set(dims)) == 1 and dims[0] != "?" else None
        for dims in zip(*(shape for shape in shapes if shape is not None), strict=True)
    ]
    return onnx.helper.make_tensor_type_proto(first.tensor_type.elem_type, agreed)


def _slice(kind: onnx.TypeProto | None, axis: int) -> tuple[onnx.TypeProto | None, int | None]:
    """The type of one slice, and how many there are."""
    dims = None if kind is None else dims_of_type(kind)
    if kind is None or not dims or not -len(dims) <= axis < len(dims):
        return None, None
    rest = list(dims)
    length = rest.pop(axis)
    sizes = [dim if isinstance(dim, int) else None for dim in rest]
    inner = onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, sizes)
    return inner, length if isinstance(length, int) else None


def _stack(kind: onnx.TypeProto | None, times: int | None, axis: int) -> onnx.TypeProto | None:
    dims = None if kind is None else dims_of_type(kind)
    if kind is None or dims is None:
        return None
    sizes = [dim if isinstance(dim, int) else None for dim in dims]
    sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, times)
    return onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, sizes)
