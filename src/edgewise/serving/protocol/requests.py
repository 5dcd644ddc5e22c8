"""From the bytes of an ``infer`` request to checked tensors of one route."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive

from edgewise.errors import BadInput
from edgewise.serving.batching.batcher import Group
from edgewise.serving.protocol.fields import only
from edgewise.serving.protocol.heads import Head, without_id
from edgewise.serving.protocol.refusals import Gone, refusal
from edgewise.serving.protocol.request_parameters import fits, read_asked, read_deadline_us, words
from edgewise.serving.repository.offers import Offer
from edgewise.serving.repository.parts import ServedBundle, ServedRoute
from edgewise.wire import (
    HEADER_LENGTH_FIELD,
    MAX_HEADER_BYTES,
    Header,
    Message,
    check_bounds,
    read_header,
    read_message,
)

_NUMBER = re.compile(r"[0-9]{1,20}")  # HTTP parsers refuse 2^64 and more
# TCP segments carry 536 bytes or more; a sender of fewer than 64 a piece wants our time.
_SMALL_PIECES = 1024
_PIECE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """One request, checked.

    Args:
        head: everything but its id and its tensors.
        message: tensors as views into the body, with id and parameters.
    """

    head: Head
    message: Message


def declared_bytes(
    headers: Headers, *, limit_bytes: int, remedy: str = "send what a route of this bundle sends"
) -> int:
    """The length of the body, checked before a byte of it is kept.

    Args:
        headers: of the request.
        limit_bytes: the longest body.
        remedy: what to do about a longer one.

    Raises:
        HTTPException: 411 without a length, 413 above the limit.
    """
    declared = only(headers, "content-length") or ""
    if not _NUMBER.fullmatch(declared):
        raise refusal(
            411,
            expected="a Content-Length",
            found="none",
            remedy="send the body's length ahead of it, not in chunks",
        )
    if int(declared) > limit_bytes:
        raise refusal(
            413,
            expected=f"a body of at most {limit_bytes} bytes",
            found=f"{int(declared)} bytes",
            remedy=remedy,
        )
    return int(declared)


def header_bytes(headers: Headers, *, body_bytes: int) -> int:
    """The length of the JSON header that the body starts with.

    Raises:
        HTTPException: 400 when it is missing or cannot be.
    """
    values = headers.getlist(HEADER_LENGTH_FIELD)
    declared = values[0] if len(values) == 1 else ""
    limit = min(body_bytes, MAX_HEADER_BYTES)
    if limit == 0:
        raise refusal(
            400, expected="a body", found="none", remedy="send the frame behind the header"
        )
    if not _NUMBER.fullmatch(declared) or not 0 < int(declared) <= limit:
        raise refusal(
            400,
            expected=f"{HEADER_LENGTH_FIELD} from 1 to {limit}",
            found="several" if len(values) > 1 else declared[:20] or "none",
            remedy="send binary tensors: a JSON header, then raw little-endian bytes",
        )
    return int(declared)


async def read_body(request: Request, body_bytes: int, *, timeout_s: float) -> memoryview:
    """The whole body, in the one buffer that its declared length asked for.

    Raises:
        HTTPException: 408 when it is too slow, 400 when it comes short or in crumbs.
        Gone: when the client hangs up before all of it is there.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _fill(request.receive, body_bytes)
    except TimeoutError:
        raise refusal(
            408,
            expected=f"the whole body within {timeout_s:g} s",
            found="less",
            remedy="send less, or answer on the device",
            headers={"Connection": "close"},
        ) from None


async def _fill(receive: Receive, body_bytes: int) -> memoryview:
    piece, has_more = await _next_piece(receive)
    if len(piece) == body_bytes and not has_more:
        return memoryview(piece)  # most bodies are there at once
    body, filled, pieces = bytearray(body_bytes), 0, 1
    while True:
        end = filled + len(piece)
        if end > body_bytes or pieces > _SMALL_PIECES + filled // _PIECE_BYTES:
            raise _short_body(body_bytes)
        body[filled:end] = piece
        filled = end
        if not has_more:
            break
        piece, has_more = await _next_piece(receive)
        pieces += 1
    if filled != body_bytes:
        raise _short_body(body_bytes)
    return memoryview(body).toreadonly()


async def _next_piece(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone("the client has gone")
    return message.get("body", b""), message.get("more_body", False)


def _short_body(body_bytes: int) -> Exception:
    return refusal(
        400,
        expected=f"a body of exactly {body_bytes} bytes in reasonable pieces",
        found="another one",
        remedy="send it again",
        headers={"Connection": "close"},
    )


def read_infer(body: memoryview, offer: Offer, *, header_bytes: int) -> Infer:
    """Check a frame against the bundle that it is for, and name the route that answers it.

    Raises:
        BadInput: when the frame is not one that a route of that bundle takes.
        HTTPException: 409 when it is for another bundle.
    """
    raw = bytes(body[:header_bytes])
    request_id, key = without_id(raw, tensor_bytes=len(body) - header_bytes)
    head = offer.heads.find(key)
    if head is None:
        head = _read_head(raw, offer, body_bytes=len(body))
        if offer.canary is None:  # with one the id has a say in which bundle answers
            offer.heads.keep(key, head)
    message = read_message(body, head.header, header_bytes=header_bytes)
    if request_id is not None:
        message = replace(message, id=request_id)
    return Infer(head=head, message=message)


def _read_head(raw: bytes, offer: Offer, *, body_bytes: int) -> Head:
    header = read_header(raw, body_bytes=body_bytes, key="inputs")
    bundle = offer.choose(header)
    deadline_us = read_deadline_us(header.parameters)
    route = choose_route(header, bundle)
    check_bounds(header, route.route.boundary)
    names = tuple(spec.name for spec in route.engine.outputs)
    asked = read_asked(header.outputs, header.parameters).among(names)
    return Head(
        bundle=bundle,
        route=route,
        header=header,
        asked=asked,
        deadline_us=deadline_us,
        items=route.items(header.tensors),
        group=Group(
            bundle=bundle.digest, route=route.route.name, tensors=route.bucket(header.tensors)
        ),
    )


def choose_route(header: Header, served: ServedBundle) -> ServedRoute:
    """The route that a request names, or the first that takes its tensors.

    Raises:
        BadInput: when there is none.
    """
    asked = header.parameters.get("route")
    routes = {route.route.name: route for route in served.routes}
    if asked is not None:
        if not isinstance(asked, str) or asked not in routes:
            raise _no_route(routes, repr(asked)[:80])
        if not fits(routes[asked].route, header.parameters):
            raise _no_route(routes, words(header.parameters))
        return routes[asked]
    found = sorted((tensor.name, tensor.dtype) for tensor in header.tensors)
    allowed = [part for part in served.routes if fits(part.route, header.parameters)]
    if not allowed:
        raise _no_route(routes, words(header.parameters))
    for route in allowed:
        if sorted((bound.name, bound.dtype) for bound in route.route.boundary) == found:
            return route
    tensors = ", ".join(f"{name} {dtype}" for name, dtype in found)
    raise _no_route(routes, f"the tensors {tensors[:300]}, which none of them takes")


def _no_route(routes: Mapping[str, ServedRoute], found: str) -> BadInput:
    return BadInput(
        expected=f"a request for one of the routes {', '.join(routes)}",
        found=found,
        remedy="name a route of this bundle in the parameter 'route'",
    )
