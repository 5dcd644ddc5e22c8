"""Read tensors that an ONNX file keeps in files beside it; trust nothing about them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from edgewise.errors import BadInput
from edgewise.graphs.model import MAX_FILE_BYTES
from edgewise.graphs.reading.model_file import open_beside, read_all
from edgewise.graphs.reading.stored import stated_bytes, tensors_of


def external_tensors(proto: onnx.ModelProto) -> tuple[onnx.TensorProto, ...]:
    """Every tensor of a model that is kept in another file."""
    return tuple(
        tensor
        for tensor in tensors_of(proto)
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
    )


def load_external(tensors: tuple[onnx.TensorProto, ...], folder: Path) -> str:
    """Bring the tensors into the model.

    Args:
        tensors: those that :func:`external_tensors` found; they are changed in place.
        folder: where the model lies; nothing outside it is read, and no link is followed.

    Returns:
        A digest (SHA-256, hexadecimal) over the names and whole contents of the files.

    Raises:
        BadInput: when a file lies outside the folder, is a link, is missing, or is shorter than
            it should be; when a tensor's length is not that of its type and dimensions.
    """
    wanted_bytes = sum(map(stated_bytes, tensors))
    _check_total(wanted_bytes, folder)
    files: dict[str, bytes] = {}
    room_bytes = MAX_FILE_BYTES
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in files:
            with open_beside(location, folder) as (descriptor, size_bytes):
                _check_total(MAX_FILE_BYTES - room_bytes + size_bytes, folder)
                files[location] = read_all(descriptor, size_bytes)
                room_bytes -= size_bytes
        _fill(tensor, entries, files[location])
    return _digest(files)


def _check_total(total_bytes: int, folder: Path) -> None:
    if total_bytes > MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {MAX_FILE_BYTES} bytes of external data in {folder}",
            found=f"{total_bytes} bytes",
            remedy="shrink the model first",
        )


def _fill(tensor: onnx.TensorProto, entries: dict[str, str], data: bytes) -> None:
    wanted = stated_bytes(tensor)
    start = _number(entries.get("offset", "0"), tensor)
    length = _number(entries.get("length", str(wanted)), tensor)
    if length != wanted:
        raise BadInput(
            expected=f"{wanted} bytes of external data for the tensor {tensor.name[:80]!r}",
            found=f"a length of {length} bytes",
            remedy="export the model anew",
        )
    if start + length > len(data):
        raise BadInput(
            expected=f"{start + length} bytes of external data for the tensor "
            f"{tensor.name[:80]!r}",
            found=f"a file of {len(data)} bytes",
            remedy="copy the data file again; it was cut short",
        )
    tensor.raw_data = data[start : start + length]
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.DEFAULT


def _number(text: str, tensor: onnx.TensorProto) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(
            expected=f"a number of bytes for the external tensor {tensor.name[:80]!r}",
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
