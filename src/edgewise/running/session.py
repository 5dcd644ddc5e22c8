"""The device half: answers requests, with the cloud's help when that pays."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from edgewise.bundle import Bundle, Route, RouteKind
from edgewise.engines import EmulatedEngine, Engine, Pace, open_engine
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.asking import route_request
from edgewise.running.choice import Choice, Policy, named_choice
from edgewise.running.choosing import Question, best_s, choose_now
from edgewise.running.connection import Broken, Refused, Unreachable
from edgewise.running.content import Content, Input, InputReader
from edgewise.running.estimating import TYPICAL, Estimator
from edgewise.running.learning import Lesson, learnt, with_reply, without_reply
from edgewise.running.link import Link, Reply, Request
from edgewise.running.machine import (
    Action,
    AnswerNow,
    Asked,
    Cancelled,
    Event,
    Fault,
    GiveUp,
    HeadDone,
    Health,
    HedgeDue,
    LocalDone,
    Refuse,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    State,
    TimedOut,
    step,
)
from edgewise.running.machine import Unreachable as NobodyAnswered
from edgewise.running.options import Options
from edgewise.running.outbox_items import Receipt
from edgewise.running.outlook import Outlook
from edgewise.running.racing import Device, Finished, Race
from edgewise.running.shadow import Shadow
from edgewise.running.shadow_report import ShadowReport
from edgewise.running.spans import Recorder
from edgewise.running.status import Status, describe
from edgewise.running.submitting import Flushed, Submittable, Submitter
from edgewise.running.usable import (
    check_outputs,
    device_parts,
    fallback_route,
    usable_routes,
)
from edgewise.tensors import Array
from edgewise.trace import SpanKind

_LAST_SENDS_S = 1.0

Clock = Callable[[], float]


# What the server says of an input, not of itself.
_INPUT_FAULTS = (400, 413, 415, 422)


@dataclass(slots=True, kw_only=True)
class _Work:
    """What one request has come to so far."""

    number: int
    content: Content
    choice: Choice
    linked: bool
    recorder: Recorder
    race: Race = field(default_factory=Race)
    payload: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)
    begun: bool = False
    over: bool = False
    sending: bool = False
    sent_s: float = 0.0
    timeout_at_s: float = 0.0
    hedge_at_s: float | None = None
    asked_s: float = 0.0
    remote_s: float | None = None

    @property
    def sent_bytes(self) -> int:
        return sum(array.nbytes for array in self.payload.values())


@dataclass(frozen=True, slots=True)
class _Local:
    """What the device gave on its own, and when."""

    outputs: dict[str, Array]
    start_s: float
    duration_s: float


class Session:
    """Runs a bundle's device half; made by ``connect``. Its methods may be called in any thread.

    Args:
        bundle: open.
        link: to the cloud half, if there is any; closed with the session.
        options: policy, expected link, time-out, emulated slowdown.
        offline: why the cloud half did not answer just now; empty when it did.
        clock: seconds that only go forward.
        submitter: what ``submit`` hands over to; closed with the session.
        shadow: compares sampled answers with the other side's; closed with the session.

    Raises:
        BadInput: when the bundle's parts are broken, or the options leave no route.
    """

    def __init__(  # noqa: PLR0913 - what connect has put together
        self,
        bundle: Bundle,
        link: Link | None,
        options: Options,
        *,
        offline: str = "",
        clock: Clock = time.perf_counter,
        submitter: Submitter | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._submitter, self._shadow = submitter, shadow
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._link = link
        self._options = options
        self._clock = clock
        self._pace = Pace(slowdown=options.slowdown)
        self._reader = InputReader(self._manifest, self._pace)
        self._routes = usable_routes(self._manifest, options, online=link is not None)
        self._engines = self._open_engines()
        self._device = self._open_device()
        self._outlook = Outlook(
            link=Estimator(prior=options.link or TYPICAL), expected=options.link is not None
        )
        self._senders: list[threading.Thread] = []
        self._state = State()
        if offline:
            self._state, _ = step(self._state, NobodyAnswered(now_s=clock(), why=offline))
        self._lock = threading.Lock()
        self._closed = False
        if submitter is not None:
            submitter.start()
        if shadow is not None:
            shadow.start(self._engines)

    def run(
        self, value: Input, *, deadline_s: float | None = None, route: str | None = None
    ) -> Answer:
        """Answer one request; requests of several threads are answered one after the other.

        Args:
            value: a photo (path, file bytes, 8-bit pixels), an array, or arrays by name.
            deadline_s: counted from now; the device starts on its own in time for it when the
                cloud dawdles, and the answer says whether it was met.
            route: take this one of those that the options allow, instead of the best.

        Raises:
            BadInput: when the input does not fit the model, the session is closed, or nobody can
                meet the deadline (then with the soonest that is possible).
            LinkFailed: when the cloud failed and the device cannot answer alone.
        """
        recorder = Recorder(self._clock)
        with self._lock:
            if self._closed:
                raise BadInput(
                    expected="an open session", found="a closed one", remedy="connect again"
                )
            content = recorder.timed(SpanKind.PREPARE, lambda: self._reader.read(value))
            work = self._begin(content, recorder, route, deadline_s)
            answer = self._answer(work, deadline_s)
            if self._shadow is not None:
                self._shadow.offer(content, answer, spare=self._state.health is Health.ONLINE)
            return answer

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

    def status(self) -> Status:
        """How the session is doing, while it answers too."""
        return describe(
            self._state, self._outlook, linked=self._link is not None, now_s=self._clock()
        )

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

    def _with_outbox(self) -> Submitter:
        if self._submitter is None:
            raise BadInput(
                expected="a session with an outbox",
                found="one without",
                remedy="connect(bundle, url, outbox=Outbox('outbox.db'))",
            )
        return self._submitter

    def close(self) -> None:
        """Free networks and connections; a request under way is answered without the cloud."""
        if self._submitter is not None:
            self._submitter.close()
        if self._shadow is not None:
            self._shadow.close()
        if self._link is not None:
            self._link.close()
        with self._lock:
            self._closed = True
            if self._link is not None:
                self._end_sends(self._link)
            if self._device is not None:
                self._device.finish()
            for engine in self._engines.values():
                engine.close()

    def _end_sends(self, link: Link) -> None:
        link.close()
        for sender in self._senders:
            # One given up before it began ends on its own; then its connection goes.
            sender.join(_LAST_SENDS_S)
        link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_engines(self) -> dict[str, Engine]:
        engines: dict[str, Engine] = {}
        for name, gives in device_parts(self._manifest, self._routes, self._options):
            if name not in engines:
                raw = self._bundle.read_part(name)
                engine = open_engine(raw, threads=self._options.threads)
                engines[name] = EmulatedEngine(engine, self._pace)
            check_outputs(name, engines[name], gives)
        return engines

    def _open_device(self) -> Device | None:
        engine = self._fallback_engine()
        return None if engine is None else Device(engine, self._clock)

    def _begin(
        self, content: Content, recorder: Recorder, wanted: str | None, deadline_s: float | None
    ) -> _Work:
        suitable = _suitable(self._routes, content)
        now_s = self._clock()
        question = Question(
            now_s=now_s,
            policy=self._options.policy,
            # What was spent on preparing is gone, and the device may be busy with an old request.
            spare_s=None if self._device is None else self._spare_s(deadline_s, recorder),
        )
        link = self._outlook.live_link(now_s)
        if wanted is None:
            self._outlook, choice = choose_now(self._outlook, suitable, question)
        else:
            named = named_choice(suitable, wanted, link=link)
            predicted_s = self._outlook.predict_s(named.route, link, now_s)
            choice = replace(named, predicted_s=predicted_s)
        return _Work(
            number=self._state.request + 1,
            content=content,
            choice=choice,
            linked=link is not None,
            recorder=recorder,
            asked_s=now_s,
        )

    def _spare_s(self, deadline_s: float | None, recorder: Recorder) -> float | None:
        if deadline_s is None:
            return None
        busy_s = 0.0
        if self._device is not None:
            busy_s = self._device.busy_s(self._outlook.local_p99_s() or 0.0)
        return deadline_s - recorder.elapsed_s - busy_s

    def _question(self, work: _Work, deadline_s: float | None) -> Asked:
        choice, route = work.choice, work.choice.route
        spare_s = self._spare_s(deadline_s, work.recorder)
        hedge_s = None
        if spare_s is not None and self._device is not None and route.server_part is not None:
            hedge_s = self._outlook.hedge_s(
                deadline_s=spare_s, predicted_s=choice.predicted_s, linked=work.linked
            )
        return Asked(
            now_s=work.asked_s,
            request=work.number,
            route=route.name,
            reason=choice.reason,
            remote=route.server_part is not None,
            timeout_s=self._options.wait_s(predicted_s=choice.predicted_s),
            fallback=self._device is not None,
            hedge_s=hedge_s,
            deadline_s=deadline_s,
            best_s=best_s(self._outlook, self._routes, now_s=work.asked_s),
            refuse=self._options.refuse_late,
        )

    def _answer(self, work: _Work, deadline_s: float | None) -> Answer:
        action: AnswerNow | None = None
        event = self._question(work, deadline_s)
        try:
            action = self._drive(event, work)
        finally:
            # Whatever was raised on the way, the next request finds nothing left behind.
            work.over = True
            if work.sending:
                self._stop_sending(work)
            self._state, _ = step(self._state, Cancelled(now_s=self._clock(), request=work.number))
            late = deadline_s is not None and work.recorder.elapsed_s > deadline_s
            self._learn(work, failed=late or action is None or action.fallback)
        return self._finish(work, action, deadline_s)

    def _learn(self, work: _Work, *, failed: bool) -> None:
        lesson = Lesson(
            now_s=self._clock(),
            route=work.choice.route,
            predicted_s=work.choice.predicted_s,
            linked=work.linked,
            begun=work.begun,
            remote_s=work.remote_s,
            failed=failed,
        )
        local_s = [] if self._device is None else self._device.took_s()
        self._outlook = learnt(self._outlook, lesson, work.recorder, local_s)

    def _drive(self, event: Event, work: _Work) -> AnswerNow:
        while True:
            self._state, action = step(self._state, event)
            match action:
                case AnswerNow():
                    return action
                case GiveUp(reason=reason):
                    raise LinkFailed(reason)
                case Refuse(best_s=best):
                    raise BadInput(
                        expected=f"a deadline of at least {best:.3g} s, the soonest possible now",
                        found="an earlier one",
                        remedy="give the request more time, or set refuse_late=False",
                    )
            event = self._perform(action, work)

    def _perform(self, action: Action | None, work: _Work) -> Event:
        match action:
            case RunHead():
                self._run_head(work)
                work.begun = True
                return HeadDone(now_s=self._clock(), request=work.number)
            case Send(timeout_s=timeout_s, hedge_s=hedge_s):
                self._send(work, timeout_s, hedge_s)
            case RunFallback():
                self._run_fallback(work)
        return self._await(work)

    def _run_head(self, work: _Work) -> None:
        route, content = work.choice.route, work.content
        if route.device_part is None:
            work.payload = work.recorder.timed(SpanKind.ENCODE, lambda: content.encoded(route))
            return
        engine = self._engines[route.device_part]
        if route.kind is RouteKind.LOCAL:
            work.outputs = work.recorder.timed(SpanKind.LOCAL, lambda: self._run(engine, content))
            return
        results = work.recorder.timed(SpanKind.DEVICE, lambda: self._run(engine, content))
        work.payload = {bound.name: results[bound.name] for bound in route.boundary}

    def _run(self, engine: Engine, content: Content) -> dict[str, Array]:
        if self._device is not None and engine is self._device.engine:
            return self._device.run(content.feeds)
        return engine.run(content.feeds())

    def _run_fallback(self, work: _Work) -> None:
        device, recorder = self._device, work.recorder
        assert device is not None  # the machine was told that there is one

        def run() -> _Local:
            start_s = recorder.elapsed_s
            outputs = device.run(work.content.feeds, wanted=lambda: not work.over)
            return _Local(outputs, start_s, recorder.elapsed_s - start_s)

        work.hedge_at_s = None
        work.race.start("local", run)

    def _send(self, work: _Work, timeout_s: float, hedge_s: float | None) -> None:
        link = self._link
        assert link is not None  # without a link only local routes are usable
        request = self._request(work, timeout_s)
        now_s = time.perf_counter()
        work.timeout_at_s = now_s + timeout_s
        work.hedge_at_s = None if hedge_s is None else now_s + hedge_s
        work.sending, work.sent_s = True, work.recorder.elapsed_s
        sender = work.race.start("send", lambda: link.send(request))
        self._senders = [*(one for one in self._senders if one.is_alive()), sender]

    def _await(self, work: _Work) -> Event:
        """The next event of a request that waits for the cloud, the device, or both."""
        while True:
            hedge_at_s = math.inf if work.hedge_at_s is None else work.hedge_at_s
            until_s = min(hedge_at_s, work.timeout_at_s) if work.sending else None
            finished = work.race.wait(until_s=until_s)
            if finished is None:
                return self._due(work, hedge=hedge_at_s <= work.timeout_at_s)
            if finished.name == "local":
                return self._local_done(finished, work)
            if work.sending:  # otherwise its end is that of a send given up before
                return self._sent(finished, work)

    def _due(self, work: _Work, *, hedge: bool) -> Event:
        now_s = self._clock()
        if hedge:
            work.hedge_at_s = None
            return HedgeDue(now_s=now_s, request=work.number)
        self._stop_sending(work)
        return TimedOut(now_s=now_s, request=work.number)

    def _stop_sending(self, work: _Work) -> None:
        assert self._link is not None
        work.sending = False
        self._link.close()  # ends the thread that still waits, and its connection
        waited_s = work.recorder.elapsed_s - work.sent_s
        work.recorder.lost(work.sent_bytes, start_s=work.sent_s)
        self._outlook = without_reply(self._outlook, work.sent_bytes, waited_s, self._clock())

    def _local_done(self, finished: Finished, work: _Work) -> Event:
        local = finished.result
        if not isinstance(local, _Local):
            raise finished.error or AssertionError("the device gave nothing")
        work.outputs = local.outputs
        work.recorder.ran(SpanKind.LOCAL, start_s=local.start_s, duration_s=local.duration_s)
        return LocalDone(now_s=self._clock(), request=work.number)

    def _sent(self, finished: Finished, work: _Work) -> Event:
        error = finished.error
        if isinstance(error, TimeoutError):
            self._stop_sending(work)
            return TimedOut(now_s=self._clock(), request=work.number)
        work.sending = False
        if isinstance(error, LinkFailed):
            unsent = isinstance(error, Unreachable)
            work.recorder.lost(0 if unsent else work.sent_bytes, start_s=work.sent_s)
            refused = isinstance(error, Refused) and error.status in _INPUT_FAULTS
            return RemoteFailed(
                now_s=self._clock(),
                request=work.number,
                why=error.reason,
                fault=Fault.INPUT if refused else Fault.CLOUD,
                again=isinstance(error, Broken),
            )
        if not isinstance(finished.result, Reply):
            raise error or AssertionError("the link gave nothing")
        return self._take(finished.result, work)

    def _take(self, reply: Reply, work: _Work) -> Event:
        work.recorder.sent(reply, start_s=work.sent_s)
        work.outputs = dict(reply.message.tensors)
        work.remote_s = self._clock() - work.asked_s
        self._outlook = with_reply(self._outlook, reply, work.choice.route, self._clock())
        return ReplyArrived(now_s=self._clock(), request=work.number)

    def _request(self, work: _Work, timeout_s: float) -> Request:
        return route_request(
            self._bundle,
            work.choice.route,
            work.payload,
            id=str(work.number),
            timeout_s=timeout_s,
        )

    def _fallback_engine(self) -> Engine | None:
        if self._options.policy is Policy.ONLY_IN_CLOUD:
            return None
        part = self._manifest.fallback.part
        return None if part is None else self._engines.get(part)

    def _finish(self, work: _Work, action: AnswerNow, deadline_s: float | None) -> Answer:
        source = self._source(work, action)
        trace = work.recorder.trace(
            request_id=str(work.number),
            bundle_digest=self._bundle.digest,
            route=source.route,
            reason=source.reason,
        )
        return Answer(
            outputs=work.outputs,
            inference_source=source,
            deadline_met=None if deadline_s is None else trace.total_s <= deadline_s,
            trace=trace,
        )

    def _source(self, work: _Work, action: AnswerNow) -> InferenceSource:
        route = fallback_route(self._manifest) if action.fallback else work.choice.route
        quality = route.quality if route is not None else None
        return InferenceSource(
            route=route.name if route is not None else "fallback",
            kind=(route.kind if route is not None else RouteKind.LOCAL).value,
            reason=action.reason,
            agreement=quality.value if quality and quality.metric == "agreement" else None,
        )


def _suitable(routes: Iterable[Route], content: Content) -> list[Route]:
    suitable = [route for route in routes if content.suits(route)]
    if not suitable:
        raise BadInput(
            expected="a photo, since the routes that can be taken send encoded pixels",
            found="arrays",
            remedy="pass a path, file bytes or 8-bit pixels, or plan a route that takes arrays",
        )
    return suitable
