"""One network in memory: what it takes and gives, where it comes from, how it is written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from edgewise.errors import BadInput
from edgewise.tensors import TensorSpec

MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for one message
OLDEST_IR_VERSION = 8  # below 4, initialisers would have to be listed as inputs as well
NEWEST_IR_VERSION = 10  # the newest that onnxruntime, onnxruntime-web and OpenVINO all load

PREPARATION_KEY = "edgewise.preparation"
LABELS_KEY = "edgewise.labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A checked network with known shapes.

    Args:
        digest: SHA-256 (hexadecimal) of the file it was read from, external data included; for a
            network made in memory, of the bytes that :func:`to_bytes` gives.
        name: for people.
        inputs: what it takes; axes that may change are names.
        outputs: what it gives.
        opset: version of the ONNX operators.
        weight_bytes: bytes of all stored tensors, initialisers and Constant nodes.
        metadata: the file's key-value pairs.
        changes: what loading had to change, in words, such as an upgraded opset.
        made_from: digest of the network that this one was trimmed from; empty for an original.
        custom_ops: libraries of native code that define its own operators, named by the user.
        ir: the graph. Never change it: passes work on ``ir.clone()``.
    """

    digest: str
    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    weight_bytes: int
    metadata: Mapping[str, str] = field(compare=False)
    changes: tuple[str, ...] = field(default=(), compare=False)
    made_from: str = field(default="", compare=False)
    custom_ops: tuple[Path, ...] = field(default=(), compare=False)
    ir: onnx_ir.Model = field(compare=False, repr=False)

    @property
    def origin(self) -> str:
        """Digest of the file that somebody trained."""
        return self.made_from or self.digest


def to_bytes(model: Model) -> bytes:
    """The network as one ONNX file with all weights inside.

    Raises:
        BadInput: when it is over 2 GB, which one protobuf message cannot hold.
    """
    return serialise(model.ir)


def serialise(ir: onnx_ir.Model) -> bytes:
    """The ONNX file of a graph; the same graph gives the same bytes."""
    stored = weight_bytes(ir.graph)
    if stored > MAX_FILE_BYTES:
        raise _too_large(f"{stored} bytes of weights")
    try:
        raw: bytes = onnx_ir.to_proto(ir).SerializeToString(deterministic=True)
    except EncodeError:  # protobuf's own limit
        raise _too_large("more") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _too_large(f"{len(raw)} bytes")
    return raw


def _too_large(found: str) -> BadInput:
    return BadInput(
        expected=f"a network of at most {MAX_FILE_BYTES} bytes",
        found=found,
        remedy="shrink it first (edgewise shrink MODEL)",
    )


def weight_bytes(graph: onnx_ir.Graph) -> int:
    """Bytes of all stored tensors: initialisers, and attributes of nodes; bodies included."""
    return sum(map(_stored_bytes, (graph, *graph.subgraphs())))


def _stored_bytes(graph: onnx_ir.Graph) -> int:
    """Bytes of those in a graph itself."""
    tensors = {id(v.const_value): v.const_value for v in graph.initializers.values()}
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type is onnx_ir.AttributeType.TENSOR:
                tensors[id(attribute.value)] = attribute.as_tensor()
    return sum(tensor.nbytes for tensor in tensors.values() if tensor is not None)


def digest_of(raw: bytes) -> str:
    """SHA-256 of some bytes, hexadecimal.

    >>> digest_of(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(raw).hexdigest()


def save(model: Model, path: str | Path) -> None:
    """Write the network to an ONNX file; an older file stays whole until the new one is.

    Raises:
        BadInput: when the place cannot be written.
    """
    target = Path(path)
    raw = to_bytes(model)
    try:
        _replace(target, raw)
    except OSError as error:
        raise BadInput(
            expected=f"a place to write {target}",
            found=error.strerror or "an error",
            remedy="check that the folder exists, is writable and has room",
        ) from None


def _replace(target: Path, raw: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
