"""The device half: answers requests, with the cloud's help when that pays."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from edgewise.bundle import Bundle, BundleRoute, RouteKind, open_bundle
from edgewise.engines import EmulatedEngine, Engine, Pace, open_engine
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.choice import Policy, choose
from edgewise.running.content import Content, Input, InputReader
from edgewise.running.link import HttpLink, Link, Reply, Request
from edgewise.running.machine import (
    Action,
    AnswerNow,
    Asked,
    Event,
    GiveUp,
    HeadDone,
    LocalDone,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    State,
    TimedOut,
    step,
)
from edgewise.running.spans import Recorder
from edgewise.specs import LinkSpec
from edgewise.tensors import Array, Feeds
from edgewise.trace import SpanKind
from edgewise.wire import Bound, Message

_LEAST_TIMEOUT_S = 1.0
_UNKNOWN_LINK_TIMEOUT_S = 5.0
_GREETING_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a session behaves.

    Args:
        link: what the link is expected to be like; decides among the bundle's routes.
        policy: where answers may come from.
        raw_input_stays: forbid the routes that send the input itself.
        timeout_s: how long the cloud may take; by default three times the prediction, and at
            least a second.
        slowdown: emulate a device this many times slower than this machine.
        threads: threads of one run of a network.
    """

    link: LinkSpec | None = None
    policy: Policy = Policy.AUTO
    raw_input_stays: bool = False
    timeout_s: float | None = None
    slowdown: float = 1.0
    threads: int = 1


@dataclass(slots=True, kw_only=True)
class _Work:
    """What one request has come to so far."""

    content: Content
    route: BundleRoute
    recorder: Recorder
    request_id: str
    payload: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)


