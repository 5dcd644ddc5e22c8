"""How many bytes a request and its reply are on the wire: HTTP head, JSON header, tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

import numpy as np

from edgewise.bundle import PayloadCodec
from edgewise.graphs import Model, wire_name
from edgewise.planning.candidates import PIXEL_CODECS, Sketch
from edgewise.tensors import Role, TensorSpec
from edgewise.wire import Frame, Message, encode_reply, encode_request

# Word for word what crossed the loopback interface between a session (urllib3 2.8) and a server
# (uvicorn 0.54), 2026-11; names and numbers put in. The test of this module counts them again.
_REQUEST_HEAD = (
    "POST /v2/models/{model}/infer HTTP/1.1\r\n"
    "Host: 127.0.0.1:40000\r\n"
    "Accept-Encoding: identity\r\n"
    "Content-Length: {body_bytes}\r\n"
    "User-Agent: python-urllib3/2.8.0\r\n"
    "Inference-Header-Content-Length: {header_bytes}\r\n"
    "Content-Type: application/octet-stream\r\n\r\n"
)
_REPLY_HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    "inference-header-content-length: {header_bytes}\r\n"
    "server-timing: queue;dur=0.500, decode;dur=0.050, compute;dur=10.000\r\n"
    f"edgewise-bundle: {'0' * 64}\r\n"
    "edgewise-batch: 1\r\n"
    "content-length: {body_bytes}\r\n"
    "content-type: application/octet-stream\r\n\r\n"
)
_ID = "100"
_VERSION = "1"
_NARROW = {PayloadCodec.FP16: "float16", PayloadCodec.INT8: "uint8"}


def served_name(model: Model) -> str:
    """The name under which a bundle of this network is served: 1 to 64 plain characters."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in model.name)
    return safe.strip(".-")[:64] or "model"


def sent_tensors(
    sketch: Sketch, model: Model, *, encoded_bytes: int | None = None
) -> tuple[TensorSpec, ...]:
    """The tensors of a request, with the names, types and shapes they have on the wire.

    Args:
        sketch: a way to answer that sends something.
        model: the full network.
        encoded_bytes: of the picture, when pixels are sent.
    """
    if sketch.cut is not None:
        return tuple(_crossing(spec, sketch, model) for spec in sketch.cut.tensors)
    if sketch.codec not in PIXEL_CODECS:
        return model.inputs
    pixels = TensorSpec(name=model.inputs[0].name, dtype="uint8", shape=(encoded_bytes or 1,))
    return (pixels,)


def request_bytes(sent: Sequence[TensorSpec], *, route: str, model: Model) -> int:
    """Bytes of a request at batch 1, HTTP head included."""
    parameters = {"route": route, "bundle": "0" * 64}

    def encode(tensors: dict[str, np.ndarray]) -> Frame:
        return encode_request(Message(tensors=tensors, id=_ID, parameters=parameters))

    return _message_bytes(_REQUEST_HEAD, sent, encode, quote(served_name(model), safe=""))


def reply_bytes(*, route: str, model: Model) -> int:
    """Bytes of a reply at batch 1, HTTP head included."""
    name = served_name(model)

    def encode(tensors: dict[str, np.ndarray]) -> Frame:
        return encode_reply(
            Message(
                tensors=tensors, id=_ID, parameters={"route": route}, model=name, version=_VERSION
            )
        )

    return _message_bytes(_REPLY_HEAD, model.outputs, encode, name)


def _message_bytes(
    head: str,
    specs: Sequence[TensorSpec],
    encode: Callable[[dict[str, np.ndarray]], Frame],
    name: str,
) -> int:
    # Tensors of one element give the header but for the digits; the real ones may be large.
    small = {spec.name: np.zeros((1,) * len(spec.shape), spec.dtype) for spec in specs}
    header_bytes = encode(small).header_bytes + sum(map(_more_digits, specs))
    body_bytes = header_bytes + sum(spec.nbytes() for spec in specs)
    http = head.format(model=name, header_bytes=header_bytes, body_bytes=body_bytes)
    return len(http) + body_bytes


def _more_digits(spec: TensorSpec) -> int:
    in_shape = sum(len(str(size)) - 1 for size in spec.concrete())
    return in_shape + len(str(spec.nbytes())) - len(str(spec.itemsize_bytes))


def _crossing(spec: TensorSpec, sketch: Sketch, model: Model) -> TensorSpec:
    """As :func:`edgewise.graphs.cut` names and writes it, but for a name that is taken."""
    dtype = _NARROW.get(sketch.codec, spec.dtype)
    if spec.role is not Role.CONTENT or not spec.dtype.startswith("float"):
        dtype = spec.dtype
    border = {s.name for s in (*model.inputs, *model.outputs)}
    if dtype != spec.dtype:
        return replace(spec, name=wire_name(f"{spec.name}:{dtype}"), dtype=dtype)
    return replace(
        spec, name=wire_name(f"{spec.name}:carried" if spec.name in border else spec.name)
    )
