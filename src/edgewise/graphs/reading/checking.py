"""Check what an ONNX file claims before anything is built from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import onnx

from edgewise.errors import BadInput
from edgewise.graphs.reading.metadata import check_metadata
from edgewise.graphs.reading.stored import (
    check_stored,
    graphs_of,
    is_raw,
    nodes_of,
    stated_bytes,
    subgraphs_of,
)

NATIVE_OPSET = 13  # the first in which QuantizeLinear, Squeeze and the reductions have their form
OLDEST_OPSET = 7  # the first that onnxruntime supports, so that an upgrade can be proved
NEWEST_OPSET = 24
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # what onnxruntime runs by itself
_MAX_NODES = 1_000_000
_MAX_DEPTH = 50
_COPIED_MAX_BYTES = 65_536
_FIRST_IR_WITH_FREE_WEIGHTS = 4
_KINDS: Mapping[str, str] = {
    "sequence_type": "a sequence",
    "optional_type": "an optional",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
_Key = tuple[str, str]
_EXPORT = "export it with opset 17 (torch.onnx.export(…, opset_version=17))"


def check_file(proto: onnx.ModelProto, where: str, *, custom: bool = False) -> None:
    """Refuse a file whose parts contradict each other; its weights are already inside.

    Args:
        proto: as parsed.
        where: what messages call the file.
        custom: whether operators of unknown domains have a library.

    Raises:
        BadInput: with what is wrong.
    """
    _check_texts(proto, where)
    _check_opset(proto, where)
    if not custom:
        _check_domains(proto, where)
    if not (proto.graph.node and proto.graph.output):
        raise BadInput(
            expected=f"a network with operators and outputs in {where}",
            found="no operator" if proto.graph.output else "no output",
            remedy="export it anew",
        )
    _check_outputs(proto, where)
    check_metadata(proto)
    check_stored(proto)
    _check_axes(proto)
    _check_names(proto)
    _check_functions(proto)
    try:
        onnx.checker.check_model(_without_weights(proto))
    except Exception as error:  # ValidationError, and what the checker itself trips over
        raise BadInput(
            expected=f"a valid ONNX graph in {where}",
            found=" ".join(str(error).split())[:300].rstrip(".") or type(error).__name__,
            remedy="export it anew",
        ) from None


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of the standard operators; 0 when the file imports none."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return versions[0] if versions else 0


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights are inputs: the checker makes two copies of what it is given.

    It asks files before IR version 4 to list weights as inputs too; nobody else does.
    """
    bare = onnx.ModelProto(ir_version=max(proto.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS))
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    graph = bare.graph
    graph.name = proto.graph.name
    graph.node.extend(proto.graph.node)
    graph.input.extend(proto.graph.input)
    graph.output.extend(proto.graph.output)
    graph.value_info.extend(proto.graph.value_info)
    listed = {value.name for value in graph.input}
    for tensor in proto.graph.initializer:
        if not is_raw(tensor) or stated_bytes(tensor) <= _COPIED_MAX_BYTES:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return bare


def _check_outputs(proto: onnx.ModelProto, where: str) -> None:
    for value in proto.graph.output:
        kind = value.type.WhichOneof("value")
        if kind in _KINDS:
            maps = kind == "sequence_type" and _is_map(value.type.sequence_type.elem_type)
            raise BadInput(
                expected=f"outputs of {where} that are tensors",
                found=f"{value.name[:80]!r}, {_KINDS[kind]}{' of maps' if maps else ''}",
                remedy="export it with zipmap=False (skl2onnx: options={'zipmap': False})"
                if maps
                else "export it with plain tensors at its border",
            )


def _is_map(kind: onnx.TypeProto) -> bool:
    return bool(kind.WhichOneof("value") == "map_type")


def _check_texts(proto: onnx.ModelProto, where: str) -> None:
    """Refuse texts that are no UTF-8; protobuf hands those out as bytes."""
    if not all(isinstance(text, str) for text in _texts(proto)):
        raise BadInput(
            expected=f"names and texts in UTF-8 in {where}",
            found="other bytes",
            remedy="export it anew",
        )


