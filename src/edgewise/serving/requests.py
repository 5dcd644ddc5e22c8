"""From the bytes of an ``infer`` request to checked tensors of one route."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from edgewise.errors import BadInput
from edgewise.records import parse_json
from edgewise.serving.access import Access, only, refusal
from edgewise.serving.parts import ServedBundle, ServedRoute
from edgewise.wire import (
    HEADER_LENGTH_FIELD,
    MAX_HEADER_BYTES,
    Header,
    Message,
    check_bounds,
    read_header,
    read_message,
)

_NUMBER = re.compile(r"[0-9]{1,15}")
# TCP segments carry 536 bytes or more; a sender of fewer than 64 a piece wants our time.
_SMALL_PIECES = 1024
_PIECE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """One request, checked.

    Args:
        served: the route that answers.
        message: tensors as views into the body, with id and parameters.
        outputs: names of the outputs to return, in order.
    """

    served: ServedRoute
    message: Message
    outputs: tuple[str, ...]


def declared_bytes(headers: Headers, *, limit_bytes: int) -> int:
    """The length of the body, checked before a byte of it is kept.

    Raises:
        HTTPException: 411 without a length, 413 above the limit, 415 when it is compressed.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise refusal(
            415,
            expected="a body that is not compressed",
            found="a Content-Encoding",
            remedy="send the frame as it is",
        )
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
            remedy="send what a route of this bundle sends",
        )
    return int(declared)


def header_bytes(headers: Headers, *, body_bytes: int) -> int:
    """The length of the JSON header that the body starts with.

    Raises:
        HTTPException: 400 when it is missing or cannot be.
    """
    declared = only(headers, HEADER_LENGTH_FIELD) or ""
    limit = min(body_bytes, MAX_HEADER_BYTES)
    if not _NUMBER.fullmatch(declared) or not 0 < int(declared) <= limit:
        raise refusal(
            400,
            expected=f"{HEADER_LENGTH_FIELD} from 1 to {limit}",
            found=declared[:20] or "none",
            remedy="send binary tensors: a JSON header, then raw little-endian bytes",
        )
    return int(declared)


async def read_body(request: Request, body_bytes: int, *, access: Access) -> memoryview:
    """The whole body, in the one buffer that its declared length asked for.

    Raises:
        HTTPException: 408 when it is too slow, 400 when it comes short or in crumbs.
    """
    try:
        with anyio.fail_after(access.body_timeout_s):
            return await _fill(request, bytearray(body_bytes))
    except TimeoutError:
        raise refusal(
            408,
            expected=f"the whole body within {access.body_timeout_s:g} s",
            found="less",
            remedy="send less, or answer on the device",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise _short_body(body_bytes) from None


async def _fill(request: Request, body: bytearray) -> memoryview:
    filled = pieces = 0
    async for piece in request.stream():
        pieces += 1
        end = filled + len(piece)
        if end > len(body) or pieces > _SMALL_PIECES + filled // _PIECE_BYTES:
            raise _short_body(len(body))
        body[filled:end] = piece
        filled = end
    if filled != len(body):
        raise _short_body(len(body))
    return memoryview(body).toreadonly()


def _short_body(body_bytes: int) -> Exception:
    return refusal(
        400,
        expected=f"a body of exactly {body_bytes} bytes in reasonable pieces",
        found="another one",
        remedy="send it again",
        headers={"Connection": "close"},
    )


def read_infer(body: memoryview, served: ServedBundle, *, header_bytes: int) -> Infer:
    """Check a frame against the bundle, and name the route that answers it.

    Raises:
        BadInput: when the frame is not one that a route of this bundle takes.
        HTTPException: 409 when it is for another bundle.
    """
    raw = body[:header_bytes]
    header = read_header(raw, body_bytes=len(body), key="inputs")
    _check_bundle(header, served)
    route = choose_route(header, served)
    check_bounds(header, route.route.boundary)
    names = tuple(spec.name for spec in route.engine.outputs)
    wanted = requested_outputs(bytes(raw)) or names
    _check_outputs(wanted, names)
    message = read_message(body, header, header_bytes=header_bytes)
    return Infer(served=route, message=message, outputs=wanted)


def _check_bundle(header: Header, served: ServedBundle) -> None:
    asked = header.parameters.get("bundle", served.digest)
    if asked != served.digest:
        raise refusal(
            409,
            expected=f"a request for the bundle {served.digest[:12]}, which this server serves",
            found=f"one for the bundle {str(asked)[:12]!r}",
            remedy="connect to the server of your bundle, or download this one",
            headers={"Edgewise-Bundle": served.digest},
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
        return routes[asked]
    found = sorted((tensor.name, tensor.dtype) for tensor in header.tensors)
    for route in served.routes:
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


def requested_outputs(raw: bytes) -> tuple[str, ...]:
    """Names in the header's list of outputs; empty when it has none.

    Raises:
        BadInput: when the list is ill-formed or asks for another form than binary.

    >>> requested_outputs(b'{"outputs": [{"name": "y", "parameters": {"binary_data": true}}]}')
    ('y',)
    """
    header = parse_json(raw, where="the frame's header", max_bytes=MAX_HEADER_BYTES)
    outputs = header.get("outputs", []) if isinstance(header, dict) else []
    if not isinstance(outputs, list):
        raise _bad_outputs("a list of objects with names", type(outputs).__name__)
    return tuple(map(_output_name, outputs))


def _output_name(output: object) -> str:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(output, dict) or not isinstance(name, str):
        raise _bad_outputs("a name for each requested output", "none")
    parameters = output.get("parameters", {})
    if parameters not in ({}, {"binary_data": True}):
        raise _bad_outputs("outputs as binary data", f"other parameters for {name[:80]!r}")
    return name


def _check_outputs(wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown or len(set(wanted)) != len(wanted):
        found = repr(unknown[0][:80]) if unknown else "a name twice"
        raise _bad_outputs(f"outputs among {', '.join(names)}", found)


def _bad_outputs(expected: str, found: str) -> BadInput:
    return BadInput(
        expected=expected, found=found, remedy="leave 'outputs' out to get all of them"
    )
