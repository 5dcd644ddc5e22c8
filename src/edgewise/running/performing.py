"""Perform the actions of the session machine for one request, and report what came of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from edgewise.bundle import Route, RouteKind
from edgewise.engines import Engine
from edgewise.errors import LinkFailed
from edgewise.running.cancelling import GivenUp
from edgewise.running.content import Content
from edgewise.running.deciding.events import (
    Action,
    Fault,
    HeadDone,
    HedgeDue,
    LocalDone,
    OfRequest,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    TimedOut,
)
from edgewise.running.equipment import Equipment
from edgewise.running.linking.asking import route_request
from edgewise.running.linking.exchange import Broken, Refused, Reply, Request, Unreachable
from edgewise.running.racing import Finished, Race
from edgewise.running.spans import Recorder
from edgewise.tensors import Array
from edgewise.trace import SpanKind

# What the server says of an input, not of itself.
_INPUT_FAULTS = (400, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class _Local:
    """What the device gave on its own, and when."""

    outputs: dict[str, Array]
    start_s: float
    duration_s: float


class Errand:
    """One request on its way.

    Args:
        number: of the request.
        content: its input.
        recorder: notes what it spends its time on.
        equipment: of the session.
        route: that is tried.
    """

    def __init__(
        self,
        number: int,
        content: Content,
        recorder: Recorder,
        *,
        equipment: Equipment,
        route: Route,
    ) -> None:
        self.route = route
        self.note = content.note
        self.outputs: dict[str, Array] = {}
        self._number = number
        self._content = content
        self._recorder = recorder
        self._equipment = equipment
        self._race = Race()
        self.payload: dict[str, Array] = {}
        self._over = False
        self._sending = False
        self._sent_s = 0.0
        self._timeout_at_s = math.inf
        self._hedge_at_s = math.inf

    def perform(self, action: Action | None) -> OfRequest:
        """Do what the machine says, and wait for what comes of it."""
        match action:
            case RunHead():
                self._run_head()
                return HeadDone(now_s=self._now_s(), request=self._number)
            case Send(timeout_s=timeout_s, hedge_s=hedge_s):
                self._send(timeout_s, hedge_s)
            case RunFallback():
                self._run_fallback()
        return self._await()

    def give_up(self) -> None:
        """Raise ``GivenUp`` where the request is waited for; may be called in any thread."""
        self._over = True
        self._race.stop(GivenUp("the caller gave the request up"))

    def end(self) -> None:
        """Give up what is still under way."""
        self._over = True
        if self._sending:
            self._stop_sending()

    def _now_s(self) -> float:
        return self._equipment.clock()

    def _run_head(self) -> None:
        route, content, recorder = self.route, self._content, self._recorder
        if route.device_part is None:
            self.payload = recorder.timed(SpanKind.ENCODE, lambda: content.encoded(route))
            return
        engine = self._equipment.engines[route.device_part]
        if route.kind is RouteKind.LOCAL:
            self.outputs = recorder.timed(SpanKind.LOCAL, lambda: self._run(engine))
            return
        results = recorder.timed(SpanKind.DEVICE, lambda: self._run(engine))
        self.payload = {bound.name: results[bound.name] for bound in route.boundary}

    def _run(self, engine: Engine) -> dict[str, Array]:
        device = self._equipment.device
        if device is not None and engine is device.engine:
            return device.run(self._content.feeds)
        return engine.run(self._content.feeds())

    def _run_fallback(self) -> None:
        device, recorder = self._equipment.device, self._recorder
        assert device is not None  # the machine was told that there is one

        def run() -> _Local:
            start_s = recorder.elapsed_s
            outputs = device.run(self._content.feeds, wanted=lambda: not self._over)
            return _Local(outputs, start_s, recorder.elapsed_s - start_s)

        self._hedge_at_s = math.inf
        self._race.start("local", run)

    def _send(self, timeout_s: float, hedge_s: float | None) -> None:
        if self._over:
            return  # given up: nothing more is sent, and waiting tells
        link = self._equipment.link
        assert link is not None  # without a link only local routes are usable
        request = self._request(timeout_s)
        now_s = time.perf_counter()
        self._timeout_at_s = now_s + timeout_s
        self._hedge_at_s = math.inf if hedge_s is None else now_s + hedge_s
        self._sending, self._sent_s = True, self._recorder.elapsed_s
        self._equipment.watch(self._race.start("send", lambda: link.send(request)))

    def _request(self, timeout_s: float) -> Request:
        return route_request(
            self._equipment.bundle,
            self.route,
            self.payload,
            id=str(self._number),
            timeout_s=timeout_s,
        )

    def _await(self) -> OfRequest:
        """The next event of a request that waits for the cloud, the device, or both."""
        while True:
            due_s = min(self._hedge_at_s, self._timeout_at_s) if self._sending else None
            finished = self._race.wait(until_s=due_s)
            if finished is None:
                return self._due(hedge=self._hedge_at_s <= self._timeout_at_s)
            if isinstance(finished.error, GivenUp):
                raise finished.error
            if finished.name == "local":
                return self._local_done(finished)
            if self._sending:  # otherwise its end is that of a send given up before
                return self._sent(finished)

    def _due(self, *, hedge: bool) -> OfRequest:
        if hedge:
            self._hedge_at_s = math.inf
            return HedgeDue(now_s=self._now_s(), request=self._number)
        return self._timed_out()

    def _timed_out(self) -> OfRequest:
        self._stop_sending()
        return TimedOut(now_s=self._now_s(), request=self._number)

    def _stop_sending(self) -> None:
        assert self._equipment.link is not None
        self._sending = False
        self._equipment.link.close()  # ends the thread that still waits, and its connection
        self._recorder.lost(self._sent_bytes(), start_s=self._sent_s)

    def _sent_bytes(self) -> int:
        return sum(array.nbytes for array in self.payload.values())

    def _local_done(self, finished: Finished) -> OfRequest:
        local = finished.result
        if not isinstance(local, _Local):
            raise finished.error or AssertionError("the device gave nothing")
        self.outputs = local.outputs
        self._recorder.ran(SpanKind.LOCAL, start_s=local.start_s, duration_s=local.duration_s)
        return LocalDone(now_s=self._now_s(), request=self._number)

    def _sent(self, finished: Finished) -> OfRequest:
        error = finished.error
        if isinstance(error, TimeoutError):
            return self._timed_out()
        self._sending = False
        if isinstance(error, LinkFailed):
            return self._failed(error)
        if not isinstance(finished.result, Reply):
            raise error or AssertionError("the link gave nothing")
        return self._take(finished.result)

    def _failed(self, error: LinkFailed) -> OfRequest:
        unsent = isinstance(error, Unreachable)
        self._recorder.lost(0 if unsent else self._sent_bytes(), start_s=self._sent_s)
        refused = isinstance(error, Refused) and error.status in _INPUT_FAULTS
        return RemoteFailed(
            now_s=self._now_s(),
            request=self._number,
            why=error.reason,
            fault=Fault.INPUT if refused else Fault.CLOUD,
            again=isinstance(error, Broken),
        )

    def _take(self, reply: Reply) -> OfRequest:
        self._recorder.sent(reply, start_s=self._sent_s)
        self.outputs = dict(reply.message.tensors)
        return ReplyArrived(
            now_s=self._now_s(),
            request=self._number,
            up_bytes=reply.up_bytes,
            down_bytes=reply.down_bytes,
            waited_s=reply.waited_s,
            read_s=reply.read_s,
            server_s=sum(reply.server_s.values()),
            queue_s=reply.server_s.get("queue", 0.0),
        )
