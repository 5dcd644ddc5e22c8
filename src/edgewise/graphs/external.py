"""Read tensors that an ONNX file keeps in files beside it; trust nothing about them."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx

from edgewise.errors import BadInput
from edgewise.graphs.model import MAX_FILE_BYTES


def external_tensors(proto: onnx.ModelProto) -> tuple[onnx.TensorProto, ...]:
    """Every tensor of a model that is kept in another file."""
    return tuple(
        tensor
        for tensor in _tensors(proto.graph)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    )


def load_external(tensors: tuple[onnx.TensorProto, ...], folder: Path) -> str:
    """Bring the tensors into the model.

    Args:
        tensors: those that :func:`external_tensors` found; they are changed in place.
        folder: where the model lies; nothing outside it is read.

    Returns:
        A digest (SHA-256, hexadecimal) over the names and whole contents of the files.

    Raises:
        BadInput: when a file lies outside the folder, is missing, or is shorter than it should be.
    """
    files: dict[str, bytes] = {}
    total_bytes = 0
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in files:
            path = _inside(location, folder)
            total_bytes += path.stat().st_size
            _check_total(total_bytes, folder)
            files[location] = path.read_bytes()
        _fill(tensor, entries, files[location])
    return _digest(files)


def _inside(location: str, folder: Path) -> Path:
    relative = PurePosixPath(location)
    path = folder / relative
    escapes = not location or relative.is_absolute() or ".." in relative.parts or "\\" in location
    if escapes or not path.resolve().is_relative_to(folder.resolve()):
        raise BadInput(
            expected="external data inside the model's folder",
            found=repr(location[:200]),
            remedy="put the data file beside the model and export with a relative path",
        )
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        raise BadInput(
            expected=f"the model's external data in {location[:200]!r}",
            found="no such file",
            remedy="copy the data file into the model's folder",
        )
    return path


def _check_total(total_bytes: int, folder: Path) -> None:
    if total_bytes > MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {MAX_FILE_BYTES} bytes of external data in {folder}",
            found=f"{total_bytes} bytes",
            remedy="shrink the model first",
        )


def _fill(tensor: onnx.TensorProto, entries: dict[str, str], data: bytes) -> None:
    start = _number(entries.get("offset", "0"), tensor)
    length = _number(entries.get("length", str(max(0, len(data) - start))), tensor)
    if start + length > len(data):
        raise BadInput(
            expected=f"{start + length} bytes of external data for the tensor {tensor.name!r}",
            found=f"a file of {len(data)} bytes",
            remedy="copy the data file again; it was cut short",
        )
    tensor.raw_data = data[start : start + length]
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.DEFAULT


def _number(text: str, tensor: onnx.TensorProto) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(
            expected=f"a number of bytes for the external tensor {tensor.name!r}",
            found=repr(text[:50]),
            remedy="export the model anew",
        )
    return int(text)


def _digest(files: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for location in sorted(files):
        total.update(f"{len(location)}:{location}:{len(files[location])}:".encode())
        total.update(files[location])
    return total.hexdigest()


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _tensors(subgraph)
