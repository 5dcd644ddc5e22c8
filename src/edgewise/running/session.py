"""The device half: answers requests, with the cloud's help when that pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Self

from edgewise.bundle import Bundle, FallbackKind, Route, RouteKind
from edgewise.engines import Pace
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.answer import FALLBACK, Answer, InferenceSource
from edgewise.running.cancelling import Cancellation
from edgewise.running.content import Content, Input, InputReader
from edgewise.running.deciding.events import (
    Action,
    AnswerNow,
    Cancelled,
    GiveUp,
    Refuse,
    Unreachable,
)
from edgewise.running.deciding.steering import DeviceRan, Event, Rules, Wanted, advance, first_mind
from edgewise.running.deciding.thrift import HostState
from edgewise.running.equipment import Clock, equip
from edgewise.running.linking.exchange import Link
from edgewise.running.options import Options
from edgewise.running.performing import Errand
from edgewise.running.shadowing.shadow import Shadow
from edgewise.running.shadowing.shadow_report import ShadowReport
from edgewise.running.spans import Recorder
from edgewise.running.status import Status, describe
from edgewise.running.submitting.outbox_items import LeftWaiting, Receipt
from edgewise.running.submitting.submitter import Flushed, Submittable, Submitter
from edgewise.running.usable import fallback_route
from edgewise.trace import SpanKind
from edgewise.trace_log import TraceLog


class Session:
    """Runs a bundle's device half; made by ``connect``. Its methods may be called in any thread.

    Args:
        bundle: open.
        link: to the cloud half, if there is any; closed with the session.
        options: policy, expected link, time-out, emulated slowdown.
        offline: why the cloud half did not answer just now; empty when it did.
        clock: seconds that only go forward.
        submitter: what ``submit`` hands over to; closed with the session.
        traces: where what happened to each request is kept; closed with the session.
        shadow: compares sampled answers with the other side's; closed with the session.

    Raises:
        BadInput: when the bundle's parts are broken, or the options leave no route, or none
            whose part gives its stored answer on this machine.
    """

    def __init__(  # noqa: PLR0913 - each from its own argument of connect
        self,
        bundle: Bundle,
        link: Link | None,
        options: Options,
        *,
        offline: str = "",
        clock: Clock = time.perf_counter,
        submitter: Submitter | None = None,
        traces: TraceLog | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._traces = traces
        self._bundle = bundle
        self.clock = clock
        self._submitter, self._shadow = submitter, shadow
        pace = Pace(slowdown=options.slowdown)
        self._reader = InputReader(bundle.manifest, pace)
        self._equipment = equip(bundle, link, options, pace=pace, clock=clock)
        self._device = self._equipment.device
        self._rules = Rules(
            routes=self._equipment.routes, fallback=self._device is not None, options=options
        )
        self._mind = first_mind(options)
        self._mind_lock = threading.Lock()  # held for microseconds, unlike that of a request
        if offline:
            self._tell(Unreachable(now_s=clock(), why=offline))
        self._lock = threading.Lock()
        self._closed = False
        if submitter is not None:
            submitter.start()
        if shadow is not None:
            shadow.start(self._equipment.engines)

    @property
    def distrusted(self) -> Mapping[str, str]:
        """Parts that did not give their stored answer on this machine, and are not used: why."""
        return self._equipment.distrusted

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that may be taken here, the planner's choice first."""
        return self._equipment.routes

    def run(
        self,
        value: Input,
        *,
        deadline_s: float | None = None,
        route: str | None = None,
        cancellation: Cancellation | None = None,
    ) -> Answer:
        """Answer one request; requests of several threads are answered one after the other.

        Args:
            value: a photo (path, file bytes, 8-bit pixels), a text if the network reads texts,
                an array, or arrays by name.
            deadline_s: counted from now; the device starts on its own in time for it when the
                cloud dawdles, and the answer says whether it was met.
            route: take this one of those that the options allow, instead of the best.
            cancellation: gives the request up from another thread.

        Raises:
            BadInput: when the input does not fit the model, the session is closed, or nobody can
                meet the deadline (then with the soonest that is possible).
            LinkFailed: when the cloud failed and the device cannot answer alone; ``LeftWaiting``
                when the request waits in the outbox instead.
            GivenUp: when it was given up.
        """
        recorder = Recorder(self.clock)
        with self._lock:
            if self._closed:
                raise closed_session()
            content = recorder.timed(SpanKind.PREPARE, lambda: self._reader.read(value))
            wanted = Wanted(
                now_s=self.clock(),
                request=self._mind.state.request + 1,
                routes=_suitable(self._rules.routes, content),
                route=route,
                deadline_s=deadline_s,
                spent_s=recorder.elapsed_s,
                busy_since_s=None if self._device is None else self._device.since_s,
            )
            answer = self._answer(wanted, content, recorder, cancellation or Cancellation())
            if self._shadow is not None:
                self._shadow.offer(content, answer, mind=self._mind)
            return answer

    def submit(
        self, value: Submittable, *, key: str | None = None, sensitive: bool = False
    ) -> Receipt:
        """Store something that must reach the server; it takes effect there once.

        Args:
            value: arrays, and what JSON can hold, by name.
            key: whatever comes twice under one key counts once; a random UUID by default.
            sensitive: refuse to write it unless the outbox encrypts.

        Raises:
            NotStored: when there is no room, in the outbox or on the disk; it is not stored.
            BadInput: when it cannot be sent, the options forbid it, or there is no outbox.
        """
        return self._with_outbox().submit(value, key=key, sensitive=sensitive)

    def flush(self, *, timeout_s: float = 30.0) -> Flushed:
        """Deliver what waits in the outbox now, the oldest first.

        Args:
            timeout_s: how long to go on trying.

        Raises:
            BadInput: when there is no outbox, or its file cannot be used.
        """
        return self._with_outbox().flush(timeout_s=timeout_s)

    def host_state(self, *, battery_share: float | None, on_charger: bool = False) -> None:
        """Tell how the host is; holds until the next call.

        With less battery than ``Options.low_battery_share``, and not charging, routes are
        chosen by time and energy together, as far as the bundle knows the energy of each.

        Args:
            battery_share: how full the battery is, 0 to 1; ``None``: unknown, or there is none.
            on_charger: whether it is being charged.

        Raises:
            BadInput: on a share that is none.
        """
        self._tell(HostState(battery_share=battery_share, on_charger=on_charger))

    def status(self) -> Status:
        """How the session is doing, while it answers too."""
        linked = self._equipment.link is not None
        return describe(self._rules, self._mind, linked=linked, now_s=self.clock())

    def shadow_report(self, *, timeout_s: float = 0.0) -> ShadowReport:
        """What shadow mode has found so far.

        Args:
            timeout_s: how long to wait for what is being compared now.

        Raises:
            BadInput: when it is off.
        """
        if self._shadow is None:
            raise BadInput(
                expected="a session in shadow mode",
                found="one without",
                remedy="connect with Options(shadow=ShadowOptions(share=0.05, rng=...))",
            )
        return self._shadow.report(timeout_s=timeout_s)

    def close(self) -> None:
        """Free networks and connections; a request under way is answered without the cloud."""
        if self._submitter is not None:
            self._submitter.close()
        if self._shadow is not None:
            self._shadow.close()
        if self._equipment.link is not None:
            self._equipment.link.close()
        with self._lock:
            self._closed = True
            self._equipment.close()
        if self._traces is not None:
            self._traces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _with_outbox(self) -> Submitter:
        if self._submitter is None:
            raise BadInput(
                expected="a session with an outbox",
                found="one without",
                remedy="connect(bundle, url, outbox=Outbox('outbox.db'))",
            )
        return self._submitter

    def _tell(self, event: Event) -> Action | None:
        """Pass an event to the machine; what to do now."""
        now_s = self.clock()
        with self._mind_lock:
            for took_s in [] if self._device is None else self._device.took_s():
                ran = DeviceRan(now_s=now_s, took_s=took_s)
                self._mind, _ = advance(self._rules, self._mind, ran)
            self._mind, action = advance(self._rules, self._mind, event)
        return action

    def _answer(
        self, wanted: Wanted, content: Content, recorder: Recorder, cancellation: Cancellation
    ) -> Answer:
        action = self._tell(wanted)
        if isinstance(action, Refuse):
            raise _too_soon(action.best_s)
        tried = self._mind.state.route
        errand = Errand(
            wanted.request,
            content,
            recorder,
            equipment=self._equipment,
            route=next(route for route in self._rules.routes if route.name == tried),
        )
        cancellation.on_cancel(errand.give_up)
        try:
            answered = self._drive(action, errand)
        finally:
            # Whatever was raised on the way, the next request finds nothing left behind.
            errand.end()
            self._tell(Cancelled(now_s=self.clock(), request=wanted.request))
        return self._finish(errand, answered, recorder, wanted)

    def _drive(self, action: Action | None, errand: Errand) -> AnswerNow:
        while True:
            match action:
                case AnswerNow():
                    return action
                case GiveUp(reason=reason):
                    raise self._unanswered(errand, reason)
            action = self._tell(errand.perform(action))

    def _unanswered(self, errand: Errand, reason: str) -> LinkFailed:
        """With a fallback of ``none`` the request waits in the outbox, if there is one."""
        if self._submitter is None or self._bundle.manifest.fallback.kind is not FallbackKind.NONE:
            return LinkFailed(reason)
        return LeftWaiting(reason, self._submitter.leave(errand.payload, route=errand.route.name))

    def _finish(
        self, errand: Errand, answered: AnswerNow, recorder: Recorder, wanted: Wanted
    ) -> Answer:
        source = self._source(errand.route, answered)
        trace = recorder.trace(
            request_id=str(wanted.request),
            bundle_digest=self._bundle.digest,
            source=source,
            deadline_s=wanted.deadline_s,
        )
        if self._traces is not None:
            self._traces.append(trace)
        return Answer(
            outputs=errand.outputs,
            inference_source=source,
            deadline_met=trace.deadline_met,
            trace=trace,
            note=errand.note,
        )

    def _source(self, tried: Route, answered: AnswerNow) -> InferenceSource:
        route = fallback_route(self._bundle.manifest) if answered.fallback else tried
        quality = route.quality if route is not None else None
        return InferenceSource(
            route=route.name if route is not None else FALLBACK,
            kind=(route.kind if route is not None else RouteKind.LOCAL).value,
            reason=answered.reason,
            agreement=quality.value if quality and quality.metric == "agreement" else None,
        )


def closed_session() -> BadInput:
    """What to raise when a session is used after its end."""
    return BadInput(expected="an open session", found="a closed one", remedy="connect again")


def _suitable(routes: Iterable[Route], content: Content) -> tuple[str, ...]:
    suitable = tuple(route.name for route in routes if content.suits(route))
    if not suitable:
        raise BadInput(
            expected="a photo, since the routes that can be taken send encoded pixels",
            found="arrays",
            remedy="pass a path, file bytes or 8-bit pixels, or plan a route that takes arrays",
        )
    return suitable


def _too_soon(best_s: float) -> BadInput:
    return BadInput(
        expected=f"a deadline of at least {best_s:.3g} s, the soonest possible now",
        found="an earlier one",
        remedy="give the request more time, or set refuse_late=False",
    )
