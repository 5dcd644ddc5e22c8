"""The innermost layer: who answers a request, and in what words it is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edgewise.errors import BadInput, EdgewiseError
from edgewise.serving.batching.batcher import Closed, Expired, QueueFull
from edgewise.serving.observing.account import Account, account_of
from edgewise.serving.protocol.endpoints import Endpoint
from edgewise.serving.protocol.refusals import Gone, error_reply

Answer = Callable[[Request], Awaitable[Response]]

_NO_ROUTE = (
    "expected a path and a method that this server answers, found another;"
    " GET /v2/openapi.json lists them"
)


class Switchboard:
    """Passes each request to the method that answers it.

    Args:
        endpoints: what is answered.
        desk: has a method for each.
    """

    def __init__(self, endpoints: Iterable[Endpoint], desk: object) -> None:
        self._answers: dict[str, tuple[tuple[str, ...], Answer]] = {
            one.answer: (_methods(one), getattr(desk, one.answer)) for one in endpoints
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        try:
            response = await self._answer(Request(scope, receive))
        except (HTTPException, EdgewiseError) as error:
            response = _refuse(error, account_of(scope))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        methods, answer = self._answers.get(account_of(request.scope).endpoint, ((), None))
        if answer is None:
            return error_reply(HTTPStatus.NOT_FOUND, _NO_ROUTE)
        if request.method not in methods:
            allowed = {"Allow": ", ".join(methods)}
            return error_reply(HTTPStatus.METHOD_NOT_ALLOWED, _NO_ROUTE, allowed)
        return await answer(request)


def _methods(endpoint: Endpoint) -> tuple[str, ...]:
    return ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)


def _refuse(error: HTTPException | EdgewiseError, account: Account) -> Response:
    if isinstance(error, HTTPException):
        headers = dict(error.headers) if error.headers else None
        return error_reply(error.status_code, error.detail, headers)
    if isinstance(error, Gone):
        return _Silence()
    if isinstance(error, QueueFull | Expired | Closed):
        return _turned_away(error, account)
    if isinstance(error, BadInput):
        return error_reply(HTTPStatus.BAD_REQUEST, str(error))
    raise error


class _Silence(Response):
    """For a client that has gone: an answer would be counted, and nobody would read it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


def _turned_away(error: QueueFull | Expired | Closed, account: Account) -> Response:
    """In words, a request that reached no engine.

    429 with ``Retry-After`` when the queue is full, 503 while the server is being stopped, and
    504 for a deadline that passed: 408 would blame the client, and invite it to send again.
    """
    if isinstance(error, QueueFull):
        text = f"expected room to wait in, found {error.queued} items waiting; try again later"
        return error_reply(429, text, {"Retry-After": str(error.retry_after_s)})
    if isinstance(error, Expired):
        return error_reply(
            504,
            "expected to answer before the deadline of the request, found too little time left;"
            " allow more time, or answer on the device",
        )
    account.refused = "draining"
    return error_reply(
        503,
        "expected a server that takes requests, found one that is being stopped;"
        " try another one, or answer on the device",
        {"Connection": "close"},
    )
