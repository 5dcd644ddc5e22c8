"""One frame everywhere: an Open Inference Protocol JSON header, then raw little-endian tensors.

Over HTTP the header's length stands in ``Inference-Header-Content-Length``, and the digest of the
bundle in ``Edgewise-Bundle``. Nothing is copied or allocated while reading: tensors are views into
the body, and every declared size is checked against the body and the bundle's bounds first.

Source of the format: Open Inference Protocol v2, "Binary Tensor Data Extension".
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgewise.bounds import TENSOR_NAME, Bound
from edgewise.errors import BadInput
from edgewise.records import parse_json
from edgewise.tensors import NUMPY_DTYPES, OIP_DATATYPES, Array, dtype_name

HEADER_LENGTH_FIELD = "Inference-Header-Content-Length"
DIGEST_FIELD = "Edgewise-Bundle"
MAX_HEADER_BYTES = 65_536
MAX_TENSORS = 64
MAX_RANK = 16
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.\-]{0,256}")
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_REMEDY = "send frames as the bundle's manifest describes them"

Parameters = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a reply: named tensors with a few parameters.

    Args:
        tensors: arrays by name, in the order of the wire.
        id: chosen by the device, returned by the server.
        parameters: route, cut, deadline and the like.
        model: name of the bundle; only replies carry it.
        version: of the bundle; likewise.
    """

    tensors: Mapping[str, Array]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Bytes of a message and the length of the JSON header they start with."""

    body: bytes
    header_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """One tensor as the JSON header declares it, checked for sense."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A checked JSON header; no tensor has been touched yet.

    Args:
        tensors: in the order of their bytes.
        id: what the client calls the request.
        parameters: of the request or the reply.
        model: named by a reply.
        outputs: what a request asks for, as it stands there and unchecked.
    """

    tensors: tuple[TensorHeader, ...]
    id: str
    parameters: Parameters
    model: str
    version: str
    outputs: object = ()


def encode_request(message: Message) -> Frame:
    """The frame of a request.

    >>> frame = encode_request(Message(tensors={"x": np.zeros((1, 2), np.float32)}, id="7"))
    >>> len(frame.body) - frame.header_bytes
    8
    """
    parameters: dict[str, Any] = {**message.parameters, "binary_data_output": True}
    header = {
        **({"id": message.id} if message.id else {}),
        "parameters": parameters,
        "inputs": [_describe(name, array) for name, array in message.tensors.items()],
    }
    return _frame(header, message, "inputs")


def encode_reply(message: Message) -> Frame:
    """The frame of a reply."""
    words = {key: value for key, value in message.parameters.items() if isinstance(value, str)}
    if not _PLAIN_ID.fullmatch(message.id) or len(words) != len(message.parameters):
        return _frame(_binary_reply_header(message), message, "outputs")
    head = _reply_head(
        message.model,
        message.version,
        tuple(words.items()),
        tuple((name, x.dtype, x.shape) for name, x in message.tensors.items()),
    )
    if message.id:
        start = head.index(b",")
        head = b'%b,"id":"%b"%b' % (head[:start], message.id.encode(), head[start:])
    body = b"".join([head, *(raw_bytes(array) for array in message.tensors.values())])
    return Frame(body=body, header_bytes=len(head))


def reply_header(message: Message, outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON of a reply around its outputs, however they are written.

    >>> reply_header(Message(tensors={}, model="m", version="2"), [])
    {'model_name': 'm', 'model_version': '2', 'outputs': []}
    """
    return {
        "model_name": message.model,
        **({"id": message.id} if message.id else {}),
        **({"model_version": message.version} if message.version else {}),
        **({"parameters": dict(message.parameters)} if message.parameters else {}),
        "outputs": outputs,
    }