class Session:
    """Runs a bundle's device half; see :func:`connect`."""

    def __init__(self, bundle: Bundle, link: Link | None, options: Options) -> None:
        self._bundle = bundle
        self._manifest = bundle.manifest
        self._link = link
        self._options = options
        self._pace = Pace(slowdown=options.slowdown)
        self._reader = InputReader(self._manifest, self._pace)
        self._routes = tuple(route for route in self._manifest.routes if self._can_run(route))
        self._engines = self._open_engines()
        self._bounds = tuple(Bound.exactly(spec) for spec in self._manifest.outputs)
        self._state = State()
        self._lock = threading.Lock()
        self._sender = ThreadPoolExecutor(max_workers=2, thread_name_prefix="edgewise-send")
        self._count = 0

    def run(self, value: Input, *, deadline_s: float | None = None) -> Answer:
        """Answer one request.

        Args:
            value: a photo (path, file bytes, 8-bit pixels), an array, or arrays by name.
            deadline_s: counted from now; the answer says whether it was met.

        Raises:
            BadInput: when the input does not fit the model.
            LinkFailed: when the cloud failed and the device cannot answer alone.
        """
        with self._lock:
            recorder = Recorder(time.perf_counter)
            content = recorder.timed(SpanKind.PREPARE, lambda: self._reader.read(value))
            return self._answer(content, recorder, deadline_s)

    def close(self) -> None:
        """Free networks and connection."""
        self._sender.shutdown(wait=False, cancel_futures=True)
        for engine in self._engines.values():
            engine.close()
        if self._link is not None:
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _can_run(self, route: BundleRoute) -> bool:
        return self._link is not None or route.kind is RouteKind.LOCAL

    def _open_engines(self) -> dict[str, Engine]:
        names = [route.device_part for route in self._routes]
        if self._options.policy is not Policy.ONLY_IN_CLOUD:
            names.append(self._manifest.fallback.part)
        return {name: self._open(name) for name in dict.fromkeys(names) if name is not None}

    def _open(self, name: str) -> Engine:
        engine = open_engine(self._bundle.read_part(name), threads=self._options.threads)
        return EmulatedEngine(engine, self._pace)

    def _answer(self, content: Content, recorder: Recorder, deadline_s: float | None) -> Answer:
        self._count += 1
        choice = choose(
            [route for route in self._routes if content.suits(route)],
            link=self._options.link,
            policy=self._options.policy,
            raw_input_stays=self._options.raw_input_stays,
        )
        work = _Work(
            content=content, route=choice.route, recorder=recorder, request_id=str(self._count)
        )
        event: Event = Asked(
            now_s=time.monotonic(),
            route=choice.route.name,
            reason=choice.reason,
            remote=choice.route.server_part is not None,
            timeout_s=self._timeout_s(choice.predicted_s),
            fallback=self._fallback_engine() is not None,
        )
        return self._drive(event, work, deadline_s)

    def _drive(self, event: Event, work: _Work, deadline_s: float | None) -> Answer:
        while True:
            self._state, action = step(self._state, event)
            if isinstance(action, AnswerNow):
                return self._finish(work, action, deadline_s)
            if isinstance(action, GiveUp):
                raise LinkFailed(action.reason)
            event = self._perform(action, work)

    def _perform(self, action: Action | None, work: _Work) -> Event:
        if isinstance(action, RunHead):
            self._run_head(work)
            return HeadDone(now_s=time.monotonic())
        if isinstance(action, RunFallback):
            self._run_fallback(work)
            return LocalDone(now_s=time.monotonic())
        return self._send(work, self._state.timeout_s)

    def _run_head(self, work: _Work) -> None:
        route, content = work.route, work.content
        if route.device_part is None:
            work.payload = work.recorder.timed(SpanKind.ENCODE, lambda: content.encoded(route))
            return
        local = route.kind is RouteKind.LOCAL
        kind = SpanKind.LOCAL if local else SpanKind.DEVICE
        engine = self._engines[route.device_part]
        results = work.recorder.timed(kind, lambda: _run_whole(engine, content))
        if local:
            work.outputs = results
        work.payload = results

    def _run_fallback(self, work: _Work) -> None:
        engine = self._fallback_engine()
        if engine is None:
            raise LinkFailed(self._state.why)
        work.outputs = work.recorder.timed(
            SpanKind.LOCAL, lambda: _run_whole(engine, work.content)
        )

    def _send(self, work: _Work, timeout_s: float) -> Event:
        if self._link is None:
            return RemoteFailed(now_s=time.monotonic(), why="there is no server")
        start_s = work.recorder.elapsed_s
        sent_bytes = sum(array.nbytes for array in work.payload.values())
        future = self._sender.submit(self._link.send, self._request(work, timeout_s))
        event = _await(future, timeout_s)
        if isinstance(event, Reply):
            work.recorder.sent(event, start_s=start_s)
            work.outputs = dict(event.message.tensors)
            return ReplyArrived(now_s=time.monotonic())
        work.recorder.lost(sent_bytes, start_s=start_s)
        return event

    def _request(self, work: _Work, timeout_s: float) -> Request:
        message = Message(
            tensors=work.payload,
            id=work.request_id,
            parameters={"route": work.route.name, "bundle": self._bundle.digest},
        )
        return Request(
            message=message,
            model=self._manifest.name,
            reply_bounds=self._bounds,
            timeout_s=timeout_s,
        )

    def _timeout_s(self, predicted_s: float) -> float:
        if self._options.timeout_s is not None:
            return self._options.timeout_s
        if self._options.link is None:
            return _UNKNOWN_LINK_TIMEOUT_S
        return max(_LEAST_TIMEOUT_S, 3 * predicted_s)

    def _fallback_engine(self) -> Engine | None:
        part = self._manifest.fallback.part
        return None if part is None else self._engines.get(part)

    def _finish(self, work: _Work, action: AnswerNow, deadline_s: float | None) -> Answer:
        source = self._source(work, action)
        trace = work.recorder.trace(
            request_id=work.request_id,
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
        route = self._local_route() if action.fallback else work.route
        quality = route.quality if route is not None else None
        return InferenceSource(
            route=route.name if route is not None else "fallback",
            kind=(route.kind if route is not None else RouteKind.LOCAL).value,
            reason=action.reason,
            agreement=quality.value if quality is not None else None,
        )

    def _local_route(self) -> BundleRoute | None:
        part = self._manifest.fallback.part
        local = [r for r in self._manifest.routes if r.kind is RouteKind.LOCAL]
        return next((route for route in local if route.device_part == part), None)


def connect(
    bundle: Bundle | Path | str, url: str | None, *, options: Options | None = None
) -> Session:
    """Open the device half of a bundle, and a link to its cloud half.

    A server that cannot be reached is no error: the session starts offline and answers from the
    device.

    Args:
        bundle: a bundle folder, or an open bundle.
        url: where ``edgewise serve`` listens; ``None`` keeps everything on the device.
        options: policy, expected link, time-out, emulated slowdown.

    Raises:
        BadInput: when the bundle is broken, or the server serves another one.

    Example::

        with connect("bundle", "http://127.0.0.1:8000") as session:
            answer = session.run("photo.jpg")
            print(answer.inference_source.route, answer.outputs["logits"].argmax())
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    link = None if url is None else HttpLink(url)
    if link is not None:
        _greet(link, opened)
    return Session(opened, link, options or Options())


def _greet(link: HttpLink, bundle: Bundle) -> None:
    try:
        served = link.served_bundle(bundle.manifest.name, timeout_s=_GREETING_S)
    except LinkFailed:
        return
    if served and served != bundle.digest:
        raise BadInput(
            expected=f"the bundle {bundle.digest[:12]} at {link.url}",
            found=f"the bundle {served[:12]}",
            remedy=f"start: edgewise serve {bundle.path}",
        )


def _run_whole(engine: Engine, content: Content) -> dict[str, Array]:
    feeds: Feeds = content.feeds()
    return engine.run(feeds)


def _await(future: Future[Reply], timeout_s: float) -> Reply | RemoteFailed | TimedOut:
    try:
        return future.result(timeout=timeout_s)
    except FutureTimeout:
        future.cancel()
        return TimedOut(now_s=time.monotonic())
    except LinkFailed as error:
        return RemoteFailed(now_s=time.monotonic(), why=error.reason)
