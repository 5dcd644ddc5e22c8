"""Read an ONNX file, check it, and say exactly why when it cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import InlinePass
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs.flow import trace_flow
from edgewise.graphs.model import (
    NEWEST_IR_VERSION,
    OLDEST_IR_VERSION,
    Model,
    digest_of,
    serialise,
    to_bytes,
    weight_bytes,
)
from edgewise.graphs.reading.checking import NATIVE_OPSET, check_file, opset_of
from edgewise.graphs.reading.external import external_tensors, load_external
from edgewise.graphs.reading.model_file import read_model_file
from edgewise.graphs.reading.torch_export import export_module, is_module
from edgewise.graphs.reading.upgrading import UPGRADED_OPSET, convert, prove_upgrade
from edgewise.graphs.sizes.shapes import infer_shapes
from edgewise.graphs.values import has_border_type, spec_of

if TYPE_CHECKING:
    from torch import Tensor, nn  # type: ignore[import-not-found,unused-ignore]

_WRONG_SHOWN = 3


def load(
    source: str | Path | bytes | nn.Module,
    *,
    example: Sequence[Tensor] | None = None,
    custom_ops: Sequence[str | Path] = (),
) -> Model:
    """Read and check a network.

    Symbolic axes stay symbolic and fixed axes fixed; a first axis without size or name is called
    ``batch``. Nodes without a name of their own get one, local functions are inlined, and
    initialisers that are also listed as inputs are weights, not inputs. Operators older than opset
    13 are upgraded to 17, and the upgrade is proved by running both; ``Model.changes`` tells.

    Args:
        source: the path of an ONNX file, its bytes, or a torch module.
        example: for a torch module, the tensors that one call takes, batch first.
        custom_ops: shared libraries that define operators of their own. They are native code that
            runs in this process: name only what you trust.

    Raises:
        BadInput: when there is no usable network; the message says what is wrong with it.

    >>> load("missing.onnx")
    Traceback (most recent call last):
    edgewise.errors.BadInput: expected an ONNX file at missing.onnx, found no such file; \
