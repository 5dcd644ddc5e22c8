"""The layer behind the check of hosts: keys, budgets, readiness, metrics."""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edgewise.errors import BadInput
from edgewise.serving.access.budgets import Budget
from edgewise.serving.access.doors import Doors
from edgewise.serving.observing.account import Account, account_of, over_budget
from edgewise.serving.observing.metrics import CONTENT_TYPE, Meters
from edgewise.serving.processes.draining import Draining
from edgewise.serving.protocol.endpoints import ENDPOINTS
from edgewise.serving.protocol.refusals import error_reply

KEY_FIELD = "Edgewise-Key"
_SCHEME = "bearer "
_OPEN = frozenset(endpoint.answer for endpoint in ENDPOINTS if endpoint.is_open)
_READINESS = ("ready", "model_ready")
_BUDGETED = ("infer", "bundle_file")
_ABOUT_TO_END = "expected a server that stays, found one about to end; ask another one"
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class Gate:
    """Lets in whoever may come in.

    Args:
        app: the endpoints.
        doors: the keys that are let in; health is open.
        meters: shown on ``/metrics`` when given.
        draining: not ready once it has begun.
    """

    def __init__(
        self, app: ASGIApp, *, doors: Doors, meters: Meters | None, draining: Draining
    ) -> None:
        self._app = app
        self._doors = doors
        self._meters = meters
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, pass it on, or refuse it."""
        account = account_of(scope)
        answer = self._answer(scope, account)
        if answer is not None:
            await answer(scope, receive, send)
            return
        budget = account.budget
        if account.endpoint not in _BUDGETED or budget is None:
            await self._app(scope, receive, send)
            return
        budget.under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            budget.under_way -= 1
            budget.pay_compute(account.own_compute_s)

    def _answer(self, scope: Scope, account: Account) -> Response | None:
        """The answer to what goes no further than here."""
        if account.endpoint in _READINESS and self._draining.has_begun:
            account.refused = "draining"
            return error_reply(503, _ABOUT_TO_END, {"Retry-After": "1"})
        if account.endpoint in _OPEN:
            return None
        headers = Headers(scope=scope)
        if self._doors.are_guarded:
            account.budget = self._doors.budget_of(key_of(headers))
        if account.endpoint == "metrics" and self._meters is not None:
            return self._metrics(self._meters, scope, headers, account)
        if self._doors.are_guarded and account.budget is None:
            return _no_key(account)
        if account.endpoint in _BUDGETED and account.budget is not None:
            return _over_budget(account, account.budget)
        return None

    def _metrics(
        self, meters: Meters, scope: Scope, headers: Headers, account: Account
    ) -> Response:
        if account.budget is None and not is_local(scope, headers):
            if self._doors.are_guarded:
                return _no_key(account)
            account.refused = "metrics"
            error = BadInput(
                expected="a look at the metrics from the server's own machine",
                found="one from elsewhere",
                remedy="ask there, or start the server with --api-keys and send a key",
            )
            return error_reply(403, str(error))
        return Response(meters.text(), headers={"Content-Type": CONTENT_TYPE})


def key_of(headers: Headers) -> str:
    """The key that a request gives; empty when there is none, or more than one.

    >>> key_of(Headers({"authorization": "Bearer ew_1"})), key_of(Headers({"edgewise-key": "k"}))
    ('ew_1', 'k')
    """
    given = [*headers.getlist(KEY_FIELD)]
    for value in headers.getlist("authorization"):
        is_bearer = value[: len(_SCHEME)].lower() == _SCHEME
        given.append(value[len(_SCHEME) :] if is_bearer else "")
    keys = {value.strip() for value in given}
    return keys.pop() if len(keys) == 1 else ""


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from this machine itself, and not through a proxy on it."""
    if any(name in headers for name in _FORWARDED):
        return False
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _no_key(account: Account) -> Response:
    account.refused = "key"
    error = BadInput(
        expected="an API key that this server knows",
        found="none",
        remedy="send one as 'Authorization: Bearer KEY'; its operator makes them",
    )
    return error_reply(401, str(error), {"WWW-Authenticate": "Bearer"})


def _over_budget(account: Account, budget: Budget) -> Response | None:
    if budget.is_crowded:
        account.refused = "concurrent"
        error = BadInput(
            expected="a key with room for one more request at once",
            found=f"{budget.under_way} under way",
            remedy="try again in a second, or answer on the device",
        )
        return error_reply(429, str(error), {"Retry-After": "1"})
    wait_s = budget.retry_after_s()
    if wait_s is None:
        return None
    account.refused = "budget"
    return error_reply(429, str(BadInput(**over_budget(wait_s))), {"Retry-After": str(wait_s)})
