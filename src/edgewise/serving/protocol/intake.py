"""From an ``infer`` request on the socket to checked tensors, whatever form it came in."""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request

from edgewise.errors import BadInput
from edgewise.records import parse_json
from edgewise.serving.protocol.compression import inflate, refuse_compression, request_encoding
from edgewise.serving.protocol.jsontensors import binary_frame, max_json_bytes
from edgewise.serving.protocol.requests import (
    Infer,
    choose_route,
    declared_bytes,
    header_bytes,
    read_body,
    read_infer,
)
from edgewise.serving.repository.offers import Offer
from edgewise.wire import HEADER_LENGTH_FIELD, check_bounds, read_header

_SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What the HTTP header of a request says of its body.

    Args:
        body_bytes: length of the body as it crosses the link.
        header_bytes: length of its JSON, uncompressed; ``None`` when all of it is JSON.
        encoding: how it is compressed; ``None`` when it is not.
        limit_bytes: the most that the body may be, uncompressed.
    """

    body_bytes: int
    header_bytes: int | None
    encoding: str | None
    limit_bytes: int

    @property
    def held_bytes(self) -> int:
        """What the request may come to hold in memory."""
        return self.body_bytes + (self.limit_bytes if self.encoding else 0)


def read_announced(headers: Headers, offer: Offer) -> Announced:
    """Check everything that can be checked before a byte of the body is kept.

    Raises:
        HTTPException: 400, 411, 413 or 415.
    """
    encoding = request_encoding(headers)
    is_json = HEADER_LENGTH_FIELD not in headers
    limit = max_json_bytes(offer.routes) if is_json else 0
    limit = max(limit, offer.max_body_bytes)
    body_bytes = declared_bytes(headers, limit_bytes=limit)
    start = None
    if not is_json:
        start = header_bytes(headers, body_bytes=limit if encoding else body_bytes)
    return Announced(
        body_bytes=body_bytes, header_bytes=start, encoding=encoding, limit_bytes=limit
    )


async def read_small_body(request: Request, *, timeout_s: float) -> None:
    """Take a body of a few options, or none.

    Raises:
        HTTPException: 408, 411, 413 or 415.
        BadInput: when it is no JSON object.
    """
    headers = request.headers
    if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
        return
    refuse_compression(headers)
    body_bytes = declared_bytes(headers, limit_bytes=_SMALL_BYTES, remedy="leave it out")
    body = await read_body(request, body_bytes, timeout_s=timeout_s)
    if not isinstance(parse_json(bytes(body), where="the request"), dict):
        raise BadInput(
            expected="a JSON object or nothing", found="something else", remedy="leave it out"
        )


async def read_tensors(body: memoryview, announced: Announced, offer: Offer) -> Infer:
    """The request, checked; what takes time is done beside the event loop.

    Raises:
        BadInput: when it is not one that a route of its bundle takes.
        HTTPException: when its stream is broken or too long, or its bundle is not there.
    """
    if (
        announced.encoding is None
        and announced.header_bytes is not None
        and not body_has_json(body, announced.header_bytes)
    ):
        return read_infer(body, offer, header_bytes=announced.header_bytes)
    return await anyio.to_thread.run_sync(_read, body, announced, offer)


def body_has_json(body: memoryview, start: int) -> bool:
    """Whether the header may hold tensors as JSON; the quick answer for the usual request.

    >>> body_has_json(memoryview(b'{"inputs":[{"data":[1]}]}'), 25)
    True
    """
    head = bytes(body[:start])
    return b'"data"' in head or b"\\u" in head  # a key may be written with escapes


def _read(body: memoryview, announced: Announced, offer: Offer) -> Infer:
    if announced.encoding is not None:
        body = _inflate(body, announced, offer, announced.encoding)
    start = len(body) if announced.header_bytes is None else announced.header_bytes
    bounds = [bound for route in offer.routes for bound in route.boundary]
    frame, start = binary_frame(body, header_bytes=start, bounds=bounds)
    return read_infer(frame, offer, header_bytes=start)


def _inflate(body: memoryview, announced: Announced, offer: Offer, encoding: str) -> memoryview:
    """All-raw requests may stand for what their own route takes, and no byte more."""
    start = announced.header_bytes

    def limit_of(head: bytes) -> int:
        if start is None or len(head) < start or body_has_json(memoryview(head), start):
            return announced.limit_bytes
        return _route_bytes(head, offer)

    return inflate(body, encoding, head_bytes=start or 1, limit_of=limit_of)


def _route_bytes(head: bytes, offer: Offer) -> int:
    header = read_header(head, body_bytes=None, key="inputs")
    check_bounds(header, choose_route(header, offer.choose(header)).route.boundary)
    return len(head) + sum(tensor.nbytes for tensor in header.tensors)
