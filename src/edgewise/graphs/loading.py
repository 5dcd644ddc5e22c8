"""Read an ONNX file, check it, and say exactly why when it cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import InlinePass
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.errors import BadInput
from edgewise.graphs.external import external_tensors, load_external
from edgewise.graphs.flow import trace_flow
from edgewise.graphs.model import (
    MAX_FILE_BYTES,
    NEWEST_IR_VERSION,
    OLDEST_IR_VERSION,
    Model,
    digest_of,
    serialise,
)
from edgewise.graphs.shapes import infer_shapes
from edgewise.graphs.values import spec_of

OLDEST_OPSET = 13  # the first in which QuantizeLinear, Squeeze and the reductions have their form
NEWEST_OPSET = 24
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # what onnxruntime runs by itself


def load(source: str | Path | bytes) -> Model:
    """Read and check a network.

    Symbolic axes stay symbolic and fixed axes fixed; a first axis without size or name is called
    ``batch``. Nodes without a name of their own get one, local functions are inlined, and
    initialisers that are also listed as inputs are weights, not inputs.

    Args:
        source: the path of an ONNX file, or its bytes.

    Raises:
        BadInput: when there is no usable network; the message says what is wrong with it.

    >>> load("missing.onnx")
    Traceback (most recent call last):
    edgewise.errors.BadInput: expected an ONNX file at missing.onnx, found no such file; \
