"""The device half: answers requests, with the cloud's help when that pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from edgewise.bundle import Bundle, Route, RouteKind
from edgewise.engines import EmulatedEngine, Engine, Pace
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.choice import Choice, Policy, choose, named_choice
from edgewise.running.connection import Unreachable
from edgewise.running.content import Content, Input, InputReader
from edgewise.running.link import Link, Reply, Request
from edgewise.running.machine import (
    Action,
    AnswerNow,
    Asked,
    Cancelled,
    Event,
    GiveUp,
    HeadDone,
    LocalDone,
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
from edgewise.running.patience import within
from edgewise.running.spans import Recorder
from edgewise.running.submitting import Flushed, Submittable, Submitter
from edgewise.running.trusting import open_trusted, trusted_routes
from edgewise.running.usable import (
    device_parts,
    fallback_route,
    usable_routes,
)
from edgewise.tensors import Array
from edgewise.trace import SpanKind
from edgewise.wire import Bound, Message

Clock = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class _Work:
    """What one request has come to so far."""

    number: int
    content: Content
    choice: Choice
    recorder: Recorder
    payload: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)


class Session:
    """Runs a bundle's device half; made by ``connect``. Its methods may be called in any thread.

    Args:
        bundle: open.
        link: to the cloud half, if there is any; closed with the session.
        options: policy, expected link, time-out, emulated slowdown.
        offline: why the cloud half did not answer just now; empty when it did.
        clock: seconds that only go forward.
        submitter: what ``submit`` hands over to; closed with the session.

    Raises:
        BadInput: when the bundle's parts are broken, or the options leave no route, or none
            whose part gives its stored answer on this machine.
    """

    def __init__(
        self,
        bundle: Bundle,
        link: Link | None,
        options: Options,
        *,
        offline: str = "",
        clock: Clock = time.perf_counter,
        submitter: Submitter | None = None,
    ) -> None:
        self._submitter = submitter
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._link = link
        self._options = options
        self._clock = clock
        self._pace = Pace(slowdown=options.slowdown)
        self._reader = InputReader(self._manifest, self._pace)
        routes = usable_routes(self._manifest, options, online=link is not None)
        needed = device_parts(self._manifest, routes, options)
        opened = open_trusted(bundle, needed, threads=options.threads)
        self._distrusted = opened.distrusted
        self._routes = trusted_routes(routes, opened.distrusted)
        self._engines: dict[str, Engine] = {
            name: EmulatedEngine(engine, self._pace) for name, engine in opened.engines.items()
        }
        self._bounds = tuple(Bound.exactly(spec) for spec in self._manifest.outputs)
        self._state = State()
        if offline:
            self._state, _ = step(self._state, NobodyAnswered(now_s=clock(), why=offline))
        self._lock = threading.Lock()
        self._closed = False
        if submitter is not None:
            submitter.start()

    @property
    def distrusted(self) -> Mapping[str, str]:
        """Parts that did not give their stored answer on this machine, and are not used: why."""
        return self._distrusted

    def run(
        self, value: Input, *, deadline_s: float | None = None, route: str | None = None
    ) -> Answer:
        """Answer one request; requests of several threads are answered one after the other.

        Args:
            value: a photo (path, file bytes, 8-bit pixels), an array, or arrays by name.
            deadline_s: counted from now; the answer says whether it was met.
            route: take this one of those that the options allow, instead of the best.

        Raises:
            BadInput: when the input does not fit the model, or the session is closed.
            LinkFailed: when the cloud failed and the device cannot answer alone.
        """
        recorder = Recorder(self._clock)
        with self._lock:
            if self._closed:
                raise BadInput(
                    expected="an open session", found="a closed one", remedy="connect again"
                )
            content = recorder.timed(SpanKind.PREPARE, lambda: self._reader.read(value))
            work = self._begin(content, recorder, route)
            return self._answer(work, deadline_s)

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
        if self._link is not None:
            self._link.close()
        with self._lock:
            self._closed = True
            if self._link is not None:
                self._link.close()
            for engine in self._engines.values():
                engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, content: Content, recorder: Recorder, wanted: str | None) -> _Work:
        suitable = _suitable(self._routes, content)
        if wanted is None:
            choice = choose(suitable, link=self._options.link, policy=self._options.policy)
        else:
            choice = named_choice(suitable, wanted, link=self._options.link)
        return _Work(
            number=self._state.request + 1, content=content, choice=choice, recorder=recorder
        )

    def _answer(self, work: _Work, deadline_s: float | None) -> Answer:
        number, choice = work.number, work.choice
        event = Asked(
            now_s=self._clock(),
            request=number,
            route=choice.route.name,
            reason=choice.reason,
            remote=choice.route.server_part is not None,
            timeout_s=self._options.wait_s(predicted_s=choice.predicted_s),
            fallback=self._fallback_engine() is not None,
        )
        try:
            action = self._drive(event, work)
        finally:
            # Whatever was raised on the way, the next request finds nothing left behind.
            self._state, _ = step(self._state, Cancelled(now_s=self._clock(), request=number))
        return self._finish(work, action, deadline_s)

    def _drive(self, event: Event, work: _Work) -> AnswerNow:
        while True:
            self._state, action = step(self._state, event)
            if isinstance(action, AnswerNow):
                return action
            if isinstance(action, GiveUp):
                raise LinkFailed(action.reason)
            event = self._perform(action, work)

    def _perform(self, action: Action | None, work: _Work) -> Event:
        match action:
            case RunHead():
                self._run_head(work)
                return HeadDone(now_s=self._clock(), request=work.number)
            case RunFallback():
                self._run_fallback(work)
                return LocalDone(now_s=self._clock(), request=work.number)
            case Send(timeout_s=timeout_s):
                return self._send(work, timeout_s)
        raise AssertionError(f"{action} is nothing to perform")

    def _run_head(self, work: _Work) -> None:
        route, content = work.choice.route, work.content
        if route.device_part is None:
            work.payload = work.recorder.timed(SpanKind.ENCODE, lambda: content.encoded(route))
            return
        engine = self._engines[route.device_part]
        if route.kind is RouteKind.LOCAL:
            work.outputs = work.recorder.timed(SpanKind.LOCAL, lambda: _run(engine, content))
            return
        results = work.recorder.timed(SpanKind.DEVICE, lambda: _run(engine, content))
        work.payload = {bound.name: results[bound.name] for bound in route.boundary}

    def _run_fallback(self, work: _Work) -> None:
        engine = self._fallback_engine()
        assert engine is not None  # the machine was told that there is one
        work.outputs = work.recorder.timed(SpanKind.LOCAL, lambda: _run(engine, work.content))

    def _send(self, work: _Work, timeout_s: float) -> Event:
        link = self._link
        assert link is not None  # without a link only local routes are usable
        request = self._request(work, timeout_s)
        sent_bytes = sum(array.nbytes for array in work.payload.values())
        start_s = work.recorder.elapsed_s
        try:
            reply = within(timeout_s, lambda: link.send(request))
        except TimeoutError:
            link.close()  # ends the thread that still waits, and its connection
            work.recorder.lost(sent_bytes, start_s=start_s)
            return TimedOut(now_s=self._clock(), request=work.number)
        except LinkFailed as error:
            unsent = isinstance(error, Unreachable)
            work.recorder.lost(0 if unsent else sent_bytes, start_s=start_s)
            return RemoteFailed(now_s=self._clock(), request=work.number, why=error.reason)
        return self._take(reply, work, start_s)

    def _take(self, reply: Reply, work: _Work, start_s: float) -> Event:
        work.recorder.sent(reply, start_s=start_s)
        work.outputs = dict(reply.message.tensors)
        return ReplyArrived(now_s=self._clock(), request=work.number)

    def _request(self, work: _Work, timeout_s: float) -> Request:
        message = Message(
            tensors=work.payload,
            id=str(work.number),
            parameters={"route": work.choice.route.name, "bundle": self._bundle.digest},
        )
        return Request(
            message=message,
            model=self._manifest.name,
            reply_bounds=self._bounds,
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


def _run(engine: Engine, content: Content) -> dict[str, Array]:
    return engine.run(content.feeds())