check the path
    """
    if is_module(source):
        return _load(lambda: export_module(source, example), None, "the exported module")
    libraries = tuple(map(Path, custom_ops))
    if isinstance(source, bytes):
        return _load(lambda: source, None, "the given bytes", custom_ops=libraries)
    path = Path(source)
    return _load(
        lambda: read_model_file(path), path.parent, str(path), name=path.stem, custom_ops=libraries
    )


def _load(
    read: Callable[[], bytes],
    folder: Path | None,
    where: str,
    *,
    name: str = "",
    custom_ops: tuple[Path, ...] = (),
) -> Model:
    try:
        return _read_and_check(read, folder, where, name=name, custom_ops=custom_ops)
    except (UnicodeError, onnx_ir.serde.SerdeError) as error:
        raise _unreadable(error, where) from None


def _read_and_check(
    read: Callable[[], bytes],
    folder: Path | None,
    where: str,
    *,
    name: str,
    custom_ops: tuple[Path, ...],
) -> Model:
    proto, digest = _parse(read(), where)  # the bytes end here: they are as large as the network
    digest = _bring_in_external(proto, digest, folder)
    check_file(proto, where, custom=bool(custom_ops))
    ir, changes = _normalise(proto, where, custom_ops)
    model = make_model(
        ir,
        name=name or proto.graph.name or "model",
        digest=digest,
        changes=changes,
        custom_ops=custom_ops,
    )
    if custom_ops:  # only the engine knows whether the libraries have the operators
        open_engine(to_bytes(model), custom_ops=custom_ops).close()
    return model


def make_model(
    ir: onnx_ir.Model,
    *,
    name: str,
    digest: str | None = None,
    changes: tuple[str, ...] = (),
    custom_ops: tuple[Path, ...] = (),
) -> Model:
    """Wrap a checked graph with known shapes; without a digest, that of its bytes is taken."""
    flow = trace_flow(ir.graph)
    return Model(
        digest=digest or digest_of(serialise(ir)),
        name=name,
        inputs=tuple(spec_of(value, role=flow.role_of(value)) for value in ir.graph.inputs),
        outputs=tuple(spec_of(value) for value in ir.graph.outputs),
        opset=ir.graph.opset_imports.get("", 0),
        weight_bytes=weight_bytes(ir.graph),
        metadata=MappingProxyType(dict(ir.metadata_props)),
        changes=changes,
        custom_ops=custom_ops,
        ir=ir,
    )


def _parse(raw: bytes, where: str) -> tuple[onnx.ModelProto, str]:
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
    return proto, digest_of(raw)


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


def _normalise(
    proto: onnx.ModelProto, where: str, custom_ops: tuple[Path, ...]
) -> tuple[onnx_ir.Model, tuple[str, ...]]:
    proto.ClearField("training_info")
    opset = opset_of(proto)
    ir, changes = _tidy(_read_graph(proto, where))
    if 0 < opset < NATIVE_OPSET:
        ir, _ = _tidy(_read_graph(convert(onnx_ir.to_proto(ir), where), where))
        changes = (f"opset {opset} upgraded to {UPGRADED_OPSET}", *changes)
    wrong = infer_shapes(ir, custom_ops=custom_ops)
    if wrong:
        told = ", ".join(map(repr, wrong[:_WRONG_SHOWN]))
        more = f" and {len(wrong) - _WRONG_SHOWN} more" if len(wrong) > _WRONG_SHOWN else ""
        changes = (*changes, f"stated shapes that its operators contradict dropped: {told}{more}")
    if 0 < opset < NATIVE_OPSET:
        prove_upgrade(proto, ir, where)
    return ir, changes


def _read_graph(proto: onnx.ModelProto, where: str) -> onnx_ir.Model:
    try:
        return onnx_ir.from_proto(proto)
    except Exception as error:
        raise _unreadable(error, where) from None


def _unreadable(error: Exception, where: str) -> BadInput:
    return BadInput(
        expected=f"an ONNX graph that can be read in {where}",
        found=" ".join(str(error.__cause__ or error).split())[:300],
        remedy="export it anew",
    )


def _tidy(ir: onnx_ir.Model) -> tuple[onnx_ir.Model, tuple[str, ...]]:
    """Bring a graph to the form that every stage expects; say what that took."""
    changes = (
        _counted(_inline(ir), "local function{} inlined"),
        _counted(_drop_weights_from_inputs(ir.graph), "weight{} no longer listed as input{}"),
        _counted(_drop_unused_inputs(ir.graph), "unused input{} without a tensor form dropped"),
    )
    ir.ir_version = min(max(ir.ir_version, OLDEST_IR_VERSION), NEWEST_IR_VERSION)
    _name_axes(ir.graph)
    _name_nodes(ir.graph)
    return ir, tuple(filter(None, changes))


def _counted(count: int, form: str) -> str:
    plural = "" if count == 1 else "s"
    return f"{count} {form.format(plural, plural)}" if count else ""


def _inline(ir: onnx_ir.Model) -> int:
    count = len(ir.functions)
    if count:
        try:
            InlinePass()(ir)
        except Exception as error:
            raise _unreadable(error, "the network") from None
    return count


def _drop_weights_from_inputs(graph: onnx_ir.Graph) -> int:
    real = [value for value in graph.inputs if value.name not in graph.initializers]
    return _keep_inputs(graph, real)


def _drop_unused_inputs(graph: onnx_ir.Graph) -> int:
    """Drop texts, sequences and optionals that nothing reads."""
    outputs = set(graph.outputs)
    kept = [
        value
        for value in graph.inputs
        if has_border_type(value) or value in outputs or any(True for _ in value.uses())
    ]
    return _keep_inputs(graph, kept)


def _keep_inputs(graph: onnx_ir.Graph, kept: list[onnx_ir.Value]) -> int:
    dropped = len(graph.inputs) - len(kept)
    if dropped:
        graph.inputs.clear()
        graph.inputs.extend(kept)
    return dropped


def _name_axes(graph: onnx_ir.Graph) -> None:
    """Name the inputs' open axes; older exporters write -1 or ``?`` for one without a name."""
    for value in graph.inputs:
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                _axis_name(value, axis) if _is_nameless(dim) else dim
                for axis, dim in enumerate(value.shape)
            )


def _is_nameless(dim: int | onnx_ir.SymbolicDim) -> bool:
    return dim < 0 if isinstance(dim, int) else dim.value in (None, "", "?")


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
