"""The outermost layer: sees every request from its head to the last byte of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewise.serving.observing.account import Account, account_of
from edgewise.serving.observing.logs import RequestLog
from edgewise.serving.observing.metrics import Meters
from edgewise.serving.protocol.paths import find_endpoint
from edgewise.serving.protocol.refusals import error_reply

_CUT_OFF = (
    "expected an answer before the server's end, found that it had no time left for one;"
    " try another server, or answer on the device"
)
_REASONS = {
    400: "bad_input",
    403: "origin",
    404: "unknown",
    405: "method",
    408: "slow",
    409: "bundle",
    410: "gone",
    411: "length",
    413: "too_long",
    415: "encoding",
    416: "range",
    421: "host",
    429: "queue",
    500: "failure",
    501: "switched_off",
    503: "full",
    504: "deadline",
}


@dataclass(frozen=True, slots=True)
class Observer:
    """Counts and logs what the layers within do.

    Args:
        app: the layers within.
        log: for lines.
        meters: for numbers, if anybody wants them.
        clock: seconds that only go forward.
    """

    app: ASGIApp
    log: RequestLog
    meters: Meters | None
    clock: Callable[[], float]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell of it afterwards."""
        if scope["type"] != "http":
            return
        account = account_of(scope)
        account.endpoint, scope["path_params"] = find_endpoint(scope["path"])
        start_s = self.clock()
        if self.meters is not None:
            self.meters.begin()
        try:
            await self.app(scope, _counting(receive, account), _noting(send, account))
        except asyncio.CancelledError:
            # Only the end of the server cancels a request, and whoever asked is to know.
            account.refused = "cut_off"
            if account.status is None:
                reply = error_reply(503, _CUT_OFF, {"Connection": "close"})
                await reply(scope, receive, _noting(send, account))
        finally:
            account.total_s = self.clock() - start_s
            self._tell(account)

    def _tell(self, account: Account) -> None:
        if not account.refused and (account.status or 0) >= 400:
            account.refused = _REASONS.get(account.status or 0, "other")
        if self.meters is not None:
            self.meters.end(account)
        self.log.request(account)


def _counting(receive: Receive, account: Account) -> Receive:
    async def count() -> Message:
        message = await receive()
        account.in_bytes += len(message.get("body", b""))
        return message

    return count


def _noting(send: Send, account: Account) -> Send:
    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            account.status = message["status"]
        account.out_bytes += len(message.get("body", b""))
        await send(message)

    return note
