"""The device half for asyncio: a session in a thread of its own, which no event loop waits for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

from edgewise.bundle import Route
from edgewise.running.answer import Answer
from edgewise.running.cancelling import Cancellation
from edgewise.running.connecting import connect
from edgewise.running.content import Input
from edgewise.running.session import Session, closed_session
from edgewise.running.shadowing.shadow_report import ShadowReport
from edgewise.running.status import Status
from edgewise.running.submitting.outbox_items import Receipt
from edgewise.running.submitting.submitter import Flushed, Submittable

P = ParamSpec("P")
T = TypeVar("T")


class AsyncSession:
    """A session whose work is awaited; made by :func:`connect_async`, for one event loop.

    Requests are answered in the order in which they came, by one thread. What goes into the
    outbox does not wait for them, nor for a delivery. ``status`` and ``host_state`` wait for
    nothing, and are called as they are.

    Args:
        session: used by nobody else; closed with this.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._asking, self._storing, self._delivering = map(_one_thread, ("ask", "store", "flush"))
        self._closing: asyncio.Task[None] | None = None

    async def run(
        self, value: Input, *, deadline_s: float | None = None, route: str | None = None
    ) -> Answer:
        """Answer one request; see :meth:`Session.run`.

        A task that is cancelled while it waits gives the request up: what is under way to the
        server is ended, and the next request begins.
        """
        cancellation = Cancellation()
        asked_s = self.session.clock()

        def ask() -> Answer:
            # The deadline counts from the call, and not from this request's turn.
            left_s = None if deadline_s is None else deadline_s - (self.session.clock() - asked_s)
            return self.session.run(
                value, deadline_s=left_s, route=route, cancellation=cancellation
            )

        try:
            return await self._in(self._asking, ask)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise

    async def submit(
        self, value: Submittable, *, key: str | None = None, sensitive: bool = False
    ) -> Receipt:
        """Store something that must reach the server; see :meth:`Session.submit`."""
        submit = partial(self.session.submit, value, key=key, sensitive=sensitive)
        return await self._in(self._storing, submit)

    async def flush(self, *, timeout_s: float = 30.0) -> Flushed:
        """Deliver what waits in the outbox now; see :meth:`Session.flush`."""
        return await self._in(self._delivering, partial(self.session.flush, timeout_s=timeout_s))

    @property
    def distrusted(self) -> Mapping[str, str]:
        """Parts that are not used on this machine; see :attr:`Session.distrusted`."""
        return self.session.distrusted

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that may be taken here; see :attr:`Session.routes`."""
        return self.session.routes

    def host_state(self, *, battery_share: float | None, on_charger: bool = False) -> None:
        """Tell how the host is; see :meth:`Session.host_state`."""
        self.session.host_state(battery_share=battery_share, on_charger=on_charger)

    def status(self) -> Status:
        """How the session is doing; see :meth:`Session.status`."""
        return self.session.status()

    async def shadow_report(self, *, timeout_s: float = 0.0) -> ShadowReport:
        """What shadow mode has found so far; see :meth:`Session.shadow_report`."""
        return await asyncio.to_thread(self.session.shadow_report, timeout_s=timeout_s)

    async def close(self) -> None:
        """Free everything; a request under way is answered without the cloud, later ones not."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(asyncio.to_thread(self._close))
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        self._check_open()

        def work_while_open() -> T:
            self._check_open()
            return work()

        return await asyncio.wrap_future(thread.submit(work_while_open))

    def _check_open(self) -> None:
        if self._closing is not None:
            raise closed_session()

    def _close(self) -> None:
        self.session.close()
        for thread in (self._asking, self._storing, self._delivering):
            thread.shutdown()


_Awaited = Coroutine[Any, Any, AsyncSession]
_Opening = Callable[..., _Awaited]


def _takes_what(opens: Callable[P, Session]) -> Callable[[_Opening], Callable[P, _Awaited]]:
    """Give a function that passes all on to another one that one's signature."""

    def with_signature(opening: _Opening) -> Callable[P, _Awaited]:
        kept = inspect.signature(opens)
        opening.__dict__["__signature__"] = kept.replace(return_annotation="AsyncSession")
        return opening

    return with_signature


@_takes_what(connect)
async def connect_async(*args: Any, **kwargs: Any) -> AsyncSession:
    """Open the device half of a bundle without blocking the event loop.

    Takes and raises what :func:`connect` does.

    Example::

        async with await connect_async("bundle", "http://127.0.0.1:8000") as session:
            first, second = await asyncio.gather(session.run("a.jpg"), session.run("b.jpg"))
    """
    with_thread = _one_thread("connect")
    connecting = with_thread.submit(connect, *args, **kwargs)
    try:
        return AsyncSession(await asyncio.wrap_future(connecting))
    except asyncio.CancelledError:
        connecting.add_done_callback(_close_unwanted)
        raise
    finally:
        with_thread.shutdown(wait=False)


def _close_unwanted(connecting: Future[Session]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


def _one_thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=f"edgewise-{name}")  # begins when first used
