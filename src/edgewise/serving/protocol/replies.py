"""From outputs to the bytes of an ``infer`` reply, each output in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response

from edgewise.serving.protocol.compression import accepted_encoding, deflate
from edgewise.serving.protocol.jsontensors import json_data
from edgewise.tensors import OIP_DATATYPES, Array
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_reply, raw_bytes, reply_header

_QUICK_BYTES = 65_536  # less is deflated sooner than a thread is woken


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply's bytes.

    Args:
        body: JSON, then raw tensors if there are any.
        header_bytes: length of the JSON; ``None`` when there is nothing else.
    """

    body: bytes
    header_bytes: int | None

    @property
    def media_type(self) -> str:
        """What the body is."""
        return "application/json" if self.header_bytes is None else "application/octet-stream"


def encode_outputs(message: Message, *, binary: frozenset[str]) -> Reply:
    """A reply whose outputs named in ``binary`` are raw bytes and the others JSON.

    Raises:
        BadInput: when JSON has no words for an output.
    """
    if binary >= set(message.tensors):
        frame = encode_reply(message)
        return Reply(body=frame.body, header_bytes=frame.header_bytes)
    raw = {name: message.tensors[name] for name in message.tensors if name in binary}
    outputs = [
        _describe(name, array, binary=name in raw) for name, array in message.tensors.items()
    ]
    header = reply_header(message, outputs)
    head = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    tail = b"".join(raw_bytes(array) for array in raw.values())
    return Reply(body=head + tail, header_bytes=len(head) if raw else None)


async def reply_response(
    reply: Reply, *, request: Headers, headers: Mapping[str, str]
) -> Response:
    """The HTTP response, compressed when the client asks for it and it helps.

    The length of the JSON always counts bytes before compression, as ``tritonclient`` reads it.
    """
    fields = dict(headers)
    if reply.header_bytes is not None:
        fields[HEADER_LENGTH_FIELD] = str(reply.header_bytes)
    body = reply.body
    encoding = accepted_encoding(request)
    if encoding is not None:
        packed = await _deflate(body, encoding)
        if len(packed) < len(body):
            body = packed
            fields |= {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    return Response(body, media_type=reply.media_type, headers=fields)


async def _deflate(body: bytes, encoding: str) -> bytes:
    if len(body) < _QUICK_BYTES:
        return deflate(body, encoding)
    return await anyio.to_thread.run_sync(deflate, body, encoding)


def _describe(name: str, array: Array, *, binary: bool) -> dict[str, object]:
    form: dict[str, object] = (
        {"parameters": {"binary_data_size": array.nbytes}}
        if binary
        else {"data": json_data(name, array)}
    )
    shape = list(array.shape)
    return {"name": name, "datatype": OIP_DATATYPES[array.dtype.name], "shape": shape, **form}