check the path
    """
    if isinstance(source, bytes):
        raw, folder, where = source, None, "the given bytes"
    else:
        path = Path(source)
        raw, folder, where = _read(path), path.parent, str(path)
    proto = _parse(raw, where)
    digest = _bring_in_external(proto, digest_of(raw), folder)
    _check(proto, where)
    name = proto.graph.name or "model" if isinstance(source, bytes) else Path(source).stem
    return make_model(_normalise(proto, where), name=name, digest=digest)


def make_model(ir: onnx_ir.Model, *, name: str, digest: str | None = None) -> Model:
    """Wrap a checked graph with known shapes; without a digest, that of its bytes is taken."""
    flow = trace_flow(ir.graph)
    return Model(
        digest=digest or digest_of(serialise(ir)),
        name=name,
        inputs=tuple(spec_of(value, role=flow.role_of(value)) for value in ir.graph.inputs),
        outputs=tuple(spec_of(value) for value in ir.graph.outputs),
        opset=ir.graph.opset_imports.get("", 0),
        weight_bytes=_weight_bytes(ir.graph),
        metadata=MappingProxyType(dict(ir.metadata_props)),
        ir=ir,
    )


def _read(path: Path) -> bytes:
    expected = f"an ONNX file at {path}"
    try:
        if path.is_dir():
            raise BadInput(expected=expected, found="a folder", remedy="name the file in it")
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise BadInput(
                expected=f"{expected} of at most {MAX_FILE_BYTES} bytes",
                found=f"{size_bytes} bytes",
                remedy="export it with external data",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(expected=expected, found="no such file", remedy="check the path") from None
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "an unusable path"
        raise BadInput(expected=expected, found=found, remedy="check the path") from None


def _parse(raw: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    if not raw:
        raise BadInput(
            expected=f"an ONNX network in {where}",
            found="no bytes at all",
            remedy="export it anew",
        )
    try:
        proto.ParseFromString(raw)
        recognised = proto.ir_version > 0 and proto.HasField("graph")
    except DecodeError:
        recognised = False
    if not recognised:
        raise BadInput(
            expected=f"an ONNX network in {where}",
            found="bytes that are not ONNX, or a file cut short",
            remedy="export the network to ONNX (torch.onnx.export, tf2onnx, …)",
        )
    return proto


def _bring_in_external(proto: onnx.ModelProto, digest: str, folder: Path | None) -> str:
    tensors = external_tensors(proto)
    if not tensors:
        return digest
    if folder is None:
        raise BadInput(
            expected="a network whose weights are inside the given bytes",
            found=f"external data in {tensors[0].external_data[0].value!r}"
            if tensors[0].external_data
            else "external data",
            remedy="pass the path of the file instead",
        )
    beside = load_external(tensors, folder)
    return hashlib.sha256(f"{digest}:{beside}".encode()).hexdigest()


def _check(proto: onnx.ModelProto, where: str) -> None:
    _check_opset(proto, where)
    _check_domains(proto, where)
    if not (proto.graph.node and proto.graph.output):
        raise BadInput(
            expected=f"a network with operators and outputs in {where}",
            found=f"{len(proto.graph.node)} operators and {len(proto.graph.output)} outputs",
            remedy="export it anew",
        )
    _check_axes(proto)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(
            expected=f"a valid ONNX graph in {where}",
            found=" ".join(str(error).split())[:300],
            remedy="export it anew",
        ) from None


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if versions and not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        raise BadInput(
            expected=f"ONNX opset {OLDEST_OPSET} to {NEWEST_OPSET} in {where}",
            found=f"opset {versions[0]}",
            remedy="export it with opset 17 (torch.onnx.export(…, opset_version=17))",
        )


def _check_domains(proto: onnx.ModelProto, where: str) -> None:
    local = {(function.domain, function.name) for function in proto.functions}
    graphs = [proto.graph.node, *(function.node for function in proto.functions)]
    for node in (node for nodes in graphs for node in _with_subgraphs(nodes)):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in local:
            raise BadInput(
                expected=f"operators of ai.onnx, ai.onnx.ml or com.microsoft in {where}",
                found=f"{node.op_type!r} of the unknown domain {node.domain!r}",
                remedy="export the network without custom operators",
            )


def _with_subgraphs(nodes: object) -> Iterator[onnx.NodeProto]:
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _with_subgraphs(graph.node)


def _check_axes(proto: onnx.ModelProto) -> None:
    for kind, values in (("input", proto.graph.input), ("output", proto.graph.output)):
        for value in values:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if dim.HasField("dim_value") and dim.dim_value < 1:
                    raise BadInput(
                        expected=f"axes of at least 1 in the {kind} {value.name!r}",
                        found=f"axis {axis} of size {dim.dim_value}",
                        remedy="export the model with a real or a symbolic size",
                    )


def _normalise(proto: onnx.ModelProto, where: str) -> onnx_ir.Model:
    try:
        ir = onnx_ir.from_proto(proto)
        if ir.functions:
            InlinePass()(ir)
    except Exception as error:
        raise BadInput(
            expected=f"an ONNX graph that can be read in {where}",
            found=" ".join(str(error.__cause__ or error).split())[:300],
            remedy="export it anew",
        ) from None
    ir.ir_version = min(max(ir.ir_version, OLDEST_IR_VERSION), NEWEST_IR_VERSION)
    _drop_weights_from_inputs(ir.graph)
    _name_axes(ir.graph)
    _name_nodes(ir.graph)
    infer_shapes(ir)
    return ir


def _drop_weights_from_inputs(graph: onnx_ir.Graph) -> None:
    real = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(real) < len(graph.inputs):
        graph.inputs.clear()
        graph.inputs.extend(real)


def _name_axes(graph: onnx_ir.Graph) -> None:
    for value in graph.inputs:
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                dim if isinstance(dim, int) or dim.value else _axis_name(value, axis)
                for axis, dim in enumerate(value.shape)
            )


def _axis_name(value: onnx_ir.Value, axis: int) -> str:
    return "batch" if axis == 0 else f"{value.name}_axis{axis}"


def _name_nodes(graph: onnx_ir.Graph) -> None:
    nodes = list(RecursiveGraphIterator(graph))
    taken = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    for index, node in enumerate(nodes):
        name = node.name or f"{node.op_type}_{index}"
        while name in seen or (name != node.name and name in taken):
            name = f"{name}_{index}"
        node.name = name
        seen.add(name)


def _weight_bytes(graph: onnx_ir.Graph) -> int:
    tensors = {id(v.const_value): v.const_value for v in graph.initializers.values()}
    for node in RecursiveGraphIterator(graph):
        for attribute in node.attributes.values():
            if attribute.type is onnx_ir.AttributeType.TENSOR:
                tensors[id(attribute.value)] = attribute.as_tensor()
    return sum(tensor.nbytes for tensor in tensors.values() if tensor is not None)
