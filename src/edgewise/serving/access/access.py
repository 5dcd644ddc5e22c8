"""Who is let in, and how much they may ask for."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edgewise.errors import BadInput
from edgewise.serving.batching.batcher import Limits
from edgewise.serving.operations import Operations
from edgewise.serving.protocol.refusals import error_reply, refusal

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._\-]{1,253})(?::[0-9]{1,5})?")
_NO_HOST = (
    "expected one Host header, found none, several or a malformed one;"
    " send the name and port that the server was asked under"
)
_FOREIGN_PAGE = (
    "expected no Origin header, or the server's own, found another one;"
    " ask from a program, not from a page of another site"
)
_log = logging.getLogger("edgewise.serving")


def host_name(host: str) -> str:
    """An address as it stands in a URL, and in a request's ``Host``.

    >>> host_name("::1"), host_name("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a server lets in.

    Args:
        allowed_hosts: names that a request's ``Host`` may give, without a port. A browser that
            was tricked into resolving a foreign name to this machine gives the foreign one.
        body_timeout_s: a whole request, head and body, must be there within this time.
        keep_alive_s: an idle connection is closed after this time.
        max_connections: further ones get 503 and are closed.
        max_requests: ``infer`` and ``submit`` requests at once; further ones get 503.
        max_body_bytes: sum over the bodies of all requests at once; further ones get 503.
        batching: how requests are joined, and how many may wait for an engine; further ones
            get 429.
        operations: keys, metrics, log, certificate, and how the server ends.

    >>> Access(body_timeout_s=5).allowed_hosts
    ('localhost', '127.0.0.1', '[::1]')
    """

    allowed_hosts: tuple[str, ...] = LOCAL_HOSTS
    body_timeout_s: float = 30.0
    keep_alive_s: float = 60.0
    max_connections: int = 256
    max_requests: int = 64
    max_body_bytes: int = 268_435_456
    batching: Limits = field(default_factory=Limits)
    operations: Operations = field(default_factory=Operations)


class Admission:
    """Counts what is under way, so that a burst cannot use up the memory.

    Used from the event loop alone, hence without a lock.

    >>> admission = Admission(Access(max_requests=1))
    >>> with admission.of(1000):
    ...     admission.requests
    1
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.requests = 0
        self.body_bytes = 0

    @contextlib.contextmanager
    def of(self, body_bytes: int) -> Iterator[None]:
        """Room for one request.

        Raises:
            HTTPException: 503 when there is none.
        """
        full = self.requests >= self._access.max_requests
        # A frame longer than the budget is still answered when it is alone.
        crowded = self.body_bytes and self.body_bytes + body_bytes > self._access.max_body_bytes
        if full or crowded:
            raise refusal(
                503,
                expected="room for one more request",
                found=f"{self.requests} under way",
                remedy="try again in a second, or answer on the device",
                headers={"Retry-After": "1"},
            )
        self.requests += 1
        self.body_bytes += body_bytes
        try:
            yield
        finally:
            self.requests -= 1
            self.body_bytes -= body_bytes


class Guard:
    """The layer behind the log: known hosts and no foreign pages; nothing escapes as a trace."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in access.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        try:
            refused = self._refusal(scope)
            await (refused or self._app)(scope, receive, send)
        except Exception:
            _log.exception("a request failed")  # for the operator; the client gets one sentence
            error = BadInput(
                expected="an answer",
                found="a failure of the server on this request",
                remedy="its log says why: tell its operator, and answer on the device",
            )
            failed = error_reply(500, str(error))
            await failed(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return error_reply(400, _NO_HOST)
        if match[1] not in self._hosts:
            error = BadInput(
                expected="a host that this server answers for",
                found="another one",
                remedy="its operator lets it in with: edgewise serve BUNDLE --allow-host NAME",
            )
            return error_reply(421, str(error))
        own = f"{scope['scheme']}://{hosts[0]}"
        if any(origin.lower() != own for origin in headers.getlist("origin")):
            return error_reply(403, _FOREIGN_PAGE)
        return None