def _texts(proto: onnx.ModelProto) -> Iterator[object]:
    yield from (proto.producer_name, proto.producer_version, proto.domain, proto.doc_string)
    for entry in proto.metadata_props:
        yield from (entry.key, entry.value)
    yield from (entry.domain for entry in proto.opset_import)
    nodes = list(nodes_of(proto.graph.node))
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from function.attribute
        nodes += nodes_of(function.node)
    for graph in (proto.graph, *(graph for node in nodes for graph in subgraphs_of(node))):
        yield from (graph.name, graph.doc_string)
        yield from (tensor.name for tensor in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    versions = {(entry.domain or "ai.onnx", entry.version) for entry in proto.opset_import}
    domains = [domain for domain, _ in versions]  # saying the same again does no harm
    twice = {domain for domain in domains if domains.count(domain) > 1}
    if twice:
        raise BadInput(
            expected=f"one version of each set of operators in {where}",
            found=f"several of {sorted(twice)[0][:80]!r}",
            remedy="export it anew",
        )
    version = opset_of(proto)
    if "ai.onnx" in domains and not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise BadInput(
            expected=f"ONNX opset {OLDEST_OPSET} to {NEWEST_OPSET} in {where}",
            found=f"opset {version}",
            remedy=_EXPORT,
        )


def _check_domains(proto: onnx.ModelProto, where: str) -> None:
    local = {(function.domain, function.name) for function in proto.functions}
    graphs = [proto.graph.node, *(function.node for function in proto.functions)]
    for node in (node for nodes in graphs for node in nodes_of(nodes)):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in local:
            raise BadInput(
                expected=f"operators of ai.onnx, ai.onnx.ml or com.microsoft in {where}",
                found=f"{node.op_type[:80]!r} of the unknown domain {node.domain[:80]!r}",
                remedy="name the library that defines it (--custom-ops LIB, or custom_ops=[LIB] "
                "in Python), or export the network without custom operators",
            )


def _check_axes(proto: onnx.ModelProto) -> None:
    stored = {tensor.name for tensor in proto.graph.initializer}
    for kind, values in (("input", proto.graph.input), ("output", proto.graph.output)):
        for value in (value for value in values if value.name not in stored):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if dim.HasField("dim_value") and dim.dim_value == 0:
                    raise BadInput(
                        expected=f"axes of at least 1 in the {kind} {value.name[:80]!r}",
                        found=f"axis {axis} of size 0",
                        remedy="export the model with a real or a symbolic size",
                    )


def _check_names(proto: onnx.ModelProto) -> None:
    for graph in graphs_of(proto.graph):
        _once("initialiser", (tensor.name for tensor in graph.initializer))
        _once("input", (value.name for value in graph.input))
        _once("output", (value.name for value in graph.output))
        _once("result", (name for node in graph.node for name in node.output if name))
    _once("function", (f"{entry.domain}::{entry.name}" for entry in proto.functions))


def _once(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen or not name:
            raise BadInput(
                expected=f"a name of its own for every {kind}",
                found=f"{name[:80]!r} twice" if name else "one without a name",
                remedy="export the model anew",
            )
        seen.add(name)


def _check_functions(proto: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, or that grow beyond all measure when inlined."""
    functions = {(entry.domain, entry.name): entry for entry in proto.functions}
    sizes: dict[_Key, int] = {}

    def size_of(key: _Key, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise BadInput(
                expected=f"local functions nested at most {_MAX_DEPTH} deep, and none in a cycle",
                found=f"deeper calls at {key[1][:80]!r}",
                remedy="export the model without local functions",
            )
        if key not in sizes:
            sizes[key] = _expanded(functions[key].node, functions, size_of, depth + 1)
        return sizes[key]

    if _expanded(proto.graph.node, functions, size_of, 0) > _MAX_NODES:
        raise BadInput(
            expected=f"at most {_MAX_NODES} nodes once local functions are inlined",
            found="more",
            remedy="export the model without local functions",
        )


def _expanded(
    nodes: Iterable[onnx.NodeProto],
    functions: Mapping[_Key, onnx.FunctionProto],
    size_of: Callable[[_Key, int], int],
    depth: int,
) -> int:
    total = 0
    for node in nodes_of(nodes):
        key = (node.domain, node.op_type)
        total += 1 + (size_of(key, depth) if key in functions else 0)
    return total