def raw_bytes(array: Array) -> bytes:
    """The elements of a tensor as they stand in a frame.

    >>> raw_bytes(np.array([1, 256], ">u2")).hex()
    '01000001'
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _binary_reply_header(message: Message) -> dict[str, Any]:
    outputs = [_describe(name, array) for name, array in message.tensors.items()]
    return reply_header(message, outputs)


@functools.lru_cache(maxsize=256)
def _reply_head(
    model: str,
    version: str,
    parameters: tuple[tuple[str, str], ...],
    tensors: tuple[tuple[str, np.dtype[np.generic], tuple[int, ...]], ...],
) -> bytes:
    """The JSON of a reply without an id: a server writes the same again and again."""
    empty = {name: np.broadcast_to(np.zeros((), dtype), shape) for name, dtype, shape in tensors}
    header = _binary_reply_header(
        Message(tensors=empty, parameters=dict(parameters), model=model, version=version)
    )
    head = _COMPACT.encode(header).encode()
    total = len(head) + sum(array.nbytes for array in empty.values())
    read_header(head, body_bytes=total, key="outputs")  # as in _frame
    return head


def read_header(raw: bytes | memoryview, *, body_bytes: int | None, key: str) -> Header:
    """Check a JSON header before any tensor is looked at.

    Args:
        raw: the header's bytes alone.
        body_bytes: length of header and tensors together; ``None`` while nobody knows it.
        key: ``inputs`` for a request, ``outputs`` for a reply.

    Raises:
        BadInput: when anything declared does not add up.
    """
    if not 0 < len(raw) <= MAX_HEADER_BYTES:
        raise _refusal(f"a header of 1 to {MAX_HEADER_BYTES} bytes", f"{len(raw)} bytes")
    data = parse_json(bytes(raw), where="the frame's header", max_bytes=MAX_HEADER_BYTES)
    if not isinstance(data, dict):
        raise _refusal("a JSON object as header", type(data).__name__)
    tensors = _read_tensors(data.get(key), key)
    total = len(raw) + sum(tensor.nbytes for tensor in tensors)
    if body_bytes not in (None, total):
        raise _refusal(f"a body of {total} bytes, as the header declares", f"{body_bytes} bytes")
    return Header(
        tensors=tensors,
        id=_read_text(data, "id"),
        parameters=_read_parameters(data.get("parameters", {})),
        model=_read_text(data, "model_name"),
        # Some servers write null for a model without versions.
        version="" if data.get("model_version") is None else _read_text(data, "model_version"),
        outputs=data.get("outputs", []),
    )


def check_bounds(header: Header, bounds: Sequence[Bound]) -> None:
    """Refuse a frame whose tensors are not exactly those that the bundle allows.

    Raises:
        BadInput: naming the first tensor that does not fit.
    """
    wanted = {bound.name: bound for bound in bounds}
    found = [tensor.name for tensor in header.tensors]
    if sorted(wanted) != sorted(found):
        raise _refusal(f"the tensors {', '.join(wanted)}", ", ".join(found) or "none")
    for tensor in header.tensors:
        _check_bound(tensor, wanted[tensor.name])


def read_message(body: bytes | memoryview, header: Header, *, header_bytes: int) -> Message:
    """The tensors of a checked frame, as read-only views into its body.

    Raises:
        BadInput: when the body is not as long as the header says, or a truth value is not 0 or 1.
    """
    view = memoryview(body).toreadonly()
    total = header_bytes + sum(tensor.nbytes for tensor in header.tensors)
    if total != len(view):
        raise _refusal(f"a body of {total} bytes, as the header declares", f"{len(view)} bytes")
    arrays: dict[str, Array] = {}
    offset = header_bytes
    for tensor in header.tensors:
        arrays[tensor.name] = _read_array(view[offset : offset + tensor.nbytes], tensor)
        offset += tensor.nbytes
    return Message(
        tensors=arrays,
        id=header.id,
        parameters=header.parameters,
        model=header.model,
        version=header.version,
    )


def decode_request(frame: Frame, bounds: Sequence[Bound]) -> Message:
    """Read a whole request that must hold exactly ``bounds``."""
    return _decode(frame, bounds, "inputs")


def decode_reply(frame: Frame, bounds: Sequence[Bound]) -> Message:
    """Read a whole reply that must hold exactly ``bounds``."""
    return _decode(frame, bounds, "outputs")


def max_frame_bytes(bounds: Sequence[Bound]) -> int:
    """The longest body that a frame with these tensors can have."""
    return MAX_HEADER_BYTES + sum(bound.max_bytes for bound in bounds)


def _decode(frame: Frame, bounds: Sequence[Bound], key: str) -> Message:
    if not 0 < frame.header_bytes <= len(frame.body):
        raise _refusal(
            f"a header within the body's {len(frame.body)} bytes", f"{frame.header_bytes} bytes"
        )
    view = memoryview(frame.body)
    header = read_header(view[: frame.header_bytes], body_bytes=len(view), key=key)
    check_bounds(header, bounds)
    return read_message(view, header, header_bytes=frame.header_bytes)


def _frame(header: Mapping[str, Any], message: Message, key: str) -> Frame:
    head = _COMPACT.encode(header).encode()
    body = b"".join([head, *(raw_bytes(array) for array in message.tensors.values())])
    # What we write, every reader must take: better to learn it here than from a refusal.
    read_header(head, body_bytes=len(body), key=key)
    return Frame(body=body, header_bytes=len(head))


def _read_array(raw: memoryview, tensor: TensorHeader) -> Array:
    if tensor.dtype == "bool" and np.frombuffer(raw, np.uint8).max() > 1:
        raise _refusal(f"truth values of 0 or 1 in {tensor.name!r}", "another byte")
    return np.frombuffer(raw, _little_endian(tensor.dtype)).reshape(tensor.shape)


@functools.lru_cache(maxsize=64)
def _little_endian(dtype: str) -> np.dtype[np.generic]:
    return np.dtype(dtype).newbyteorder("<")


def _describe(name: str, array: Array) -> dict[str, Any]:
    dtype = dtype_name(array.dtype)
    if dtype not in OIP_DATATYPES:
        raise BadInput(
            expected=f"tensor {name!r} of a type the protocol knows",
            found=dtype,
            remedy=f"use one of {', '.join(OIP_DATATYPES)}",
        )
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": OIP_DATATYPES[dtype],
        "parameters": {"binary_data_size": array.nbytes},
    }


def _read_tensors(data: object, key: str) -> tuple[TensorHeader, ...]:
    if not isinstance(data, list) or not 0 < len(data) <= MAX_TENSORS:
        found = f"{len(data)}" if isinstance(data, list) else type(data).__name__
        raise _refusal(f"a list of 1 to {MAX_TENSORS} {key}", found)
    tensors = tuple(map(_read_tensor, data))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _refusal("tensors with different names", "a name twice")
    return tensors


def _read_tensor(data: object) -> TensorHeader:
    if not isinstance(data, dict):
        raise _refusal("a JSON object for each tensor", type(data).__name__)
    name, datatype = data.get("name"), data.get("datatype")
    if not isinstance(name, str) or not TENSOR_NAME.fullmatch(name):
        raise _refusal("a tensor name of letters, digits and _ . / : -", repr(name)[:80])
    if not isinstance(datatype, str) or datatype not in NUMPY_DTYPES:
        raise _refusal(f"a known datatype for {name!r}", repr(datatype)[:40])
    shape = _read_shape(data.get("shape"), name)
    dtype = NUMPY_DTYPES[datatype]
    nbytes = _read_binary_size(data.get("parameters"), name)
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes != wanted:
        raise _refusal(f"binary_data_size {wanted} for {name!r}", str(nbytes))
    return TensorHeader(name=name, dtype=dtype, shape=shape, nbytes=nbytes)


def _read_shape(data: object, name: str) -> tuple[int, ...]:
    if not isinstance(data, list) or len(data) > MAX_RANK:
        raise _refusal(f"a shape of at most {MAX_RANK} axes for {name!r}", repr(data)[:60])
    if not all(type(size) is int and 0 < size < 2**31 for size in data):
        raise _refusal(f"a shape of sizes from 1 to 2^31 - 1 for {name!r}", repr(data)[:60])
    return tuple(data)


def _read_binary_size(data: object, name: str) -> int:
    size = data.get("binary_data_size") if isinstance(data, dict) else None
    if type(size) is not int or size < 0:
        raise _refusal(f"parameters.binary_data_size for {name!r}", repr(size)[:40])
    return size


def _read_text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str) or len(value) > 256:
        raise _refusal(f"{key} as text of at most 256 characters", type(value).__name__)
    return value


def _read_parameters(data: object) -> Parameters:
    if not isinstance(data, dict) or len(data) > MAX_TENSORS:
        found = f"{len(data)} of them" if isinstance(data, dict) else type(data).__name__
        raise _refusal(f"parameters as a JSON object of at most {MAX_TENSORS}", found)
    for key, value in data.items():
        if not isinstance(value, str | int | float | bool):
            raise _refusal(f"text, number or truth value in {key[:40]!r}", type(value).__name__)
    return data


def _check_bound(tensor: TensorHeader, bound: Bound) -> None:
    fits = len(tensor.shape) == len(bound.shape) and all(
        isinstance(want, str) or size == want
        for size, want in zip(tensor.shape, bound.shape, strict=True)
    )
    if tensor.dtype != bound.dtype or not fits:
        raise _refusal(
            f"{bound.dtype}{list(bound.shape)} for {bound.name!r}",
            f"{tensor.dtype}{list(tensor.shape)}",
        )
    if not bound.min_bytes <= tensor.nbytes <= bound.max_bytes:
        raise _refusal(
            f"{bound.min_bytes} to {bound.max_bytes} bytes for {bound.name!r}",
            f"{tensor.nbytes} bytes",
        )


def _refusal(expected: str, found: str) -> BadInput:
    return BadInput(expected=expected, found=found, remedy=_REMEDY)
